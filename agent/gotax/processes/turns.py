"""Which Go processes are read again at the end of a window, and which wait for their turn.

Limits and GOMAXPROCS seldom change, and a node may have thousands of processes. So the agent reads
some of the processes in each window, the longest unread first. A process that is new or that has
just changed is read in every window. So is each process with samples where somebody waits for the
answer, as ``gotax check`` does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from gotax.processes.tracked_process import TrackedProcess

WORK_S = 1.0
"""CPU time for that in one window. Processes for which there is no time come first in the next,
and are counted as ``processes-put-off``."""


@dataclass(frozen=True, slots=True)
class Turns:
    """Windows within which each process is read: those with samples, and the idle ones.

    ``idle_least``: so many idle processes are read in each window; where there are no more, all.
    """

    busy_within: int = 1
    idle_within: int = 8
    idle_least: int = 64

    def due(
        self, processes: Sequence[TrackedProcess], sampled: Collection[int], now_s: float
    ) -> list[TrackedProcess]:
        """Those to read now, the longest unread first.

        ``sampled``: serials of those with samples. ``now_s``: since boot.
        """
        found: list[TrackedProcess] = []
        busy: list[TrackedProcess] = []
        idle: list[TrackedProcess] = []
        for tracked in sorted(processes, key=_looked):
            if not tracked.life.has_settled(now_s):
                found.append(tracked)
            elif tracked.serial in sampled:
                busy.append(tracked)
            else:
                idle.append(tracked)
        found += busy[: -(-len(busy) // self.busy_within)]
        found += idle[: max(self.idle_least, -(-len(idle) // self.idle_within))]
        return sorted(found, key=_looked)


EACH_WINDOW = Turns()
"""Those of a command that somebody waits for."""
ALWAYS_ON = Turns(busy_within=4, idle_within=20, idle_least=16)
"""Those of the agent. With windows of 15 s it reads busy processes within a minute, and idle ones
within five."""


def _looked(tracked: TrackedProcess) -> int:
    return tracked.life.looked
