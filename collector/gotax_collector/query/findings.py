"""Current findings, and those that ended.

A finding holds as long as the last window of a container that runs has it. A container runs as long
as its agent's windows have it, which may leave out one or two in which it was idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gotax_collector.query.answers import LatestFinding, OpenFinding
from gotax_collector.query.coverage import DAY_S, OF_NODES, PLACES, Ask
from gotax_collector.query.selection import Selection, where

LOOK_BACK_S = 600
"""Of a whole fleet, how far back a container's last window is looked for."""

RUNS_S, RUNS_WINDOWS = 45, 1.5
"""A container runs if it was seen so lately before its agent's last window, or so many windows."""

SILENT_S, SILENT_WINDOWS = 120, 3
"""An agent is silent that has not reported for so long, and for so many windows."""

TOO_FEW_SAMPLES = "GT014"
_NEED_SAMPLES = ("GT001", "GT002")
_ENDED_MAX = 20

_ENDS = "toUnixTimestamp(start) + duration_ns / 1e9"
_INSTANCE = "namespace, kind, workload, node, pod, container, container_id, name"


def _instances(selection: Selection, finding: str) -> tuple[str, Mapping[str, Any]]:
    """SQL of (namespace, kind, workload, found, ended, state) for each container."""
    condition = where(selection, "start")
    # An agent without a window in the last day is silent, too.
    agents = Selection(
        selection.only(PLACES).conditions, max(0, selection.until - DAY_S), selection.until
    )
    places = where(agents, "start", "n")
    until = "{until:UInt32}"
    query = (
        "SELECT namespace, kind, workload, found, ended, multiIf("
        f" toFloat64(n.reported) + n.each + greatest({SILENT_S}, {SILENT_WINDOWS} * n.each)"
        f" < {until}, 'silent',"
        f" i.last + greatest({RUNS_S}, {RUNS_WINDOWS} * n.each) >= n.reported, 'current', 'ended')"
        " AS state FROM"
        f" (SELECT {_INSTANCE}, toUnixTimestamp(max(start)) AS last, max({_ENDS}) AS ended,"
        f"  argMax({finding}, start) AS found"
        f"  FROM windows WHERE ordinal > 0 AND {condition.text} GROUP BY {_INSTANCE}) AS i"
        " LEFT JOIN (SELECT node, toUnixTimestamp(max(start)) AS reported,"
        "  argMax(duration_ns, start) / 1e9 AS each"
        f"  FROM windows WHERE {OF_NODES} AND {places.text} GROUP BY node) AS n USING (node)"
    )
    return query, {**condition.parameters, **places.parameters}


Workload = tuple[str, str, str]


def open_findings(
    ask: Ask, selection: Selection, end: int
) -> dict[Workload, tuple[OpenFinding, ...]] | None:
    """By workload, of containers seen shortly before ``end``; None if no window says."""
    since = max(selection.since, end - LOOK_BACK_S)
    lately = Selection(selection.conditions, since, selection.until)
    zipped = "arrayZip(finding, finding_severity, finding_title, finding_remedy)"
    query, parameters = _instances(lately, zipped)
    rows = ask(
        "SELECT namespace, kind, workload, one.1 AS code, one.2 AS severity, state,"
        " min(one.3) AS title, min(one.4) AS remedy,"
        f" count() AS containers FROM ({query}) LEFT ARRAY JOIN found AS one"
        " GROUP BY namespace, kind, workload, code, severity, state",
        parameters,
    )
    if not rows:
        return None
    found: defaultdict[Workload, dict[str, OpenFinding]] = defaultdict(dict)
    for row in sorted(rows, key=_rank):
        if row["code"] and row["state"] != "ended":
            key = row["namespace"], row["kind"], row["workload"]
            names = ("code", "severity", "state", "containers", "title", "remedy")
            one = OpenFinding(**{name: row[name] for name in names})
            found[key].setdefault(one.code, one)
    return {key: tuple(ones.values()) for key, ones in found.items()}


def findings(ask: Ask, selection: Selection) -> tuple[LatestFinding, ...]:
    """Of one workload: those that hold first, then those that ended, the last first."""
    zipped = "arrayZip(finding, finding_severity, finding_title, finding_remedy)"
    query, parameters = _instances(selection, zipped)
    columns = "one.1 AS code, one.2 AS severity, one.3 AS title, one.4 AS remedy"
    rows = ask(
        f"SELECT {columns}, state, count() AS containers, toUInt32(max(ended)) AS until"
        f" FROM ({query}) LEFT ARRAY JOIN found AS one"
        " GROUP BY code, severity, title, remedy, state",
        parameters,
    )
    condition = where(selection, "start")
    seen = ask(
        f"SELECT {columns}, uniqExact(node, pod, container, container_id, name) AS containers,"
        f" toUInt32(max({_ENDS})) AS until"
        f" FROM windows ARRAY JOIN {zipped} AS one WHERE ordinal > 0 AND {condition.text}"
        " GROUP BY code, severity, title, remedy",
        condition.parameters,
    )
    holding = [row for row in rows if row["state"] != "ended" and row["code"]]
    shown = [_latest(row, row["state"], "") for row in sorted(holding, key=_rank)]
    return (*shown, *_ended(seen, rows, {row["code"] for row in holding}))


def _ended(
    seen: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], holding: set[str]
) -> list[LatestFinding]:
    latest: dict[str, Mapping[str, Any]] = {}
    for row in sorted(seen, key=lambda row: row["until"]):
        latest[row["code"]] = row
    does_any_run = any(row["state"] != "ended" for row in rows)
    found = []
    for code, row in latest.items():
        # A lack of samples is no problem that can be fixed.
        if code in holding or code == TOO_FEW_SAMPLES:
            continue
        why = "mended" if does_any_run else "gone"
        if code in _NEED_SAMPLES and TOO_FEW_SAMPLES in holding:
            why = "too-few-samples"
        found.append(_latest(row, "ended", why))
    found.sort(key=lambda one: -one.until)
    return found[:_ENDED_MAX]


def _latest(row: Mapping[str, Any], state: str, why: str) -> LatestFinding:
    return LatestFinding(
        row["code"],
        row["severity"],
        row["title"],
        row["remedy"],
        row["containers"],
        state,
        row["until"],
        why,
    )


def _rank(row: Mapping[str, Any]) -> tuple[bool, bool, int, str]:
    """What holds, then warnings, then what most containers have."""
    return row["state"] != "current", row["severity"] != "warning", -row["containers"], row["code"]
