"""The plan as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gotax_collector.remedies.plan import Change, Plan, WorkloadPlan
from gotax_collector.remedies.yamltext import one_line

_NOTHING = "There is nothing to change: no running container of that selection has a warning."
_NOTHING_AT_ALL = (
    "There is nothing to change: no running container of that selection has a finding."
)


def summary(plan: Plan, with_information: bool) -> str:
    """Owner by owner, those with the largest saving first."""
    if not plan.groups:
        lines = [_NOTHING_AT_ALL if with_information else _NOTHING]
    else:
        lines = [_head(plan)]
        for owner, workloads in sorted(plan.groups.items(), key=_by_saving):
            lines += ["", _title(owner, workloads)]
            for workload in workloads:
                lines += _workload(workload)
    return "\n".join([*lines, *_rest(plan)])


def _head(plan: Plan) -> str:
    changed = [w for w in plan.workloads if w.changes]
    owners = {workload.owner for workload in changed}
    text = f"{_count(len(changed), 'workload')} of {_count(len(owners), 'owner')} to change"
    return f"{text}{_saving(plan.workloads)}"


def _by_saving(group: tuple[str, tuple[WorkloadPlan, ...]]) -> tuple[float, str]:
    owner, workloads = group
    saving = _total(workloads)
    return (-saving[1] if saving else 0.0, owner)


def _total(workloads: Sequence[WorkloadPlan]) -> tuple[float, float, float] | None:
    found = [saving for w in workloads if (saving := w.saving_cores) is not None]
    if not found:
        return None
    return (sum(s[0] for s in found), sum(s[1] for s in found), sum(s[2] for s in found))


def _saving(workloads: Sequence[WorkloadPlan]) -> str:
    saving = _total(workloads)
    if saving is None:
        return ""
    low, mid, high = saving
    return f", predicted to save {mid:.2f} cores ({low:.2f} to {high:.2f})"


def _title(owner: str, workloads: Sequence[WorkloadPlan]) -> str:
    name = one_line(owner) or "outside Kubernetes"
    return f"{name}: {_count(len(workloads), 'workload')}{_saving(workloads)}"


def _workload(workload: WorkloadPlan) -> Iterator[str]:
    name = one_line("/".join(part for part in (workload.kind, workload.name) if part))
    prefix = f"{workload.namespace}/" if workload.owner != workload.namespace else ""
    yield f"  {one_line(prefix)}{name}"
    for change in workload.changes:
        yield f"    {change.container}: {_setting(change)}{_codes(change)}"
        if change.note:
            yield f"      {change.note}"
    for finding, why in workload.by_hand:
        yield one_line(
            f"    {finding.container or finding.workload}: by hand, {why}  [{finding.code}]"
        )


def _sets_it(change: Change) -> bool:
    return any("environment" in finding.origins for finding in change.findings)


def _setting(change: Change) -> str:
    setting, first = change.setting, change.findings[0]
    text = str(setting)
    if setting.is_from_limit:
        least, most = first.limit_cores
        text += f" ({least:g})" if least == most else f" ({least:g} to {most:g})"
    return text


def _codes(change: Change) -> str:
    first = change.findings[0]
    codes = " ".join(dict.fromkeys(finding.code for finding in change.findings))
    where = f"{_count(first.containers, 'container')} on {_count(first.nodes, 'node')}"
    return one_line(f", {where}{_of(first.saving_cores)}  [{codes}]")


def _of(saving: tuple[float, float, float] | None) -> str:
    return "" if saving is None else f", {saving[1]:.2f} cores"


def _rest(plan: Plan) -> Iterator[str]:
    own = [w for w in plan.workloads if any(_sets_it(change) for change in w.from_limit)]
    if own:
        yield ""
        yield (
            f"{_count(len(own), 'workload')} may set GOMAXPROCS in the manifest. A policy leaves"
            " that as it is: use the patches there."
        )
    if plan.silent:
        yield ""
        verb = "is" if plan.silent == 1 else "are"
        yield f"{_count(plan.silent, 'finding')} of agents that no longer report {verb} left out."
    if plan.is_cut:
        yield ""
        yield "There are more findings than one answer holds: select a namespace or a workload."


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
