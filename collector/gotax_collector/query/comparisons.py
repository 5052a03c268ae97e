"""Groups of containers of a selection side by side, and two selections beside each other.

A sample is an hour of one container (or one window, for little time): minutes of one container
resemble each other, and would make chance look like certainty.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gotax_collector.query.answers import Compared, Side, Span
from gotax_collector.query.coarse import Ask
from gotax_collector.query.contrasts import contrast
from gotax_collector.query.selection import Selection
from gotax_collector.query.sources import HOURS, WINDOWS, Source, source_of, span_of, where_of

MIN_SAMPLES = 50
"""Samples of a profile below which a share says little, and is no sample of a mean."""

_CONTAINER = "namespace, kind, workload, container, program, gomaxprocs, go, image, node"


def compare(
    ask: Ask, selection: Selection, by: str, limit: int, span: Span | None = None
) -> Compared:
    """Groups of containers side by side, tested against the reference: with the smallest
    GOMAXPROCS or fewest CPUs, else with most samples.

    ``span`` is the time that counts for the number of containers, if it is known: to find it out
    takes as long as the rest.
    """
    # Only windows know pods.
    source = source_of(selection, (WINDOWS,) if by == "pod" else (HOURS, WINDOWS))
    span = span or span_of(ask, selection, source)
    label = {"gomaxprocs": "gomaxprocs", "cpus": "cpus_"}.get(by, by)
    rows = _groups(ask, selection, source, label, limit)
    return contrast(rows, span, by, _unit(source))


def compare_two(ask: Ask, sides: tuple[Selection, Selection], spans: tuple[Span, Span]) -> Compared:
    """The sides are ``before``, which is the reference, and ``after``; a side without samples is
    left out. Both are of samples of one kind. ``spans`` are the times that they are of."""
    sources = [source_of(side, (HOURS, WINDOWS)) for side in sides]
    if WINDOWS in sources:
        sources = [source_of(side, (WINDOWS,)) for side in sides]
    rows: list[dict[str, Any]] = []
    for side, source, label in zip(sides, sources, ("before", "after"), strict=True):
        rows += _groups(ask, side, source, f"'{label}'", 1)
    found = contrast(rows, spans[1], "side", _unit(sources[0]))
    own = dict(zip(("before", "after"), spans, strict=True))
    counted = (
        replace(side, containers=side.containers * spans[1].seconds / own[side.label].seconds)
        for side in found.sides
    )
    return replace(found, sides=tuple(counted))


def compare_one(ask: Ask, selection: Selection, label: str, span: Span) -> Side | None:
    """The whole selection as one group; None without samples. ``span``: see ``compare``."""
    source = source_of(selection, (HOURS, WINDOWS))
    rows = _groups(ask, selection, source, "'all'", 1)
    if not rows:
        return None
    return replace(contrast(rows, span, "time", _unit(source)).sides[0], label=label)


def _unit(source: Source) -> str:
    return "window" if source is WINDOWS else "container-hour"


def _groups(
    ask: Ask, selection: Selection, source: Source, label: str, limit: int
) -> list[dict[str, Any]]:
    """``label`` is SQL."""
    condition = where_of(selection, source)
    one = f"{_CONTAINER}, {source.time}" + (", pod" if source is WINDOWS else "")
    return ask(
        f"SELECT {label} AS label, count() AS n, uniqExact(node) AS nodes,"
        " sum(duration) AS duration_, sum(cpu) AS cpu_,"
        " sum(share) AS shares, sum(share * share) AS shares2,"
        " sum(cost) AS costs, sum(cost * cost) AS costs2,"
        " sum(scheduler) AS scheduler_, sum(gc) AS gc_,"
        " max(cpus_) AS cpus, max(limit_) AS limit,"
        " arraySort(groupUniqArray(gomaxprocs)) AS values"
        f" FROM (SELECT {one}, sum(cpu_ns) AS cpu, sum(duration_ns) AS duration,"
        " sum(scheduler_ns) AS scheduler, sum(gc_ns) AS gc,"
        " (scheduler + gc) / cpu AS share, (scheduler + gc) / duration AS cost,"
        " max(cpu_count) AS cpus_, max(limit_cores) AS limit_"
        f" FROM {source.table} WHERE {condition.text} GROUP BY {one}"
        f" HAVING sum(samples) >= {MIN_SAMPLES} AND cpu > 0 AND duration > 0)"
        " GROUP BY label ORDER BY n DESC LIMIT {limit:UInt32}",
        {**condition.parameters, "limit": limit},
    )
