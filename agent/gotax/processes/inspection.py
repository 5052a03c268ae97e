"""Reading a process: all of it when it is new, what can change in each window, and libraries that
come later."""

from __future__ import annotations

from collections.abc import Callable

from gotax.config import Roots
from gotax.errors import ParseError, ProcessGoneError
from gotax.linux import procfs
from gotax.linux.procfs import Stat
from gotax.process import Container, Process
from gotax.processes.binaries import BinaryTable
from gotax.processes.containers import ReadBounds
from gotax.processes.counts import ErrorCounts
from gotax.processes.entry import Entry
from gotax.processes.files import ProcessFiles
from gotax.processes.membership import Membership, Memberships
from gotax.processes.table import ProcessTable


class Inspector:
    """``online`` are the CPUs of the host, read again with each ``begin_tick``."""

    def __init__(
        self,
        roots: Roots,
        table: ProcessTable,
        memberships: Memberships,
        binaries: BinaryTable,
        errors: ErrorCounts,
    ) -> None:
        self._roots = roots
        self._table = table
        self._memberships = memberships
        self._binaries = binaries
        self._errors = errors
        self.online = procfs.read_online_cpus(roots.sys)

    def begin_tick(self) -> None:
        self.online = procfs.read_online_cpus(self._roots.sys)

    def read_stat(self, pid: int) -> Stat:
        """Raises ProcessGoneError, ParseError."""
        return procfs.read_stat(self._roots.proc, pid)

    def admit(self, pid: int, stat: Stat) -> Entry | None:
        """The process that is new under this PID, or has another program; None: it is gone."""
        try:
            entry = self._read(pid, stat)
        except ProcessGoneError:
            return None
        self._table.admit(entry, stat)
        if entry.is_go:
            self.refresh(entry, {})  # it may end before the window does
        return entry

    def _read(self, pid: int, stat: Stat) -> Entry:
        files = ProcessFiles(self._roots.proc, stat.place)
        if stat.is_kernel_thread:
            return self._entry(pid, stat, files, Membership(Container("kernel", "kernel", "/")))
        membership = self._memberships.find(
            stat, files
        ).without_entries()  # most are never refreshed
        entry = self._entry(pid, stat, files, membership)
        if entry.program.read():
            entry.start_go()
        return entry

    def _entry(self, pid: int, stat: Stat, files: ProcessFiles, membership: Membership) -> Entry:
        process = Process(pid, stat.start_ticks, stat.command, membership.container)
        return Entry(process, files, membership, self._binaries, self._errors)

    def of_cgroup(self, path: str, command: str, problem: str) -> Entry:
        """It stands for processes of a cgroup that cannot be looked at."""
        membership = self._memberships.of_cgroup(path)
        entry = Entry(
            Process(0, 0, command, membership.container),
            ProcessFiles(self._roots.proc, 0, has_ended=True),
            membership,
            self._binaries,
            self._errors,
        )
        entry.program.refuse(problem)
        self._table.number(entry)
        return entry

    def refresh(self, entry: Entry, limits: ReadBounds) -> None:
        """Read again what can change: cgroup, limit, GOMAXPROCS. ``limits``: read this tick."""
        if not entry.alive:
            return
        pid = entry.process.pid
        try:
            stat = self.read_stat(pid)
            if stat.start_ticks != entry.process.start_ticks:
                raise ProcessGoneError(f"PID {pid} is another process now")
            self._table.observe(entry, stat)
            if stat.has_ended:
                raise ProcessGoneError(f"PID {pid} has ended")
            if entry.go.environment is None:
                entry.start_go()
            if self._table.has_changed(entry, stat):
                changed = self.admit(pid, stat)
                if changed is None or not changed.is_go:
                    return
                entry = changed
            self._refresh_go(entry, stat, limits)
            self._table.confirm(entry)
        except ProcessGoneError:
            self._table.retire(entry)
        except ParseError as error:  # what was known of it stays
            self._errors.note(error)

    def _refresh_go(self, entry: Entry, stat: Stat, limits: ReadBounds) -> None:
        entry.membership = self._memberships.find(stat, entry.files, limits, entry.membership)
        facts = entry.go.read(entry.limit, self.online, entry.process.gomaxprocs)
        entry.learn(entry.membership, facts)

    def look_on(self, entry: Entry) -> None:
        """Look again at what is no Go program so far; hits of it have come."""
        if not entry.alive or not entry.program.is_due():
            return
        if entry.problem:
            self.judge_again(entry)
        if entry.alive and entry.program.may_load_go():
            self._start(entry, entry.program.search_libraries)

    def judge_again(self, entry: Entry) -> None:
        """Look again at a program that could not be read: rights and files come and go."""
        self._start(entry, entry.program.read)

    def _start(self, entry: Entry, finds_go: Callable[[], bool]) -> None:
        try:
            if finds_go():
                entry.start_go()
                self.refresh(entry, {})
        except ProcessGoneError:
            self._table.retire(entry)
