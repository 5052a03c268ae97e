"""Where one variant of a container gave way to another, and what that changed. Pure.

Like is compared with like: the same container of the same workload, running the same program, on
nodes with the same number of CPUs, before and after. A container that moves to another node has
another GOMAXPROCS there without any change by a user.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Generic, NamedTuple, TypeVar

from gotax_collector.query import significance
from gotax_collector.query.answers import Changed, Uncompared, Variant
from gotax_collector.query.contrasts import honest
from gotax_collector.query.significance import Sample

HOUR_S = 3600
ROLL_OUT_HOURS = 6
"""How long a new variant may run beside the old one before that counts as two that coexist."""

FIELDS = ("gomaxprocs", "go", "image", "limit_cores")

Key = tuple[str, str, str, str]
"""(namespace, kind, workload, container)"""


class Hour(NamedTuple):
    """Of all containers of one variant in an hour. ``containers`` is how many ran at a time."""

    at: int
    cpu_ns: int
    duration_ns: int
    runtime_ns: int
    samples: int
    containers: float


@dataclass(frozen=True, slots=True)
class Found:
    rows: tuple[Changed, ...]
    uncompared: tuple[Uncompared, ...]


Kind = TypeVar("Kind", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Turn(Generic[Kind]):
    """``first`` and ``second`` are the hours before and after it in which either ran."""

    before: Kind
    after: Kind
    at: int
    first: tuple[int, ...]
    second: tuple[int, ...]


def turns(durations: Mapping[Kind, Mapping[int, float]]) -> Iterator[Turn[Kind]]:
    """Given how much of each kind ran in each hour: where most became another kind.

    The old one must have fallen to half or less, and the new one must have come: two that run
    beside each other, of which one ends, did not take each other's place.
    """
    for old, new in pairwise(_runs(durations)):
        (before, earlier), (after, later) = old, new
        at = _beginning(durations[after], earlier, later)
        first = [hour for hour in earlier if hour < at]
        second = [hour for hour in later if hour > at]
        if not first or not second:
            continue
        last = first[-ROLL_OUT_HOURS:]
        was, left = _mean(durations[before], last), _mean(durations[before], second)
        had, has = _mean(durations[after], last), _mean(durations[after], second)
        if left <= was / 2 and had <= has / 2:
            yield Turn(before, after, at, tuple(first), tuple(second))


def _runs(durations: Mapping[Kind, Mapping[int, float]]) -> list[tuple[Kind, list[int]]]:
    """Hours in which the same kind has most; one hour between others is passed over."""
    hours = sorted({hour for one in durations.values() for hour in one})
    order = sorted(durations, key=lambda kind: min(durations[kind], default=0))
    leading = [max(order, key=lambda kind: durations[kind].get(hour, 0.0)) for hour in hours]
    runs = _grouped(list(zip(leading, hours, strict=True)))
    kept = [run for i, run in enumerate(runs) if len(run[1]) > 1 or i in (0, len(runs) - 1)]
    return _grouped([(kind, hour) for kind, run in kept for hour in run])


def _grouped(pairs: Sequence[tuple[Kind, int]]) -> list[tuple[Kind, list[int]]]:
    return [
        (kind, [hour for _, hour in group]) for kind, group in groupby(pairs, lambda pair: pair[0])
    ]


def _beginning(new: Mapping[int, float], earlier: Sequence[int], later: Sequence[int]) -> int:
    """The hour in which the new one came, which may be a few before it was the most."""
    began = later[0]
    for count, hour in enumerate(reversed(earlier)):
        if hour not in new or began - hour > HOUR_S:
            return began
        if count == ROLL_OUT_HOURS:
            return later[0]
        began = hour
    return later[0]


def _mean(values: Mapping[int, float], hours: Sequence[int]) -> float:
    return sum(values.get(hour, 0.0) for hour in hours) / len(hours)


def changes_of(
    key: Key,
    rows: Sequence[Mapping[str, Any]],
    covered: Mapping[int, float],
    work: tuple[float, float] | None,
    min_samples: int,
) -> Found:
    """``rows`` are one container's, each with the hours of one variant as arrays; ``covered`` says
    how many seconds of an hour some agent reported."""
    alike = _alike(rows, covered)
    changed: list[tuple[int, Turn[Variant], list[list[Hour]]]] = []
    uncompared: list[Uncompared] = []
    reported: set[tuple[tuple[str, str], tuple[str, str]]] = set()
    for (_, cpu_count), variants in alike.items():
        durations = {
            variant: {hour.at: float(hour.duration_ns) for hour in hours.values()}
            for variant, hours in _known(variants).items()
        }
        for turn in turns(durations):
            if not (what := what_changed(turn.before, turn.after)):
                continue
            reported.add((_build(turn.before), _build(turn.after)))
            sides = [
                [hour for at in hours if (hour := variants[variant].get(at)) is not None]
                for variant, hours in ((turn.before, turn.first), (turn.after, turn.second))
            ]
            sides = [[hour for hour in side if _is_sample(hour, min_samples)] for side in sides]
            if all(sides):
                changed.append((cpu_count, turn, sides))
            else:
                both = (cpu_count,), (cpu_count,)
                uncompared.append(
                    Uncompared(
                        *key, turn.at, what, turn.before, turn.after, both, "too-few-samples"
                    )
                )
    uncompared.extend(
        moved
        for moved in _moved(key, alike)
        if (_build(moved.before), _build(moved.after)) not in reported
    )
    return Found(tuple(_compared(key, changed, work)), tuple(uncompared))


def what_changed(before: Variant, after: Variant) -> tuple[str, ...]:
    """What is known of both, and differs. A limit of 0 is none, and known."""
    return tuple(
        name
        for name in FIELDS
        if getattr(before, name) != getattr(after, name)
        and (name == "limit_cores" or (getattr(before, name) and getattr(after, name)))
    )


Alike = dict[tuple[str, int], dict[Variant, dict[int, Hour]]]
"""By (program, CPUs of the node)."""


def _alike(rows: Sequence[Mapping[str, Any]], covered: Mapping[int, float]) -> Alike:
    found: Alike = defaultdict(lambda: defaultdict(dict))
    columns = ("at", "cpu", "duration", "runtime", "samples", "limit")
    for row in rows:
        variants = found[row["program"], row["cpus"]]
        limits = {
            limit: variants[Variant(row["gomaxprocs"], row["go"], row["image"], round(limit, 3))]
            for limit in set(row["limit"])
        }
        for at, cpu, duration, runtime, samples, limit in zip(
            *(row[name] for name in columns), strict=True
        ):
            containers = duration / 1e9 / max(1.0, covered.get(at, HOUR_S))
            limits[limit][at] = Hour(at, cpu, duration, runtime, samples, containers)
    return found


def _known(variants: Mapping[Variant, dict[int, Hour]]) -> dict[Variant, dict[int, Hour]]:
    """Without those of which something is unknown that is known of others: a name that comes late,
    or a GOMAXPROCS that could not be read for a while, is no other variant."""
    needed = [name for name in FIELDS[:3] if any(getattr(variant, name) for variant in variants)]
    return {
        variant: hours
        for variant, hours in variants.items()
        if all(getattr(variant, name) for name in needed)
    }


def _build(variant: Variant) -> tuple[str, str]:
    return variant.go, variant.image


def _is_sample(hour: Hour, min_samples: int) -> bool:
    return hour.samples >= min_samples and hour.duration_ns > 0 and hour.cpu_ns > 0


def _moved(key: Key, alike: Alike) -> Iterator[Uncompared]:
    """Another Go version or image that came with other nodes: none runs where one ran before."""
    durations: defaultdict[Variant, defaultdict[int, float]] = defaultdict(
        lambda: defaultdict(float)
    )
    places: defaultdict[tuple[Variant, int], set[int]] = defaultdict(set)
    for (_, cpu_count), variants in alike.items():
        for variant, hours in _known(variants).items():
            build = Variant(0, variant.go, variant.image, 0.0)
            for hour in hours.values():
                durations[build][hour.at] += hour.duration_ns
                places[build, hour.at].add(cpu_count)
    for turn in turns(durations):
        what = what_changed(turn.before, turn.after)
        cpus = [
            sorted({count for at in hours for count in places[variant, at]})
            for variant, hours in ((turn.before, turn.first), (turn.after, turn.second))
        ]
        if what and not set(cpus[0]) & set(cpus[1]):
            both = tuple(cpus[0]), tuple(cpus[1])
            yield Uncompared(*key, turn.at, what, turn.before, turn.after, both, "other-nodes")


def _compared(
    key: Key,
    changed: Sequence[tuple[int, Turn[Variant], list[list[Hour]]]],
    work: tuple[float, float] | None,
) -> Iterator[Changed]:
    """One roll-out over nodes of several sizes is several comparisons, and p says so."""
    cores = [
        [_sample([hour.cpu_ns / hour.duration_ns for hour in side]) for side in sides]
        for *_, sides in changed
    ]
    shares = [
        [_sample([hour.runtime_ns / hour.cpu_ns for hour in side]) for side in sides]
        for *_, sides in changed
    ]
    cores_changes = honest([significance.difference(*pair) for pair in cores])
    share_changes = honest([significance.difference(*pair) for pair in shares])
    for index, (cpu_count, turn, sides) in enumerate(changed):
        units = units_change = None
        if work is not None:
            per_unit = [
                _sample([h.cpu_ns / h.duration_ns * h.containers / done for h in side])
                for side, done in zip(sides, work, strict=True)
            ]
            units = per_unit[0].mean, per_unit[1].mean
            units_change = honest([significance.difference(*per_unit)])[0]
        yield Changed(
            *key,
            cpu_count=cpu_count,
            at=turn.at,
            what=what_changed(turn.before, turn.after),
            before=turn.before,
            after=turn.after,
            hours=(len(sides[0]), len(sides[1])),
            cores=(cores[index][0].mean, cores[index][1].mean),
            cores_change=cores_changes[index],
            runtime_share=(shares[index][0].mean, shares[index][1].mean),
            runtime_change=share_changes[index],
            containers=(_containers(sides[0]), _containers(sides[1])),
            work=work,
            cpu_per_unit=units,
            cpu_per_unit_change=units_change,
        )


def _containers(hours: Sequence[Hour]) -> float:
    return sum(hour.containers for hour in hours) / len(hours)


def _sample(values: Sequence[float]) -> Sample:
    return Sample.of(len(values), sum(values), sum(value * value for value in values))
