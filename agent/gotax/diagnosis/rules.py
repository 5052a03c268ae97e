"""The findings, one function each; docs/findings.md explains them one by one.

A rule takes a Case and returns its Finding or None. Rules do not know of one another, but for
what they share in Case: whether GOMAXPROCS is above what fits, and what that costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gotax.diagnosis.case import Case, Cost, whole
from gotax.diagnosis.causes import SENTENCES, find_cause
from gotax.diagnosis.patches import (
    gomaxprocs_patch,
    kubernetes_patch,
    systemd_patch,
)
from gotax.model import (
    RUNTIME_GROUPS,
    Category,
    Cause,
    Confidence,
    Evidence,
    Finding,
    Group,
    Origin,
    Remedy,
    Saving,
    Severity,
)

COSTLY = "GT001"
HARMLESS = "GT002"
UNLIMITED = "GT003"
BELOW_LIMIT = "GT004"
TWO_BY_DESIGN = "GT005"
FRACTIONAL = "GT006"
BURSTS = "GT007"
LIMIT_TOO_LOW = "GT008"
GC_HEAVY = "GT009"
ALLOCATION_HEAVY = "GT010"
COORDINATION = "GT011"
SEVERAL_PROCESSES = "GT012"
CGO_HEAVY = "GT013"
TOO_FEW_SAMPLES = "GT014"
UNREADABLE = "GT015"


@dataclass(frozen=True, slots=True)
class Rule:
    code: str
    find: Callable[[Case], Finding | None]


def find_all(case: Case) -> tuple[Finding, ...]:
    """Everything there is to say of one container, in the order of the codes."""
    found = {rule.code: rule.find(case) for rule in RULES}
    weaker = {code for told in found if found[told] for code in EXCLUDES.get(told, ())}
    return tuple(f for code, f in found.items() if f is not None and code not in weaker)


# GOMAXPROCS above what fits


def _costly(case: Case) -> Finding | None:
    """GT001: above what fits, and the profile shows what it costs."""
    return _mismatch(case, Cost.PROVEN)


def _harmless(case: Case) -> Finding | None:
    """GT002: above what fits, and it costs little."""
    return _mismatch(case, Cost.LITTLE)


def _too_few_samples(case: Case) -> Finding | None:
    """GT014: above what fits, and nothing is proven of its cost."""
    return _mismatch(case, Cost.UNDECIDED)


def _mismatch(case: Case, wanted: Cost) -> Finding | None:
    if not case.is_mismatch or case.fits is None:
        return None
    cause = find_cause(case)
    target = _target(case, cause)
    cost, saving = case.cost(target)
    if cost is not wanted:
        return None
    above = "CPU limit" if case.report.limit.limit_cores is not None else "number of CPUs"
    evidence = [_value_evidence(case), Evidence(f"the cause: {SENTENCES[cause]}")]
    if case.report.hits:
        hits = case.group_hits(*RUNTIME_GROUPS)
        evidence.append(case.share_evidence("scheduler and GC take", hits))
    if saving is not None:
        evidence.append(_saving_evidence(case, saving, target))
    if case.throttled[0]:
        evidence.append(case.throttled_evidence())
    if cost is Cost.UNDECIDED:
        return Finding(
            code=TOO_FEW_SAMPLES,
            title=f"GOMAXPROCS is above the {above}; too few samples to tell what it costs",
            severity=Severity.INFO,
            confidence=Confidence.LOW,
            evidence=(*evidence, _power_evidence(case)),
            remedy=Remedy(
                "Measure for longer, at a higher frequency (--hz), or while there is load."
            ),
            cause=cause,
        )
    patch = gomaxprocs_patch(case.report.container, case.report.limit, target, cause)
    if cost is Cost.LITTLE:
        return Finding(
            code=HARMLESS,
            title=f"GOMAXPROCS is above the {above}, at little cost under this load",
            severity=Severity.INFO,
            confidence=Confidence.HIGH if saving is not None else Confidence.MEDIUM,
            evidence=tuple(evidence),
            remedy=Remedy(
                "Nothing has to be done now. " + _advice(case, cause, target), patch, target
            ),
            saving=saving,
            cause=cause,
        )
    is_sure = saving is not None and saving.low > 0
    return Finding(
        code=COSTLY,
        title=f"GOMAXPROCS is above the {above}, and the runtime pays for it",
        severity=Severity.WARNING,
        confidence=Confidence.HIGH if is_sure else Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=Remedy(_advice(case, cause, target) + _cautions(saving), patch, target),
        saving=saving,
        cause=cause,
    )


def _target(case: Case, cause: Cause) -> int:
    """What the remedy leads to: Go's own reading of a limit gives at least 2, a variable what
    fits."""
    assert case.fits is not None
    return max(2, case.fits) if cause is Cause.GO_MOD else case.fits


_ADVICE = {
    Cause.OLD_GO: "Set GOMAXPROCS to {n} in the environment, or build with Go 1.25 or newer and"
    " `go 1.25.0` in go.mod: it reads the limit itself, and gives at least 2.",
    Cause.GO_MOD: "Write `go 1.25.0` or later in go.mod and build again: GOMAXPROCS will follow the"
    " limit, {n} here. Without a new build GODEBUG=containermaxprocs=1,updatemaxprocs=1 in the"
    " environment does the same.",
    Cause.GODEBUG: "Take containermaxprocs=0 out of GODEBUG or the //go:debug line, or set"
    " GOMAXPROCS to {n} in the environment.",
    Cause.ENVIRONMENT: "Set the variable GOMAXPROCS to {n}; in Kubernetes best from the limit, so"
    " that both change together.",
    Cause.CALL: "Take the call of runtime.GOMAXPROCS out of the program, or have it set {n}. No"
    " variable can help: the call comes later and wins.",
    Cause.AUTOMAXPROCS: "Set GOMAXPROCS to {n} in the environment; automaxprocs respects it. From"
    " Go 1.25 on the runtime follows the limit without it.",
    Cause.ANCESTOR: "Set GOMAXPROCS to {n} in the environment, or put the limit on the container"
    " itself; a newer Go or automaxprocs would not see it where it is.",
    Cause.RESIZE: "Set GOMAXPROCS to {n} and restart. Without a variable or a call Go 1.25 and"
    " newer follow a resize by themselves; else let the resize restart the container (resizePolicy"
    " RestartContainer).",
    Cause.HIDDEN: "Set GOMAXPROCS to {n} in the environment, or build with Go 1.26 or newer, which"
    " finds its cgroup in more layouts.",
    Cause.UNKNOWN: "Set GOMAXPROCS to {n} in the environment.",
}


def _advice(case: Case, cause: Cause, target: int) -> str:
    text = _ADVICE[cause].format(n=target)
    limit = case.report.limit.limit_cores
    if limit is not None and limit % 1 and limit > 1:
        text += (
            f" {target} is the limit of {limit:g} rounded up, as the downward API and Go round;"
            f" {math.floor(limit)}, as automaxprocs rounds, leaves {limit % 1:g} of a CPU unused"
            " by Go code but is throttled less."
        )
    return text


def _cautions(saving: Saving | None) -> str:
    return "".join(f" {caution}" for caution in saving.cautions) if saving is not None else ""


_ORIGINS = {
    Origin.ENVIRONMENT: "set by the GOMAXPROCS environment variable",
    Origin.AUTOMAXPROCS: "set by automaxprocs",
    Origin.CALL: "set by a call of runtime.GOMAXPROCS",
    Origin.CONTAINER: "Go's own reading of the cgroup limit",
    Origin.CPU_COUNT: "the number of CPUs, Go's default",
    Origin.FIXED: "what Go before 1.5 starts with",
    Origin.UNKNOWN: "of unknown origin",
}


def _value_evidence(case: Case) -> Evidence:
    found, limit = case.gomaxprocs, case.report.limit
    assert found is not None
    if limit.limit_cores is not None:
        room = f"a limit of {limit.limit_cores:g} CPU (cgroup {limit.limit_cgroup}) fits"
    else:
        room = "there is no limit, and the CPUs it may use are"
    text = f"GOMAXPROCS is {found.value}, {_ORIGINS[found.origin]}; {room} {found.recommended}"
    return Evidence(text, found.value, "count")


def _saving_evidence(case: Case, saving: Saving, target: int) -> Evidence:
    cores = case.cores or 0.0
    share = f", {saving.mid / cores:.0%} of its CPU" if cores > 0 else ""
    text = (
        f"GOMAXPROCS={target} is predicted to save {saving.mid:.2f} cores{share}"
        f" ({saving.low:.2f} to {saving.high:.2f})"
    )
    return Evidence(text, saving.mid, "cores", (saving.low, saving.high), case.duration_s)


def _power_evidence(case: Case) -> Evidence:
    hits, needed = case.report.hits, case.thresholds.min_hits
    text = f"{hits} hits in {case.duration_s:.0f} s; a verdict takes at least {needed}"
    if hits >= needed:
        text = f"{hits} hits in {case.duration_s:.0f} s leave open whether it costs more than that"
    return Evidence(text, float(hits), "count", None, case.duration_s)


def _unlimited(case: Case) -> Finding | None:
    """GT003: no limit on a large node, all its CPUs, and far less in use and in request."""
    found, thresholds = case.gomaxprocs, case.thresholds
    if found is None or found.value is None or case.report.limit.limit_cores is not None:
        return None
    if case.is_mismatch or (found.recommended or 0) < thresholds.large_node_cpus:
        return None
    request = case.request_cores
    used = thresholds.headroom * case.highest_cores
    target = max(thresholds.unlimited_least, math.ceil(used), math.ceil(request or 0))
    if found.value < 2 * target:
        return None
    cost, saving = case.cost(target)
    if cost is not Cost.PROVEN:
        return None
    container = case.report.container
    text = (
        f"Set GOMAXPROCS={target}, {thresholds.headroom:g} times what it used at most"
        + (f" and no less than its request of {request:g} CPU" if request else "")
        + ", or give it a CPU limit that Go can follow. Look at its highest load first: with"
        f" GOMAXPROCS={target} it can never use more than {target} CPUs."
    )
    if container.nested:
        patch = f"GOMAXPROCS={target}\n"
    elif container.pod_uid is not None:
        is_set = found.origin is Origin.ENVIRONMENT
        patch = kubernetes_patch(target, is_set, container.pod)
    elif container.unit is not None:
        patch = systemd_patch(container.unit, target)
    else:
        patch = f"GOMAXPROCS={target}\n"
    evidence = [_value_evidence(case), case.cores_evidence()]
    if request is not None:
        evidence.append(Evidence(f"its CPU request is {request:.2f} cores", request, "cores"))
    evidence.append(case.share_evidence("scheduler and GC take", case.group_hits(*RUNTIME_GROUPS)))
    if saving is not None:
        evidence.append(_saving_evidence(case, saving, target))
    return Finding(
        code=UNLIMITED,
        title="There is no CPU limit, GOMAXPROCS is all CPUs of the node, and the runtime pays",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=Remedy(text + _cautions(saving), patch, target),
        saving=saving,
    )


# GOMAXPROCS and the limit, otherwise


def _below_limit(case: Case) -> Finding | None:
    """GT004: GOMAXPROCS leaves a whole core of the limit unused, and is used up."""
    limit, value, fits = case.report.limit.limit_cores, case.value, case.fits
    if limit is None or value is None or fits is None or case.cores is None:
        return None
    if min(limit, fits) - value < 1:
        return None
    if case.highest_cores < case.thresholds.saturation * value * _ease(case):
        return None
    cause = Cause.CALL if _is_call(case) else Cause.ENVIRONMENT
    return Finding(
        code=BELOW_LIMIT,
        title="GOMAXPROCS is below the CPU limit and used up: throughput is left on the table",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(_value_evidence(case), case.cores_evidence()),
        remedy=Remedy(
            f"If it cannot keep up with its work, GOMAXPROCS={fits} lets it use the whole limit. If"
            " it can, leave it: fewer Ps cost less CPU.",
            gomaxprocs_patch(case.report.container, case.report.limit, fits, cause),
            fits,
        ),
    )


def _is_call(case: Case) -> bool:
    return case.gomaxprocs is not None and case.gomaxprocs.origin is Origin.CALL


def _ease(case: Case) -> float:
    """How much of a threshold keeps a finding that was made."""
    return case.thresholds.release if case.lenient else 1.0


def _two_by_design(case: Case) -> Finding | None:
    """GT005: 2 where 1 would fit, as Go >= 1.25 has it by itself."""
    found, limit = case.gomaxprocs, case.report.limit.limit_cores
    if found is None or found.value != 2 or case.fits != 1 or limit is None or limit > 1:
        return None
    evidence = [_value_evidence(case)]
    saving = case.saving(1)
    if saving is not None:
        evidence.append(_saving_evidence(case, saving, 1))
    is_set = found.origin is Origin.ENVIRONMENT
    cause = Cause.CALL if _is_call(case) else Cause.ENVIRONMENT if is_set else Cause.UNKNOWN
    return Finding(
        code=TWO_BY_DESIGN,
        title=f"GOMAXPROCS is 2 at a limit of {limit:g} CPU, by design of Go 1.25 and newer",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=tuple(evidence),
        remedy=Remedy(
            "Nothing has to be done: Go 1.25 and newer never go below 2 by themselves, so that"
            " the collector and the program can run side by side (runtime/cgroup_linux.go)."
            " GOMAXPROCS=1 in the environment saves CPU where latency matters less."
            + _cautions(saving),
            gomaxprocs_patch(case.report.container, case.report.limit, 1, cause),
            1,
        ),
        saving=saving,
    )


def _fractional(case: Case) -> Finding | None:
    """GT006: the limit is no whole number, and how it was rounded shows."""
    limit, value = case.report.limit.limit_cores, case.value
    if limit is None or value is None or limit <= 1 or not limit % 1 or whole(limit) != case.fits:
        return None
    floor, ceiling = math.floor(limit), math.ceil(limit)
    is_full = (case.cores or 0.0) >= case.thresholds.saturation * limit
    used_up = case.highest_cores >= case.thresholds.saturation * floor * _ease(case)
    if value == ceiling and case.is_throttled and not is_full:
        shows = case.throttled_evidence()
    elif value == floor and used_up:
        shows = case.cores_evidence()
    else:
        return None
    return Finding(
        code=FRACTIONAL,
        title=f"The CPU limit of {limit:g} is no whole number: {ceiling} Ps are throttled in"
        f" bursts, {floor} leave a part unused",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(_value_evidence(case), shows),
        remedy=Remedy(
            f"Rounded up, {ceiling} (Go 1.25 and newer, the downward API): the whole limit can be"
            f" used, but when {ceiling} threads run at once the quota of a period ends before the"
            f" period. Rounded down, {floor} (automaxprocs): Go code is never throttled, and"
            f" {limit % 1:g} of a CPU is left to the collector's and system calls' threads or to"
            " nobody. A whole number as the limit ends the choice."
        ),
    )


def _bursts(case: Case) -> Finding | None:
    """GT007: throttled while its use is below the limit, with more Ps than fit."""
    if not case.is_mismatch or not case.is_throttled or case.fits is None:
        return None
    if _demand_is_above_limit(case):
        return None
    cause = find_cause(case)
    target = _target(case, cause)
    return Finding(
        code=BURSTS,
        title="Throttled because more threads run at once than the limit allows",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        evidence=(_value_evidence(case), case.throttled_evidence(), case.cores_evidence()),
        remedy=Remedy(
            "Its use is below the limit, but many Ps spend the quota of a period in its"
            " beginning, and then all of its threads stand still for the rest. "
            + _advice(case, cause, target)
            + _one_is_throttled_too(case),
            gomaxprocs_patch(case.report.container, case.report.limit, target, cause),
            target,
        ),
        cause=cause,
    )


def _one_is_throttled_too(case: Case) -> str:
    limit = case.report.limit.limit_cores
    if limit is None or limit >= 1:
        return ""
    return (
        f" With a limit of {limit:g} CPU even one P spends a quota before its period ends when it"
        " has more to do at once: the throttling gets less, and ends with a whole CPU for each P."
    )


def _limit_too_low(case: Case) -> Finding | None:
    """GT008: throttled, and GOMAXPROCS is not why."""
    limit = case.report.limit.limit_cores
    if limit is None or not case.is_throttled or case.value is None:
        return None
    if case.is_mismatch and not _demand_is_above_limit(case):
        return None
    if _fractional(case) is not None:
        return None
    return Finding(
        code=LIMIT_TOO_LOW,
        title="Throttled because the CPU limit is too low for the work, not by GOMAXPROCS",
        severity=Severity.INFO,
        confidence=Confidence.HIGH if _demand_is_above_limit(case) else Confidence.MEDIUM,
        evidence=(_value_evidence(case), case.throttled_evidence(), case.cores_evidence()),
        remedy=Remedy(
            f"Raise the limit of {limit:g} CPU, or give it less to do: another GOMAXPROCS would not"
            " end the throttling."
        ),
    )


def _demand_is_above_limit(case: Case) -> bool:
    """It would use up the limit with a GOMAXPROCS that fits, too."""
    limit, cores = case.report.limit.limit_cores, case.cores
    if limit is None or cores is None:
        return False
    throttled, periods = case.throttled
    if periods:  # whoever is throttled in a period has used up its quota
        cores = max(cores, limit * min(1.0, throttled / periods))
    saved = 0.0
    if case.is_mismatch and case.fits is not None:
        saving = case.saving(case.fits)
        saved = max(0.0, saving.mid) if saving is not None else 0.0
    return cores - saved >= case.thresholds.saturation * limit


# What GOMAXPROCS does not cure


def _is_settled(case: Case) -> bool:
    """GOMAXPROCS is not to blame: it fits, or what is above costs little."""
    if case.gomaxprocs is None:
        return False
    return not case.is_mismatch or case.cost(case.fits or 1)[0] is Cost.LITTLE


def _gc_heavy(case: Case) -> Finding | None:
    """GT009: much of the CPU goes into garbage collection, and GOMAXPROCS fits."""
    hits = case.group_hits(Group.GC) - case.hits(Category.GC_MARK_IDLE)
    if not _is_settled(case) or not case.share_reaches(hits, case.thresholds.gc_share):
        return None
    return Finding(
        code=GC_HEAVY,
        title="Garbage collection takes much of its CPU; GOMAXPROCS is not why",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            case.share_evidence("the GC without idle marking takes", hits),
            case.share_evidence("allocation takes", case.hits(Category.ALLOC)),
        ),
        remedy=Remedy(
            "Allocate less, or collect less often: twice the GOGC (GOGC=200) about halves the"
            " marking and lets the heap grow to three times what lives instead of two. With a"
            " memory limit, GOMEMLIMIT at nine tenths of it keeps that growth from ending in an"
            " out-of-memory kill."
        ),
    )


def _allocation_heavy(case: Case) -> Finding | None:
    """GT010: much of the CPU goes into getting memory."""
    hits = case.hits(Category.ALLOC, Category.GC_ASSIST, Category.GC_SWEEP)
    if not case.share_reaches(hits, case.thresholds.allocation_share):
        return None
    return Finding(
        code=ALLOCATION_HEAVY,
        title="Allocation takes much of its CPU",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(case.share_evidence("allocation, assists and sweeping take", hits),),
        remedy=Remedy(
            "Reuse buffers (sync.Pool, append to a kept slice), make slices and maps of the size"
            " they will have, keep values on the stack. `gotax explain` lists the functions; `go"
            " tool pprof -alloc_space` finds the lines."
        ),
    )


def _coordination(case: Case) -> Finding | None:
    """GT011: locks, channels and switching take much, and another GOMAXPROCS will not cure it."""
    channels, locks = case.hits(Category.CHAN), case.hits(Category.LOCKS)
    scheduler = case.group_hits(Group.SCHEDULER)
    hits = channels + locks + scheduler
    if not _is_settled(case):
        return None
    if not case.share_reaches(hits, case.thresholds.coordination_share):
        return None
    kind = "locks" if locks > channels else "channels"
    return Finding(
        code=COORDINATION,
        title=f"Goroutines spend much CPU on waiting for one another ({kind}); GOMAXPROCS is not"
        " why",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(
            case.share_evidence("scheduler, channels and locks take", hits),
            case.share_evidence("channels alone take", channels),
            case.share_evidence("locks alone take", locks),
        ),
        remedy=Remedy(
            "Hand over more at a time: batches instead of single items over channels, buffered"
            " channels, shorter or sharded critical sections, fewer goroutines that each do a"
            " larger piece."
        ),
    )


def _several_processes(case: Case) -> Finding | None:
    """GT012: Go processes that share one limit, each with Ps for all of it."""
    report, limit = case.report, case.report.limit.limit_cores
    if limit is None or case.fits is None:
        return None
    hits = report.process_hits or (0,) * len(report.processes)
    busy = [
        process
        for process, own in zip(report.processes, hits, strict=True)
        if own >= report.hits / 20 and own and process.gomaxprocs and process.gomaxprocs.value
    ]
    total = sum(p.gomaxprocs.value or 0 for p in busy if p.gomaxprocs)
    thresholds = case.thresholds
    if len(busy) < 2 or total < max(case.fits * thresholds.mismatch_ratio, case.fits + 2):
        return None
    values = ", ".join(
        f"{p.command} {p.gomaxprocs.value}" for p in busy[:8] if p.gomaxprocs is not None
    )
    return Finding(
        code=SEVERAL_PROCESSES,
        title=f"{len(busy)} Go processes share one CPU limit, each with Ps of its own",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            Evidence(
                f"GOMAXPROCS of the busy ones: {values}; together {total} at a limit of"
                f" {limit:g} CPU",
                total,
                "count",
            ),
        ),
        remedy=Remedy(
            "Divide the limit: GOMAXPROCS in each one's environment, by what it needs, so that the"
            " sum is about the limit. Or run them in containers of their own."
        ),
    )


def _cgo_heavy(case: Case) -> Finding | None:
    """GT013: much of the CPU is C code, whose threads GOMAXPROCS does not count."""
    hits = case.hits(Category.CGO)
    if not case.share_reaches(hits, case.thresholds.cgo_share):
        return None
    if not any(process.build and process.build.cgo for process in case.report.processes):
        return Finding(
            code=CGO_HEAVY,
            title="Much of its CPU is code of files that are not Go, though it was built without"
            " cgo",
            severity=Severity.INFO,
            confidence=Confidence.LOW,
            evidence=(
                case.share_evidence("code that is not Go's takes", hits),
                Evidence("no cgo in its build"),
            ),
            remedy=Remedy(
                "`gotax explain` names the functions. If they are those of a library that the"
                " program loads by itself (such as purego does), bound the calls at once in the"
                " program: GOMAXPROCS bounds them only in part."
            ),
        )
    return Finding(
        code=CGO_HEAVY,
        title="Much of its CPU is C code, which GOMAXPROCS bounds only in part",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(case.share_evidence("C code takes", hits),),
        remedy=Remedy(
            "A call into C that lasts gives its P to another thread, so more threads than"
            " GOMAXPROCS can run. Bound the calls at once in the program (a semaphore as wide as"
            " the limit) and the C library's own threads (such as OMP_NUM_THREADS)."
        ),
    )


def _unreadable(case: Case) -> Finding | None:
    """GT015: nothing is known of its GOMAXPROCS."""
    if case.gomaxprocs is not None:
        return None
    found = case.report.main_process.gomaxprocs
    reason = (found.reason if found else "") or "not read"
    return Finding(
        code=UNREADABLE,
        title="GOMAXPROCS could not be read from the process",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(Evidence(f"reason: {reason}"),),
        remedy=Remedy(
            "gotax needs CAP_SYS_PTRACE (or to be root), and a binary for amd64 or arm64 made by"
            " Go's own compiler; docs/gomaxprocs.md lists the reasons."
        ),
    )


RULES = (
    Rule(COSTLY, _costly),
    Rule(HARMLESS, _harmless),
    Rule(UNLIMITED, _unlimited),
    Rule(BELOW_LIMIT, _below_limit),
    Rule(TWO_BY_DESIGN, _two_by_design),
    Rule(FRACTIONAL, _fractional),
    Rule(BURSTS, _bursts),
    Rule(LIMIT_TOO_LOW, _limit_too_low),
    Rule(GC_HEAVY, _gc_heavy),
    Rule(ALLOCATION_HEAVY, _allocation_heavy),
    Rule(COORDINATION, _coordination),
    Rule(SEVERAL_PROCESSES, _several_processes),
    Rule(CGO_HEAVY, _cgo_heavy),
    Rule(TOO_FEW_SAMPLES, _too_few_samples),
    Rule(UNREADABLE, _unreadable),
)
CODES = tuple(rule.code for rule in RULES)
EXCLUDES = {
    COSTLY: (HARMLESS, TOO_FEW_SAMPLES, GC_HEAVY, COORDINATION),
    HARMLESS: (TOO_FEW_SAMPLES,),
    UNLIMITED: (GC_HEAVY, COORDINATION),
    FRACTIONAL: (LIMIT_TOO_LOW,),
    BURSTS: (LIMIT_TOO_LOW,),
}
"""What is not told while the first holds, though it may be true as well."""
