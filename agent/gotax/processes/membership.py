"""The container of one process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePath

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.cgroups.position import Bounds, CgroupPosition
from gotax.linux.cgroups.tree import Cgroups
from gotax.linux.mappings import LONG_PATH
from gotax.linux.procfs import CgroupEntry, Stat
from gotax.lru import LruCache
from gotax.process import Container, CpuLimit
from gotax.processes.containers import NOWHERE, Containers, ReadBounds
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles

_PROGRAMS = 2048


@dataclass(frozen=True, slots=True)
class Membership:
    """``entries`` are the lines of /proc/PID/cgroup that it follows from; None: not kept."""

    container: Container
    position: CgroupPosition = NOWHERE
    bounds: Bounds = Bounds()
    entries: tuple[CgroupEntry, ...] | None = None

    @property
    def limit(self) -> CpuLimit:
        return self.bounds.limit

    def without_entries(self) -> Membership:
        return replace(self, entries=None)


class Memberships:
    """``is_live`` says whether a PID is that of a process that lives."""

    def __init__(
        self,
        proc: str,
        cgroups: Cgroups,
        containers: Containers,
        is_live: Callable[[int], bool],
        errors: ErrorCounts,
    ) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self._containers = containers
        self._is_live = is_live
        self._errors = errors
        self._by_program: LruCache[str, int] = LruCache(_PROGRAMS)
        """Which PID goes by a program's name in the root cgroup; others get their PID behind it."""

    def find(
        self,
        stat: Stat,
        files: ProcessFiles,
        read: ReadBounds | None = None,
        known: Membership | None = None,
    ) -> Membership:
        """``read``: what this round has read of limits; None: those known last.
        ``known``: what this said of the process before, which seldom changes.
        """
        problem = ""
        entries: tuple[CgroupEntry, ...] | None
        try:
            entries = self._cgroups.read_entries(self._proc, stat.place)
        except ReadError as error:  # it stays where it was
            self._errors.note(error)
            problem = error.reason
            entries = known.entries if known is not None else ()
        if known is not None and known.entries != entries:
            known = None
        position = known.position if known is not None else self._containers.place(entries or ())
        if read is None:
            bounds = self._containers.last_bounds(position)
        else:
            bounds = self._containers.bounds(position, read)
        if problem:
            bounds = replace(bounds, limit=CpuLimit(problem=problem))
        if known is not None and not position.is_below:
            container = known.container
        else:
            alone = "", ""
            if position.identity.cgroup == "/":  # in the root cgroup each process is on its own
                alone = f"process {stat.pid} since {stat.start_ticks}", self._name(stat, files)
            container = self._containers.container(position, bounds, alone)
        return Membership(container, position, bounds, entries)

    def _name(self, stat: Stat, files: ProcessFiles) -> str:
        name = _program(files) or stat.command
        holder = self._by_program.get(name)
        if holder is None or not self._is_live(holder):
            self._by_program.put(name, stat.pid)
        elif holder != stat.pid:
            name = f"{name} (PID {stat.pid})"
        return name

    def of_cgroup(self, path: str) -> Membership:
        """The container of a process that cannot be seen, by its cgroup."""
        position = self._containers.place((CgroupEntry(0, (), path),))
        bounds = self._containers.last_bounds(position)
        return Membership(self._containers.container(position, bounds, (path, "")), position)


def _program(files: ProcessFiles) -> str:
    """Base name of the executable: the command's name is cut to 15 bytes; "" if unreadable."""
    try:
        path = files.exe_link()
    except (ProcessGoneError, ReadError):
        return ""
    return "" if path == LONG_PATH else PurePath(path).name
