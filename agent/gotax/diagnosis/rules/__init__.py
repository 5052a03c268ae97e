"""The rules, one function for each finding; docs/findings.md explains the findings. registry.py
lists them.

A rule takes a Context and returns its Finding or None. Rules do not depend on each other. They
share what Context computes: whether GOMAXPROCS is above what fits, and what that costs.
"""

from __future__ import annotations

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
    HELD,
    LIMIT_TOO_LOW,
    NO_COLLECTOR,
    NO_MEMORY_LIMIT,
    SEVERAL_PROCESSES,
    TOO_FEW_SAMPLES,
    TOO_MANY_THREADS,
    TWO_FOR_ONE,
    UNFIT_MEMORY_LIMIT,
    UNLIMITED,
    UNREADABLE,
)
from gotax.diagnosis.rules.registry import CODES, EXCLUDES, RULES, Rule, find_all, find_each

__all__ = [
    "ALLOCATION_HEAVY",
    "BELOW_LIMIT",
    "BURSTS",
    "CGO_HEAVY",
    "CODES",
    "COORDINATION",
    "COSTLY",
    "EXCLUDES",
    "FRACTIONAL",
    "GC_HEAVY",
    "HARMLESS",
    "HELD",
    "LIMIT_TOO_LOW",
    "NO_COLLECTOR",
    "NO_MEMORY_LIMIT",
    "RULES",
    "SEVERAL_PROCESSES",
    "TOO_FEW_SAMPLES",
    "TOO_MANY_THREADS",
    "TWO_FOR_ONE",
    "UNFIT_MEMORY_LIMIT",
    "UNLIMITED",
    "UNREADABLE",
    "Rule",
    "find_all",
    "find_each",
]
