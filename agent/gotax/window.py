"""The output of the pipeline: a window with one report per container.

A *window* is everything measured in one interval. A *loss* is a sample that could not be
attributed, under a named reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from gotax.category import RUNTIME_GROUPS, Category, Group
from gotax.comparison import Change
from gotax.findings import Finding, Saving, Verdict, WaitCause
from gotax.other import OtherUse
from gotax.process import Container, CpuLimit, CpuUsage, Memory, Process
from gotax.profile import FunctionShare, Int64Array, Profile
from gotax.waiting import Waiting

OUTSIDE_NAMESPACE = "outside-namespace"


@cache
def _categories_of(groups: tuple[Group, ...]) -> tuple[Category, ...]:
    return tuple(category for category in Category if category.group in groups)


@dataclass(frozen=True, slots=True)
class SampleCount:
    """Conservation: ``drained == attributed + sum(lost.values())``."""

    drained: int
    attributed: int
    lost: dict[str, int]

    @property
    def outside(self) -> int:
        """Samples of programs outside this PID namespace."""
        return self.lost.get(OUTSIDE_NAMESPACE, 0)


@dataclass(frozen=True, slots=True)
class Collections:
    """Completed GC cycles in some time, and the bytes that were allocated in it (0: not known)."""

    cycles: int = 0
    allocated_bytes: int = 0

    def __add__(self, other: Collections) -> Collections:
        return Collections(self.cycles + other.cycles, self.allocated_bytes + other.allocated_bytes)


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """One Go container in one window. ``category_samples`` has ``CATEGORY_COUNT`` entries.

    ``process_samples`` has one entry per process. The verdict and the findings are based on this
    window and earlier ones, back to the last change of the container. ``held_s``: how long the
    verdict has held.
    """

    container: Container
    processes: tuple[Process, ...]
    category_samples: Int64Array
    functions: tuple[FunctionShare, ...]
    limit: CpuLimit
    usage: CpuUsage  # deltas of the kernel's counters in this window
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    cpu_ns: int | None = None  # of its Go processes, by the kernel's account
    process_samples: tuple[int, ...] = ()
    held_s: float = 0.0
    drain_samples: tuple[int, ...] = ()  # of each drain, in order: shows how even the load was
    suppressed: tuple[str, ...] = ()  # codes of suppressed findings
    saving: Saving | None = None  # of the recommended GOMAXPROCS, with or without a finding
    memory: Memory | None = None  # of its cgroup, as last read; None if it was not
    collections: Collections | None = None  # of the main process; None if not known
    waiting: Waiting | None = None  # only with a finding, as last read
    waits_for: WaitCause | None = None  # None without ``waiting``

    @property
    def samples(self) -> int:
        return int(self.category_samples.sum())

    @property
    def main_process(self) -> Process:
        """The Go process with the most samples: ``processes`` is sorted that way."""
        return self.processes[0]

    def share(self, *categories: Category) -> float:
        samples: list[int] = self.category_samples.tolist()
        total = sum(samples)
        return sum(samples[category] for category in categories) / total if total else 0.0

    def group_share(self, *groups: Group) -> float:
        return self.share(*_categories_of(groups))

    @property
    def runtime_share(self) -> float:
        return self.share(*_categories_of(tuple(RUNTIME_GROUPS)))


@dataclass(frozen=True, slots=True)
class OtherReport:
    """One container without a Go program in one window. It has no profile and no verdict."""

    use: OtherUse
    findings: tuple[Finding, ...] = ()
    suppressed: tuple[str, ...] = ()  # codes of suppressed findings

    @property
    def container(self) -> Container:
        return self.use.container

    @property
    def processes(self) -> tuple[Process, ...]:
        return self.use.processes

    @property
    def main_process(self) -> Process:
        """The one with the most samples."""
        return self.use.main_process


@dataclass(frozen=True, slots=True)
class Health:
    """The state of gotax itself. Evictions and errors count since the start."""

    drain_s: float = 0.0
    work_s: float = 0.0
    cache_entries: dict[str, int] = field(default_factory=dict)
    cache_evictions: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    reader_restarts: dict[str, int] = field(default_factory=dict)
    reader_cpu_s: float = 0.0
    readers_stuck: int = 0


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Programs that could not be read, so it is unknown if they are Go: ``reason`` is why.

    ``samples``: their samples. For programs that ended before they were read (``process-gone``),
    ``processes`` counts those with samples in the window.
    """

    reason: str
    processes: int
    samples: int


def go_processes(processes: Sequence[Process]) -> dict[str, list[int]]:
    """The indices of the Go processes of each container, by the container's key."""
    found: dict[str, list[int]] = {}
    for index, process in enumerate(processes):
        if process.is_go:
            found.setdefault(process.container.key, []).append(index)
    return found


@dataclass(frozen=True, slots=True)
class Window:
    """Everything of one interval. ``start_unix_ns`` is wall time, ``duration_s`` monotonic."""

    host: str
    start_unix_ns: int
    duration_s: float
    period_ns: int
    cpu_count: int
    samples: SampleCount
    processes: tuple[Process, ...]
    profile: Profile
    reports: tuple[ContainerReport, ...]  # Go containers, most samples first
    other_samples: int  # samples of processes not known to be Go
    health: Health = Health()
    changes: tuple[Change, ...] = ()  # of GOMAXPROCS, made in the last hour, newest first
    unjudged: tuple[
        Unjudged, ...
    ] = ()  # most processes first; their samples are in other_samples, too
    judged: int = 0  # programs that were read, Go or not
    others: tuple[OtherReport, ...] = ()  # containers without Go programs, most samples first

    def report_rows(self) -> list[Int64Array]:
        """For each report the rows of its Go processes in the profile."""
        members = go_processes(self.processes)
        return [self.profile.rows_of(members.get(r.container.key, ())) for r in self.reports]

    @property
    def native_samples(self) -> int:
        """Samples of programs known not to be Go."""
        return self.other_samples - sum(found.samples for found in self.unjudged)

    @property
    def hz(self) -> float:
        return 1e9 / self.period_ns

    def cpu_ns_of(self, report: ContainerReport) -> int:
        """CPU time of a container's Go processes, from the kernel or else from the samples.

        Samples show what the time was spent on. The kernel's own count is more exact, because timer
        interrupts come a little late and miss the ends of short runs.
        """
        return report.samples * self.period_ns if report.cpu_ns is None else report.cpu_ns

    def cores_of(self, report: ContainerReport) -> float:
        return self.cpu_ns_of(report) / 1e9 / self.duration_s if self.duration_s else 0.0

    def cpu_s(self, samples: int) -> float:
        return samples * self.period_ns / 1e9

    def cpu_cores(self, samples: int) -> float:
        return self.cpu_s(samples) / self.duration_s if self.duration_s else 0.0
