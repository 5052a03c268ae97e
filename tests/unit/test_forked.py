from __future__ import annotations

import os
import signal

import pytest
from gotax.errors import ParseError
from gotax.forked import forked

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


def test_an_error_is_raised_here(capfd: pytest.CaptureFixture[str]) -> None:
    """As if the question had been asked here; the child says nothing."""

    def question() -> None:
        raise ParseError("elf-truncated")

    with forked(question) as answer, pytest.raises(ParseError, match="elf-truncated"):
        answer()
    assert capfd.readouterr() == ("", "")
