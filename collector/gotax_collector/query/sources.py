"""The tables that can answer, and what time their numbers are of.

Each question goes to the coarsest table that knows the fields of its selection: hourly sums of
workloads, hourly sums of containers, or the windows themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gotax_collector.query.answers import Span
from gotax_collector.query.coarse import Ask
from gotax_collector.query.coverage import HOUR_S, OF_NODES, PLACES, Coverage, coverage
from gotax_collector.query.selection import FINDING, Selection, SelectionError, Where, where

SHORT_S = 3 * 3600
"""Up to this much time is answered from the windows themselves, to the second."""

STEP_S = 300
"""Of little time, how finely it is drawn."""


@dataclass(frozen=True, slots=True)
class Source:
    """A table that can answer, and how its columns are added up."""

    table: str
    time: str
    fields: frozenset[str]
    rows: str = "1"
    windows: str = "sum(windows)"
    saving: str = "sum({})"
    findings: str = "groupUniqArrayArray(findings)"


_WORKLOAD = frozenset({"namespace", "kind", "workload", "gomaxprocs", "go", "image"})
_CONTAINER = _WORKLOAD | {"container", "program", "node", "cpus"}
WORKLOAD_HOURS = Source("workload_hours", "hour", _WORKLOAD | {FINDING})
HOURS = Source("hours", "hour", _CONTAINER | {FINDING})
STACK_HOURS = Source("stack_hours", "hour", _WORKLOAD)
WINDOWS = Source(
    "windows",
    "start",
    _CONTAINER | {"pod", "verdict", FINDING},
    rows="ordinal > 0",
    windows="count()",
    saving="sum({} * duration_ns / 1e9)",
    findings="groupUniqArrayArray(arrayMap(f -> toString(f), finding))",
)
SUMS = (WORKLOAD_HOURS, HOURS, WINDOWS)


def source_of(selection: Selection, candidates: Sequence[Source]) -> Source:
    """The coarsest that knows what is asked; little time is taken from the windows."""
    known = [source for source in candidates if selection.fields <= source.fields]
    if not known:
        fields = frozenset().union(*(source.fields for source in candidates))
        missing = ", ".join(sorted(selection.fields - fields))
        raise SelectionError(
            f"this question knows nothing of {missing}: it knows {', '.join(sorted(fields))}"
        )
    is_short = selection.until - selection.since <= SHORT_S
    return WINDOWS if is_short and WINDOWS in known else known[0]


def where_of(selection: Selection, source: Source) -> Where:
    condition = where(selection, source.time)
    return Where(f"{source.rows} AND {condition.text}", condition.parameters)


def span_of(ask: Ask, selection: Selection, source: Source) -> Span:
    """The time that the answer's numbers are of: from the first report to the end of the last.

    Hourly sums do not say when in its hour a window began. The windows of the first and the
    last hour do, as long as they are kept; after that it is whole hours.
    """
    ends = ends_of(ask, selection, source)
    step = STEP_S if source is WINDOWS else HOUR_S
    return spanned(ends, source, coverage(ask, selection, ends, step))


def spanned(ends: tuple[int, int], source: Source, covered: Coverage) -> Span:
    since, until = ends
    return Span(since, until, source.table, round(min(covered.total, until - since)))


def ends_of(ask: Ask, selection: Selection, source: Source) -> tuple[int, int]:
    asked = selection.since, selection.until
    if source is WINDOWS:
        return _covered(ask, selection, asked) or asked
    # Sums of stacks have the same hours, and many more rows.
    table = WORKLOAD_HOURS.table if source is STACK_HOURS else source.table
    condition = where_of(selection, source)
    found = ask(
        "SELECT toUnixTimestamp(min(hour)) AS first, toUnixTimestamp(max(hour)) AS last,"
        f" count() AS n FROM {table} WHERE {condition.text}",
        condition.parameters,
    )[0]
    if not found["n"]:
        return asked
    first, last = (
        _covered(ask, selection, (int(hour), int(hour) + HOUR_S)) or (int(hour), int(hour) + HOUR_S)
        for hour in (found["first"], found["last"])
    )
    return first[0], last[1]


def _covered(ask: Ask, selection: Selection, within: tuple[int, int]) -> tuple[int, int] | None:
    """When the first of these windows began and the last ended; None where there are none."""
    condition = where(Selection(selection.conditions, *within), WINDOWS.time)
    # A node's own rows are few, and beside each other at the front of the table.
    rows = OF_NODES if selection.fields <= PLACES else WINDOWS.rows
    found = ask(
        "SELECT toUnixTimestamp(min(start)) AS since, count() AS n,"
        " toUInt64(ceil(max(toUnixTimestamp(start) + duration_ns / 1e9))) AS until"
        f" FROM windows WHERE {rows} AND {condition.text}",
        condition.parameters,
    )[0]
    if not found["n"]:
        return None
    # A window may end after the time that was asked for, but not at any time it likes to say.
    return int(found["since"]), min(int(found["until"]), within[1] + 3600)
