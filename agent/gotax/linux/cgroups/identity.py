"""Which container or systemd unit the path of a cgroup names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from gotax.linux.procfs import CgroupEntry

# cri-containerd-ID.scope, docker-ID.scope, crio-ID[.scope], libpod-ID.scope; or a bare ID.
_CONTAINER = re.compile(r"(?:([a-z0-9][a-z0-9_.-]*)-)?([0-9a-f]{64})(?:\.scope)?\Z")
# slice:prefix:ID is how systemd-driver paths look when the runtime takes them for cgroupfs paths.
_COLONS = re.compile(r"([^:]*):([^:]*):([0-9a-f]{64})\Z")
# pod<uid>, kubepods-burstable-pod<uid_with_underscores>.slice; a static pod's UID is the 32 hex
# digits of a hash (kubernetes pkg/kubelet/config/common.go applyDefaults).
_POD = re.compile(
    r"(?:.*-)?pod([0-9a-f]{8}([-_])[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{4}\2[0-9a-f]{12}"
    r"|[0-9a-f]{32})(?:\.slice)?\Z"
)
_RUNTIME_OF_PREFIX = {
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "docker": "docker",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",  # podman --cgroups=split, what Quadlet units use
}
# Where a bare ID lies directly below a directory that only one runtime makes. The cgroupfs driver
# of Kubernetes (pod<uid>/ID) does not identify the runtime.
_RUNTIME_OF_PARENT = {"docker": "docker", "k8s.io": "containerd"}
_UNIT = (".service", ".scope")
_Pod = tuple[int, str] | None  # place in the path, and UID
# A user without privileges makes cgroups below it, with any name.
_USER_MANAGER = re.compile(r"user@[1-9][0-9]*\.service\Z")


@dataclass(frozen=True, slots=True)
class CgroupIdentity:
    """The container or unit of a cgroup path.

    ``container_id`` is 64 hex digits; None for a container of a user without privileges, who can
    give it any name (its ``runtime`` is known nevertheless). ``pod_uid`` is written with dashes, or
    32 hex digits for a static pod. ``runtime`` is containerd, cri-o, docker, podman, or None where
    the path does not say. ``unit`` is the systemd service or scope; for a container only when it
    was started by that very service (podman's split mode). ``qos`` is guaranteed, burstable or
    besteffort.
    ``cgroup`` is the path down to the container's or unit's own cgroup, without the children
    that a container's own systemd or crun may have made.
    """

    cgroup: str
    container_id: str | None = None
    pod_uid: str | None = None
    runtime: str | None = None
    unit: str | None = None
    qos: str | None = None


@lru_cache(4096)  # the same paths at every window
def identify(path: str, node: frozenset[str] = frozenset()) -> CgroupIdentity:
    """Understands one cgroup path. Never fails: what it does not know is just a cgroup.

    The outermost container wins, because only the host can have made it. All names below it are
    made by what runs in it, and are parts of it: Docker in Docker, its own systemd, or a name that
    pretends to be another container. ``node``: ids of the containers that this node itself is
    (kind, minikube, k3d). In those, the containers of the node are the outermost ones.
    (docs/decisions/0017-the-outermost-container.md)
    """
    parts = path.split("/")
    pod: _Pod = None
    of_node: CgroupIdentity | None = None
    for index, part in enumerate(parts):
        if pod is None and (uid := _pod_uid(part)) is not None:
            pod = index, uid
        container = _container(parts, index)
        if container is None:
            continue
        found = _identity(parts, index, container, pod)
        if container[0] not in node:
            return found
        of_node, pod = found, None
    if pod is None and of_node is not None:
        return of_node
    at, pod_uid = pod or (-1, None)
    qos = _qos(parts, at) if pod_uid else None
    unit = max((i for i, part in enumerate(parts) if part.endswith(_UNIT)), default=-1)
    if unit > at:
        cgroup = "/".join(parts[: unit + 1])
        return CgroupIdentity(cgroup, pod_uid=pod_uid, unit=parts[unit], qos=qos)
    return CgroupIdentity(path, pod_uid=pod_uid, qos=qos)


def _identity(
    parts: list[str], index: int, container: tuple[str, str | None], pod: _Pod
) -> CgroupIdentity:
    container_id, runtime = container
    cgroup = "/".join(parts[: index + 1])
    if any(_USER_MANAGER.match(part) for part in parts[:index]):
        return CgroupIdentity(cgroup, runtime=runtime)
    parent = parts[index - 1] if index else ""
    split = parent.endswith(".service") and pod is None and runtime == "podman"
    return CgroupIdentity(
        cgroup=cgroup,
        container_id=container_id,
        pod_uid=pod[1] if pod else None,
        runtime=runtime,
        unit=parent if split else None,
        qos=_qos(parts, pod[0]) if pod else None,
    )


def _pod_uid(part: str) -> str | None:
    colons = _COLONS.match(part)
    match = _POD.match(colons[1] if colons else part)
    return None if match is None else match[1].replace("_", "-")


def _container(parts: list[str], index: int) -> tuple[str, str | None] | None:
    """Id and runtime if this component is a container's; None if it is not."""
    match = _COLONS.match(parts[index])
    if match is not None:
        return match[3], _RUNTIME_OF_PREFIX.get(match[2])
    match = _CONTAINER.match(parts[index])
    if match is None:
        return None
    prefix, container_id = match[1], match[2]
    if prefix is None:
        return container_id, _RUNTIME_OF_PARENT.get(parts[index - 1] if index else "")
    if prefix.endswith("conmon"):  # crio-conmon-ID, libpod-conmon-ID: a container's monitor
        return None
    return container_id, _RUNTIME_OF_PREFIX.get(prefix)


def _qos(parts: list[str], pod: int) -> str:
    # kubernetes pkg/kubelet/cm: a guaranteed pod lies directly below kubepods.
    where = "/".join(parts[max(pod - 1, 0) : pod + 1]).lower()
    return next((name for name in ("burstable", "besteffort") if name in where), "guaranteed")


def identify_entries(
    entries: tuple[CgroupEntry, ...], node: frozenset[str] = frozenset()
) -> CgroupIdentity:
    """Understands a process by all its hierarchies, which may disagree on v1.

    The first path that names a container counts, else the first that names a unit, else the first
    that is not the root: cpu, then unified, then systemd's own tree; containers are sought in the
    other controllers too. ``cgroup`` is "/" for a process in no group at all.
    """
    ranked = sorted(entries, key=_rank)
    identities = [identify(entry.path, node) for entry in ranked]
    named = [i for e, i in zip(ranked, identities, strict=True) if _rank(e) < _OTHER_RANK]
    return next(
        (
            identity
            for choice in (
                (i for i in identities if i.container_id),
                (i for i in named if i.unit),
                (i for i in named if i.cgroup != "/"),
            )
            for identity in choice
        ),
        CgroupIdentity("/"),
    )


_OTHER_RANK = 3


def _rank(entry: CgroupEntry) -> int:
    if "cpu" in entry.controllers:
        return 0
    if entry.hierarchy == 0:
        return 1
    return 2 if "name=systemd" in entry.controllers else _OTHER_RANK


def containers_of(entries: tuple[CgroupEntry, ...]) -> frozenset[str]:
    """Ids of all containers that these paths lead through."""
    found: set[str] = set()
    for entry in entries:
        parts = entry.path.split("/")
        containers = (_container(parts, index) for index in range(len(parts)))
        found.update(container[0] for container in containers if container is not None)
    return frozenset(found)


def group_key(entries: tuple[CgroupEntry, ...]) -> str | None:
    """What processes are grouped by: unique on the node, stable while the group lives.

    The container id, else the path of the systemd unit's cgroup (a unit's name alone is not
    unique: users have units too), else the cgroup path. None for the root cgroup, which is no
    group: the caller then takes each process for itself. Cgroups below with a limit of their own
    are groups of their own: ``Bounds.key``.
    """
    return key_of(identify_entries(entries))


def key_of(identity: CgroupIdentity) -> str | None:
    """As ``group_key``, of an identity."""
    if identity.container_id:
        return identity.container_id
    return None if identity.cgroup == "/" else identity.cgroup
