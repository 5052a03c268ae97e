"""CPU that the GOMAXPROCS of one Go process does not limit: other processes, and C code."""

from __future__ import annotations

from gotax.category import Category
from gotax.diagnosis.bounds import long_bound
from gotax.diagnosis.context import Context
from gotax.diagnosis.rules import codes
from gotax.diagnosis.sums import samples_of_processes
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity


def several_processes(context: Context) -> Finding | None:
    """GT012: several Go processes share one limit, and each has a GOMAXPROCS for all of it."""
    report, limit = context.report, context.report.limit.limit_cores
    if limit is None or context.recommended is None:
        return None
    busy = [
        (process.command, found.value)
        for process, own in zip(report.processes, samples_of_processes(report), strict=True)
        if own >= report.samples / 20 and own and (found := process.gomaxprocs) and found.value
    ]
    total = sum(value for _, value in busy)
    thresholds = context.thresholds
    if len(busy) < 2 or total < max(
        context.recommended * thresholds.mismatch_ratio, context.recommended + 2
    ):
        return None
    values = ", ".join(f"{command} {value}" for command, value in busy[:8])
    return Finding(
        code=codes.SEVERAL_PROCESSES,
        title=f"{len(busy)} Go processes share one CPU limit, each with its own GOMAXPROCS",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            Evidence(
                f"GOMAXPROCS of the busy processes: {values}; sum {total}; {long_bound(context)}",
                total,
                "count",
            ),
        ),
        remedy=Remedy(
            "Divide the limit: set GOMAXPROCS in the environment of each process (or in the"
            " program's call of runtime.GOMAXPROCS), so that the sum is about the limit. Or run"
            " each process in its own container with its own limit."
        ),
    )


def cgo_heavy(context: Context) -> Finding | None:
    """GT013: C code, whose threads GOMAXPROCS does not count, uses much of the CPU."""
    samples = context.samples(Category.CGO)
    if not context.share_reaches(samples, context.thresholds.cgo_share):
        return None
    if not any(process.build and process.build.cgo for process in context.report.processes):
        return Finding(
            code=codes.CGO_HEAVY,
            title="Code that is not Go uses much of the CPU, although the program was built without"
            " cgo",
            severity=Severity.INFO,
            confidence=Confidence.LOW,
            evidence=(
                context.share_evidence("code that is not Go takes", samples),
                Evidence("the program was built without cgo"),
            ),
            remedy=Remedy(
                "`gotax explain` lists the functions. If they belong to a library that the"
                " program loads itself (with purego, for example), limit the number of concurrent"
                " calls in the program: GOMAXPROCS limits them only in part."
            ),
        )
    return Finding(
        code=codes.CGO_HEAVY,
        title="C code uses much of the CPU, and GOMAXPROCS limits it only in part",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(context.share_evidence("C code takes", samples),),
        remedy=Remedy(
            "During a long call into C, Go runs another thread in its place, so more threads than"
            " GOMAXPROCS can run. Limit the number of concurrent calls in the program (with a"
            " semaphore) and the threads of the C library (for example with OMP_NUM_THREADS)."
        ),
    )
