"""Current findings, and those that ended.

A finding holds as long as the last window of a container that runs has it. A container runs as long
as its agent's windows have it, which may leave out one or two in which it was idle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from gotax_collector.query.answers import Explained, Fixed, LatestFinding, OpenFinding
from gotax_collector.query.coarse import DAY_S, Ask
from gotax_collector.query.contrasts import honest
from gotax_collector.query.coverage import OF_NODES, PLACES
from gotax_collector.query.selection import CAUSE, Selection, SelectionError, key_of, where
from gotax_collector.query.significance import Sample, difference

LOOK_BACK_S = 600
"""Of a whole fleet, how far back a container's last window is looked for."""

EXPLAINED_S = 3600
"""How far before the last window of a finding its evidence is looked for."""

AROUND_S = 3600
"""Before and after the end of a finding: the time that says what its end brought."""

RUNS_S, RUNS_WINDOWS = 45, 1.5
"""A container runs if it was seen so lately before its agent's last window, or so many windows."""

SILENT_S, SILENT_WINDOWS = 120, 3
"""An agent is silent that has not reported for so long, and for so many windows."""

TOO_FEW_SAMPLES = "GT014"
_NEED_SAMPLES = ("GT001", "GT002")
_ENDED_MAX = 20
KEYS_MAX = 2000

ENDS = "toUnixTimestamp(start) + duration_ns / 1e9"
_INSTANCE = "namespace, kind, workload, node, pod, container, container_id, name"


def instances(
    selection: Selection, finding: str, are_all: bool = True
) -> tuple[str, Mapping[str, Any]]:
    """SQL of (namespace, kind, workload, found, ended, state) for each container; not ``are_all``:
    only for those that run."""
    condition = where(selection, "start")
    # An agent without a window in the last day is silent, too.
    since = max(0, selection.until - DAY_S) if are_all else selection.since
    agents = Selection(selection.only(PLACES).conditions, since, selection.until)
    places = where(agents, "start", "n")
    # The rows of a report begin at the same time: few of a fleet's windows are read as a whole.
    lately = (
        "1"
        if are_all
        else "(node, start) IN (SELECT node, start FROM (SELECT node, start,"
        " max(start) OVER (PARTITION BY node) AS reported,"
        " argMax(duration_ns, start) OVER (PARTITION BY node) / 1e9 AS each"
        f" FROM windows WHERE {OF_NODES} AND {places.text})"
        f" WHERE toUnixTimestamp(start) + greatest({RUNS_S}, {RUNS_WINDOWS} * each)"
        "  >= toUnixTimestamp(reported))"
    )
    until = "{until:UInt32}"
    query = (
        "SELECT namespace, kind, workload, found, ended, multiIf("
        f" toFloat64(n.reported) + n.each + greatest({SILENT_S}, {SILENT_WINDOWS} * n.each)"
        f" < {until}, 'silent',"
        f" i.last + greatest({RUNS_S}, {RUNS_WINDOWS} * n.each) >= n.reported, 'current', 'ended')"
        " AS state FROM"
        f" (SELECT {_INSTANCE}, toUnixTimestamp(max(start)) AS last, max({ENDS}) AS ended,"
        f"  argMax({finding}, start) AS found"
        f"  FROM windows WHERE ordinal > 0 AND {condition.text} AND {lately}"
        f" GROUP BY {_INSTANCE}) AS i"
        " LEFT JOIN (SELECT node, toUnixTimestamp(max(start)) AS reported,"
        "  argMax(duration_ns, start) / 1e9 AS each"
        f"  FROM windows WHERE {OF_NODES} AND {places.text} GROUP BY node) AS n USING (node)"
    )
    return query, {**condition.parameters, **places.parameters}


Workload = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Holding:
    """Open findings by workload, and the workloads of which a container runs."""

    findings: Mapping[Workload, tuple[OpenFinding, ...]]
    running: frozenset[Workload]


def open_findings(ask: Ask, selection: Selection, end: int) -> Holding | None:
    """Of containers seen shortly before ``end``; None if no window says."""
    since = max(selection.since, end - LOOK_BACK_S)
    lately = Selection(selection.conditions, since, selection.until)
    # Windows of older agents have no causes: an index beyond the end of an array is empty.
    zipped = (
        "arrayMap(i -> (finding[i], finding_severity[i], finding_title[i], finding_remedy[i],"
        " finding_cause[i]), arrayEnumerate(finding))"
    )
    query, parameters = instances(lately, zipped, are_all=False)
    rows = ask(
        "SELECT namespace, kind, workload, one.1 AS code, one.2 AS severity, state,"
        " min(one.3) AS title, min(one.4) AS remedy, toString(min(one.5)) AS cause,"
        f" count() AS containers FROM ({query}) LEFT ARRAY JOIN found AS one"
        " GROUP BY namespace, kind, workload, code, severity, state",
        parameters,
    )
    if not rows:
        return None
    found: defaultdict[Workload, dict[str, OpenFinding]] = defaultdict(dict)
    running = set()
    for row in sorted(rows, key=_rank):
        key = row["namespace"], row["kind"], row["workload"]
        if row["state"] != "ended":
            running.add(key)
        if row["code"] and row["state"] != "ended":
            names = ("code", "severity", "state", "containers", "title", "remedy", "cause")
            one = OpenFinding(**{name: row[name] for name in names})
            found[key].setdefault(one.code, one)
    held = {key: tuple(ones.values()) for key, ones in found.items()}
    return Holding(held, frozenset(running))


def of_causes(ask: Ask, selection: Selection) -> Selection:
    """See ``Questions.of_causes``."""
    causes = [condition for condition in selection.conditions if condition.field == CAUSE]
    if not causes:
        return selection
    others = tuple(condition for condition in selection.conditions if condition.field != CAUSE)
    asked = Selection(others, selection.since, selection.until)
    holding = open_findings(ask, asked, selection.until)
    held = holding.findings if holding else {}
    found = []
    for condition in causes:
        keys = tuple(
            key_of(*workload)
            for workload, ones in held.items()
            if any(one.cause in condition.values for one in ones)
        )
        if len(keys) > KEYS_MAX:
            raise SelectionError(f"more than {KEYS_MAX} workloads have it: add a namespace")
        found.append(replace(condition, keys=keys))
    return asked.with_(*found)


def findings(ask: Ask, selection: Selection) -> tuple[LatestFinding, ...]:
    """Of one workload: those that hold first, then those that ended, the last first."""
    zipped = "arrayZip(finding, finding_severity, finding_title, finding_remedy)"
    query, parameters = instances(selection, zipped)
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
        f" toUInt32(max({ENDS})) AS until"
        f" FROM windows ARRAY JOIN {zipped} AS one WHERE ordinal > 0 AND {condition.text}"
        " GROUP BY code, severity, title, remedy",
        condition.parameters,
    )
    holding = [row for row in rows if row["state"] != "ended" and row["code"]]
    explained = _explained(ask, selection, holding)
    shown = [
        replace(_latest(row, row["state"], ""), explained=explained.get(row["code"]))
        for row in sorted(holding, key=_rank)
    ]
    ended = _ended(seen, rows, {row["code"] for row in holding})
    return (*shown, *(with_saving(ask, selection, one) for one in ended))


_EXPLAINED = (
    "finding_cause[i] AS cause, finding_confidence[i] AS confidence,"
    " finding_evidence[i] AS evidence, finding_patches[i] AS patches, name, node, cpu_count,"
    " gomaxprocs, toString(origin) AS origin, expected, recommended, toUnixTimestamp(start) AS at"
)


def _explained(
    ask: Ask, selection: Selection, holding: Sequence[Mapping[str, Any]]
) -> dict[str, Explained]:
    """By code, of the last windows. Older windows have no such columns: an index beyond the end of
    an array is empty."""
    if not holding:
        return {}
    last = max(row["until"] for row in holding)
    since = max(selection.since, last - EXPLAINED_S)
    condition = where(Selection(selection.conditions, since, selection.until), "start")
    rows = ask(
        f"SELECT toString(finding[i]) AS code, {_EXPLAINED} FROM windows"
        f" ARRAY JOIN arrayEnumerate(finding) AS i WHERE ordinal > 0 AND {condition.text}"
        " AND notEmpty(finding_evidence) ORDER BY start DESC, gomaxprocs DESC LIMIT 1 BY code",
        condition.parameters,
    )
    found = {}
    for row in rows:
        code, evidence, patches = row.pop("code"), row.pop("evidence"), row.pop("patches")
        found[code] = Explained(**row, evidence=tuple(evidence), patches=tuple(patches))
    return found


def with_saving(ask: Ask, selection: Selection, ended: LatestFinding) -> LatestFinding:
    """With what a mended finding brought, where a saving was predicted."""
    if ended.why != "mended":
        return ended
    near = Selection(
        selection.conditions,
        max(selection.since, ended.until - AROUND_S),
        min(selection.until, ended.until + AROUND_S),
    )
    condition = where(near, "start")
    rows = ask(
        "SELECT has_, count() AS n, sum(cost) AS costs, sum(cost * cost) AS costs2,"
        " avg(saving_mid) AS predicted, sum(duration) / (max(at + duration) - min(at)) AS running"
        " FROM (SELECT toUnixTimestamp(start) AS at, duration_ns / 1e9 AS duration, saving_mid,"
        "  (scheduler_ns + gc_ns) / duration_ns AS cost,"
        "  has(finding, {code:String}) AS has_"
        f"  FROM windows WHERE ordinal > 0 AND duration_ns > 0 AND {condition.text}"
        "   AND (has_ OR at + 1 >= {ended:UInt32}))"
        " GROUP BY has_",
        {**condition.parameters, "code": ended.code, "ended": ended.until},
    )
    sides = {int(row["has_"]): row for row in rows}
    if len(sides) < 2 or not sides[1]["predicted"] > 0:
        return ended
    samples = [Sample.of(sides[i]["n"], sides[i]["costs"], sides[i]["costs2"]) for i in (1, 0)]
    running = sides[0]["running"]
    before, after = (sample.mean * running for sample in samples)
    change = honest([difference(*samples)])[0]
    return replace(ended, fixed=Fixed(before, after, sides[1]["predicted"] * running, change))


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
        found.append(_latest(row, "ended", why_ended(code, holding, does_any_run)))
    found.sort(key=lambda one: -one.until)
    return found[:_ENDED_MAX]


def why_ended(code: str, holding: Set[str], does_any_run: bool) -> str:
    if code in _NEED_SAMPLES and TOO_FEW_SAMPLES in holding:
        return "too-few-samples"
    return "mended" if does_any_run else "gone"


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
