"""The metrics of containers without a Go program that have a finding. All others have none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gotax.exporters.metrics.family import Family, Labels, per_container
from gotax.window import OtherReport, Window

CPU = per_container(
    "gotax_other_cpu_cores",
    "gauge",
    "CPU usage of a container without Go in the last window; only while it has a finding.",
)
LIMIT = per_container(
    "gotax_other_cpu_limit_cores", "gauge", "Its tightest CPU limit; only while it has a finding."
)
THROTTLED = per_container(
    "gotax_other_throttled_ratio",
    "gauge",
    "Share of throttled periods in the last window, 0 to 1; only while it has a finding.",
)
THREADS_RAN = per_container(
    "gotax_other_threads_ran",
    "gauge",
    "Threads that ran in the last window; only while it has a finding.",
)
THREADS_AT_ONCE = per_container(
    "gotax_other_threads_at_once",
    "gauge",
    "Threads that ran or waited for CPU at once, on average; only while it has a finding.",
)
METRICS = (CPU, LIMIT, THROTTLED, THREADS_RAN, THREADS_AT_ONCE)

Others = Mapping[Labels, OtherReport]
"""Those with findings, by the values of the CONTAINER_LABELS that are not dropped."""


def families(others: Others, window: Window) -> Iterator[Family]:
    now = list(others.items())
    yield Family(CPU, ((k, window.cpu_cores(report.use.samples)) for k, report in now))
    yield Family(LIMIT, ((k, _limit(report)) for k, report in now))
    yield Family(THROTTLED, ((k, _throttled(report)) for k, report in now))
    yield Family(THREADS_RAN, ((k, report.use.threads_ran) for k, report in now))
    yield Family(THREADS_AT_ONCE, ((k, report.use.runnable) for k, report in now))


def _limit(report: OtherReport) -> float | None:
    return None if report.use.limit is None else report.use.limit.limit_cores


def _throttled(report: OtherReport) -> float | None:
    throttling = report.use.throttling
    if throttling is None or not throttling.periods[1]:
        return None
    throttled, periods = throttling.periods
    return throttled / periods
