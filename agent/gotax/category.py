"""What CPU time was spent on: the categories of samples, and their groups."""

from __future__ import annotations

from enum import Enum, IntEnum


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
