"""A compiler that is slow, hangs, or is killed: small nodes that start, little memory."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kernel.load import GUARD_S, ROOT, wait_until

pytestmark = pytest.mark.kernel

# The command without a compiled form, with another timeout and another "Python" for the compiler's
# process; SIGUSR1 restores both.
PATCHED = """
import signal, sys
from gotax import daemon
from gotax.cli import main
from gotax.sampling import loader, sampler
sampler.load_compiled = lambda _: None
real = sys.executable, loader._LOAD_TIMEOUT_S
def restore(*_):
    sys.executable, loader._LOAD_TIMEOUT_S = real
signal.signal(signal.SIGUSR1, restore)
daemon._RETRY_FIRST_S = daemon._RETRY_MAX_S = 0.05
sys.executable, loader._LOAD_TIMEOUT_S = sys.argv[1] or real[0], float(sys.argv[2])
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture
def compiler(tmp_path: Path) -> Callable[[str], str]:
    """compiler("exec sleep 1000") is a program that runs this command instead of compiling."""

    def write(script: str) -> str:
        path = tmp_path / "compiler"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return write


def patched(compiler: str, bound_s: float, *command: str) -> list[str]:
    return [sys.executable, "-c", PATCHED, compiler, str(bound_s), *command]


@pytest.mark.parametrize(
    ("script", "bound_s", "sentence"),
    [
        pytest.param("exec sleep 1000", 0.1, "took over 0.1 s", id="late"),
        pytest.param("kill -9 $$", 300.0, "was ended by signal 9", id="killed"),
        pytest.param("", 300.0, "could not be started", id="no process left"),
    ],
)
def test_a_command_reports_it_in_one_sentence(
    compiler: Callable[[str], str], script: str, bound_s: float, sentence: str
) -> None:
    """Only once: a kernel without bpf_task_pt_regs() is not the cause, so there is no second
    attempt."""
    path = compiler(script)
    if not script:
        Path(path).chmod(0)  # failures of fork and exec raise the same exception
    done = subprocess.run(
        patched(path, bound_s, "check", "-d", "0.1"),
        capture_output=True,
        text=True,
        check=False,
        timeout=GUARD_S,
        cwd=ROOT,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert sentence in done.stderr


def test_control_c_ends_the_wait(compiler: Callable[[str], str], tmp_path: Path) -> None:
    """And the compiler's processes end."""
    pid = tmp_path / "pid"
    command = patched(compiler(f"echo $$ > {pid}; exec sleep 1000"), 1000.0, "check")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT) as running:
        wait_until(lambda: pid.exists() and pid.read_text(), "the compiler to start")
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=GUARD_S)
    assert running.returncode == 2
    assert said == "gotax: stopped before anything was measured\n"
    assert not Path("/proc", pid.read_text().strip()).exists()


class Agent:
    def __init__(self, compiler: str, bound_s: float) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = f"127.0.0.1:{free.getsockname()[1]}"
        command = patched(compiler, bound_s, "agent", "-i", "0.2", "--listen", self._address)
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT)

    def ask(self, path: str) -> tuple[int, str]:
        """Status and text; (0, "") before the agent listens."""
        try:
            with urllib.request.urlopen(f"http://{self._address}{path}", timeout=GUARD_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:
            return 0, ""

    def says(self, status: int, words: str) -> bool:
        found, text = self.ask("/readyz")
        return found == status and words in text

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=GUARD_S)
        return self.process.returncode, said


@pytest.fixture
def agent() -> Iterator[Callable[[str, float], Agent]]:
    started: list[Agent] = []

    def start(compiler: str, bound_s: float) -> Agent:
        started.append(Agent(compiler, bound_s))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


@pytest.mark.parametrize(
    ("script", "bound_s", "reason"),
    [
        pytest.param("", 0.01, "took over 0.01 s", id="late"),
        pytest.param("kill -9 $$", 300.0, "was ended by signal 9", id="killed"),
    ],
)
def test_the_agent_tries_again(
    agent: Callable[[str, float], Agent],
    compiler: Callable[[str], str],
    script: str,
    bound_s: float,
    reason: str,
) -> None:
    """It is running but not ready, with the reason; when the compiler works, it samples."""
    started = agent(compiler(script) if script else "", bound_s)
    wait_until(lambda: started.says(503, reason), "the reason")
    assert started.ask("/healthz")[0] == 200
    assert started.ask("/metrics")[0] == 200
    started.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: started.says(200, "ok"), "the agent to be ready")
    code, said = started.end()
    assert code == 0
    assert "retrying in 0.05 s" in said
    assert "Traceback" not in said


def test_the_agent_ends_while_it_compiles(
    agent: Callable[[str, float], Agent], compiler: Callable[[str], str]
) -> None:
    """SIGTERM is handled, however long the compiler takes."""
    started = agent(compiler("exec sleep 1000"), 1000.0)
    wait_until(lambda: started.says(503, "compiling the BPF program"), "the reason")
    assert started.ask("/healthz")[0] == 200
    code, said = started.end()
    assert (code, "Traceback" in said) == (0, False)
