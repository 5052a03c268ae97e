"""Totals over windows: per container since it was first seen, per agent since its start."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from gotax.category import CATEGORY_COUNT
from gotax.findings import Verdict
from gotax.process import CpuUsage
from gotax.profile import Int64Array
from gotax.window import ContainerReport, Window


@dataclass(slots=True)
class ContainerTotals:
    """Totals of the containers with the same labels, since they were first listed.

    ``now``: their reports of the last window, with the CPU time.
    """

    last_seen_s: float
    cpu_ns: Int64Array = field(default_factory=lambda: np.zeros(CATEGORY_COUNT, dtype=np.int64))
    usage: CpuUsage = CpuUsage()
    unseen_ns: int = 0  # CPU time of windows without samples: no category yet
    gc_cycles: int | None = None  # None: never known
    now: list[tuple[ContainerReport, int]] = field(default_factory=list)

    def add(self, report: ContainerReport, cpu_ns: int) -> None:
        self.now.append((report, cpu_ns))
        if report.samples:
            self.cpu_ns += report.category_samples * (self.unseen_ns + cpu_ns) // report.samples
            self.unseen_ns = 0
        else:
            self.unseen_ns += cpu_ns
        self.usage += report.usage
        if report.collections is not None:
            self.gc_cycles = (self.gc_cycles or 0) + report.collections.cycles


@dataclass(frozen=True, slots=True)
class Running:
    """The running containers of one entry, as of the last window.

    ``representative`` gives the values that cannot be added up: it is the one with the worst
    verdict, and among those the one with the most CPU time.
    """

    representative: ContainerReport
    reports: tuple[ContainerReport, ...]

    @property
    def runtime_share(self) -> float:
        samples = sum(report.samples for report in self.reports)
        if not samples:
            return 0.0
        return sum(report.runtime_share * report.samples for report in self.reports) / samples


_SEVERITY = {verdict: place for place, verdict in enumerate(Verdict)}  # worst first


def running_of(entry: ContainerTotals) -> Running | None:
    running = [(r, ns) for r, ns in entry.now if not (r.container.pod and r.container.pod.ended)]
    if not running:
        return None
    representative, _ = min(running, key=lambda pair: (_SEVERITY[pair[0].verdict], -pair[1]))
    return Running(representative, tuple(report for report, _ in running))


@dataclass(slots=True)
class HostTotals:
    """Since the agent started. Times are integers of nanoseconds, so that small additions count."""

    profiled_s: float = 0.0
    samples: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    other_ns: int = 0
    unjudged_ns: Counter[str] = field(default_factory=Counter)
    unlisted_ns: int = 0
    unlisted: int = 0
    windows: int = 0
    drain_s: float = 0.0
    work_s: float = 0.0

    def add(self, window: Window) -> None:
        self.profiled_s += window.duration_s
        self.samples += window.samples.drained
        self.lost.update(window.samples.lost)
        self.other_ns += window.native_samples * window.period_ns
        for found in window.unjudged:
            self.unjudged_ns[found.reason] += found.samples * window.period_ns
        self.unlisted = 0
        self.windows += 1
        self.drain_s += window.health.drain_s
        self.work_s += window.health.work_s
