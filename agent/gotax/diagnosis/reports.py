"""Makes the report of each container from its measurements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gotax.config import Silence, Thresholds
from gotax.diagnosis.history import History
from gotax.diagnosis.silence import parse_annotation, silenced
from gotax.diagnosis.totals import category_hits, top_functions
from gotax.errors import ReadError
from gotax.findings import Verdict
from gotax.process import Container, CpuLimit, CpuUsage, Process
from gotax.profile import Int64Array, Profile
from gotax.window import ContainerReport


@dataclass(frozen=True, slots=True)
class Measured:
    """One container with Go processes in one window. ``processes``: most hits first.

    ``rows``: its rows of the profile. ``counters``: those of the kernel, since the cgroup was
    created.
    """

    processes: tuple[Process, ...]
    process_hits: tuple[int, ...]
    rows: Int64Array
    drain_hits: tuple[int, ...]
    cpu_ns: int
    limit: CpuLimit
    counters: CpuUsage

    @property
    def container(self) -> Container:
        return self.processes[0].container


class Reports:
    """Makes one report per container and window. ``errors`` counts errors by reason.

    ``counters``: by container, at the end of the last window.
    """

    def __init__(self, thresholds: Thresholds, functions: int, errors: Counter[str]) -> None:
        self.counters: dict[str, CpuUsage] = {}
        self._history = History(thresholds)
        self._silences = thresholds.silences
        self._functions = functions
        self._errors = errors

    def of_window(
        self, containers: Iterable[Measured], profile: Profile, duration_s: float, cpus: int
    ) -> tuple[ContainerReport, ...]:
        """Reports with the most hits first. ``cpus``: of the host."""
        counters: dict[str, CpuUsage] = {}
        reports = []
        for measured in containers:
            key = measured.container.key
            counters[key] = measured.counters
            delta = measured.counters - self.counters.get(key, CpuUsage())
            report = _report(measured, profile, delta, self._functions)
            report = self._history.judge(report, duration_s, cpus)
            reports.append(silenced(report, self._silences_of(report.container)))
        self._history.end_window()
        self.counters = counters
        return tuple(sorted(reports, key=lambda report: (-report.hits, report.container.name)))

    def _silences_of(self, container: Container) -> tuple[Silence, ...]:
        """The silences of the flags and of the pod's annotation."""
        text = container.pod.silence if container.pod is not None else ""
        if not text:
            return self._silences
        try:
            return (*self._silences, *parse_annotation(text))
        except ReadError as error:
            self._errors[error.reason] += 1
            return self._silences


def _report(
    measured: Measured, profile: Profile, usage: CpuUsage, functions: int
) -> ContainerReport:
    """A report without a verdict."""
    rows = measured.rows
    return ContainerReport(
        container=measured.container,
        processes=measured.processes,
        category_hits=category_hits(profile.category[rows], profile.hits[rows]),
        functions=top_functions(profile, rows, functions) if functions else (),
        limit=measured.limit,
        usage=usage,
        verdict=Verdict.UNREADABLE,
        cpu_ns=measured.cpu_ns,
        drain_hits=measured.drain_hits,
        process_hits=measured.process_hits,
    )
