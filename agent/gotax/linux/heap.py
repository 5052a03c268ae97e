"""The C library's heap, from which numpy's columns come."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Free pages of the heap to the kernel (malloc_trim(3)); does nothing without glibc.

    What was read of a few large binaries leaves tens of megabytes of them, which glibc gives back
    only from the heap's end. A fifth of a millisecond when there is nothing to give.
    """
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    return trim
