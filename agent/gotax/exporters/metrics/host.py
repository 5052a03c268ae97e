"""The metrics of the host, and of how the agent fares in profiling it."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.exporters.metrics.family import Family, Metric
from gotax.exporters.metrics.totals import HostTotals
from gotax.window import Window

UNJUDGED = Metric(
    "gotax_unjudged_programs",
    "gauge",
    "Programs of the last window that could not be read: whether they are Go is not known.",
    ("reason",),
)
UNJUDGED_CPU = Metric(
    "gotax_unjudged_cpu_seconds", "counter", "CPU time of such programs.", ("reason",)
)
OTHER_CPU = Metric("gotax_other_cpu_seconds", "counter", "CPU time of programs that are not Go.")
UNLISTED_CPU = Metric(
    "gotax_unlisted_cpu_seconds",
    "counter",
    "CPU time of Go containers beyond the number that is listed one by one.",
)
UNLISTED = Metric(
    "gotax_unlisted_containers", "gauge", "Go containers of the last window beyond that number."
)
HITS = Metric("gotax_hits", "counter", "Hits drained from the kernel.")
LOST_HITS = Metric("gotax_lost_hits", "counter", "Hits without a process, by reason.", ("reason",))
PROFILED = Metric("gotax_profiled_seconds", "counter", "Time profiled: the windows' lengths.")
LAST_WINDOW = Metric(
    "gotax_last_window_timestamp_seconds", "gauge", "When the last window ended, Unix time."
)
FREQUENCY = Metric("gotax_sampling_frequency_hertz", "gauge", "Samples per second and CPU.")
DRAIN = Metric("gotax_drain_seconds", "summary", "Time it took to drain the kernel's counts.")
TICK = Metric("gotax_tick_seconds", "summary", "Time it took to make a window of them.")
CACHE_ENTRIES = Metric("gotax_cache_entries", "gauge", "Entries of a cache.", ("cache",))
CACHE_EVICTIONS = Metric(
    "gotax_cache_evictions", "counter", "Entries a cache has dropped to stay bounded.", ("cache",)
)
ERRORS = Metric("gotax_errors", "counter", "Things that could not be read, by kind.", ("kind",))

METRICS = (
    UNJUDGED,
    UNJUDGED_CPU,
    OTHER_CPU,
    UNLISTED_CPU,
    UNLISTED,
    HITS,
    LOST_HITS,
    PROFILED,
    LAST_WINDOW,
    FREQUENCY,
    DRAIN,
    TICK,
    CACHE_ENTRIES,
    CACHE_EVICTIONS,
    ERRORS,
)
"""In the order in which they are exposed."""


def families(totals: HostTotals, window: Window) -> Iterator[Family]:
    yield from _host(totals, window)
    yield from _health(totals, window)


def _host(totals: HostTotals, window: Window) -> Iterator[Family]:
    yield Family(UNJUDGED, (((each.reason,), each.processes) for each in window.unjudged))
    spent = sorted(totals.unjudged_ns.items())
    yield Family(UNJUDGED_CPU, (((reason,), ns / 1e9) for reason, ns in spent))
    yield Family(OTHER_CPU, [((), totals.other_ns / 1e9)])
    yield Family(UNLISTED_CPU, [((), totals.unlisted_ns / 1e9)])
    yield Family(UNLISTED, [((), totals.unlisted)])
    yield Family(HITS, [((), totals.hits)])
    yield Family(LOST_HITS, (((reason,), n) for reason, n in sorted(totals.lost.items())))
    yield Family(PROFILED, [((), totals.profiled_s)])
    yield Family(LAST_WINDOW, [((), window.start_unix_ns / 1e9 + window.duration_s)])
    yield Family(FREQUENCY, [((), window.hz)])


def _health(totals: HostTotals, window: Window) -> Iterator[Family]:
    """Evictions and errors count since the start already."""
    health = window.health
    yield Family(DRAIN, [((), totals.windows), ((), totals.drain_s)])
    yield Family(TICK, [((), totals.windows), ((), totals.work_s)])
    for metric, counts in (
        (CACHE_ENTRIES, health.cache_entries),
        (CACHE_EVICTIONS, health.cache_evictions),
        (ERRORS, health.errors),
    ):
        yield Family(metric, (((name,), n) for name, n in sorted(counts.items())))
