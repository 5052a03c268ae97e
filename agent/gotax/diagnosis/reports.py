"""Makes the report of each container from its measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gotax.config import Suppression, Thresholds
from gotax.diagnosis.history import History
from gotax.diagnosis.others import OtherHistory
from gotax.diagnosis.suppression import parse_annotation, suppressed
from gotax.diagnosis.totals import category_samples, top_functions
from gotax.errors import ReadError
from gotax.findings import Verdict
from gotax.other import OtherUse
from gotax.process import Container, CpuLimit, CpuUsage, Memory, Process, RuntimeState
from gotax.profile import Int64Array, Profile
from gotax.window import Collections, ContainerReport, OtherReport


@dataclass(frozen=True, slots=True)
class Measured:
    """One container with Go processes in one window. ``processes``: most samples first.

    ``rows``: its rows of the profile. ``counters``: those of the kernel, since the cgroup was
    created.
    """

    processes: tuple[Process, ...]
    process_samples: tuple[int, ...]
    rows: Int64Array
    drain_samples: tuple[int, ...]
    cpu_ns: int
    limit: CpuLimit
    counters: CpuUsage
    memory: Memory | None = None

    @property
    def container(self) -> Container:
        return self.processes[0].container


@dataclass(frozen=True, slots=True)
class Collected:
    """The counters of one process's GC, since its start; None: not read."""

    pid: int
    start_ticks: int
    cycles: int | None
    allocated_bytes: int | None

    def since(self, earlier: Collected | None) -> Collections | None:
        """The growth; None if ``earlier`` is of another process, or either was not read."""
        if earlier is None or (self.pid, self.start_ticks) != (earlier.pid, earlier.start_ticks):
            return None
        if self.cycles is None or earlier.cycles is None:
            return None
        cycles = (self.cycles - earlier.cycles) % (1 << 32)
        if self.allocated_bytes is None or earlier.allocated_bytes is None:
            return Collections(cycles)
        return Collections(cycles, max(0, self.allocated_bytes - earlier.allocated_bytes))


def collected_by(process: Process) -> Collected:
    state = process.runtime or RuntimeState()
    return Collected(process.pid, process.start_ticks, state.gc_cycles, state.allocated_bytes)


class Reports:
    """Makes one report per container and window. ``errors`` counts errors by reason.

    ``counters`` and ``collected``: by container, at the end of the last window; the second of its
    main process.
    """

    def __init__(self, thresholds: Thresholds, functions: int, errors: Counter[str]) -> None:
        self.counters: dict[str, CpuUsage] = {}
        self.collected: dict[str, Collected] = {}
        self._history = History(thresholds)
        self._others = OtherHistory(thresholds)
        self._suppressions = thresholds.suppressions
        self._functions = functions
        self._errors = errors

    def of_window(
        self, containers: Iterable[Measured], profile: Profile, duration_s: float, cpus: int
    ) -> tuple[ContainerReport, ...]:
        """Reports with the most samples first. ``cpus``: of the host."""
        counters: dict[str, CpuUsage] = {}
        collected: dict[str, Collected] = {}
        reports = []
        for measured in containers:
            key = measured.container.key
            counters[key] = measured.counters
            delta = measured.counters - self.counters.get(key, CpuUsage())
            collected[key] = collected_by(measured.processes[0])
            grown = collected[key].since(self.collected.get(key))
            report = _report(measured, profile, delta, self._functions, grown)
            report = self._history.judge(report, duration_s, cpus)
            reports.append(suppressed(report, self._suppressions_of(report.container)))
        self._history.end_window()
        self.counters, self.collected = counters, collected
        return tuple(sorted(reports, key=lambda report: (-report.samples, report.container.name)))

    def of_others(
        self, uses: Iterable[OtherUse], duration_s: float, cpus: int
    ) -> tuple[OtherReport, ...]:
        """In the order of ``uses``. ``cpus``: of the host."""
        found = []
        for use in uses:
            report = self._others.judge(use, duration_s, cpus)
            if report.findings:
                report = suppressed(report, self._suppressions_of(report.container))
            found.append(report)
        self._others.end_window(duration_s)
        return tuple(found)

    def _suppressions_of(self, container: Container) -> tuple[Suppression, ...]:
        """The suppressions of the flags and of the pod's annotation."""
        text = container.pod.suppress if container.pod is not None else ""
        if not text:
            return self._suppressions
        try:
            return (*self._suppressions, *parse_annotation(text))
        except ReadError as error:
            self._errors[error.reason] += 1
            return self._suppressions


def _report(
    measured: Measured,
    profile: Profile,
    usage: CpuUsage,
    functions: int,
    collections: Collections | None,
) -> ContainerReport:
    """A report without a verdict."""
    rows = measured.rows
    return ContainerReport(
        container=measured.container,
        processes=measured.processes,
        category_samples=category_samples(profile.category[rows], profile.samples[rows]),
        functions=top_functions(profile, rows, functions) if functions else (),
        limit=measured.limit,
        usage=usage,
        verdict=Verdict.UNREADABLE,
        cpu_ns=measured.cpu_ns,
        drain_samples=measured.drain_samples,
        process_samples=measured.process_samples,
        memory=measured.memory,
        collections=collections,
    )
