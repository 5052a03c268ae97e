"""Rows that can be compared with each other: nodes, pods, values, versions and times of a workload.

Each row has the selection that is exactly it, so a form can make the two sides of a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gotax_collector.query.answers import Compared, Side, WorkloadAnswer
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import Selection, exactly
from gotax_collector.query.sources import SHORT_S

ROWS_MAX = 30
EARLIER = {0: "this time", 86_400: "a day before", 7 * 86_400: "a week before"}
_NUMBERS = frozenset({"gomaxprocs", "cpus"})


@dataclass(frozen=True, slots=True)
class SideTable:
    """``rows`` are (side, the terms of its selection); ``links`` lead to each of them."""

    title: str
    head: str
    rows: tuple[tuple[Side, str], ...]
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SideTables:
    """``workload`` is the selection of the workload alone, ``link`` leads to the page of one."""

    questions: Questions
    selection: Selection
    workload: str
    link: Callable[[str], str]

    def of(self, answer: WorkloadAnswer) -> tuple[SideTable, ...]:
        """Tables of one row are left out: there is nothing to compare."""
        wanted = [("node", "On its nodes", "Node"), ("gomaxprocs", "By GOMAXPROCS", "GOMAXPROCS")]
        if len(answer.images) > 1:
            wanted.append(("image", "By image", "Image"))
        if len(answer.row.go) > 1:
            wanted.append(("go", "By Go version", "Go"))
        tables = [
            self._table(self.questions.compare(self.selection, by, ROWS_MAX), title, head)
            for by, title, head in wanted
        ]
        tables += [self._pods(answer), self._times()]
        return tuple(table for table in tables if len(table.rows) > 1)

    def _pods(self, answer: WorkloadAnswer) -> SideTable:
        """Of the last hours only: pods do not live long, and only windows know them."""
        until = min(self.selection.until, answer.span.until)
        since = max(self.selection.since, until - SHORT_S)
        lately = Selection(self.selection.conditions, since, until)
        found = self.questions.compare(lately, "pod", ROWS_MAX)
        return self._table(found, "Its pods, in the last hours", "Pod", _times(since, until))

    def _times(self) -> SideTable:
        """This time, and as much time a day and a week before."""
        length = self.selection.until - self.selection.since
        rows = []
        for back, name in EARLIER.items():
            since, until = self.selection.since - back, self.selection.until - back
            if since < 0 or 0 < back < length:
                continue
            side = self.questions.compare_one(
                Selection(self.selection.conditions, since, until), name
            )
            if side is not None:
                rows.append((side, f"{self.workload}{_times(since, until)}"))
        return self._linked("At other times", "Time", rows)

    def _table(self, found: Compared, title: str, head: str, times: str = "") -> SideTable:
        rows = [
            (side, f"{self.workload} {_exactly(found.by, side.label)}{times}")
            for side in found.sides
            if side.label
        ]
        return self._linked(title, head, rows)

    def _linked(self, title: str, head: str, rows: Sequence[tuple[Side, str]]) -> SideTable:
        links = tuple(self.link(terms) for _, terms in rows)
        return SideTable(title, head, tuple(rows), links)


def _times(since: int, until: int) -> str:
    form = "%Y-%m-%dT%H:%M:%S"
    first, last = (datetime.fromtimestamp(at, UTC).strftime(form) for at in (since, until))
    return f" since={first} until={last}"


def _exactly(by: str, label: str) -> str:
    return f"{by}={label}" if by in _NUMBERS else str(exactly(by, label))


def chosen(tables: tuple[SideTable, ...]) -> tuple[str, str] | None:
    """The pair of the first table that is furthest apart: least and most of the runtime."""
    for table in tables:
        ordered = sorted(table.rows, key=lambda row: row[0].runtime_share)
        return ordered[0][1], ordered[-1][1]
    return None


def shown(
    compared: Compared, sides: tuple[Selection, Selection], links: tuple[str, str]
) -> Iterator[tuple[str, str, str, Side | None]]:
    """(name, terms, link, numbers) of both sides of a difference."""
    found = {side.label: side for side in compared.sides}
    for name, selection, link in zip(("before", "after"), sides, links, strict=True):
        yield name, str(selection), link, found.get(name)
