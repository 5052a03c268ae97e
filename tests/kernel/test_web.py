"""``gotax web``: the pages of this host, from its own agent, and nothing left at the end."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.load import GUARD_S, ROOT, Load, wait_until
from tests.patience import promised
from tests.toolchains import VERSIONS

pytestmark = pytest.mark.kernel

GoBinary = Callable[..., Path]


def children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(each) for each in text.split()]


@contextmanager
def web(temporary: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the URL that it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gotax", "web", "--http", "127.0.0.1:0", "-i", "1", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("gotax web: http://127.0.0.1:"), process.stderr
            yield process, line.removeprefix("gotax web: ").strip()
        finally:
            process.kill()


def fetched(url: str, **headers: str) -> bytes:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=GUARD_S) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
@promised(2.0)
def test_it_ends_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals, within_s: float
) -> None:
    """No agent, no folder, exit code 0."""
    with web(tmp_path) as (process, _):
        agents = children(process.pid)
        assert agents
        process.send_signal(number)
        assert process.wait(within_s) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in agents)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_web_takes_its_agent_along(tmp_path: Path) -> None:
    with web(tmp_path) as (process, _):
        (agent,) = children(process.pid)
        process.kill()
        wait_until(lambda: not Path(f"/proc/{agent}/exe").exists(), "the agent to end")


def test_the_pages_of_this_host(
    tmp_path: Path, go_binary: GoBinary, load: Callable[..., Load]
) -> None:
    """A Go program is on the page and in the API. The Host check and the folder work, too."""
    load(go_binary("knownwork", VERSIONS[-1]))
    store = tmp_path / "store"
    with web(tmp_path, "--store", str(store)) as (process, url):
        # The page is made from the sums of hours, which are written after the windows.
        wait_until(lambda: b"knownwork" in fetched(url), "the program to be stored")
        assert "knownwork" in json.dumps(json.loads(fetched(f"{url}api/v1/top?since=1h")))
        with pytest.raises(urllib.error.HTTPError, match="421"):
            fetched(url, Host="gotax.example")
        process.terminate()
        assert process.wait(GUARD_S) == 0
        assert process.stderr is not None
        assert (
            process.stderr.read() == "The first numbers come after a few seconds. Ctrl-C ends it.\n"
        )
    assert [each.name for each in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--http", "0.0.0.0:0"], "is not an address of this machine alone"),
        (["--http", ":0"], "is not an address of this machine alone"),
        (["--hz", "5000"], "--hz"),
        (["--htp", "x"], "did you mean --http?"),
    ],
)
def test_what_it_refuses(arguments: list[str], text: str) -> None:
    command = [sys.executable, "-m", "gotax", "web", "--http", "127.0.0.1:0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "gotax", "web", "--http", f"127.0.0.1:{port}"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert "--http" in line
