"""When to look at processes that have only just been met.

A container that crashes at once lives for less than the time between two drains, and nothing is
left of it afterwards: no process, no cgroup, no file. So who is met is looked at immediately, and
again at some ages: it may have become another program (runc's own process becomes the container's),
and of a Go program the stacks must be symbolized while its file can be read.

Knows only times and PIDs; session.py does the looking.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

LOOK_AT_S = (0.2, 1.0, 2.0, 4.0, 8.0)
"""Ages at which a newcomer is looked at again. The first is for what runc needs from a container's
first instruction to the exec of its program."""
DRAIN_FROM_S = 1.0  # from that age the kernel's counts are fetched with the look
YOUNG_MAX = 256
_PAUSE_S, _LONG_PAUSE_S = 0.2, 1.0
_QUICK = 16  # times in a row that newcomers are listened to without a long pause


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
