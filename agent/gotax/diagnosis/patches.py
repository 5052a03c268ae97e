"""Ready text that sets GOMAXPROCS: for Kubernetes, systemd, an environment, go.mod."""

from __future__ import annotations

from gotax.diagnosis.case import whole
from gotax.model import Cause, Container, CpuLimit

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
    if container.pod_uid is not None:
        own = limit.leaf_limit_cores
        follows = own is not None and own == limit.limit_cores and whole(own) == value
        return kubernetes_patch(
            None if follows else value, cause in _MAY_BE_SET, container_name(container)
        )
    if container.unit is not None and container.unit.endswith(".service"):
        return systemd_patch(container.unit, value)
    return f"GOMAXPROCS={value}\n"


def kubernetes_patch(value: int | None, replaces: bool = False, name: str = CONTAINER_NAME) -> str:
    """A strategic merge patch of a Deployment, StatefulSet or DaemonSet.

    ``value`` None: from the container's CPU limit by the downward API. ``replaces``: the variable
    may be there already, in the other form; a variable with both forms is refused, so the other
    one is set to null, which deletes it.
    """
    lines = [
        "spec:",
        "  template:",
        "    spec:",
        "      containers:",
        f"      - name: {name}",
        "        env:",
        "        - name: GOMAXPROCS",
    ]
    if value is not None:
        lines += [f'          value: "{value}"']
        lines += ["          valueFrom: null"] if replaces else []
    else:
        lines += ["          value: null"] if replaces else []
        lines += [
            "          valueFrom:",
            "            resourceFieldRef:",
            "              resource: limits.cpu",
            '              divisor: "1"',
        ]
    return "\n".join(lines) + "\n"


def container_name(container: Container) -> str:
    return container.pod.container if container.pod is not None else CONTAINER_NAME


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
