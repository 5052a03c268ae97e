"""What a cgroup may use and has used, and which cgroup an id means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from gotax.errors import AccessError, ParseError, ProcessGoneError
from gotax.linux.cgroups import files
from gotax.linux.cgroups.cpu import parse_cfs_quota, parse_cpu_max, parse_cpu_stat
from gotax.linux.cgroups.hierarchies import Hierarchies, Hierarchy
from gotax.linux.cgroups.identity import CgroupIdentity, identify_entries
from gotax.linux.cgroups.position import (
    Bounds,
    CgroupPaths,
    CgroupPosition,
    find_place,
    group_cgroup,
    is_below,
)
from gotax.linux.procfs import CgroupEntry, TaskPath, parse_cpu_list, read_cgroups
from gotax.lru import LruCache
from gotax.process import CpuLimit, CpuUsage

_MAX_DEPTH = 256
_Entries = tuple[CgroupEntry, ...]


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
        self._host_entries: LruCache[int, tuple[_Entries, _Entries]] = LruCache(1024)
        self._may_walk = True
        self._all_cpus: frozenset[int] | None = None  # of the root's cpuset, once a round
        self._quotas: dict[str, float | None] | None = None  # by directory, while kept
        self._cpusets: dict[str, frozenset[int] | None] | None = None  # by path, while kept
        self.evictions = 0  # ids forgotten because of the bound

    def __len__(self) -> int:
        """How many cgroup ids are remembered."""
        return len(self._path_of_id)

    def read_entries(self, proc_root: str, task: TaskPath) -> tuple[CgroupEntry, ...]:
        """A process's cgroups with host paths."""
        found = read_cgroups(proc_root, task)  # equal texts give the same object
        known = self._host_entries.get(id(found))
        if known is None or known[0] is not found:
            known = found, self.host_entries(found)
            self._host_entries.put(id(found), known)
        return known[1]

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
        each = ("cpu", "cpuacct", "cpuset", "memory")
        return CgroupPaths(*(_path_in(entries, controller) for controller in each))

    def cpu_path(self, entries: tuple[CgroupEntry, ...]) -> str:
        """The host path in the tree that limits CPU time: v1's if the cpu controller is there."""
        return _path_in(entries, "cpu")

    def read_limit(self, path: str, cpuset_path: str | None = None) -> CpuLimit:
        """The tightest quota of the cgroup and all its ancestors, and its cpuset and shares.

        ``cpuset_path`` defaults to ``path``.
        """
        paths = CgroupPaths(path, path, cpuset_path or path, path)
        return self.read_bounds(CgroupPosition(CgroupIdentity(path), paths, paths)).limit

    def read_bounds(self, position: CgroupPosition) -> Bounds:
        """The limit of a process, and which cgroups below its container's own make it another.

        Of equally tight quotas the one nearest to the container's own cgroup counts: a child that
        repeats the limit of its container has none of its own.
        """
        limit = self._read_limit(position.paths.cpu, position.tops.cpu)
        cpus, at = self._read_cpuset(position.paths.cpuset)
        return Bounds(
            replace(limit, cpuset_cpus=cpus, cpuset_cgroup=at),
            cpu=limit.limit_cgroup if is_below(limit.limit_cgroup, position.tops.cpu) else None,
            cpuset=at if is_below(at, position.tops.cpuset) else None,
        )

    def _read_limit(self, path: str, top: str) -> CpuLimit:
        tree = self._cpu
        if tree is None and path == "/" and self.hierarchies.sees_host:
            return CpuLimit()  # nothing is mounted, and the root has no limit
        leaf = _directory(self.hierarchies, tree, path)
        tightest: float | None = None
        tightest_at: str | None = None
        leaf_limit = _read_quota(leaf, tree)
        may_tie = True
        for at in upwards(path):
            directory = tree.directory(at) if tree else None
            if directory is None:
                break
            limit = leaf_limit if at == path else self._read_quota(directory, tree)
            if limit is not None and (
                tightest is None or limit < tightest or (may_tie and limit == tightest)
            ):
                tightest, tightest_at = limit, at
            may_tie = may_tie and at != top
        if leaf_limit is None:
            files.require(leaf)
        is_v2 = tree is self.hierarchies.unified
        return CpuLimit(
            limit_cores=tightest,
            limit_cgroup=tightest_at,
            leaf_limit_cores=leaf_limit,
            shares=None if is_v2 else files.read_int(f"{leaf}/cpu.shares"),
            weight=files.read_int(f"{leaf}/cpu.weight") if is_v2 else None,
        )

    def _read_quota(self, directory: str, tree: Hierarchy | None) -> float | None:
        """Of an ancestor: those of hundreds of containers are the same few."""
        if self._quotas is None:
            return _read_quota(directory, tree)
        if directory not in self._quotas:
            self._quotas[directory] = _read_quota(directory, tree)
        return self._quotas[directory]

    @contextlib.contextmanager
    def each_ancestor_once(self) -> Iterator[None]:
        """Within this, the limit and the cpuset of a cgroup above a process is read once."""
        self._quotas, self._cpusets = {}, {}
        try:
            yield
        finally:
            self._quotas = self._cpusets = None

    def read_period_ns(self, path: str) -> int:
        """Of the quota of a cgroup that has one. Raises ReadError, ProcessGoneError."""
        directory = _directory(self.hierarchies, self._cpu, path)
        return _read_period_us(directory, self._cpu) * 1000

    def read_usage(self, path: str, cpuacct_path: str | None = None) -> CpuUsage:
        """The kernel's counters of the cgroup with its children. ``cpuacct_path`` as above."""
        leaf = _directory(self.hierarchies, self._cpu, path)
        data = files.read(f"{leaf}/cpu.stat", files.MAX_FILE_BYTES)
        if data is None:
            files.require(leaf)
        usage = parse_cpu_stat(data or b"")
        cpuacct = self.hierarchies.of("cpuacct")
        if usage.usage_ns is not None or cpuacct is None or cpuacct is self.hierarchies.unified:
            return usage
        directory = cpuacct.directory(cpuacct_path or path)
        return replace(usage, usage_ns=files.read_int(f"{directory}/cpuacct.usage"))

    def _read_cpuset(self, path: str) -> tuple[int | None, str | None]:
        """CPUs of the nearest cgroup that has a cpuset, None where none is to be seen; and the
        highest cgroup with the same CPUs, None where they are those of the root."""
        if self._cpuset is None:
            return None, None
        found: frozenset[int] = frozenset()
        highest = None
        for at in upwards(path):
            cpus = self._root_cpus() if at == "/" else self._cpuset_above(at, path)
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

    def _cpuset_above(self, at: str, path: str) -> frozenset[int] | None:
        """Of ``at``, which is ``path`` or above it."""
        if self._cpusets is None or at == path:
            return self._cpuset_of(at)
        if at not in self._cpusets:
            self._cpusets[at] = self._cpuset_of(at)
        return self._cpusets[at]

    def _cpuset_of(self, path: str) -> frozenset[int] | None:
        """Empty where the cgroup has none; None outside of what is mounted."""
        assert self._cpuset is not None
        directory = self._cpuset.directory(path)
        if directory is None:
            return None
        is_v2 = self._cpuset is self.hierarchies.unified
        name = "cpuset.cpus.effective" if is_v2 else "cpuset.effective_cpus"
        return parse_cpu_list(files.read(f"{directory}/{name}", files.MAX_FILE_BYTES) or b"")

    def _root_cpus(self) -> frozenset[int]:
        if self._all_cpus is None:
            self._all_cpus = self._cpuset_of("/") or frozenset()
        return self._all_cpus

    def read_group_usage(self, position: CgroupPosition, bounds: Bounds) -> CpuUsage:
        """The counters of a group: CPU time of its own cgroup, throttling of the one whose quota
        counts. Nothing for the root of the tree.
        """
        if position.paths.cpu == "/":
            return CpuUsage()
        quota_at = group_cgroup(position.paths.cpu, position.tops.cpu, (bounds.cpu,))
        own = bounds.cpu, bounds.cpuset
        at = group_cgroup(position.paths.cpu, position.tops.cpu, own)
        accounting_at = group_cgroup(position.paths.cpuacct, position.tops.cpuacct, own)
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
            if directory is not None and files.inode(directory) == cgroup_id:
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
        for directory, inode in files.walk(unified.mount):
            self._path_of_id.pop(inode, None)  # to the end: the oldest are the first
            self._path_of_id[inode] = prefix + directory[len(unified.mount) :] or "/"
        self._trim()
        return self._path_of_id.get(cgroup_id)

    def _trim(self) -> None:
        while len(self._path_of_id) > files.MAX_CGROUPS:
            del self._path_of_id[next(iter(self._path_of_id))]
            self.evictions += 1


def _path_in(entries: tuple[CgroupEntry, ...], controller: str) -> str:
    for entry in entries:
        if controller in entry.controllers:
            return entry.path
    return next((entry.path for entry in entries if entry.hierarchy == 0), "/")


def upwards(path: str) -> Iterator[str]:
    """The path and its ancestors, ending with "/"."""
    for _ in range(_MAX_DEPTH):
        yield path
        if path == "/":
            return
        path = path.rpartition("/")[0] or "/"


def _directory(hierarchies: Hierarchies, tree: Hierarchy | None, path: str) -> str:
    directory = tree.directory(path) if tree and hierarchies.sees_host else None
    if directory is None:
        raise AccessError("cgroup-unreachable", path)
    return directory


def _read_quota(directory: str, tree: Hierarchy | None) -> float | None:
    if tree is None or not tree.controllers:
        data = files.read(f"{directory}/cpu.max", files.MAX_FILE_BYTES)
        return None if data is None else parse_cpu_max(data)
    quota = files.read(f"{directory}/cpu.cfs_quota_us", files.MAX_FILE_BYTES)
    if quota is None or quota.startswith(b"-1"):  # saves opening the period
        return None
    period = files.read(f"{directory}/cpu.cfs_period_us", files.MAX_FILE_BYTES)
    return None if period is None else parse_cfs_quota(quota, period)


def _read_period_us(directory: str, tree: Hierarchy | None) -> int:
    """Raises ParseError, ProcessGoneError."""
    is_v2 = tree is None or not tree.controllers
    name = "cpu.max" if is_v2 else "cpu.cfs_period_us"
    data = files.read(f"{directory}/{name}", files.MAX_FILE_BYTES)
    if data is None:
        raise ProcessGoneError(directory)
    period = data.split()[-1:]
    if not period or not period[0].isdigit() or not int(period[0][:20]):
        raise ParseError("cgroup-quota", repr(data[:40]))
    return int(period[0][:20])
