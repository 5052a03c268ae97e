"""The kernel throttles the container: because of GOMAXPROCS, or because of the limit."""

from __future__ import annotations

import math
from dataclasses import replace

from gotax.diagnosis.advice import advise
from gotax.diagnosis.causes import find_cause
from gotax.diagnosis.context import Context, whole
from gotax.diagnosis.rules import codes
from gotax.diagnosis.rules.evidence import ease, value_evidence
from gotax.findings import Confidence, Finding, Remedy, Severity
from gotax.process import Binding


def fractional(context: Context) -> Finding | None:
    """GT006: the limit is no whole number, and how it was rounded shows."""
    limit, value = context.report.limit.limit_cores, context.value
    if (
        limit is None
        or value is None
        or limit <= 1
        or not limit % 1
        or whole(limit) != context.recommended
    ):
        return None
    floor, ceiling = math.floor(limit), math.ceil(limit)
    is_full = (context.cores or 0.0) >= context.thresholds.saturation * limit
    used_up = context.highest_cores >= context.thresholds.saturation * floor * ease(context)
    if value == ceiling and context.is_throttled and not is_full:
        shows = context.throttled_evidence()
    elif value == floor and used_up:
        shows = context.cores_evidence()
    else:
        return None
    return Finding(
        code=codes.FRACTIONAL,
        title=f"The CPU limit of {limit:g} is no whole number: {ceiling} Ps are throttled in"
        f" bursts, {floor} leave a part unused",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(value_evidence(context), shows),
        remedy=Remedy(
            f"Rounded up, {ceiling} (Go 1.25 and newer, the downward API): the whole limit can be"
            f" used, but when {ceiling} threads run at once the quota of a period ends before the"
            f" period. Rounded down, {floor} (automaxprocs): Go code alone is not throttled, and"
            f" {limit % 1:g} of a CPU is left for threads in system calls and in C code. A whole"
            " number as the limit ends the choice."
        ),
    )


def bursts(context: Context) -> Finding | None:
    """GT007: throttled while its use is below the limit, with more Ps than fit."""
    if not context.is_mismatch or not context.is_throttled or context.recommended is None:
        return None
    if _demand_is_above_limit(context) or Binding.QUOTA not in context.bound_by:
        return None
    cause = find_cause(context)
    remedy = advise(context, cause)
    return Finding(
        code=codes.BURSTS,
        title="Throttled because more threads run at once than the limit allows",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        evidence=(value_evidence(context), context.throttled_evidence(), context.cores_evidence()),
        remedy=replace(
            remedy,
            text="Its use is below the limit, but many Ps spend the quota of a period in its"
            " beginning, and then all of its threads stand still for the rest. "
            + remedy.text
            + _one_is_throttled_too(context),
        ),
        cause=cause,
    )


def _one_is_throttled_too(context: Context) -> str:
    limit = context.report.limit.limit_cores
    if limit is None or limit >= 1:
        return ""
    return (
        f" With a limit of {limit:g} CPU even one P spends a quota before its period ends when it"
        " has more to do at once: the throttling gets less, and ends with a whole CPU for each P."
    )


def limit_too_low(context: Context) -> Finding | None:
    """GT008: throttled, and GOMAXPROCS is not why."""
    limit = context.report.limit.limit_cores
    if limit is None or not context.is_throttled or context.value is None:
        return None
    if context.is_mismatch and not _demand_is_above_limit(context):
        return None
    if fractional(context) is not None:
        return None
    # The periods are those of its own cgroup: so it is that one's limit.
    own = context.report.limit.leaf_limit_cores or limit
    is_above = _demand_is_above_limit(context)
    value, recommended = context.value, context.recommended or 1
    text = f"Raise the limit of {own:g} CPU, or give it less to do"
    title = "Throttled because the CPU limit is too low for the work"
    if is_above or value <= recommended:
        title += ", not by GOMAXPROCS"
        text += ": another GOMAXPROCS would not end the throttling."
    else:
        text += (
            f". GOMAXPROCS={recommended} instead of {value} would lessen the throttling as well."
        )
    return Finding(
        code=codes.LIMIT_TOO_LOW,
        title=title,
        severity=Severity.INFO,
        confidence=Confidence.HIGH if is_above else Confidence.MEDIUM,
        evidence=(value_evidence(context), context.throttled_evidence(), context.cores_evidence()),
        remedy=Remedy(text),
    )


def _demand_is_above_limit(context: Context) -> bool:
    """It would use up the limit with a GOMAXPROCS that fits, too."""
    limit, cores = context.report.limit.limit_cores, context.cores
    if limit is None or cores is None:
        return False
    throttled, periods = context.throttled
    if periods:  # whoever is throttled in a period has used up its quota
        cores = max(cores, limit * min(1.0, throttled / periods))
    saved = 0.0
    if context.is_mismatch and context.recommended is not None:
        saving = context.saving(context.recommended)
        saved = max(0.0, saving.mid) if saving is not None else 0.0
    return cores - saved >= context.thresholds.saturation * limit
