"""Where a process is in the hierarchies, and which cgroups below its container bound it."""

from __future__ import annotations

from dataclasses import dataclass

from gotax.linux.cgroups.identity import CgroupIdentity, identify, key_of
from gotax.process import CpuLimit


@dataclass(frozen=True, slots=True)
class CgroupPaths:
    """A process's host paths in the trees that matter; on v1 they may differ."""

    cpu: str
    cpuacct: str
    cpuset: str
    memory: str = "/"


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

    def nested(self, position: CgroupPosition) -> str:
        """The part of the path that says which group of the container this is; "" for itself."""
        cpu = _below(self.cpu, position.tops.cpu)
        cpuset = _below(self.cpuset, position.tops.cpuset)
        if not cpuset or (cpu + "/").startswith(cpuset + "/"):
            return cpu
        if (cpuset + "/").startswith(cpu + "/") or not cpu:
            return cpuset
        return f"{cpu} {cpuset}"  # v1: a position in one tree says nothing of the other

    def key(self, position: CgroupPosition) -> str | None:
        """As ``group_key``; the same for processes that the same cgroups bound."""
        key = key_of(position.identity)
        if key is None or (self.cpu is None and self.cpuset is None):
            return key
        # With their leading slash, so that /a is not the a below the container.
        cpu, cpuset = (
            "" if path is None else "/" + path if top == "/" else path[len(top) :]
            for path, top in ((self.cpu, position.tops.cpu), (self.cpuset, position.tops.cpuset))
        )
        return key + cpu if cpu == cpuset or not cpuset else f"{key}{cpu}:cpuset:{cpuset}"


def _below(path: str | None, top: str) -> str:
    return "" if path is None else path[len(top) :].strip("/")


def find_place(
    identity: CgroupIdentity, paths: CgroupPaths, node: frozenset[str] = frozenset()
) -> CgroupPosition:
    """Where the container of ``identity`` begins in each of the paths."""
    each = (paths.cpu, paths.cpuacct, paths.cpuset, paths.memory)
    tops = (_top(path, identity, node) for path in each)
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


def is_below(path: str | None, top: str) -> bool:
    return path is not None and path != top and (path + "/").startswith(top.rstrip("/") + "/")


def group_cgroup(path: str, top: str, bounds: tuple[str | None, ...]) -> str:
    """The lowest of ``bounds`` that this path leads through, else its ``top``; never the root."""
    through = [at for at in bounds if at is not None and (path + "/").startswith(at + "/")]
    found = max(through, key=len, default=top)
    return path if found == "/" else found
