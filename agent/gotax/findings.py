"""Values of the diagnosis: verdicts, findings with evidence and remedy, predicted savings."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"


class Verdict(Enum):
    """The result for a container, in one word."""

    OVERSIZED = "oversized"  # GOMAXPROCS is too high, and the profile shows the cost
    MISMATCH = "mismatch"  # GOMAXPROCS is too high, the cost is small or uncertain
    FITS = "fits"
    UNLIMITED = "unlimited"  # no CPU limit to compare with
    TOO_FEW_SAMPLES = "too-few-samples"
    UNREADABLE = "unreadable"  # GOMAXPROCS could not be read


class Confidence(Enum):
    """``HIGH``: read, or proven by a 95 % interval. ``MEDIUM``: based on a model or a guessed
    cause. ``LOW``: a hint."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Cause(Enum):
    """Why GOMAXPROCS is above what fits."""

    OLD_GO = "go-before-1.25"  # it ignores CPU limits
    GO_MOD = "go.mod-before-1.25"  # a newer toolchain keeps the old defaults for such modules
    GODEBUG = "godebug"  # containermaxprocs=0 in the environment
    DEBUG_LINE = "go-debug-line"  # the same, built in by a //go:debug line or go.mod's godebug
    ENVIRONMENT = "environment"
    CALL = "call"
    AUTOMAXPROCS = "automaxprocs"  # linked in, and it did not find the limit or the CPUs
    ANCESTOR = "ancestor-limit"  # the tightest limit is above the cgroup that Go reads
    RESIZE = "resize"  # it fitted an earlier limit and did not change
    FEWER_CPUS = "fewer-cpus"  # it fitted the CPUs at its start and did not change
    HIDDEN = "cgroup-hidden"  # Go would follow the limit, but does not find its cgroup's files
    UNKNOWN = "unknown"


class WaitCause(Enum):
    """Because of whom the threads of a container wait for CPU."""

    NOTHING = "nothing"  # they hardly wait
    OWN_LIMIT = "own-limit"  # the kernel throttles it
    NODE = "node"  # the CPUs of the node are busy
    OWN_THREADS = "own-threads"  # more of them at once than CPUs, on a node that is not busy
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measurement behind a finding: a sentence, and the number in it.

    ``value`` is in ``unit`` (``share``, ``cores``, ``s``, ``count``), with its 95 % interval if
    there is one. ``window_s`` is the time of the measurement, None for a value that was read.
    """

    text: str
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    window_s: float | None = None


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do. ``patch`` can be applied as it is (YAML, a systemd drop-in, a line), or is "".

    ``gomaxprocs``: the value after the remedy, None if the remedy does not change it.
    ``other_patches`` lead to a value that fits, too, in another way. ``experiment``: commands that
    show whether the change helps, "" if that is known. ``setting``: another variable that the patch
    sets, as GOMEMLIMIT=324MiB.
    """

    text: str
    patch: str = ""
    gomaxprocs: int | None = None
    other_patches: tuple[str, ...] = ()
    experiment: str = ""
    setting: str = ""

    @property
    def patches(self) -> tuple[str, ...]:
        """All of them, the best first."""
        return tuple(dict.fromkeys(p for p in (self.patch, *self.other_patches) if p))


@dataclass(frozen=True, slots=True)
class SavingSource:
    """A part of a predicted saving: a readable ``name``, and ``cores``, below 0 for a cost."""

    name: str
    cores: float


@dataclass(frozen=True, slots=True)
class Saving:
    """What a change of GOMAXPROCS would save, in CPU cores at the same work.

    The saving is between ``low`` and ``high`` in nine of ten cases, most likely near ``mid``.
    Below 0 the change costs CPU. ``sources`` add up to ``mid``, largest first. ``cautions`` are
    sentences: where the change could cost latency or throughput, and how to check.
    """

    low: float
    mid: float
    high: float
    sources: tuple[SavingSource, ...] = ()
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is stable; docs/findings.md explains it.

    ``cause``: only if GOMAXPROCS is too high. ``held_s``: how long the finding has held without
    interruption.
    """

    code: str
    title: str
    severity: Severity
    confidence: Confidence
    evidence: tuple[Evidence, ...]
    remedy: Remedy
    saving: Saving | None = None
    cause: Cause | None = None
    held_s: float = 0.0
