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
    """With more than a pipe holds; nothing is left of it."""
    with forked(lambda: (os.getpid(), "x" * 1_000_000)) as answer:
        pid, text = answer()
    assert pid != PARENT
    assert len(text) == 1_000_000
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def test_who_does_not_wait_for_the_answer_is_not_held_up() -> None:
    """A child that would never end is ended."""
    with pytest.raises(KeyboardInterrupt), forked(signal.pause):
        raise KeyboardInterrupt


def test_a_child_that_was_killed_is_replaced() -> None:
    """By this process."""

    def question() -> int:
        if os.getpid() != PARENT:
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    with forked(question) as answer:
        assert answer() == PARENT


def test_a_child_that_is_killed_while_it_answers_is_replaced() -> None:
    """It waits for the pipe to be emptied; what is there by then is no answer."""
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
def test_without_room_for_a_child_there_is_an_answer(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process, no descriptor: and none is left open."""

    def refuse() -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, call, refuse)
    before = os.listdir("/proc/self/fd")
    with forked(os.getpid) as answer:
        assert answer() == PARENT
    assert os.listdir("/proc/self/fd") == before


def test_nobody_has_to_be_told_of_the_childs_end() -> None:
    """Some supervisors leave SIGCHLD ignored: then nobody can be waited for."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with forked(os.getpid) as answer:
            assert answer() != PARENT
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_an_error_is_raised_here(capfd: pytest.CaptureFixture[str]) -> None:
    """As if the question had been asked here; the child says nothing."""

    def question() -> None:
        raise ParseError("elf-truncated")

    with forked(question) as answer, pytest.raises(ParseError, match="elf-truncated"):
        answer()
    out, said = capfd.readouterr()
    assert out == ""
    # gRPC, where an earlier test has used it, has a word of its own at every fork.
    assert "Traceback" not in said
    assert "ParseError" not in said
