"""CPU that GOMAXPROCS of one Go process does not bound: other processes, and C code."""

from __future__ import annotations

from gotax.diagnosis.bounds import long_bound
from gotax.diagnosis.context import Context
from gotax.diagnosis.rules import codes
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity
from gotax.profile import Category


def several_processes(context: Context) -> Finding | None:
    """GT012: Go processes that share one limit, each with Ps for all of it."""
    report, limit = context.report, context.report.limit.limit_cores
    if limit is None or context.recommended is None:
        return None
    hits = report.process_hits or (0,) * len(report.processes)
    busy = [
        process
        for process, own in zip(report.processes, hits, strict=True)
        if own >= report.hits / 20 and own and process.gomaxprocs and process.gomaxprocs.value
    ]
    total = sum(p.gomaxprocs.value or 0 for p in busy if p.gomaxprocs)
    thresholds = context.thresholds
    if len(busy) < 2 or total < max(
        context.recommended * thresholds.mismatch_ratio, context.recommended + 2
    ):
        return None
    values = ", ".join(
        f"{p.command} {p.gomaxprocs.value}" for p in busy[:8] if p.gomaxprocs is not None
    )
    return Finding(
        code=codes.SEVERAL_PROCESSES,
        title=f"{len(busy)} Go processes share one CPU limit, each with Ps of its own",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            Evidence(
                f"GOMAXPROCS of the busy ones: {values}; together {total}; {long_bound(context)}",
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


def cgo_heavy(context: Context) -> Finding | None:
    """GT013: much of the CPU is C code, whose threads GOMAXPROCS does not count."""
    hits = context.hits(Category.CGO)
    if not context.share_reaches(hits, context.thresholds.cgo_share):
        return None
    if not any(process.build and process.build.cgo for process in context.report.processes):
        return Finding(
            code=codes.CGO_HEAVY,
            title="Much of its CPU is code of files that are not Go, though it was built without"
            " cgo",
            severity=Severity.INFO,
            confidence=Confidence.LOW,
            evidence=(
                context.share_evidence("code that is not Go's takes", hits),
                Evidence("no cgo in its build"),
            ),
            remedy=Remedy(
                "`gotax explain` names the functions. If they are those of a library that the"
                " program loads by itself (such as purego does), bound the calls at once in the"
                " program: GOMAXPROCS bounds them only in part."
            ),
        )
    return Finding(
        code=codes.CGO_HEAVY,
        title="Much of its CPU is C code, which GOMAXPROCS bounds only in part",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(context.share_evidence("C code takes", hits),),
        remedy=Remedy(
            "A call into C that lasts gives its P to another thread, so more threads than"
            " GOMAXPROCS can run. Bound the calls at once in the program (a semaphore as wide as"
            " the limit) and the C library's own threads (such as OMP_NUM_THREADS)."
        ),
    )
