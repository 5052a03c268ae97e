"""Sums of windows of one container."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gotax.process import CpuUsage, Process
from gotax.profile import CATEGORY_COUNT, Int64Array
from gotax.window import ContainerReport

_PROCESSES_MAX = 64
"""Processes of one container whose hits are counted separately."""

ProcessKey = tuple[int, int]
"""PID and start time."""


@dataclass(frozen=True, slots=True)
class WindowSum:
    """The sum of ``windows`` of one container, or of several with the same load.

    ``cores``: the sum of the CPU usage of each window; ``cores_squared``: the sum of its squares.
    """

    windows: int = 0
    duration_s: float = 0.0
    cpu_ns: int = 0
    category_hits: Int64Array = field(default_factory=lambda: np.zeros(CATEGORY_COUNT, np.int64))
    usage: CpuUsage = CpuUsage()
    process_hits: dict[ProcessKey, int] = field(default_factory=dict)
    peak_cores: float = 0.0
    cores: float = 0.0
    cores_squared: float = 0.0

    def __add__(self, other: WindowSum) -> WindowSum:
        hits = dict(self.process_hits)
        for identity, own in other.process_hits.items():
            if identity in hits or len(hits) < _PROCESSES_MAX:
                hits[identity] = hits.get(identity, 0) + own
        return WindowSum(
            self.windows + other.windows,
            self.duration_s + other.duration_s,
            self.cpu_ns + other.cpu_ns,
            self.category_hits + other.category_hits,
            self.usage + other.usage,
            hits,
            max(self.peak_cores, other.peak_cores),
            self.cores + other.cores,
            self.cores_squared + other.cores_squared,
        )

    @property
    def hits(self) -> int:
        return int(self.category_hits.sum())

    @property
    def cores_variance(self) -> float:
        """Variance of the CPU usage of one window."""
        if self.windows < 2:
            return 0.0
        excess = self.cores_squared - self.cores**2 / self.windows
        return max(0.0, excess) / (self.windows - 1)


NO_WINDOWS = WindowSum()


def one_window(report: ContainerReport, duration_s: float, cpu_ns: int) -> WindowSum:
    """``cpu_ns``: CPU time of the window, from the kernel or from the hits."""
    cores = cpu_ns / 1e9 / duration_s if duration_s > 0 else 0.0
    each = zip(report.processes, hits_of_processes(report), strict=True)
    return WindowSum(
        windows=1,
        duration_s=duration_s,
        cpu_ns=cpu_ns,
        category_hits=report.category_hits,
        usage=report.usage,
        process_hits={process_key(process): own for process, own in list(each)[:_PROCESSES_MAX]},
        peak_cores=cores,
        cores=cores,
        cores_squared=cores * cores,
    )


def process_key(process: Process) -> ProcessKey:
    return process.pid, process.start_ticks


def hits_of_processes(report: ContainerReport) -> tuple[int, ...]:
    return report.process_hits or (0,) * len(report.processes)
