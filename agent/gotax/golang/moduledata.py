"""The runtime's moduledata: where Go code starts, and from where inline trees are counted.

It is a variable (runtime.firstmoduledata) that the linker fills in. It has no magic number but
starts with a pointer to the pclntab and one to the names in it.
Go: runtime/symtab.go (moduledata), cmd/link/internal/ld/symtab.go. Only Go 1.18 and later are
read: before, the pclntab holds absolute addresses and needs no moduledata.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from gotax.errors import ParseError, ReadError
from gotax.linux.elf import Elf

_MINPC, _MAXPC, _TEXT = 160, 168, 176
_WORDS = 52
_MAX_CANDIDATES = 256
# Go 1.20 to 1.26, 1.27, 1.18 and 1.19; later versions may move it again.
_KNOWN_GOFUNC = (320, 344, 304)


@dataclass(frozen=True, slots=True)
class Moduledata:
    """``text``: address all code offsets count from, which is not always that of .text.

    ``gofunc_candidates``: values that may be ``go:func.*``, the likeliest first.
    """

    address: int
    text: int
    gofunc_candidates: tuple[int, ...]


def find_moduledata(elf: Elf, pclntab: int, names: int, extent: tuple[int, int]) -> Moduledata:
    """The moduledata that belongs to the pclntab at an address.

    ``names`` is the offset of the function names in it, ``extent`` the first and last code
    offset of its function table: minpc and maxpc must agree with them.
    Raises ParseError("moduledata-missing").
    """
    for address in islice(_candidates(elf, pclntab, names), _MAX_CANDIDATES):
        try:
            words = elf.read_words(address, _WORDS)
        except ReadError:
            continue
        text, low, high = (int(words[at // 8]) for at in (_TEXT, _MINPC, _MAXPC))
        if (low, high) != (text + extent[0], text + extent[1]) or not text:
            continue
        places = dict.fromkeys((*_KNOWN_GOFUNC, *range(256, 8 * _WORDS, 8)))
        values = dict.fromkeys(int(words[at // 8]) for at in places)
        mapped = tuple(value for value in values if elf.segment_of(value) is not None)
        return Moduledata(address, text, mapped)
    raise ParseError("moduledata-missing", f"for the pclntab at {pclntab:#x}")


def _candidates(elf: Elf, pclntab: int, names: int) -> Iterator[int]:
    """Addresses of two words that point to the pclntab and its names."""
    section = elf.sections.get(".go.module")  # since Go 1.26
    if section is not None:
        yield section.address
    for segment in elf.loads:
        if not segment.writable:
            continue
        size = segment.file_size // 8 * 8
        for low, length in elf.scan(segment.offset, size, overlap=8):  # the pair may straddle
            data = elf.reader.read(segment.offset + low, length)
            words = np.frombuffer(data, "<u8")
            pair = (words[:-1] == np.uint64(pclntab)) & (words[1:] == np.uint64(pclntab + names))
            for place in np.flatnonzero(pair).tolist():
                yield segment.address + low + 8 * place
    where, addend = elf.relative_relocations
    for place in np.flatnonzero(addend == np.uint64(pclntab)).tolist():
        yield int(where[place])
