"""The last Window and the totals of the agent's life for Prometheus; docs/metrics.md lists all.

A container is known by ``namespace``, ``pod``, ``container`` and ``workload``, as others name them
(kube-state-metrics, cAdvisor), and by ``id``, so that a restarted container never goes on with its
predecessor's numbers. All else there is to join on is on ``gotax_container_info`` only. Each of
these labels can be dropped: counters of what is then one series are added up, and one container
speaks for all.

Counters stay for a while after their container has ended, so that a last scrape sees their end;
all else is of the last window and of containers that live. Names come from strangers, so they are
cut to a bounded length, and only so many containers are listed that the series stay below a bound;
the CPU time of the rest is added up in one series.

Publishing only adds numbers up. The text is made when it is asked for, once per window.
"""

from __future__ import annotations

import resource
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from prometheus_client.metrics_core import Metric as Family

import gotax
from gotax.comparison import Change, Comparison
from gotax.exporters.backends.delivery import Accountable
from gotax.exporters.stream.statistics import Statistics, Streaming
from gotax.exporters.text import bounded
from gotax.exporters.textformat import TextFormat
from gotax.findings import Finding, Verdict
from gotax.process import Container, CpuUsage
from gotax.profile import CATEGORY_COUNT, Category, Int64Array
from gotax.window import ContainerReport, Window

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_LABEL = 256
MAX_FINDINGS = 20  # of one container; the rules have fewer codes

CONTAINER_LABELS = ("namespace", "pod", "container", "workload", "id")

Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Metric:
    """What is exported under one name. ``name`` is without the suffix of its samples.

    ``most``: how many series one container can have, 0 for what is not of containers.
    """

    name: str
    kind: str  # counter, gauge or summary
    help: str
    labels: Labels = ()
    most: int = 0

    @property
    def series(self) -> str:
        """The name in the text format."""
        return self.name + "_total" if self.kind == "counter" else self.name


def _per_container(name: str, kind: str, text: str, *labels: str) -> Metric:
    return Metric(name, kind, text, CONTAINER_LABELS + labels, most=1)


def _several(most: int, metric: Metric) -> Metric:
    return replace(metric, most=most)


CPU = _several(
    CATEGORY_COUNT,
    _per_container(
        "gotax_cpu_seconds", "counter", "CPU time by what it was spent on.", "category", "group"
    ),
)
RUNTIME_SHARE = _per_container(
    "gotax_runtime_share",
    "gauge",
    "Share of the CPU time of the last window that the scheduler and the GC took, 0 to 1.",
)
GOMAXPROCS = _per_container(
    "gotax_gomaxprocs", "gauge", "GOMAXPROCS as read from the process with the most hits."
)
GOMAXPROCS_RECOMMENDED = _per_container(
    "gotax_gomaxprocs_recommended", "gauge", "GOMAXPROCS that fits the container."
)
LIMIT = _per_container(
    "gotax_cpu_limit_cores", "gauge", "Tightest CPU limit on the cgroup's path; absent for none."
)
THROTTLED = _per_container(
    "gotax_cpu_throttled_seconds", "counter", "Time throttled by the CPU limit."
)
THROTTLED_PERIODS = _per_container(
    "gotax_cpu_throttled_periods", "counter", "Enforcement periods with throttling."
)
PERIODS = _per_container("gotax_cpu_periods", "counter", "Enforcement periods of the CPU limit.")
VERDICT = _several(
    len(Verdict),
    _per_container(
        "gotax_verdict", "gauge", "1 for the verdict that holds, 0 for the others.", "verdict"
    ),
)
FINDING = _several(
    MAX_FINDINGS,
    _per_container(
        "gotax_finding", "gauge", "1 for each finding that holds.", "code", "severity", "cause"
    ),
)
FINDING_HELD = _several(
    MAX_FINDINGS,
    _per_container(
        "gotax_finding_held_seconds",
        "gauge",
        "For how long each finding has held without a break, as far as gotax remembers.",
        "code",
    ),
)
SAVING = _several(
    3,
    _per_container(
        "gotax_saving_cores",
        "gauge",
        "CPU that the recommended GOMAXPROCS is predicted to save at the same work.",
        "bound",
    ),
)
CONTAINER_INFO = _per_container(
    "gotax_container_info",
    "gauge",
    "Always 1; who the container is and what its main Go program was built from.",
    "node",
    "image",
    "kind",
    "workload_kind",
    "cgroup",
    "container_id",
    "pod_uid",
    "unit",
    "go_version",
    "main_module",
    "main_version",
    "gomaxprocs_origin",
)
CHANGE_CORES = _several(
    2,
    _per_container(
        "gotax_change_cpu_cores", "gauge", "Mean CPU before and after GOMAXPROCS changed.", "when"
    ),
)
CHANGE_RUNTIME = _several(
    2,
    _per_container(
        "gotax_change_runtime_share",
        "gauge",
        "Share of the scheduler and the GC before and after GOMAXPROCS changed, 0 to 1.",
        "when",
    ),
)
CHANGE_THROTTLED = _several(
    2,
    _per_container(
        "gotax_change_throttled_ratio",
        "gauge",
        "Share of the enforcement periods with throttling before and after GOMAXPROCS changed.",
        "when",
    ),
)
CHANGE_GOMAXPROCS = _several(
    2,
    _per_container(
        "gotax_change_gomaxprocs", "gauge", "GOMAXPROCS before and after it changed.", "when"
    ),
)
CHANGE_SAVING = _several(
    6,
    _per_container(
        "gotax_change_saving_cores",
        "gauge",
        "CPU that a change of GOMAXPROCS saved, and what had been predicted.",
        "estimate",
    ),
)
CHANGE_TIME = _per_container(
    "gotax_change_timestamp_seconds", "gauge", "When it was compared, Unix time."
)
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
STREAM_CONNECTED = Metric(
    "gotax_stream_connected", "gauge", "1 while a collector has welcomed the agent, else 0."
)
STREAM_CONNECTIONS = Metric(
    "gotax_stream_connections", "counter", "Connections to a collector that were tried."
)
STREAM_FAILURES = Metric(
    "gotax_stream_failures", "counter", "Connections that ended badly, by reason.", ("reason",)
)
STREAM_SENT = Metric("gotax_stream_sent_reports", "counter", "Reports sent, repeated ones as well.")
STREAM_BYTES = Metric("gotax_stream_sent_bytes", "counter", "Bytes of those reports, compressed.")
STREAM_ACKNOWLEDGED = Metric(
    "gotax_stream_acknowledged_reports", "counter", "Reports that a collector has stored."
)
STREAM_DROPPED = Metric(
    "gotax_stream_dropped_windows",
    "counter",
    "Windows that no collector will get, by reason.",
    ("reason",),
)
STREAM_IN_FLIGHT = Metric(
    "gotax_stream_in_flight_reports", "gauge", "Reports sent and not acknowledged."
)
SPOOL_RECORDS = Metric("gotax_spool_reports", "gauge", "Reports that no collector has yet.")
SPOOL_BYTES = Metric("gotax_spool_bytes", "gauge", "Bytes they take, on disk and in memory.")
SPOOL_ERRORS = Metric("gotax_spool_errors", "counter", "Writes to the spool that failed.")
BACKEND_SENT = Metric(
    "gotax_backend_sent_profiles",
    "counter",
    "Profiles that a backend has taken: one for each container and window.",
    ("backend",),
)
BACKEND_BYTES = Metric(
    "gotax_backend_sent_bytes",
    "counter",
    "Bytes of the messages a backend has taken.",
    ("backend",),
)
BACKEND_DROPPED = Metric(
    "gotax_backend_dropped_profiles",
    "counter",
    "Profiles that will not reach a backend, by reason.",
    ("backend", "reason"),
)
BACKEND_FAILURES = Metric(
    "gotax_backend_failed_calls",
    "counter",
    "Calls to a backend that failed, by reason.",
    ("backend", "reason"),
)
BACKEND_WAITING = Metric(
    "gotax_backend_waiting_profiles", "gauge", "Profiles on their way to a backend.", ("backend",)
)
OWN_CPU = Metric("gotax_own_cpu_seconds", "counter", "CPU time of gotax itself.")
MEMORY = Metric("gotax_resident_memory_bytes", "gauge", "Resident memory of gotax itself.")
BUILD_INFO = Metric("gotax_build_info", "gauge", "Always 1; the version of gotax.", ("version",))

METRICS = (
    CPU,
    THROTTLED,
    THROTTLED_PERIODS,
    PERIODS,
    RUNTIME_SHARE,
    GOMAXPROCS,
    GOMAXPROCS_RECOMMENDED,
    LIMIT,
    VERDICT,
    FINDING,
    FINDING_HELD,
    SAVING,
    CONTAINER_INFO,
    CHANGE_CORES,
    CHANGE_RUNTIME,
    CHANGE_THROTTLED,
    CHANGE_GOMAXPROCS,
    CHANGE_SAVING,
    CHANGE_TIME,
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
    STREAM_CONNECTED,
    STREAM_CONNECTIONS,
    STREAM_FAILURES,
    STREAM_SENT,
    STREAM_BYTES,
    STREAM_ACKNOWLEDGED,
    STREAM_DROPPED,
    STREAM_IN_FLIGHT,
    SPOOL_RECORDS,
    SPOOL_BYTES,
    SPOOL_ERRORS,
    BACKEND_SENT,
    BACKEND_BYTES,
    BACKEND_DROPPED,
    BACKEND_FAILURES,
    BACKEND_WAITING,
    OWN_CPU,
    MEMORY,
    BUILD_INFO,
)
"""Everything ``expose`` may print, in its order."""

SERIES_OF_CONTAINER = sum(metric.most for metric in METRICS)
"""How many series one container can have at most; most have half of that."""


@dataclass(frozen=True, slots=True)
class Exposition:
    """What is shown, and for how long.

    ``dropped``: of CONTAINER_LABELS. ``max_series``: of containers, all together. ``grace_s``: how
    long the counters of a container that ended stay, in profiled time, so that no clock is needed
    and a paused agent forgets nobody; two scrapes of a minute fit in.
    """

    dropped: frozenset[str] = frozenset()
    max_series: int = 40_000
    grace_s: float = 150.0

    @property
    def max_listed(self) -> int:
        return max(1, self.max_series // SERIES_OF_CONTAINER)


@dataclass(slots=True)
class _Listed:
    """The containers with the same labels: their totals since they were first listed.

    ``now``: of those seen in the last window, the reports with their CPU time.
    """

    last_seen_s: float
    cpu_ns: Int64Array = field(default_factory=lambda: np.zeros(CATEGORY_COUNT, dtype=np.int64))
    usage: CpuUsage = CpuUsage()
    unseen_ns: int = 0  # CPU time of windows without a hit: what for is not known yet
    now: list[tuple[ContainerReport, int]] = field(default_factory=list)

    def add(self, report: ContainerReport, cpu_ns: int) -> None:
        self.now.append((report, cpu_ns))
        if report.hits:
            self.cpu_ns += report.category_hits * (self.unseen_ns + cpu_ns) // report.hits
            self.unseen_ns = 0
        else:
            self.unseen_ns += cpu_ns
        self.usage += report.usage


@dataclass(frozen=True, slots=True)
class _Living:
    """Those of one entry that live, as of the last window; ``speaker`` is one of them.

    It speaks where the others cannot be added to it: the one with the worst verdict, and of those
    the one with the most CPU time.
    """

    speaker: ContainerReport
    reports: tuple[ContainerReport, ...]

    @property
    def runtime_share(self) -> float:
        hits = sum(report.hits for report in self.reports)
        if not hits:
            return 0.0
        return sum(report.runtime_share * report.hits for report in self.reports) / hits


_SEVERITY = {verdict: place for place, verdict in enumerate(Verdict)}  # worst first


def _living(entry: _Listed) -> _Living | None:
    living = [(r, ns) for r, ns in entry.now if not (r.container.pod and r.container.pod.ended)]
    if not living:
        return None
    speaker, _ = min(living, key=lambda pair: (_SEVERITY[pair[0].verdict], -pair[1]))
    return _Living(speaker, tuple(report for report, _ in living))


@dataclass(slots=True)
class _Totals:
    """Of the agent's life. Times in integers of nanoseconds: they must not lose small growth."""

    profiled_s: float = 0.0
    hits: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    other_ns: int = 0
    unjudged_ns: Counter[str] = field(default_factory=Counter)
    unlisted_ns: int = 0
    unlisted: int = 0
    windows: int = 0
    drain_s: float = 0.0
    tick_s: float = 0.0


class PrometheusExporter:
    """``publish`` from one thread, ``expose`` from any other."""

    def __init__(
        self, exposition: Exposition = Exposition(), others: Sequence[object] = ()
    ) -> None:
        """``others``: exporters beside this one; how those do that can tell is shown too."""
        self._exposition = exposition
        self._kept = tuple(
            place for place, label in enumerate(CONTAINER_LABELS) if label not in exposition.dropped
        )
        self._deliveries = [other for other in others if isinstance(other, Accountable)]
        self._streams = [other for other in others if isinstance(other, Streaming)]
        self._listed: dict[Labels, _Listed] = {}
        self._totals = _Totals()
        self._window: Window | None = None
        self._format = TextFormat()
        self._text: bytes | None = None
        self._lock = threading.Lock()

    def publish(self, window: Window) -> None:
        """Add the window's numbers to the totals."""
        with self._lock:
            self._window = window
            self._text = None
            self._add_totals(window)
            for entry in self._listed.values():
                entry.now.clear()
            # Who is there already comes first, so that its counters do not fall in a long window.
            keyed = [(self._labels(report.container), report) for report in window.reports]
            newcomers = [pair for pair in keyed if pair[0] not in self._listed]
            for labels, report in keyed:
                if labels in self._listed:
                    self._add_report(labels, report, window)
            self._forget_unseen()
            for labels, report in newcomers:
                self._add_report(labels, report, window)

    def close(self) -> None:
        """Forget everything; ``expose`` then shows only gotax itself."""
        with self._lock:
            self._listed.clear()
            self._window = self._text = None

    def expose(self) -> bytes:
        """The text format, to be sent as ``CONTENT_TYPE``."""
        with self._lock:
            if self._text is None:
                self._text = self._format.render(self.collect())
            return self._text

    def collect(self) -> Iterator[Family]:
        """What a registry of prometheus_client asks of a collector."""
        if self._window is not None:
            yield from self._counter_families()
            yield from self._gauge_families()
            yield from self._change_families(self._window)
            yield from self._host_families(self._window)
            yield from self._health_families(self._window)
        for stream in self._streams:
            yield from _stream_families(stream.statistics())
        if self._deliveries:
            yield from _backend_families(self._deliveries)
        yield _family(OWN_CPU, [((), time.process_time())])
        yield _family(MEMORY, [((), read_resident_bytes())])
        yield _family(BUILD_INFO, [((gotax.__version__,), 1)])

    def _add_totals(self, window: Window) -> None:
        totals = self._totals
        totals.profiled_s += window.duration_s
        totals.hits += window.hits.drained
        totals.lost.update(window.hits.lost)
        totals.other_ns += window.native_hits * window.period_ns
        for found in window.unjudged:
            totals.unjudged_ns[found.reason] += found.hits * window.period_ns
        totals.unlisted = 0
        totals.windows += 1
        totals.drain_s += window.health.drain_s
        totals.tick_s += window.health.tick_s

    def _forget_unseen(self) -> None:
        oldest = self._totals.profiled_s - self._exposition.grace_s
        for key, entry in list(self._listed.items()):
            if entry.last_seen_s < oldest:
                self._totals.unlisted_ns += entry.unseen_ns
                del self._listed[key]

    def _add_report(self, key: Labels, report: ContainerReport, window: Window) -> None:
        """Containers are one if their labels are: a name twice in the text spoils the scrape."""
        entry = self._listed.get(key)
        if entry is None:
            if len(self._listed) >= self._exposition.max_listed:
                self._totals.unlisted += 1
                self._totals.unlisted_ns += window.cpu_ns_of(report)
                return
            entry = self._listed[key] = _Listed(0.0)
        entry.add(report, window.cpu_ns_of(report))
        entry.last_seen_s = self._totals.profiled_s

    def _labels(self, container: Container) -> Labels:
        """``CONTAINER_LABELS`` of a container, without those that are dropped."""
        place = container.short_id
        pod = container.pod
        if pod is None:
            every: Labels = ("", "", container.label, "", place)
        else:
            every = (pod.namespace, pod.pod, container.label, pod.workload.name, place)
        return tuple(bounded(every[i], MAX_LABEL) for i in self._kept)

    def _family(self, metric: Metric, samples: Iterable[tuple[Labels, float | None]]) -> Family:
        """Of containers; what is None is absent."""
        names = [name for name in metric.labels if name not in self._exposition.dropped]
        family = Family(metric.name, metric.help, metric.kind)
        for labels, value in samples:
            if value is not None:
                family.add_sample(metric.series, dict(zip(names, labels, strict=True)), value)
        return family

    def _counter_families(self) -> Iterator[Family]:
        listed = self._listed.items()
        yield self._family(
            CPU,
            (
                ((*key, category.label, category.group.value), spent_ns / 1e9)
                for key, entry in listed
                for category, spent_ns in zip(Category, entry.cpu_ns.tolist(), strict=True)
                if spent_ns
            ),
        )
        yield self._family(THROTTLED, ((k, _seconds(e.usage.throttled_ns)) for k, e in listed))
        yield self._family(THROTTLED_PERIODS, ((k, e.usage.throttled_periods) for k, e in listed))
        yield self._family(PERIODS, ((k, e.usage.periods) for k, e in listed))

    def _gauge_families(self) -> Iterator[Family]:
        now = [(key, found) for key, entry in self._listed.items() if (found := _living(entry))]
        yield self._family(RUNTIME_SHARE, ((k, living.runtime_share) for k, living in now))
        yield self._family(GOMAXPROCS, ((k, _gomaxprocs(living.speaker)) for k, living in now))
        yield self._family(
            GOMAXPROCS_RECOMMENDED, ((k, _recommended(living.speaker)) for k, living in now)
        )
        yield self._family(LIMIT, ((k, living.speaker.limit.limit_cores) for k, living in now))
        yield self._family(
            VERDICT,
            (
                ((*k, verdict.value), float(living.speaker.verdict is verdict))
                for k, living in now
                for verdict in Verdict
            ),
        )
        yield self._family(
            FINDING,
            (
                ((*k, bounded(f.code, MAX_LABEL), f.severity.value, _cause(f)), 1)
                for k, living in now
                for f in _findings(living.reports)
            ),
        )
        yield self._family(
            FINDING_HELD,
            (
                ((*k, bounded(f.code, MAX_LABEL)), f.held_s)
                for k, living in now
                for f in _findings(living.reports)
            ),
        )
        yield self._family(
            SAVING,
            (
                ((*k, bound), cores)
                for k, living in now
                for bound, cores in _savings(living.reports)
            ),
        )
        yield self._family(CONTAINER_INFO, (((*k, *_info(living.speaker)), 1) for k, living in now))

    def _change_families(self, window: Window) -> Iterator[Family]:
        """The last change of each container that lives; the window holds a bounded number."""
        shown = {
            report.container.key: key
            for key, entry in self._listed.items()
            for report, _ in entry.now
        }
        last: dict[Labels, Change] = {}
        for change in window.changes:  # newest first
            labels = shown.get(change.container.key)
            if labels is not None:
                last.setdefault(labels, change)
        both = [
            (key, when, seen)
            for key, change in last.items()
            for when, seen in (
                ("before", change.comparison.before),
                ("after", change.comparison.after),
            )
        ]
        yield self._family(CHANGE_CORES, (((*key, when), seen.cores) for key, when, seen in both))
        yield self._family(
            CHANGE_RUNTIME, (((*key, when), seen.runtime_share) for key, when, seen in both)
        )
        yield self._family(
            CHANGE_THROTTLED, (((*key, when), seen.throttled_share) for key, when, seen in both)
        )
        yield self._family(
            CHANGE_GOMAXPROCS, (((*key, when), seen.gomaxprocs) for key, when, seen in both)
        )
        yield self._family(
            CHANGE_SAVING,
            (
                ((*key, estimate), value)
                for key, change in last.items()
                for estimate, value in _estimates(change.comparison)
            ),
        )
        yield self._family(
            CHANGE_TIME, ((key, change.unix_ns / 1e9) for key, change in last.items())
        )

    def _host_families(self, window: Window) -> Iterator[Family]:
        totals = self._totals
        yield _family(UNJUDGED, (((each.reason,), each.processes) for each in window.unjudged))
        spent = sorted(totals.unjudged_ns.items())
        yield _family(UNJUDGED_CPU, (((reason,), ns / 1e9) for reason, ns in spent))
        yield _family(OTHER_CPU, [((), totals.other_ns / 1e9)])
        yield _family(UNLISTED_CPU, [((), totals.unlisted_ns / 1e9)])
        yield _family(UNLISTED, [((), totals.unlisted)])
        yield _family(HITS, [((), totals.hits)])
        yield _family(LOST_HITS, (((reason,), n) for reason, n in sorted(totals.lost.items())))
        yield _family(PROFILED, [((), totals.profiled_s)])
        yield _family(LAST_WINDOW, [((), window.start_unix_ns / 1e9 + window.duration_s)])
        yield _family(FREQUENCY, [((), window.hz)])

    def _health_families(self, window: Window) -> Iterator[Family]:
        """Evictions and errors count since the start already."""
        totals, health = self._totals, window.health
        yield _summary(DRAIN, totals.windows, totals.drain_s)
        yield _summary(TICK, totals.windows, totals.tick_s)
        for metric, counts in (
            (CACHE_ENTRIES, health.cache_entries),
            (CACHE_EVICTIONS, health.cache_evictions),
            (ERRORS, health.errors),
        ):
            yield _family(metric, (((name,), n) for name, n in sorted(counts.items())))


def _stream_families(now: Statistics) -> Iterator[Family]:
    yield _family(STREAM_CONNECTED, [((), now.is_connected)])
    yield _family(STREAM_CONNECTIONS, [((), now.connections)])
    yield _family(STREAM_FAILURES, (((why,), n) for why, n in sorted(now.failures.items())))
    yield _family(STREAM_SENT, [((), now.sent)])
    yield _family(STREAM_BYTES, [((), now.sent_bytes)])
    yield _family(STREAM_ACKNOWLEDGED, [((), now.acknowledged)])
    yield _family(STREAM_DROPPED, (((why,), n) for why, n in sorted(now.dropped.items())))
    yield _family(STREAM_IN_FLIGHT, [((), now.in_flight)])
    yield _family(SPOOL_RECORDS, [((), now.spool_records)])
    yield _family(SPOOL_BYTES, [((), now.spool_bytes)])
    yield _family(SPOOL_ERRORS, [((), now.spool_errors)])


def _backend_families(deliveries: Sequence[Accountable]) -> Iterator[Family]:
    now = [(delivery.name, delivery.account()) for delivery in deliveries]
    yield _family(BACKEND_SENT, (((name,), account.sent) for name, account in now))
    yield _family(BACKEND_BYTES, (((name,), account.sent_bytes) for name, account in now))
    for metric, counts in (
        (BACKEND_DROPPED, [(name, account.dropped) for name, account in now]),
        (BACKEND_FAILURES, [(name, account.failures) for name, account in now]),
    ):
        yield _family(
            metric,
            (((name, reason), n) for name, by in counts for reason, n in sorted(by.items())),
        )
    yield _family(BACKEND_WAITING, (((name,), account.waiting) for name, account in now))


def _estimates(comparison: Comparison) -> Iterator[tuple[str, float | None]]:
    saving, predicted = comparison.saving, comparison.predicted
    yield "realised", saving.value
    yield "realised_low", saving.low
    yield "realised_high", saving.high
    if predicted is not None:
        yield "predicted_low", predicted.low
        yield "predicted_mid", predicted.mid
        yield "predicted_high", predicted.high


def _family(metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    family = Family(metric.name, metric.help, metric.kind)
    for labels, value in samples:
        family.add_sample(metric.series, dict(zip(metric.labels, labels, strict=True)), value)
    return family


def _summary(metric: Metric, count: int, total: float) -> Family:
    family = Family(metric.name, metric.help, metric.kind)
    family.add_sample(metric.name + "_count", {}, count)
    family.add_sample(metric.name + "_sum", {}, total)
    return family


def _gomaxprocs(report: ContainerReport) -> int | None:
    found = report.main_process.gomaxprocs
    return found.value if found else None


def _recommended(report: ContainerReport) -> int | None:
    """What the findings lead to; without any, what fits."""
    best = _most_saving(report)
    if best is not None and best.remedy.gomaxprocs is not None:
        return best.remedy.gomaxprocs
    found = report.main_process.gomaxprocs
    return found.recommended if found else None


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _findings(reports: Iterable[ContainerReport]) -> list[Finding]:
    """Each code once, the one that has held longest: a series must not be there twice."""
    found: dict[str, Finding] = {}
    for finding in sorted((f for r in reports for f in r.findings), key=lambda f: f.held_s):
        found[finding.code] = finding
    return [found[code] for code in sorted(found)][:MAX_FINDINGS]


def _cause(finding: Finding) -> str:
    return finding.cause.value if finding.cause else ""


def _most_saving(report: ContainerReport) -> Finding | None:
    """Of several predicted savings the largest: they are not for adding up."""
    return max(
        (finding for finding in report.findings if finding.saving is not None),
        key=lambda finding: finding.saving.mid if finding.saving else 0.0,
        default=None,
    )


def _savings(reports: Iterable[ContainerReport]) -> list[tuple[str, float]]:
    """Of the containers of one series added up; nothing where nothing is predicted."""
    best = [_most_saving(report) for report in reports]
    found = [finding.saving for finding in best if finding is not None and finding.saving]
    if not found:
        return []
    return [
        ("low", sum(saving.low for saving in found)),
        ("mid", sum(saving.mid for saving in found)),
        ("high", sum(saving.high for saving in found)),
    ]


def _info(report: ContainerReport) -> tuple[str, ...]:
    container, main = report.container, report.main_process
    build, pod = main.build, container.pod
    values = (
        pod.node if pod else "",
        pod.image if pod else "",
        pod.kind if pod else "",
        pod.workload.kind if pod else "",
        container.cgroup,
        container.container_id or "",
        container.pod_uid or "",
        container.unit or "",
        build.version if build else "",
        build.main.path if build else "",
        build.main.version if build else "",
        main.gomaxprocs.origin.value if main.gomaxprocs else "",
    )
    return tuple(bounded(value, MAX_LABEL) for value in values)


def read_resident_bytes(proc: Path = Path("/proc")) -> int:
    """Of this process; 0 where /proc/self/statm cannot be read."""
    try:
        pages = (proc / "self" / "statm").read_bytes().split()[1]
        return int(pages) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
