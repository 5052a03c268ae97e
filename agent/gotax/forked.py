"""A second CPU for Python: a question answered by a copy of this process."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn, TypeVar

Answer = TypeVar("Answer")

_INTERRUPTS = (signal.SIGINT,)


@contextmanager
def forked(question: Callable[[], Answer]) -> Iterator[Callable[[], Answer]]:
    """Begin to answer in a child process; what is yielded waits for the answer.

    If there can be no child, or it comes to no answer, the question is asked here, and fails here.
    The child has no threads and must need none: no locks, no exporters. It is gone in the end.
    """
    # A signal in between would find a child that believes to be its parent.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTS)
    try:
        pid, reading = _fork(question)
    except OSError:  # no descriptor, process or memory left
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        yield question
        return
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        with open(reading, "rb") as source:

            def answer() -> Answer:
                try:
                    found: Answer = pickle.load(source)
                except (EOFError, pickle.UnpicklingError):  # nothing, or not all of it
                    return question()
                return found

            yield answer
    finally:
        with suppress(ProcessLookupError, ChildProcessError):  # where SIGCHLD is ignored
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _fork(question: Callable[[], object]) -> tuple[int, int]:
    """(PID, descriptor to read the answer from)."""
    reading, writing = os.pipe()
    try:
        pid = os.fork()
        if not pid:
            _answer(question, writing)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
    return pid, reading


def _answer(question: Callable[[], object], writing: int) -> NoReturn:
    """In the child."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a word: the parent has the last
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _INTERRUPTS)
        data = pickle.dumps(question(), pickle.HIGHEST_PROTOCOL)
        with open(writing, "wb") as target:
            target.write(data)
    finally:
        os._exit(0)
