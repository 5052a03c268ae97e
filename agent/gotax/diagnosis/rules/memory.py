"""GOMEMLIMIT and GOGC do not fit the live heap or the memory limit of the container."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from gotax.category import Group
from gotax.diagnosis.context import Context
from gotax.diagnosis.heap import (
    HEADROOM,
    HELD,
    MIB,
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
from gotax.process import NO_MEMORY_LIMIT, Memory

CROWDED = 0.8
"""Above this part of a memory limit, live data leaves too little for the collector."""
NEAR = 0.9
"""From this part of its limit on, a container is near it."""
SPARE = 1.1
"""What a remedy allows beyond the goal that is wanted. What is allocated during a mark counts as
live, so the live heap differs from cycle to cycle: by a fifth in tests/programs/marking."""
_STEP = 16 * MIB
_AUTOMEMLIMIT = "github.com/KimMachineGun/automemlimit"


def held(context: Context) -> Finding | None:
    """GT016: the memory limit is near the live heap, and the collector works for it."""
    heap = heap_of(context)
    if heap is None or not heap.is_tight or not context.report.samples:
        return None
    assert heap.limit is not None
    plan = _plan(context, heap.at_highest)
    kept = heap.kept(heap.goal_by_limit(plan.limit))
    saving = predict_gc_saving(context, kept)
    samples = context.group_samples(Group.GC)
    thresholds = context.thresholds
    if saving is None or saving.mid < thresholds.saving_cores * ease(context):
        return None
    if not context.share_reaches(samples * (1 - kept), thresholds.saving_share):
        return None
    share = samples / context.report.samples
    after = share * kept / (1 - share * (1 - kept))
    evidence = [
        Evidence(
            f"the memory limit (GOMEMLIMIT) is {mib(heap.limit)}: {_live(heap)} of the heap are"
            f" live, {mib(heap.other)} are other memory of Go",
            heap.limit,
            "bytes",
        ),
        Evidence(f"{_room(heap)}; {_by_gogc(heap)}", heap.goal, "bytes"),
        context.share_evidence("the GC takes", samples),
        *_rate(context),
        _saving_evidence(context, saving, plan.setting),
    ]
    return Finding(
        code=codes.HELD,
        title="The memory limit is near the live heap, and the garbage collector runs for it",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH if heap.per_cycle and heap.is_steady else Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=Remedy(
            f"{plan.text} Or keep less data in memory. Another GOGC has no effect here."
            f" {_about_automemlimit(context)}Check afterwards: the GC should take about"
            f" {after:.0%} of its CPU instead of {share:.0%}.",
            plan.patch,
            other_patches=plan.others,
            setting=str(plan.setting),
        ),
        saving=saving,
    )


def no_limit(context: Context) -> Finding | None:
    """GT017: no GOMEMLIMIT, and the container is near its memory limit or was killed at it."""
    heap, memory = heap_of(context), context.report.memory
    if heap is None or heap.limit is not None or memory is None:
        return None
    own = memory.own_limit_bytes
    if own is None:
        return None
    kills, used = memory.oom_kills, memory.working_set_bytes
    most = heap.goal_by_percent(heap.gogc) + heap.other
    is_near = used is not None and used >= NEAR * own * ease(context)
    if not kills and not is_near:
        return None
    if most < own // 2:
        return None  # it is not the heap that fills the container
    evidence = [
        Evidence("there is no memory limit (GOMEMLIMIT), and " + _by_gogc(heap)),
        Evidence(
            f"the container's memory limit is {mib(own)}, "
            + ("its use could not be read" if used is None else f"in use are {mib(used)}"),
            used,
            "bytes",
        ),
        Evidence(
            f"{_live(heap)} of the heap are live, {mib(heap.other)} are other memory of Go",
            heap.live,
            "bytes",
        ),
    ]
    if kills:
        where = "pod" if context.report.container.pod_uid else "container"
        evidence.append(
            Evidence(
                f"the kernel has killed {kills} processes of its {where} for memory", kills, "count"
            )
        )
    plan = _plan_of_container(context, heap, own)
    return Finding(
        code=codes.NO_MEMORY_LIMIT,
        title="There is no GOMEMLIMIT, and the heap may outgrow the container's memory",
        severity=Severity.WARNING if kills and most > own else Severity.INFO,
        confidence=Confidence.HIGH if most > own else Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=Remedy(
            f"{plan.text} Near this limit the collector runs more often instead of letting the heap"
            " grow, which costs CPU. It does not help against memory of C code or files. Check"
            " afterwards: the container should stay below its limit, without this finding.",
            plan.patch,
        ),
    )


def unfit(context: Context) -> Finding | None:
    """GT018: GOMEMLIMIT is above the container's memory limit, or older than it."""
    heap, memory = heap_of(context), context.report.memory
    state = context.report.main_process.runtime
    limit = state.memory_limit_bytes if state is not None else None
    if memory is None or memory.limit_bytes is None or limit is None or limit == NO_MEMORY_LIMIT:
        return None
    own, before = memory.own_limit_bytes, context.earlier_memory
    is_above = limit > memory.limit_bytes
    is_stale = own is not None and before is not None and limit <= before < own
    if not is_above and not is_stale:
        return None
    evidence = [
        Evidence(f"the memory limit (GOMEMLIMIT) is {mib(limit)}", limit, "bytes"),
        Evidence(_about_limit(memory), memory.limit_bytes, "bytes"),
    ]
    if before is not None and own is not None:
        evidence.append(
            Evidence(f"the container's memory limit was {mib(before)} before", before, "bytes")
        )
    if is_above:
        title = "GOMEMLIMIT is above the memory limit of the container, so it has no effect"
        why = "The kernel kills the process before its garbage collector knows of a limit."
    else:
        title = "GOMEMLIMIT did not follow the memory limit of the container"
        why = "Its garbage collector does not use the memory that was added."
    patch = ""
    text = " Set GOMEMLIMIT to 90 % of the memory that the program may use."
    if own is not None and heap is not None:
        plan = _plan_of_container(context, heap, own)
        text, patch = f" {plan.text}", plan.patch
    elif own is not None:
        setting = Setting("GOMEMLIMIT", _in_mib(own * USABLE))
        text = f" Set {setting}: 90 % of the container's memory limit."
        patch = setting_patch(context.report.container, setting)
    return Finding(
        code=codes.UNFIT_MEMORY_LIMIT,
        title=title,
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=tuple(evidence),
        remedy=Remedy(f"{why}{text} {_about_automemlimit(context)}".rstrip(), patch),
    )


def no_collector(context: Context) -> Finding | None:
    """GT019: GOGC is off, and there is no memory limit."""
    state = context.report.main_process.runtime
    if state is None or state.gogc is None or state.gogc >= 0:
        return None
    if state.memory_limit_bytes != NO_MEMORY_LIMIT:
        return None
    memory = context.report.memory or Memory()
    own = memory.own_limit_bytes
    evidence = [Evidence("GOGC is off, and there is no memory limit (GOMEMLIMIT)")]
    if memory.usage_bytes is not None:
        evidence.append(
            Evidence(f"its cgroup uses {mib(memory.usage_bytes)}", memory.usage_bytes, "bytes")
        )
    setting = Setting("GOGC", "100")
    text = "Nothing frees its memory unless the program calls runtime.GC. Set GOGC=100, the default"
    if own is not None:
        evidence.append(Evidence(f"the container's memory limit is {mib(own)}", own, "bytes"))
        setting = Setting("GOMEMLIMIT", _in_mib(own * USABLE))
        text += f", or keep GOGC off and set {setting}: 90 % of the container's memory limit"
    return Finding(
        code=codes.NO_COLLECTOR,
        title="Garbage is never collected: GOGC is off, and there is no memory limit",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=tuple(evidence),
        remedy=Remedy(
            f"{text}. A program that ends before it runs out of memory may be right as it is.",
            setting_patch(context.report.container, setting),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    limit: int
    setting: Setting
    text: str
    patch: str
    others: tuple[str, ...] = ()


def _plan(context: Context, heap: Heap) -> _Plan:
    """A memory limit with enough room for the collector, within the container's if that helps."""
    memory = context.report.memory or Memory()
    needed = _needed(heap)
    usable = None if memory.limit_bytes is None else int(memory.limit_bytes * USABLE)
    if usable is None or needed <= usable:
        plan = _set(context, needed, _of_container(needed, memory.own_limit_bytes))
        if context.report.memory is None:
            unread = "The container's own memory limit could not be read: it has to allow this."
            plan = replace(plan, text=f"{plan.text} {unread}")
        return plan
    if memory.own_limit_bytes is None:
        return _set(context, usable // MIB * MIB, f"90 % of the limit of {memory.limit_cgroup}")
    within = _set(context, usable // MIB * MIB, "90 % of the container's memory limit")
    if _ends(context, heap, usable):
        return within
    raised = _raise(context, heap, needed)
    gain = 1 - heap.kept(heap.goal_by_limit(usable))
    if gain < (1 - heap.kept(heap.wanted)) / 2:
        return raised
    text = f"{raised.text} Or, to stay within it, set {within.setting}: that saves less."
    return replace(raised, text=text, others=(within.patch,))


def _ends(context: Context, heap: Heap, limit: int) -> bool:
    """With this memory limit there is no such finding any more: it is not tight, or the collections
    that remain cost little."""
    goal = heap.goal_by_limit(limit)
    if goal >= HELD * SPARE * heap.wanted:
        return True
    kept = heap.kept(goal)
    share = context.group_samples(Group.GC) / context.report.samples
    after = share * kept / (1 - share * (1 - kept))
    left = (goal - heap.live) / (heap.wanted - heap.live)
    return after * (1 - left) < context.thresholds.saving_share


def _plan_of_container(context: Context, heap: Heap, own: int) -> _Plan:
    """As much of the container's memory as Go may use, or more if live data fills that."""
    usable = int(own * USABLE) // MIB * MIB
    heap = heap.at_highest
    if heap.live + heap.other <= CROWDED * usable:
        return _set(context, usable, "90 % of the container's memory limit")
    return _raise(context, heap, _needed(heap))


def _needed(heap: Heap) -> int:
    """For live data, as much garbage as GOGC allows, and other memory; in whole MiB."""
    return math.ceil((heap.wanted * SPARE / HEADROOM + heap.other) / MIB) * MIB


def _of_container(limit: int, own: int | None) -> str:
    text = "room for the live heap, for garbage, and for other memory of Go"
    return text if own is None else f"{text}; {limit / own:.0%} of the container's memory limit"


def _set(context: Context, limit: int, why: str) -> _Plan:
    setting = Setting("GOMEMLIMIT", _in_mib(limit))
    text = f"Set {setting}: {why}.{_no_downward(context)}"
    return _Plan(limit, setting, text, setting_patch(context.report.container, setting))


def _raise(context: Context, heap: Heap, needed: int) -> _Plan:
    whole = math.ceil(needed / USABLE / _STEP) * _STEP
    setting = Setting("GOMEMLIMIT", _in_mib(needed), f"{whole // MIB}Mi")
    text = (
        f"The live heap of {mib(heap.live)} needs more memory: raise the memory limit of the"
        f" container to {mib(whole)}, and set {setting}. Within the present limit the collector"
        f" would run all the time.{_no_downward(context)}"
    )
    return _Plan(needed, setting, text, setting_patch(context.report.container, setting))


def _no_downward(context: Context) -> str:
    if context.report.container.pod_uid is None or context.report.container.nested:
        return ""
    return (
        " The value has to be a number: limits.memory of the downward API would give the whole"
        " limit, and leave nothing for memory that Go does not count."
    )


def _in_mib(size: float) -> str:
    return f"{max(1, int(size) // MIB)}MiB"


def _live(heap: Heap) -> str:
    lowest, highest = heap.seen or (heap.live, heap.live)
    if heap.is_steady:
        return mib(heap.live)
    return f"{mib(heap.live)} ({mib(lowest)} to {mib(highest)} at other moments)"


def _room(heap: Heap) -> str:
    if heap.goal <= heap.live:
        return "this leaves no room for garbage, so the collector runs all the time"
    return f"so the heap may grow to {mib(heap.goal)}"


def _by_gogc(heap: Heap) -> str:
    if heap.gogc < 0:
        return "GOGC is off"
    return f"GOGC={heap.gogc} alone lets it grow to {mib(heap.goal_by_percent(heap.gogc))}"


def _about_limit(memory: Memory) -> str:
    assert memory.limit_bytes is not None
    return f"the kernel's limit is {mib(memory.limit_bytes)} (cgroup {memory.limit_cgroup})"


def _about_automemlimit(context: Context) -> str:
    build = context.report.main_process.build
    if build is None or build.dependency(_AUTOMEMLIMIT) is None:
        return ""
    return (
        "It links automemlimit, which sets the limit by the container's at the start, if the"
        " variable GOMEMLIMIT is not set. "
    )


def _rate(context: Context) -> list[Evidence]:
    found = context.report.collections
    if found is None or not found.cycles:
        return []
    text = f"{found.cycles} GC cycles in {context.duration_s:.0f} s"
    if found.allocated_bytes:
        text += f", after {mib(found.allocated_bytes / found.cycles)} of allocations each"
    return [Evidence(text, found.cycles, "count", None, context.duration_s)]


def _saving_evidence(context: Context, saving: Saving, setting: Setting) -> Evidence:
    assert context.cores is not None
    text = (
        f"{setting} is predicted to save {saving.mid:.2f} cores,"
        f" {saving.mid / context.cores:.0%} of its CPU, at the same work"
        f" ({saving.low:.2f} to {saving.high:.2f})"
    )
    return Evidence(text, saving.mid, "cores", (saving.low, saving.high), context.duration_s)
