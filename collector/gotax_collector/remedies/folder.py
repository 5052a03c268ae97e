"""All files of a plan: one folder for each owner, and a table of everything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from gotax_collector.remedies.admission import admission_policy
from gotax_collector.remedies.kyverno import cluster_policy
from gotax_collector.remedies.patches import file_of, patch_of, script_of
from gotax_collector.remedies.plan import Plan, WorkloadPlan
from gotax_collector.remedies.policies import Match, targets
from gotax_collector.remedies.policyreport import policy_reports
from gotax_collector.remedies.spreadsheet import spreadsheet

FORMATS = ("text", "patches", "kyverno", "admission", "policyreport", "csv")
OUTSIDE = "outside-kubernetes"
_OWNER = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Choice:
    """How policies are written: for workloads or images, and which version of the API."""

    match: Match
    admission_api: str


def files(plan: Plan, choice: Choice) -> Iterator[tuple[str, str]]:
    """Path and content, in order. No path leaves its folder, whatever the names are."""
    yield "remedies.csv", spreadsheet(plan)
    for owner, workloads in plan.groups.items():
        folder = owner if _OWNER.fullmatch(owner) else OUTSIDE
        patched = [workload for workload in workloads if workload.is_patched]
        if patched:
            yield f"{folder}/apply.sh", script_of(patched)
        for workload in patched:
            yield f"{folder}/{file_of(workload)}", patch_of(workload)
        for name, text in _documents(owner, workloads, plan.until, choice).items():
            if text:
                yield f"{folder}/{name}.yaml", text


def one_format(plan: Plan, name: str, choice: Choice) -> str:
    """Everything of one format but text, as one stream."""
    if name == "csv":
        return spreadsheet(plan)
    if name == "patches":
        return _joined([patch_of(w) for w in plan.workloads if w.is_patched])
    return _joined([_documents(o, ws, plan.until, choice)[name] for o, ws in plan.groups.items()])


def _documents(
    owner: str, workloads: tuple[WorkloadPlan, ...], until: int, choice: Choice
) -> dict[str, str]:
    found = targets(workloads, choice.match)
    return {
        "kyverno": cluster_policy(owner, found, choice.match),
        "admission": admission_policy(owner, found, choice.match, choice.admission_api),
        "policyreport": policy_reports(owner, workloads, until),
    }


def _joined(texts: list[str]) -> str:
    """Documents of YAML, each with its comments."""
    return "---\n".join(text.removeprefix("---\n") for text in texts if text)
