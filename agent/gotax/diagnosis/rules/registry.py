"""Which rules there are, in the order of their codes, and which findings exclude others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gotax.diagnosis.context import Context
from gotax.diagnosis.rules import gomaxprocs, processes, runtime, throttling
from gotax.diagnosis.rules.codes import (
    ALLOCATION_HEAVY,
    BELOW_LIMIT,
    BURSTS,
    CGO_HEAVY,
    COORDINATION,
    COSTLY,
    FRACTIONAL,
    GC_HEAVY,
    HARMLESS,
    LIMIT_TOO_LOW,
    SEVERAL_PROCESSES,
    TOO_FEW_SAMPLES,
    TWO_FOR_ONE,
    UNLIMITED,
    UNREADABLE,
)
from gotax.findings import Finding


@dataclass(frozen=True, slots=True)
class Rule:
    code: str
    find: Callable[[Context], Finding | None]


def find_all(context: Context) -> tuple[Finding, ...]:
    """All findings of one container, in the order of the codes."""
    found = {finding.code: finding for finding in find_each(context)}
    weaker = {code for stronger in found for code in EXCLUDES.get(stronger, ())}
    return tuple(finding for code, finding in found.items() if code not in weaker)


def find_each(context: Context) -> tuple[Finding, ...]:
    """The same, including those that other findings exclude."""
    findings = (rule.find(context) for rule in RULES)
    return tuple(finding for finding in findings if finding is not None)


RULES = (
    Rule(COSTLY, gomaxprocs.costly),
    Rule(HARMLESS, gomaxprocs.harmless),
    Rule(UNLIMITED, gomaxprocs.unlimited),
    Rule(BELOW_LIMIT, gomaxprocs.below_limit),
    Rule(TWO_FOR_ONE, gomaxprocs.two_for_one),
    Rule(FRACTIONAL, throttling.fractional),
    Rule(BURSTS, throttling.bursts),
    Rule(LIMIT_TOO_LOW, throttling.limit_too_low),
    Rule(GC_HEAVY, runtime.gc_heavy),
    Rule(ALLOCATION_HEAVY, runtime.allocation_heavy),
    Rule(COORDINATION, runtime.coordination),
    Rule(SEVERAL_PROCESSES, processes.several_processes),
    Rule(CGO_HEAVY, processes.cgo_heavy),
    Rule(TOO_FEW_SAMPLES, gomaxprocs.too_few_samples),
    Rule(UNREADABLE, gomaxprocs.unreadable),
)
CODES = tuple(rule.code for rule in RULES)
EXCLUDES = {
    COSTLY: (HARMLESS, TOO_FEW_SAMPLES, GC_HEAVY, COORDINATION),
    HARMLESS: (TOO_FEW_SAMPLES,),
    UNLIMITED: (GC_HEAVY, COORDINATION),
    FRACTIONAL: (LIMIT_TOO_LOW,),
    BURSTS: (LIMIT_TOO_LOW,),
}
"""Findings that are not reported while the first one holds, even if they are true."""
