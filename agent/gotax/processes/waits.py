"""Whether containers wait for CPU or memory: read rarely, and only where there is a finding."""

from __future__ import annotations

from dataclasses import dataclass

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.cgroups.hierarchies import Hierarchies
from gotax.linux.cgroups.position import CgroupPosition
from gotax.linux.pressure import ThreadTimes, read_pressure, read_times
from gotax.processes.counts import ErrorCounts
from gotax.processes.tracked_process import TrackedProcess
from gotax.waiting import Pressure, Waiting

EVERY = 12
"""Windows until a container is read again."""
MOST = 16
"""Containers that are read in one window."""


@dataclass(slots=True)
class _Known:
    process: tuple[int, int]
    times: dict[int, ThreadTimes]
    waiting: Waiting | None
    read: int  # in which window
    seen: int


class Waits:
    """Bounded by the containers with a finding: call ``end_window`` once a window."""

    def __init__(self, proc_root: str, hierarchies: Hierarchies, errors: ErrorCounts) -> None:
        self._proc_root = proc_root
        self._hierarchies = hierarchies
        self._errors = errors
        self._known: dict[str, _Known] = {}
        self._window = 0
        self._left = MOST

    def __len__(self) -> int:
        return len(self._known)

    def of(self, key: str, tracked: TrackedProcess) -> Waiting | None:
        """Of the container of this key, by its main process; None: not read (yet).

        The first time since the threads began, then since the last time.
        """
        process = tracked.process.pid, tracked.process.start_ticks
        known = self._known.get(key)
        if known is not None and known.process != process:
            known = None
        if self._left and (known is None or self._window - known.read >= EVERY):
            self._left -= 1
            times, waiting = self._read(tracked, known)
            known = self._known[key] = _Known(process, times, waiting, self._window, self._window)
        if known is None:
            return None
        known.seen = self._window
        return known.waiting

    def _read(
        self, tracked: TrackedProcess, known: _Known | None
    ) -> tuple[dict[int, ThreadTimes], Waiting | None]:
        try:
            times = read_times(self._proc_root, tracked.process.pid)
            pressures = self._pressures(tracked.membership.position)
        except ProcessGoneError:
            return {}, None
        except ReadError as error:
            self._errors.note(error)
            return {}, None
        earlier = known.times if known is not None else {}
        grown = [
            each.since(earlier[thread]) if thread in earlier else each
            for thread, each in times.items()
            if known is None or thread in earlier
        ]
        run_ns = sum(each.run_ns for each in grown)
        wait_ns = sum(each.wait_ns for each in grown)
        return times, Waiting(run_ns, wait_ns, len(grown), known is None, *pressures)

    def _pressures(self, position: CgroupPosition) -> tuple[Pressure | None, Pressure | None]:
        """Of CPU and memory. On a hybrid host, of the group of the same name in cgroup v2."""
        tree, path = self._hierarchies.unified, position.identity.cgroup
        directory = tree.directory(path) if tree and self._hierarchies.sees_host else None
        if path == "/":
            directory = None

        def read(name: str) -> Pressure | None:
            return None if directory is None else read_pressure(directory, name)

        return read("cpu.pressure"), read("memory.pressure")

    def end_window(self) -> None:
        """Forget the containers that were not asked for in this window."""
        for key in [k for k, known in self._known.items() if known.seen != self._window]:
            del self._known[key]
        self._window += 1
        self._left = MOST
