"""Checks the model against published cases of a lower GOMAXPROCS, in published.toml.

Most publications tell neither the profile nor the load. Then the profiles of similar workloads of
the calibration stand for it, and every assumed value is tried: each combination is one prediction
with its own range. The range of the case is that of all of them together: the 5th to the 95th
percentile of the mixture. So what is not published widens it.
"""

from __future__ import annotations

import functools
import itertools
import math
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gotax.category import Category
from gotax.diagnosis.saving import TERMS, Retained, Situation, predict_retained

from calibration import table
from calibration.measure import Row

CASES = Path(__file__).parent / "published.toml"
NEAR = 3
"""Runs stand for a profile if their GOMAXPROCS is within this factor of the published one."""
SCHEDULE = ("find", "park", "switch", "network")
"""Terms within runtime.schedule. Waking threads is tried within and outside: it is so in part."""
Z = 1.645
"""Half the width of a range of 90 %, in deviations."""
LOW, MIDDLE, HIGH = 0.05, 0.5, 0.95
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Result:
    """One published result, and the prediction for it. Savings are shares of the CPU at the same
    work; ``published`` is an interval where the publication has one."""

    case: str
    address: str
    what: str
    published: Interval
    low: float
    mid: float
    high: float
    one_profile: float  # mean width of the range if the profile and the load were known

    @property
    def is_within(self) -> bool:
        return self.low <= self.published[0] and self.published[1] <= self.high

    @property
    def width(self) -> float:
        return self.high - self.low

    def line(self, is_first: bool) -> str:
        """Of the table; the case is named in its first line."""
        low, high = self.published
        published = f"{low:.0%}" if high - low < 0.005 else f"{low:.0%} to {high:.0%}"
        case = f"[{self.case}]({self.address})" if is_first else ""
        return (
            f"| {case} | {self.what} | {published} | {self.mid:.0%} ({self.low:.0%} to"
            f" {self.high:.0%}) | {'yes' if self.is_within else 'no'} |"
        )


def main() -> int:
    for line in lines():
        print(line)
    return 0


def lines() -> Iterator[str]:
    """The table as it is in docs/saving.md, and the counts below it."""
    found = results()
    yield "| case | GOMAXPROCS, or the measurement | published saving | predicted | in the range |"
    yield "| --- | --- | --- | --- | --- |"
    for before, each in zip([None, *found], found, strict=False):
        yield each.line(before is None or before.case != each.case)
    yield ""
    yield summary(found)


def summary(found: Sequence[Result]) -> str:
    within = sum(each.is_within for each in found)
    cases = {each.case for each in found}
    full = {name for name in cases if all(e.is_within for e in found if e.case == name)}
    width = sum(each.width for each in found) / len(found)
    one_profile = sum(each.one_profile for each in found) / len(found)
    return (
        f"{within} of {len(found)} results are in the range, and all results of {len(full)} of"
        f" {len(cases)} cases. The ranges are {width:.2f} of the CPU wide in the mean"
        f" ({min(e.width for e in found):.2f} to {max(e.width for e in found):.2f}). With a known"
        f" profile and load they would be {one_profile:.2f} wide."
    )


def results() -> list[Result]:
    rows = [row for name in ("fitted", "held-out") for row in _runs(name)]
    return [
        _result(case, {**case, **result}, rows)
        for case in tomllib.loads(CASES.read_text())["case"]
        for result in case["result"]
    ]


def _result(case: dict[str, Any], inputs: dict[str, Any], rows: Sequence[Row]) -> Result:
    shares = tuple(sorted(inputs.get("shares", {}).items()))
    parts = []
    for host_cpus in _values(inputs["host_cpus"]):
        procs = inputs.get("procs", host_cpus)
        profiles = _profiles(rows, tuple(inputs["like"]), procs, shares)
        for samples, busy in itertools.product(profiles, _values(inputs["utilisation"])):
            situation = Situation(samples, procs, busy)
            parts.append(_predict(situation, inputs["target"], int(host_cpus)))
    low, mid, high = (1 - quantile(parts, q) for q in (HIGH, MIDDLE, LOW))
    one_profile = sum(part.high - part.low for part in parts) / len(parts)
    saving = published_saving(inputs)
    return Result(
        case["name"], case["address"], inputs["what"], saving, low, mid, high, one_profile
    )


def published_saving(inputs: dict[str, Any]) -> Interval:
    """From the CPU and the work before and after; one that is not published did not change."""
    cpu, work = ([_ends(v) for v in inputs.get(name, [1.0, 1.0])] for name in ("cpu", "work"))
    (cpu_before, cpu_after), (work_before, work_after) = cpu, work
    most = cpu_after[1] / work_after[0] / (cpu_before[0] / work_before[1])
    least = cpu_after[0] / work_after[1] / (cpu_before[1] / work_before[0])
    return 1 - most, 1 - least


def _ends(value: float | list[float]) -> Interval:
    values = _values(value)
    return values[0], values[-1]


def _values(value: float | list[float]) -> list[float]:
    return value if isinstance(value, list) else [value]


@functools.cache
def _runs(name: str) -> tuple[Row, ...]:
    return tuple(table.read(table.DATA / f"{name}.csv"))


@functools.cache
def _predict(situation: Situation, target: int, host_cpus: int) -> Retained:
    return predict_retained(situation, target, host_cpus)


def _profiles(
    rows: Sequence[Row], like: tuple[str, ...], procs: int, shares: tuple[tuple[str, float], ...]
) -> list[tuple[int, ...]]:
    """Samples by category of the runs that stand for a profile, with the published shares in place
    of their own."""
    found = [
        row.samples
        for row in rows
        if row.workload in like and row.procs > 1 and 1 / NEAR <= row.procs / procs <= NEAR
    ]
    if not shares:
        return found
    return [
        _with_shares(samples, dict(shares), schedule)
        for samples in found
        for schedule in (SCHEDULE, (*SCHEDULE, "wake"))
    ]


def _with_shares(
    samples: tuple[int, ...], shares: dict[str, float], schedule: tuple[str, ...]
) -> tuple[int, ...]:
    """Within the published parts, and in the rest, the proportions stay those of the run."""
    groups = {"schedule": schedule, "mark": ("mark",)}
    total, scaled, rest = sum(samples), [0.0] * len(samples), set(Category)
    parts = [
        (shares[name], [c for t in terms for c in TERMS[t][1]]) for name, terms in groups.items()
    ]
    for _, members in parts:
        rest -= set(members)
    parts.append((1 - sum(shares.values()), sorted(rest)))
    for share, members in parts:
        own = sum(samples[c] for c in members)
        for c in members:
            scaled[c] = total * share * (samples[c] / own if own else 1 / len(members))
    return tuple(round(value) for value in scaled)


def quantile(parts: Sequence[Retained], share: float) -> float:
    """Of the retained part, over all predictions as equally likely; each is a normal distribution
    on the logarithm, with a width of its own below and above its middle."""
    low, high = math.log(0.01), math.log(4.0)
    for _ in range(40):
        at = (low + high) / 2
        if sum(_below(part, at) for part in parts) < share * len(parts):
            low = at
        else:
            high = at
    return math.exp(low)


def _below(part: Retained, at: float) -> float:
    deviation = (part.below if at < part.middle else part.above) / Z
    return 0.5 * math.erfc((part.middle - at) / deviation / math.sqrt(2))
