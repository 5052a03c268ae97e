"""How sure a share of so many hits is."""

from __future__ import annotations

import math


def interval(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of the share ``hits`` / ``total``; (0, 1) of nothing.

    Another ``z``, the normal quantile, gives another confidence.

    Wilson's score interval (JASA 22, 1927): it also holds for few hits and for shares near 0 or 1.
    """
    if total <= 0:
        return 0.0, 1.0
    share, scale = hits / total, 1 + z * z / total
    middle = share + z * z / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def difference(before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float]:
    """The 95 % interval of the growth of a share, from (hits, total) before and after.

    Newcombe's hybrid of two score intervals (Statistics in Medicine 17, 1998, p. 873, method 10):
    it also holds for few hits and for shares near 0 or 1. (-1, 1) of nothing.
    """
    low1, high1 = interval(*before)
    low2, high2 = interval(*after)
    if before[1] <= 0 or after[1] <= 0:
        return low2 - high1, high2 - low1
    share1, share2 = before[0] / before[1], after[0] / after[1]
    growth = share2 - share1
    low = growth - math.hypot(share2 - low2, high1 - share1)
    high = growth + math.hypot(high2 - share2, share1 - low1)
    return max(-1.0, low), min(1.0, high)


# The 0.975 quantile of Student's t for 1 to 30 degrees of freedom.
_STUDENT = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)


def student(freedom: float) -> float:
    """Half the width of a 95 % interval in standard errors; ``freedom`` is at least 1."""
    if freedom < len(_STUDENT) + 1:
        return _STUDENT[int(freedom) - 1]
    return 1.96 + 2.4 / freedom  # the first terms of Cornish and Fisher's expansion


def mean_reach(before: tuple[int, float], after: tuple[int, float]) -> float | None:
    """Half the width of the 95 % interval of a difference of means, from (n, variance) of each.

    Welch's t (Biometrika 34, 1947): the variances may differ. None for fewer than two values on
    one side: one value does not say how far the next may be from it.
    """
    (n1, variance1), (n2, variance2) = before, after
    if n1 < 2 or n2 < 2:
        return None
    error1, error2 = variance1 / n1, variance2 / n2
    if error1 + error2 <= 0:
        return 0.0
    freedom = (error1 + error2) ** 2 / (error1**2 / (n1 - 1) + error2**2 / (n2 - 1))
    return student(max(freedom, 1.0)) * math.sqrt(error1 + error2)
