"""Because of whom the threads of a container wait for CPU."""

from __future__ import annotations

from dataclasses import replace

from gotax.findings import WaitCause
from gotax.window import ContainerReport

NOTABLE = 0.1
"""The part of the time in which its threads could run, from which on they wait."""
_BUSY = 0.85
_THROTTLED = 0.1


def with_cause(report: ContainerReport, host_busy: float | None) -> ContainerReport:
    """``host_busy``: the share of the node's CPU time that is used; None if not known."""
    waiting = report.waiting
    if waiting is None or not waiting.run_ns + waiting.wait_ns:
        return replace(report, waits_for=None)
    return replace(report, waits_for=_cause(report, waiting.share, host_busy))


def _cause(report: ContainerReport, share: float, host_busy: float | None) -> WaitCause:
    if share < NOTABLE:
        return WaitCause.NOTHING
    periods, throttled = report.usage.periods, report.usage.throttled_periods
    if periods and throttled and throttled >= _THROTTLED * periods:
        return WaitCause.OWN_LIMIT
    if host_busy is None:
        return WaitCause.UNKNOWN
    return WaitCause.NODE if host_busy >= _BUSY else WaitCause.OWN_THREADS
