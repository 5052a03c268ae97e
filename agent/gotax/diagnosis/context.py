"""The data of one container for its rules: numbers, intervals and times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar, cast

from gotax.category import RUNTIME_GROUPS, Category, Group
from gotax.confidence import interval
from gotax.config import Thresholds
from gotax.diagnosis.saving import predict_saving
from gotax.findings import Evidence, Saving
from gotax.process import Binding, Gomaxprocs
from gotax.window import ContainerReport

_UNKNOWN_SHARE = 0.02
"""Up to this share of samples in unusual places is normal."""

_MIDDLE = 1.5
"""A cost is little if its upper end is below this multiple of the threshold."""

_MEMBERS = {group: tuple(c for c in Category if c.group is group) for group in Group}


_T = TypeVar("_T")


class Cost(Enum):
    """The cost of a GOMAXPROCS above what fits."""

    PROVEN = "proven"
    LITTLE = "little"
    UNDECIDED = "undecided"  # too few samples


@dataclass(frozen=True, slots=True)
class Context:
    """``report`` holds the samples, counters and CPU time of ``duration_s``, of one or many
    windows.

    ``peak_cores``: the highest CPU usage in one window. ``live_heap``: the lowest and the highest
    live heap of the main process in bytes, None if it was not read. ``earlier_limit``: the previous
    limit of the main process, None if no change was seen. ``earlier_memory``: the previous memory
    limit of its container in bytes, likewise. ``lenient``: use the release thresholds, which
    decide whether an earlier finding stays.
    """

    report: ContainerReport
    duration_s: float
    host_cpus: int
    thresholds: Thresholds
    peak_cores: float = 0.0
    live_heap: tuple[int, int] | None = None
    earlier_limit: float | None = None
    earlier_memory: int | None = None
    lenient: bool = False
    _answers: dict[object, object] = field(default_factory=dict, init=False)

    def once(self, find: Callable[..., _T], *arguments: object) -> _T:
        """What ``find`` says of this context with these arguments. Rules ask the same things: each
        is found once."""
        question = (find, *arguments)
        if question not in self._answers:
            self._answers[question] = find(self, *arguments)
        return cast("_T", self._answers[question])

    @property
    def gomaxprocs(self) -> Gomaxprocs | None:
        """That of the main process, None if it was not read."""
        found = self.report.main_process.gomaxprocs
        return None if found is None or found.value is None else found

    @property
    def value(self) -> int | None:
        found = self.report.main_process.gomaxprocs
        return found.value if found else None

    @property
    def recommended(self) -> int | None:
        found = self.report.main_process.gomaxprocs
        return found.recommended if found else None

    @property
    def bound_by(self) -> tuple[Binding, ...]:
        """What gives ``recommended``; never empty."""
        found = self.report.main_process.gomaxprocs
        if found is not None and found.bound_by:
            return found.bound_by
        return (Binding.HOST if self.report.limit.limit_cores is None else Binding.QUOTA,)

    @property
    def cores(self) -> float | None:
        """Mean CPU of its Go processes; None if the kernel does not count it."""
        if self.report.cpu_ns is None or self.duration_s <= 0:
            return None
        return self.report.cpu_ns / 1e9 / self.duration_s

    @property
    def throttled(self) -> tuple[int, int]:
        """(throttled periods, periods); (0, 0) if the kernel does not count them."""
        usage = self.report.usage
        throttled, periods = usage.throttled_periods or 0, usage.periods or 0
        # The kernel updates the two at different times: a short window may see only one of them.
        return min(throttled, periods), periods

    @property
    def is_mismatch(self) -> bool:
        found = self.gomaxprocs
        return found is not None and is_mismatch(found, self.thresholds)

    @property
    def is_throttled(self) -> bool:
        throttled, periods = self.throttled
        return periods > 0 and self.reaches(throttled, periods, self.thresholds.throttled_share)

    @property
    def request_cores(self) -> float | None:
        """The CPU request of the pod, or else of the cgroup; None if unknown."""
        limit, pod = self.report.limit, self.report.container.pod
        if self.report.container.nested:
            return None  # the request is for the whole container
        if pod is not None:
            return pod.current.request_cores
        if self.report.container.pod_uid is None:
            return None
        if limit.shares is not None:
            return limit.shares / 1024
        if limit.weight is not None:
            return request_of_weight(limit.weight)
        return None

    def samples(self, *categories: Category) -> int:
        return int(self.report.category_samples[list(categories)].sum())

    def group_samples(self, *groups: Group) -> int:
        return self.once(_samples_of, *groups)

    def reaches(self, samples: float, total: int, threshold: float) -> bool:
        """Proven by the interval; if lenient: not disproved by it."""
        low, high = interval(round(samples), total)
        return high >= threshold * self.thresholds.release if self.lenient else low >= threshold

    def share_reaches(self, samples: float, threshold: float) -> bool:
        enough = self.lenient or self.report.samples >= self.thresholds.min_samples
        return enough and self.reaches(samples, self.report.samples, threshold)

    def saving(self, target: int) -> Saving | None:
        return self.once(_saving_by, target)

    def cost(self, target: int) -> tuple[Cost, Saving | None]:
        """The cost of a GOMAXPROCS above ``target``, with the saving it is based on; None if it is
        based on the share of scheduler and GC."""
        return self.once(Context._find_cost, target)

    def _find_cost(self, target: int) -> tuple[Cost, Saving | None]:
        samples, cores, thresholds = self.report.samples, self.cores, self.thresholds
        if samples < thresholds.min_samples and not self.lenient:
            return Cost.UNDECIDED, None
        saving = self.saving(target)
        hidden = self.hidden_samples
        if saving is not None and cores:
            wasted = max(0.0, min(1.0, saving.mid / cores)) * samples
            threshold = thresholds.saving_share
            least = thresholds.saving_cores * (thresholds.release if self.lenient else 1)
            if saving.mid + cores * hidden / samples < least:
                return Cost.LITTLE, saving
        else:
            wasted = self.group_samples(*RUNTIME_GROUPS)
            threshold = thresholds.runtime_share
        if self.reaches(wasted, samples, threshold):
            return Cost.PROVEN, saving
        most = min(samples, round(wasted) + hidden)
        if interval(most, samples)[1] < threshold * _MIDDLE:
            return Cost.LITTLE, saving
        return Cost.UNDECIDED, saving

    @property
    def hidden_samples(self) -> int:
        """Samples of unknown category that are too many to be chance: they may be the runtime."""
        unknown, total = self.group_samples(Group.UNKNOWN), self.report.samples
        return unknown if unknown > _UNKNOWN_SHARE * total else 0

    def share_evidence(self, what: str, samples: int) -> Evidence:
        """A share of the CPU time, with its interval, the number of samples and the time."""
        total = self.report.samples
        low, high = interval(samples, total)
        share = samples / total if total else 0.0
        text = (
            f"{what} {share:.1%} of its CPU time (95 % interval {low:.0%} to {high:.0%},"
            f" {total} samples in {self.duration_s:.0f} s)"
        )
        return Evidence(text, share, "share", (low, high), self.duration_s)

    def throttled_evidence(self) -> Evidence:
        throttled, periods = self.throttled
        share = throttled / periods if periods else 0.0
        text = f"throttled in {throttled} of {periods} periods"
        if self.report.usage.throttled_ns is not None:
            text += f", {self.report.usage.throttled_ns / 1e9:.1f} s in all"
        return Evidence(text, share, "share", interval(throttled, periods), self.duration_s)

    def cores_evidence(self) -> Evidence:
        cores = self.cores
        if cores is None:
            return Evidence("its CPU time is not known")
        text = f"it used {cores:.2f} cores over {self.duration_s:.0f} s"
        if self.peak_cores > cores * 1.05:
            text += f", {self.peak_cores:.2f} in its busiest window"
        return Evidence(text, cores, "cores", None, self.duration_s)

    @property
    def highest_cores(self) -> float:
        return max(self.peak_cores, self.cores or 0.0)


def _samples_of(context: Context, *groups: Group) -> int:
    return context.samples(*(c for group in groups for c in _MEMBERS[group]))


def _saving_by(context: Context, target: int) -> Saving | None:
    return predict_saving(context.report, target, context.host_cpus, context.duration_s)


def is_mismatch(gomaxprocs: Gomaxprocs, thresholds: Thresholds) -> bool:
    """GOMAXPROCS is well above what fits."""
    value, recommended = gomaxprocs.value, gomaxprocs.recommended
    if value is None or recommended is None:
        return False
    return value >= recommended * thresholds.mismatch_ratio and value > 2


def request_of_weight(weight: int) -> float:
    """CPU request in cores for a cpu.weight, by the linear rule of container runtimes.

    weight = 1 + (shares - 2) * 9999 / 262142, shares = 1024 * cores (runc's
    ConvertCPUSharesToCgroupV2Value up to 2025). Newer runtimes give small requests a
    greater weight: for them the result is too high.
    """
    return ((weight - 1) * 262142 / 9999 + 2) / 1024


def whole(limit_cores: float) -> int:
    """The limit rounded up, at least 1."""
    return max(1, math.ceil(limit_cores))
