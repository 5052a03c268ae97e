"""A metric with its samples, independent of the output format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float | None]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. ``name`` is without the suffix of its samples.

    ``most``: the most series of one container; 0 if the metric is not about containers.
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


@dataclass(frozen=True, slots=True)
class Family:
    """``samples``: label values and a number; a sample with None is omitted.

    A summary has two samples: the count, then the sum.
    """

    metric: Metric
    samples: Samples


@runtime_checkable
class Instrumented(Protocol):
    """An exporter with metrics of its own."""

    def families(self) -> Iterator[Family]:
        """The current values, each metric once; called from any thread."""


CONTAINER_LABELS = ("namespace", "pod", "container", "workload", "id")


def per_container(name: str, kind: str, text: str, *labels: str) -> Metric:
    return Metric(name, kind, text, CONTAINER_LABELS + labels, most=1)
