"""All of a Go binary's code by class: the codes of the frames at any address, in six bytes a range.

Categories alone need no names. What a category rests on (``categories.function_code``)
has few values, and most neighbours have the same: a binary of ten thousand functions comes to some
fifty thousand ranges. Reading all of it once costs as much as looking up a few hundred functions
one after the other, so it pays for a binary that keeps showing new ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.golang.categories import NATIVE, function_code
from gotax.golang.pclntab import MAX_DEPTH, Chains, Pclntab, shortened
from gotax.profile import Int64Array, UInt64Array

_MAX_TEXT_BYTES = 1 << 32
_MAX_CHAINS = 1 << 15
_MAX_KNOWN, _KNOWN_CHARS = 1 << 14, 128
_WEIGHTS = np.array(
    [0x9E3779B97F4A7C15 ** (n + 1) % (1 << 64) for n in range(MAX_DEPTH)], np.uint64
)


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


class KnownCodes(dict[bytes, int]):
    """``known[name]`` is the code of a function, by its name in the file. Those of the standard
    library are kept, for all binaries: half of the names of most of them."""

    def __missing__(self, name: bytes) -> int:
        text = name.decode("utf-8", "replace")
        code = function_code(shortened(text) if "[" in text else text)
        # Other packages begin with a domain, or are of one program.
        is_of_others = b"." in name[: name.find(b"/") + 1] or name.startswith(b"main.")
        if not is_of_others and len(name) <= _KNOWN_CHARS and len(self) < _MAX_KNOWN:
            self[name] = code
        return code


class ClassMapReader:
    """Goes through a whole table, some of it at a time: a large one takes seconds."""

    def __init__(self, table: Pclntab, known: KnownCodes) -> None:
        self.is_done = table.text_end - table.text_start >= _MAX_TEXT_BYTES
        self._table = table
        self._known = known
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
        number_of = self._number(part)
        if len(self._numbers) > _MAX_CHAINS:
            return False
        found = 2 * number_of[part.chain] + part.frameless
        changed = np.append(True, found[1:] != found[:-1])
        offsets = part.starts[changed] - self._table.text_start
        self._starts.append(offsets.astype(np.uint32))
        self._values.append(found[changed].astype(np.uint16))
        return True

    def _number(self, part: Chains) -> Int64Array:
        """The number of each chain of the part: that of its codes, equal neighbours once."""
        codes = np.array([*map(self._known.__getitem__, part.names)], np.uint8)[part.name]
        codes[part.native] = NATIVE
        low = np.append(True, part.of[1:] != part.of[:-1])
        kept = low | np.append(True, codes[1:] != codes[:-1])
        codes, cuts = codes[kept], np.flatnonzero(low[kept])
        lengths = np.diff(cuts, append=len(codes))
        first, which = _alike(codes, cuts, lengths)
        data, numbers = codes.tobytes(), self._numbers
        extents = zip(cuts[first].tolist(), (cuts + lengths)[first].tolist(), strict=True)
        distinct = [numbers.setdefault(data[low:high], len(numbers)) for low, high in extents]
        return np.array(distinct, np.int64)[which]

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


def _alike(
    codes: npt.NDArray[np.uint8], cuts: npt.NDArray[np.intp], lengths: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The first of all chains with the same codes, and which of these stands for each chain.

    ``cuts`` and ``lengths`` say where a chain has its codes. A file made for it can have all chains
    stand for themselves, which takes longer.
    """
    depths = np.arange(len(codes)) - np.repeat(cuts, lengths)
    sums = np.add.reduceat((codes.astype(np.uint64) + np.uint64(1)) * _WEIGHTS[depths], cuts)
    _, first, which = np.unique(sums, return_index=True, return_inverse=True)
    heads = first[which]
    if (lengths[heads] == lengths).all() and (
        codes[np.repeat(cuts[heads], lengths) + depths] == codes
    ).all():
        return first, which
    return np.arange(len(cuts)), np.arange(len(cuts))
