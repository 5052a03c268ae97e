"""One metric with its samples: what an exporter tells of itself, before it becomes text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

Labels = tuple[str, ...]
Samples = Iterable[tuple[Labels, float | None]]


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


@dataclass(frozen=True, slots=True)
class Family:
    """``samples``: the values of the metric's labels, and a number; None is left out.

    A summary has two samples: the count, then the sum.
    """

    metric: Metric
    samples: Samples


@runtime_checkable
class Instrumented(Protocol):
    """An exporter that has metrics of its own."""

    def families(self) -> Iterator[Family]:
        """As of now, each metric once; called from any thread."""
