"""The findings, one function each; docs/findings.md explains them one by one.

A rule takes a Case and returns its Finding or None. Rules do not know of one another, but for
what they share in Case: whether GOMAXPROCS is above what fits, and what that costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from gotax.diagnosis.advice import advise, set_variable, target_of
from gotax.diagnosis.bounds import long_bound, short_bound
from gotax.diagnosis.case import Case, Cost, whole
from gotax.diagnosis.causes import cause_sentence, find_cause
from gotax.findings import Confidence, Evidence, Finding, Remedy, Saving, Severity
from gotax.process import Automaxprocs, Binding, Gomaxprocs, Origin, RuntimeState
from gotax.profile import RUNTIME_GROUPS, Category, Group

COSTLY = "GT001"
HARMLESS = "GT002"
UNLIMITED = "GT003"
BELOW_LIMIT = "GT004"
TWO_FOR_ONE = "GT005"
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
    found = {finding.code: finding for finding in find_each(case)}
    weaker = {code for told in found for code in EXCLUDES.get(told, ())}
    return tuple(finding for code, finding in found.items() if code not in weaker)


def find_each(case: Case) -> tuple[Finding, ...]:
    """The same, with what others exclude."""
    findings = (rule.find(case) for rule in RULES)
    return tuple(finding for finding in findings if finding is not None)


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
    target = target_of(case, cause)
    cost, saving = case.cost(target)
    if cost is not wanted:
        return None
    above = short_bound(case)
    evidence = [_value_evidence(case), Evidence(f"the cause: {cause_sentence(case, cause)}")]
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
    remedy = advise(case, cause)
    if cost is Cost.LITTLE:
        text = f"For its CPU alone nothing has to be done. {remedy.text}"
        return Finding(
            code=HARMLESS,
            title=f"GOMAXPROCS is above the {above}, at little cost under this load",
            severity=Severity.INFO,
            confidence=Confidence.HIGH if saving is not None else Confidence.MEDIUM,
            evidence=tuple(evidence),
            remedy=replace(remedy, text=text),
            saving=saving,
            cause=cause,
        )
    is_sure = saving is not None and saving.low > 0
    pays = "and the runtime pays for it"
    if _may_lose(saving):
        pays = "and whether less saves CPU is not sure"
    return Finding(
        code=COSTLY,
        title=f"GOMAXPROCS is above the {above}, {pays}",
        severity=_severity(saving),
        confidence=Confidence.HIGH if is_sure else Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=replace(remedy, text=remedy.text + _cautions(saving)),
        saving=saving,
        cause=cause,
    )


def _may_lose(saving: Saving | None) -> bool:
    """The range of the saving holds a loss."""
    return saving is not None and saving.low < 0


def _severity(saving: Saving | None) -> Severity:
    return Severity.INFO if _may_lose(saving) else Severity.WARNING


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
    found = case.gomaxprocs
    assert found is not None
    text = f"GOMAXPROCS is {found.value}, {_origin(case)}; {long_bound(case)}"
    return Evidence(text, found.value, "count")


def _origin(case: Case) -> str:
    found = case.gomaxprocs
    assert found is not None
    if found.origin is Origin.AUTOMAXPROCS and found.automaxprocs is Automaxprocs.FORK:
        return "set by a fork of automaxprocs"
    return _ORIGINS[found.origin]


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
    patch = set_variable(case, target)
    text = (
        f"Set GOMAXPROCS={target}, {thresholds.headroom:g} times what it used at most"
        + (f" and no less than its request of {request:g} CPU" if request else "")
        + (", or give it a CPU limit, which this program follows" if _follows(found) else "")
        + _may_be_called(case, ". A call in the program may win over the variable: look again")
        + ". Look at its highest load first: with"
        f" GOMAXPROCS={target} it can never use more than {target} CPUs."
        + (f" {patch.note}" if patch.note else "")
    )
    evidence = [_value_evidence(case), case.cores_evidence()]
    if request is not None:
        evidence.append(Evidence(f"its CPU request is {request:.2f} cores", request, "cores"))
    evidence.append(case.share_evidence("scheduler and GC take", case.group_hits(*RUNTIME_GROUPS)))
    if saving is not None:
        evidence.append(_saving_evidence(case, saving, target))
    is_all = found.value >= (found.recommended or 0)
    what = "all CPUs it may use" if is_all else "far more than it uses"
    pays = "whether less saves CPU is not sure" if _may_lose(saving) else "the runtime pays"
    return Finding(
        code=UNLIMITED,
        title=f"There is no CPU limit, GOMAXPROCS is {what}, and {pays}",
        severity=_severity(saving),
        confidence=Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=Remedy(text + _cautions(saving), patch.text, target),
        saving=saving,
    )


def _follows(found: Gomaxprocs) -> bool:
    """A process started like this one takes a CPU limit into account."""
    if found.variable is not None:
        return False
    if found.origin in (Origin.ENVIRONMENT, Origin.CALL, Origin.UNKNOWN):
        return False
    if found.automaxprocs is Automaxprocs.KNOWN:
        return not found.variable_is_set
    return found.automaxprocs is Automaxprocs.NONE and found.ignored is None


def _may_be_called(case: Case, text: str) -> str:
    """``text`` where a call in the program has set the value, and the variable may not help."""
    found = case.gomaxprocs
    return text if found is not None and found.origin is Origin.CALL else ""


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
    patch = set_variable(case, fits)
    all_of_it = "the whole limit" if Binding.QUOTA in case.bound_by else "all CPUs it may use"
    text = (
        f"If it cannot keep up with its work, GOMAXPROCS={fits} lets it use {all_of_it}. If"
        " it can, leave it: fewer Ps cost less CPU."
    )
    text += _may_be_called(case, " A call in the program may win over the variable: look again.")
    return Finding(
        code=BELOW_LIMIT,
        title="GOMAXPROCS is below the CPU limit and used up: throughput is left on the table",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(_value_evidence(case), case.cores_evidence()),
        remedy=Remedy(f"{text} {patch.note}".rstrip(), patch.text, fits),
    )


def _ease(case: Case) -> float:
    """How much of a threshold keeps a finding that was made."""
    return case.thresholds.release if case.lenient else 1.0


def _two_for_one(case: Case) -> Finding | None:
    """GT005: 2 where 1 would fit."""
    found, limit = case.gomaxprocs, case.report.limit.limit_cores
    if found is None or found.value != 2 or case.fits != 1 or limit is None or limit > 1:
        return None
    if Binding.QUOTA not in case.bound_by:
        return None
    evidence = [_value_evidence(case)]
    saving = case.saving(1)
    if saving is not None:
        evidence.append(_saving_evidence(case, saving, 1))
    patch = set_variable(case, 1)
    is_by_design = _is_two_by_design(case, found)
    why = "by design of Go 1.25 and newer" if is_by_design else _origin(case)
    if is_by_design:
        text = (
            "Nothing has to be done: Go 1.25 and newer never go below 2 by themselves, so that"
            " the collector and the program can run side by side (runtime/cgroup_linux.go)."
        )
    else:
        text = (
            "Nothing has to be done: 2 is also what Go 1.25 and newer give to such a limit, so that"
            " the collector and the program can run side by side."
        )
        if found.origin is Origin.CPU_COUNT:
            text += (
                " But it does not come from the limit: where the process may run on more CPUs,"
                " GOMAXPROCS is as many."
            )
    if found.origin is Origin.CALL and found.variable is not None:
        text += " With 1 in the call of runtime.GOMAXPROCS it uses less CPU"
        patch = replace(patch, text="", note="")
    else:
        text += " GOMAXPROCS=1 in the environment saves CPU"
    text += " where latency matters less."
    text += _may_be_called(case, " A call in the program may win over the variable: look again.")
    return Finding(
        code=TWO_FOR_ONE,
        title=f"GOMAXPROCS is 2 at a limit of {limit:g} CPU, {why}",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=tuple(evidence),
        remedy=Remedy(
            " ".join(part for part in (text, patch.note) if part) + _cautions(saving), patch.text, 1
        ),
        saving=saving,
    )


def _is_two_by_design(case: Case, found: Gomaxprocs) -> bool:
    """Go's own reading of the limit gives it; with two CPUs their number is the same."""
    if found.origin is Origin.CONTAINER:
        return True
    follows = found.ignored is None and found.expected == 2
    return follows and found.origin is Origin.CPU_COUNT and case.bound_by == (Binding.QUOTA,)


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
            f" period. Rounded down, {floor} (automaxprocs): Go code alone is not throttled, and"
            f" {limit % 1:g} of a CPU is left for threads in system calls and in C code. A whole"
            " number as the limit ends the choice."
        ),
    )


def _bursts(case: Case) -> Finding | None:
    """GT007: throttled while its use is below the limit, with more Ps than fit."""
    if not case.is_mismatch or not case.is_throttled or case.fits is None:
        return None
    if _demand_is_above_limit(case) or Binding.QUOTA not in case.bound_by:
        return None
    cause = find_cause(case)
    remedy = advise(case, cause)
    return Finding(
        code=BURSTS,
        title="Throttled because more threads run at once than the limit allows",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        evidence=(_value_evidence(case), case.throttled_evidence(), case.cores_evidence()),
        remedy=replace(
            remedy,
            text="Its use is below the limit, but many Ps spend the quota of a period in its"
            " beginning, and then all of its threads stand still for the rest. "
            + remedy.text
            + _one_is_throttled_too(case),
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
    # The periods are those of its own cgroup: so it is that one's limit.
    own = case.report.limit.leaf_limit_cores or limit
    is_above = _demand_is_above_limit(case)
    value, fits = case.value, case.fits or 1
    text = f"Raise the limit of {own:g} CPU, or give it less to do"
    title = "Throttled because the CPU limit is too low for the work"
    if is_above or value <= fits:
        title += ", not by GOMAXPROCS"
        text += ": another GOMAXPROCS would not end the throttling."
    else:
        text += f". GOMAXPROCS={fits} instead of {value} would lessen the throttling as well."
    return Finding(
        code=LIMIT_TOO_LOW,
        title=title,
        severity=Severity.INFO,
        confidence=Confidence.HIGH if is_above else Confidence.MEDIUM,
        evidence=(_value_evidence(case), case.throttled_evidence(), case.cores_evidence()),
        remedy=Remedy(text),
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
    """GOMAXPROCS is not to blame: it fits, or what is above costs little.

    For what was found before: nothing has proven that it is to blame since.
    """
    if case.gomaxprocs is None:
        return False
    if not case.is_mismatch:
        return True
    cost = replace(case, lenient=False).cost(case.fits or 1)[0]
    return cost is not Cost.PROVEN if case.lenient else cost is Cost.LITTLE


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
            Evidence(f"what starts it: {collector_settings(case.report.main_process.runtime)}"),
        ),
        remedy=Remedy("Allocate less." + _about_gogc(case.report.main_process.runtime)),
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
    title = f"Goroutines spend much CPU on waiting for one another ({kind})"
    if channels + locks < case.thresholds.coordination_told * hits:
        title = "Waking and switching goroutines takes much of its CPU"  # whatever they wait for
    return Finding(
        code=COORDINATION,
        title=f"{title}; GOMAXPROCS is not why",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(
            case.share_evidence("scheduler, channels and locks take", hits),
            case.share_evidence("channels alone take", channels),
            case.share_evidence("locks alone take", locks),
        ),
        remedy=Remedy(
            "Do more for each wake-up: batches instead of single items over channels, buffered"
            " channels, shorter or sharded critical sections, fewer timers, fewer goroutines that"
            " each do a larger piece."
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
                f"GOMAXPROCS of the busy ones: {values}; together {total}; {long_bound(case)}",
                total,
                "count",
            ),
        ),
        remedy=Remedy(
            "Divide the limit: GOMAXPROCS in each one's environment, by what it needs, so that the"
            " sum is about the limit (where a program sets it by a call, in that call). Or run them"
            " in containers of their own, each with its limit."
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
        remedy=Remedy(_way_to_read(reason)),
    )


def _way_to_read(reason: str) -> str:
    """Only what this reason leaves to be done; docs/gomaxprocs.md lists them."""
    if reason == "procfs-denied":
        return (
            "Give gotax CAP_SYS_PTRACE, or run it as root; a security module (AppArmor, SELinux,"
            " Yama) may also keep it from reading the process's memory."
        )
    if reason == "gomaxprocs-machine":
        return "Nothing helps: gotax reads programs for amd64 and arm64 only."
    if reason in ("gomaxprocs-range", "not read"):
        return "Look again: a process that has just started or is ending has no value yet."
    return (
        "There may be nothing to do: gotax reads GOMAXPROCS of binaries for amd64 and arm64 made by"
        " Go's own compiler. docs/gomaxprocs.md lists the reasons; please report a program that"
        " should be readable."
    )


RULES = (
    Rule(COSTLY, _costly),
    Rule(HARMLESS, _harmless),
    Rule(UNLIMITED, _unlimited),
    Rule(BELOW_LIMIT, _below_limit),
    Rule(TWO_FOR_ONE, _two_for_one),
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
