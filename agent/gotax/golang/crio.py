"""The GOMAXPROCS that CRI-O puts into the environment of a container without a CPU limit.

Twice the CPU request, rounded up, and at least ``min_injected_gomaxprocs``, which also switches
this on (crio.conf(5); 1 in OpenShift: github.com/openshift/enhancements/pull/2047). It leaves a
variable of the manifest or the image, and containers with a limit, as they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gotax.golang.startup import Facts

RUNTIME = "cri-o"
RULE = "CRI-O sets twice the CPU request, rounded up, in a container without a CPU limit"


def is_injected(value: int, facts: Facts) -> bool:
    """Whether this value of the variable is the one that CRI-O gives to such a container.

    A manifest may have the same number by chance. One that only the least value gives is not
    recognised, because that is not to be seen.
    """
    if facts.container_runtime != RUNTIME or facts.leaf_limit_cores is not None:
        return False
    low, high = 512 * (value - 1) + 1, 512 * value
    if facts.shares is not None:
        return low <= facts.shares <= high
    if facts.weight is None:
        return False
    return any(of(low) <= facts.weight <= of(high) for of in _WEIGHTS)


def _linear(shares: int) -> int:
    """cpu.weight for cpu.shares as runc computed it up to 2025."""
    return 1 + (shares - 2) * 9999 // 262142


def _logarithmic(shares: int) -> int:
    """The same in newer runc and crun: 1024 shares are a weight of 100."""
    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


_WEIGHTS: tuple[Callable[[int], int], ...] = (_linear, _logarithmic)
