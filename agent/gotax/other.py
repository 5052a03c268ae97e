"""Values about containers without a Go program: their use of the CPU, threads and settings."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from gotax.process import Container, CpuLimit, CpuUsage, Process
from gotax.recipe import Knob, Recipe


@dataclass(frozen=True, slots=True)
class ThreadGroup:
    """``count`` threads whose names are equal but for their numbers, which ``name`` has as ``*``.
    They ran."""

    name: str
    count: int


@dataclass(frozen=True, slots=True)
class Recognised:
    """A program that a recipe recognises. ``knob``: the one that is set, None for none of them.
    ``value``: its number, None if it has none."""

    recipe: Recipe
    knob: Knob | None = None
    value: int | None = None


@dataclass(frozen=True, slots=True)
class Throttling:
    """``usage``: the growth of the kernel's counters in ``duration_s``, of the cgroup with the
    limit. ``period_ns``: of its enforcement."""

    usage: CpuUsage
    duration_s: float
    period_ns: int

    def __add__(self, other: Throttling) -> Throttling:
        """A counter that one of them does not know is unknown: the other's is of a part."""
        pairs = zip(astuple(self.usage), astuple(other.usage), strict=True)
        sums = (None if a is None or b is None else a + b for a, b in pairs)
        total_s = self.duration_s + other.duration_s
        return Throttling(CpuUsage(*sums), total_s, other.period_ns)

    @property
    def periods(self) -> tuple[int, int]:
        """(throttled, all); (0, 0) if the kernel does not count them."""
        throttled, periods = self.usage.throttled_periods or 0, self.usage.periods or 0
        return min(throttled, periods), periods

    def cpus_at_once(self, limit_cores: float) -> float | None:
        """On how many CPUs threads ran, or waited for quota, in a throttled period; None if there
        was none.

        Each CPU has the group's threads in a queue. In a throttled period these queues used up the
        quota together, and the kernel adds up the time for which each of them was stopped.
        """
        throttled, _ = self.periods
        stopped_ns = self.usage.throttled_ns
        if not throttled or stopped_ns is None:
            return None
        return limit_cores + stopped_ns / (throttled * self.period_ns)


@dataclass(frozen=True, slots=True)
class OtherUse:
    """What one container without a Go program did in one window.

    ``processes``: those with samples, most samples first, at most 64. ``threads``: those that all
    with samples have.
    ``limit``: None if it was not read. ``throttling``: None for a container without a limit, and
    for one that uses so little of it that it cannot be throttled. ``counted``: the
    threads that were looked at, ``ran``: those of them that ran in the window, the largest group
    first; None if they were not looked at. ``runnable``: how many of them ran, or waited for a
    CPU or for quota, on average. ``recognised``: None if the
    program was not looked at. ``unread``: why something about the program or its container could
    not be read, "" for nothing.
    """

    container: Container
    samples: int
    processes: tuple[Process, ...]
    process_samples: tuple[int, ...]
    threads: int = 0
    limit: CpuLimit | None = None
    throttling: Throttling | None = None
    counted: int = 0
    ran: tuple[ThreadGroup, ...] | None = None
    runnable: float | None = None
    recognised: tuple[Recognised, ...] | None = None
    unread: str = ""

    @property
    def main_process(self) -> Process:
        return self.processes[0]

    @property
    def threads_ran(self) -> int | None:
        return None if self.ran is None else sum(group.count for group in self.ran)

    @property
    def cpus_at_once(self) -> float | None:
        """As ``Throttling.cpus_at_once``."""
        limit = self.limit.limit_cores if self.limit is not None else None
        if limit is None or self.throttling is None:
            return None
        return self.throttling.cpus_at_once(limit)
