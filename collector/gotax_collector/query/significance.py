"""Whether two means differ by more than chance: Welch's t (Biometrika 34, 1947).

The variances may differ, and so may the numbers of samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gotax.wire.significance import quantile as quantile
from gotax.wire.significance import two_sided as two_sided
from gotax.wire.significance import welch


@dataclass(frozen=True, slots=True)
class Sample:
    """Of ``count`` values: their mean, and the variance of one (0 for fewer than 2)."""

    count: int
    mean: float
    variance: float

    @staticmethod
    def of(count: int, total: float, squares: float) -> Sample:
        """From the sums of the values and of their squares."""
        if count < 1:
            return Sample(0, 0.0, 0.0)
        mean = total / count
        spread = max(0.0, squares - count * mean * mean)
        return Sample(count, mean, spread / (count - 1) if count > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Difference:
    """``change`` is the second mean less the first, ``low`` to ``high`` its 95 % interval.

    ``p`` is the probability of a change at least as large by chance. All three None
    where a side has fewer than two values: one value does not say how far the next may be from it.
    """

    change: float
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def is_sure(self) -> bool:
        return self.p is not None and self.p < 0.05


def difference(first: Sample, second: Sample) -> Difference:
    change = second.mean - first.mean
    if first.count < 2 or second.count < 2:
        return Difference(change)
    error, freedom = welch((first.count, first.variance), (second.count, second.variance))
    if error <= 0:
        return Difference(change, change, change, 1.0 if change == 0 else 0.0)
    reach = quantile(freedom) * error
    p = two_sided(change / error, freedom)
    return Difference(change, change - reach, change + reach, p)


def holm(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Probabilities made honest for being several (Holm, Scand. J. Statistics 6, 1979)."""
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, index) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))
        adjusted[index] = highest
    return tuple(adjusted)
