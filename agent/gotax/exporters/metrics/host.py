"""The metrics of the host and of the profiling."""

from __future__ import annotations

from collections.abc import Iterator

from gotax.exporters.metrics.family import Family, Metric
from gotax.exporters.metrics.totals import HostTotals
from gotax.window import Window

UNJUDGED = Metric(
    "gotax_unjudged_programs",
    "gauge",
    "Programs of the last window that could not be read, so it is unknown if they are Go.",
    ("reason",),
)
UNJUDGED_CPU = Metric(
    "gotax_unjudged_cpu_seconds",
    "counter",
    "CPU time of programs that could not be read.",
    ("reason",),
)
OTHER_CPU = Metric("gotax_other_cpu_seconds", "counter", "CPU time of programs that are not Go.")
UNLISTED_CPU = Metric(
    "gotax_unlisted_cpu_seconds",
    "counter",
    "CPU time of Go containers beyond --max-series.",
)
UNLISTED = Metric(
    "gotax_unlisted_containers", "gauge", "Go containers of the last window beyond --max-series."
)
SAMPLES = Metric("gotax_samples", "counter", "Samples read from the kernel.")
LOST_SAMPLES = Metric(
    "gotax_lost_samples",
    "counter",
    "Samples that could not be attributed to a process, by reason.",
    ("reason",),
)
PROFILED = Metric(
    "gotax_profiled_seconds", "counter", "Profiled time: the sum of the window lengths."
)
LAST_WINDOW = Metric(
    "gotax_last_window_timestamp_seconds", "gauge", "End of the last window, Unix time."
)
FREQUENCY = Metric("gotax_sampling_frequency_hertz", "gauge", "Samples per second and CPU.")
DRAIN = Metric("gotax_drain_seconds", "summary", "Time to read the counts from the kernel.")
PROCESSING = Metric(
    "gotax_processing_seconds", "summary", "Time to process the counts into a window."
)
CACHE_ENTRIES = Metric("gotax_cache_entries", "gauge", "Entries of a cache.", ("cache",))
CACHE_EVICTIONS = Metric(
    "gotax_cache_evictions", "counter", "Entries removed from a full cache.", ("cache",)
)
ERRORS = Metric(
    "gotax_errors",
    "counter",
    "Errors when reading processes, binaries, cgroups or Kubernetes, by kind.",
    ("kind",),
)
READER_RESTARTS = Metric(
    "gotax_reader_restarts",
    "counter",
    "Processes that read files and memory of containers and were replaced, by reason.",
    ("reason",),
)
READERS_STUCK = Metric(
    "gotax_stuck_readers",
    "gauge",
    "Such processes that were killed and have not ended, since a file or memory does not answer.",
)

METRICS = (
    UNJUDGED,
    UNJUDGED_CPU,
    OTHER_CPU,
    UNLISTED_CPU,
    UNLISTED,
    SAMPLES,
    LOST_SAMPLES,
    PROFILED,
    LAST_WINDOW,
    FREQUENCY,
    DRAIN,
    PROCESSING,
    CACHE_ENTRIES,
    CACHE_EVICTIONS,
    ERRORS,
    READER_RESTARTS,
    READERS_STUCK,
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
    yield Family(SAMPLES, [((), totals.samples)])
    yield Family(LOST_SAMPLES, (((reason,), n) for reason, n in sorted(totals.lost.items())))
    yield Family(PROFILED, [((), totals.profiled_s)])
    yield Family(LAST_WINDOW, [((), window.start_unix_ns / 1e9 + window.duration_s)])
    yield Family(FREQUENCY, [((), window.hz)])


def _health(totals: HostTotals, window: Window) -> Iterator[Family]:
    """Health counts evictions and errors since the start."""
    health = window.health
    yield Family(DRAIN, [((), totals.windows), ((), totals.drain_s)])
    yield Family(PROCESSING, [((), totals.windows), ((), totals.work_s)])
    for metric, counts in (
        (CACHE_ENTRIES, health.cache_entries),
        (CACHE_EVICTIONS, health.cache_evictions),
        (ERRORS, health.errors),
        (READER_RESTARTS, health.reader_restarts),
    ):
        yield Family(metric, (((name,), n) for name, n in sorted(counts.items())))
    yield Family(READERS_STUCK, [((), health.readers_stuck)])
