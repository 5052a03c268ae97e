"""What the findings that hold ask for, and the agents' patches; alike containers together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gotax_collector.query.coarse import Ask
from gotax_collector.query.findings import LOOK_BACK_S, TOO_FEW_SAMPLES, instances
from gotax_collector.query.selection import Condition, Selection
from gotax_collector.query.sources import WINDOWS, ends_of

ROWS_MAX = 20_000
_IMAGES_MAX = 20

_RUNS_AND_ENDS = ("CronJob", "Job")
"""Of these a container has usually ended, and the last one says what the next will have."""

_FOUND = (
    "arrayMap(i -> (finding[i], finding_severity[i], finding_title[i], finding_remedy[i],"
    " finding_cause[i], finding_confidence[i], finding_patches[i]), arrayEnumerate(finding))"
)
_LAST = (
    f"tuple({_FOUND}, container, node, image, gomaxprocs, cpu_count, limit_cores,"
    " toString(origin), if(target = 0, [], [saving_low, saving_mid, saving_high]))"
)
_ALIKE = "namespace, kind, workload, container_, code, severity, confidence, cause, patches"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A finding of containers of one name whose agents ask for the same patches.

    ``containers`` is how many there are, on ``nodes`` nodes. ``gomaxprocs`` are their values,
    ascending, 0 for unreadable; ``limit_cores`` is (least, most), 0 for none. ``saving_cores`` is
    what their best GOMAXPROCS is predicted to save in all, None without a prediction.
    ``patches`` are untrusted texts of the agents, the best first.
    """

    namespace: str
    kind: str
    workload: str
    container: str
    code: str
    severity: str
    confidence: str
    cause: str
    title: str
    remedy: str
    patches: tuple[str, ...]
    containers: int
    nodes: int
    images: tuple[str, ...]
    gomaxprocs: tuple[int, ...]
    cpus: tuple[int, ...]
    limit_cores: tuple[float, float]
    origins: tuple[str, ...]
    saving_cores: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class Remedies:
    """``until``: when the last window ended that was looked at, in Unix seconds. ``silent``: how
    many such findings are of agents that have stopped reporting. ``is_cut``: there are more."""

    until: int
    rows: tuple[Wanted, ...]
    silent: int
    is_cut: bool


def remedies(ask: Ask, selection: Selection) -> Remedies:
    """Of containers that run at the end of the selection, and of the last runs of jobs."""
    end = ends_of(ask, selection, WINDOWS)[1]
    lately = Selection(
        selection.conditions, max(selection.since, end - LOOK_BACK_S), selection.until
    )
    now, silent = _rows(ask, lately, "kind NOT IN ('CronJob', 'Job')", is_last=False)
    jobs = selection.with_(Condition("kind", _RUNS_AND_ENDS))
    ended, more = _rows(ask, jobs, "1", is_last=True)
    rows = sorted((*now, *ended), key=_order)
    return Remedies(end, tuple(rows[:ROWS_MAX]), silent + more, len(rows) > ROWS_MAX)


def _rows(ask: Ask, selection: Selection, kinds: str, is_last: bool) -> tuple[list[Wanted], int]:
    """And how many findings are of silent agents.

    ``is_last``: of each container's name only the one that was seen last, running or not.
    """
    query, parameters = instances(selection, _LAST)
    last = " ORDER BY ended DESC LIMIT 1 BY namespace, kind, workload, found.2" if is_last else ""
    states = "1" if is_last else "state != 'ended'"
    one = (
        "SELECT namespace, kind, workload, state = 'silent' AS is_silent, found.2 AS container_,"
        " found.3 AS node_,"
        " found.4 AS image_, found.5 AS value, found.6 AS cpus_, found.7 AS limit,"
        " found.8 AS origin_, found.9 AS saving, arrayJoin(found.1) AS one,"
        " toString(one.1) AS code, toString(one.2) AS severity, toString(one.3) AS title,"
        " toString(one.4) AS remedy, toString(one.5) AS cause, toString(one.6) AS confidence,"
        f" one.7 AS patches FROM (SELECT * FROM ({query}) WHERE {kinds}{last})"
        f" WHERE {states} AND code != {{few:String}}"
    )
    rows = ask(
        f"SELECT is_silent, {_ALIKE}, min(title) AS title_, min(remedy) AS remedy_,"
        " count() AS containers, uniqExact(node_) AS nodes,"
        f" arraySort(groupUniqArray({_IMAGES_MAX})(toString(image_))) AS images,"
        " arraySort(groupUniqArray(value)) AS values, arraySort(groupUniqArray(cpus_)) AS cpus,"
        " min(limit) AS least, max(limit) AS most,"
        " arraySort(groupUniqArray(origin_)) AS origins,"
        " sumForEach(saving) AS savings"
        f" FROM ({one}) GROUP BY is_silent, {_ALIKE}"
        f" ORDER BY is_silent, {_ALIKE} LIMIT {ROWS_MAX + 1}",
        {**parameters, "few": TOO_FEW_SAMPLES},
    )
    silent = sum(int(row["containers"]) for row in rows if row["is_silent"])
    return [_wanted(row) for row in rows if not row["is_silent"]], silent


def _wanted(row: Mapping[str, Any]) -> Wanted:
    savings = row["savings"]
    return Wanted(
        namespace=row["namespace"],
        kind=row["kind"],
        workload=row["workload"],
        container=row["container_"],
        code=row["code"],
        severity=row["severity"],
        confidence=row["confidence"],
        cause=row["cause"],
        title=row["title_"],
        remedy=row["remedy_"],
        patches=tuple(row["patches"]),
        containers=int(row["containers"]),
        nodes=int(row["nodes"]),
        images=tuple(image for image in row["images"] if image),
        gomaxprocs=tuple(row["values"]),
        cpus=tuple(row["cpus"]),
        limit_cores=(round(row["least"], 6), round(row["most"], 6)),
        origins=tuple(row["origins"]),
        saving_cores=(
            (round(savings[0], 6), round(savings[1], 6), round(savings[2], 6)) if savings else None
        ),
    )


def _order(row: Wanted) -> tuple[object, ...]:
    return (
        *(row.namespace, row.kind, row.workload, row.container, row.severity != "warning"),
        *(row.code, row.confidence, row.cause, row.patches),
    )
