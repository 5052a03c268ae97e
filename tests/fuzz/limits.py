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
READ_FACTOR = 64
"""All reads together may be so many times the input (and a megabyte)."""

Target = Callable[[bytes], None]


class LimitError(BaseException):
    """No Exception, so that nothing on the way can catch it by mistake."""


class CountingReader(BytesReader):
    """Bounded steps: whoever loops reads, and who reads is counted."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads = 0
        self.bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        data = super().read(offset, length)
        self.reads += 1
        self.bytes += length
        if self.reads > READS or self.bytes > READ_FACTOR * self.size + (1 << 20):
            raise LimitError(f"{self.reads} reads, {self.bytes} bytes of {self.size}")
        return data


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
