"""Which Go processes are read again at the end of a window, and which wait for their turn.

A process that had samples is read in each window. What a process that had none may have changed is
next to nothing, and a node may have thousands of them. So a window reads some of those, the longest
unread first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gotax.processes.tracked_process import TrackedProcess

IDLE_LEAST = 64
"""So many idle processes are read in each window; where there are no more, all of them."""
IDLE_WITHIN = 8
"""Windows in which each idle process is read, however many there are."""
WORK_S = 1.0
"""CPU time for that in one window. Processes for which there is no time come first in the next,
and are counted as ``processes-put-off``."""
_YOUNG = 3
"""The first times, a process is read in each window: its limits may come a moment after it."""


def due(processes: Sequence[TrackedProcess], sampled: Collection[int]) -> list[TrackedProcess]:
    """Those to read now, the longest unread first. ``sampled``: serials of those with samples."""
    idle = [
        tracked
        for tracked in processes
        if tracked.serial not in sampled and tracked.life.looks >= _YOUNG
    ]
    most = max(IDLE_LEAST, -(-len(idle) // IDLE_WITHIN))
    idle.sort(key=_looked)
    waiting = {tracked.serial for tracked in idle[most:]}
    return sorted((each for each in processes if each.serial not in waiting), key=_looked)


def _looked(tracked: TrackedProcess) -> int:
    return tracked.life.looked
