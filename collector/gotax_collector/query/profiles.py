"""The stacks of a selection with their CPU time.

Whole days come from sums of days, which know a workload but not its GOMAXPROCS, Go version or
image. The hours before and after them, and all other selections, come from hourly sums or windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from gotax_collector.query.answers import Profile, StackTime, drawn_group
from gotax_collector.query.coarse import DAY_S, Ask, complete_since
from gotax_collector.query.coverage import HOUR_S
from gotax_collector.query.selection import Selection, Where, conditions_only, where
from gotax_collector.query.sources import (
    STACK_HOURS,
    WINDOWS,
    source_of,
    span_of,
    where_of,
)

STACKS_MAX = 20_000
"""How many stacks of a selection are fetched, those with most CPU time first."""

NAMES_BYTES_MAX = 64 << 20
"""Memory of the names of these stacks. Rarer ones beyond it are not fetched either."""

_NAME_BYTES = 57  # of a Python string, beside its characters, and of a reference to it
_WORKLOAD = frozenset({"namespace", "kind", "workload"})

Columns = Callable[[str, Mapping[str, Any]], list[Sequence[Any]]]


def profile(ask: Ask, columns: Columns, selection: Selection) -> Profile:
    """Stacks of all that the selection holds, those with most CPU time first."""
    source = source_of(selection, (STACK_HOURS, WINDOWS))
    times = _of_windows(selection) if source is WINDOWS else _of_sums(ask, selection)
    named = conditions_only(selection.only(_WORKLOAD), "n")
    found = columns(
        "SELECT ns, category, group_, functions, stacks, total FROM ("
        " SELECT t.ns AS ns, t.stack AS stack, d.category AS category, d.group AS group_,"
        "  d.functions AS functions, stacks, total,"
        f"  sum(arraySum(f -> length(f) + {_NAME_BYTES}, d.functions)) OVER"
        "   (ORDER BY t.ns DESC, t.stack ROWS UNBOUNDED PRECEDING) AS bytes"
        f" FROM (SELECT stack, category, `group`, functions FROM stacks WHERE {named.text}) AS d"
        " ANY RIGHT JOIN"
        "  (SELECT stack, ns, count() OVER () AS stacks, sum(ns) OVER () AS total"
        f"   FROM (SELECT stack, sum(time) AS ns FROM ({times.text}) GROUP BY stack)"
        "   ORDER BY ns DESC, stack LIMIT {most:UInt32}) AS t"
        " ON t.stack = d.stack) WHERE bytes <= {bytes:UInt64} ORDER BY ns DESC, stack",
        {
            **times.parameters,
            **named.parameters,
            "most": STACKS_MAX,
            "bytes": NAMES_BYTES_MAX,
        },
    )
    span = span_of(ask, selection, source)
    if not found or not found[0]:
        return Profile(span, (), 0, 0)
    *values, counts, totals = found
    stacks = tuple(
        StackTime(tuple(functions), category or "unknown", int(ns), drawn_group(group))
        for ns, category, group, functions in zip(*values, strict=True)
    )
    rest = int(totals[0]) - sum(stack.cpu_ns for stack in stacks)
    return Profile(span, stacks, int(counts[0]), max(0, rest))


def _of_windows(selection: Selection) -> Where:
    condition = where_of(selection, WINDOWS)
    text = (
        "SELECT stack_count.1 AS stack, toUInt64(stack_count.2 * (cpu_ns / samples)) AS time"
        " FROM windows ARRAY JOIN arrayZip(windows.stack, stack_samples) AS stack_count"
        f" WHERE {condition.text} AND samples > 0"
    )
    return Where(text, condition.parameters)


def _of_sums(ask: Ask, selection: Selection) -> Where:
    texts: list[str] = []
    parameters: dict[str, Any] = {}
    for index, (table, time, part) in enumerate(_parts(ask, selection)):
        condition = where(part, time, f"t{index}")
        texts.append(f"SELECT stack, cpu_ns AS time FROM {table} WHERE {condition.text}")
        parameters |= condition.parameters
    return Where(" UNION ALL ".join(texts), parameters)


def _parts(ask: Ask, selection: Selection) -> Iterator[tuple[str, str, Selection]]:
    """(table, its time, what to take from it). An hour is taken as a whole."""
    since = selection.since // HOUR_S * HOUR_S
    first, last = _days(ask, selection, since)
    if first >= last:
        yield "stack_hours", "hour", selection
        return
    yield "stack_days", "day", Selection(selection.conditions, first, last)
    for begin, end in ((since, first), (last, selection.until)):
        if begin < end:
            yield "stack_hours", "hour", Selection(selection.conditions, begin, end)


def _days(ask: Ask, selection: Selection, since: int) -> tuple[int, int]:
    """The first day that sums of days are used of, and the first that they are not."""
    if not selection.fields <= _WORKLOAD or (complete := complete_since(ask)) is None:
        return 0, 0
    first = -(-max(since, complete) // DAY_S) * DAY_S
    last = selection.until // DAY_S * DAY_S
    if last + DAY_S > first and not _is_any_later(ask, selection.until):
        last += DAY_S  # the day that is not over
    return first, last


def _is_any_later(ask: Ask, until: int) -> bool:
    found = ask(
        "SELECT count() AS n FROM workload_hours WHERE hour >= toDateTime({until:UInt32})",
        {"until": until},
    )
    return bool(found[0]["n"])
