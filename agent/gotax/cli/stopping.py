"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import math
import os
import select
import signal


class StopSignal:
    """A ``Stop`` that a signal handler may set.

    It is not a ``threading.Event``: a waiting thread holds the lock of an event, so that a handler
    on the same thread would deadlock.
    """

    def __init__(self) -> None:
        self._set = False
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def set(self) -> None:
        if not self._set:
            self._set = True
            os.write(self._write, b"\0")

    def is_set(self) -> bool:
        return self._set

    def register(self, poll: select.poll) -> None:
        """Lets ``poll`` return when it is set."""
        poll.register(self._read, select.POLLIN)

    def wait(self, timeout: float, also: int | None = None) -> None:
        """Also returns when the descriptor ``also`` is readable."""
        # It continues after a signal (PEP 475). select is limited to descriptors below 1024, and a
        # host with many CPUs has more.
        poll = select.poll()
        self.register(poll)
        if also is not None:
            poll.register(also, select.POLLIN)
        poll.poll(math.ceil(timeout * 1000))


def stop_on_signals() -> StopSignal:
    """Set by Ctrl-C and SIGTERM, so that the measurement until then is still printed."""
    stop = StopSignal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
