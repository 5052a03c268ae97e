"""Settings, already parsed and checked. The command line makes them, everything else reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the host's pseudo file systems are (a container may have them elsewhere)."""

    proc: str = "/proc"
    sys: str = "/sys"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a mismatch becomes a verdict; docs/findings.md explains each.

    ``mismatch_ratio``: GOMAXPROCS over what fits, from which it counts as a mismatch; at least two
    more in any case, because Go >= 1.25 itself gives 2 to a limit of 1. ``runtime_share``: share
    of the scheduler and the GC from which a mismatch is a cost; the lower end of its confidence
    interval has to reach it. ``min_hits``: below that nothing is said about shares.
    """

    mismatch_ratio: float = 1.5
    runtime_share: float = 0.20
    min_hits: int = 50


@dataclass(frozen=True, slots=True)
class Detail:
    """What a consumer of windows needs. The daemon needs least, a recorded profile most.

    ``functions``: length of the table of top functions, 0 for none. ``native_frames``: symbolize
    processes that are not Go as well. ``kernel_frames``: name the kernel's functions. ``lines``:
    files and line numbers, without which far fewer addresses need to be looked up.
    """

    functions: int = 0
    native_frames: bool = False
    kernel_frames: bool = False
    lines: bool = False
