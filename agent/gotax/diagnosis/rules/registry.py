"""Which rules there are, in the order of their codes, and which findings exclude others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gotax.diagnosis.context import Context
from gotax.diagnosis.rules import codes, gomaxprocs, memory, processes, runtime, throttling, unread
from gotax.diagnosis.rules.experiment import with_experiment
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
    container = context.report.container
    findings = (rule.find(context) for rule in RULES)
    return tuple(with_experiment(container, found) for found in findings if found is not None)


RULES = (
    Rule(codes.COSTLY, gomaxprocs.costly),
    Rule(codes.HARMLESS, gomaxprocs.harmless),
    Rule(codes.UNLIMITED, gomaxprocs.unlimited),
    Rule(codes.BELOW_LIMIT, gomaxprocs.below_limit),
    Rule(codes.TWO_FOR_ONE, gomaxprocs.two_for_one),
    Rule(codes.FRACTIONAL, throttling.fractional),
    Rule(codes.BURSTS, throttling.bursts),
    Rule(codes.LIMIT_TOO_LOW, throttling.limit_too_low),
    Rule(codes.GC_HEAVY, runtime.gc_heavy),
    Rule(codes.ALLOCATION_HEAVY, runtime.allocation_heavy),
    Rule(codes.COORDINATION, runtime.coordination),
    Rule(codes.SEVERAL_PROCESSES, processes.several_processes),
    Rule(codes.CGO_HEAVY, processes.cgo_heavy),
    Rule(codes.TOO_FEW_SAMPLES, gomaxprocs.too_few_samples),
    Rule(codes.UNREADABLE, unread.unreadable),
    Rule(codes.HELD, memory.held),
    Rule(codes.NO_MEMORY_LIMIT, memory.no_limit),
    Rule(codes.UNFIT_MEMORY_LIMIT, memory.unfit),
    Rule(codes.NO_COLLECTOR, memory.no_collector),
)
CODES = (*(rule.code for rule in RULES), codes.TOO_MANY_THREADS)
"""Of all findings. The last one is about containers without a Go program (diagnosis/others.py)."""
EXCLUDES = {
    codes.COSTLY: (codes.HARMLESS, codes.TOO_FEW_SAMPLES, codes.GC_HEAVY, codes.COORDINATION),
    codes.HARMLESS: (codes.TOO_FEW_SAMPLES,),
    codes.UNLIMITED: (codes.GC_HEAVY, codes.COORDINATION),
    codes.FRACTIONAL: (codes.LIMIT_TOO_LOW,),
    codes.BURSTS: (codes.LIMIT_TOO_LOW,),
    codes.HELD: (codes.GC_HEAVY, codes.ALLOCATION_HEAVY),
}
"""Findings that are not reported while the first one holds, even if they are true."""
