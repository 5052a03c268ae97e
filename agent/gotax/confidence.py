"""How sure a share of so many samples is."""

from __future__ import annotations

import math
from functools import cache

from gotax.wire.significance import quantile, welch


def interval(samples: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of the share ``samples`` / ``total``; (0, 1) of nothing.

    Another ``z``, the normal quantile, gives another confidence.

    Wilson's score interval (JASA 22, 1927): it also holds for few samples and for shares near 0 or
    1.
    """
    if total <= 0:
        return 0.0, 1.0
    share, scale = samples / total, 1 + z * z / total
    middle = share + z * z / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)


def difference(before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float]:
    """The 95 % interval of the delta of a share, from (samples, total) before and after.

    Newcombe's hybrid of two score intervals (Statistics in Medicine 17, 1998, p. 873, method 10):
    it also holds for few samples and for shares near 0 or 1. (-1, 1) of nothing.
    """
    low1, high1 = interval(*before)
    low2, high2 = interval(*after)
    if before[1] <= 0 or after[1] <= 0:
        return low2 - high1, high2 - low1
    share1, share2 = before[0] / before[1], after[0] / after[1]
    delta = share2 - share1
    low = delta - math.hypot(share2 - low2, high1 - share1)
    high = delta + math.hypot(high2 - share2, share1 - low1)
    return max(-1.0, low), min(1.0, high)


def student(freedom: float) -> float:
    """Half the width of a 95 % interval in standard errors; ``freedom`` is at least 1.

    As printed tables have it: whole degrees of freedom up to 30, and three decimals.
    """
    if freedom < 31:
        return _printed(int(freedom))
    return 1.96 + 2.4 / freedom  # the first terms of Cornish and Fisher's expansion


@cache
def _printed(freedom: int) -> float:
    """A row of the table; there are 30, and each takes some milliseconds."""
    return round(quantile(freedom), 3)


def mean_reach(before: tuple[int, float], after: tuple[int, float]) -> float | None:
    """Half the width of the 95 % interval of a difference of means, from (n, variance) of each.

    None for fewer than two values on one side: one value does not say how far the next may be from
    it.
    """
    if before[0] < 2 or after[0] < 2:
        return None
    error, freedom = welch(before, after)
    return student(max(freedom, 1.0)) * error
