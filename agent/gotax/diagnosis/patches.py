"""Patches that set a variable of Go: in Kubernetes, systemd, container engines, a shell, go.mod."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass

from gotax.diagnosis.context import whole
from gotax.process import Container, CpuLimit, PodContainer

CONTAINER_NAME = "CONTAINER"
"""Placeholder for the container's name in the pod template, if it is not known."""


@dataclass(frozen=True, slots=True)
class Patch:
    """``text`` can be applied as it is; ``note`` is a sentence that explains it, or ""."""

    text: str
    note: str = ""
    from_limit: bool = False


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable of Go and its value, None for the container's CPU limit by the downward API.

    ``memory_limit``: the new limit of the container's memory, as Kubernetes writes it, "" for the
    present one.
    """

    name: str
    value: str | None
    memory_limit: str = ""

    def __str__(self) -> str:
        return f"{self.name}={self.value}"


def variable_patch(
    container: Container, limit: CpuLimit, value: int, may_be_set: bool = True
) -> Patch:
    """A patch that sets the variable GOMAXPROCS to ``value``, for the way this container is run.

    ``may_be_set``: the variable may already be set.
    """
    if _has_pod_variables(container):
        return _kubernetes(container, limit, value, may_be_set)
    return Patch(_outside_kubernetes(container, Setting("GOMAXPROCS", str(value)), may_be_set))


def setting_patch(container: Container, setting: Setting) -> str:
    """A patch that sets another variable, for the way this container is run.

    The variable may already be set.
    """
    if _has_pod_variables(container):
        return kubernetes_patch(setting, True, container.pod)
    return _outside_kubernetes(container, setting, True)


def _has_pod_variables(container: Container) -> bool:
    return container.pod_uid is not None and not container.nested


def _outside_kubernetes(container: Container, setting: Setting, may_be_set: bool) -> str:
    unit = container.unit
    if container.nested:  # it does not have the variables of its pod or unit
        return f"{setting}\n"
    if container.container_id is not None or container.runtime is not None:
        if container.runtime == "podman" and unit is not None:
            return _quadlet_patch(unit, setting)
        return _engine_patch(container.runtime, setting)
    if unit is not None and not _is_manager(unit):
        return _unit_patch(container, unit, setting, may_be_set)
    return f"{setting}\n"


def _kubernetes(container: Container, limit: CpuLimit, value: int, may_be_set: bool) -> Patch:
    """Uses the downward API if that gives ``value``.

    limits.cpu gives the limit of the container itself, in units of the divisor, rounded up: 1 for
    500m and 2 for 1500m. For a container without a limit it gives the CPUs of the node.
    """
    pod, own = container.pod, _own_limit(container, limit)
    follows = own is not None and own == limit.limit_cores and whole(own) == value
    setting = Setting("GOMAXPROCS", None if follows else str(value))
    text = kubernetes_patch(setting, may_be_set, pod)
    if follows:
        note = "The patch takes the value from the container's CPU limit, so both change together."
    elif own is None:
        note = (
            "The value has to be a number: the container has no CPU limit of its own, so limits.cpu"
            " of the downward API would give the number of CPUs of the node."
        )
    else:
        note = (
            f"The value has to be a number: limits.cpu of the downward API would give {whole(own)}."
        )
    return Patch(text, note, follows)


def _own_limit(container: Container, limit: CpuLimit) -> float | None:
    """limits.cpu of its manifest, as far as the cgroups show it; None for no limit."""
    pod = container.pod
    if pod is not None and pod.current.limit_cores is None and pod.desired.limit_cores is None:
        return None  # the limit of the cgroup does not come from Kubernetes
    name = container.container_id
    if name is not None and name in container.cgroup:
        # The process may be in a cgroup below the container's own.
        at = (limit.limit_cgroup or "").rpartition("/")[2]
        if name in at:
            return limit.limit_cores
        is_leaf = name in container.cgroup.rpartition("/")[2]
        return limit.leaf_limit_cores if is_leaf else None
    return limit.leaf_limit_cores


def kubernetes_patch(setting: Setting, replaces: bool, pod: PodContainer | None) -> str:
    """A strategic merge patch of a Deployment, StatefulSet, DaemonSet or CronJob.

    ``replaces``: the variable may already exist in the other form. Kubernetes refuses a variable
    with both forms, so the patch sets the other one to null, which deletes it. If the ``pod`` is
    known, the first line is a comment that says how to apply the patch, or what to do instead.
    """
    workload = pod.workload.kind if pod is not None else "Deployment"
    is_init = pod is not None and pod.kind in ("init", "sidecar")
    path = _TEMPLATES.get(workload, ("spec", "template", "spec"))
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(path)]
    margin = "  " * len(path)
    lines += [f"{margin}{'initContainers' if is_init else 'containers'}:"]
    lines += [f"{margin}- name: {_scalar(pod.container) if pod else CONTAINER_NAME}"]
    if setting.memory_limit:
        lines += [f"{margin}  resources:", f"{margin}    limits:"]
        lines += [f"{margin}      memory: {setting.memory_limit}"]
    lines += [f"{margin}  env:", f"{margin}  - name: {setting.name}"]
    item = f"{margin}    "
    if setting.value is not None:
        lines += [f'{item}value: "{setting.value}"']
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
    """One line: the command that applies the patch, or what to do if there is none."""
    workload = pod.workload
    if pod.kind == "ephemeral":
        return "an ephemeral container cannot be changed: set the variable when you add it"
    if workload.kind in _PATCHED | _NOT_REPLACED:
        name, namespace = shlex.quote(workload.name), shlex.quote(pod.namespace)
        command = f"kubectl -n {namespace} patch {workload.kind.lower()} {name} --patch-file FILE"
        if workload.kind in _PATCHED:
            return _line(command)
        return _line(f"{command}, then delete its pods: it does not replace them by itself")
    if workload.kind == "StaticPod":
        return _line(f"put this into the manifest of {workload.name} on node {pod.node}")
    if workload.kind == "Pod":
        return (
            "the environment of a pod cannot be changed: put this into its manifest and recreate it"
        )
    if workload.kind == "Job":
        return "a job cannot be changed: put this into its manifest and recreate it"
    # Strategic merge patches work only for built-in kinds; other patches replace whole lists.
    return _line(f"{workload} does not accept such a patch: put this into its pod template")


def _line(text: str) -> str:
    """Replaces what is not printable, so that a hostile name cannot end the comment."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _scalar(name: str) -> str:
    """Quotes a name that YAML would not read as text, such as 1e3, on or null."""
    plain = re.fullmatch(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*", name)
    return name if plain and name not in _WORDS else json.dumps(name)


_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


# Container engines

_ENGINES = {"docker": "docker", "podman": "podman", "containerd": "nerdctl"}


def _engine_patch(runtime: str | None, setting: Setting) -> str:
    """For a container outside Kubernetes: an option of the command that creates it."""
    command = f"{_ENGINES[runtime]} run " if runtime in _ENGINES else ""
    return (
        "# the environment of a container cannot be changed: recreate it with this option\n"
        f'# (in a Compose file: environment: {{{setting.name}: "{setting.value}"}})\n'
        f"{command}-e {setting}\n"
    )


def _quadlet_patch(unit: str, setting: Setting) -> str:
    """For a container that podman runs as a service. The service's own environment is podman's."""
    name = _line(unit.rpartition("/")[2].removesuffix(".service"))
    return (
        f"# in {name}.container (Quadlet), then systemctl daemon-reload and systemctl restart"
        f" {name}.service;\n"
        f"# if the unit calls podman run itself, add -e {setting} to that command\n"
        "[Container]\n"
        f"Environment={setting}\n"
    )


# systemd

_BY_SYSTEMD_RUN = re.compile(r"run-(?:[pu]?[0-9]+(?:-i[0-9]+)?|r[0-9a-f]{32})\.(?:service|scope)")
"""Names that systemd-run generates (systemd's src/run/run.c)."""


def _is_manager(unit: str) -> bool:
    """The manager of a user's units, or its own scope: not a service that can be changed."""
    return unit.startswith("user@") or unit == "init.scope"


def _unit_patch(container: Container, unit: str, setting: Setting, may_be_set: bool) -> str:
    name = _line(unit.rpartition("/")[2])
    plain = f"{setting}\n"
    if _BY_SYSTEMD_RUN.fullmatch(name):
        option = "--scope " if name.endswith(".scope") else ""
        return f"# {name} is temporary: start it with this option\nsystemd-run {option}-E {plain}"
    if name.endswith(".scope"):
        return f"# {name} starts no program: set this where the program is started\n{plain}"
    parts = container.cgroup.split("/")
    if unit in parts and parts[-1] != unit:
        return f"# set this where {name} starts the program, which has a cgroup of its own\n{plain}"
    is_users = any(p.startswith("user@") for p in (*parts, *container.key.split("/")))
    return _systemd_patch(name, setting, is_users, may_be_set)


def _systemd_patch(name: str, setting: Setting, is_users: bool, may_be_set: bool) -> str:
    """A drop-in (systemd.unit(5)). Its first line is its path.

    ``is_users``: a unit of a user's own manager. The last Environment= counts. Drop-ins come after
    the unit, but any EnvironmentFile= comes after them all (systemd.exec(5)).
    """
    folder = "~/.config/systemd/user" if is_users else "/etc/systemd/system"
    command = f"systemctl{' --user' if is_users else ''}"
    lines = [
        f"# {folder}/{name}.d/{setting.name.lower()}.conf",
        f"# then {command} daemon-reload and {command} restart {name}",
    ]
    if may_be_set:
        lines.append(f"# an EnvironmentFile= with {setting.name} overrides this: change it there")
    lines += ["[Service]", f"Environment={setting}"]
    if setting.memory_limit:
        # systemd's suffixes are powers of 1024 (systemd.resource-control(5)).
        lines.append(f"MemoryMax={setting.memory_limit.removesuffix('i')}")
    return "\n".join(lines) + "\n"


def go_line() -> str:
    """The new go line of go.mod."""
    return "go 1.25.0\n"
