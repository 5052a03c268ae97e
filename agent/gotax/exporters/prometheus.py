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

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

from prometheus_client import metrics_core

from gotax.exporters.metrics import containers, host, own
from gotax.exporters.metrics.containers import CONTAINER_LABELS, SERIES_OF_CONTAINER, labels_of
from gotax.exporters.metrics.family import Family, Instrumented, Labels, Metric
from gotax.exporters.metrics.totals import ContainerTotals, HostTotals
from gotax.exporters.textformat import TextFormat
from gotax.process import Container
from gotax.window import ContainerReport, Window

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


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


class PrometheusExporter:
    """``publish`` from one thread, ``expose`` from any other."""

    def __init__(
        self, exposition: Exposition = Exposition(), others: Sequence[object] = ()
    ) -> None:
        """``others``: exporters beside this one. Those with metrics of their own show them here."""
        self._exposition = exposition
        self._kept = tuple(
            place for place, label in enumerate(CONTAINER_LABELS) if label not in exposition.dropped
        )
        self._others = [other for other in others if isinstance(other, Instrumented)]
        self._listed: dict[Labels, ContainerTotals] = {}
        self._totals = HostTotals()
        self._window: Window | None = None
        self._format = TextFormat()
        self._text: bytes | None = None
        self._lock = threading.Lock()

    def publish(self, window: Window) -> None:
        """Add the window's numbers to the totals."""
        with self._lock:
            self._window = window
            self._text = None
            self._totals.add(window)
            for entry in self._listed.values():
                entry.now.clear()
            # Who is there already comes first, so that its counters do not fall in a long window.
            keyed = [(self._labels(report.container), report) for report in window.reports]
            added = [pair for pair in keyed if pair[0] not in self._listed]
            for labels, report in keyed:
                if labels in self._listed:
                    self._add_report(labels, report, window)
            self._forget_unseen()
            for labels, report in added:
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

    def collect(self) -> Iterator[metrics_core.Metric]:
        """What a registry of prometheus_client asks of a collector."""
        return map(self._converted, self._families())

    def _families(self) -> Iterator[Family]:
        if self._window is not None:
            yield from containers.families(self._listed, self._window)
            yield from host.families(self._totals, self._window)
        yield from _united(self._others)
        yield from own.families()

    def _converted(self, family: Family) -> metrics_core.Metric:
        metric = family.metric
        names = [name for name in metric.labels if name not in self._exposition.dropped]
        converted = metrics_core.Metric(metric.name, metric.help, metric.kind)
        series = (
            (f"{metric.name}_count", f"{metric.name}_sum")
            if metric.kind == "summary"
            else repeat(metric.series)
        )
        for name, (labels, value) in zip(series, family.samples, strict=False):
            if value is not None:
                converted.add_sample(name, dict(zip(names, labels, strict=True)), value)
        return converted

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
            entry = self._listed[key] = ContainerTotals(0.0)
        entry.add(report, window.cpu_ns_of(report))
        entry.last_seen_s = self._totals.profiled_s

    def _labels(self, container: Container) -> Labels:
        """``CONTAINER_LABELS`` of a container, without those that are dropped."""
        every = labels_of(container)
        return tuple(every[i] for i in self._kept)


def _united(exporters: Iterable[Instrumented]) -> Iterator[Family]:
    """Each metric once: two of a kind have the same, told apart by a label."""
    found: dict[Metric, list[tuple[Labels, float | None]]] = {}
    for exporter in exporters:
        for family in exporter.families():
            found.setdefault(family.metric, []).extend(family.samples)
    return (Family(metric, samples) for metric, samples in found.items())
