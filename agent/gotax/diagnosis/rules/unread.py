"""GOMAXPROCS, or the CPU limit that it has to fit, could not be read."""

from __future__ import annotations

from gotax.diagnosis.context import Context
from gotax.diagnosis.rules import codes
from gotax.diagnosis.rules.evidence import origin_text
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity


def unreadable(context: Context) -> Finding | None:
    """GT015: GOMAXPROCS or the CPU limit could not be read."""
    if context.gomaxprocs is not None:
        return _unreadable_limit(context)
    found = context.report.main_process.gomaxprocs
    reason = (found.reason if found else "") or "not read"
    return Finding(
        code=codes.UNREADABLE,
        title="GOMAXPROCS could not be read from the process",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(Evidence(f"reason: {reason}"),),
        remedy=Remedy(_way_to_read(reason)),
    )


def _unreadable_limit(context: Context) -> Finding | None:
    problem = context.report.limit.problem
    if not problem:
        return None
    assert context.value is not None
    return Finding(
        code=codes.UNREADABLE,
        title="The CPU limit could not be read, so it is not known which GOMAXPROCS fits",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(
            Evidence(f"reason: {problem}"),
            Evidence(
                f"GOMAXPROCS is {context.value}, {origin_text(context)}", context.value, "count"
            ),
        ),
        remedy=Remedy(_WAYS_TO_READ_LIMITS.get(problem, _ANY_WAY_TO_READ_LIMITS)),
    )


_WAYS_TO_READ_LIMITS = {
    "cgroup-unreachable": (
        "gotax does not see the cgroups of the host. In a container it needs the host's"
        " /sys/fs/cgroup, as the Helm chart mounts it. `gotax selftest` says what is missing."
    ),
}
_ANY_WAY_TO_READ_LIMITS = (
    "A file of its cgroup, or of one above it, cannot be read: a security module (AppArmor,"
    " SELinux) denies it, or the path of the cgroup is longer than 4096 bytes. The limit is in"
    " cpu.max, with cgroup v1 in cpu.cfs_quota_us."
)


def _way_to_read(reason: str) -> str:
    """What helps for this reason; docs/gomaxprocs.md lists the reasons."""
    if reason == "procfs-denied":
        return (
            "Give gotax CAP_SYS_PTRACE, or run it as root. If it is root already, a security module"
            " (AppArmor, SELinux, Yama), a sandbox or a user namespace protects the process."
        )
    if reason == "gomaxprocs-machine":
        return "There is no fix: gotax reads programs for amd64 and arm64 only."
    if reason == "binary-hostile":
        return (
            "The file or the memory of this program held up or ended the process that reads it, and"
            " gotax does not read it again until it is restarted. Find out where the program comes"
            " from: no compiler makes such a file, and usual file systems answer."
        )
    if reason == "reader-stuck":
        return (
            "gotax reads no program any more: too many of its readers wait for file systems or"
            " memory of other programs that do not answer. They are in state D, as gotax-reader."
            " End what does not answer (a FUSE or network file system, or its container). Then"
            " gotax goes on by itself. A restart of gotax helps until it happens again."
        )
    if reason == "binary-pending":
        return "Try again: other programs on this node take the time to read this one."
    if reason in ("gomaxprocs-range", "not read"):
        return "Try again: a process that has just started or is ending has no value."
    return (
        "gotax can read GOMAXPROCS of programs for amd64 and arm64 that were built with the"
        " standard Go compiler. docs/gomaxprocs.md explains each reason. If this program should be"
        " readable, please report it."
    )
