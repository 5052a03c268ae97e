"""The processes that live, by PID and start time: their exec, their end, and reused PIDs."""

from __future__ import annotations

import enum
import os
import time
from collections import Counter, deque
from collections.abc import Collection

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.procfs import Stat
from gotax.lru import LruCache
from gotax.processes.counts import GONE
from gotax.processes.tracked_process import TrackedProcess

ENDED = 2048
"""How many processes are remembered after their end, for samples that were counted before it."""
_TICKS_PER_S = 100  # of a process's start time: USER_HZ is 100 everywhere
_GRACE_ROUNDS = 4
"""How many rounds (a drain is one, a window is one) after a process was last seen alive samples of
its PID can still be its own: a process that ends while a drain is resolved may have samples in the
next. Later samples are those of a short-lived process that got the PID."""

_SETTLES_AFTER_S = 60.0
"""For so long after its start, and after a change, a process is read in every window. Its limits
come a moment after its start, and Go 1.25 follows a new limit up to half a minute later."""


class Sight(enum.Enum):
    """Which process has a PID now."""

    SAME = enum.auto()
    NEW = enum.auto()
    REUSED = enum.auto()
    """Another one, and samples of the PID may be of either."""
    EXEC = enum.auto()
    """The same one with another program, or the same again."""


class ProcessTable:
    """Decides which processes live. Nothing else writes ``Life``."""

    def __init__(self, proc: str) -> None:
        self._live: dict[int, TrackedProcess] = {}
        self._ended: LruCache[int, TrackedProcess] = LruCache(ENDED)
        self._ending: deque[TrackedProcess] = (
            deque()
        )  # of those, which may still have samples to come
        self._missed: dict[int, str] = {}  # by PID, why it could not be looked at in this window
        # Every PID namespace has a process 1. Where it is not to be seen, no other one is
        # (hidepid=invisible), and what cannot be found has not ended.
        self._gone = GONE if os.path.exists(f"{proc}/1") else "procfs-hidden"
        self._serial = 0
        self._window_began = _boot_ticks()
        self._round = 0
        self.window = 0  # how many have ended

    def __len__(self) -> int:
        return len(self._live) + len(self._ended)

    def __contains__(self, pid: int) -> bool:
        return pid in self._live

    def get(self, pid: int) -> TrackedProcess | None:
        """The process that lives under this PID, as far as seen."""
        return self._live.get(pid)

    def live(self) -> list[TrackedProcess]:
        return list(self._live.values())

    def begin_round(self) -> None:
        self._round += 1
        while self._ending and self._round - self._ending[0].life.seen > _GRACE_ROUNDS:
            self._ending.popleft().trim()

    def begin_window(self) -> None:
        """A process that starts later has all its CPU time in the window."""
        self._window_began = _boot_ticks()

    def end_window(self) -> None:
        self.window += 1
        self.begin_window()
        self._missed.clear()

    def identify(self, pid: int, stat: Stat) -> Sight:
        """Which process has the PID; the one that does not have it any more is retired."""
        self._missed.pop(pid, None)
        known = self._live.get(pid)
        if known is not None:
            if known.process.start_ticks != stat.start_ticks:
                self.retire(known)
                return Sight.REUSED
            return Sight.EXEC if self.has_changed(known, stat) else Sight.SAME
        ended = self._ended.get(pid)
        if ended is not None and ended.process.start_ticks != stat.start_ticks:
            self._ended.remove(pid)
            if self._is_recent(ended):
                return Sight.REUSED
        return Sight.NEW

    def has_changed(self, known: TrackedProcess, stat: Stat) -> bool:
        """The process called exec: same PID and start time, another program or the same again."""
        if stat.start_stack != known.life.start_stack:
            return bool(stat.start_stack)  # else it is ending, and has given its memory back
        if not known.program.link:
            return False  # a kernel thread, or an executable that may not be seen
        known.files.place = stat.place
        try:
            # By its path, which the kernel knows: a file system might not answer. Nor is a program
            # another one when its file is touched.
            return known.files.exe_link() != known.program.link
        except (ProcessGoneError, ReadError):
            return False

    def number(self, tracked: TrackedProcess) -> None:
        """Give it a serial of its own."""
        self._serial += 1
        tracked.life.serial = self._serial

    def admit(self, tracked: TrackedProcess, stat: Stat) -> None:
        """From now on it has its PID. The CPU time of a process goes on if its program is the
        same."""
        known = self._live.get(stat.pid)
        if known is not None and tracked.is_again(known):
            tracked.cpu = known.cpu
        self.number(tracked)
        tracked.life.start_stack = stat.start_stack
        tracked.life.seen = self._round
        tracked.life.settles_s = stat.start_ticks / _TICKS_PER_S + _SETTLES_AFTER_S
        self._live[stat.pid] = tracked
        if stat.start_ticks >= self._window_began:
            tracked.cpu.count_from(0, self.window)

    def confirm(self, tracked: TrackedProcess, stat: Stat | None = None) -> None:
        """It lives. ``stat``: what a drain has seen of it."""
        tracked.life.seen = self._round
        tracked.life.stat = stat

    def look(self, tracked: TrackedProcess) -> Stat | None:
        """It is to be read again at the end of a window. What has just been seen of it, if the
        drain in the round before this one had samples of it."""
        life = tracked.life
        life.looked = self._round
        return life.stat if life.seen == self._round - 1 else None

    def unsettle(self, tracked: TrackedProcess) -> None:
        """Something of it has changed, or could not be read now."""
        tracked.life.settles_s = boot_s() + _SETTLES_AFTER_S

    def observe(self, tracked: TrackedProcess, stat: Stat) -> None:
        """Note what the kernel reports of it."""
        tracked.files.place = stat.place
        tracked.cpu.see(stat.cpu_ticks)

    def mark_fresh(self, tracked: TrackedProcess) -> None:
        """It was first seen between two drains."""
        tracked.life.is_fresh = True
        tracked.cpu.see_nothing()

    def clear_fresh(self, tracked: TrackedProcess) -> None:
        """Samples of it have been drained."""
        tracked.life.is_fresh = False

    def retire(self, tracked: TrackedProcess) -> None:
        """It has ended."""
        pid = tracked.process.pid
        self._live.pop(pid, None)
        tracked.files.has_ended = True
        self._ended.put(pid, tracked)
        self._ending.append(tracked)

    def retire_all_but(self, pids: list[int], among: Collection[int] | None = None) -> None:
        """``among``: only of these PIDs."""
        present = set(pids)
        for pid in (self._live.keys() if among is None else set(among)) - present:
            if pid in self._live:
                self.retire(self._live[pid])

    def find_ended(self, pid: int) -> TrackedProcess | None:
        """The last one under this PID, if samples of the PID can still be its own."""
        ended = self._ended.get(pid)
        return ended if ended is not None and self._is_recent(ended) else None

    def _is_recent(self, ended: TrackedProcess) -> bool:
        return self._round - ended.life.seen <= _GRACE_ROUNDS

    def miss(self, pid: int, error: ProcessGoneError | ReadError) -> str:
        """There are samples of a process that cannot be read; returns why."""
        reason = error.reason if isinstance(error, ReadError) else self._gone
        self._missed[pid] = reason
        return reason

    def unjudged(self) -> Counter[str]:
        """Processes of which it is not known whether they are Go, by reason."""
        found = Counter(tracked.problem for tracked in self._live.values() if tracked.problem)
        found.update(self._missed.values())
        return found

    def judged(self) -> int:
        """Programs that were read, gotax itself left out; kernel threads are none."""
        own = os.getpid()
        return sum(
            tracked.program.exe is not None and not tracked.problem and tracked.process.pid != own
            for tracked in self._live.values()
        )


def boot_s() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot_ticks() -> int:
    """Now, as processes' start times count."""
    return int(boot_s() * _TICKS_PER_S)
