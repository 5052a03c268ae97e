"""Ready text that sets GOMAXPROCS: for Kubernetes, systemd, an environment, go.mod."""

from __future__ import annotations

import json
import re
import shlex

from gotax.diagnosis.case import whole
from gotax.model import Cause, Container, CpuLimit, PodContainer

_MAY_BE_SET = frozenset({Cause.ENVIRONMENT, Cause.RESIZE, Cause.AUTOMAXPROCS, Cause.UNKNOWN})
CONTAINER_NAME = "CONTAINER"
"""Stands in a patch for the container's name in the pod template where only Kubernetes would know
it."""


def gomaxprocs_patch(container: Container, limit: CpuLimit, value: int, cause: Cause) -> str:
    """What sets GOMAXPROCS to ``value`` for whoever runs this container.

    In Kubernetes by the downward API where that gives ``value``: of limits.cpu it gives the limit
    of the container itself, in units of the divisor and rounded up, so 1 for 500m and 2 for 1500m.
    Without a limit of its own it would give the node's CPUs. "" for a call in the program: it
    comes after the variable and wins.
    """
    if cause is Cause.CALL:
        return ""
    if cause is Cause.GO_MOD:
        return go_line()
    if container.nested:  # the variables of its pod or unit are not its own
        return f"GOMAXPROCS={value}\n"
    if container.pod_uid is not None:
        own = limit.leaf_limit_cores
        follows = own is not None and own == limit.limit_cores and whole(own) == value
        return kubernetes_patch(None if follows else value, cause in _MAY_BE_SET, container.pod)
    if container.unit is not None and container.unit.endswith(".service"):
        return systemd_patch(container.unit, value)
    return f"GOMAXPROCS={value}\n"


def kubernetes_patch(
    value: int | None, replaces: bool = False, pod: PodContainer | None = None
) -> str:
    """A strategic merge patch of a Deployment, StatefulSet, DaemonSet or CronJob.

    ``value`` None: from the container's CPU limit by the downward API. ``replaces``: the variable
    may be there already, in the other form; a variable with both forms is refused, so the other
    one is set to null, which deletes it. Once the ``pod`` is known, the first line is a comment
    that says how to apply it, or why it cannot be and what to do instead.
    """
    workload = pod.workload.kind if pod is not None else "Deployment"
    is_init = pod is not None and pod.kind in ("init", "sidecar")
    path = _TEMPLATES.get(workload, ("spec", "template", "spec"))
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(path)]
    margin = "  " * len(path)
    lines += [f"{margin}{'initContainers' if is_init else 'containers'}:"]
    lines += [f"{margin}- name: {_scalar(pod.container) if pod else CONTAINER_NAME}"]
    lines += [f"{margin}  env:", f"{margin}  - name: GOMAXPROCS"]
    item = f"{margin}    "
    if value is not None:
        lines += [f'{item}value: "{value}"']
        lines += [f"{item}valueFrom: null"] if replaces else []
    else:
        lines += [f"{item}value: null"] if replaces else []
        lines += [
            f"{item}valueFrom:",
            f"{item}  resourceFieldRef:",
            f"{item}    resource: limits.cpu",
            f'{item}    divisor: "1"',
        ]
    if pod is not None:
        lines.insert(0, f"# {application(pod)}")
    return "\n".join(lines) + "\n"


_TEMPLATES = {
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "Pod": ("spec",),
    "StaticPod": ("spec",),
}
_PATCHED = frozenset({"Deployment", "StatefulSet", "DaemonSet", "CronJob"})
_NOT_REPLACED = frozenset({"ReplicaSet", "ReplicationController"})


def application(pod: PodContainer) -> str:
    """One line: the command that applies its patch, or what to do where no command can."""
    workload = pod.workload
    if pod.kind == "ephemeral":
        return "an ephemeral container cannot be changed: give it the variable when it is added"
    if workload.kind in _PATCHED | _NOT_REPLACED:
        name, namespace = shlex.quote(workload.name), shlex.quote(pod.namespace)
        command = f"kubectl -n {namespace} patch {workload.kind.lower()} {name} --patch-file FILE"
        if workload.kind in _PATCHED:
            return _line(command)
        return _line(f"{command}, then delete its pods: it makes new ones, but replaces none")
    if workload.kind == "StaticPod":
        return _line(f"for the manifest of {workload.name} on node {pod.node}")
    if workload.kind == "Pod":
        return (
            "the environment of a pod cannot be changed: put this into its manifest, make it anew"
        )
    if workload.kind == "Job":
        return "a job cannot be changed: put this into its manifest, make it anew"
    # Strategic merge patches are for Kubernetes' own kinds; any other patch replaces whole lists.
    return _line(f"{workload} takes no such patch: put this into its template, where it is kept")


def _line(text: str) -> str:
    """Names are Kubernetes' and harmless; if they should not be, they still end no comment."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _scalar(name: str) -> str:
    """A name as YAML takes it for text: not 1e3, on or null."""
    plain = re.fullmatch(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", name)
    return name if plain and name not in _WORDS else json.dumps(name)


_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def systemd_patch(unit: str, value: int) -> str:
    """A drop-in (systemd.unit(5)); its first line says where it belongs."""
    name = unit.rsplit("/", 1)[-1]
    return (
        f"# /etc/systemd/system/{name}.d/gomaxprocs.conf\n"
        "[Service]\n"
        f"Environment=GOMAXPROCS={value}\n"
    )


def go_line() -> str:
    """For go.mod, in place of its go line."""
    return "go 1.25.0\n"
