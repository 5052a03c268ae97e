"""Values of a comparison: one workload before and after a change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from gotax.category import RUNTIME_GROUPS, Category, Group
from gotax.findings import Saving
from gotax.process import NO_MEMORY_LIMIT, Container, CpuUsage


@dataclass(frozen=True, slots=True)
class Observation:
    """The measurements of one workload over some time, in one window or a sum of windows.

    ``duration_s`` is profiled time, of several containers the sum of theirs; ``cpu_ns`` is of its
    Go processes; ``category_samples`` has ``CATEGORY_COUNT`` entries. ``periods``,
    ``throttled_periods`` and ``throttled_ns`` are deltas, None where the kernel does not count.
    The time falls into ``blocks`` of about the same length; ``cores_variance`` is the variance of
    their mean CPU, 0 for fewer than two. ``gogc`` and ``memory_limit_bytes`` are as in
    ``RuntimeState``.
    """

    duration_s: float
    cpu_ns: int
    category_samples: tuple[int, ...]
    usage: CpuUsage = CpuUsage()
    limit_cores: float | None = None
    gomaxprocs: int | None = None
    recommended: int | None = None
    go_version: str = ""
    blocks: int = 1
    cores_variance: float = 0.0
    gogc: int | None = None
    memory_limit_bytes: int | None = None

    @property
    def samples(self) -> int:
        return sum(self.category_samples)

    @property
    def cores(self) -> float:
        return self.cpu_ns / 1e9 / self.duration_s if self.duration_s > 0 else 0.0

    def samples_of(self, *groups: Group) -> int:
        return sum(self.category_samples[c] for c in Category if c.group in groups)

    @property
    def runtime_share(self) -> float:
        return self.samples_of(*RUNTIME_GROUPS) / self.samples if self.samples else 0.0

    @property
    def throttled_share(self) -> float | None:
        """Share of throttled periods; None without periods."""
        usage = self.usage
        if not usage.periods or usage.throttled_periods is None:
            return None
        return min(1.0, usage.throttled_periods / usage.periods)


@dataclass(frozen=True, slots=True)
class Delta:
    """A number before and after. ``low`` and ``high`` are the 95 % interval of ``change``, both
    None if unknown.
    """

    before: float
    after: float
    low: float | None = None
    high: float | None = None

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def is_sure(self) -> bool:
        """The interval does not include 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval; both ends None if unknown."""

    value: float
    low: float | None = None
    high: float | None = None


class Outcome(Enum):
    """The result of a predicted saving."""

    WITHIN = "within"
    BELOW = "below"  # saved less than the low end
    ABOVE = "above"  # saved more than the high end
    NOT_APPLIED = "not-applied"  # the setting is not what the prediction was for
    NOT_PREDICTED = "not-predicted"


@dataclass(frozen=True, slots=True)
class Work:
    """Units of work (requests, messages) per second, before and after."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload before and after a change.

    ``shares`` has a ``Delta`` for every group and ``categories`` for every category with samples,
    of shares of the samples. ``cpu_per_unit`` is in seconds. ``saving`` is what was saved, in
    cores: for the work before the change if ``work`` is known, else as measured; ``predicted`` is
    the prediction of the findings before, for ``predicted_for``, as GOMAXPROCS=1. ``caveats`` say
    what the numbers do not show.
    """

    name: str
    matched_by: str
    before: Observation
    after: Observation
    cores: Delta
    runtime: Delta
    shares: tuple[tuple[Group, Delta], ...]
    categories: tuple[tuple[Category, Delta], ...]
    work: Work | None
    cpu_per_unit: Delta | None
    saving: Estimate
    predicted: Saving | None
    outcome: Outcome
    caveats: tuple[str, ...]
    predicted_for: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A workload whose GOMAXPROCS, GOGC or GOMEMLIMIT changed, and the effect.

    ``container``: the present one. ``unix_ns``: the time of the comparison.
    """

    container: Container
    unix_ns: int
    comparison: Comparison


UNREAD = "?"


def collector_texts(seen: Observation) -> dict[str, str]:
    """GOMEMLIMIT and GOGC for people; ``UNREAD`` for one that was not read."""
    limit, gogc = seen.memory_limit_bytes, seen.gogc
    size = UNREAD if limit is None else f"{limit >> 20:,} MiB"
    percent = UNREAD if gogc is None else str(gogc)
    return {
        "GOMEMLIMIT": "none" if limit == NO_MEMORY_LIMIT else size,
        "GOGC": "off" if gogc == -1 else percent,
    }


def collector_changes(before: Observation, after: Observation) -> list[tuple[str, str, str]]:
    """(name, before, after) of those that were read on both sides and differ."""
    old, new = collector_texts(before), collector_texts(after)
    return [
        (name, old[name], new[name])
        for name in old
        if old[name] != new[name] and UNREAD not in (old[name], new[name])
    ]
