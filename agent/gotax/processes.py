"""Resolve: from a PID in a sample to a process, its binary, its container and its GOMAXPROCS."""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from gotax.addressspace import find_program_bias, is_go_in_memory, is_mapped_file
from gotax.binaries import Binary, BinaryTable
from gotax.config import Roots
from gotax.containers import NOWHERE, Containers, ReadBounds
from gotax.errors import ParseError, ProcessGoneError, Refusal
from gotax.generations import Generations
from gotax.golang import gomaxprocs, origin
from gotax.golang.runtimestate import read_state
from gotax.linux import procfs
from gotax.linux.cgroup import (
    Bounds,
    CgroupPosition,
    Cgroups,
    find_hierarchies,
    identify,
    identify_entries,
)
from gotax.process import Container, CpuLimit, CpuUsage, Gomaxprocs, Origin, Process, RuntimeState

_VARIABLES = frozenset({"GOMAXPROCS", "GODEBUG"})
_ENDED = 2048
"""How many processes are remembered after their end, for hits that were counted before it."""
_GRACE_TICKS = 4
"""How many ticks (a drain is one, a window is one) after a process was last seen alive hits of its
PID can still be its own: one that ends while a drain is resolved may have hits in the next. Any
later, they are those of a short-lived process that got the PID."""
_LOOKS_MAX = 64
"""How many newcomers are looked at between two drains. The rest waits for the drain; what of it is
gone by then is told by its cgroup."""
_LOOKS_EACH = 8
"""And how many of one container ever: its first processes say what it is."""
_RUNC = "runc:["
"""runc's process on its way to become a container's: runc:[2:INIT] and its likes (runc's
libcontainer/nsenter/nsexec.c). It is a Go program, but not the one that is meant."""
_FREELY_READ_BYTES = 256 * 1024
"""A list of mappings may be read again in each drain if it is shorter; a longer one (a database
with 60,000 mappings, 3 MB, 35 ms) in each twelfth if it is twelve times as long."""
_GONE = "process-gone"
_UNSEEN = frozenset({"procfs-denied", "procfs-hidden"})
_Asked = tuple[gomaxprocs.LiveGomaxprocs | Refusal, origin.Facts, float | None, Gomaxprocs | None]
_MAX_LIBRARIES = 512  # of one process that are looked into for a Go runtime
_FileKey = tuple[int, int, str]  # device, inode and path of a mapping


@dataclass(slots=True)
class Entry:
    """What is known of one process. Changes with every tick; ``process`` is what leaves."""

    process: Process
    exe: procfs.FileId | None
    cgroups: CgroupPosition
    binary: Binary | None = None
    mappings: tuple[procfs.Mapping, ...] | None = None
    unread_drains: int = 0  # in which its long list of mappings is not read again
    bias: int | None = None  # of the program, once found
    environment: dict[str, str] | None = field(default_factory=dict)  # None: it cannot be read
    follows_limit: bool | None = None
    cgroup_view: origin.CgroupView = origin.CgroupView()
    bounds: Bounds = Bounds()
    alive: bool = True
    cpu_ticks: int = 0
    cpu_ticks_before: int | None = None  # when the window began; None: not known
    last_hits: int = 0  # drained after its end: later than cpu_ticks
    serial: int = 0
    start_stack: int = 0
    seen: int = 0  # the tick in which it was last seen alive
    place: procfs.TaskPath = 0  # where below /proc it is read
    proofs: dict[_FileKey, bool] = field(
        default_factory=dict
    )  # whether a path leads to what is mapped
    runtimes: tuple[tuple[Binary, int | None], ...] = ()
    """Go runtimes with the biases of their files; that of the program is ``bias``."""
    problem: str = ""
    """Why it is not known whether it is a Go program, "" where it is."""
    mappings_refused: str = ""
    drains: int = 0  # with hits, while no Go is found in it
    is_fresh: bool = False  # met between two drains, and no hit is its own yet
    judged: tuple[_Asked, Gomaxprocs] | None = None  # what GOMAXPROCS was judged by, and how
    placed: tuple[tuple[procfs.CgroupEntry, ...], CgroupPosition, Bounds, Container] | None = (
        None  # by its cgroups and what bounds them
    )

    @property
    def limit(self) -> CpuLimit:
        return self.bounds.limit

    @property
    def is_go(self) -> bool:
        return self.process.build is not None

    @property
    def is_blind(self) -> bool:
        """Nothing tells what the CPU time of this Go process was spent on."""
        tables = [binary.pclntab for binary, _ in self.runtimes]
        return bool(tables) and (not any(tables) or self.mappings == ())

    def slim(self) -> None:
        """Let go of what only symbolizing needs: no hit of it will come any more."""
        self.binary, self.mappings, self.runtimes = None, None, ()
        self.environment, self.proofs = {}, {}
        self.judged = self.placed = None


class ProcessTable:
    """All processes seen, by PID. ``errors`` counts what went wrong, by reason."""

    def __init__(self, roots: Roots) -> None:
        self.proc_root = self._proc = roots.proc
        self.binaries = BinaryTable()
        self.cgroups = Cgroups(find_hierarchies(roots.proc, f"{roots.sys}/fs/cgroup"))
        self.online = procfs.read_online_cpus(roots.sys)
        self._sys = roots.sys
        self._live: dict[int, Entry] = {}
        self._ended: Generations[int, Entry] = Generations(_ENDED)
        self._ending: deque[Entry] = deque()  # of those, who may still have hits to come
        self._by_cgroup: Generations[tuple[int, str], Entry] = Generations(_ENDED)
        self._alone: Generations[str, int] = Generations(_ENDED)
        """Who goes by a program's name in the root cgroup; others get their PID behind it."""
        self._missed: dict[int, str] = {}  # by PID, why it could not be looked at in this window
        # Every PID namespace has a process 1. Where it is not to be seen, nobody else's is
        # (hidepid=invisible), and what cannot be found has not ended.
        self._gone = _GONE if os.path.exists(f"{roots.proc}/1") else "procfs-hidden"
        self._serial = 0
        self._window_began = _boot_ticks()
        self._tick = 0
        self._looks = 0
        self._looked: Generations[str, int] = Generations(_ENDED)  # by container
        self.errors: Counter[str] = Counter()
        self._containers = Containers(self.cgroups, self.errors)

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def begin_tick(self, is_early: bool = False) -> None:
        """``is_early``: a drain out of turn, by which nobody grows older."""
        if not is_early:
            self._tick += 1
            self._looks = 0
            while self._ending and self._tick - self._ending[0].seen > _GRACE_TICKS:
                self._ending.popleft().slim()
        self.cgroups.refresh()
        self.online = procfs.read_online_cpus(self._sys)

    def end_tick(self) -> None:
        self.binaries.release()

    def resolve(self, pid: int) -> Entry | str:
        """The process behind the hits of this PID since the last tick.

        Else the reason of the loss: ``pid-reused`` (the hits may be those of either process),
        ``process-exec`` (of either program), ``process-gone`` (ended, and not seen lately).
        """
        owner = self._owner(pid)
        if isinstance(owner, Entry):
            owner.is_fresh = False
            self._look_on(owner)
        return owner

    def _owner(self, pid: int) -> Entry | str:
        known = self._live.get(pid)
        try:
            stat = procfs.read_stat(self._proc, pid)
        except (ProcessGoneError, ParseError) as error:
            if known is not None:
                self._bury(pid, known)
            ended = known or self._ended.get(pid)
            if ended is None or self._tick - ended.seen > _GRACE_TICKS:
                return self._miss(pid, error)
            return ended
        self._missed.pop(pid, None)
        if known is not None:
            if known.process.start_ticks != stat.start_ticks:
                self._bury(pid, known)
                self._admit(pid, stat)
                return "pid-reused"
            if self._has_changed(known, stat):
                changed = self._admit(pid, stat)
                # As if it were met only now: what it was before, it was for a moment.
                return changed or "process-gone" if known.is_fresh else "process-exec"
            known.seen = self._tick
            known.cpu_ticks = stat.cpu_ticks
            known.place = stat.place
            return known
        if (ended := self._ended.get(pid)) and ended.process.start_ticks != stat.start_ticks:
            self._ended.remove(pid)
            if self._tick - ended.seen <= _GRACE_TICKS:
                self._admit(pid, stat)
                return "pid-reused"
        return self._admit(pid, stat) or "process-gone"

    def _miss(self, pid: int, error: ProcessGoneError | ParseError) -> str:
        """Hits of a process that cannot be looked at; returns why."""
        reason = error.reason if isinstance(error, ParseError) else self._gone
        self._missed[pid] = reason
        return reason

    def resolve_by_cgroup(self, cgroup_id: int, reason: str = _GONE) -> Entry | None:
        """Whoever it was: it ran in this cgroup, so its container is known. None: not even that.

        In the root cgroup that says only that it was no container of cgroup v2. ``reason`` is what
        ``resolve`` said.
        """
        entry = self._by_cgroup.get((cgroup_id, reason))
        if entry is not None:
            return entry
        path = self.cgroups.path_of_id(cgroup_id)
        if path is None:
            return None
        self.errors["process-ended"] += 1
        at = self._containers.place((procfs.CgroupEntry(0, (), path),))
        bounds = self._containers.last_bounds(at)
        container = self._containers.container(at, bounds, (path, ""))
        process = Process(0, 0, "(unreadable)" if reason in _UNSEEN else "(ended)", container)
        self._serial += 1
        entry = Entry(process, None, at, alive=False, serial=self._serial, problem=reason)
        self._by_cgroup.put((cgroup_id, reason), entry)
        return entry

    def scan(self, pids: Collection[int] | None = None) -> None:
        """Look at these processes, or at every process of the host, even if they are idle."""
        self._window_began = _boot_ticks()
        listed = procfs.list_pids(self._proc)
        for pid in self._live.keys() - set(listed):
            self._bury(pid, self._live[pid])
        for pid in listed if pids is None else pids:
            if known := self._live.get(pid):  # ``resolve`` looks at it, or ``refresh_go``
                if known.problem:
                    self._judge_program(known)
                continue
            try:
                stat = procfs.read_stat(self._proc, pid)
                entry = None if stat.has_ended else self._admit(pid, stat)
            except ProcessGoneError:
                continue
            except ParseError as error:
                self._miss(pid, error)
                continue
            if entry is not None:
                entry.cpu_ticks_before = entry.cpu_ticks

    def meet(self, newcomers: Iterable[tuple[int, int]]) -> list[int]:
        """Look at processes (cgroup id, PID) between two drains, while they live.

        Where each ran is noted in any case. Returns the PIDs of those that run, were not known and
        are worth another look: Go programs, and who may become one in a container. Who has the PID
        of somebody known is left to ``resolve``.
        """
        met = []
        for cgroup_id, pid in newcomers:
            path = self.cgroups.known_path(cgroup_id)
            is_new_place = path is None and self.cgroups.hierarchies.unified is not None
            if self._looks >= _LOOKS_MAX or (path and not self._may_tell(pid, path)):
                continue
            self._looks += 1
            try:
                entries = self.cgroups.read_entries(self._proc, pid)
                self.cgroups.learn(cgroup_id, entries)
                container_id = identify_entries(entries).container_id
                if pid in self._live or not (container_id or is_new_place):
                    continue
                if container_id:
                    self._looked.put(container_id, (self._looked.get(container_id) or 0) + 1)
                entry = self._meet(pid, procfs.read_stat(self._proc, pid))
                if entry is None or entry.is_go or container_id:
                    met.append(pid)
            except ProcessGoneError:
                self.cgroups.path_of_id(cgroup_id)  # the cgroup may still be there
            except ParseError as error:
                self._count(error)
        self.binaries.release()
        return met

    def _may_tell(self, pid: int, path: str) -> bool:
        """Whether a newcomer may tell something, though the path of its cgroup is known.

        Not in a container that has been looked at often enough: a program that starts others all
        the time. Not in a cgroup of the host's. With v1 the path is only where the process is in
        the unified tree, which may be nowhere, whatever container it is in.
        """
        if pid in self._live:
            return False
        container_id = identify(path).container_id
        if container_id is None:
            return bool(self.cgroups.hierarchies.legacy)
        return (self._looked.get(container_id) or 0) < _LOOKS_EACH

    def look_again(self, pids: Iterable[int]) -> dict[int, bool]:
        """Those of these newcomers that still run, and whether they are Go programs by now."""
        running = {}
        for pid in pids:
            known = self._live.get(pid)
            try:
                stat = procfs.read_stat(self._proc, pid)
                if known is not None and known.process.start_ticks != stat.start_ticks:
                    continue
                if known is None or (known.is_fresh and self._has_changed(known, stat)):
                    known = self._meet(pid, stat)
                running[pid] = known is not None and known.is_go
                if known is not None and known.is_go and not _has_value(known):
                    self.refresh_go(known, {})  # when it was met its runtime had not begun yet
            except ProcessGoneError:
                continue
            except ParseError as error:
                self._count(error)
        self.binaries.release()
        return running

    def _meet(self, pid: int, stat: procfs.Stat) -> Entry | None:
        """Admit a newcomer; None where it is too early. ProcessGoneError: it is none (any more)."""
        ended = self._ended.get(pid)
        if ended is not None and self._tick - ended.seen <= _GRACE_TICKS:
            raise ProcessGoneError(f"hits of PID {pid} may be of another process")
        if stat.command.startswith(_RUNC):
            return None
        entry = self._admit(pid, stat)
        if entry is None:
            raise ProcessGoneError(f"PID {pid}")
        entry.is_fresh = True
        entry.cpu_ticks = 0  # its hits are not drained yet, and must not count beside the time read
        if entry.is_go:
            self.mappings(entry)  # by the drain it may be too late
        return entry

    def go_entries(self) -> list[Entry]:
        """The Go processes that live, as far as seen."""
        return [entry for entry in self._live.values() if entry.is_go]

    def _bury(self, pid: int, entry: Entry) -> None:
        self._live.pop(pid, None)
        entry.alive = False
        self._ended.put(pid, entry)
        self._ending.append(entry)

    def _has_changed(self, known: Entry, stat: procfs.Stat) -> bool:
        """The process called exec: same PID and start time, another program or the same again."""
        if stat.start_stack != known.start_stack:
            return bool(stat.start_stack)  # else it is ending, and has given its memory back
        if known.exe is None:
            return False  # a kernel thread, or an executable nobody may see
        try:
            return procfs.read_exe_id(self._proc, stat.place) != known.exe
        except (ProcessGoneError, ParseError):
            return False

    def _admit(self, pid: int, stat: procfs.Stat) -> Entry | None:
        try:
            entry = self._read_entry(pid, stat)
        except ProcessGoneError:
            return None
        self._serial += 1
        entry.serial = self._serial
        entry.start_stack = stat.start_stack
        entry.seen = self._tick
        self._live[pid] = entry
        if stat.start_ticks >= self._window_began:
            entry.cpu_ticks_before = 0
        if entry.is_go:
            self.refresh_go(entry, {})  # it may end before the window does
        return entry

    def _read_entry(self, pid: int, stat: procfs.Stat) -> Entry:
        if stat.is_kernel_thread:
            container = Container("kernel", "kernel", "/")
            process = Process(pid, stat.start_ticks, stat.command, container)
            return Entry(process, None, NOWHERE)
        place, _, container = self._read_container(pid, stat)
        process = Process(pid, stat.start_ticks, stat.command, container)
        entry = Entry(process, None, place, place=stat.place)
        self._read_program(entry)
        return entry

    def _read_program(self, entry: Entry) -> None:
        """Which program the process runs, and whether that is Go."""
        place = entry.place
        entry.problem = ""
        try:
            entry.exe = procfs.read_exe_id(self._proc, place)
            entry.binary = self.binaries.get(
                entry.exe,
                procfs.exe_path(self._proc, place),
                lambda: procfs.read_exe_link(self._proc, place),
            )
        except ParseError as error:
            self._count(error)
            entry.problem = error.reason
            return
        except ProcessGoneError as error:
            self._count(error)
            return
        if entry.binary.refused:
            self.errors[entry.binary.refused] += 1
        if entry.binary.build is not None:
            entry.runtimes = ((entry.binary, None),)
            self._read_go(entry)
        elif entry.binary.refused:
            entry.problem = entry.binary.refused
            self._look_in_memory(entry, self._program_heads(entry))

    def _judge_program(self, entry: Entry) -> None:
        """Look again at a program that could not be read: rights and files come and go."""
        self._read_program(entry)
        if entry.is_go:
            self.refresh_go(entry, {})

    def _program_heads(self, entry: Entry) -> list[int]:
        """Where the program may begin in memory: the file, or what a packer made of it."""
        mappings = self.mappings(entry)
        unpacked = [m.start for m in mappings if not m.inode and not m.path]
        try:
            path = procfs.read_exe_link(self._proc, entry.place)
            files = procfs.read_first_addresses(self._proc, entry.place)
        except (ParseError, ProcessGoneError):
            return unpacked
        return [at for (_, _, name), at in files.items() if name == path] + unpacked

    def _look_in_memory(self, entry: Entry, heads: Iterable[int]) -> None:
        """A program that looks like Go in memory is a Go process, if only an unreadable one."""
        try:
            is_go = is_go_in_memory(self._proc, entry.place, heads)
        except (ParseError, ProcessGoneError) as error:
            self._count(error)
            return
        if is_go:
            binary = self.binaries.unread_go(entry.process.command, entry.problem)
            entry.runtimes = ((binary, None),)
            entry.problem = ""
            self._read_go(entry)

    def _look_on(self, entry: Entry) -> None:
        """Look again at what is no Go program so far, at the 2nd, 4th, 8th ... drain with hits.

        A program that is not Go may load a Go library (-buildmode=c-shared) at any time, and one
        that could not be read may be readable by now: often enough for what comes at the start,
        and seldom for a program that lives long.
        """
        if not entry.alive or (entry.binary and entry.binary.is_go):
            return
        if entry.exe is None and not entry.problem:  # a kernel thread
            return
        entry.drains += 1
        if entry.drains & (entry.drains - 1):
            return
        if entry.problem:
            self._judge_program(entry)
        if not entry.problem and not entry.is_blind and not (entry.binary and entry.binary.is_go):
            self._search_libraries(entry)

    def _search_libraries(self, entry: Entry) -> None:
        """Find the Go runtimes that a program which is not Go has loaded."""
        known: dict[_FileKey, Binary | None] = {}
        refused: dict[_FileKey, str] = {}
        runtimes: list[tuple[Binary, int | None]] = []
        for mapping in self.mappings(entry, anew=True):
            key = _file_key(mapping)
            if not mapping.inode or self._is_program(entry, mapping):
                continue
            if key not in known and len(known) < _MAX_LIBRARIES:
                known[key] = None
                try:
                    known[key] = self._mapped(entry, mapping, self.binaries.get_go)
                except ParseError as error:
                    refused[key] = error.reason
            binary = known.get(key)
            if binary is not None and (binary, binary.bias(mapping)) not in runtimes:
                runtimes.append((binary, binary.bias(mapping)))
        runtimes += self._unread_libraries(entry, refused)
        if not runtimes:
            entry.mappings = None  # of hundreds of processes, and nobody else wants them
            return
        if tuple(runtimes) != entry.runtimes:
            entry.runtimes = tuple(runtimes)
            self._read_go(entry)
            self.refresh_go(entry, {})

    def _unread_libraries(
        self, entry: Entry, refused: dict[_FileKey, str]
    ) -> list[tuple[Binary, int | None]]:
        """Those that are Go, by their beginnings in memory, of libraries that cannot be read."""
        known = {binary.module: binary for binary, bias in entry.runtimes if bias is None}
        found: list[tuple[Binary, int | None]] = []
        try:
            firsts = procfs.read_first_addresses(self._proc, entry.place) if refused else {}
            for key, reason in refused.items():
                self.errors[reason] += 1
                if key in firsts and is_go_in_memory(self._proc, entry.place, [firsts[key]]):
                    binary = known.get(key[2]) or self.binaries.unread_go(key[2], reason)
                    found.append((binary, None))
        except (ParseError, ProcessGoneError) as error:
            self._count(error)
        return found

    def _read_container(
        self,
        pid: int,
        stat: procfs.Stat,
        read: ReadBounds | None = None,
        known: Entry | None = None,
    ) -> tuple[CgroupPosition, Bounds, Container]:
        """``read``: what this tick has read of limits; None: those known last will do.
        ``known``: whose it was when last read, which seldom changes.
        """
        try:
            entries = self.cgroups.read_entries(self._proc, stat.place)
        except ParseError as error:
            self._count(error)
            entries = ()
        placed = known.placed if known is not None else None
        is_there = placed is not None and placed[0] == entries
        place = placed[1] if placed is not None and is_there else self._containers.place(entries)
        bounds = (
            self._containers.last_bounds(place)
            if read is None
            else self._containers.bounds(place, read)
        )
        if placed is not None and is_there and not place.is_below:
            return place, bounds, placed[3]
        alone = "", ""
        if place.identity.cgroup == "/":  # in the root cgroup everybody is on their own
            name = self._program(stat.place) or stat.command
            holder = self._alone.get(name)
            if holder is None or holder not in self._live:
                self._alone.put(name, pid)
            elif holder != pid:
                name = f"{name} (PID {pid})"
            alone = f"process {pid} since {stat.start_ticks}", name
        container = self._containers.container(place, bounds, alone)
        if known is not None:
            known.placed = entries, place, bounds, container
        return place, bounds, container

    def _program(self, place: procfs.TaskPath) -> str:
        """Base name of the executable: the command's name is cut to 15 bytes; "" if unreadable."""
        try:
            return PurePath(procfs.read_exe_link(self._proc, place)).name
        except (ProcessGoneError, ParseError):
            return ""

    def _read_go(self, entry: Entry) -> None:
        entry.process = replace(entry.process, build=entry.runtimes[0][0].build)
        place = entry.place
        entry.environment = None
        try:
            entry.environment = procfs.read_environment(self._proc, place, _VARIABLES)
            entry.follows_limit = bool(procfs.read_cgroup_fds(self._proc, place))
            entry.cgroup_view = origin.read_cgroup_view(self._proc, place)
        except ParseError as error:
            self._count(error)

    def mappings(self, entry: Entry, anew: bool = False) -> tuple[procfs.Mapping, ...]:
        """The executable mappings; () when they cannot be read any more."""
        if anew and entry.unread_drains and entry.mappings is not None:
            entry.unread_drains -= 1
            return entry.mappings
        if entry.mappings is None or anew:
            try:
                entry.mappings, length = procfs.read_maps(self._proc, entry.place)
                entry.mappings_refused = ""
                entry.unread_drains = length // _FREELY_READ_BYTES
                if entry.mappings and entry.mappings[-1].path == procfs.UNLISTED:
                    self.errors["maps-too-long"] += 1
            except (ParseError, ProcessGoneError) as error:
                self._count(error)
                entry.mappings = entry.mappings or ()
                entry.mappings_refused = error.reason if isinstance(error, ParseError) else ""
            entry.proofs.clear()
        return entry.mappings

    def mapped_binary(self, entry: Entry, mapping: procfs.Mapping) -> Binary | None:
        """The file behind a mapping; None when there is none or it cannot be opened."""
        if self._is_program(entry, mapping):
            assert entry.binary is not None
            path = procfs.exe_path(self._proc, entry.place) if entry.alive else None
            self.binaries.use(entry.binary, path)
            return entry.binary
        try:
            return self._mapped(entry, mapping, self.binaries.get)
        except ParseError as error:
            self._count(error)
            return None

    def _is_program(self, entry: Entry, mapping: procfs.Mapping) -> bool:
        """By its place in memory: what lies where the program's segment lies is that segment."""
        if entry.binary is None or not mapping.inode:
            return False
        bias = entry.binary.bias(mapping)
        return bias is not None and bias == self._program_bias(entry)

    def _program_bias(self, entry: Entry) -> int | None:
        """Does not change until the next exec, which makes another entry."""
        if entry.bias is None and entry.alive and entry.binary and entry.binary.elf:
            mappings = self.mappings(entry)
            entry.bias = find_program_bias(self._proc, entry.place, entry.binary.elf, mappings)
        return entry.bias

    def _mapped(
        self,
        entry: Entry,
        mapping: procfs.Mapping,
        get: Callable[[procfs.FileId, str, Callable[[], str]], Binary | None],
    ) -> Binary | None:
        """ParseError: there is a file, and it cannot be had or read."""
        if not mapping.inode:
            return None
        found = procfs.find_mapped_file(self._proc, entry.place, mapping)
        if found is None:
            raise ParseError("library-unreadable", mapping.path)
        key = _file_key(mapping)
        if key not in entry.proofs:
            entry.proofs[key] = is_mapped_file(self._proc, entry.place, mapping, found)
        if not entry.proofs[key]:  # another file has that name by now
            raise ParseError("library-unreadable", mapping.path)
        return get(found.id, found.path, lambda: mapping.path)

    def runtimes(self, entry: Entry) -> list[tuple[Binary, int]]:
        """The Go runtimes in the process with their biases, as far as those are known."""
        found = [(binary, self._bias(entry, binary, bias)) for binary, bias in entry.runtimes]
        return [(binary, bias) for binary, bias in found if bias is not None]

    def _bias(self, entry: Entry, binary: Binary, bias: int | None) -> int | None:
        return self._program_bias(entry) if binary is entry.binary else bias

    def refresh_go(self, entry: Entry, limits: ReadBounds) -> None:
        """Read again what can change: cgroup, limit, GOMAXPROCS. ``limits``: read this tick."""
        if not entry.alive:
            return
        pid = entry.process.pid
        try:
            stat = procfs.read_stat(self._proc, pid)
            if stat.start_ticks != entry.process.start_ticks:
                raise ProcessGoneError(f"PID {pid} is another process now")
            entry.cpu_ticks = stat.cpu_ticks
            if stat.has_ended:
                raise ProcessGoneError(f"PID {pid} has ended")
            entry.place = stat.place
            if entry.environment is None:
                self._read_go(entry)
            if self._has_changed(entry, stat):
                changed = self._admit(pid, stat)
                if changed is None or not changed.is_go:
                    return
                entry = changed
            entry.cgroups, entry.bounds, container = self._read_container(pid, stat, limits, entry)
            binary, value = self._gomaxprocs(entry)
            entry.process = replace(
                entry.process,
                container=container,
                build=binary.build,
                gomaxprocs=value,
                runtime=self._state(entry, binary) if value.value is not None else None,
            )
            entry.seen = self._tick
        except ProcessGoneError:
            self._bury(pid, entry)
        except ParseError as error:  # what was known of it stays
            self._count(error)

    def _gomaxprocs(self, entry: Entry) -> tuple[Binary, Gomaxprocs]:
        """Of the one runtime that stands for the process, and the file it is in."""
        binary, live = self._read_live(entry)
        assert binary.build is not None
        addresses = None if isinstance(binary.gomaxprocs, Refusal) else binary.gomaxprocs
        environment = entry.environment or {}
        facts = origin.Facts(
            build=binary.build,
            allowed_cpus=procfs.read_allowed_cpus(self._proc, entry.place, self.online),
            environment=environment.get("GOMAXPROCS"),
            godebug=environment.get("GODEBUG"),
            environment_read=entry.environment is not None,
            leaf_limit_cores=entry.limit.leaf_limit_cores,
            cgroup=entry.cgroup_view,
            follows_limit=entry.follows_limit,
            online_cpus=len(self.online),
            cpuset_cpus=entry.limit.cpuset_cpus,
            code=addresses,
        )
        asked = live, facts, entry.limit.limit_cores, entry.process.gomaxprocs
        if entry.judged is None or entry.judged[0] != asked:  # hardly ever anything is new
            entry.judged = asked, origin.judge(*asked)
        found = entry.judged[1]
        if entry.environment is None and not (isinstance(live, Refusal) or live.custom is False):
            found = replace(found, origin=Origin.UNKNOWN)  # it may be the variable's, or not
        return binary, found

    def _state(self, entry: Entry, binary: Binary) -> RuntimeState | None:
        bias = dict(self.runtimes(entry)).get(binary)
        if bias is None:
            return None
        try:
            return read_state(self._proc, entry.place, binary.state, bias)
        except ParseError as error:
            self._count(error)
            return None

    def _read_live(self, entry: Entry) -> tuple[Binary, gomaxprocs.LiveGomaxprocs | Refusal]:
        """The executable's own value; of several libraries that of the one with the highest.

        A library without a value is no runtime (a plugin uses its host's), or not yet one.
        """
        values: list[tuple[Binary, gomaxprocs.LiveGomaxprocs]] = []
        failed: list[tuple[Binary, Refusal]] = []
        for binary, bias in entry.runtimes:
            try:
                values.append((binary, self._read_runtime(entry, binary, bias)))
            except ParseError as error:
                failed.append((binary, error.refusal))
        if values:
            return max(values, key=lambda found: found[1].value)
        return failed[0]

    def _read_runtime(
        self, entry: Entry, binary: Binary, bias: int | None
    ) -> gomaxprocs.LiveGomaxprocs:
        if isinstance(binary.gomaxprocs, Refusal):
            raise binary.gomaxprocs.error
        bias = self._bias(entry, binary, bias)
        if bias is None:
            raise ParseError(entry.mappings_refused or "gomaxprocs-unmapped", binary.module)
        return gomaxprocs.read_gomaxprocs(self._proc, entry.place, binary.gomaxprocs, bias)

    def take_cpu_ns(self, entry: Entry, period_ns: int) -> int | None:
        """CPU time of a Go process since it was last asked for, as the kernel accounts it.

        Of one that has ended: until it was last seen, and what was sampled of it after that. None
        where it is not known: the process was met only now.
        """
        before, entry.cpu_ticks_before = entry.cpu_ticks_before, entry.cpu_ticks
        last_hits, entry.last_hits = entry.last_hits, 0
        if before is None:
            return None
        return max(0, entry.cpu_ticks - before) * 10_000_000 + last_hits * period_ns

    def end_window(self) -> None:
        self._window_began = _boot_ticks()
        self._containers.end_window()
        self._missed.clear()

    def unjudged(self) -> Counter[str]:
        """Processes of which it is not known whether they are Go, by reason."""
        found = Counter(entry.problem for entry in self._live.values() if entry.problem)
        found.update(self._missed.values())
        return found

    def judged(self) -> int:
        """Programs that were read, gotax itself left out; kernel threads are none."""
        own = os.getpid()
        return sum(
            entry.exe is not None and not entry.problem and entry.process.pid != own
            for entry in self._live.values()
        )

    def usage(self, entry: Entry) -> CpuUsage:
        """The kernel's counters of the entry's group; nothing for the root and for one gone."""
        is_part = entry.process.container.nested
        return self._containers.usage(entry.cgroups, entry.bounds if is_part else Bounds())

    def _count(self, error: ParseError | ProcessGoneError) -> None:
        self.errors[error.reason if isinstance(error, ParseError) else "process-gone"] += 1


def _file_key(mapping: procfs.Mapping) -> _FileKey:
    return mapping.device, mapping.inode, mapping.path


def _has_value(entry: Entry) -> bool:
    found = entry.process.gomaxprocs
    return found is not None and found.value is not None


def _boot_ticks() -> int:
    """Now, as processes' start times count: 1/100 s since boot (USER_HZ is 100 everywhere)."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100)
