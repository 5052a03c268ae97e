"""What to change, by owner and workload: one value for each variable of each container.

Findings of several containers of a workload become one change of its pod template. Warnings come
before information, then the CPU limit before a number. Of several numbers the largest counts,
because too small a value harms more than one that is slightly too large; of GOGC the smallest,
which needs least memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from gotax_collector.errors import CollectorError
from gotax_collector.query.remedies import Wanted
from gotax_collector.remedies.owners import Owners
from gotax_collector.remedies.setting import GOMAXPROCS, Setting, parse_setting

API_VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "CronJob": "batch/v1",
}
"""Workloads whose pod template a strategic merge patch can change."""

_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_KIND = re.compile(r"[A-Z][A-Za-z0-9]{0,62}")


class PlanError(CollectorError):
    """The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Change:
    """A variable of one container. ``findings`` are those that ask for it, the first decides.

    ``note`` is a sentence about a choice between several values, or "".
    """

    container: str
    setting: Setting
    findings: tuple[Wanted, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class WorkloadPlan:
    """``changes`` may be empty. ``by_hand``: findings without a change, each with the reason."""

    owner: str
    namespace: str
    kind: str
    name: str
    changes: tuple[Change, ...]
    by_hand: tuple[tuple[Wanted, str], ...]

    @property
    def is_patched(self) -> bool:
        """By a strategic merge patch of its pod template."""
        return bool(self.changes) and self.kind in API_VERSIONS

    @property
    def is_in_kubernetes(self) -> bool:
        """By its namespace; it may also be of an agent that invents names."""
        return _LABEL.fullmatch(self.namespace) is not None

    @property
    def from_limit(self) -> tuple[Change, ...]:
        """Those that a policy can make."""
        return tuple(c for c in self.changes if c.setting.is_from_limit)

    @property
    def saving_cores(self) -> tuple[float, float, float] | None:
        return added_saving(
            finding
            for change in self.changes
            if change.setting.variable == GOMAXPROCS
            for finding in change.findings
            if finding.code == change.findings[0].code
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """``groups`` by owner, in the order of their names. ``until`` is in Unix seconds."""

    until: int
    groups: Mapping[str, tuple[WorkloadPlan, ...]]
    silent: int
    is_cut: bool

    @property
    def workloads(self) -> tuple[WorkloadPlan, ...]:
        return tuple(one for ones in self.groups.values() for one in ones)


def added_saving(findings: Iterable[Wanted]) -> tuple[float, float, float] | None:
    """The middle is added up. So are the ends, although not all will be at their worst."""
    found = [f.saving_cores for f in findings if f.saving_cores is not None]
    if not found:
        return None
    return (sum(f[0] for f in found), sum(f[1] for f in found), sum(f[2] for f in found))


def parse_rows(document: Mapping[str, Any]) -> tuple[Wanted, ...]:
    """The rows of the API's answer. PlanError: it is not of a collector."""
    names = [field.name for field in fields(Wanted)]
    try:
        return tuple(_row({name: row[name] for name in names}) for row in document["rows"])
    except (KeyError, TypeError, ValueError) as error:
        raise PlanError(
            "the collector does not answer with remedies: it may be older than this gotax"
        ) from error


def _row(row: dict[str, Any]) -> Wanted:
    lists = {name: tuple(value) for name, value in row.items() if isinstance(value, list)}
    return Wanted(**{**row, **lists})


def plan(document: Mapping[str, Any], owners: Owners, with_information: bool) -> Plan:
    """Of the API's answer. Only warnings, unless ``with_information``. PlanError."""
    by_workload: defaultdict[tuple[str, str, str], list[Wanted]] = defaultdict(list)
    for row in parse_rows(document):
        if with_information or row.severity == "warning":
            by_workload[row.namespace, row.kind, row.workload].append(row)
    groups: defaultdict[str, list[WorkloadPlan]] = defaultdict(list)
    for key, rows in sorted(by_workload.items()):
        owner = owners.of(*key)
        groups[owner].append(_workload(owner, key, rows))
    found = {owner: tuple(groups[owner]) for owner in sorted(groups)}
    return Plan(document["until"], found, document["silent"], document["is_cut"])


def _workload(owner: str, key: tuple[str, str, str], rows: Sequence[Wanted]) -> WorkloadPlan:
    wanted: defaultdict[tuple[str, str], list[tuple[Wanted, Setting]]] = defaultdict(list)
    by_hand: list[tuple[Wanted, str]] = []
    for row in rows:
        setting = _setting(row)
        if isinstance(setting, str):
            by_hand.append((row, setting))
            continue
        wanted[row.container, setting.variable].append((row, setting))
        if key[1] not in API_VERSIONS:
            by_hand.append((row, _why_not(key[1])))
    changes = tuple(_change(container, wanted[container, v]) for container, v in sorted(wanted))
    return WorkloadPlan(owner, *key, changes, tuple(by_hand))


def _setting(row: Wanted) -> Setting | str:
    """Or why there is none."""
    if not row.namespace:
        return "it does not run in Kubernetes"
    is_named = _LABEL.fullmatch(row.namespace) and _LABEL.fullmatch(row.container)
    if not is_named or not _SUBDOMAIN.fullmatch(row.workload) or not _KIND.fullmatch(row.kind):
        return "its names are not names of Kubernetes"
    if len(row.workload) > 253:
        return "its names are not names of Kubernetes"
    found = (parse_setting(patch, row.container) for patch in row.patches)
    setting = next((s for s in found if s is not None), None)
    if setting is None:
        return "its remedy is not a variable of Go in the pod template"
    if setting.is_from_limit and not row.limit_cores[0]:
        return "it has no CPU limit from which the value could come"
    return setting


def _why_not(kind: str) -> str:
    if kind in ("Pod", "StaticPod", "Job"):
        return f"a {kind} cannot be changed: change its manifest and create it again"
    return f"kubectl has no strategic merge patch for a {kind}: change its pod template"


def _change(container: str, wanted: Sequence[tuple[Wanted, Setting]]) -> Change:
    ranked = sorted(wanted, key=_rank)
    best = ranked[0][1]
    code = ranked[0][0].code
    rivals = [pair for pair in ranked if pair[0].code == code and _is_alike(pair[1], best)]
    if best.variable == "GOGC":
        row, setting = min(rivals, key=lambda pair: pair[1].size)
    else:
        row, setting = max(rivals, key=lambda pair: pair[1].size)
    values = sorted({(s.size, str(s)) for _, s in wanted})
    note = ""
    if len(values) > 1:
        note = f"Its containers would get different values: {', '.join(v for _, v in values)}."
    ordered = [row, *(r for r, _ in ranked if r is not row)]
    replaces = any(s.replaces for _, s in wanted)
    chosen = Setting(
        setting.variable, setting.value, setting.memory_limit, setting.is_init, replaces
    )
    return Change(container, chosen, tuple(ordered), note)


def _is_alike(one: Setting, other: Setting) -> bool:
    return one.is_from_limit == other.is_from_limit


def _rank(pair: tuple[Wanted, Setting]) -> tuple[object, ...]:
    row, setting = pair
    return row.severity != "warning", not setting.is_from_limit, row.code, setting.size, row.remedy
