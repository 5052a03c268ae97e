from __future__ import annotations

import os

import numpy as np
from gotax.linux import heap

from bench.cgroups import read_pss_bytes

MEBIBYTE = 1 << 20


def test_free_memory_between_used_blocks_goes_back_to_the_kernel() -> None:
    """glibc itself returns only the end of the heap, which is never free here."""
    columns = [np.ones(MEBIBYTE // 16, np.uint8) for _ in range(16 * 64)]  # too small for a mapping
    kept = columns[::2]
    del columns
    before = read_pss_bytes(os.getpid())
    heap.give_back()
    given = before - read_pss_bytes(os.getpid())
    assert given > 24 * MEBIBYTE
    assert all(column.all() for column in kept)
