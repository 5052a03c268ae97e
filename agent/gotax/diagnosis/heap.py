"""What garbage collection costs with the present GOGC and memory limit, and with others.

A cycle marks the live heap, whatever was allocated since the last one, so it always costs about
the same. Between two cycles the program may allocate the *room*: the goal of the heap less what is
live. With twice the room there are half as many cycles. docs/saving.md has the measured runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gotax.category import Group
from gotax.confidence import interval
from gotax.diagnosis.context import Context
from gotax.findings import Saving, SavingSource
from gotax.process import NO_MEMORY_LIMIT

MIB = 1 << 20
USABLE = 0.9
"""Of the container's memory limit, for GOMEMLIMIT: the kernel counts memory that Go does not, such
as C code's and the kernel's own for the container (go.dev/doc/gc-guide advises 5 to 10 %)."""
LEAST_GOAL = 4 * MIB
"""The smallest goal at GOGC=100 (defaultHeapMinimum in runtime/mgcpacer.go)."""
HEADROOM = 0.97
"""The part of what the memory limit leaves for the heap that its goal uses (there as well)."""
HELD = 0.85
"""Below this part of the goal that GOGC gives, the memory limit sets the goal."""
CYCLES_MIN = 3
"""With fewer cycles, what is allocated in one is not known."""
LEAST_ROOM = 0.01
"""Of the live heap, where neither says more: the runtime collects all the time."""
STEADY = 0.8
"""A live heap varies if its lowest size is below this part of its highest."""
SPARED_LOW, SPARED_MID, SPARED_HIGH = 0.75, 1.05, 1.8
"""What is saved, by the GC's CPU time that is no longer needed: between these in nine of ten runs.
Above 1 because a running collector also slows the program and wakes threads."""


@dataclass(frozen=True, slots=True)
class Heap:
    """The heap of one process. ``gogc``: -1 for off. ``limit``: None for none.

    ``other``: memory beside the heap that counts against the limit. ``per_cycle``: bytes that were
    allocated from one cycle to the next; None if there were too few. ``roots``: stacks and global
    variables, which GOGC counts like live data (commit in runtime/mgcpacer.go). ``seen``: the
    lowest and the highest live heap of several moments.
    """

    live: int
    goal: int
    gogc: int
    limit: int | None
    other: int
    per_cycle: int | None = None
    roots: int = 0
    seen: tuple[int, int] | None = None

    @property
    def at_highest(self) -> Heap:
        """With the most live data that was seen."""
        return self if self.seen is None else replace(self, live=max(self.live, self.seen[1]))

    @property
    def is_steady(self) -> bool:
        """About as much data was live at all moments."""
        return self.seen is None or self.seen[0] >= STEADY * self.seen[1]

    def goal_by_percent(self, gogc: int) -> int:
        room = (self.live + self.roots) * gogc // 100
        return max(self.live + room, LEAST_GOAL * gogc // 100)

    def goal_by_limit(self, limit: int) -> int:
        return max(self.live, int((limit - self.other) * HEADROOM))

    @property
    def present_goal(self) -> int:
        """As the runtime computes it (heapGoalInternal in runtime/mgcpacer.go). What it stores is
        the goal of the last cycle: of a heap that grows, that was one for less live data."""
        goals = []
        if self.gogc >= 0:
            goals.append(self.goal_by_percent(self.gogc))
        if self.limit is not None:
            goals.append(self.goal_by_limit(self.limit))
        return min(goals)

    @property
    def is_held(self) -> bool:
        """By its memory limit: GOGC alone would let it grow further."""
        if self.limit is None:
            return False
        return self.gogc < 0 or self.goal < HELD * self.goal_by_percent(self.gogc)

    @property
    def wanted(self) -> int:
        """The goal that a memory limit should allow: that of GOGC, but of 100 if it is higher or
        off. More than twice the live heap is a choice of the program, and not what makes a
        collector run all the time."""
        return self.goal_by_percent(100 if self.gogc < 0 else min(self.gogc, 100))

    @property
    def is_tight(self) -> bool:
        """Its memory limit leaves less than that."""
        return self.is_held and self.goal < HELD * self.wanted

    @property
    def room(self) -> int:
        """For allocations in one cycle. At a limit a cycle often takes longer than the goal allows,
        so what was really allocated counts if it is more."""
        least = int(self.live * LEAST_ROOM) if self.per_cycle is None else self.per_cycle
        return max(self.goal - self.live, least, 1)

    def kept(self, goal: int) -> float:
        """The part of the cycles that remains with another goal."""
        return min(1.0, self.room / max(1, goal - self.live))


def heap_of(context: Context) -> Heap | None:
    """Of the main process; None if a number is unknown (as before Go 1.20)."""
    return context.once(_find_heap)


def _find_heap(context: Context) -> Heap | None:
    state = context.report.main_process.runtime
    if state is None or state.gogc is None or state.memory_limit_bytes is None:
        return None
    if state.live_heap_bytes is None or state.heap_goal_bytes is None:
        # GOGC off and no limit, or no cycle yet.
        return None
    if state.gogc < 0 and state.memory_limit_bytes == NO_MEMORY_LIMIT:
        return None
    counted = context.report.collections
    per_cycle = None
    if counted is not None and counted.cycles >= CYCLES_MIN and counted.allocated_bytes:
        per_cycle = counted.allocated_bytes // counted.cycles
    limit = state.memory_limit_bytes
    found = Heap(
        live=state.live_heap_bytes,
        goal=state.heap_goal_bytes,
        gogc=state.gogc,
        limit=None if limit == NO_MEMORY_LIMIT else limit,
        other=state.non_heap_bytes or 0,
        per_cycle=per_cycle,
        roots=state.root_bytes or 0,
        seen=context.live_heap,
    )
    return replace(found, goal=found.present_goal)


def predict_gc_saving(context: Context, kept: float) -> Saving | None:
    """If only this part of the collections remains; None without CPU time or samples."""
    total, cores = context.report.samples, context.cores
    if not total or cores is None:
        return None
    samples = context.group_samples(Group.GC)
    low, high = interval(samples, total)
    spared = cores * (1 - kept)
    mid = spared * samples / total * SPARED_MID
    return Saving(
        low=spared * low * SPARED_LOW,
        mid=mid,
        high=min(cores, spared * high * SPARED_HIGH),
        sources=(SavingSource("garbage collection", mid),),
    )


def mib(size: float) -> str:
    return f"{size / MIB:,.0f} MiB"
