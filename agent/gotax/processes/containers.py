"""The group of processes that one belongs to: a container, a unit, a bare cgroup, or a part of one.

Slurm's steps below slurmstepd.scope, Garden's containers below its service, Docker's in a pod,
units of a container's own systemd: what has a limit of its own is judged by it. Cgroups below a
container that have none (systemd's init.scope, crun's ``container``) are the container.
"""

from __future__ import annotations

import re
from collections import Counter

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.cgroups.identity import identify_entries
from gotax.linux.cgroups.position import Bounds, CgroupPaths, CgroupPosition
from gotax.linux.cgroups.tree import Cgroups
from gotax.linux.procfs import CgroupEntry
from gotax.lru import LruCache
from gotax.process import Container, CpuLimit, CpuUsage

PARTS_MAX = 128
"""Groups of one container. A process that may make cgroups in it could make thousands, and push
other containers out of the metrics. The rest is judged with the container, as
``cgroup-parts-full``."""
_REMEMBERED = 2048
_ID = re.compile(r"[0-9a-f]{64}")
NOWHERE = CgroupPosition(
    identify_entries(()), CgroupPaths("/", "/", "/"), CgroupPaths("/", "/", "/")
)

ReadBounds = dict[tuple[CgroupPaths, CgroupPaths], Bounds]


class Containers:
    """``errors`` counts what went wrong, by reason; it is the process table's."""

    def __init__(self, cgroups: Cgroups, errors: Counter[str]) -> None:
        self._cgroups = cgroups
        self._errors = errors
        self._known: LruCache[tuple[CgroupPaths, CgroupPaths], Bounds] = LruCache(_REMEMBERED)
        self._parts: dict[str, dict[str, int]] = {}  # by container: its groups, with their window
        self._window = 0

    def place(self, entries: tuple[CgroupEntry, ...]) -> CgroupPosition:
        """Where a process with these host entries is."""
        return self._cgroups.find_place(entries)

    def bounds(self, position: CgroupPosition, read: ReadBounds) -> Bounds:
        """As the kernel has them now. ``read``: what has been read this round.

        ProcessGoneError: the cgroup was removed. Where they cannot be read the limit has a problem,
        and the process stays in the group it was in.
        """
        key = position.paths, position.tops
        found = read.get(key)
        if found is None:
            try:
                found = self._cgroups.read_bounds(position)
                self._known.put(key, found)
            except ReadError as error:
                self._errors[error.reason] += 1
                before = self._known.get(key) or Bounds()
                limit = CpuLimit(problem=error.reason)
                found = Bounds(limit, cpu=before.cpu, cpuset=before.cpuset)
            read[key] = found
        return found

    def last_bounds(self, position: CgroupPosition) -> Bounds:
        """As they were last known; read only if they never were."""
        if not position.is_below:
            return Bounds()
        known = self._known.get((position.paths, position.tops))
        if known is not None:
            return known
        try:
            return self.bounds(position, {})
        except ProcessGoneError:
            return Bounds()

    def container(
        self, position: CgroupPosition, bounds: Bounds, alone: tuple[str, str]
    ) -> Container:
        """``alone``: key and name for a process of the root cgroup, where all are on their own."""
        identity, nested = position.identity, bounds.nested(position)
        key = Bounds().key(position)
        if nested and key is not None:
            part = bounds.key(position)
            if part is not None and self._admits(key, part):
                key = part
            else:
                nested = ""
        container = Container(
            key=alone[0] if key is None else key,
            name="",
            cgroup=position.paths.cpu,
            container_id=identity.container_id,
            pod_uid=identity.pod_uid,
            runtime=identity.runtime,
            unit=identity.unit,
            nested=nested,
        )
        return container.named(_name_of(position, alone[1]))

    def usage(self, position: CgroupPosition, bounds: Bounds) -> CpuUsage:
        """The kernel's counters of the group; nothing for the root and for one that is gone."""
        try:
            return self._cgroups.read_group_usage(position, bounds)
        except ReadError as error:
            self._errors[error.reason] += 1
            return CpuUsage()
        except ProcessGoneError:
            return CpuUsage()

    def _admits(self, whole: str, part: str) -> bool:
        parts = self._parts.setdefault(whole, {})
        if part not in parts and len(parts) >= PARTS_MAX:
            self._errors["cgroup-parts-full"] += 1
            return False
        parts[part] = self._window
        return True

    def end_window(self) -> None:
        """Forget the groups without a process since the end of the last window."""
        for whole, parts in list(self._parts.items()):
            kept = {part: window for part, window in parts.items() if window == self._window}
            if kept:
                self._parts[whole] = kept
            else:
                del self._parts[whole]
        self._window += 1


def _name_of(position: CgroupPosition, command: str) -> str:
    identity = position.identity
    if identity.container_id:
        return identity.container_id[:12]
    if identity.unit:
        return identity.unit.rsplit("/", 1)[-1]
    if identity.runtime:  # a container of a user, whose id may be another's
        return _ID.sub(lambda found: found[0][:12], identity.cgroup.rsplit("/", 1)[-1])
    return position.paths.cpu.strip("/") or command
