"""The agent's connection to one reader."""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from gotax.errors import ParseError, ProcessGoneError, ReadError
from gotax.linux import procfs
from gotax.reader.asking import MALFORMED, Subject
from gotax.reader.message import MAX_BYTES
from gotax.reader.server import Child
from gotax.reader.worker import SIZE

DIES_WITHIN_S, DIES_SURELY_S = 1.0, 10.0
_RECEIVED_AT_ONCE = 1 << 20
_SLICE_S = 0.1  # of a wait


@dataclass(slots=True)
class Job:
    subject: Subject
    question: str
    since_s: float
    cpu_s: float  # of its reader, when it began


class BusyError(Exception):
    """The answer is not there yet."""


class EndedError(Exception):
    """The reader has ended."""


class Connection:
    """One reader and what it is doing."""

    def __init__(self, child: Child, is_stopping: Callable[[], bool]) -> None:
        self._child = child
        self._is_stopping = is_stopping
        self._received = bytearray()
        self._cpu_s = 0.0
        self.job: Job | None = None
        self.killed_s = 0.0
        self.is_blamed = False  # its end, or that it has none

    @property
    def pid(self) -> int:
        return self._child.pid

    def cpu_s(self) -> float:
        """So far; what was last seen, once it has ended."""
        # The kernel's clock of a process: include/linux/posix-timers.h, CPUCLOCK_SCHED.
        with contextlib.suppress(OSError):
            if self.is_alive():
                self._cpu_s = max(self._cpu_s, time.clock_gettime(~self.pid << 3 | 2))
        return self._cpu_s

    def is_alive(self) -> bool:
        return not _is_ready(self._child.pidfd, select.POLLIN, 0.0)

    def start(self, job: Job, data: bytes, until_s: float) -> None:
        """Raises BusyError if it does not take the question in time, EndedError."""
        self.job = job
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[self._child.connection.send(rest) :]
            except BlockingIOError:
                self._wait(until_s, select.POLLOUT)
            except OSError as error:
                raise EndedError from error

    def answer(self, until_s: float) -> bytes:
        """Raises BusyError, EndedError, ParseError."""
        received = self._received
        while True:
            if len(received) >= SIZE.size:
                (size,) = SIZE.unpack_from(received)
                if not 0 < size <= MAX_BYTES or len(received) > SIZE.size + size:
                    raise ParseError(MALFORMED, f"an answer of {size} bytes")
                if len(received) == SIZE.size + size:
                    self._received = bytearray()
                    self.job = None
                    return bytes(received[SIZE.size :])
            try:
                part = self._child.connection.recv(_RECEIVED_AT_ONCE)
            except BlockingIOError:
                self._wait(until_s, select.POLLIN)
                continue
            except OSError as error:
                raise EndedError from error
            if not part:
                raise EndedError
            received += part

    def _wait(self, until_s: float, event: int) -> None:
        fd = self._child.connection.fileno()
        while not _is_ready(fd, event, 0.0):
            left_s = until_s - time.monotonic()
            if left_s <= 0 or self._is_stopping():
                raise BusyError
            _is_ready(fd, event, min(left_s, _SLICE_S))

    def is_held(self) -> bool:
        """It was killed, and the kernel does not end it: it waits for a file system."""
        since_s = time.monotonic() - self.killed_s
        if since_s < DIES_WITHIN_S:
            return False
        try:
            return procfs.read_stat("/proc", self.pid).state == "D" or since_s > DIES_SURELY_S
        except (ProcessGoneError, ReadError):
            return since_s > DIES_SURELY_S

    def kill(self) -> None:
        """Does not wait for its end."""
        self.cpu_s()
        self.killed_s = time.monotonic()
        with contextlib.suppress(OSError):
            signal.pidfd_send_signal(self._child.pidfd, signal.SIGKILL)
        self._child.connection.close()

    def forget(self) -> None:
        os.close(self._child.pidfd)


def _is_ready(fd: int, event: int, wait_s: float) -> bool:
    """poll, since select knows no descriptors above 1023."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(math.ceil(1000 * wait_s)))
