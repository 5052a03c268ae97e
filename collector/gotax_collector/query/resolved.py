"""Findings that ended in the last day: the newest of a whole selection, with their saving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gotax_collector.query.answers import LatestFinding, Resolved
from gotax_collector.query.coarse import DAY_S, Ask
from gotax_collector.query.findings import (
    ENDS,
    TOO_FEW_SAMPLES,
    Holding,
    Workload,
    why_ended,
    with_saving,
)
from gotax_collector.query.selection import Selection, exactly
from gotax_collector.query.sources import WINDOWS, Source, where_of

RESOLVED_MAX = 5
HOUR_S = 3600


@dataclass(frozen=True, slots=True)
class _Candidate:
    workload: Workload
    code: str
    hour: int


def resolved(
    ask: Ask, selection: Selection, source: Source, holding: Holding
) -> tuple[tuple[Resolved, ...], int]:
    """The newest, and how many there are in all."""
    found = _candidates(ask, selection, source, holding)
    shown = []
    for candidate in found[:RESOLVED_MAX]:
        one = selection.with_(
            *(
                exactly(field, value)
                for field, value in zip(
                    ("namespace", "kind", "workload"), candidate.workload, strict=True
                )
            )
        )
        if (latest := _latest(ask, one, candidate, holding)) is not None:
            shown.append(Resolved(*candidate.workload, with_saving(ask, one, latest)))
    shown.sort(key=lambda each: -each.finding.until)
    return tuple(shown), len(found)


def _candidates(
    ask: Ask, selection: Selection, source: Source, holding: Holding
) -> list[_Candidate]:
    since = max(selection.since, selection.until - DAY_S)
    condition = where_of(Selection(selection.conditions, since, selection.until), source)
    codes = "finding" if source is WINDOWS else "findings"
    rows = ask(
        "SELECT namespace, kind, workload, toString(code) AS code_,"
        f" toUnixTimestamp(toStartOfHour(max({source.time}))) AS hour_"
        f" FROM {source.table} ARRAY JOIN {codes} AS code WHERE {condition.text}"
        " GROUP BY namespace, kind, workload, code_",
        condition.parameters,
    )
    found = []
    for row in rows:
        key = row["namespace"], row["kind"], row["workload"]
        held = {one.code for one in holding.findings.get(key, ())}
        if row["code_"] not in held and row["code_"] != TOO_FEW_SAMPLES:
            found.append(_Candidate(key, row["code_"], int(row["hour_"])))
    found.sort(key=lambda each: (-each.hour, each.workload, each.code))
    return found


def _latest(
    ask: Ask, selection: Selection, candidate: _Candidate, holding: Holding
) -> LatestFinding | None:
    """When it was seen last, from the windows of the last hour that has it."""
    hour = Selection(
        selection.conditions,
        max(selection.since, candidate.hour),
        min(selection.until, candidate.hour + HOUR_S),
    )
    condition = where_of(hour, WINDOWS)
    rows = ask(
        "SELECT one.2 AS severity, one.3 AS title, one.4 AS remedy,"
        " uniqExact(node, pod, container, container_id, name) AS containers,"
        f" toUInt32(max({ENDS})) AS until FROM windows"
        " ARRAY JOIN arrayZip(finding, finding_severity, finding_title, finding_remedy) AS one"
        f" WHERE {condition.text} AND one.1 = {{code:String}}"
        " GROUP BY severity, title, remedy ORDER BY until DESC LIMIT 1",
        {**condition.parameters, "code": candidate.code},
    )
    if not rows:
        return None
    row: Mapping[str, Any] = rows[0]
    held = {one.code for one in holding.findings.get(candidate.workload, ())}
    return LatestFinding(
        code=candidate.code,
        severity=row["severity"],
        title=row["title"],
        remedy=row["remedy"],
        containers=row["containers"],
        state="ended",
        until=row["until"],
        why=why_ended(candidate.code, held, candidate.workload in holding.running),
    )
