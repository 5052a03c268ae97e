"""A time in steps, and the gaps in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Hour:
    """CPU of a workload in one hour (or five minutes), in cores by category.

    It is the average over the time ``since`` to ``until`` as far as some agent reported.
    ``saving_cores`` is what agents predicted that the remedy would save, 0 without a prediction.
    """

    start: int
    since: int
    until: int
    cores: float
    categories: Mapping[str, float]
    saving_cores: float = 0.0


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which no agent reported."""

    since: int
    until: int
