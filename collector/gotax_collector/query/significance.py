"""Whether two means differ by more than chance: Welch's t (Biometrika 34, 1947).

The variances may differ, and so may the numbers of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


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
    error1, error2 = first.variance / first.count, second.variance / second.count
    error = error1 + error2
    if error <= 0:
        return Difference(change, change, change, 1.0 if change == 0 else 0.0)
    freedom = error**2 / (error1**2 / (first.count - 1) + error2**2 / (second.count - 1))
    reach = quantile(freedom) * math.sqrt(error)
    p = two_sided(change / math.sqrt(error), freedom)
    return Difference(change, change - reach, change + reach, p)


def two_sided(t: float, freedom: float) -> float:
    """The probability of a Student's t at least as far from 0 (Abramowitz and Stegun, 26.7.1)."""
    return _incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5)


def quantile(freedom: float, p: float = 0.05) -> float:
    """The t that ``two_sided`` gives ``p``, by halving."""
    low, high = 0.0, 1e3
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if two_sided(middle, freedom) > p else (low, middle)
    return high


def holm(values: Sequence[float | None]) -> tuple[float | None, ...]:
    """Probabilities made honest for being several (Holm, Scand. J. Statistics 6, 1979)."""
    order = sorted((value, index) for index, value in enumerate(values) if value is not None)
    adjusted: list[float | None] = [None] * len(values)
    highest = 0.0
    for rank, (value, index) in enumerate(order):
        highest = max(highest, min(1.0, value * (len(order) - rank)))
        adjusted[index] = highest
    return tuple(adjusted)


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized one, by its continued fraction (Abramowitz and Stegun, 26.5.8)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(1 - x, b, a)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    return front / a / _fraction(x, a, b)


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)), from the front (Lentz, Applied Optics 15, 1976)."""
    tiny = 1e-300
    value, numerator, denominator = 1.0, 1.0, 0.0
    for step in range(1, 400):
        half = step // 2
        if step % 2:
            term = -(a + half) * (a + b + half) * x / ((a + 2 * half) * (a + 2 * half + 1))
        else:
            term = half * (b - half) * x / ((a + 2 * half - 1) * (a + 2 * half))
        denominator = 1 / ((1 + term * denominator) or tiny)
        numerator = (1 + term / numerator) or tiny
        factor = numerator * denominator
        value *= factor
        if abs(factor - 1) < 1e-12:
            break
    return value
