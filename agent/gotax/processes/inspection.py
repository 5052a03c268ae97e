"""Read a process: all of it when it is new, in each window what can change, and libraries that it
loads later."""

from __future__ import annotations

from collections.abc import Callable

from gotax.config import Roots
from gotax.errors import ProcessGoneError, ReadError
from gotax.linux import procfs
from gotax.linux.procfs import Stat
from gotax.process import Container, Process
from gotax.processes.binaries import BinaryTable
from gotax.processes.containers import ReadBounds
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.processes.membership import Membership, Memberships
from gotax.processes.table import ProcessTable
from gotax.processes.tracked_process import TrackedProcess


class Inspector:
    """``online`` are the CPUs of the host, read again with each ``begin_round``."""

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

    def begin_round(self) -> None:
        self.online = procfs.read_online_cpus(self._roots.sys)

    def read_stat(self, pid: int) -> Stat:
        """Raises ProcessGoneError, ReadError."""
        return procfs.read_stat(self._roots.proc, pid)

    def admit(self, pid: int, stat: Stat) -> TrackedProcess | None:
        """The process that is new under this PID, or has another program; None: it is gone."""
        try:
            tracked = self._read(pid, stat)
        except ProcessGoneError:
            return None
        self._table.admit(tracked, stat)
        if tracked.is_go:
            self.refresh(tracked, {})  # it may end before the window does
        return tracked

    def _read(self, pid: int, stat: Stat) -> TrackedProcess:
        files = ProcessFiles(self._binaries.reader, self._roots.proc, stat.place)
        if stat.is_kernel_thread:
            return self._track(pid, stat, files, Membership(Container("kernel", "kernel", "/")))
        membership = self._memberships.find(
            stat, files
        ).without_entries()  # most are never refreshed
        tracked = self._track(pid, stat, files, membership)
        if tracked.program.read():
            tracked.start_go()
        return tracked

    def _track(
        self, pid: int, stat: Stat, files: ProcessFiles, membership: Membership
    ) -> TrackedProcess:
        container = membership.container
        # Of a pod, since it may have as many containers as it likes.
        files.group = container.pod_uid or container.container_id or container.key
        process = Process(
            pid, stat.start_ticks, stat.command, membership.container, parent=stat.parent
        )
        return TrackedProcess(process, files, membership, self._binaries, self._errors)

    def of_cgroup(self, path: str, command: str, problem: str) -> TrackedProcess:
        """A stand-in for the processes of a cgroup that cannot be read."""
        membership = self._memberships.of_cgroup(path)
        tracked = TrackedProcess(
            Process(0, 0, command, membership.container),
            ProcessFiles(self._binaries.reader, self._roots.proc, 0, has_ended=True),
            membership,
            self._binaries,
            self._errors,
        )
        tracked.program.refuse(problem)
        self._table.number(tracked)
        return tracked

    def refresh(self, tracked: TrackedProcess, limits: ReadBounds) -> None:
        """Read again what can change: cgroup, limit, GOMAXPROCS. ``limits``: read this round."""
        if not tracked.alive:
            return
        pid = tracked.process.pid
        try:
            stat = self._table.look(tracked)
            is_seen = stat is not None and not stat.has_ended
            if stat is None or not is_seen:
                stat = self.read_stat(pid)
                if stat.start_ticks != tracked.process.start_ticks:
                    raise ProcessGoneError(f"PID {pid} is another process now")
                self._table.observe(tracked, stat)
                if stat.has_ended:
                    raise ProcessGoneError(f"PID {pid} has ended")
            if tracked.go.environment is None:
                tracked.start_go()
            if not is_seen and self._table.has_changed(tracked, stat):
                changed = self.admit(pid, stat)
                if changed is None or not changed.is_go:
                    return
                tracked = changed
            self._refresh_go(tracked, stat, limits)
            self._table.confirm(tracked)
        except ProcessGoneError:
            self._table.retire(tracked)
        except ReadError as error:  # what was known of it stays
            self._errors.note(error)
            self._table.unsettle(tracked)

    def _refresh_go(self, tracked: TrackedProcess, stat: Stat, limits: ReadBounds) -> None:
        tracked.membership = self._memberships.find(stat, tracked.files, limits, tracked.membership)
        facts = tracked.go.read(tracked.limit, self.online, tracked.process)
        tracked.learn(tracked.membership, facts)
        if facts.is_moving:
            self._table.unsettle(tracked)

    def look_on(self, tracked: TrackedProcess) -> None:
        """Look again for Go in a sampled process that has none so far."""
        if not tracked.alive or not tracked.program.is_due():
            return
        if tracked.problem:
            self.judge_again(tracked)
        if tracked.alive and tracked.program.may_load_go():
            self._start(tracked, tracked.program.search_libraries)

    def judge_again(self, tracked: TrackedProcess) -> None:
        """Look again at a program that could not be read: rights and files come and go."""
        self._start(tracked, tracked.program.read)

    def _start(self, tracked: TrackedProcess, finds_go: Callable[[], bool]) -> None:
        try:
            if finds_go():
                tracked.start_go()
                self.refresh(tracked, {})
        except ProcessGoneError:
            self._table.retire(tracked)
