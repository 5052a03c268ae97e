"""Predicts what another GOMAXPROCS would save or cost, from the profile of one window.

Each kind of work keeps a part of its CPU time: the search for work almost nothing, system calls
about half, the program's own code most. These parts are about the same for most programs. A
Gaussian process corrects them by the calibrated runs with the most similar profiles, and gives the
uncertainty: the less similar the runs, the larger it is.

docs/saving.md derives the model. Its numbers, in calibrated.py, come from measured runs.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.category import Category, Group
from gotax.diagnosis import calibrated
from gotax.findings import Saving, SavingSource
from gotax.process import Binding
from gotax.window import ContainerReport

Floats = npt.NDArray[np.float64]

MIN_SAMPLES = 50
"""With fewer, a profile says nothing about shares."""

CLUMPING = 2.0
"""Variance of a share, relative to independent samples: a collection causes many samples in a
row."""

TERMS: dict[str, tuple[str, tuple[Category, ...]]] = {
    "find": ("idle Ps that look for work", (Category.SCHED_FIND_WORK,)),
    "wake": ("waking threads", (Category.SCHED_WAKE,)),
    "park": ("putting threads to sleep", (Category.SCHED_PARK,)),
    "switch": (
        "switching goroutines",
        (Category.SCHED_SWITCH, Category.SCHED_PREEMPT, Category.SCHED_SYSMON),
    ),
    "mark": (
        "GC workers on idle and dedicated Ps",
        (
            *(Category.GC_MARK_DEDICATED, Category.GC_MARK_FRACTIONAL),
            *(Category.GC_MARK_IDLE, Category.GC_MARK_BACKGROUND),
        ),
    ),
    "assist": ("GC work of the program itself", (Category.GC_ASSIST, Category.GC_WRITE_BARRIER)),
    "sweep": (
        "sweeping and coordinating the GC over all Ps",
        (Category.GC_SWEEP, Category.GC_SCAVENGE, Category.GC_STW, Category.GC_FINALIZERS),
    ),
    "network": ("polling the network", (Category.NETPOLL,)),
    "timers": ("timers of all Ps", (Category.TIMERS,)),
    "alloc": (
        "allocation caches of many Ps",
        (Category.ALLOC, Category.STACK_GROWTH, Category.RUNTIME_OTHER),
    ),
    "chan": ("channels", (Category.CHAN,)),
    "locks": ("contention for locks", (Category.LOCKS,)),
    "syscall": ("system calls", (Category.SYSCALL,)),
    "user": (
        "cold caches and contention in the program's own code",
        (Category.USER, Category.CGO, Category.NATIVE, Category.UNKNOWN),
    ),
}
"""Every category is in one term, so the shares of the terms add up to 1."""

LENGTH, AMPLITUDE, NOISE = 0.5, 0.3, 0.25
"""Parameters of the Gaussian process: the reach of the kernel, the size of a correction, and the
scatter of the runs of one program."""
SATURATED = 0.93
"""From this share of the available CPU on, the usage says nothing about the demand."""
LEAST_ROOM = 0.001
"""Cores: the kernel refuses a quota below 1 ms, but what was read may be anything."""
HEADROOM = 0.7
"""From this share of the new GOMAXPROCS on, queues cost latency."""
GC_NOTABLE = 0.05
BURST, BLOCKS_MIN = 2.0, 4
"""A load has bursts if the busiest of ``BLOCKS_MIN`` or more blocks is ``BURST`` times the mean."""

_GROUPED = np.zeros((len(TERMS), len(Category)))
for _row, (_, _members) in enumerate(TERMS.values()):
    _GROUPED[_row, list(_members)] = 1.0


@dataclass(frozen=True, slots=True)
class Situation:
    """What a prediction rests on. ``category_samples``: at least one sample. ``utilisation``: CPU
    used over what GOMAXPROCS, the limit and the host allow, 0 to about 1."""

    category_samples: tuple[int, ...]
    value: int  # GOMAXPROCS
    utilisation: float

    @property
    def shares(self) -> Floats:
        """Of the terms, in their order."""
        samples = np.asarray(self.category_samples, np.float64)
        shares: Floats = _GROUPED @ samples / samples.sum()
        return shares


@dataclass(frozen=True, slots=True)
class Retained:
    """The retained part of the CPU time, as logarithms: the middle and its possible error."""

    middle: float
    below: float
    above: float

    @property
    def low(self) -> float:
        return math.exp(self.middle - self.below)

    @property
    def mid(self) -> float:
        return math.exp(self.middle)

    @property
    def high(self) -> float:
        return math.exp(self.middle + self.above)


def features(situation: Situation, target: int) -> Floats:
    """What is compared: the roots of the shares (so that small ones count), the change of
    GOMAXPROCS, and the utilisation."""
    change = math.log2(situation.value / target) / 16
    busy = math.log(min(1.0, max(situation.utilisation, 0.01))) / 2
    return np.concatenate([np.sqrt(situation.shares), [change, busy]])


def kernel(a: Floats, b: Floats) -> Floats:
    """Of rows of ``a`` with rows of ``b``; ``AMPLITUDE`` squared for equal ones."""
    distance = ((a[:, None, :] - b[None, :, :]) ** 2).sum(-1)
    value: Floats = AMPLITUDE**2 * np.exp(-distance / 2 / LENGTH**2)
    return value


def plain(shares: Floats, retained: Floats) -> Floats:
    """The logarithm of what is retained by the shares alone; of one or of many situations."""
    found: Floats = np.log(np.maximum(shares @ retained, 0.03))
    return found


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The calibrated runs of one way, ready for use: their features, and what their shares alone
    got wrong, solved by the kernel."""

    points: Floats
    inverse: Floats
    solved: Floats

    @staticmethod
    def of(points: Floats, rest: Floats) -> Neighbours:
        covariance = kernel(points, points) + NOISE**2 * np.eye(len(points))
        inverse = np.asarray(np.linalg.inv(covariance), np.float64)
        return Neighbours(points, inverse, inverse @ rest)

    def predict(self, points: Floats) -> tuple[Floats, Floats]:
        """(the rest, its standard deviation) at each of ``points``."""
        near = kernel(points, self.points)
        variance = AMPLITUDE**2 - ((near @ self.inverse) * near).sum(axis=1)
        return near @ self.solved, np.sqrt(np.maximum(variance, 0.0) + NOISE**2)


def reach(middle: Floats, deviation: Floats) -> Floats:
    """The error of the middle, up to a factor: a greater change has a larger error."""
    return deviation * (0.3 + np.abs(middle))


@functools.cache
def _calibration(way: str) -> tuple[Floats, Neighbours]:
    retained = np.array([calibrated.RETAINED[way][name] for name in TERMS])
    rows = [line.split() for line in calibrated.RUNS[way].strip().splitlines()]
    table = np.array(rows, np.float64) / 1000
    return retained, Neighbours.of(table[:, :-1], table[:, -1])


@functools.lru_cache(maxsize=64)  # several rules ask for the same
def predict_retained(situation: Situation, target: int, host_cpus: int) -> Retained:
    """What is retained when GOMAXPROCS goes down to ``target``, below its value and at least 1.

    The calibrated machine has two CPUs. There a target of 1 also prevents a program from running on
    several CPUs at once, and a target of 2 does not. On a larger host any target below its CPUs
    does so in part: the truth is between the two.
    """
    if target == 1:
        return _predict(situation, target, "one")
    several = _predict(situation, target, "several")
    if host_cpus <= calibrated.CPUS:
        return several
    one = _predict(situation, target, "one")
    # From 12 to 8 is less of a change than from 64 to 8.
    size = min(1.0, math.log2(situation.value / target))
    low = min(one.middle - one.below, several.middle - several.below) * size
    high = max(one.middle + one.above, several.middle + several.above) * size
    middle = (one.middle + several.middle) / 2 * size
    return Retained(middle, middle - low, max(high, several.above) - middle)


def _predict(situation: Situation, target: int, way: str) -> Retained:
    retained, neighbours = _calibration(way)
    shares = situation.shares
    rest, deviation = neighbours.predict(features(situation, target)[None, :])
    middle = float(plain(shares, retained) + rest[0])
    own = calibrated.RANGE[way] * float(reach(np.array(middle), deviation[0]))
    # Of a multinomial: how the sum would scatter if the same window were sampled again.
    variance = max(0.0, float(retained**2 @ shares - (retained @ shares) ** 2))
    scatter = math.sqrt(variance * CLUMPING / sum(situation.category_samples))
    whole = math.hypot(own, 1.645 * scatter / max(0.03, float(retained @ shares)))
    return Retained(middle, whole, whole)


def predict_saving(
    report: ContainerReport, target: int, host_cpus: int, duration_s: float
) -> Saving | None:
    """The CPU that GOMAXPROCS = ``target`` would have saved in this window of ``duration_s``.

    None if GOMAXPROCS or the CPU time is unknown, if there are fewer than MIN_SAMPLES samples, or
    if ``target`` is above GOMAXPROCS: the runs measure what fewer Ps save, not what more Ps cost.
    """
    gomaxprocs = report.main_process.gomaxprocs
    if gomaxprocs is None or gomaxprocs.value is None or report.cpu_ns is None:
        return None
    value = gomaxprocs.value
    if report.samples < MIN_SAMPLES or duration_s <= 0 or not 1 <= target <= value:
        return None
    if value == target:
        return Saving(0.0, 0.0, 0.0)
    cores = report.cpu_ns / 1e9 / duration_s
    limit = report.limit.limit_cores
    cpus = gomaxprocs.recommended
    if cpus is None or all(each is Binding.QUOTA for each in gomaxprocs.bound_by):
        cpus = host_cpus
    room = max(LEAST_ROOM, min(value, host_cpus, cpus, math.inf if limit is None else limit))
    situation = Situation(tuple(report.category_samples.tolist()), value, cores / room)
    kept = predict_retained(situation, target, host_cpus)
    low, mid, high = (cores * (1 - part) for part in (kept.high, kept.mid, kept.low))
    is_saturated = cores >= SATURATED * room
    if is_saturated:
        # More work may be waiting: then it does more work and uses as much CPU as before.
        low = min(low, 0.0)
    load = _Load(value, cores, mid, room, min(host_cpus, cpus), is_saturated)
    way = "one" if target == 1 else "several"
    cautions = _cautions(report, target, load)
    return Saving(low, mid, high, _sources(situation, way, mid, cores), cautions)


def _sources(situation: Situation, way: str, mid: float, cores: float) -> tuple[SavingSource, ...]:
    """Where ``mid`` comes from: a term that costs more counts as it is, and those that lose time
    share the rest in these proportions."""
    retained, _ = _calibration(way)
    lost = (1 - retained) * situation.shares
    gains = float(np.maximum(lost, 0.0).sum())
    if gains <= 0 or mid <= 0:
        return (SavingSource(TERMS["user"][0], mid),)
    # Not by the net sum: where a cost nearly balances the gains, that is a factor without bounds.
    saved = mid - cores * float(np.minimum(lost, 0.0).sum())
    found = [
        SavingSource(name, part / gains * saved if part > 0 else part * cores)
        for (name, _), part in zip(TERMS.values(), lost.tolist(), strict=True)
        if part
    ]
    return tuple(sorted(found, key=lambda source: -source.cores))


@dataclass(frozen=True, slots=True)
class _Load:
    value: int  # GOMAXPROCS
    cores: float
    saved: float
    room: float  # cores it may use now, with its limit
    cpus: int  # on which it may run
    is_saturated: bool


def _cautions(report: ContainerReport, target: int, load: _Load) -> tuple[str, ...]:
    """Sentences: where the change could hurt, and how to check."""
    found = []
    after = load.cores - load.saved
    if load.is_saturated:
        found.append(
            f"It uses all of the {load.room:g} CPU available to it: if work is waiting, it will do"
            " more work instead of using less CPU. Compare throughput, not CPU."
        )
    if after >= HEADROOM * target:
        found.append(
            f"Little headroom: {after:.2f} of {target} CPUs would be in use. Watch latency at peak"
            " load and /sched/latencies:seconds of runtime/metrics."
        )
    elif _is_bursty(report):
        found.append(
            "Its load comes in bursts: a burst that now runs on many CPUs will take longer on"
            f" {target}. Watch the 99th percentile of latency."
        )
    if target == 1 and report.group_share(Group.GC) >= GC_NOTABLE:
        caution = (
            "With GOMAXPROCS=1 the garbage collector can delay all other work for up to 10 ms at a"
            " time."
        )
        if load.cpus >= 2:
            caution += " If tail latency matters, use GOMAXPROCS=2."
        found.append(caution)
    if load.value <= 2 * target:
        found.append("GOMAXPROCS is already close to what fits: measure before and after.")
    return tuple(found)


def _is_bursty(report: ContainerReport) -> bool:
    """Some parts of the window were far busier than the mean."""
    blocks = report.drain_samples
    if len(blocks) < BLOCKS_MIN or sum(blocks) < MIN_SAMPLES:
        return False
    mean = sum(blocks) / len(blocks)
    return max(blocks) > BURST * mean + 3 * math.sqrt(mean)
