"""The metric of the Events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gotax.exporters.metrics.family import Family, Metric

EVENTS = Metric(
    "gotax_kubernetes_events", "counter", "Kubernetes Events by what became of them.", ("outcome",)
)
METRICS = (EVENTS,)


def families(counts: Mapping[str, int]) -> Iterator[Family]:
    yield Family(EVENTS, (((outcome,), n) for outcome, n in sorted(counts.items())))
