"""Settings, already parsed and checked by the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roots:
    """Paths of the host's pseudo file systems (in a container they may differ)."""

    proc: str = "/proc"
    sys: str = "/sys"


@dataclass(frozen=True, slots=True)
class Suppression:
    """A finding that is not reported (diagnosis/suppression.py).

    ``cause``: "" for any. ``pattern``: a glob for a name of the container.
    """

    code: str
    cause: str = ""
    pattern: str = "*"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of the findings; docs/findings.md explains each.

    Shares are of the container's CPU time. A finding appears when the lower end of the 95 %
    interval reaches its threshold, and ends when the upper end falls below ``release`` of it.

    ``mismatch_ratio``: ratio of GOMAXPROCS to what fits from which it is a mismatch. A mismatch is
    always more than 2, because Go 1.25 and newer choose 2 for a limit of 1.
    ``saving_share``, ``saving_cores``: predicted saving from which a mismatch is costly. A saving
    of 15 % is surely worth a change. The default is about half of that, because the prediction may
    be that far off. ``runtime_share``: share of scheduler and GC from which a mismatch is costly if
    there is no prediction. ``min_samples``: samples needed for a statement about shares.
    ``coordination_told``: share of channels and locks in the CPU time of coordination, from which
    the finding names them as the reason.
    ``throttled_share``: share of the enforcement periods. ``saturation``: share of a limit from
    which it counts as used up. ``large_node_cpus``, ``headroom``, ``unlimited_least``: without a
    limit, on hosts with at least so many CPUs, GOMAXPROCS should be ``headroom`` times the highest
    usage, and at least ``unlimited_least``. ``settle_s``: time after a change of GOMAXPROCS until
    it is compared with the time before. ``suppressions``: findings that are not reported.
    """

    mismatch_ratio: float = 1.5
    saving_share: float = 0.08
    saving_cores: float = 0.005
    runtime_share: float = 0.20
    min_samples: int = 50
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
    suppressions: tuple[Suppression, ...] = ()


@dataclass(frozen=True, slots=True)
class Detail:
    """How much detail windows have. The daemon needs least, a recorded profile most.

    ``names``: stacks with function names; without them samples have only a category, and the other
    settings have no effect. ``functions``: length of the table of top functions, 0 for none.
    ``native_frames``: symbolize processes that are not Go, too. ``kernel_frames``: name kernel
    functions. ``lines``: files and line numbers; without them far fewer addresses are looked up.
    """

    names: bool = True
    functions: int = 0
    native_frames: bool = False
    kernel_frames: bool = False
    lines: bool = False
