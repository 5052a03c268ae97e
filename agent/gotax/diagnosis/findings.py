"""The verdict of one container, from its findings."""

from __future__ import annotations

from collections.abc import Sequence

from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.findings import Finding, Severity, Verdict

_VERDICTS = {
    rules.UNREADABLE: Verdict.UNREADABLE,
    rules.COSTLY: Verdict.OVERSIZED,
    rules.UNLIMITED: Verdict.OVERSIZED,
    rules.HARMLESS: Verdict.MISMATCH,
    rules.TOO_FEW_SAMPLES: Verdict.TOO_FEW_SAMPLES,
}


def judge(context: Context) -> tuple[Verdict, tuple[Finding, ...]]:
    """The verdict and all findings."""
    found = rules.find_all(context)
    return verdict_of(found, context), found


def verdict_of(findings: Sequence[Finding], context: Context) -> Verdict:
    by_code = {finding.code: finding for finding in findings}
    for code, verdict in _VERDICTS.items():
        if code not in by_code:
            continue
        if verdict is not Verdict.OVERSIZED or by_code[code].severity is Severity.WARNING:
            return verdict
        if code == rules.COSTLY:
            return Verdict.MISMATCH  # a lower value may not save CPU
    return Verdict.UNLIMITED if context.report.limit.limit_cores is None else Verdict.FITS
