"""All of a Go binary's code by class: the codes of the frames at any address, in six bytes a range.

Categories alone need no names. What a category rests on (``categories.function_code``)
has few values, and most neighbours have the same: a binary of ten thousand functions comes to some
fifty thousand ranges. Reading all of it once costs as much as looking up a few hundred functions
one after the other, so it pays for a binary that keeps showing new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gotax.golang.categories import NATIVE, function_code
from gotax.golang.pclntab import Chains, Pclntab
from gotax.profile import Int64Array, UInt64Array

_MAX_TEXT_BYTES = 1 << 32
_MAX_CHAINS = 1 << 15
_MAX_KNOWN, _KNOWN_CHARS = 1 << 14, 128


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Ranges without a gap from ``text_start`` to ``text_end``, link-time addresses.

    ``starts`` count from ``text_start``. ``values`` are twice a number in ``chains``, which are
    codes, innermost frame first and equal neighbours once, plus one where code has no frame.
    """

    text_start: int
    text_end: int
    starts: npt.NDArray[np.uint32]
    values: npt.NDArray[np.uint16]
    chains: list[tuple[int, ...]]

    def __len__(self) -> int:
        return len(self.starts)

    def contains(self, addresses: UInt64Array) -> npt.NDArray[np.bool_]:
        inside: npt.NDArray[np.bool_] = (addresses >= np.uint64(self.text_start)) & (
            addresses < np.uint64(self.text_end)
        )
        return inside

    def find(self, addresses: UInt64Array) -> Int64Array:
        """The value of each address; all must be contained."""
        offsets = (addresses - np.uint64(self.text_start)).astype(np.uint32)
        found = self.values[self.starts.searchsorted(offsets, side="right") - 1]
        return found.astype(np.int64)


class KnownCodes(dict[str, int]):
    """Codes of the names of the standard library, for all binaries: ``known[name]``.

    Half of the time for a class map is spent on names, and half of the names are these.
    """

    def __missing__(self, name: str) -> int:
        code = function_code(name)
        # Other packages begin with a domain, or are of one program.
        is_of_others = "." in name[: name.find("/") + 1] or name.startswith("main.")
        if not is_of_others and len(name) <= _KNOWN_CHARS and len(self) < _MAX_KNOWN:
            self[name] = code
        return code


class ClassMapReader:
    """Goes through a whole table, some of it at a time: a large one takes seconds."""

    def __init__(self, table: Pclntab, code_of: Callable[[str], int]) -> None:
        """``code_of`` gives the code of a function's name, 0 to 254."""
        self.is_done = table.text_end - table.text_start >= _MAX_TEXT_BYTES
        self._table = table
        self._code_of = code_of
        self._parts = table.all_chains()
        self._numbers: dict[bytes, int] = {}
        self._starts: list[npt.NDArray[np.uint32]] = []
        self._values: list[npt.NDArray[np.uint16]] = []
        self._is_whole = False

    def go_on(self, pairs: int) -> int:
        """Decode at least so many more pairs of tables, if there are; returns how many.

        Raises ParseError as the table's methods do, and is done then.
        """
        read = 0
        while read < pairs and not self.is_done:
            self.is_done = True  # if this fails
            part = next(self._parts, None)
            if part is None:
                self._is_whole = True
            else:
                read += part.pairs
                self.is_done = not self._add(part)
        return read

    def _add(self, part: Chains) -> bool:
        """False if it is too much."""
        if not len(part.starts):
            return True
        numbers = self._numbers
        number_of = [numbers.setdefault(key, len(numbers)) for key in _keys(part, self._code_of)]
        if len(numbers) > _MAX_CHAINS:
            return False
        found = 2 * np.array(number_of, np.int64)[part.chain] + part.frameless
        changed = np.append(True, found[1:] != found[:-1])
        offsets = part.starts[changed] - self._table.text_start
        self._starts.append(offsets.astype(np.uint32))
        self._values.append(found[changed].astype(np.uint16))
        return True

    def take(self) -> ClassMap | None:
        """What was read, and is forgotten here. None if that is not all: too much (4 GiB of code,
        more than 32,768 different chains), damaged, or nothing."""
        starts, values, numbers = self._starts, self._values, self._numbers
        self._starts, self._values, self._numbers = [], [], {}
        if not self._is_whole or not starts:
            return None
        return ClassMap(
            self._table.text_start,
            self._table.text_end,
            np.concatenate(starts),
            np.concatenate(values),
            [tuple(key) for key in numbers],
        )


def _keys(chains: Chains, code_of: Callable[[str], int]) -> list[bytes]:
    """The codes of each chain as bytes, equal neighbours once."""
    codes = np.array([code_of(name) for name in chains.names], np.uint8)[chains.name]
    codes[chains.native] = NATIVE
    low = np.append(True, chains.of[1:] != chains.of[:-1])
    kept = low | np.append(True, codes[1:] != codes[:-1])
    data = codes[kept].tobytes()
    cuts = np.append(np.flatnonzero(low[kept]), len(data)).tolist()
    return [data[low:high] for low, high in pairwise(cuts)]
