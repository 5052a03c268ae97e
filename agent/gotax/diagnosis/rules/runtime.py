"""The Go runtime uses much of the CPU, and GOMAXPROCS is not the reason."""

from __future__ import annotations

from dataclasses import replace

from gotax.category import Category, Group
from gotax.diagnosis.context import Context, Cost
from gotax.diagnosis.rules import codes
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity
from gotax.process import RuntimeState


def _is_settled(context: Context) -> bool:
    """GOMAXPROCS is not the reason: it fits, or costs little.

    A finding made earlier (``lenient``) stays until the cost is proven.
    """
    if context.gomaxprocs is None:
        return False
    if not context.is_mismatch:
        return True
    cost = replace(context, lenient=False).cost(context.recommended or 1)[0]
    return cost is not Cost.PROVEN if context.lenient else cost is Cost.LITTLE


def gc_heavy(context: Context) -> Finding | None:
    """GT009: garbage collection uses much of the CPU, and GOMAXPROCS fits."""
    samples = context.group_samples(Group.GC) - context.samples(Category.GC_MARK_IDLE)
    if not _is_settled(context) or not context.share_reaches(samples, context.thresholds.gc_share):
        return None
    return Finding(
        code=codes.GC_HEAVY,
        title="Garbage collection uses much of the CPU; GOMAXPROCS is not the reason",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            context.share_evidence("the GC without idle marking takes", samples),
            context.share_evidence("allocation takes", context.samples(Category.ALLOC)),
            Evidence(f"GC settings: {collector_settings(context.report.main_process.runtime)}"),
        ),
        remedy=Remedy("Allocate less." + _about_gogc(context.report.main_process.runtime)),
    )


NO_MEMORY_LIMIT = (1 << 63) - 1
"""The value of debug.SetMemoryLimit for no limit."""


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
