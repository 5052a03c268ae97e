"""Settings, already parsed and checked. The command line makes them, everything else reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roots:
    """Where the host's pseudo file systems are (a container may have them elsewhere)."""

    proc: str = "/proc"
    sys: str = "/sys"


@dataclass(frozen=True, slots=True)
class Silence:
    """A finding that is not to be told (diagnosis/silence.py).

    ``cause`` "" is any. ``pattern`` is a glob for a name of the container.
    """

    code: str
    cause: str = ""
    pattern: str = "*"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When something becomes a finding; docs/findings.md explains each.

    Shares are of the container's CPU time. A finding is made when the lower end of the 95 %
    interval reaches its threshold, and goes when the upper end falls below ``release`` of it.

    ``mismatch_ratio``: GOMAXPROCS over what fits, from which it counts as a mismatch; more than 2
    in any case, because Go >= 1.25 itself gives 2 to a limit of 1.
    ``saving_share``: predicted saving from which a mismatch is a cost: about half of what is surely
    worth a change, 15 %, because the prediction may be that far off; ``saving_cores``: and at least
    that much. ``runtime_share``: share of the scheduler and the GC that counts as a cost
    where nothing can be predicted. ``min_hits``: below that nothing is said about shares.
    ``coordination_told``: of what coordination takes, the share of channels and locks from which
    they are named as what goroutines wait for.
    ``throttled_share``: of the enforcement periods. ``saturation``: use over what there is, from
    which it is used up. ``large_node_cpus``, ``headroom``, ``unlimited_least``: without a limit, on
    hosts of that many CPUs and more, GOMAXPROCS should be ``headroom`` times the highest use, and
    at least ``unlimited_least``. ``settle_s``: how long a changed GOMAXPROCS has to hold before
    the time after is compared with the time before. ``silences``: what is not to be told.
    """

    mismatch_ratio: float = 1.5
    saving_share: float = 0.08
    saving_cores: float = 0.005
    runtime_share: float = 0.20
    min_hits: int = 50
    throttled_share: float = 0.10
    saturation: float = 0.85
    gc_share: float = 0.25
    allocation_share: float = 0.25
    coordination_share: float = 0.35
    coordination_told: float = 0.10
    cgo_share: float = 0.30
    large_node_cpus: int = 8
    headroom: float = 2.0
    unlimited_least: int = 2
    release: float = 0.6
    settle_s: float = 90.0
    silences: tuple[Silence, ...] = ()


@dataclass(frozen=True, slots=True)
class Detail:
    """What a consumer of windows needs. The daemon needs least, a recorded profile most.

    ``names``: stacks of named frames; without them hits have nothing but their category, and the
    rest does not matter. ``functions``: length of the table of top functions, 0 for none.
    ``native_frames``: symbolize processes that are not Go as well. ``kernel_frames``: name the
    kernel's functions. ``lines``: files and line numbers, without which far fewer addresses need
    to be looked up.
    """

    names: bool = True
    functions: int = 0
    native_frames: bool = False
    kernel_frames: bool = False
    lines: bool = False
