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
