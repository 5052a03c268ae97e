from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.errors import ParseError
from gotax.forked import forked

from tests.patience import PATIENCE_S

PARENT = os.getpid()


def test_another_process_answers() -> None:
    """With more data than a pipe holds; the process leaves nothing behind."""
    with forked(lambda: (os.getpid(), "x" * 1_000_000)) as answer:
        pid, text = answer()
    assert pid != PARENT
    assert len(text) == 1_000_000
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_a_child_whose_answer_is_not_needed_is_killed() -> None:
    """A child that would never end does not block the caller."""
    with pytest.raises(KeyboardInterrupt), forked(signal.pause):
        raise KeyboardInterrupt


def test_without_its_child_the_parent_computes_the_answer() -> None:
    """The child was killed."""

    def question() -> int:
        if os.getpid() != PARENT:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    with forked(question) as answer:
        assert answer() == PARENT


def test_a_child_killed_during_its_answer_is_replaced() -> None:
    """It waits for the pipe to be emptied; the partial answer is ignored."""
    pids = []

    def question() -> str:
        return f"{os.getpid()}".ljust(1_000_000)

    def fork() -> int:
        pids.append(original())
        return pids[-1]

    original = os.fork
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fork", fork)
        with forked(question) as answer:
            wait_until(lambda: is_writing(pids[0]))
            os.kill(pids[0], signal.SIGKILL)
            assert int(answer()) == PARENT


def is_writing(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("S")


def wait_until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("call", ["fork", "pipe"])
def test_an_answer_without_resources_for_a_child(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process or no descriptor is available, and none is left open."""

    def refuse() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, call, refuse)
    before = os.listdir("/proc/self/fd")
    with forked(os.getpid) as answer:
        assert answer() == PARENT
    assert os.listdir("/proc/self/fd") == before


def test_the_status_of_the_child_may_be_unavailable() -> None:
    """Some supervisors leave SIGCHLD ignored: then waiting for a child fails."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with forked(os.getpid) as answer:
            assert answer() != PARENT
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_error_is_raised_here(capfd: pytest.CaptureFixture[str]) -> None:
    """As if it was computed in this process; the child prints nothing."""

    def question() -> None:
        raise ParseError("elf-truncated")

    with forked(question) as answer, pytest.raises(ParseError, match="elf-truncated"):
        answer()
    out, said = capfd.readouterr()
    assert out == ""
    # gRPC, if an earlier test has used it, prints a message at every fork.
    assert "Traceback" not in said
    assert "ParseError" not in said
