"""GOMAXPROCS is above or below what fits, or cannot be read."""

from __future__ import annotations

import math
from dataclasses import replace

from gotax.category import RUNTIME_GROUPS
from gotax.diagnosis.advice import advise, set_variable, target_of
from gotax.diagnosis.bounds import short_bound
from gotax.diagnosis.causes import cause_sentence, find_cause
from gotax.diagnosis.context import Context, Cost
from gotax.diagnosis.rules import codes
from gotax.diagnosis.rules.evidence import (
    ease,
    hidden_evidence,
    if_called,
    origin_text,
    power_evidence,
    saving_evidence,
    value_evidence,
)
from gotax.findings import Confidence, Evidence, Finding, Remedy, Saving, Severity
from gotax.process import Automaxprocs, Binding, Gomaxprocs, Origin


def costly(context: Context) -> Finding | None:
    """GT001: above what fits, and the profile shows what it costs."""
    return _mismatch(context, Cost.PROVEN)


def harmless(context: Context) -> Finding | None:
    """GT002: above what fits, and it costs little."""
    return _mismatch(context, Cost.LITTLE)


def too_few_samples(context: Context) -> Finding | None:
    """GT014: above what fits, and its cost is not proven."""
    return _mismatch(context, Cost.UNDECIDED)


def _mismatch(context: Context, wanted: Cost) -> Finding | None:
    if not context.is_mismatch or context.recommended is None:
        return None
    cause = find_cause(context)
    target = target_of(context, cause)
    cost, saving = context.cost(target)
    if cost is not wanted:
        return None
    above = short_bound(context)
    evidence = [value_evidence(context), Evidence(f"cause: {cause_sentence(context, cause)}")]
    if context.report.samples:
        samples = context.group_samples(*RUNTIME_GROUPS)
        evidence.append(context.share_evidence("scheduler and GC take", samples))
    if saving is not None:
        evidence.append(saving_evidence(context, saving, target))
    if context.throttled[0]:
        evidence.append(context.throttled_evidence())
    is_enough = context.report.samples >= context.thresholds.min_samples
    if cost is Cost.UNDECIDED and is_enough and context.hidden_samples:
        return Finding(
            code=codes.TOO_FEW_SAMPLES,
            title=f"GOMAXPROCS is above the {above}; too much of its CPU time could not be read to"
            " determine the cost",
            severity=Severity.INFO,
            confidence=Confidence.LOW,
            evidence=(*evidence, hidden_evidence(context)),
            remedy=Remedy(
                "Look at the categories of its CPU time: the metrics gotax_errors_total and"
                " gotax_unjudged_cpu_seconds_total have the reason. If it is binary-pending,"
                " measure longer."
            ),
            cause=cause,
        )
    if cost is Cost.UNDECIDED:
        return Finding(
            code=codes.TOO_FEW_SAMPLES,
            title=f"GOMAXPROCS is above the {above}; too few samples to determine the cost",
            severity=Severity.INFO,
            confidence=Confidence.LOW,
            evidence=(*evidence, power_evidence(context)),
            remedy=Remedy("Measure longer, at a higher frequency (--hz), or under load."),
            cause=cause,
        )
    remedy = advise(context, cause)
    if cost is Cost.LITTLE:
        text = f"No change is needed to save CPU. {remedy.text}"
        return Finding(
            code=codes.HARMLESS,
            title=f"GOMAXPROCS is above the {above}, at little cost under this load",
            severity=Severity.INFO,
            confidence=Confidence.HIGH if saving is not None else Confidence.MEDIUM,
            evidence=tuple(evidence),
            remedy=replace(remedy, text=text),
            saving=saving,
            cause=cause,
        )
    is_sure = saving is not None and saving.low > 0
    pays = "and this costs CPU"
    if _may_lose(saving):
        pays = "but a lower value may not save CPU"
    return Finding(
        code=codes.COSTLY,
        title=f"GOMAXPROCS is above the {above}, {pays}",
        severity=_severity(saving),
        confidence=Confidence.HIGH if is_sure else Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=replace(remedy, text=remedy.text + _cautions(saving)),
        saving=saving,
        cause=cause,
    )


def _may_lose(saving: Saving | None) -> bool:
    """The range of the saving includes a loss."""
    return saving is not None and saving.low < 0


def _severity(saving: Saving | None) -> Severity:
    return Severity.INFO if _may_lose(saving) else Severity.WARNING


def _cautions(saving: Saving | None) -> str:
    return "".join(f" {caution}" for caution in saving.cautions) if saving is not None else ""


def unlimited(context: Context) -> Finding | None:
    """GT003: no limit on a large node, and GOMAXPROCS far above usage and request."""
    found, thresholds = context.gomaxprocs, context.thresholds
    if found is None or found.value is None or found.recommended is None:
        return None
    if context.report.limit.limit_cores is not None or context.is_mismatch:
        return None
    if found.recommended < thresholds.large_node_cpus:
        return None
    request = context.request_cores
    used = thresholds.headroom * context.highest_cores
    target = max(thresholds.unlimited_least, math.ceil(used), math.ceil(request or 0))
    if found.value < 2 * target:
        return None
    cost, saving = context.cost(target)
    if cost is not Cost.PROVEN:
        return None
    patch = set_variable(context, target)
    text = (
        f"Set GOMAXPROCS={target}: {thresholds.headroom:g} times its highest CPU usage"
        + (f", and at least its request of {request:g} CPU" if request else "")
        + (". Or set a CPU limit, which this program follows" if _follows(found) else "")
        + if_called(context, ". A call in the program may override the variable: check afterwards")
        + (". The variable of the manifest replaces CRI-O's" if _is_crios(found) else "")
        + ". Check its peak load first: with"
        f" GOMAXPROCS={target} its Go code can never use more than {target} CPUs."
        + (f" {patch.note}" if patch.note else "")
    )
    evidence = [value_evidence(context), context.cores_evidence()]
    if request is not None:
        evidence.append(Evidence(f"its CPU request is {request:.2f} cores", request, "cores"))
    evidence.append(
        context.share_evidence("scheduler and GC take", context.group_samples(*RUNTIME_GROUPS))
    )
    if saving is not None:
        evidence.append(saving_evidence(context, saving, target))
    is_all = found.value >= found.recommended
    what = "all CPUs it may use" if is_all else "far more than it uses"
    pays = "but a lower value may not save CPU" if _may_lose(saving) else "and this costs CPU"
    return Finding(
        code=codes.UNLIMITED,
        title=f"There is no CPU limit, GOMAXPROCS is {what}, {pays}",
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
    if found.origin in (Origin.ENVIRONMENT, Origin.CRIO, Origin.CALL, Origin.UNKNOWN):
        return False
    if found.automaxprocs is Automaxprocs.KNOWN:
        return not found.variable_is_set
    return found.automaxprocs is Automaxprocs.NONE and found.ignored is None


def below_limit(context: Context) -> Finding | None:
    """GT004: GOMAXPROCS is a whole core below the limit, and the process uses all it allows."""
    value, recommended = context.value, context.recommended
    limit = context.report.limit.limit_cores
    if value is None or recommended is None or context.cores is None:
        return None
    if min(recommended if limit is None else limit, recommended) - value < 1:
        return None
    if context.highest_cores < context.thresholds.saturation * value * ease(context):
        return None
    if limit is None:
        return _below_without_limit(context, value, recommended)
    patch = set_variable(context, recommended)
    all_of_it = "the whole limit" if Binding.QUOTA in context.bound_by else "all CPUs it may use"
    text = (
        f"If the program cannot keep up with its work, set GOMAXPROCS={recommended}: then it can"
        f" use {all_of_it}. If it keeps up, change nothing: a lower GOMAXPROCS uses less CPU."
    )
    text += if_called(
        context, " A call in the program may override the variable: check afterwards."
    )
    return Finding(
        code=codes.BELOW_LIMIT,
        title="GOMAXPROCS is below the CPU limit and may hold back throughput",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(value_evidence(context), context.cores_evidence()),
        remedy=Remedy(f"{text} {patch.note}".rstrip(), patch.text, recommended),
    )


def _below_without_limit(context: Context, value: int, recommended: int) -> Finding:
    """There is no limit to take a value from: the CPUs of the node are too many for one program."""
    found = context.gomaxprocs
    assert found is not None
    target = min(2 * value, recommended)
    request = context.request_cores
    evidence = [value_evidence(context), context.cores_evidence()]
    if request is not None:
        evidence.append(Evidence(f"its CPU request is {request:.2f} cores", request, "cores"))
    state = context.report.main_process.runtime
    if state is not None and state.idle_ps is not None:
        text = f"{state.idle_ps} of {value} Ps had no work at the end of the window"
        evidence.append(Evidence(text, state.idle_ps, "count"))
    patch = set_variable(context, target)
    text = "If the program cannot keep up with its work, "
    if _is_crios(found):
        text += (
            f"raise requests.cpu to {target / 2:g}: CRI-O sets GOMAXPROCS to twice the request,"
            f" {target} then. Or set GOMAXPROCS={target} in the manifest, which replaces CRI-O's."
        )
    elif context.report.container.pod_uid is None:
        text += f"set GOMAXPROCS={target}."
    else:
        text += f"set GOMAXPROCS={target}, and requests.cpu to what it then uses."
    text += (
        " Double it again if that is not enough. If it keeps up, change nothing: a lower GOMAXPROCS"
        " uses less CPU."
    )
    text += if_called(
        context, " A call in the program may override the variable: check afterwards."
    )
    return Finding(
        code=codes.BELOW_LIMIT,
        title=f"GOMAXPROCS={value} may hold back throughput: there is no CPU limit, and it"
        " uses all that it allows",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=tuple(evidence),
        remedy=Remedy(f"{text} {patch.note}".rstrip(), patch.text, target),
    )


def _is_crios(found: Gomaxprocs) -> bool:
    return found.origin is Origin.CRIO


def two_for_one(context: Context) -> Finding | None:
    """GT005: GOMAXPROCS is 2, and 1 fits."""
    found, limit = context.gomaxprocs, context.report.limit.limit_cores
    if found is None or found.value != 2 or context.recommended != 1 or limit is None or limit > 1:
        return None
    if Binding.QUOTA not in context.bound_by:
        return None
    evidence = [value_evidence(context)]
    saving = context.saving(1)
    if saving is not None:
        evidence.append(saving_evidence(context, saving, 1))
    patch = set_variable(context, 1)
    is_by_design = _is_two_by_design(context, found)
    why = "by design of Go 1.25 and newer" if is_by_design else origin_text(context)
    if is_by_design:
        text = (
            "No change is needed: Go 1.25 and newer never choose less than 2, so that the garbage"
            " collector and the program can run at the same time (runtime/cgroup_linux.go)."
        )
    else:
        text = (
            "No change is needed: Go 1.25 and newer also choose 2 for such a limit, so that the"
            " garbage collector and the program can run at the same time."
        )
        if found.origin is Origin.CPU_COUNT:
            text += (
                " But this 2 is the number of CPUs, not the limit: on a host with more CPUs"
                " GOMAXPROCS is higher."
            )
    if found.origin is Origin.CALL and found.variable is not None:
        text += " A value of 1 in the call of runtime.GOMAXPROCS saves CPU"
        patch = replace(patch, text="", note="")
    else:
        text += " GOMAXPROCS=1 in the environment saves CPU"
    text += ", if latency matters less."
    text += if_called(
        context, " A call in the program may override the variable: check afterwards."
    )
    return Finding(
        code=codes.TWO_FOR_ONE,
        title=f"GOMAXPROCS is 2 at a limit of {limit:g} CPU, {why}",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=tuple(evidence),
        remedy=Remedy(
            " ".join(part for part in (text, patch.note) if part) + _cautions(saving), patch.text, 1
        ),
        saving=saving,
    )


def _is_two_by_design(context: Context, found: Gomaxprocs) -> bool:
    """Go computed it from the limit. (On two CPUs the number of CPUs is also 2.)"""
    if found.origin is Origin.CONTAINER:
        return True
    follows = found.ignored is None and found.expected == 2
    return follows and found.origin is Origin.CPU_COUNT and context.bound_by == (Binding.QUOTA,)
