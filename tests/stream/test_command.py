"""`gotax collector` as a process, and its errors for wrong options."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("chdb", reason="no embedded ClickHouse for this platform")

from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream.exporter import StreamExporter
from gotax.exporters.stream.sender import AgentIdentity
from gotax.exporters.stream.spool import Bounds, Spool

from tests.patience import PATIENCE_S, promised
from tests.unit.exporters.windows import story_window

from .collecting import eventually
from .conftest import Files

COMMAND = [sys.executable, "-m", "gotax", "collector"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--plaintext", "--listen", ":0"], "need a token (--token-file) or a certificate"),
        (["--plaintext", "--listen", "0.0.0.0:0"], "--insecure-agents accepts everyone"),
        (["--http", ":0"], "readers of other machines need a token (--http-token-file)"),
        (["--http", "[::]:0"], "--insecure-http lets everyone"),
        (["--http-cert", "a"], "--http-cert and --http-key must be given together"),
        (["--http-cert", "/none", "--http-key", "/none"], "cannot read /none: No such file"),
        (["--store", "http://me:hunter2@ch/gotax"], "put it into a file (--store-password-file)"),
        (["--store", "http://ch", "--store-password-file", "/none"], "cannot read /none"),
        (["--max-agents", "0"], "'0' is not a whole number of 1 or more"),
        (["--max-agents", "1_0"], "'1_0' is not a whole number of 1 or more"),
        (["--max-bytes-per-second", "inf"], "'inf' is not a number above 0"),
        (["--keep-hours", "0001" + "9" * 5000], "is not a number of days from 1 to 3650"),
        (["--http", "127.0.0.1:000080" + "9" * 9], "has no port from 0 to 65535"),
        (["--listen", "0.0.0.0:0"], "need TLS (--cert, --key), or --plaintext"),
        (["--token-file", "x"], "need TLS (--cert, --key), or --plaintext"),
        (["--cert", "a"], "--cert and --key must be given"),
        (["--plaintext", "--cert", "a", "--key", "b"], "--plaintext cannot be combined"),
        (["--cert", "/none", "--key", "/none"], "cannot read /none: No such file"),
        (["--plaintext", "--token-file", "/none"], "cannot read /none: No such file"),
        (
            ["--plaintext", "--store", "ftp://x"],
            "--store: 'ftp://x' does not begin with http://",
        ),
        (["--plaintext", "--listen", "here"], "'here' has no port: write HOST:PORT, [IPV6]:PORT"),
        (["--plaintext", "--keep-windows", "0"], "'0' is not a number of days from 1 to 3650"),
        (["--plaintext", "--keep-hours", "1e9"], "'1e9' is not a number of days from 1 to 3650"),
        (["--plaintext", "--batch-seconds", "nan"], "'nan' is not a number of seconds up to 30"),
        (["--plaintext", "--store-memory-bytes", "1"], "'1' is not a number of 268435456 or more"),
    ],
)
def test_what_cannot_work_is_one_sentence(options: list[str], says: str, tmp_path: Path) -> None:
    """On standard error, with exit code 2 and no traceback."""
    more = [] if "--store" in options else ["--store", str(tmp_path)]
    done = subprocess.run(
        [*COMMAND, *options, *more], capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_without_its_libraries_it_says_how_to_get_them(tmp_path: Path) -> None:
    """The agent alone is installed: no package of the collector's."""
    (tmp_path / "gotax_collector").mkdir()
    (tmp_path / "gotax_collector/__init__.py").write_text("import no_such_library\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        COMMAND, capture_output=True, text=True, timeout=PATIENCE_S, env=environment, check=False
    )
    assert done.returncode == 2
    assert "pip install 'gotax[collector]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@promised(2)
def test_it_receives_shows_its_metrics_and_ends_when_told(
    files: Files, tmp_path: Path, within_s: float
) -> None:
    """With TLS, client certificates and the embedded store; SIGTERM ends it with exit code 0."""
    log = tmp_path / "log"
    options = [
        *("--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--store", str(tmp_path / "store")),
        *("--cert", files.server_cert, "--key", files.server_key, "--client-ca", files.authority),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen([*COMMAND, *options], stdout=file, stderr=file)
    try:
        eventually(lambda: "collector ready" in log.read_text() or process.poll() is not None)
        ready = log.read_text()
        port, http = (int(re.findall(rf"{kind}_port=(\d+)", ready)[0]) for kind in ("grpc", "http"))
        endpoint = Endpoint(
            "127.0.0.1",
            port,
            is_secure=True,
            credentials=Credentials(
                ca=files.authority, certificate=files.agent_cert, key=files.agent_key
            ),
        )
        agent = StreamExporter(endpoint, AgentIdentity("a", "a"), Spool("", Bounds(1 << 20, 60)))
        agent.publish(story_window())
        eventually(lambda: agent.statistics().acknowledged == 1)
        with urllib.request.urlopen(
            f"http://127.0.0.1:{http}/metrics", timeout=PATIENCE_S
        ) as answer:
            assert b"gotax_collector_acknowledged_total 1.0" in answer.read()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert time.monotonic() - began < within_s  # with an agent, which it lets go
        agent.close()
    finally:
        process.kill()
    lines = log.read_text().splitlines()
    assert all(line.startswith("time=") for line in lines), lines


STUCK = """
import sys, time
from gotax_collector.cli import command
from gotax_collector.storage import store
store.ClickHouseStore.insert = lambda self, batch: print("inserting", flush=True) or time.sleep(9e3)
sys.exit(command.run("collector", sys.argv[1:]))
"""


@promised(4)
def test_a_store_that_does_not_return_does_not_keep_it(tmp_path: Path, within_s: float) -> None:
    """SIGTERM in the middle of an insert: it waits as long as it was told, and goes."""
    log = tmp_path / "log"
    options = [
        *("--plaintext", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"),
        *("--store", str(tmp_path / "store"), "--drain-seconds", "1"),
    ]
    with log.open("wb") as file:
        command = [sys.executable, "-c", STUCK, *options]
        process = subprocess.Popen(command, stdout=file, stderr=file)
    try:
        eventually(lambda: "collector ready" in log.read_text() or process.poll() is not None)
        port = int(re.findall(r"grpc_port=(\d+)", log.read_text())[0])
        endpoint = Endpoint("127.0.0.1", port, is_secure=False)
        agent = StreamExporter(endpoint, AgentIdentity("a", "a"), Spool("", Bounds(1 << 20, 60)))
        agent.publish(story_window())
        eventually(lambda: "inserting" in log.read_text())
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert 1 <= time.monotonic() - began < within_s
        assert agent.statistics().acknowledged == 0
        agent.close()
    finally:
        process.kill()
    assert "some reports are not stored" in log.read_text()
