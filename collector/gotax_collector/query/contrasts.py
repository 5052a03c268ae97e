"""Groups of samples side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gotax_collector.query import significance
from gotax_collector.query.answers import Compared, Contrast, Side, Span
from gotax_collector.query.significance import Sample


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
    for row, share, cost in zip(others, honest(shares), honest(costs), strict=True):
        sides.append(_side(row, span, share, cost))
    return Compared(span, by, unit, tuple(sides), str(reference["label"]))


def honest(differences: Sequence[significance.Difference]) -> list[Contrast]:
    """With probabilities corrected for being several."""
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
