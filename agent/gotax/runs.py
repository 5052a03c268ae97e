"""What is known of ranges of addresses: learnt piecemeal, looked up in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gotax.profile import Int64Array, UInt64Array


class Runs:
    """Half-open ranges of addresses with a value each, sorted by start.

    Ranges do not overlap, but one that is added replaces the one that starts where it starts. A
    table of 16 bytes and one reference per range, so that it can be large.
    """

    def __init__(self) -> None:
        self._starts: UInt64Array = np.empty(0, np.uint64)
        self._ends: UInt64Array = np.empty(0, np.uint64)
        self._values: npt.NDArray[np.object_] = np.empty(0, object)

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, addresses: UInt64Array) -> Int64Array:
        """The number of the range of each address, -1 where there is none, for ``values``."""
        if not len(self._starts):
            return np.full(len(addresses), -1, np.int64)
        at = self._starts.searchsorted(addresses, side="right").astype(np.int64) - 1
        at[addresses >= self._ends[at]] = -1  # at -1 this asks the last range, and stays -1
        return at

    def values(self, numbers: Int64Array) -> npt.NDArray[np.object_]:
        """The values of ranges, by the numbers that ``find`` gave since the last ``add``."""
        return self._values[numbers]

    def add(self, starts: UInt64Array, ends: UInt64Array, values: Sequence[Any]) -> None:
        """Ranges in any order; empty ones are left out."""
        added = np.empty(len(values), object)
        added[:] = values
        starts = np.concatenate((self._starts, starts))
        ends = np.concatenate((self._ends, ends))
        order = np.argsort(starts, kind="stable")
        ordered = starts[order]
        # The last of equal starts wins: newer knowledge.
        keep = order[np.append(ordered[1:] != ordered[:-1], True) & (ends > starts)[order]]
        self._starts = starts[keep]
        self._ends = ends[keep]
        self._values = np.concatenate((self._values, added))[keep]
