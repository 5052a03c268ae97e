"""What another GOMAXPROCS would save or cost: a prediction from the profile of one window.

The model is one line. The part of the CPU time that stays is ``exp(-sum(slope * share))`` over the
terms below, with other slopes for going down to one P, for going down to several, and for going up.
A slope above 1 says that a term costs more than its own samples show: a thread that is woken on
another CPU finds cold caches there, and the code that it runs is slower for it.

docs/saving.md derives the model; its numbers, in calibrated.py, come from measured runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.diagnosis import calibrated
from gotax.model import Category, ContainerReport, Group, Saving, SavingSource

MIN_HITS = 50
"""Below that a profile says nothing about shares."""

CLUMPING = 2.0
"""Variance of a share over that of independent hits: hits come in runs, a collection at a time."""

TERMS: dict[str, tuple[str, tuple[Category, ...]]] = {
    "find": ("idle Ps that look for work", (Category.SCHED_FIND_WORK,)),
    "wake": ("waking threads", (Category.SCHED_WAKE,)),
    "park": ("putting threads to sleep", (Category.SCHED_PARK,)),
    "poll": ("polling the network and timers", (Category.NETPOLL, Category.TIMERS)),
    "switch": (
        "switching goroutines",
        (Category.SCHED_SWITCH, Category.SCHED_PREEMPT, Category.SCHED_SYSMON),
    ),
    "mark": (
        "GC workers on idle and dedicated Ps",
        (
            *(Category.GC_MARK_DEDICATED, Category.GC_MARK_FRACTIONAL, Category.GC_MARK_IDLE),
            *(Category.GC_MARK_BACKGROUND, Category.GC_ASSIST, Category.GC_WRITE_BARRIER),
        ),
    ),
    "sweep": (
        "sweeping and coordinating the GC over all Ps",
        (Category.GC_SWEEP, Category.GC_SCAVENGE, Category.GC_STW, Category.GC_FINALIZERS),
    ),
    "alloc": (
        "allocation caches of many Ps",
        (Category.ALLOC, Category.STACK_GROWTH, Category.RUNTIME_OTHER),
    ),
    "chan": ("channels and locks", (Category.CHAN, Category.LOCKS)),
    "syscall": ("system calls", (Category.SYSCALL,)),
    "user": ("user code", (Category.USER, Category.CGO, Category.NATIVE, Category.UNKNOWN)),
}
"""Every category is in one term, so the shares of the terms add up to 1."""

SIDE_EFFECTS = "cold caches and contention in all other code"
SATURATED = 0.93
"""Share of what a container may use from which its use says nothing about its demand."""
ELSEWHERE = 1.5
"""How much wider the range is on a host with more CPUs than the model was calibrated on."""
HEADROOM = 0.7
"""Share of what the new GOMAXPROCS allows, from which queues are felt."""
GC_NOTABLE = 0.05
BURST, BLOCKS_MIN = 2.0, 4
"""A load comes in bursts if the busiest of at least so many blocks is that much above the mean."""

_GROUPED = np.zeros((len(TERMS), len(Category)))
for _row, (_, _members) in enumerate(TERMS.values()):
    _GROUPED[_row, list(_members)] = 1.0


@dataclass(frozen=True, slots=True)
class Kept:
    """The part of the CPU time that stays, as logarithms: the middle and how far it may be off."""

    middle: float
    reach: float

    @property
    def low(self) -> float:
        return math.exp(self.middle - self.reach)

    @property
    def mid(self) -> float:
        return math.exp(self.middle)

    @property
    def high(self) -> float:
        return math.exp(self.middle + self.reach)


def term_shares(category_hits: Sequence[int]) -> npt.NDArray[np.float64]:
    """The shares of the terms, in their order. At least one hit."""
    hits = np.asarray(category_hits, np.float64)
    shares: npt.NDArray[np.float64] = _GROUPED @ hits / hits.sum()
    return shares


def direction(value: int, target: int) -> str:
    """Which slopes hold: ``one``, ``several`` or ``up``; ``same`` when nothing changes."""
    if value == target:
        return "same"
    if value < target:
        return "up"
    return "one" if target == 1 else "several"


def strength(value: int, target: int) -> float:
    """How much of its slope a term has: from 4 to 3 is less of a change than from 4 to 2."""
    return min(1.0, math.log2(max(value, target) / min(value, target)))


def predict_kept(category_hits: Sequence[int], value: int, target: int) -> Kept:
    """What stays when GOMAXPROCS goes from ``value`` to ``target``, on a machine as calibrated."""
    way = direction(value, target)
    if way == "same":
        return Kept(0.0, calibrated.UNCHANGED)
    shares = term_shares(category_hits)
    scale = strength(value, target) if way == "several" else 1.0
    slopes = scale * np.array([calibrated.SLOPES[way][name] for name in TERMS])
    middle = -float(slopes @ shares)
    floor, factor = calibrated.SPREAD[way]
    own = floor + factor * abs(middle)
    # Of a multinomial: how the sum would scatter if the same window were sampled again.
    variance = float(slopes**2 @ shares - (slopes @ shares) ** 2)
    scatter = 1.645 * math.sqrt(max(0.0, variance) * CLUMPING / sum(category_hits))
    return Kept(middle, math.hypot(own, scatter))


def predict_saving(
    report: ContainerReport, target: int, host_cpus: int, duration_s: float
) -> Saving | None:
    """What GOMAXPROCS = ``target`` would save of the CPU that this window of ``duration_s`` saw.

    None: GOMAXPROCS or the CPU time is not known, or there are fewer than MIN_HITS samples. With
    nothing to change, ``mid`` is 0 and the range is what two windows of one program differ by.
    """
    gomaxprocs = report.main_process.gomaxprocs
    if gomaxprocs is None or gomaxprocs.value is None or report.cpu_ns is None:
        return None
    if report.hits < MIN_HITS or duration_s <= 0 or target < 1:
        return None
    value, hits = gomaxprocs.value, [int(n) for n in report.category_hits]
    cores = report.cpu_ns / 1e9 / duration_s
    kept = predict_kept(hits, value, target)
    if host_cpus > calibrated.CPUS and value != target:
        kept = Kept(kept.middle, kept.reach * ELSEWHERE)
    low, mid, high = (cores * (1 - part) for part in (kept.high, kept.mid, kept.low))
    room = min(value, host_cpus, report.limit.limit_cores or math.inf)
    is_saturated = value != target and cores >= SATURATED * room
    if is_saturated:
        # More work may be waiting: then it goes on using what it may, and does more of it.
        low = min(low, 0.0)
    load = _Load(cores, mid, room, is_saturated)
    return Saving(
        low, mid, high, _sources(hits, value, target, mid), _cautions(report, target, load)
    )


def _sources(hits: list[int], value: int, target: int, mid: float) -> tuple[SavingSource, ...]:
    """Where ``mid`` comes from. A term cannot give more than its own time; what its slope says
    beyond that comes off all other code, which runs better without it."""
    way = direction(value, target)
    if way == "same" or mid == 0:
        return ()
    parts: dict[str, float] = {}
    for (key, (name, _)), share in zip(TERMS.items(), term_shares(hits).tolist(), strict=True):
        slope = calibrated.SLOPES[way][key]
        own = "user" if key == "user" else name
        direct = 0.0 if own == "user" else min(slope, 1.0) * share
        parts[name] = parts.get(name, 0.0) + direct
        parts[SIDE_EFFECTS] = parts.get(SIDE_EFFECTS, 0.0) + slope * share - direct
    total = sum(parts.values())
    if total == 0:
        return ()
    found = [SavingSource(name, part / total * mid) for name, part in parts.items() if part]
    return tuple(sorted(found, key=lambda source: -abs(source.cores)))


@dataclass(frozen=True, slots=True)
class _Load:
    cores: float
    saved: float
    room: float  # what it may use now
    is_saturated: bool


def _cautions(report: ContainerReport, target: int, load: _Load) -> tuple[str, ...]:
    """Where the change could hurt, and how to check; sentences."""
    gomaxprocs = report.main_process.gomaxprocs
    if gomaxprocs is None or gomaxprocs.value is None or gomaxprocs.value <= target:
        return ()
    found = []
    after = load.cores - load.saved
    if load.is_saturated:
        found.append(
            f"It uses all of the {load.room:g} CPUs it may: if work is waiting, it will do more of"
            " it rather than use less CPU. Compare throughput, not CPU."
        )
    if after >= HEADROOM * target:
        found.append(
            f"Little headroom: {after:.2f} of {target} CPUs would be in use. Watch latency at peak"
            " load, and /sched/latencies:seconds of runtime/metrics."
        )
    elif _is_bursty(report):
        found.append(
            "Its load comes in bursts: those that ran on many CPUs at once will take longer on"
            f" {target}. Watch the 99th percentile of latency."
        )
    if target == 1 and report.group_share(Group.GC) >= GC_NOTABLE:
        found.append(
            "With one P the garbage collector's turns hold up everything else for up to 10 ms at a"
            " time. GOMAXPROCS=2 is the careful choice where tail latency matters."
        )
    if gomaxprocs.value <= 2 * target:
        found.append("GOMAXPROCS is near what fits already: measure before and after.")
    return tuple(found)


def _is_bursty(report: ContainerReport) -> bool:
    """Some stretches of the window were far busier than its mean."""
    blocks = report.drain_hits
    if len(blocks) < BLOCKS_MIN or sum(blocks) < MIN_HITS:
        return False
    mean = sum(blocks) / len(blocks)
    return max(blocks) > BURST * mean + 3 * math.sqrt(mean)
