"""Ctrl-C and SIGTERM."""

from __future__ import annotations

import math
import os
import select
import signal


class StopSignal:
    """A ``Stop`` that a signal handler may set.

    Not a ``threading.Event``: its lock is taken by whoever waits, and a handler that runs in the
    middle of that, on the same thread, would wait for it for ever.
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

    def wait(self, timeout: float, also: int | None = None) -> None:
        """Also returns when the descriptor ``also`` can be read."""
        # Both are tried again after a signal (PEP 475). select cannot take descriptors of 1024 and
        # more, which ``also`` may be on a host with many CPUs; ours is one of the first.
        if also is None:
            select.select([self._read], [], [], timeout)
            return
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        poll.register(also, select.POLLIN)
        poll.poll(math.ceil(timeout * 1000))


def stop_on_signals() -> StopSignal:
    """Set by Ctrl-C and SIGTERM, so that what was measured until then is still printed."""
    stop = StopSignal()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop
