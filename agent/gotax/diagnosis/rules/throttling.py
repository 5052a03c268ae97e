"""The kernel throttles the container: because of GOMAXPROCS, or because of the limit."""

from __future__ import annotations

import math
from dataclasses import replace

from gotax.diagnosis.advice import advise
from gotax.diagnosis.case import Case, whole
from gotax.diagnosis.causes import find_cause
from gotax.diagnosis.rules import codes
from gotax.diagnosis.rules.evidence import ease, value_evidence
from gotax.findings import Confidence, Finding, Remedy, Severity
from gotax.process import Binding


def fractional(case: Case) -> Finding | None:
    """GT006: the limit is no whole number, and how it was rounded shows."""
    limit, value = case.report.limit.limit_cores, case.value
    if limit is None or value is None or limit <= 1 or not limit % 1 or whole(limit) != case.fits:
        return None
    floor, ceiling = math.floor(limit), math.ceil(limit)
    is_full = (case.cores or 0.0) >= case.thresholds.saturation * limit
    used_up = case.highest_cores >= case.thresholds.saturation * floor * ease(case)
    if value == ceiling and case.is_throttled and not is_full:
        shows = case.throttled_evidence()
    elif value == floor and used_up:
        shows = case.cores_evidence()
    else:
        return None
    return Finding(
        code=codes.FRACTIONAL,
        title=f"The CPU limit of {limit:g} is no whole number: {ceiling} Ps are throttled in"
        f" bursts, {floor} leave a part unused",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(value_evidence(case), shows),
        remedy=Remedy(
            f"Rounded up, {ceiling} (Go 1.25 and newer, the downward API): the whole limit can be"
            f" used, but when {ceiling} threads run at once the quota of a period ends before the"
            f" period. Rounded down, {floor} (automaxprocs): Go code alone is not throttled, and"
            f" {limit % 1:g} of a CPU is left for threads in system calls and in C code. A whole"
            " number as the limit ends the choice."
        ),
    )


def bursts(case: Case) -> Finding | None:
    """GT007: throttled while its use is below the limit, with more Ps than fit."""
    if not case.is_mismatch or not case.is_throttled or case.fits is None:
        return None
    if _demand_is_above_limit(case) or Binding.QUOTA not in case.bound_by:
        return None
    cause = find_cause(case)
    remedy = advise(case, cause)
    return Finding(
        code=codes.BURSTS,
        title="Throttled because more threads run at once than the limit allows",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        evidence=(value_evidence(case), case.throttled_evidence(), case.cores_evidence()),
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


def limit_too_low(case: Case) -> Finding | None:
    """GT008: throttled, and GOMAXPROCS is not why."""
    limit = case.report.limit.limit_cores
    if limit is None or not case.is_throttled or case.value is None:
        return None
    if case.is_mismatch and not _demand_is_above_limit(case):
        return None
    if fractional(case) is not None:
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
        code=codes.LIMIT_TOO_LOW,
        title=title,
        severity=Severity.INFO,
        confidence=Confidence.HIGH if is_above else Confidence.MEDIUM,
        evidence=(value_evidence(case), case.throttled_evidence(), case.cores_evidence()),
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
