"""The Go runtime uses much of the CPU, and GOMAXPROCS is not the reason."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from gotax.category import Category, Group
from gotax.diagnosis.context import Context, Cost
from gotax.diagnosis.heap import (
    USABLE,
    Heap,
    heap_of,
    mib,
    predict_gc_saving,
)
from gotax.diagnosis.patches import Setting, setting_patch
from gotax.diagnosis.rules import codes
from gotax.diagnosis.rules.evidence import ease
from gotax.findings import Confidence, Evidence, Finding, Remedy, Saving, Severity
from gotax.process import NO_MEMORY_LIMIT, Memory, RuntimeState


def _is_settled(context: Context) -> bool:
    """GOMAXPROCS is not the reason: it fits, or costs little.

    A finding made earlier (``lenient``) stays until the cost is proven.
    """
    if context.gomaxprocs is None or context.report.limit.problem:
        return False
    if not context.is_mismatch:
        return True
    cost = replace(context, lenient=False).cost(context.recommended or 1)[0]
    return cost is not Cost.PROVEN if context.lenient else cost is Cost.LITTLE


def gc_heavy(context: Context) -> Finding | None:
    """GT009: garbage collection uses much of the CPU, and GOMAXPROCS fits."""
    samples = context.group_samples(Group.GC) - context.samples(Category.GC_MARK_IDLE)
    if not _is_settled(context):
        return None
    heap = heap_of(context)
    higher = [] if heap is None else percent_options(context, heap)
    options = [option for option in higher if option.fits]
    is_heavy = context.share_reaches(samples, context.thresholds.gc_share)
    if not is_heavy and not any(_is_worth_it(context, option) for option in options):
        return None
    state = context.report.main_process.runtime
    best = options[-1] if options else None
    text = _about_gogc(state)
    if heap is not None and options:
        text = f" {_table(context, heap, options)}"
    elif higher:
        text = " There is no memory left for a higher GOGC: more memory would make it possible."
    return Finding(
        code=codes.GC_HEAVY,
        title="Garbage collection uses much of the CPU; GOMAXPROCS is not the reason",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            context.share_evidence("the GC without idle marking takes", samples),
            context.share_evidence("allocation takes", context.samples(Category.ALLOC)),
            Evidence(f"GC settings: {collector_settings(state)}"),
            *([] if heap is None else [_heap_evidence(heap)]),
        ),
        remedy=Remedy(
            "Allocate less." + text,
            "" if best is None else setting_patch(context.report.container, best.setting),
            setting="" if best is None else str(best.setting),
        ),
        saving=None if best is None else best.saving,
    )


@dataclass(frozen=True, slots=True)
class PercentOption:
    """A higher GOGC: what it would save, and the bytes by which the heap would grow.

    ``fits``: there is memory for it.
    """

    gogc: int
    bytes: int
    fits: bool
    kept: float
    saving: Saving

    @property
    def setting(self) -> Setting:
        return Setting("GOGC", str(self.gogc))


def percent_options(context: Context, heap: Heap) -> list[PercentOption]:
    """Twice and four times the present GOGC, as far as that saves CPU time.

    None at a memory limit, where GOGC has no effect.
    """
    if heap.is_held:
        return []
    found, free = [], _free_bytes(context, heap)
    for factor in (2, 4):
        gogc = heap.gogc * factor
        goal = heap.goal_by_percent(gogc)
        kept = heap.kept(goal)
        saving = predict_gc_saving(context, kept)
        if saving is not None and saving.mid > 0:
            more = goal - heap.goal
            found.append(PercentOption(gogc, more, more <= free, kept, saving))
    return found


def _free_bytes(context: Context, heap: Heap) -> float:
    """By how much the heap may grow."""
    memory, free = context.report.memory, math.inf
    if memory is not None and memory.limit_bytes is not None:
        # If the kernel's number is missing, the memory of Go alone is a lower bound of it.
        used = memory.working_set_bytes or memory.usage_bytes or heap.goal + heap.other
        free = memory.limit_bytes * USABLE - used
    if heap.limit is not None:
        free = min(free, heap.limit - heap.other - heap.goal)
    return free


def _is_worth_it(context: Context, option: PercentOption) -> bool:
    """It saves as much as makes a GOMAXPROCS costly, with memory that the container has anyway."""
    thresholds = context.thresholds
    return (
        _has_memory_limit(context)
        and option.saving.low >= thresholds.saving_cores * ease(context)
        and context.share_reaches(
            context.group_samples(Group.GC) * (1 - option.kept), thresholds.saving_share
        )
    )


def _has_memory_limit(context: Context) -> bool:
    """The container itself: what is within it belongs to this program."""
    memory = context.report.memory
    return memory is not None and memory.own_limit_bytes is not None


def _table(context: Context, heap: Heap, options: list[PercentOption]) -> str:
    rows = "; ".join(
        f"GOGC={each.gogc}: {each.saving.mid:.2f} cores less ({each.saving.low:.2f} to"
        f" {each.saving.high:.2f}) for {mib(each.bytes)} more"
        for each in options
    )
    text = f"Or collect less often, {_room_for_it(context.report.memory)}. {rows}."
    if _has_memory_limit(context) and heap.limit is None:
        text += " Set GOMEMLIMIT to 90 % of the container's memory limit, too, against peaks."
    return text


def _room_for_it(memory: Memory | None) -> str:
    if memory is None:
        return "if there is memory for it (the memory limit could not be read)"
    if memory.limit_bytes is None:
        return "if the host has the memory for it"
    if memory.own_limit_bytes is None:
        return f"within the memory limit of {memory.limit_cgroup}"
    return "within the container's memory limit"


def _heap_evidence(heap: Heap) -> Evidence:
    text = f"{mib(heap.live)} of the heap are live, and it may grow to {mib(heap.goal)}"
    return Evidence(text, heap.live, "bytes")


def collector_settings(state: RuntimeState | None) -> str:
    if state is None or state.gogc is None:
        return "GOGC and GOMEMLIMIT could not be read from the process"
    gogc = "off" if state.gogc < 0 else str(state.gogc)
    memory = state.memory_limit_bytes
    if memory is None:
        return f"GOGC is {gogc}; the memory limit is unknown"
    if memory == NO_MEMORY_LIMIT:
        return f"GOGC is {gogc}, and there is no memory limit (GOMEMLIMIT)"
    return f"GOGC is {gogc}, and the memory limit (GOMEMLIMIT) is {memory / (1 << 20):,.0f} MiB"


def _about_gogc(state: RuntimeState | None) -> str:
    """Advice for these settings: near a memory limit GOGC has no effect."""
    if state is None or state.gogc is None:
        return (
            " gotax could not read whether GOGC or a memory limit (GOMEMLIMIT) causes the"
            " collections: check both before you change one."
        )
    memory = state.memory_limit_bytes
    if memory is not None and memory != NO_MEMORY_LIMIT:
        return (
            " The memory limit may cause the collections: near the limit the collector runs all"
            " the time, whatever the value of GOGC. Raise the limit as far as the memory of the"
            " container allows, or keep less data in memory."
        )
    if state.gogc < 0:
        if memory is None:
            return ""
        return (
            " GOGC is off and there is no memory limit, so the program itself starts the"
            " collections: look for calls of runtime.GC and debug.FreeOSMemory."
        )
    twice = max(1, state.gogc) * 2
    grown, now = 1 + twice / 100, 1 + state.gogc / 100
    unless = "" if memory is not None else ", if no memory limit (GOMEMLIMIT) causes them,"
    return (
        f" Or{unless} make collections rarer: GOGC={twice} instead of {state.gogc} about halves"
        f" the marking, and the heap grows to {grown:g} times the live data instead of {now:g}. If"
        " the container has a memory limit, set GOMEMLIMIT to 90 % of it to prevent an"
        " out-of-memory kill."
    )


def allocation_heavy(context: Context) -> Finding | None:
    """GT010: memory allocation uses much of the CPU."""
    samples = context.samples(Category.ALLOC, Category.GC_ASSIST, Category.GC_SWEEP)
    if not context.share_reaches(samples, context.thresholds.allocation_share):
        return None
    return Finding(
        code=codes.ALLOCATION_HEAVY,
        title="Memory allocation uses much of the CPU",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(context.share_evidence("allocation, assists and sweeping take", samples),),
        remedy=Remedy(
            "Reuse buffers (sync.Pool, or append to a slice that you keep), create slices and maps"
            " with their final size, and keep values on the stack. `gotax explain` lists the"
            " functions. `go tool pprof -alloc_space` finds the lines."
        ),
    )


def coordination(context: Context) -> Finding | None:
    """GT011: locks, channels and switching use much CPU; another GOMAXPROCS would not help."""
    channels, locks = context.samples(Category.CHAN), context.samples(Category.LOCKS)
    scheduler = context.group_samples(Group.SCHEDULER)
    samples = channels + locks + scheduler
    if not _is_settled(context):
        return None
    if not context.share_reaches(samples, context.thresholds.coordination_share):
        return None
    kind = "locks" if locks > channels else "channels"
    title = f"Goroutines spend much CPU on waiting for each other ({kind})"
    if channels + locks < context.thresholds.coordination_told * samples:
        title = "Waking and switching goroutines uses much of the CPU"
    return Finding(
        code=codes.COORDINATION,
        title=f"{title}; GOMAXPROCS is not the reason",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(
            context.share_evidence("scheduler, channels and locks take", samples),
            context.share_evidence("channels alone take", channels),
            context.share_evidence("locks alone take", locks),
        ),
        remedy=Remedy(
            "Do more work per wake-up: send batches instead of single items over channels, use"
            " buffered channels, shorten or shard critical sections, use fewer timers, and use"
            " fewer goroutines with larger tasks."
        ),
    )
