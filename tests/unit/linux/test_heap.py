from __future__ import annotations

import os

import numpy as np
from gotax.linux import heap
from gotax.linux.procfs import read_pss_bytes

MEBIBYTE = 1 << 20


def test_what_was_freed_between_what_is_kept_goes_back_to_the_kernel() -> None:
    """glibc itself gives back the heap's end only, which here is never free."""
    columns = [np.ones(MEBIBYTE // 16, np.uint8) for _ in range(16 * 64)]  # too small for a mapping
    kept = columns[::2]
    del columns
    before = read_pss_bytes("/proc", os.getpid())
    heap.give_back()
    given = before - read_pss_bytes("/proc", os.getpid())
    assert given > 24 * MEBIBYTE
    assert all(column.all() for column in kept)
