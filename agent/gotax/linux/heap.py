"""The C library's heap, from which numpy's columns come."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT_BYTES = 32 << 20  # the most that glibc takes as the threshold of mappings


def give_back() -> None:
    """Free pages of the heap to the kernel (malloc_trim(3)); does nothing without glibc.

    What was read of a few large binaries leaves tens of megabytes of them, which glibc gives back
    only from the heap's end. A fifth of a millisecond when there is nothing to give.
    """
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def keep() -> None:
    """Use the same pages again (mallopt(3)): for a process that works and ends.

    By itself glibc maps each large column again, and every page of it faults again.
    """
    option = _function("mallopt")
    if option is not None:
        option(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        option(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        option(_M_TOP_PAD, _KEPT_BYTES // 4)


@cache
def _function(name: str) -> Callable[..., int] | None:
    try:
        found: Callable[..., int] = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError):
        return None
    return found
