"""Groups of samples side by side, and variants that took each other's place. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gotax_collector import significance
from gotax_collector.answers import Changed, Compared, Contrast, Side, Span, Variant
from gotax_collector.significance import Sample


def contrast(rows: Sequence[Mapping[str, Any]], span: Span, by: str, unit: str) -> Compared:
    if not rows:
        return Compared(span, by, unit, (), "")
    numeric = by in ("gomaxprocs", "cpus")
    ordered = sorted(rows, key=lambda row: row["label"]) if numeric else list(rows)
    reference = next((row for row in ordered if row["label"]), ordered[0])
    others = [row for row in ordered if row is not reference]
    shares = [
        significance.difference(_sample(reference, "shares"), _sample(row, "shares"))
        for row in others
    ]
    costs = [
        significance.difference(_sample(reference, "costs"), _sample(row, "costs"))
        for row in others
    ]
    sides = [_side(reference, span, None, None)]
    for row, share, cost in zip(others, _honest(shares), _honest(costs), strict=True):
        sides.append(_side(row, span, share, cost))
    return Compared(span, by, unit, tuple(sides), str(reference["label"]))


def _honest(differences: Sequence[significance.Difference]) -> list[Contrast]:
    adjusted = significance.holm([difference.p for difference in differences])
    return [
        Contrast(difference.change, difference.low, difference.high, p)
        for difference, p in zip(differences, adjusted, strict=True)
    ]


def _sample(row: Mapping[str, Any], name: str) -> Sample:
    return Sample.of(row["n"], row[name], row[f"{name}2"])


def _side(
    row: Mapping[str, Any], span: Span, share: Contrast | None, cost: Contrast | None
) -> Side:
    sample, cpu = _sample(row, "shares"), row["cpu_"]
    return Side(
        label=str(row["label"]),
        samples=row["n"],
        nodes=row["nodes"],
        containers=row["duration_"] / 1e9 / span.seconds,
        cores=cpu / row["duration_"],
        runtime_share=sample.mean,
        runtime_deviation=sample.variance**0.5,
        scheduler_share=row["scheduler_"] / cpu,
        gc_share=row["gc_"] / cpu,
        runtime_cores=row["costs"] / row["n"],
        cpu_count=row["cpus"],
        gomaxprocs=tuple(row["values"]),
        limit_cores=row["limit"],
        runtime=share,
        runtime_cost=cost,
    )


def replacements(
    key: tuple[str, str, str],
    hours: Sequence[Mapping[str, Any]],
    work: tuple[float, float] | None,
) -> Iterable[Changed]:
    """Where a variant took another's place: it came later, and the other mostly went.

    A variant that came with another node, beside those before, took nobody's place.
    """
    variants: dict[Variant, list[Mapping[str, Any]]] = defaultdict(list)
    for row in hours:
        variants[Variant(row["gomaxprocs"], row["go"], row["image"])].append(row)
    order = sorted(variants, key=lambda variant: variants[variant][0]["at"])
    for index, after in enumerate(order[1:], 1):
        at = variants[after][0]["at"]
        earlier = [variant for variant in order[:index] if variants[variant][0]["at"] < at]
        before = max(earlier, key=lambda v: _duration(variants[v], at - 3 * 3600, at), default=None)
        if before is None:
            continue
        end = variants[after][-1]["at"] + 3600
        was = _duration(variants[before], at - 6 * 3600, at) / 6
        left = _duration(variants[before], at + 3600, end) / max(1, (end - at) // 3600 - 1)
        # The hour in which it came belongs to both.
        first = [row for row in variants[before] if row["at"] < at]
        second = [row for row in variants[after] if row["at"] > at]
        if not was or left > was / 2 or not second:
            continue
        yield _change(key, (before, after), (first, second), at, work)


def _duration(rows: Sequence[Mapping[str, Any]], since: int, until: int) -> int:
    return sum(row["duration"] for row in rows if since <= row["at"] < until)


def _change(
    key: tuple[str, str, str],
    variants: tuple[Variant, Variant],
    hours: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
    at: int,
    work: tuple[float, float] | None,
) -> Changed:
    before, after = variants
    sides = [[row for row in rows if row["duration"] and row["cpu"]] for rows in hours]
    cores = [_sample_of([row["cpu"] / row["duration"] for row in rows]) for rows in sides]
    share = [_sample_of([row["runtime"] / row["cpu"] for row in rows]) for rows in sides]
    units: tuple[float, float] | None = None
    units_change = None
    if work is not None:
        per_unit = [
            _sample_of([row["cpu"] / 3.6e12 / done for row in rows])
            for rows, done in zip(sides, work, strict=True)
        ]
        units = per_unit[0].mean, per_unit[1].mean
        units_change = _honest([significance.difference(*per_unit)])[0]
    return Changed(
        *key,
        at=at,
        what=tuple(
            name
            for name in ("gomaxprocs", "go", "image")
            if getattr(before, name) != getattr(after, name)
        ),
        before=before,
        after=after,
        hours=(len(sides[0]), len(sides[1])),
        cores=(cores[0].mean, cores[1].mean),
        cores_change=_honest([significance.difference(*cores)])[0],
        runtime_share=(share[0].mean, share[1].mean),
        runtime_change=_honest([significance.difference(*share)])[0],
        containers=(_containers(sides[0]), _containers(sides[1])),
        work=work,
        cpu_per_unit=units,
        cpu_per_unit_change=units_change,
    )


def _containers(rows: Sequence[Mapping[str, Any]]) -> float:
    return sum(row["duration"] for row in rows) / 3.6e12 / len(rows) if rows else 0.0


def _sample_of(values: Sequence[float]) -> Sample:
    return Sample.of(len(values), sum(values), sum(value * value for value in values))
