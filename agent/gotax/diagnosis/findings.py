"""From the numbers of one container to its verdict."""

from __future__ import annotations

from gotax.confidence import interval
from gotax.config import Thresholds
from gotax.model import (
    Category,
    ContainerReport,
    Finding,
    Gomaxprocs,
    Group,
    Origin,
    Severity,
    Verdict,
)

OVERSIZED = "GT001"

_ORIGINS = {
    Origin.ENVIRONMENT: "set by the GOMAXPROCS environment variable",
    Origin.AUTOMAXPROCS: "set by automaxprocs",
    Origin.CALL: "set by a call of runtime.GOMAXPROCS",
    Origin.CONTAINER: "Go's own reading of the cgroup limit",
    Origin.CPU_COUNT: "the number of CPUs, Go's default",
    Origin.FIXED: "what Go before 1.5 starts with",
    Origin.UNKNOWN: "of unknown origin",
}


def is_mismatch(gomaxprocs: Gomaxprocs, thresholds: Thresholds) -> bool:
    """GOMAXPROCS is well above what fits."""
    value, fits = gomaxprocs.value, gomaxprocs.recommended
    if value is None or fits is None:
        return False
    return value >= fits * thresholds.mismatch_ratio and value >= fits + 2


def judge(report: ContainerReport, thresholds: Thresholds) -> tuple[Verdict, tuple[Finding, ...]]:
    """The verdict, and the finding it rests on if there is one to act on."""
    gomaxprocs = report.main_process.gomaxprocs
    if gomaxprocs is None or gomaxprocs.value is None:
        return Verdict.UNREADABLE, ()
    if not is_mismatch(gomaxprocs, thresholds):
        return (Verdict.UNLIMITED if report.limit.limit_cores is None else Verdict.FITS), ()
    if report.hits < thresholds.min_hits:
        return Verdict.TOO_FEW_SAMPLES, ()
    runtime_hits = sum(
        int(report.category_hits[c]) for c in Category if c.group in (Group.SCHEDULER, Group.GC)
    )
    low, high = interval(runtime_hits, report.hits)
    if low < thresholds.runtime_share:
        return Verdict.MISMATCH, ()
    return Verdict.OVERSIZED, (_oversized(report, gomaxprocs, (low, high)),)


def _oversized(
    report: ContainerReport, gomaxprocs: Gomaxprocs, share: tuple[float, float]
) -> Finding:
    limit = report.limit
    if limit.limit_cores is not None:
        what = "CPU limit"
        room = f"a limit of {limit.limit_cores:g} CPU (cgroup {limit.limit_cgroup}) fits"
    else:
        what = "number of CPUs"
        room = "there is no limit, and the CPUs it may use are"
    value = (
        f"GOMAXPROCS is {gomaxprocs.value}, {_ORIGINS[gomaxprocs.origin]};"
        f" {room} {gomaxprocs.recommended}"
    )
    cost = (
        f"scheduler {report.group_share(Group.SCHEDULER):.1%} and"
        f" GC {report.group_share(Group.GC):.1%} of its CPU time: together"
        f" {report.runtime_share:.1%}"
        f" (95 % interval {share[0]:.0%} to {share[1]:.0%}, {report.hits} hits)"
    )
    evidence = [value, cost]
    usage = report.usage
    if usage.throttled_periods and usage.periods:
        evidence.append(
            f"throttled in {usage.throttled_periods} of {usage.periods} periods,"
            f" {(usage.throttled_ns or 0) / 1e9:.1f} s in all"
        )
    return Finding(
        code=OVERSIZED,
        title=f"GOMAXPROCS is above the {what}, and the runtime pays for it",
        severity=Severity.WARNING,
        evidence=tuple(evidence),
        remedy=_remedy(report, gomaxprocs),
    )


def _remedy(report: ContainerReport, gomaxprocs: Gomaxprocs) -> str:
    wanted = gomaxprocs.recommended
    if report.container.pod_uid is None:
        return f"start it with GOMAXPROCS={wanted} in its environment"
    return (
        "set GOMAXPROCS from the limit in the pod template:\n"
        "env:\n"
        "- name: GOMAXPROCS\n"
        "  valueFrom:\n"
        "    resourceFieldRef:\n"
        "      resource: limits.cpu\n"
        '      divisor: "1"'
    )
