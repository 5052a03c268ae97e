"""The Go runtime takes much of the CPU, and GOMAXPROCS is not why."""

from __future__ import annotations

from dataclasses import replace

from gotax.diagnosis.context import Context, Cost
from gotax.diagnosis.rules import codes
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity
from gotax.process import RuntimeState
from gotax.profile import Category, Group


def _is_settled(context: Context) -> bool:
    """GOMAXPROCS is not to blame: it fits, or what is above costs little.

    For what was found before: nothing has proven that it is to blame since.
    """
    if context.gomaxprocs is None:
        return False
    if not context.is_mismatch:
        return True
    cost = replace(context, lenient=False).cost(context.recommended or 1)[0]
    return cost is not Cost.PROVEN if context.lenient else cost is Cost.LITTLE


def gc_heavy(context: Context) -> Finding | None:
    """GT009: much of the CPU goes into garbage collection, and GOMAXPROCS fits."""
    hits = context.group_hits(Group.GC) - context.hits(Category.GC_MARK_IDLE)
    if not _is_settled(context) or not context.share_reaches(hits, context.thresholds.gc_share):
        return None
    return Finding(
        code=codes.GC_HEAVY,
        title="Garbage collection takes much of its CPU; GOMAXPROCS is not why",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            context.share_evidence("the GC without idle marking takes", hits),
            context.share_evidence("allocation takes", context.hits(Category.ALLOC)),
            Evidence(f"what starts it: {collector_settings(context.report.main_process.runtime)}"),
        ),
        remedy=Remedy("Allocate less." + _about_gogc(context.report.main_process.runtime)),
    )


NO_MEMORY_LIMIT = (1 << 63) - 1
"""What debug.SetMemoryLimit has where there is none."""


def collector_settings(state: RuntimeState | None) -> str:
    if state is None or state.gogc is None:
        return "GOGC and GOMEMLIMIT could not be read from the process"
    gogc = "off" if state.gogc < 0 else str(state.gogc)
    memory = state.memory_limit_bytes
    if memory is None:
        return f"GOGC is {gogc}; its memory limit is not known"
    if memory == NO_MEMORY_LIMIT:
        return f"GOGC is {gogc}, and there is no memory limit (GOMEMLIMIT)"
    return f"GOGC is {gogc}, and the memory limit (GOMEMLIMIT) is {memory / (1 << 20):,.0f} MiB"


def _about_gogc(state: RuntimeState | None) -> str:
    """Only what these settings leave to say: GOGC decides nothing where a memory limit does."""
    if state is None or state.gogc is None:
        return (
            " Whether GOGC or a memory limit (GOMEMLIMIT) makes it collect so often could not be"
            " read: look at both before you change one."
        )
    memory = state.memory_limit_bytes
    if memory is not None and memory != NO_MEMORY_LIMIT:
        return (
            " The memory limit may be what makes it collect so often: near the limit the collector"
            " runs without end, whatever GOGC says. Raise the limit as far as the container's"
            " memory allows, or keep less alive."
        )
    if state.gogc < 0:
        if memory is None:
            return ""
        return (
            " GOGC is off and there is no memory limit, so calls start it: look for runtime.GC and"
            " debug.FreeOSMemory."
        )
    twice = max(1, state.gogc) * 2
    grown, now = 1 + twice / 100, 1 + state.gogc / 100
    unless = "" if memory is not None else ", if no memory limit (GOMEMLIMIT) starts it,"
    return (
        f" Or{unless} collect less often: GOGC={twice} instead of {state.gogc} about halves the"
        f" marking and lets the heap grow to {grown:g} times what lives instead of {now:g}. Where"
        " the container's memory is limited, GOMEMLIMIT at nine tenths of that limit keeps the"
        " growth from ending in an out-of-memory kill."
    )


def allocation_heavy(context: Context) -> Finding | None:
    """GT010: much of the CPU goes into getting memory."""
    hits = context.hits(Category.ALLOC, Category.GC_ASSIST, Category.GC_SWEEP)
    if not context.share_reaches(hits, context.thresholds.allocation_share):
        return None
    return Finding(
        code=codes.ALLOCATION_HEAVY,
        title="Allocation takes much of its CPU",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(context.share_evidence("allocation, assists and sweeping take", hits),),
        remedy=Remedy(
            "Reuse buffers (sync.Pool, append to a kept slice), make slices and maps of the size"
            " they will have, keep values on the stack. `gotax explain` lists the functions; `go"
            " tool pprof -alloc_space` finds the lines."
        ),
    )


def coordination(context: Context) -> Finding | None:
    """GT011: locks, channels and switching take much, and another GOMAXPROCS will not cure it."""
    channels, locks = context.hits(Category.CHAN), context.hits(Category.LOCKS)
    scheduler = context.group_hits(Group.SCHEDULER)
    hits = channels + locks + scheduler
    if not _is_settled(context):
        return None
    if not context.share_reaches(hits, context.thresholds.coordination_share):
        return None
    kind = "locks" if locks > channels else "channels"
    title = f"Goroutines spend much CPU on waiting for one another ({kind})"
    if channels + locks < context.thresholds.coordination_told * hits:
        title = "Waking and switching goroutines takes much of its CPU"  # whatever they wait for
    return Finding(
        code=codes.COORDINATION,
        title=f"{title}; GOMAXPROCS is not why",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(
            context.share_evidence("scheduler, channels and locks take", hits),
            context.share_evidence("channels alone take", channels),
            context.share_evidence("locks alone take", locks),
        ),
        remedy=Remedy(
            "Do more for each wake-up: batches instead of single items over channels, buffered"
            " channels, shorter or sharded critical sections, fewer timers, fewer goroutines that"
            " each do a larger piece."
        ),
    )
