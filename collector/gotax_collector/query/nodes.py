"""The nodes of a fleet, and the names that a search box completes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gotax_collector.query.answers import Consumption, Span
from gotax_collector.query.coarse import Ask
from gotax_collector.query.coverage import OF_NODES
from gotax_collector.query.fleet import CONSUMPTION, consumption, savings_of
from gotax_collector.query.selection import Selection, exactly, where
from gotax_collector.query.sources import HOURS, WINDOWS, source_of, span_of, where_of

SEEN_S = 3600
"""How far back the last window of a node is looked for."""

SILENT_S = 180
NAMES_MAX = 6
"""Of each kind."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """``last`` is when the last window began, ``version`` that of its agent; 0 and "" where it
    did not report in the last hour."""

    node: str
    cpu_count: int
    workloads: int
    consumption: Consumption
    gomaxprocs: tuple[int, ...]
    version: str
    kernel: str
    last: int
    is_silent: bool


@dataclass(frozen=True, slots=True)
class Nodes:
    """Those first whose runtime takes most. ``sizes`` are (CPUs, nodes) of all that report."""

    span: Span
    rows: tuple[NodeRow, ...]
    nodes: int
    sizes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Name:
    """A value of ``field``; ``term`` is the term that selects it."""

    field: str
    value: str
    term: str


def nodes(ask: Ask, selection: Selection, limit: int, skipped: int) -> Nodes:
    source = source_of(selection, (HOURS, WINDOWS))
    span = span_of(ask, selection, source)
    condition = where_of(selection, source)
    rows = ask(
        f"SELECT node, {CONSUMPTION}, {savings_of(source)}, max(cpu_count) AS cpus,"
        " uniqExact(namespace, kind, workload) AS workloads_, count() OVER () AS nodes_,"
        " arraySort(groupUniqArray(gomaxprocs)) AS values"
        f" FROM {source.table} WHERE {condition.text} GROUP BY node"
        " ORDER BY scheduler + gc DESC, node LIMIT {limit:UInt32} OFFSET {skipped:UInt32}",
        {**condition.parameters, "limit": limit, "skipped": skipped},
    )
    lately = where(Selection((), max(0, selection.until - SEEN_S), selection.until), "start")
    seen = {
        row["node"]: row
        for row in ask(
            "SELECT node, argMax(version, start) AS agent, argMax(kernel, start) AS release,"
            " argMax(cpu_count, start) AS cpus, toUnixTimestamp(max(start)) AS last,"
            " argMax(duration_ns, start) / 1e9 AS each"
            f" FROM windows WHERE {OF_NODES} AND {lately.text} GROUP BY node",
            lately.parameters,
        )
    }
    sizes: dict[int, int] = {}
    for row in seen.values():
        sizes[row["cpus"]] = sizes.get(row["cpus"], 0) + 1
    found = tuple(_row(row, seen.get(row["node"]), span, selection.until) for row in rows)
    count = int(rows[0]["nodes_"]) if rows else 0
    return Nodes(span, found, count, tuple(sorted(sizes.items())))


def _row(row: dict[str, Any], seen: dict[str, Any] | None, span: Span, until: int) -> NodeRow:
    is_silent = seen is None or seen["last"] + seen["each"] + max(SILENT_S, seen["each"]) < until
    return NodeRow(
        node=row["node"],
        cpu_count=row["cpus"],
        workloads=row["workloads_"],
        consumption=consumption(row, span),
        gomaxprocs=tuple(row["values"]),
        version=seen["agent"] if seen else "",
        kernel=seen["release"] if seen else "",
        last=seen["last"] if seen else 0,
        is_silent=is_silent,
    )


def names(ask: Ask, word: str, since: int, until: int) -> tuple[Name, ...]:
    """Namespaces, workloads, Go versions and nodes that contain ``word``, the shortest first."""
    return tuple(_names(ask, word, since, until))


def _names(ask: Ask, word: str, since: int, until: int) -> Iterator[Name]:
    sums = where(Selection((), since, until), "hour")
    windows = where(Selection((), max(since, until - SEEN_S), until), "start")
    places = (
        ("namespace", "workload_hours", sums.text),
        ("workload", "workload_hours", sums.text),
        ("go", "workload_hours", sums.text),
        ("node", "windows", f"{OF_NODES} AND {windows.text}"),
    )
    for field, table, condition in places:
        parameters = windows.parameters if table == "windows" else sums.parameters
        rows = ask(
            f"SELECT {field} AS name FROM {table} WHERE {condition} AND {field} != ''"
            f" AND positionCaseInsensitiveUTF8({field}, {{word:String}}) > 0"
            f" GROUP BY name ORDER BY length(name), name LIMIT {NAMES_MAX}",
            {**parameters, "word": word},
        )
        for row in rows:
            yield Name(field, row["name"], str(exactly(field, row["name"])))
