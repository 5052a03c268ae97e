"""The table of the fleet: workloads with what they use, and what holds of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gotax_collector.query.answers import (
    Consumption,
    Span,
    Top,
    TopRow,
)
from gotax_collector.query.coarse import DAY_S, Ask
from gotax_collector.query.coverage import OF_NODES, PLACES
from gotax_collector.query.facets import Facets
from gotax_collector.query.findings import LOOK_BACK_S, Holding, open_findings
from gotax_collector.query.resolved import resolved
from gotax_collector.query.selection import Selection, where
from gotax_collector.query.sources import SUMS, Source, source_of, span_of, where_of

WORST = 10
FACETS_MAX = 40
"""Namespaces and Go versions that are offered."""

CONSUMPTION = """
  sum(cpu_ns) AS cpu, sum(scheduler_ns) AS scheduler, sum(gc_ns) AS gc,
  sum(duration_ns) AS duration, sum(periods) AS periods_, sum(throttled_periods) AS throttled"""


ORDERS = {
    "runtime": "scheduler + gc",
    "cpu": "cpu",
    "saving": "saving_mid_",
    "share": "(scheduler + gc) / greatest(cpu, 1)",
    "throttled": "throttled / greatest(periods_, 1)",
}
"""runtime: cores of the scheduler and the GC."""


@dataclass(frozen=True, slots=True)
class Asked:
    """``sort`` is one of ORDERS. The first ``skipped`` workloads are left out. ``with_resolved``:
    with the findings that ended lately."""

    limit: int = 30
    sort: str = "runtime"
    skipped: int = 0
    with_resolved: bool = False


def top(ask: Ask, selection: Selection, asked: Asked) -> Top:
    source = source_of(selection, SUMS)
    span = span_of(ask, selection, source)
    condition = where_of(selection, source)
    holding = open_findings(ask, selection, span.until)
    rows = ask(
        f"SELECT namespace, kind, workload, {CONSUMPTION}, {savings_of(source)},"
        " arraySort(groupUniqArray(gomaxprocs)) AS values, groupUniqArray(20)(go) AS versions,"
        " max(recommended) AS recommended_, max(target) AS target_, max(limit_cores) AS limit_,"
        f" {source.findings} AS codes"
        f" FROM {source.table} WHERE {condition.text}"
        " GROUP BY namespace, kind, workload"
        f" ORDER BY {ORDERS[asked.sort]} DESC, namespace, workload, kind"
        " LIMIT {limit:UInt32} OFFSET {skipped:UInt32}",
        {**condition.parameters, "limit": asked.limit, "skipped": asked.skipped},
    )
    earlier = _earlier_shares(ask, selection, source)
    worst = ask(
        "SELECT sum(runtime) AS ns FROM (SELECT sum(scheduler_ns) + sum(gc_ns) AS runtime"
        f" FROM {source.table} WHERE {condition.text} GROUP BY namespace, kind, workload"
        f" ORDER BY runtime DESC LIMIT {WORST})",
        condition.parameters,
    )[0]
    total = ask(
        f"SELECT {CONSUMPTION}, {savings_of(source)},"
        " uniqExact(namespace, kind, workload) AS workloads,"
        f" groupUniqArray({FACETS_MAX})(namespace) AS namespaces,"
        f" groupUniqArray({FACETS_MAX})(go) AS versions"
        f" FROM {source.table} WHERE {condition.text}",
        condition.parameters,
    )[0]
    return Top(
        span,
        tuple(_top_row(row, span, holding, earlier) for row in rows),
        int(total["workloads"]),
        consumption(total, span),
        _facets(total, holding, _sizes(ask, selection)),
        worst["ns"] / 1e9 / span.seconds,
        *(
            resolved(ask, selection, source, holding)
            if holding and asked.with_resolved
            else ((), 0)
        ),
    )


def _facets(total: Mapping[str, Any], holding: Holding | None, sizes: Mapping[int, int]) -> Facets:
    held = list(holding.findings.values()) if holding else []
    codes = Counter(one.code for ones in held for one in ones)
    causes = Counter(cause for ones in held for cause in {one.cause for one in ones} if cause)
    return Facets(
        tuple(sorted(name for name in total["namespaces"] if name)),
        tuple(sorted(version for version in total["versions"] if version)),
        tuple(sorted(codes.items())),
        tuple(sorted(causes.items())),
        tuple(sorted(sizes.items())),
    )


def _sizes(ask: Ask, selection: Selection) -> dict[int, int]:
    """How many nodes there are of so many CPUs, as they reported last."""
    agents = selection.only(PLACES)
    since = max(selection.since, selection.until - LOOK_BACK_S)
    condition = where(Selection(agents.conditions, since, selection.until), "start")
    rows = ask(
        "SELECT cpus, count() AS n FROM (SELECT argMax(cpu_count, start) AS cpus FROM windows"
        f" WHERE {OF_NODES} AND {condition.text} GROUP BY node) GROUP BY cpus",
        condition.parameters,
    )
    return {int(row["cpus"]): int(row["n"]) for row in rows}


def _earlier_shares(
    ask: Ask, selection: Selection, source: Source
) -> dict[tuple[str, str, str], float]:
    """The share of scheduler and GC by workload, a day earlier."""
    back = max(DAY_S, selection.until - selection.since)
    since = selection.since - back
    if since < 0:
        return {}
    before = Selection(selection.conditions, since, selection.until - back)
    condition = where_of(before, source)
    rows = ask(
        f"SELECT namespace, kind, workload, {CONSUMPTION}"
        f" FROM {source.table} WHERE {condition.text} GROUP BY namespace, kind, workload",
        condition.parameters,
    )
    return {
        (row["namespace"], row["kind"], row["workload"]): (row["scheduler"] + row["gc"])
        / row["cpu"]
        for row in rows
        if row["cpu"]
    }


def savings_of(source: Source) -> str:
    return ", ".join(
        f"{source.saving.format(f'saving_{end}')} AS saving_{end}_"
        for end in ("low", "mid", "high")
    )


def consumption(row: Mapping[str, Any], span: Span) -> Consumption:
    cpu, runtime = row["cpu"], row["scheduler"] + row["gc"]
    found = tuple(row[f"saving_{end}_"] / span.seconds for end in ("low", "mid", "high"))
    return Consumption(
        containers=row["duration"] / 1e9 / span.seconds,
        cores=cpu / 1e9 / span.seconds,
        runtime_cores=runtime / 1e9 / span.seconds,
        scheduler_share=row["scheduler"] / cpu if cpu else 0.0,
        gc_share=row["gc"] / cpu if cpu else 0.0,
        throttled_share=row["throttled"] / row["periods_"] if row["periods_"] else 0.0,
        saving_cores=(found[0], found[1], found[2]) if any(found) else None,
    )


def _top_row(
    row: Mapping[str, Any],
    span: Span,
    holding: Holding | None,
    earlier: Mapping[tuple[str, str, str], float],
) -> TopRow:
    key = row["namespace"], row["kind"], row["workload"]
    return TopRow(
        namespace=row["namespace"],
        kind=row["kind"],
        workload=row["workload"],
        consumption=consumption(row, span),
        gomaxprocs=tuple(row["values"]),
        recommended=row["recommended_"],
        target=row["target_"],
        limit_cores=row["limit_"],
        go=tuple(sorted(row["versions"])),
        findings=tuple(sorted(row["codes"])),
        open_findings=None if holding is None else holding.findings.get(key, ()),
        earlier_runtime_share=earlier.get(key),
    )
