"""Strategic merge patches, one for each workload, and a script that applies those of an owner.

A patch names its object, so it is also a patch of kustomize.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from typing import Any

from gotax_collector.remedies.plan import API_VERSIONS, Change, WorkloadPlan
from gotax_collector.remedies.yamltext import dumped

FROM_LIMIT = {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}
_FILE_MAX = 200
"""Of a file's name, without its ending."""


def patch_of(workload: WorkloadPlan) -> str:
    """With its command as a comment in the first line."""
    command = f"kubectl patch -f FILE --patch-file FILE  # {workload.kind} {workload.name}"
    reasons = [
        f"{c.container}: {c.setting} ({_codes(c)}). {c.note}".strip() for c in workload.changes
    ]
    return dumped(_patch(workload), comments=(command, *reasons))


def _codes(change: Change) -> str:
    return ", ".join(sorted({finding.code for finding in change.findings}))


def _patch(workload: WorkloadPlan) -> dict[str, Any]:
    sections: dict[str, dict[str, Any]] = {}
    for change in workload.changes:
        section = "initContainers" if change.setting.is_init else "containers"
        item = sections.setdefault(section, {}).setdefault(
            change.container, {"name": change.container}
        )
        if change.setting.memory_limit:
            item["resources"] = {"limits": {"memory": change.setting.memory_limit}}
        item.setdefault("env", []).append(_variable(change))
    pod = {name: list(items.values()) for name, items in sections.items()}
    spec: dict[str, Any] = {"template": {"spec": pod}}
    if workload.kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {
        "apiVersion": API_VERSIONS[workload.kind],
        "kind": workload.kind,
        "metadata": {"name": workload.name, "namespace": workload.namespace},
        "spec": spec,
    }


def _variable(change: Change) -> dict[str, Any]:
    setting = change.setting
    variable: dict[str, Any] = {"name": setting.variable}
    if setting.is_from_limit:
        # Kubernetes refuses a variable with both forms; null deletes the other one.
        variable |= {"value": None} if setting.replaces else {}
        return {**variable, "valueFrom": FROM_LIMIT}
    variable["value"] = setting.value
    return {**variable, "valueFrom": None} if setting.replaces else variable


def file_of(workload: WorkloadPlan) -> str:
    """Relative to the folder of its owner. The names are Kubernetes', so they have no slash."""
    name = f"{workload.namespace}.{workload.kind}.{workload.name}"
    if len(name) > _FILE_MAX:
        name = f"{name[:_FILE_MAX]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"patches/{name}.yaml"


def script_of(workloads: Sequence[WorkloadPlan]) -> str:
    """Applies the patches of an owner; its arguments go to kubectl."""
    lines = [
        "#!/bin/sh",
        "# Try it first: sh apply.sh --dry-run=server",
        "set -eu",
        'cd "$(dirname "$0")"',
    ]
    for workload in workloads:
        if workload.is_patched:
            file = shlex.quote(file_of(workload))
            lines.append(f'kubectl patch -f {file} --patch-file {file} "$@"')
    return "\n".join(lines) + "\n"
