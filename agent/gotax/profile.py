"""What was sampled: categories, frames, stacks, and the columns of a window's profile.

A *frame* is one function activation, inlined or not. A *location* is one machine address with its
chain of frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]

Int32Array: TypeAlias = npt.NDArray[np.int32]

UInt64Array: TypeAlias = npt.NDArray[np.uint64]

UInt8Array: TypeAlias = npt.NDArray[np.uint8]


class Group(Enum):
    """A group of categories, for summaries."""

    USER = "user"
    SCHEDULER = "scheduler"
    GC = "gc"
    SERVICE = "service"  # runtime work done at the program's request: allocation, channels, ...
    NATIVE = "native"
    UNKNOWN = "unknown"


class Category(IntEnum):
    """What the CPU time of a sample was spent on. Each sample has exactly one category.

    The values index columns and never leave the process; ``label`` is the stable public name.
    docs/categories.md lists what belongs to each, with its source in Go's runtime.
    """

    label: str
    group: Group

    def __new__(cls, value: int, label: str, group: Group) -> Category:
        member = int.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.group = group
        return member

    USER = 0, "user", Group.USER
    SCHED_FIND_WORK = 1, "scheduler/find-work", Group.SCHEDULER  # idle spinning, work stealing
    SCHED_WAKE = 2, "scheduler/wake", Group.SCHEDULER  # making another thread run
    SCHED_PARK = 3, "scheduler/park", Group.SCHEDULER  # putting this thread to sleep
    SCHED_SWITCH = 4, "scheduler/switch", Group.SCHEDULER  # goroutine switches, creation, exit
    SCHED_PREEMPT = 5, "scheduler/preempt", Group.SCHEDULER
    SCHED_SYSMON = 6, "scheduler/sysmon", Group.SCHEDULER
    GC_MARK_DEDICATED = 7, "gc/mark-dedicated", Group.GC
    GC_MARK_FRACTIONAL = 8, "gc/mark-fractional", Group.GC
    GC_MARK_IDLE = 9, "gc/mark-idle", Group.GC
    GC_MARK_BACKGROUND = 10, "gc/mark-background", Group.GC  # a worker whose mode is not visible
    GC_ASSIST = 11, "gc/assist", Group.GC
    GC_WRITE_BARRIER = 12, "gc/write-barrier", Group.GC
    GC_SWEEP = 13, "gc/sweep", Group.GC
    GC_SCAVENGE = 14, "gc/scavenge", Group.GC
    GC_STW = 15, "gc/stop-the-world", Group.GC  # and the coordination of a cycle
    GC_FINALIZERS = 16, "gc/finalizers", Group.GC
    NETPOLL = 17, "netpoll", Group.SCHEDULER
    TIMERS = 18, "timers", Group.SCHEDULER
    ALLOC = 19, "alloc", Group.SERVICE
    CHAN = 20, "chan", Group.SERVICE
    LOCKS = 21, "locks", Group.SERVICE
    SYSCALL = 22, "syscall", Group.SERVICE  # and kernel work done for user code
    STACK_GROWTH = 23, "stack-growth", Group.SERVICE
    CGO = 24, "cgo", Group.NATIVE
    RUNTIME_OTHER = 25, "runtime-other", Group.SERVICE
    NATIVE = 26, "native", Group.NATIVE  # a process that is not Go
    UNKNOWN = 27, "unknown", Group.UNKNOWN


CATEGORY_COUNT = len(Category)

RUNTIME_GROUPS = frozenset({Group.SCHEDULER, Group.GC})
"""The groups of ``runtime_share``: work that the Go runtime does for itself."""


class FrameKind(Enum):
    GO = "go"
    KERNEL = "kernel"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Frame:
    """One function activation. ``line`` 0 and ``file`` "" mean unknown."""

    function: str
    file: str = ""
    line: int = 0
    start_line: int = 0
    kind: FrameKind = FrameKind.GO
    inlined: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """One address of one module. ``frames`` is the inline chain, innermost first, never empty.

    ``address`` is the module's link-time address (for the kernel: the runtime address).
    """

    module: str
    build_id: str
    address: int
    frames: tuple[Frame, ...]


Stack: TypeAlias = tuple[Location, ...]
"""Leaf first; kernel locations, if any, come before the user locations that caused them."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The stack counts of a window, columnar; all arrays have one entry per stack count.

    ``process`` and ``stack`` index ``Window.processes`` and ``stacks``; ``category`` holds
    ``Category`` values; ``samples`` is at least 1.
    """

    process: Int32Array
    stack: Int32Array
    category: UInt8Array
    samples: Int64Array
    stacks: tuple[Stack, ...]
    _order: Int64Array = field(init=False, repr=False, compare=False)  # of rows, by process
    _sorted: Int32Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        order = np.argsort(self.process, kind="stable")
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_sorted", self.process[order])

    def __len__(self) -> int:
        return len(self.samples)

    def rows_of(self, processes: Sequence[int]) -> Int64Array:
        """Rows of these processes, in order."""
        wanted = np.array(processes, np.int32)
        starts = np.searchsorted(self._sorted, wanted, "left").tolist()
        ends = np.searchsorted(self._sorted, wanted, "right").tolist()
        parts = [self._order[start:end] for start, end in zip(starts, ends, strict=True)]
        return np.sort(np.concatenate([self._order[:0], *parts]))


@dataclass(frozen=True, slots=True)
class FunctionShare:
    """``flat_samples``: the function was the leaf; ``cumulative_samples``: it was on the stack."""

    function: str
    flat_samples: int
    cumulative_samples: int
