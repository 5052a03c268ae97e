"""Sums of windows of one container."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from gotax.category import CATEGORY_COUNT
from gotax.process import CpuUsage, Process
from gotax.profile import Int64Array
from gotax.window import Collections, ContainerReport

_PROCESSES_MAX = 64
"""Processes of one container whose samples are counted separately."""

ProcessKey = tuple[int, int]
"""PID and start time."""
Extent = tuple[int, int]
"""The lowest and the highest."""


@dataclass(frozen=True, slots=True)
class WindowSum:
    """The sum of ``windows`` of one container, or of several with the same load.

    ``process_samples``: of the processes that have some.
    ``cores``: the sum of the CPU usage of each window; ``cores_squared``: the sum of its squares.
    ``live_heap``: the lowest and the highest live heap of the main process in bytes, at the ends of
    the windows; None if it was never read.
    """

    windows: int = 0
    duration_s: float = 0.0
    cpu_ns: int = 0
    category_samples: Int64Array = field(default_factory=lambda: np.zeros(CATEGORY_COUNT, np.int64))
    usage: CpuUsage = CpuUsage()
    process_samples: dict[ProcessKey, int] = field(default_factory=dict)
    peak_cores: float = 0.0
    cores: float = 0.0
    cores_squared: float = 0.0
    collections: Collections = Collections()
    live_heap: Extent | None = None

    def __add__(self, other: WindowSum) -> WindowSum:
        samples = dict(self.process_samples)
        for identity, own in other.process_samples.items():
            if identity in samples or len(samples) < _PROCESSES_MAX:
                samples[identity] = samples.get(identity, 0) + own
        return WindowSum(
            self.windows + other.windows,
            self.duration_s + other.duration_s,
            self.cpu_ns + other.cpu_ns,
            self.category_samples + other.category_samples,
            self.usage + other.usage,
            samples,
            max(self.peak_cores, other.peak_cores),
            self.cores + other.cores,
            self.cores_squared + other.cores_squared,
            self.collections + other.collections,
            _wider(self.live_heap, other.live_heap),
        )

    @property
    def samples(self) -> int:
        return int(self.category_samples.sum())

    @property
    def cores_variance(self) -> float:
        """Variance of the CPU usage of one window."""
        if self.windows < 2:
            return 0.0
        excess = self.cores_squared - self.cores**2 / self.windows
        return max(0.0, excess) / (self.windows - 1)


NO_WINDOWS = WindowSum()


def one_window(report: ContainerReport, duration_s: float, cpu_ns: int) -> WindowSum:
    """``cpu_ns``: CPU time of the window, from the kernel or from the samples."""
    cores = cpu_ns / 1e9 / duration_s if duration_s > 0 else 0.0
    each = zip(report.processes, samples_of_processes(report), strict=True)
    sampled = [(process_key(process), own) for process, own in each if own]
    return WindowSum(
        windows=1,
        duration_s=duration_s,
        cpu_ns=cpu_ns,
        category_samples=report.category_samples,
        usage=report.usage,
        process_samples=dict(sampled[:_PROCESSES_MAX]),
        peak_cores=cores,
        cores=cores,
        cores_squared=cores * cores,
        collections=report.collections or Collections(),
        live_heap=_live_heap(report),
    )


def _live_heap(report: ContainerReport) -> Extent | None:
    state = report.main_process.runtime
    live = None if state is None else state.live_heap_bytes
    return None if live is None else (live, live)


def _wider(one: Extent | None, other: Extent | None) -> Extent | None:
    if one is None or other is None:
        return other if one is None else one
    return min(one[0], other[0]), max(one[1], other[1])


def process_key(process: Process) -> ProcessKey:
    return process.pid, process.start_ticks


def samples_of_processes(report: ContainerReport) -> tuple[int, ...]:
    return report.process_samples or (0,) * len(report.processes)
