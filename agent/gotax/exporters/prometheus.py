"""The last window and the totals since the start for Prometheus; docs/metrics.md lists all metrics.

A container has the labels ``namespace``, ``pod``, ``container`` and ``workload``, with the values
that kube-state-metrics and cAdvisor use. It also has the label ``id``, so that a restarted
container does not continue the counters of its predecessor. All other identity is on
``gotax_container_info``. Each label can be dropped: then counters of containers with equal labels
are added up, and one of these containers provides the other values.

Counters stay for a while after their container has ended, so that the last scrape sees the final
value. Everything else is about the last window and running containers. Names are untrusted, so they
are cut to a bounded length. The number of listed containers is bounded too; the CPU time of the
others is added up in one series.

``publish`` only adds numbers. The text is rendered on request, once per window.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gotax.exporters.metrics import containers, host, own
from gotax.exporters.metrics import others as without_go
from gotax.exporters.metrics.containers import SERIES_OF_CONTAINER, labels_of
from gotax.exporters.metrics.family import CONTAINER_LABELS, Family, Instrumented, Labels, Metric
from gotax.exporters.metrics.totals import ContainerTotals, HostTotals
from gotax.exporters.textformat import TextFormat
from gotax.process import Container
from gotax.window import ContainerReport, OtherReport, Window

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Exposition:
    """Which labels and series are shown, and for how long.

    ``dropped``: which of CONTAINER_LABELS are omitted. ``max_series``: bound on the series of all
    containers together. ``grace_s``: how long the counters of an ended container stay, in profiled
    time; enough for two scrapes with an interval of a minute.
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
        """``others``: the other exporters. Their own metrics are included here."""
        self._exposition = exposition
        self._kept = tuple(
            place for place, label in enumerate(CONTAINER_LABELS) if label not in exposition.dropped
        )
        self._others = [other for other in others if isinstance(other, Instrumented)]
        self._listed: dict[Labels, ContainerTotals] = {}
        self._totals = HostTotals()
        self._window: Window | None = None
        self._format = TextFormat(exposition.dropped)
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
            # Listed containers come first, so that new ones do not displace them.
            keyed = [(self._labels(report.container), report) for report in window.reports]
            added = [pair for pair in keyed if pair[0] not in self._listed]
            for labels, report in keyed:
                if labels in self._listed:
                    self._add_report(labels, report, window)
            self._forget_unseen()
            for labels, report in added:
                self._add_report(labels, report, window)

    def close(self) -> None:
        """Clears all values; ``expose`` then shows only gotax itself."""
        with self._lock:
            self._listed.clear()
            self._window = self._text = None

    def expose(self) -> bytes:
        """The text format, of type ``CONTENT_TYPE``."""
        with self._lock:
            if self._text is None:
                self._text = self._format.render(self._families())
            return self._text

    def _families(self) -> Iterator[Family]:
        if self._window is not None:
            found = self._with_findings(self._window.others)
            yield from containers.families(self._listed, self._window, found)
            yield from without_go.families(found, self._window)
            yield from host.families(self._totals, self._window)
        yield from _united(self._others)
        yield from own.families(self._window.health.reader_cpu_s if self._window else 0.0)

    def _with_findings(self, reports: Iterable[OtherReport]) -> dict[Labels, OtherReport]:
        """By their labels, each once: a repeated series would fail the scrape."""
        found: dict[Labels, OtherReport] = {}
        for report in reports:
            if report.findings and len(found) < self._exposition.max_listed:
                found.setdefault(self._labels(report.container), report)
        return found

    def _forget_unseen(self) -> None:
        oldest = self._totals.profiled_s - self._exposition.grace_s
        for key, entry in list(self._listed.items()):
            if entry.last_seen_s < oldest:
                self._totals.unlisted_ns += entry.unseen_ns
                del self._listed[key]

    def _add_report(self, key: Labels, report: ContainerReport, window: Window) -> None:
        """Containers with equal labels share an entry: a repeated series would fail the scrape."""
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
        """Values of the ``CONTAINER_LABELS`` of a container, without the dropped ones."""
        every = labels_of(container)
        return tuple(every[i] for i in self._kept)


def _united(exporters: Iterable[Instrumented]) -> Iterator[Family]:
    """Each metric once: exporters of the same kind have the same metrics with different labels."""
    found: dict[Metric, list[tuple[Labels, float | None]]] = {}
    for exporter in exporters:
        for family in exporter.families():
            found.setdefault(family.metric, []).extend(family.samples)
    return (Family(metric, samples) for metric, samples in found.items())
