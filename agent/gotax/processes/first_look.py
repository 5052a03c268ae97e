"""Read new processes between two drains, and decide when to read them again.

A container that crashes at once may live for less than the time between two drains, and leaves
nothing: no process, no cgroup, no file. So gotax reads a new process as soon as the kernel
announces it, and again at some ages. It may have become another program (runc's process becomes the
container's), and the stacks of a Go program must be symbolized while its file can be read.

``LookSchedule`` holds only times and PIDs. ``FirstLook`` reads the processes. Session calls both.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.cgroups.tree import Cgroups
from gotax.linux.procfs import CgroupEntry, Stat
from gotax.lru import LruCache
from gotax.processes.counts import ErrorCounts
from gotax.processes.inspection import Inspector
from gotax.processes.table import ProcessTable
from gotax.processes.tracked_process import TrackedProcess

LOOK_AT_S = (0.2, 1.0, 2.0, 4.0, 8.0)
"""Ages at which a new process is read again. The first is what runc needs from a container's
first instruction to the exec of its program."""
DRAIN_FROM_S = 1.0  # from that age the kernel's counts are fetched with the look
YOUNG_MAX = 256
_PAUSE_S, _LONG_PAUSE_S = 0.2, 1.0
_QUICK = 16  # announcements in a row without a long pause
_LOOKS_WITHIN_S = 4.0
_LOOKS_MAX = 64
"""New processes read between two drains. The others wait for the drain; one that has ended by then
is identified by its cgroup."""
_LOOKS_EACH = 8
"""Processes read of one container, ever: the first ones show what it is."""
_CONTAINERS = 2048
_RUNC = "runc:["
"""runc's process on its way to become a container's: runc:[2:INIT] and so on (runc's
libcontainer/nsenter/nsexec.c). It is a Go program, but not the one that is meant."""


class LookSchedule:
    """The young processes, by PID. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._young: dict[int, tuple[float, int]] = {}  # when admitted, looks since
        self._announcements = 0
        self._looks: deque[float] = deque(maxlen=_QUICK)  # the times of the last ones
        self.listen_at_s = 0.0
        """Announcements wait until then: a host that starts thousands of processes must not
        keep the agent awake."""

    def __len__(self) -> int:
        return len(self._young)

    def announced(self, now_s: float) -> None:
        """Some have been announced."""
        self._announcements += 1
        self.listen_at_s = now_s + (_PAUSE_S if self._announcements <= _QUICK else _LONG_PAUSE_S)

    def rest(self) -> None:
        """After the regular drain, pauses are short again."""
        self._announcements = 0

    def add(self, pids: Iterable[int], now_s: float) -> None:
        for pid in pids:
            if len(self._young) < YOUNG_MAX:
                self._young[pid] = (now_s, 0)

    def drop(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self._young.pop(pid, None)

    @property
    def next_look_s(self) -> float:
        """When the next process must be read again; infinity for never."""
        times = (since_s + LOOK_AT_S[looks] for since_s, looks in self._young.values())
        return max(min(times, default=math.inf), self._look_from_s)

    @property
    def _look_from_s(self) -> float:
        """Sixteen looks in four seconds, and no more: each may bring a drain."""
        return self._looks[0] + _LOOKS_WITHIN_S if len(self._looks) == _QUICK else -math.inf

    def take_due(self, now_s: float) -> dict[int, bool]:
        """The processes to read now, and whether each also needs a drain."""
        due: dict[int, bool] = {}
        if now_s < self._look_from_s:
            return due
        for pid, (since_s, looks) in list(self._young.items()):
            age_s = now_s - since_s
            if age_s < LOOK_AT_S[looks]:
                continue
            due[pid] = age_s >= DRAIN_FROM_S
            left = [number for number, age in enumerate(LOOK_AT_S) if age > age_s]
            if left:
                self._young[pid] = (since_s, left[0])
            else:
                del self._young[pid]
        if due:
            self._looks.append(now_s)
        return due


class FirstLook:
    """Reads new processes between two drains, while they live."""

    def __init__(
        self,
        proc: str,
        table: ProcessTable,
        inspector: Inspector,
        cgroups: Cgroups,
        errors: ErrorCounts,
    ) -> None:
        self._proc = proc
        self._table = table
        self._inspector = inspector
        self._cgroups = cgroups
        self._errors = errors
        self._looks = 0  # since the last drain
        self._looked: LruCache[str, int] = LruCache(_CONTAINERS)  # by container

    def begin_round(self) -> None:
        self._looks = 0

    def read_new(self, new_processes: Iterable[tuple[int, int]]) -> list[int]:
        """Read these processes (cgroup id, PID).

        The cgroup of each is noted in any case. Returns the PIDs of those that run, were not known
        and are worth another look: Go programs, and what may become one in a container. A PID of a
        known process is left to ``Resolver.resolve``.
        """
        admitted = []
        for cgroup_id, pid in new_processes:
            path = self._cgroups.known_path(cgroup_id)
            if self._looks >= _LOOKS_MAX or (path and not self._may_show(pid, path)):
                continue
            self._looks += 1
            try:
                if self._is_worth_another(cgroup_id, pid, is_new=path is None):
                    admitted.append(pid)
            except ProcessGoneError:
                self._cgroups.path_of_id(cgroup_id)  # the cgroup may still be there
            except ReadError as error:
                self._errors.note(error)
        return admitted

    def _is_worth_another(self, cgroup_id: int, pid: int, is_new: bool) -> bool:
        """Look once. ``is_new``: the path of its cgroup was not known."""
        entries = self._cgroups.read_entries(self._proc, pid)
        self._cgroups.learn(cgroup_id, entries)
        container_id = self._cgroups.identify(entries).container_id
        is_new_place = is_new and self._cgroups.hierarchies.unified is not None
        if pid in self._table or not (container_id or is_new_place):
            return False
        if container_id:
            self._looked.put(container_id, (self._looked.get(container_id) or 0) + 1)
        tracked = self._admit(pid, self._inspector.read_stat(pid))
        return tracked is None or tracked.is_go or bool(container_id)

    def _may_show(self, pid: int, path: str) -> bool:
        """Whether a new process may show something, though the path of its cgroup is known.

        Not in a container that has been looked at often enough: a program that starts others all
        the time. Not in a cgroup of the host's. With v1 the path is only where the process is in
        the unified tree, which may be nowhere, whatever container it is in.
        """
        if pid in self._table:
            return False
        container_id = self._cgroups.identify((CgroupEntry(0, (), path),)).container_id
        if container_id is None:
            return bool(self._cgroups.hierarchies.legacy)
        return (self._looked.get(container_id) or 0) < _LOOKS_EACH

    def read_again(self, pids: Iterable[int]) -> dict[int, bool]:
        """Those of these PIDs that still run, and whether they are Go programs by now."""
        running = {}
        for pid in pids:
            known = self._table.get(pid)
            try:
                stat = self._inspector.read_stat(pid)
                if known is not None and known.process.start_ticks != stat.start_ticks:
                    continue
                changed = known is not None and self._table.has_changed(known, stat)
                if known is None or (known.life.is_fresh and changed):
                    known = self._admit(pid, stat)
                elif known.is_go and not known.has_gomaxprocs and not changed:
                    # At the first look its runtime had not started.
                    self._refresh(known)
                running[pid] = known is not None and known.is_go
            except ProcessGoneError:
                continue
            except ReadError as error:
                self._errors.note(error)
        return running

    def _refresh(self, known: TrackedProcess) -> None:
        """Read again what can change, but not the CPU time: the samples of it are not drained
        yet, and would count beside it if the process ends before they are."""
        ticks = known.cpu.ticks
        self._inspector.refresh(known, {})
        known.cpu.see(ticks)

    def _admit(self, pid: int, stat: Stat) -> TrackedProcess | None:
        """Admit a new process; None where it is too early.

        Raises ProcessGoneError where it has ended, or is not new.
        """
        if self._table.find_ended(pid) is not None:
            raise ProcessGoneError(f"samples of PID {pid} may be of another process")
        if stat.command.startswith(_RUNC):
            return None
        tracked = self._inspector.admit(pid, stat)
        if tracked is None:
            raise ProcessGoneError(f"PID {pid}")
        self._table.mark_fresh(tracked)
        if tracked.is_go:
            tracked.space.mappings()  # by the drain it may be too late
        return tracked
