"""The function table and the records it points to, in columns.

Of the table itself only every 64th entry is kept; the blocks between are read when asked for.
Go: runtime/symtab.go (findfunc, functab, _func).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from gotax.errors import ParseError
from gotax.golang.pcheader import MAX_ADDRESS_BITS, Header
from gotax.linux.elf import Elf, distinct, gather
from gotax.profile import Int64Array, UInt8Array, UInt64Array

_INDEX_STEP = 64
_CHUNK = 8192
_MAX_PCDATA = 64
_NO_FUNCDATA = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Functions:
    """Columns of _func records.

    ``tree`` says where the inline tree is: counted from ``go:func.*``, before Go 1.18 from the
    file's start; -1 for none. ``pcsp`` to ``pcinline`` are offsets in the pctab, 0 for none.
    """

    entry: Int64Array
    name: Int64Array
    pcsp: Int64Array
    pcfile: Int64Array
    pcln: Int64Array
    pcinline: Int64Array
    cu: Int64Array
    start_line: Int64Array
    tree: Int64Array

    def part(self, low: int, high: int) -> Functions:
        return Functions(*(getattr(self, field.name)[low:high] for field in fields(self)))


@dataclass(frozen=True, slots=True)
class FunctionEntries:
    """Rows of the function table: where the code starts and ends, and where its record is."""

    pcs: Int64Array
    ends: Int64Array
    records: Int64Array


class FunctionTable:
    """Program counters here count from ``runtime.text`` (before Go 1.18: from zero)."""

    def __init__(self, elf: Elf, header: Header) -> None:
        """Reads the whole table once. Raises ParseError("functab-malformed")."""
        self._elf = elf
        self._header = header
        self._word = np.dtype(f"<u{header.format.word_bytes}")
        starts = []
        end = 0
        for entries in self.chunks():
            if int(entries.pcs[0]) < end or (entries.ends < entries.pcs).any():
                raise ParseError("functab-malformed", "not sorted")
            if len(entries.pcs) == _CHUNK and entries.pcs[0] == entries.ends[-1]:
                raise ParseError("functab-malformed", f"{_CHUNK} functions without a byte")
            starts.append(entries.pcs[::_INDEX_STEP].copy())
            end = int(entries.ends[-1])
        self._starts = np.concatenate(starts)
        self.first = int(self._starts[0])
        self.end = end

    def chunks(self, length: int = _CHUNK) -> Iterator[FunctionEntries]:
        """The whole table in order, ``length`` functions (a multiple of 64) at a time.

        A function's code ends where the next one's starts.
        """
        count = self._header.function_count
        for low in range(0, count, length):
            high = min(low + length, count)
            words = 2 * (high - low) + 1
            place = self._header.functab + 2 * low * self._word.itemsize
            data = self._elf.reader.read(place, words * self._word.itemsize)
            pcs = self._pcs(np.frombuffer(data, self._word)[0::2], np.arange(low, high + 1))
            records = np.frombuffer(data, self._word)[1::2]
            yield FunctionEntries(pcs[:-1], pcs[1:], _signed(records))

    def _pcs(self, words: npt.NDArray[np.unsignedinteger], numbers: Int64Array) -> Int64Array:
        """The program counters of rows; in a PIE before Go 1.18 they are relocated."""
        if self._header.format.relative:
            return words.astype(np.int64)
        addresses = (self._header.functab_address + 16 * numbers).astype(np.uint64)
        return _signed(self._elf.relocate(addresses, words.astype(np.uint64)))

    def locate(self, pcs: Int64Array) -> tuple[FunctionEntries, npt.NDArray[np.intp]]:
        """The functions these pcs (sorted, within the table) are in, and which one is whose.

        Each function occurs once.
        """
        blocks, _ = distinct(np.searchsorted(self._starts, pcs, side="right") - 1)
        entries, records = self._read_blocks(blocks)
        ends = np.append(entries[1:], 0)
        # A block's last function ends where the next block starts. Only the table's last block,
        # which is the last here, can have fewer rows than the others.
        after = np.append(self._starts[1:], self.end)[blocks]
        ends[_INDEX_STEP - 1 :: _INDEX_STEP] = after[: len(entries) // _INDEX_STEP]
        ends[-1] = after[-1]
        # Blocks ascend and so do their rows. Of empty functions at one place the last wins, as
        # in the runtime.
        found = np.searchsorted(entries, pcs, side="right") - 1
        chosen, of = distinct(found)
        return FunctionEntries(entries[chosen], ends[chosen], records[chosen]), of

    def _read_blocks(self, blocks: npt.NDArray[np.intp]) -> tuple[Int64Array, Int64Array]:
        """Program counters and records of these blocks of 64 rows, sorted."""
        header, size = self._header, self._word.itemsize
        count = header.function_count
        places = header.functab + blocks.astype(np.int64) * (2 * size * _INDEX_STEP)
        whole = blocks < count // _INDEX_STEP  # all but the last, which may be shorter
        rows = gather(self._elf.reader, places[whole], 2 * size * _INDEX_STEP)
        words = rows.view(self._word).reshape(-1, 2)
        if not whole.all():
            data = self._elf.reader.read(int(places[-1]), 2 * size * (count % _INDEX_STEP))
            words = np.concatenate((words, np.frombuffer(data, self._word).reshape(-1, 2)))
        numbers = np.repeat(blocks * _INDEX_STEP, _INDEX_STEP)
        numbers += np.tile(np.arange(_INDEX_STEP), len(blocks))
        return self._pcs(words[:, 0], numbers[: len(words)]), _signed(words[:, 1])

    def read_functions(self, entries: FunctionEntries) -> Functions:
        """The records of these functions.

        Raises ParseError("func-malformed") for a record that is not the function's.
        """
        header = self._header
        layout, tree = header.format.function, header.format.inline
        pcdata = tree.pcdata if tree else 0
        places = header.functions + entries.records
        rows = gather(self._elf.reader, places, layout.pcdata + 4 * (pcdata + 1))
        starts = rows[:, : self._word.itemsize].copy().view(self._word)[:, 0].astype(np.int64)
        # Zero: a pointer yet to be relocated.
        if ((starts != entries.pcs) & ((starts != 0) | header.format.relative)).any():
            raise ParseError("func-malformed", "a record of another function")
        none = np.zeros(len(rows), np.int64)
        trees = none - 1
        pcinline = _column(rows, layout.pcdata + 4 * pcdata)
        if tree is not None:
            having = self._having_tree(rows) & (pcinline > 0)
            after = places + layout.pcdata + 4 * _column(rows, layout.npcdata)
            trees[having] = self._trees(after[having])
        return Functions(
            entry=entries.pcs,
            name=_column(rows, layout.name),
            pcsp=_column(rows, layout.pcsp),
            pcfile=_column(rows, layout.pcsp + 4),
            pcln=_column(rows, layout.pcsp + 8),
            pcinline=np.where(trees >= 0, pcinline, 0),
            cu=none if layout.cu is None else _column(rows, layout.cu),
            start_line=none if layout.start_line is None else _column(rows, layout.start_line),
            tree=trees,
        )

    def _having_tree(self, rows: UInt8Array) -> npt.NDArray[np.bool_]:
        """Which records have room for an inline tree and its pc table."""
        layout, tree = self._header.format.function, self._header.format.inline
        assert tree is not None
        count = _column(rows, layout.npcdata)
        if ((count < 0) | (count > _MAX_PCDATA)).any():
            raise ParseError("func-malformed", f"{int(count.max())} pcdata tables")
        having: npt.NDArray[np.bool_] = (count > tree.pcdata) & (
            rows[:, layout.funcdata_count] > tree.funcdata
        )
        return having

    def _trees(self, funcdata: Int64Array) -> Int64Array:
        """The column ``tree``, given the file offsets of the FUNCDATA arrays.

        Since Go 1.18 these hold 32-bit offsets; before, pointers, and are aligned in memory.
        """
        header, elf = self._header, self._elf
        tree = header.format.inline
        assert tree is not None
        if header.format.relative:
            rows = gather(elf.reader, funcdata + 4 * tree.funcdata, 4)
            offsets = rows.view("<u4")[:, 0].astype(np.int64)
            offsets[offsets == _NO_FUNCDATA] = -1
            return offsets
        addresses = header.address + (funcdata - header.offset)
        addresses += -addresses % 8 + 8 * tree.funcdata
        words = gather(elf.reader, addresses - header.address + header.offset, 8).view("<u8")[:, 0]
        pointers = elf.relocate(addresses.astype(np.uint64), words)
        places = elf.offsets_of(pointers)
        if ((places < 0) & (pointers != 0)).any():
            raise ParseError("func-malformed", "an inline tree outside the file")
        return places


def _signed(words: npt.NDArray[np.unsignedinteger] | UInt64Array) -> Int64Array:
    if len(words) and int(words.max()) >> MAX_ADDRESS_BITS:
        raise ParseError("functab-malformed", "an address beyond 2^62")
    return words.astype(np.int64)


def _column(rows: UInt8Array, at: int) -> Int64Array:
    """The signed 32-bit field at a byte offset of each row."""
    return np.ascontiguousarray(rows[:, at : at + 4]).view("<i4")[:, 0].astype(np.int64)
