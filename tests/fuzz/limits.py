"""What no input may cost, whatever it says of itself."""

from __future__ import annotations

import resource
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from gotax.errors import GotaxError, ParseError
from gotax.linux.elf import BytesReader

CPU_SECONDS = 2.0
MEMORY_BYTES = 64 << 20
READS = 100_000
READ_BYTES = 96 << 20
"""Of all reads together, however large the input is or says that it is."""
HOLE_BYTES = 64 << 40
"""What a sparse input has behind its data: it takes no disk, and reads as zeros."""

Target = Callable[[bytes], None]


class LimitError(BaseException):
    """No Exception, so that nothing on the way can catch it by mistake."""


class CountingReader(BytesReader):
    """Bounded steps: every loop reads, and every read is counted. ``hole``: bytes behind the data
    that are not there."""

    def __init__(self, data: bytes, hole: int = 0) -> None:
        super().__init__(data)
        self._written = len(data)
        self._hole = hole
        self.reads = 0
        self.bytes = 0

    @property
    def size(self) -> int:
        return self._written + self._hole

    def read(self, offset: int, length: int) -> bytes:
        self.reads += 1
        self.bytes += max(length, 0)
        if self.reads > READS or self.bytes > READ_BYTES:
            raise LimitError(f"{self.reads} reads, {self.bytes} bytes of {self.size}")
        if not self._hole or offset + length <= self._written:
            return super().read(offset, length)
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ParseError("elf-truncated", f"{length} bytes at {offset:#x}")
        found = (
            super().read(offset, max(0, self._written - offset)) if offset < self._written else b""
        )
        return found.ljust(length, b"\0")

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        if offset < self._written:
            yield offset, min(offset + length, self._written)


def judge(target: Target, data: bytes) -> str:
    """The reason for which the target refuses the input, "" if it does not.

    Raises what escapes: any exception but those gotax raises on purpose, MemoryError for more
    than 64 MB, LimitError for more than two seconds of CPU time or too many reads.
    """
    with _cpu_limit(), _memory_limit():
        try:
            target(data)
        except ParseError as error:
            return error.reason
        except GotaxError as error:
            return type(error).__name__
    return ""


@contextmanager
def _cpu_limit() -> Iterator[None]:
    # The CPU's clock, not the wall's: a busy or paused machine is no endless loop.
    before = signal.signal(signal.SIGPROF, _out_of_time)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _out_of_time(_number: int, _frame: types.FrameType | None) -> None:
    raise LimitError(f"more than {CPU_SECONDS} s of CPU time")


@contextmanager
def _memory_limit() -> Iterator[None]:
    """Address space beyond what there is now: an allocation that needs more fails at once."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_bytes().split()[0])
    room = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
