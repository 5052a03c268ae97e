"""For how much of a time agents have reported. Averages are over that; the rest is a gap.

Windows give it to the second, as long as they are kept. Older hours have only sums: an hour counts
as a whole. An hour next to a gap counts as long as the longest-running container in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gotax_collector.query.coarse import Ask, complete_since
from gotax_collector.query.selection import Selection, where
from gotax_collector.query.steps import Gap

HOUR_S = 3600
PLACES = frozenset({"node", "cpus"})
"""Fields that choose among agents; all others choose among what they report."""

OF_NODES = "namespace = '' AND workload = '' AND kind = 'Node'"
"""A node's own rows, which lie beside each other at the front of the table."""

_CONTAINER_KEYS = "node, namespace, kind, workload, container, program, gomaxprocs, go, image"


@dataclass(frozen=True, slots=True)
class Coverage:
    """``seconds`` by the beginning of each step that has any."""

    step: int
    seconds: Mapping[int, float]

    @property
    def total(self) -> float:
        return sum(self.seconds.values())

    def gaps(self, since: int, until: int) -> Iterator[Gap]:
        """Whole steps between ``since`` and ``until`` in which no agent reported."""
        at = since // self.step * self.step
        begun: int | None = None
        while at < until:
            if at in self.seconds:
                if begun is not None:
                    yield Gap(begun, at)
                begun = None
                # A window may be longer than a step.
                at += max(self.step, int(self.seconds[at]) // self.step * self.step)
                continue
            begun = at if begun is None else begun
            at += self.step
        if begun is not None:
            yield Gap(begun, until)


def coverage(ask: Ask, selection: Selection, span: tuple[int, int], step: int) -> Coverage:
    """Of the agents that the selection includes. Without any data the whole time counts."""
    agents = selection.only(PLACES)
    reports = _REPORTED if _is_reported(ask, agents, span[0]) else _OF_WINDOWS
    seconds = _of_reports(ask, Selection(agents.conditions, *span), step, reports)
    if step == HOUR_S:
        first = min(seconds, default=span[1])
        if first > span[0]:
            seconds |= _of_sums(ask, Selection(agents.conditions, span[0], first))
    if not seconds:
        begins = range(span[0] // step * step, span[1], step)
        seconds = {at: float(min(at + step, span[1]) - max(at, span[0])) for at in begins}
    return Coverage(step, seconds)


_OF_WINDOWS = (
    (
        "SELECT toUnixTimestamp(start) AS at,"
        " max(toUnixTimestamp(start) + duration_ns / 1e9) AS ended"
        f" FROM windows WHERE {OF_NODES} AND {{condition}} GROUP BY at"
    ),
    "start",
)
_REPORTED = (
    (
        "SELECT toUnixTimestamp(min(since)) AS at, max(until) AS ended"
        " FROM reported WHERE {condition} GROUP BY reported.at"
    ),
    "since",
)
"""SQL of when agents reported, and the column of its time. The second knows no nodes, has a row for
15 seconds whatever the number of nodes, and takes less than that between two windows for reported.
"""


def _is_reported(ask: Ask, agents: Selection, since: int) -> bool:
    if agents.conditions:
        return False
    complete = complete_since(ask)
    return complete is not None and since >= complete


def _of_reports(
    ask: Ask, agents: Selection, step: int, reports: tuple[str, str]
) -> dict[int, float]:
    """The time that at least one of them covers, counted where the window began, as its CPU is."""
    query, time = reports
    condition = where(agents, time)
    rows = ask(
        "SELECT toUInt32(intDiv(at, {step:UInt32}) * {step:UInt32}) AS step_, sum(fresh) AS seconds"
        " FROM (SELECT at, greatest(0, ended - greatest(at, max(ended) OVER"
        "  (ORDER BY at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))) AS fresh"
        f"  FROM ({query.format(condition=condition.text)}))"
        " GROUP BY step_ HAVING seconds > 0",
        {**condition.parameters, "step": step},
    )
    return {int(row["step_"]): float(row["seconds"]) for row in rows}


def _of_sums(ask: Ask, agents: Selection) -> dict[int, float]:
    table = "hours" if agents.conditions else "workload_hours"
    condition = where(agents, "hour")
    rows = ask(
        f"SELECT toUnixTimestamp(hour) AS at FROM {table} WHERE {condition.text} GROUP BY at",
        condition.parameters,
    )
    seconds = {int(row["at"]): float(HOUR_S) for row in rows}
    edges = [at for at in seconds if at - HOUR_S not in seconds or at + HOUR_S not in seconds]
    seconds |= _longest(ask, agents, edges)
    return seconds


def _longest(ask: Ask, agents: Selection, hours: Sequence[int]) -> dict[int, float]:
    condition = where(agents, "hour")
    rows = ask(
        "SELECT at, least(3600, max(ran)) AS seconds FROM ("
        " SELECT toUnixTimestamp(hour) AS at, sum(duration_ns) / 1e9 AS ran FROM hours"
        f" WHERE {condition.text} AND toUnixTimestamp(hour) IN {{edges:Array(UInt32)}}"
        f" GROUP BY at, {_CONTAINER_KEYS}) GROUP BY at",
        {**condition.parameters, "edges": list(hours)},
    )
    return {int(row["at"]): float(row["seconds"]) for row in rows if row["seconds"] > 0}
