"""PolicyReports (wgpolicyk8s.io/v1alpha2): the findings where dashboards of policies look."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from gotax_collector.query.remedies import Wanted
from gotax_collector.remedies.plan import API_VERSIONS, WorkloadPlan
from gotax_collector.remedies.policies import LABELS, object_name
from gotax_collector.remedies.yamltext import dumped

API_VERSION = "wgpolicyk8s.io/v1alpha2"
_MEMORY_CODES = frozenset({"GT016", "GT017", "GT018", "GT019"})
_OTHER_API_VERSIONS = {
    "ReplicaSet": "apps/v1",
    "Job": "batch/v1",
    "Pod": "v1",
    "ReplicationController": "v1",
}
_RESULTS = ("pass", "fail", "warn", "error", "skip")


def policy_reports(owner: str, workloads: Sequence[WorkloadPlan], until: int) -> str:
    """A document for each namespace of the owner; "" without one."""
    by_namespace: defaultdict[str, list[WorkloadPlan]] = defaultdict(list)
    for workload in workloads:
        if workload.is_in_kubernetes:
            by_namespace[workload.namespace].append(workload)
    return dumped(*(_report(owner, n, by_namespace[n], until) for n in sorted(by_namespace)))


def _report(
    owner: str, namespace: str, workloads: Sequence[WorkloadPlan], until: int
) -> dict[str, Any]:
    results = [result for workload in workloads for result in _results(workload, until)]
    counts = Counter(result["result"] for result in results)
    return {
        "apiVersion": API_VERSION,
        "kind": "PolicyReport",
        "metadata": {
            "name": object_name(owner).replace("gotax-gomaxprocs-", "gotax-", 1),
            "namespace": namespace,
            "labels": dict(LABELS),
        },
        "summary": {name: counts[name] for name in _RESULTS},
        "results": results,
    }


def _results(workload: WorkloadPlan, until: int) -> Iterator[dict[str, Any]]:
    changed = [(f, str(c.setting)) for c in workload.changes for f in c.findings]
    others = [(finding, "") for finding, _ in workload.by_hand]
    seen = set()
    for finding, setting in [*changed, *others]:
        if finding not in seen:
            seen.add(finding)
            yield _result(workload, finding, setting, until)


def _result(workload: WorkloadPlan, finding: Wanted, setting: str, until: int) -> dict[str, Any]:
    is_warning = finding.severity == "warning"
    properties = {
        "container": finding.container,
        "containers": str(finding.containers),
        "nodes": str(finding.nodes),
        "confidence": finding.confidence,
        "cause": finding.cause,
        "setting": setting,
    }
    if finding.saving_cores is not None:
        low, mid, high = finding.saving_cores
        properties["savingCores"] = f"{mid:.3f} ({low:.3f} to {high:.3f})"
    return {
        "source": "gotax",
        "policy": "gotax",
        "rule": finding.code,
        "category": "Memory" if finding.code in _MEMORY_CODES else "CPU",
        "severity": "medium" if is_warning else "info",
        "result": "fail" if is_warning else "warn",
        "scored": True,
        "message": f"{finding.title}. {finding.remedy}",
        "timestamp": {"seconds": until, "nanos": 0},
        "resources": [_resource(workload)],
        "properties": {name: value for name, value in properties.items() if value},
    }


def _resource(workload: WorkloadPlan) -> dict[str, str]:
    found = {"kind": workload.kind, "namespace": workload.namespace, "name": workload.name}
    version = {**API_VERSIONS, **_OTHER_API_VERSIONS}.get(workload.kind)
    return {"apiVersion": version, **found} if version else found
