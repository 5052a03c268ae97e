"""Cgroups: which container a path means, and what a cgroup may use and has used.

Three layouts exist: v2 (one unified tree), v1 (one tree per controller, each with its own path for
the same process) and hybrid (v1 controllers beside a unified tree that has none of them). All
paths here are the host's: ``Cgroups.read_entries`` undoes the agent's own cgroup namespace.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from gotax.errors import AccessError, ParseError, ProcessGoneError
from gotax.linux.procfs import CgroupEntry, TaskPath, parse_cgroups, parse_cpu_list, read_cgroups
from gotax.process import CpuLimit, CpuUsage

_MAX_MOUNTINFO_BYTES = 8 << 20
_MAX_FILE_BYTES = 64 * 1024
_MAX_CGROUPS = 16384  # directories of one walk, and ids kept
_MAX_DEPTH = 256
# EOPNOTSUPP: cgroup.procs of a threaded cgroup. ENODEV: the cgroup was removed while it was open.
_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.EOPNOTSUPP})

# ----------------------------------------------------------------------------------------------
# Whose cgroup is this?

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


# ----------------------------------------------------------------------------------------------
# Where are the hierarchies?


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """A cgroup line of mountinfo. ``controllers`` is () for v2; ``root`` is what is mounted.

    ``root`` is relative to the reader's cgroup namespace: "/" in the initial one, "/../.." for
    the real root seen from a namespace two levels down (cgroup_namespaces(7)).
    """

    controllers: tuple[str, ...]
    mount: str
    root: str


def parse_mountinfo(data: bytes) -> tuple[CgroupMount, ...]:
    """The cgroup and cgroup2 mounts in their order; all other lines are passed over."""
    found = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        # proc_pid_mountinfo(5): id parent dev root mount options [tags...] - type source options
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if kinds[0] not in ("cgroup", "cgroup2"):
            continue
        if len(fields) < 6 or len(kinds) < 3:
            raise ParseError("cgroup-mountinfo", repr(line[:120]))
        # v1's super options: rw, the controllers or name=x; release_agent=/x and xattr do no harm.
        options = kinds[2].split(",") if kinds[0] == "cgroup" else ()
        controllers = tuple(option for option in options if option not in ("rw", "ro"))
        found.append(CgroupMount(controllers, _unescaped(fields[4]), _unescaped(fields[3])))
    return tuple(found)


def _unescaped(text: str) -> str:
    # fs/proc_namespace.c mangles space, tab, newline, backslash and # as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One cgroup tree. ``mount`` shows the host path ``root`` and what is below it.

    ``base`` is the host path of the agent's cgroup namespace root, "/" without a namespace.
    """

    controllers: tuple[str, ...]
    mount: str
    root: str = "/"
    base: str = "/"

    def directory(self, path: str) -> str | None:
        """Where a host path is in the file system; None: not below what is mounted."""
        if self.root == "/":
            return self.mount + path.rstrip("/")
        if path != self.root and not path.startswith(self.root + "/"):
            return None
        return self.mount + path[len(self.root) :]


def _resolved(path: str, base: str) -> str:
    """``path`` seen from ``base``: "/../x" from "/a/b" is "/a/x"."""
    parts = [part for part in path.split("/") if part]
    above = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    kept = [part for part in base.split("/") if part]
    kept = kept[: len(kept) - above] if above < len(kept) else []
    return "/" + "/".join(kept + parts[above:])


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """``sees_host`` is False when only the agent's own cgroups are mounted, or its own place in the
    host's tree was not found: paths still distinguish the containers, but no limit or usage can be
    read. ``node``: ids of the containers that PID 1 is in, so that all of this node is in them.
    """

    version: Literal["v1", "v2", "hybrid"]
    unified: Hierarchy | None
    legacy: tuple[Hierarchy, ...]
    sees_host: bool = True
    node: frozenset[str] = frozenset()

    def of(self, controller: str) -> Hierarchy | None:
        """The tree that has the controller: v1's if there is one, else the unified one."""
        return next((h for h in self.legacy if controller in h.controllers), self.unified)

    def of_entry(self, entry: CgroupEntry) -> Hierarchy | None:
        if entry.hierarchy == 0:
            return self.unified
        return next((h for h in self.legacy if set(entry.controllers) & set(h.controllers)), None)

    def host_entries(self, entries: tuple[CgroupEntry, ...]) -> tuple[CgroupEntry, ...]:
        """Undoes the agent's cgroup namespace. Once only: host paths must not come back in here.

        Where the agent's own place is unknown, "/../../x" becomes "/x", which still
        distinguishes the container.
        """
        result = []
        for entry in entries:
            tree = self.of_entry(entry)
            base = tree.base if tree else "/"
            foreign = base != "/" or entry.path.startswith("/..")
            result.append(replace(entry, path=_resolved(entry.path, base)) if foreign else entry)
        return tuple(result)


def find_hierarchies(proc_root: str, sys_root: str) -> Hierarchies:
    """Reads where cgroups are mounted for this process, at or below ``sys_root``.

    ``sys_root`` is /sys/fs/cgroup, or where a container has the host's mounted. Mounts elsewhere
    (a container's own) do not count. When the agent sits in a private cgroup namespace, its own
    place is searched for in the host's tree, by its PID in cgroup.procs, once.
    AccessError("cgroup-not-mounted"): there is none.
    """
    data = _read(f"{proc_root}/self/mountinfo", _MAX_MOUNTINFO_BYTES)
    if data is None:
        raise ParseError("cgroup-mountinfo", f"{proc_root}/self/mountinfo cannot be read")
    best: dict[tuple[str, ...], CgroupMount] = {}
    for mount in parse_mountinfo(data):
        if mount.mount != sys_root and not mount.mount.startswith(sys_root + "/"):
            continue
        known = best.get(mount.controllers)
        if known is None or _width(mount) >= _width(known):  # a later mount hides an earlier one
            best[mount.controllers] = mount
    if not best:
        raise AccessError("cgroup-not-mounted", f"no cgroup file system at {sys_root}")
    from_inside = any(mount.root.startswith("/..") for mount in best.values())
    own = _entries_of(proc_root, "self") if from_inside else ()
    trees = {controllers: _hierarchy(mount, own) for controllers, mount in best.items()}
    # PID 1 outside of our cgroup namespace, but no mount that shows anything outside of it.
    first = _entries_of(proc_root, "1")
    outside = any(entry.path.startswith("/..") for entry in first)
    lost = any(
        tree.base == "/" and best[controllers].root.startswith("/..")
        for controllers, tree in trees.items()
    )
    sees_host = not lost and (from_inside or not outside)
    unified = trees.pop((), None)
    legacy = tuple(trees.values())
    version: Literal["v1", "v2", "hybrid"] = (
        "v1" if unified is None else "hybrid" if legacy else "v2"
    )
    found = Hierarchies(version, unified, legacy, sees_host)
    return replace(found, node=_containers_of(found.host_entries(first)))


def _containers_of(entries: tuple[CgroupEntry, ...]) -> frozenset[str]:
    """Ids of all containers that these paths lead through."""
    found: set[str] = set()
    for entry in entries:
        parts = entry.path.split("/")
        containers = (_container(parts, index) for index in range(len(parts)))
        found.update(container[0] for container in containers if container is not None)
    return frozenset(found)


def _width(mount: CgroupMount) -> tuple[int, int]:
    """How much of the hierarchy a mount shows: the higher its root, the more."""
    parts = [part for part in mount.root.split("/") if part]
    above = parts.count("..")
    return above, above - len(parts)


def _hierarchy(mount: CgroupMount, own: tuple[CgroupEntry, ...]) -> Hierarchy:
    parts = [part for part in mount.root.split("/") if part]
    if not parts or set(parts) != {".."}:
        return Hierarchy(mount.controllers, mount.mount, _resolved(mount.root, "/"))
    entry = next(
        (
            e
            for e in own
            if (not mount.controllers and e.hierarchy == 0)
            or set(e.controllers) & set(mount.controllers)
        ),
        None,
    )
    base = _find_own(mount.mount, entry.path) if entry else None
    # The depth is known from the mount; a path of another depth is not our namespace's root.
    if base is None or base.count("/") != len(parts):
        base = "/"
    return Hierarchy(mount.controllers, mount.mount, "/", base)


def _find_own(mount: str, inner: str) -> str | None:
    """The host path of our cgroup namespace's root: where this PID is, less the path inside."""
    pid = str(os.getpid()).encode()
    for directory, _ in _walk(mount):
        if pid in (_read(f"{directory}/cgroup.procs", _MAX_MOUNTINFO_BYTES) or b"").split():
            path = directory[len(mount) :]
            inside = inner.rstrip("/")
            return path.removesuffix(inside) if path.endswith(inside) else None
    return None


def _walk(top: str) -> Iterator[tuple[str, int]]:
    """(directory, inode) of each cgroup, parents first, at most 16384; what vanishes is left out.

    A cgroup directory's link count is 2 + its children (fs/kernfs/inode.c), so a stat saves
    listing the fifty files of a leaf. Not every file system that a test may use keeps it: 1 is
    no answer.
    """
    try:
        inode = os.stat(top).st_ino
    except OSError:
        return
    yield top, inode
    queue, count = [top], 1
    for directory in queue:
        try:
            with os.scandir(directory) as listing:
                children = [entry for entry in listing if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for child in children:
            try:
                stat = child.stat(follow_symlinks=False)
            except OSError:
                continue
            count += 1
            if count > _MAX_CGROUPS:
                return
            yield child.path, stat.st_ino
            if stat.st_nlink != 2:
                queue.append(child.path)


# ----------------------------------------------------------------------------------------------
# What may it use, and what has it used?


@dataclass(frozen=True, slots=True)
class CgroupPaths:
    """A process's host paths in the trees that matter; on v1 they may differ."""

    cpu: str
    cpuacct: str
    cpuset: str


@dataclass(frozen=True, slots=True)
class CgroupPosition:
    """Where a process is, and ``tops``: where in each of those paths its container or unit begins.

    "/" stands for a path that does not lead through the container's own cgroup: then a limit
    anywhere on it is not the container's. Nothing is below the top of a bare cgroup.
    """

    identity: CgroupIdentity
    paths: CgroupPaths
    tops: CgroupPaths

    @property
    def is_below(self) -> bool:
        """Whether a limit could be set below the container's own cgroup."""
        return self.paths.cpu != self.tops.cpu or self.paths.cpuset != self.tops.cpuset


@dataclass(frozen=True, slots=True)
class Bounds:
    """The cgroups that bound a process below its container's own; None where the container does.

    ``cpu``: what sets a quota tighter than that of the container, or the only one. ``cpuset``: what
    has other CPUs than the container.
    """

    limit: CpuLimit = CpuLimit()
    cpu: str | None = None
    cpuset: str | None = None

    def nested(self, place: CgroupPosition) -> str:
        """The part of the path that says which group of the container this is; "" for itself."""
        cpu = _below(self.cpu, place.tops.cpu)
        cpuset = _below(self.cpuset, place.tops.cpuset)
        if not cpuset or (cpu + "/").startswith(cpuset + "/"):
            return cpu
        if (cpuset + "/").startswith(cpu + "/") or not cpu:
            return cpuset
        return f"{cpu} {cpuset}"  # v1: a place in one tree says nothing of the other

    def key(self, place: CgroupPosition) -> str | None:
        """As ``group_key``; the same for processes that the same cgroups bound."""
        key = key_of(place.identity)
        if key is None or (self.cpu is None and self.cpuset is None):
            return key
        # With their leading slash, so that /a is not the a below the container.
        cpu, cpuset = (
            "" if path is None else "/" + path if top == "/" else path[len(top) :]
            for path, top in ((self.cpu, place.tops.cpu), (self.cpuset, place.tops.cpuset))
        )
        return key + cpu if cpu == cpuset or not cpuset else f"{key}{cpu}:cpuset:{cpuset}"


def _below(path: str | None, top: str) -> str:
    return "" if path is None else path[len(top) :].strip("/")


def find_place(
    identity: CgroupIdentity, paths: CgroupPaths, node: frozenset[str] = frozenset()
) -> CgroupPosition:
    """Where the container of ``identity`` begins in each of the paths."""
    tops = (_top(path, identity, node) for path in (paths.cpu, paths.cpuacct, paths.cpuset))
    return CgroupPosition(identity, paths, CgroupPaths(*tops))


def _top(path: str, identity: CgroupIdentity, node: frozenset[str]) -> str:
    if path == "/" or (identity.cgroup + "/").startswith(path + "/"):
        return path  # the container's own, or above it: on v1 a tree may have no cgroup for it
    if identity.cgroup != "/" and path.startswith(identity.cgroup + "/"):
        return identity.cgroup
    found = identify(path, node)
    same = (
        found.container_id == identity.container_id
        if identity.container_id
        else found.unit is not None and found.cgroup == identity.cgroup
    )
    if same:
        return found.cgroup
    return path if identity.cgroup == "/" else "/"


def parse_cpu_max(data: bytes) -> float | None:
    """v2's ``cpu.max`` (``50000 100000``) in cores; None for ``max``."""
    quota, _, period = data.strip().partition(b" ")
    return None if quota == b"max" else _cores(quota, period)


def parse_cfs_quota(quota: bytes, period: bytes) -> float | None:
    """v1's ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` in cores; None for a quota of -1."""
    return None if quota.strip() == b"-1" else _cores(quota.strip(), period.strip())


def _cores(quota: bytes, period: bytes) -> float:
    if not quota.isdigit() or not period.isdigit() or not int(quota) or not int(period):
        raise ParseError("cgroup-quota", f"{quota[:40]!r} {period[:40]!r}")
    return int(quota) / int(period)


def parse_cpu_stat(data: bytes) -> CpuUsage:
    """``cpu.stat`` of either version; None for what it does not hold.

    v2 counts microseconds (usage_usec, throttled_usec); v1 nanoseconds (throttled_time), and has
    its usage in another file. Without the cpu controller v2 has the usage only.
    """
    values: dict[bytes, int] = {}
    for line in data.split(b"\n"):
        key, _, value = line.partition(b" ")
        if value.isdigit():
            values[key] = int(value[:20])
    usage_us, throttled_us = values.get(b"usage_usec"), values.get(b"throttled_usec")
    return CpuUsage(
        usage_ns=None if usage_us is None else usage_us * 1000,
        periods=values.get(b"nr_periods"),
        throttled_periods=values.get(b"nr_throttled"),
        throttled_ns=(
            values.get(b"throttled_time") if throttled_us is None else throttled_us * 1000
        ),
    )


class Cgroups:
    """Reads cgroups by their host path.

    A cgroup that is gone raises ``ProcessGoneError``; one outside of what is mounted raises
    ``AccessError("cgroup-unreachable")``. Files that a cgroup does not have (the root has no
    cpu.max; a controller may be off below some level) count as "not limited here".
    """

    def __init__(self, hierarchies: Hierarchies) -> None:
        self.hierarchies = hierarchies
        self._cpu = hierarchies.of("cpu")
        self._cpuset = hierarchies.of("cpuset")
        self._path_of_id: dict[int, str] = {}
        self._may_walk = True
        self._all_cpus: frozenset[int] | None = None  # of the root's cpuset, once a round
        self.evictions = 0  # ids forgotten because of the bound

    def __len__(self) -> int:
        """How many cgroup ids are remembered."""
        return len(self._path_of_id)

    def read_entries(self, proc_root: str, place: TaskPath) -> tuple[CgroupEntry, ...]:
        """A process's cgroups with host paths."""
        return self.host_entries(read_cgroups(proc_root, place))

    def host_entries(self, entries: tuple[CgroupEntry, ...]) -> tuple[CgroupEntry, ...]:
        """As ``Hierarchies.host_entries``."""
        return self.hierarchies.host_entries(entries)

    def identify(self, entries: tuple[CgroupEntry, ...]) -> CgroupIdentity:
        """The container or unit of a process, by its host entries."""
        return identify_entries(entries, self.hierarchies.node)

    def find_place(self, entries: tuple[CgroupEntry, ...]) -> CgroupPosition:
        """Where a process with these host entries is."""
        node = self.hierarchies.node
        return find_place(self.identify(entries), self.locate(entries), node)

    def locate(self, entries: tuple[CgroupEntry, ...]) -> CgroupPaths:
        """Where the process is in each tree, from host entries; "/" where it is in none."""
        return CgroupPaths(
            _path_in(entries, "cpu"), _path_in(entries, "cpuacct"), _path_in(entries, "cpuset")
        )

    def cpu_path(self, entries: tuple[CgroupEntry, ...]) -> str:
        """The host path in the tree that limits CPU time: v1's if the cpu controller is there."""
        return _path_in(entries, "cpu")

    def read_limit(self, path: str, cpuset_path: str | None = None) -> CpuLimit:
        """The tightest quota of the cgroup and all its ancestors, and its cpuset and shares.

        ``cpuset_path`` defaults to ``path``.
        """
        paths = CgroupPaths(path, path, cpuset_path or path)
        return self.read_bounds(CgroupPosition(CgroupIdentity(path), paths, paths)).limit

    def read_bounds(self, place: CgroupPosition) -> Bounds:
        """The limit of a process, and which cgroups below its container's own make it another.

        Of equally tight quotas the one nearest to the container's own cgroup counts: a child that
        repeats the limit of its container has none of its own.
        """
        limit = self._read_limit(place.paths.cpu, place.tops.cpu)
        cpus, at = self._read_cpuset(place.paths.cpuset)
        return Bounds(
            replace(limit, cpuset_cpus=cpus, cpuset_cgroup=at),
            cpu=limit.limit_cgroup if _is_below(limit.limit_cgroup, place.tops.cpu) else None,
            cpuset=at if _is_below(at, place.tops.cpuset) else None,
        )

    def _read_limit(self, path: str, top: str) -> CpuLimit:
        tree = self._cpu
        leaf = _directory(self.hierarchies, tree, path)
        tightest: float | None = None
        tightest_at: str | None = None
        leaf_limit = _read_quota(leaf, tree)
        may_tie = True
        for at in _upwards(path):
            directory = tree.directory(at) if tree else None
            if directory is None:
                break
            limit = leaf_limit if at == path else _read_quota(directory, tree)
            if limit is not None and (
                tightest is None or limit < tightest or (may_tie and limit == tightest)
            ):
                tightest, tightest_at = limit, at
            may_tie = may_tie and at != top
        if leaf_limit is None:
            _require(leaf)
        is_v2 = tree is self.hierarchies.unified
        return CpuLimit(
            limit_cores=tightest,
            limit_cgroup=tightest_at,
            leaf_limit_cores=leaf_limit,
            shares=None if is_v2 else _read_int(f"{leaf}/cpu.shares"),
            weight=_read_int(f"{leaf}/cpu.weight") if is_v2 else None,
        )

    def read_usage(self, path: str, cpuacct_path: str | None = None) -> CpuUsage:
        """The kernel's counters of the cgroup with its children. ``cpuacct_path`` as above."""
        leaf = _directory(self.hierarchies, self._cpu, path)
        data = _read(f"{leaf}/cpu.stat", _MAX_FILE_BYTES)
        if data is None:
            _require(leaf)
        usage = parse_cpu_stat(data or b"")
        cpuacct = self.hierarchies.of("cpuacct")
        if usage.usage_ns is not None or cpuacct is None or cpuacct is self.hierarchies.unified:
            return usage
        directory = cpuacct.directory(cpuacct_path or path)
        return replace(usage, usage_ns=_read_int(f"{directory}/cpuacct.usage"))

    def _read_cpuset(self, path: str) -> tuple[int | None, str | None]:
        """CPUs of the nearest cgroup that has a cpuset, None where none is to be seen; and the
        highest cgroup with the same CPUs, None where they are those of the root."""
        if self._cpuset is None:
            return None, None
        found: frozenset[int] = frozenset()
        highest = None
        for at in _upwards(path):
            cpus = self._root_cpus() if at == "/" else self._cpuset_of(at)
            if cpus is None:
                break
            if not cpus:
                continue  # the controller is off here: the one above counts
            if not found and cpus == self._root_cpus():
                return len(cpus), None
            if found and cpus != found:
                break
            found, highest = cpus, at
        return (len(found), highest) if found else (None, None)

    def _cpuset_of(self, path: str) -> frozenset[int] | None:
        """Empty where the cgroup has none; None outside of what is mounted."""
        assert self._cpuset is not None
        directory = self._cpuset.directory(path)
        if directory is None:
            return None
        is_v2 = self._cpuset is self.hierarchies.unified
        name = "cpuset.cpus.effective" if is_v2 else "cpuset.effective_cpus"
        return parse_cpu_list(_read(f"{directory}/{name}", _MAX_FILE_BYTES) or b"")

    def _root_cpus(self) -> frozenset[int]:
        if self._all_cpus is None:
            self._all_cpus = self._cpuset_of("/") or frozenset()
        return self._all_cpus

    def read_group_usage(self, place: CgroupPosition, bounds: Bounds) -> CpuUsage:
        """The counters of a group: CPU time of its own cgroup, throttling of the one whose quota
        counts. Nothing for the root of the tree.
        """
        if place.paths.cpu == "/":
            return CpuUsage()
        quota_at = _group_cgroup(place.paths.cpu, place.tops.cpu, (bounds.cpu,))
        own = bounds.cpu, bounds.cpuset
        at = _group_cgroup(place.paths.cpu, place.tops.cpu, own)
        accounting_at = _group_cgroup(place.paths.cpuacct, place.tops.cpuacct, own)
        usage = self.read_usage(quota_at, accounting_at)
        cpuacct = self.hierarchies.of("cpuacct")
        if at == quota_at or cpuacct is None or cpuacct is not self.hierarchies.unified:
            return usage
        return replace(usage, usage_ns=self.read_usage(at).usage_ns)

    def refresh(self) -> None:
        """Allows one more walk of the tree: call it once a round."""
        self._may_walk = True
        self._all_cpus = None

    def known_path(self, cgroup_id: int) -> str | None:
        """As ``path_of_id``, but without a walk."""
        return self._path_of_id.get(cgroup_id)

    def learn(self, cgroup_id: int, entries: tuple[CgroupEntry, ...]) -> None:
        """Remember an id by the host entries of a process that has just been sampled there.

        It may have moved since, so what they say must be that cgroup.
        """
        unified = self.hierarchies.unified
        if unified is None or cgroup_id in self._path_of_id:
            return
        for entry in entries:
            directory = unified.directory(entry.path) if entry.hierarchy == 0 else None
            if directory is not None and _inode(directory) == cgroup_id:
                self._path_of_id[cgroup_id] = entry.path
        self._trim()

    def path_of_id(self, cgroup_id: int) -> str | None:
        """The host path of a bpf_get_current_cgroup_id, which is the inode of a v2 directory.

        None: never seen, or no v2 tree is mounted. Walks the tree when the id is new, at most
        once per ``refresh``. Remembers removed cgroups, the last 16384 ids in all.
        """
        path = self._path_of_id.get(cgroup_id)
        unified = self.hierarchies.unified
        if path is not None or not self._may_walk or unified is None:
            return path
        self._may_walk = False
        prefix = "" if unified.root == "/" else unified.root
        for directory, inode in _walk(unified.mount):
            self._path_of_id.pop(inode, None)  # to the end: the oldest are the first
            self._path_of_id[inode] = prefix + directory[len(unified.mount) :] or "/"
        self._trim()
        return self._path_of_id.get(cgroup_id)

    def _trim(self) -> None:
        while len(self._path_of_id) > _MAX_CGROUPS:
            del self._path_of_id[next(iter(self._path_of_id))]
            self.evictions += 1


def _path_in(entries: tuple[CgroupEntry, ...], controller: str) -> str:
    for entry in entries:
        if controller in entry.controllers:
            return entry.path
    return next((entry.path for entry in entries if entry.hierarchy == 0), "/")


def _upwards(path: str) -> Iterator[str]:
    """The path and its ancestors, ending with "/"."""
    for _ in range(_MAX_DEPTH):
        yield path
        if path == "/":
            return
        path = path.rpartition("/")[0] or "/"


def _is_below(path: str | None, top: str) -> bool:
    return path is not None and path != top and (path + "/").startswith(top.rstrip("/") + "/")


def _group_cgroup(path: str, top: str, bounds: tuple[str | None, ...]) -> str:
    """The lowest of ``bounds`` that this path leads through, else its ``top``; never the root."""
    through = [at for at in bounds if at is not None and (path + "/").startswith(at + "/")]
    found = max(through, key=len, default=top)
    return path if found == "/" else found


def _directory(hierarchies: Hierarchies, tree: Hierarchy | None, path: str) -> str:
    directory = tree.directory(path) if tree and hierarchies.sees_host else None
    if directory is None:
        raise AccessError("cgroup-unreachable", path)
    return directory


def _read_quota(directory: str, tree: Hierarchy | None) -> float | None:
    if tree is None or not tree.controllers:
        data = _read(f"{directory}/cpu.max", _MAX_FILE_BYTES)
        return None if data is None else parse_cpu_max(data)
    quota = _read(f"{directory}/cpu.cfs_quota_us", _MAX_FILE_BYTES)
    if quota is None or quota.startswith(b"-1"):  # saves opening the period
        return None
    period = _read(f"{directory}/cpu.cfs_period_us", _MAX_FILE_BYTES)
    return None if period is None else parse_cfs_quota(quota, period)


def _inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def _require(directory: str) -> None:
    if not os.path.isdir(directory):
        raise ProcessGoneError(directory)


def _read_int(path: str) -> int | None:
    data = (_read(path, _MAX_FILE_BYTES) or b"").strip()
    return int(data[:20]) if data.isdigit() else None


def _entries_of(proc_root: str, pid: str) -> tuple[CgroupEntry, ...]:
    return parse_cgroups(_read(f"{proc_root}/{pid}/cgroup", _MAX_FILE_BYTES) or b"")


def _read(path: str, limit: int) -> bytes | None:
    """At most ``limit`` bytes; None: there is no such file (any more), or it has no such data."""
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            chunks = [os.read(fd, min(65536, limit))]
            size = len(chunks[0])
            while chunks[-1] and size < limit:
                chunks.append(os.read(fd, min(65536, limit - size)))
                size += len(chunks[-1])
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise AccessError("cgroup-unreadable", f"{path}: {error.strerror}") from error
    return b"".join(chunks)
