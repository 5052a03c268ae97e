"""Stacks as rows of one column of locations: where each ends, and which are the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.profile import Int64Array, UInt64Array
from gotax.symbols.classified import NOWHERE, TRUNCATED, ClassifiedLocation

_POSITIONS = 512  # a walk has 127 addresses at most, and perhaps a hidden caller
_random = random.SystemRandom()
_FACTORS = np.array([_random.getrandbits(64) | 1 for _ in range(_POSITIONS)], np.uint64)
_WALK_BROKE_OFF = np.uint64(TRUNCATED.weight)


@dataclass(frozen=True, slots=True)
class Sequences:
    """Stacks that are not empty. ``numbers`` are those of locations, stack after stack, leaf first,
    without what is behind the end; ``starts`` is where each begins.

    ``keys`` are equal for equal stacks. ``broke_off``: the walk did not get to an end.
    """

    numbers: Int64Array
    starts: Int64Array
    ends: Int64Array
    broke_off: npt.NDArray[np.bool_]
    keys: UInt64Array


def cut(
    numbers: Int64Array,
    lengths: Int64Array,
    in_go: npt.NDArray[np.bool_],
    locations: Sequence[ClassifiedLocation],
    *,
    each_once: bool,
) -> Sequences:
    """Cut stacks of these ``lengths``, all above 0, at their ends.

    ``numbers`` are places in ``locations``. A walk in a Go process (``in_go``, by stack) that did
    not get to an end broke off: in C code, or because it was full. Behind an end is the parked
    goroutine: nothing behind a root, and nothing from the first address on that is nowhere, as
    those are leftovers. ``each_once``: a location that follows itself is left out.
    """
    starts = np.cumsum(lengths) - lengths
    positions = np.arange(len(numbers))
    is_end = np.array([each.is_end for each in locations], bool)[numbers]
    first_end = np.minimum.reduceat(np.where(is_end, positions, len(numbers)), starts)
    has_end = first_end < starts + lengths
    is_root = np.array([each.is_root for each in locations], bool)[numbers]
    is_nowhere = np.array([each in NOWHERE for each in locations], bool)[numbers]
    stops = is_root | np.append(is_nowhere[1:], False)
    stops &= positions >= np.repeat(first_end, lengths)
    stops[starts + lengths - 1] = True
    last = np.minimum.reduceat(np.where(stops, positions, len(numbers)), starts)
    ends = np.where(has_end, last + 1, starts + lengths)
    kept = positions < np.repeat(ends, lengths)
    weights = np.array([each.weight for each in locations], np.uint64)[numbers]
    if each_once:
        repeats = np.append(False, weights[1:] == weights[:-1])
        repeats[starts] = False
        kept &= ~repeats
    left = np.add.reduceat(kept, starts, dtype=np.int64)
    numbers, weights = numbers[kept], weights[kept]
    starts = np.cumsum(left) - left
    place = np.arange(len(numbers)) - np.repeat(starts, left)
    keys = np.add.reduceat(weights * _FACTORS[place % _POSITIONS], starts, dtype=np.uint64)
    broke_off = in_go & ~has_end
    keys[broke_off] += _WALK_BROKE_OFF
    return Sequences(numbers, starts, starts + left, broke_off, keys)
