"""When to look at processes that have only just been met.

A container that crashes at once lives for less than the time between two drains, and nothing is
left of it afterwards: no process, no cgroup, no file. So who is met is looked at immediately, and
again at some ages: it may have become another program (runc's own process becomes the container's),
and of a Go program the stacks must be symbolized while its file can be read.

``Newcomers`` knows only times and PIDs, ``FirstLook`` looks, and session.py asks both in turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from gotax.errors import ParseError, ProcessGoneError
from gotax.generations import Generations
from gotax.linux.cgroup import Cgroups, identify, identify_entries
from gotax.linux.procfs import Stat
from gotax.processes.counts import ErrorCounts
from gotax.processes.entry import Entry
from gotax.processes.inspection import Inspector
from gotax.processes.table import ProcessTable

LOOK_AT_S = (0.2, 1.0, 2.0, 4.0, 8.0)
"""Ages at which a newcomer is looked at again. The first is for what runc needs from a container's
first instruction to the exec of its program."""
DRAIN_FROM_S = 1.0  # from that age the kernel's counts are fetched with the look
YOUNG_MAX = 256
_PAUSE_S, _LONG_PAUSE_S = 0.2, 1.0
_QUICK = 16  # times in a row that newcomers are listened to without a long pause
_LOOKS_MAX = 64
"""How many newcomers are looked at between two drains. The rest waits for the drain; what of it is
gone by then is told by its cgroup."""
_LOOKS_EACH = 8
"""And how many of one container ever: its first processes say what it is."""
_CONTAINERS = 2048
_RUNC = "runc:["
"""runc's process on its way to become a container's: runc:[2:INIT] and its likes (runc's
libcontainer/nsenter/nsexec.c). It is a Go program, but not the one that is meant."""


class Newcomers:
    """The young processes, by PID. All times are seconds of one clock."""

    def __init__(self) -> None:
        self._young: dict[int, tuple[float, int]] = {}  # when met, looks since
        self._heard = 0
        self.listen_at_s = 0.0
        """Before that nobody is listened to: a host that starts thousands of processes must not
        keep the agent awake."""

    def __len__(self) -> int:
        return len(self._young)

    def heard(self, now_s: float) -> None:
        """Some have been announced."""
        self._heard += 1
        self.listen_at_s = now_s + (_PAUSE_S if self._heard <= _QUICK else _LONG_PAUSE_S)

    def rest(self) -> None:
        """The regular drain has come: be quick again."""
        self._heard = 0

    def add(self, pids: Iterable[int], now_s: float) -> None:
        for pid in pids:
            if len(self._young) < YOUNG_MAX:
                self._young[pid] = (now_s, 0)

    def forget(self, pids: Iterable[int]) -> None:
        for pid in pids:
            self._young.pop(pid, None)

    @property
    def next_look_s(self) -> float:
        """When somebody has to be looked at again; infinity for never."""
        times = (met_s + LOOK_AT_S[looks] for met_s, looks in self._young.values())
        return min(times, default=math.inf)

    def take_due(self, now_s: float) -> dict[int, bool]:
        """Who has to be looked at now, and whether also to be drained for."""
        due = {}
        for pid, (met_s, looks) in list(self._young.items()):
            age_s = now_s - met_s
            if age_s < LOOK_AT_S[looks]:
                continue
            due[pid] = age_s >= DRAIN_FROM_S
            left = [number for number, age in enumerate(LOOK_AT_S) if age > age_s]
            if left:
                self._young[pid] = (met_s, left[0])
            else:
                del self._young[pid]
        return due


class FirstLook:
    """Looks at processes between two drains, while they live."""

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
        self._looked: Generations[str, int] = Generations(_CONTAINERS)  # by container

    def begin_tick(self) -> None:
        self._looks = 0

    def meet(self, newcomers: Iterable[tuple[int, int]]) -> list[int]:
        """Look at processes (cgroup id, PID).

        Where each ran is noted in any case. Returns the PIDs of those that run, were not known and
        are worth another look: Go programs, and what may become one in a container. What has the
        PID of a known process is left to ``Resolver.resolve``.
        """
        met = []
        for cgroup_id, pid in newcomers:
            path = self._cgroups.known_path(cgroup_id)
            if self._looks >= _LOOKS_MAX or (path and not self._may_tell(pid, path)):
                continue
            self._looks += 1
            try:
                if self._is_worth_another(cgroup_id, pid, is_new=path is None):
                    met.append(pid)
            except ProcessGoneError:
                self._cgroups.path_of_id(cgroup_id)  # the cgroup may still be there
            except ParseError as error:
                self._errors.note(error)
        return met

    def _is_worth_another(self, cgroup_id: int, pid: int, is_new: bool) -> bool:
        """Look once. ``is_new``: the path of its cgroup was not known."""
        entries = self._cgroups.read_entries(self._proc, pid)
        self._cgroups.learn(cgroup_id, entries)
        container_id = identify_entries(entries).container_id
        is_new_place = is_new and self._cgroups.hierarchies.unified is not None
        if pid in self._table or not (container_id or is_new_place):
            return False
        if container_id:
            self._looked.put(container_id, (self._looked.get(container_id) or 0) + 1)
        entry = self._admit(pid, self._inspector.read_stat(pid))
        return entry is None or entry.is_go or bool(container_id)

    def _may_tell(self, pid: int, path: str) -> bool:
        """Whether a newcomer may tell something, though the path of its cgroup is known.

        Not in a container that has been looked at often enough: a program that starts others all
        the time. Not in a cgroup of the host's. With v1 the path is only where the process is in
        the unified tree, which may be nowhere, whatever container it is in.
        """
        if pid in self._table:
            return False
        container_id = identify(path).container_id
        if container_id is None:
            return bool(self._cgroups.hierarchies.legacy)
        return (self._looked.get(container_id) or 0) < _LOOKS_EACH

    def look_again(self, pids: Iterable[int]) -> dict[int, bool]:
        """Those of these newcomers that still run, and whether they are Go programs by now."""
        running = {}
        for pid in pids:
            known = self._table.get(pid)
            try:
                stat = self._inspector.read_stat(pid)
                if known is not None and known.process.start_ticks != stat.start_ticks:
                    continue
                if known is None or (known.life.is_fresh and self._table.has_changed(known, stat)):
                    known = self._admit(pid, stat)
                running[pid] = known is not None and known.is_go
                if known is not None and known.is_go and not known.has_gomaxprocs:
                    # When it was met its runtime had not begun yet.
                    self._inspector.refresh(known, {})
            except ProcessGoneError:
                continue
            except ParseError as error:
                self._errors.note(error)
        return running

    def _admit(self, pid: int, stat: Stat) -> Entry | None:
        """Admit a newcomer; None where it is too early. ProcessGoneError: it is none (any more)."""
        if self._table.find_ended(pid) is not None:
            raise ProcessGoneError(f"hits of PID {pid} may be of another process")
        if stat.command.startswith(_RUNC):
            return None
        entry = self._inspector.admit(pid, stat)
        if entry is None:
            raise ProcessGoneError(f"PID {pid}")
        self._table.mark_fresh(entry)
        if entry.is_go:
            entry.space.mappings()  # by the drain it may be too late
        return entry
