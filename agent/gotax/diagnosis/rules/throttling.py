"""The kernel throttles the container, because of GOMAXPROCS or because of the limit."""

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
    """GT006: the limit is not a whole number, and the rounding has an effect."""
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
        title=f"The CPU limit of {limit:g} is not a whole number: GOMAXPROCS={ceiling} is"
        f" throttled, GOMAXPROCS={floor} leaves a part unused",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(value_evidence(context), shows),
        remedy=fraction_remedy(limit),
    )


def fraction_remedy(limit: float) -> Remedy:
    floor, ceiling = math.floor(limit), math.ceil(limit)
    return Remedy(
        f"Rounded up to {ceiling} (as Go 1.25 and newer and the downward API do), the program"
        f" can use the whole limit, but it is throttled when {ceiling} threads run at once."
        f" Rounded down to {floor} (as automaxprocs does), Go code alone is not throttled, and"
        f" {limit % 1:g} of a CPU remains for system calls and C code. A whole number as the"
        " limit avoids this choice."
    )


def bursts(context: Context) -> Finding | None:
    """GT007: throttled although its usage is below the limit, with GOMAXPROCS too high."""
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
            text="Its CPU usage is below the limit, but many threads at once use up the quota at"
            " the start of a period. Then the kernel stops all of them until the next period. "
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
        f" With a limit of {limit:g} CPU even a single thread can use up the quota: expect less"
        " throttling, not none. A limit of a whole CPU ends it."
    )


def limit_too_low(context: Context) -> Finding | None:
    """GT008: throttled, and GOMAXPROCS is not the reason."""
    limit = context.report.limit.limit_cores
    if limit is None or not context.is_throttled or context.value is None:
        return None
    if context.is_mismatch and not _demand_is_above_limit(context):
        return None
    if fractional(context) is not None:
        return None
    # The throttled periods are those of its own cgroup, so its own limit counts.
    own = context.report.limit.leaf_limit_cores or limit
    is_above = _demand_is_above_limit(context)
    value, recommended = context.value, context.recommended or 1
    text = f"Raise the limit of {own:g} CPU, or reduce the work"
    title = "Throttled because the CPU limit is too low for the work"
    if is_above or value <= recommended:
        title += ", not because of GOMAXPROCS"
        text += ". Another GOMAXPROCS would not end the throttling."
    else:
        text += f". GOMAXPROCS={recommended} instead of {value} would also reduce the throttling."
    return Finding(
        code=codes.LIMIT_TOO_LOW,
        title=title,
        severity=Severity.INFO,
        confidence=Confidence.HIGH if is_above else Confidence.MEDIUM,
        evidence=(value_evidence(context), context.throttled_evidence(), context.cores_evidence()),
        remedy=Remedy(text),
    )


def _demand_is_above_limit(context: Context) -> bool:
    """It would use up the limit even with a GOMAXPROCS that fits."""
    limit, cores = context.report.limit.limit_cores, context.cores
    if limit is None or cores is None:
        return False
    throttled, periods = context.throttled
    if periods:  # a throttled period has used up its quota
        cores = max(cores, limit * throttled / periods)
    saved = 0.0
    if context.is_mismatch and context.recommended is not None:
        saving = context.saving(context.recommended)
        saved = max(0.0, saving.mid) if saving is not None else 0.0
    return cores - saved >= context.thresholds.saturation * limit
