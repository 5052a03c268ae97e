"""Student's t and Welch's use of it, for the comparisons of the agent and of the collector."""

from __future__ import annotations

import math

Side = tuple[int, float]
"""The number of values, at least 2, and the variance of one."""


def welch(first: Side, second: Side) -> tuple[float, float]:
    """The standard error of a difference of means, and its degrees of freedom (at least 1).

    Welch, Biometrika 34, 1947: the variances may differ, and so may the numbers of values. (0, 1)
    where no value differs from another.
    """
    (count1, variance1), (count2, variance2) = first, second
    error1, error2 = variance1 / count1, variance2 / count2
    error = error1 + error2
    if error <= 0:
        return 0.0, 1.0
    freedom = error**2 / (error1**2 / (count1 - 1) + error2**2 / (count2 - 1))
    return math.sqrt(error), freedom


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
