"""Resolve: from a PID in a sample to a process, its binary, its container and its GOMAXPROCS."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from gotax.config import Roots
from gotax.errors import ProcessGoneError, ReadError
from gotax.linux import procfs
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.linux.cgroups.memory import CgroupMemory
from gotax.linux.cgroups.position import Bounds
from gotax.linux.cgroups.tree import Cgroups
from gotax.lru import LruCache
from gotax.process import CpuUsage, Memory, Process
from gotax.processes.binaries import BinaryTable
from gotax.processes.containers import Containers, ReadBounds
from gotax.processes.counts import GONE, ErrorCounts
from gotax.processes.first_look import FirstLook
from gotax.processes.inspection import Inspector
from gotax.processes.membership import Memberships
from gotax.processes.memories import Memories
from gotax.processes.others import Others
from gotax.processes.table import ENDED, ProcessTable, Sight, boot_s
from gotax.processes.tracked_process import TrackedProcess
from gotax.processes.turns import EACH_WINDOW, WORK_S, Turns
from gotax.processes.waits import Waits
from gotax.reader.asking import InProcess, Reader
from gotax.recipe import Recipe
from gotax.waiting import Waiting

_UNSEEN = frozenset({"procfs-denied", "procfs-hidden"})


class Resolver:
    """The entry point: connects the parts and calls them. ``errors`` counts what went wrong, by
    reason."""

    def __init__(
        self,
        roots: Roots,
        reader: Reader | None = None,
        recipes: Callable[[], tuple[Recipe, ...]] = tuple,
        turns: Turns = EACH_WINDOW,
    ) -> None:
        """``recipes``: reads those of programs that are not Go, once they are needed."""
        self.proc_root = roots.proc
        self._turns = turns
        self.errors = ErrorCounts()
        self.reader = reader or InProcess()
        self.binaries = BinaryTable(self.reader)
        self.cgroups = Cgroups(find_hierarchies(roots.proc, f"{roots.sys}/fs/cgroup"))
        self._containers = Containers(self.cgroups, self.errors)
        self._memories = Memories(CgroupMemory(self.cgroups.hierarchies), self.errors)
        self._waits = Waits(roots.proc, self.cgroups.hierarchies, self.errors)
        self._table = ProcessTable(roots.proc)
        memberships = Memberships(
            roots.proc, self.cgroups, self._containers, self._table.__contains__, self.errors
        )
        self._inspector = Inspector(roots, self._table, memberships, self.binaries, self.errors)
        self._first_look = FirstLook(
            roots.proc, self._table, self._inspector, self.cgroups, self.errors
        )
        self.others = Others(roots.proc, self.cgroups, memberships, self.errors, recipes)
        self._by_cgroup: LruCache[tuple[int, str], TrackedProcess] = LruCache(ENDED)

    def __len__(self) -> int:
        return len(self._table)

    def get(self, pid: int) -> TrackedProcess | None:
        """The process that lives under this PID, as far as seen."""
        return self._table.get(pid)

    def begin_round(self, is_early: bool = False) -> None:
        """``is_early``: a drain out of turn, by which nothing grows older."""
        self.reader.begin_round()
        if not is_early:
            self._table.begin_round()
            self._first_look.begin_round()
        self.cgroups.refresh()
        self._inspector.begin_round()

    def read_pending(self) -> int:
        """Go on with the processes that there was no time to read; returns how many are left."""
        left = 0
        for tracked in self._table.live():
            if tracked.program.is_pending:
                self._inspector.look_on(tracked)
                left += tracked.alive and tracked.program.is_pending
        return left

    def end_window(self) -> None:
        self._table.end_window()
        self._containers.end_window()
        self._memories.end_window()
        self._waits.end_window()

    def resolve(self, pid: int) -> TrackedProcess | str:
        """The process behind the samples of this PID since the last round.

        Else the reason of the loss: ``pid-reused`` (the samples may be those of either process),
        ``process-exec`` (of either of two programs), ``process-gone`` (ended, and not seen lately).
        """
        owner = self._owner(pid)
        if isinstance(owner, TrackedProcess):
            self._table.clear_fresh(owner)
            self._inspector.look_on(owner)
        return owner

    def _owner(self, pid: int) -> TrackedProcess | str:
        known = self._table.get(pid)
        try:
            stat = self._inspector.read_stat(pid)
        except (ProcessGoneError, ReadError) as error:
            if known is not None:
                self._table.retire(known)
            ended = self._table.find_ended(pid)
            if ended is None:
                return self._table.miss(pid, error)
            ended.cpu.fall_behind()
            return ended
        sight = self._table.identify(pid, stat)
        if sight is Sight.SAME:
            assert known is not None
            self._table.observe(known, stat)
            self._table.confirm(known, stat)
            return known
        admitted = self._inspector.admit(pid, stat)
        if sight is Sight.REUSED:
            return "pid-reused"
        if sight is Sight.EXEC and known is not None and not known.life.is_fresh:
            is_same = admitted is not None and admitted.is_again(known)
            return admitted if admitted is not None and is_same else "process-exec"
        # A process that called exec before its drain counts as new: what it was
        # before, it was for a moment.
        return admitted or GONE

    def resolve_by_cgroup(self, cgroup_id: int, reason: str = GONE) -> TrackedProcess | None:
        """A stand-in for a process that ran in this cgroup; None: the cgroup is unknown.

        The root cgroup shows only that it was no container of cgroup v2. ``reason`` is what
        ``resolve`` said.
        """
        tracked = self._by_cgroup.get((cgroup_id, reason))
        if tracked is not None:
            return tracked
        path = self.cgroups.path_of_id(cgroup_id)
        if path is None:
            return None
        self.errors["process-ended"] += 1
        command = "(unreadable)" if reason in _UNSEEN else "(ended)"
        tracked = self._inspector.of_cgroup(path, command, reason)
        self._by_cgroup.put((cgroup_id, reason), tracked)
        return tracked

    def scan(self, pids: Collection[int] | None = None) -> None:
        """Look at these processes, or at every process of the host, even if they are idle."""
        self._table.begin_window()
        listed = procfs.list_pids(self.proc_root)
        self._table.retire_all_but(listed)
        for pid in listed if pids is None else pids:
            if known := self._table.get(pid):  # ``resolve`` looks at it, or ``refresh_go``
                if known.problem:
                    self._inspector.judge_again(known)
                continue
            try:
                stat = self._inspector.read_stat(pid)
                tracked = None if stat.has_ended else self._inspector.admit(pid, stat)
            except ProcessGoneError:
                continue
            except ReadError as error:
                self._table.miss(pid, error)
                continue
            if tracked is not None:
                tracked.cpu.count_from(stat.cpu_ticks, self._table.window)

    def read_new(self, new_processes: Iterable[tuple[int, int]]) -> list[int]:
        """Look at processes (cgroup id, PID) between two drains; see ``FirstLook``."""
        self.reader.begin_round()
        return self._first_look.read_new(new_processes)

    def read_again(self, pids: Iterable[int]) -> dict[int, bool]:
        """Those of these PIDs that still run, and whether they are Go programs by now."""
        self.reader.begin_round()
        return self._first_look.read_again(pids)

    def go_processes(self) -> list[TrackedProcess]:
        """The Go processes that live, as far as seen."""
        return [tracked for tracked in self._table.live() if tracked.is_go]

    def refresh_go(self, tracked: TrackedProcess, limits: ReadBounds) -> None:
        """Read again what can change: cgroup, limit, GOMAXPROCS. ``limits``: read this round."""
        self._inspector.refresh(tracked, limits)

    def refresh_due(self, sampled: Collection[int]) -> frozenset[int]:
        """Read the Go processes again whose turn it is, and notice those that have ended.

        ``sampled``: serials of those with samples. Returns the serials of the others, as far as
        they were not read.
        """
        every = self.go_processes()
        now = self._turns.due(every, sampled, boot_s())
        limits: ReadBounds = {}
        read: set[int] = set()
        until_s = time.thread_time() + WORK_S
        with self.cgroups.each_ancestor_once():
            for tracked in now:
                if time.thread_time() > until_s:
                    self.errors["processes-put-off"] += len(now) - len(read)
                    break
                read.add(tracked.serial)
                self.refresh_go(tracked, limits)
        if len(read) == len(every):
            return frozenset()
        waiting = [tracked for tracked in every if tracked.serial not in read]
        pids = [tracked.process.pid for tracked in waiting]
        self._table.retire_all_but(procfs.list_pids(self.proc_root), among=pids)
        return frozenset(tracked.serial for tracked in waiting) - frozenset(sampled)

    def take_cpu_ns(self, tracked: TrackedProcess, period_ns: int) -> int | None:
        """CPU time of a Go process in this window, as the kernel accounts it; None: unknown."""
        return tracked.cpu.take_ns(period_ns, self._table.window)

    def usage(self, tracked: TrackedProcess) -> CpuUsage:
        """The kernel's counters of the process's group; nothing for the root and for one gone."""
        membership = tracked.membership
        is_part = tracked.process.container.nested
        bounds = membership.bounds if is_part else Bounds()
        return self._containers.usage(membership.position, bounds)

    def memory(self, tracked: TrackedProcess, has_samples: bool) -> Memory | None:
        """Of the process's container, as last read; None if that never worked."""
        key, position = tracked.process.container.key, tracked.membership.position
        return self._memories.of(key, position, has_samples)

    def waiting(self, process: Process) -> Waiting | None:
        """Of the container of this main process; None: not read, or it has ended."""
        tracked = self._table.get(process.pid)
        if tracked is None or tracked.process.start_ticks != process.start_ticks:
            return None
        return self._waits.of(process.container.key, tracked)

    def unjudged(self) -> Counter[str]:
        """Processes of which it is not known whether they are Go, by reason."""
        return self._table.unjudged()

    def judged(self) -> int:
        """Programs that were read, gotax itself left out; kernel threads are none."""
        return self._table.judged()
