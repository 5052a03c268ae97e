"""Go's own symbol table: function, file, line and inlined calls for a program counter.

Every Go binary carries it, stripped or not, because the runtime walks stacks with it. Go 1.2 to
1.27, 64-bit little-endian. The four layouts are told apart by their magic number; only the first
(Go 1.2 to 1.15) changed under one magic and needs the version.
Go: runtime/symtab.go, internal/abi/symtab.go, cmd/link/internal/ld/pcln.go.

Nothing of the binary is kept but a sparse index of its functions (every 64th). Questions come in
batches, are answered in columns, and each table is decoded once per batch.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.errors import ParseError
from gotax.golang import inline
from gotax.golang.inline import InlineLayout
from gotax.golang.moduledata import Moduledata, find_moduledata
from gotax.golang.pcvalue import PcTables, read_pc_tables
from gotax.linux.elf import EM_AARCH64, Elf, gather
from gotax.model import Frame, Int32Array, Int64Array, UInt8Array, UInt64Array

_MAX_FUNCTIONS = 1 << 24
_MAX_NAME_BYTES = 1 << 16  # names of generic functions can be long
_MAX_INLINE_DEPTH = 256
_MAX_PCDATA = 64
_INDEX_STEP = 64
_PCS_PER_ROUND = 2048  # bounds the memory of a batch
_FUNCTIONS_PER_ROUND = 8192
_SCAN_BYTES = 1 << 20
_CACHED_STRINGS = 4096
_NO_TREE = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class FunctionLayout:
    """Where a _func record keeps its fields, in bytes; pcfile and pcln follow pcsp."""

    name: int
    pcsp: int
    npcdata: int
    pcdata: int  # first of the PCDATA offsets, right after the fixed part
    funcdata_count: int  # one byte (up to Go 1.11 the lowest of four)
    cu: int | None = None
    start_line: int | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """What distinguishes the layouts of the table."""

    since: str
    relative: bool  # counters and funcdata are 32-bit offsets; before Go 1.18 pointers
    function: FunctionLayout
    inline: InlineLayout | None


_GO_1_2_FUNCTION = FunctionLayout(name=8, pcsp=20, npcdata=32, pcdata=40, funcdata_count=36)
_GO_1_12_FUNCTION = FunctionLayout(name=8, pcsp=20, npcdata=32, pcdata=40, funcdata_count=39)
_FORMATS = {
    0xFFFFFFFA: Format(
        "1.16",
        relative=False,
        function=FunctionLayout(8, 20, 32, pcdata=44, funcdata_count=43, cu=36),
        inline=inline.GO_1_16,
    ),
    0xFFFFFFF0: Format(
        "1.18",
        relative=True,
        function=FunctionLayout(4, 16, 28, pcdata=40, funcdata_count=39, cu=32),
        inline=inline.GO_1_16,
    ),
    0xFFFFFFF1: Format(
        "1.20",
        relative=True,
        function=FunctionLayout(4, 16, 28, pcdata=44, funcdata_count=43, cu=32, start_line=36),
        inline=inline.GO_1_20,
    ),
}
_FIRST_MAGIC = 0xFFFFFFFB


def _first_format(version: str) -> Format:
    """The layout under the magic of Go 1.2 to 1.15."""
    match = re.match(r"go1\.(\d+)", version)
    if not match or not 2 <= int(match[1]) <= 15:
        raise ParseError("pclntab-version", f"the table is of Go 1.2 to 1.15, not {version!r}")
    minor = int(match[1])
    function = _GO_1_12_FUNCTION if minor >= 12 else _GO_1_2_FUNCTION
    if minor >= 13:
        return Format("1.13", False, function, inline.GO_1_13)
    if minor == 12:
        return Format("1.12", False, function, inline.GO_1_12)
    return Format("1.2", False, function, inline.GO_1_9 if minor >= 9 else None)


@dataclass(frozen=True, slots=True)
class Header:
    """The header with everything in file offsets, except ``address`` and ``text_start``."""

    magic: int
    address: int
    offset: int
    end: int  # of the segment's bytes: nothing of the table lies beyond
    quantum: int
    function_count: int
    text_start: int  # 0: does not say (Go 1.26 and later, or absolute counters)
    functab: int
    names: int
    cu: int
    files: int
    pctab: int
    functions: int


@dataclass(frozen=True, slots=True)
class _Functions:
    """Columns of _func records; ``tree`` is the file offset of the inline tree, -1 for none."""

    name: Int64Array
    pcsp: Int64Array
    pcfile: Int64Array
    pcln: Int64Array
    pcinline: Int64Array
    cu: Int64Array
    start_line: Int64Array
    tree: Int64Array


@dataclass(frozen=True, slots=True)
class _Activations:
    """Columns of frames: whose (``query``), and what; innermost first for each query."""

    query: Int64Array
    name: Int64Array
    file: Int64Array  # file offset of the name, -1 unknown
    line: Int64Array
    start_line: Int64Array
    inlined: npt.NDArray[np.bool_]


class Pclntab:
    """The table of one binary. Addresses are link-time addresses.

    Every method reads the file and raises ParseError when what it meets is malformed.
    """

    def __init__(self, elf: Elf, header: Header, layout: Format) -> None:
        self.header = header
        self.format = layout
        self._elf = elf
        self._reader = elf.reader
        self._names: dict[int, str] = {}
        self._files: dict[int, str] = {}
        self._ranges: dict[str, tuple[int, int] | None] = {}
        self._index, end = self._read_index()
        self._base = 0
        self._gofunc = 0
        if layout.relative:
            moduledata = find_moduledata(
                elf, header.address, header.names - header.offset, (int(self._index[0]), end)
            )
            self._base = moduledata.text
            self._gofunc = self._find_gofunc(moduledata)
        self.text_start = self._base + int(self._index[0])
        self.text_end = self._base + end

    @property
    def function_count(self) -> int:
        return self.header.function_count

    def contains(self, pcs: UInt64Array) -> npt.NDArray[np.bool_]:
        """Which of these lie between the first and the last byte of Go code."""
        result: npt.NDArray[np.bool_] = (pcs >= np.uint64(self.text_start)) & (
            pcs < np.uint64(self.text_end)
        )
        return result

    def frames(self, pcs: UInt64Array) -> list[tuple[Frame, ...]]:
        """For each pc its chain of frames, innermost first; () outside Go code.

        For a return address pass the address less one: the call, not what follows it.
        """
        wanted, inverse = np.unique(pcs, return_inverse=True)
        chains: list[tuple[Frame, ...]] = [()] * len(wanted)
        places = np.flatnonzero(self.contains(wanted))
        for low in range(0, len(places), _PCS_PER_ROUND):
            part = places[low : low + _PCS_PER_ROUND]
            for place, chain in zip(part.tolist(), self._chains(wanted[part]), strict=True):
                chains[place] = chain
        return [chains[place] for place in inverse.tolist()]

    def frame_sizes(self, pcs: UInt64Array) -> Int32Array:
        """Bytes the stack pointer has moved since the function's entry; -1 unknown."""
        sizes = np.full(len(pcs), -1, np.int32)
        places = np.flatnonzero(self.contains(pcs))
        places = places[np.argsort(pcs[places], kind="stable")]
        for low in range(0, len(places), _PCS_PER_ROUND):
            part = places[low : low + _PCS_PER_ROUND]
            entries, records, of = self._locate(pcs[part])
            functions = self._read_functions(records)
            tables = self._read_tables(functions.pcsp)
            offsets = self._offsets(pcs[part]) - entries[of]
            sizes[part] = tables.at(tables.numbers(functions.pcsp)[of], offsets)
        return sizes

    def function_range(self, name: str) -> tuple[int, int] | None:
        """[low, high) of the function with this name, or None. See ``function_ranges``."""
        return self.function_ranges(frozenset((name,))).get(name)

    def function_ranges(self, names: frozenset[str]) -> dict[str, tuple[int, int]]:
        """[low, high) of each of these functions that exists as a body of its own.

        Reads the whole table once for all names not asked before; answers are kept.
        """
        unknown = names - self._ranges.keys()
        if unknown:
            self._ranges.update(dict.fromkeys(unknown))
            self._ranges.update(self._scan_names({name.encode() for name in unknown}))
        found = {name: self._ranges[name] for name in names}
        return {name: extent for name, extent in found.items() if extent is not None}

    # -- functions ---------------------------------------------------------------------------

    def _read_index(self) -> tuple[Int64Array, int]:
        """Every 64th function's pc, and the end of the last function."""
        count = self.header.function_count
        parts = []
        before = 0
        for low in range(0, count, _FUNCTIONS_PER_ROUND):
            pcs, _ = self._read_functab(low, min(low + _FUNCTIONS_PER_ROUND, count))
            if int(pcs[0]) < before or (np.diff(pcs) < 0).any():
                raise ParseError("functab-malformed", f"not sorted near entry {low}")
            before = int(pcs[-1])
            parts.append(pcs[:-1:_INDEX_STEP].copy())
        return np.concatenate(parts), before

    def _read_functab(self, low: int, high: int) -> tuple[Int64Array, Int64Array]:
        """(high - low + 1) pcs and (high - low) record offsets, as the table has them."""
        header = self.header
        size = 4 if self.format.relative else 8
        data = self._reader.read(header.functab + low * 2 * size, (2 * (high - low) + 1) * size)
        words = np.frombuffer(data, f"<u{size}").astype(np.uint64)
        pcs = words[0::2]
        if not self.format.relative:
            first = header.address + header.functab - header.offset + low * 16
            addresses = np.uint64(first) + np.arange(len(pcs), dtype=np.uint64) * np.uint64(16)
            pcs = self._elf.relocate(addresses, pcs)
        return _signed(pcs), _signed(words[1::2])

    def _offsets(self, pcs: UInt64Array) -> Int64Array:
        """Pcs as the function table counts them."""
        return (pcs - np.uint64(self._base)).astype(np.int64)

    def _locate(self, pcs: UInt64Array) -> tuple[Int64Array, Int64Array, npt.NDArray[np.intp]]:
        """(entries, record offsets, of): functions, and for each sorted pc the one it is in."""
        offsets = self._offsets(pcs)
        blocks = np.unique(np.searchsorted(self._index, offsets, side="right") - 1)
        entries, records = self._read_blocks(blocks)
        # Blocks ascend, so their functions do, and one search serves all pcs. Equal entries
        # do not occur in Go's tables; the last of them would win, as in the runtime.
        found = np.searchsorted(entries, offsets, side="right") - 1
        chosen, of = np.unique(found, return_inverse=True)
        return entries[chosen], records[chosen], of

    def _read_blocks(self, blocks: npt.NDArray[np.intp]) -> tuple[Int64Array, Int64Array]:
        """Entries and record offsets of the functions in these blocks of 64."""
        size = 4 if self.format.relative else 8
        header = self.header
        offsets = header.functab + blocks.astype(np.int64) * (2 * size * _INDEX_STEP)
        last = header.function_count // _INDEX_STEP
        full = blocks < last
        rows = gather(self._reader, offsets[full], 2 * size * _INDEX_STEP)
        words = rows.view(f"<u{size}").astype(np.uint64).ravel()
        if not full.all():
            count = header.function_count % _INDEX_STEP
            data = self._reader.read(int(offsets[~full][0]), 2 * size * count)
            words = np.concatenate((words, np.frombuffer(data, f"<u{size}").astype(np.uint64)))
        pcs = words[0::2]
        if not self.format.relative:
            numbers = np.repeat(blocks.astype(np.int64), _INDEX_STEP) * _INDEX_STEP
            numbers += np.tile(np.arange(_INDEX_STEP), len(blocks))
            first = header.address + header.functab - header.offset
            addresses = (first + numbers[: len(pcs)] * 16).astype(np.uint64)
            pcs = self._elf.relocate(addresses, pcs)
        return _signed(pcs), _signed(words[1::2])

    def _read_functions(self, records: Int64Array) -> _Functions:
        """The records at these offsets."""
        layout, tree = self.format.function, self.format.inline
        pcdata = tree.pcdata if tree else 0
        places = self.header.functions + records
        rows = gather(self._reader, places, layout.pcdata + 4 * (pcdata + 1))
        pcdata_count = _column(rows, layout.npcdata)
        if (pcdata_count < 0).any() or (pcdata_count > _MAX_PCDATA).any():
            raise ParseError("func-malformed", f"{int(pcdata_count.max())} pcdata tables")
        none = np.zeros(len(rows), np.int64)
        pcinline = _column(rows, layout.pcdata + 4 * pcdata)
        has_tree = (pcdata_count > pcdata) if tree else none.astype(bool)
        trees = np.full(len(rows), -1, np.int64)
        if tree is not None:
            has_tree &= (rows[:, layout.funcdata_count] > tree.funcdata) & (pcinline > 0)
            after = places + layout.pcdata + 4 * pcdata_count
            trees[has_tree] = self._tree_places(after[has_tree], tree.funcdata)
        return _Functions(
            name=_column(rows, layout.name),
            pcsp=_column(rows, layout.pcsp),
            pcfile=_column(rows, layout.pcsp + 4),
            pcln=_column(rows, layout.pcsp + 8),
            pcinline=np.where(trees >= 0, pcinline, 0),
            cu=none if layout.cu is None else _column(rows, layout.cu),
            start_line=none if layout.start_line is None else _column(rows, layout.start_line),
            tree=trees,
        )

    def _tree_places(self, funcdata: Int64Array, number: int) -> Int64Array:
        """File offsets of inline trees, given where the functions' FUNCDATA arrays start."""
        if self.format.relative:
            rows = gather(self._reader, funcdata + 4 * number, 4)
            offsets = rows.view("<u4")[:, 0].astype(np.uint64)
            places = self._elf.offsets_of(np.uint64(self._gofunc) + offsets)
            places[offsets == _NO_TREE] = -1
            return places
        # An array of pointers, aligned as such in memory.
        header = self.header
        addresses = header.address + (funcdata - header.offset)
        addresses += -addresses % 8 + 8 * number
        rows = gather(self._reader, addresses - header.address + header.offset, 8)
        pointers = self._elf.relocate(addresses.astype(np.uint64), rows.view("<u8")[:, 0])
        places = self._elf.offsets_of(pointers)
        places[pointers == 0] = -1
        return places

    def _find_gofunc(self, moduledata: Moduledata) -> int:
        """The word of the moduledata from which inline trees are counted.

        Its place moved in Go 1.20 and 1.27. It is the word that makes inline trees readable:
        names that start where a name starts, call sites within the function.
        """
        samples = self._functions_with_trees()
        for candidate in moduledata.gofunc_candidates:
            self._gofunc = candidate
            if self._trees_fit(*samples):
                return candidate
        raise ParseError("moduledata-gofunc", "no word leads to readable inline trees")

    def _functions_with_trees(self) -> tuple[Int64Array, Int64Array]:
        """(record offsets, code sizes) of a few functions with inlined calls, maybe none."""
        count = self.header.function_count
        self._gofunc = 0
        for low in range(0, min(count, 8 * _FUNCTIONS_PER_ROUND), 512):
            pcs, records = self._read_functab(low, min(low + 512, count))
            chosen = self._has_tree(records)[:16]
            if len(chosen):
                return records[chosen], np.diff(pcs)[chosen]
        return np.empty(0, np.int64), np.empty(0, np.int64)

    def _has_tree(self, records: Int64Array) -> Int64Array:
        layout, tree = self.format.function, self.format.inline
        assert tree is not None
        places = self.header.functions + records
        rows = gather(self._reader, places, layout.pcdata)
        enough = (_column(rows, layout.npcdata) > tree.pcdata) & (
            rows[:, layout.funcdata_count] > tree.funcdata
        )
        chosen = np.flatnonzero(enough)
        after = layout.pcdata + 4 * (_column(rows, layout.npcdata)[chosen] + tree.funcdata)
        offsets = gather(self._reader, places[chosen] + after, 4).view("<u4")[:, 0]
        having: Int64Array = chosen[offsets != _NO_TREE]
        return having

    def _trees_fit(self, records: Int64Array, sizes: Int64Array) -> bool:
        """Does the current gofunc lead to sensible first tree entries?"""
        tree = self.format.inline
        assert tree is not None
        if not len(records):
            return True  # nothing was inlined: nothing will be asked
        places = self._read_functions(records).tree
        if (places < 0).any():
            return False
        entries = inline.read_entries(self._reader, places, tree)
        header = self.header
        named = (entries.names >= 0) & (entries.names < header.cu - header.names)
        called = (entries.parent_pcs >= 0) & (entries.parent_pcs < sizes)
        if not named.all() or not called.all():
            return False
        before = gather(self._reader, header.names + np.maximum(entries.names - 1, 0), 1)[:, 0]
        return bool(((before == 0) | (entries.names == 0)).all())

    # -- symbolizing -------------------------------------------------------------------------

    def _read_tables(self, *offsets: Int64Array) -> PcTables:
        header = self.header
        return read_pc_tables(
            self._reader, header.pctab, np.concatenate(offsets), header.end, header.quantum
        )

    def _chains(self, pcs: UInt64Array) -> list[tuple[Frame, ...]]:
        """The frames of sorted pcs, all in Go code."""
        found = self._activations(pcs)
        names = self._strings(found.name + self.header.names, self._names)
        files = self._strings(found.file, self._files)
        chains: list[list[Frame]] = [[] for _ in range(len(pcs))]
        known: dict[tuple[str, str, int, int, bool], Frame] = {}
        rows = zip(
            found.query.tolist(),
            names,
            files,
            found.line.tolist(),
            found.start_line.tolist(),
            found.inlined.tolist(),
            strict=True,
        )
        for query, name, file, line, start_line, inlined in rows:
            key = (name, file, line, start_line, inlined)
            frame = known.get(key)
            if frame is None:
                frame = known[key] = Frame(name, file, line, start_line, inlined=inlined)
            chains[query].append(frame)
        return [tuple(chain) for chain in chains]

    def _activations(self, pcs: UInt64Array) -> _Activations:
        entries, records, of = self._locate(pcs)
        functions = self._read_functions(records)
        tables = self._read_tables(functions.pcfile, functions.pcln, functions.pcinline)
        file_table = tables.numbers(functions.pcfile)
        line_table = tables.numbers(functions.pcln)
        inline_table = tables.numbers(functions.pcinline)
        layout = self.format.inline

        query = np.arange(len(pcs))
        offsets = self._offsets(pcs) - entries[of]
        index = tables.at(inline_table[of], offsets).astype(np.int64)
        file = tables.at(file_table[of], offsets).astype(np.int64)
        line = tables.at(line_table[of], offsets).astype(np.int64)
        parts = []
        for _ in range(_MAX_INLINE_DEPTH):
            inlined = index >= 0
            name = functions.name[of]
            start_line = functions.start_line[of]
            called = np.flatnonzero(inlined)
            if layout is not None and len(called):
                places = functions.tree[of[called]] + index[called] * layout.entry_bytes
                tree = inline.read_entries(self._reader, places, layout)
                name[called] = tree.names
                start_line[called] = tree.start_lines
            files = self._file_places(functions.cu[of], file)
            parts.append(_Activations(query, name, files, line, start_line, inlined))
            if layout is None or not len(called):
                break
            query, of = query[called], of[called]
            if layout.parent_pc is None:
                index, file, line = tree.parents, tree.files, tree.lines
            else:
                # -1 (a call without an instruction) resolves as the entry, as in the runtime.
                offsets = np.maximum(tree.parent_pcs, 0)
                index = tables.at(inline_table[of], offsets).astype(np.int64)
                file = tables.at(file_table[of], offsets).astype(np.int64)
                line = tables.at(line_table[of], offsets).astype(np.int64)
        else:
            raise ParseError("inline-malformed", f"more than {_MAX_INLINE_DEPTH} calls deep")
        return _Activations(
            query=np.concatenate([part.query for part in parts]),
            name=np.concatenate([part.name for part in parts]),
            file=np.concatenate([part.file for part in parts]),
            line=np.maximum(np.concatenate([part.line for part in parts]), 0),
            start_line=np.concatenate([part.start_line for part in parts]),
            inlined=np.concatenate([part.inlined for part in parts]),
        )

    def _file_places(self, cu: Int64Array, numbers: Int64Array) -> Int64Array:
        """File offsets of file names, -1 for unknown."""
        places = np.full(len(numbers), -1, np.int64)
        known = np.flatnonzero(numbers >= 0)
        if self.format.function.cu is None:
            # Up to Go 1.15: a table of offsets from the start, its own length in slot 0.
            at, inverse = np.unique(numbers[known], return_inverse=True)
            base = self.header.offset
        else:
            at, inverse = np.unique(cu[known] + numbers[known], return_inverse=True)
            base = self.header.files
        rows = gather(self._reader, self.header.cu + 4 * at, 4)
        offsets = rows.view("<u4")[:, 0].astype(np.int64)
        places[known] = np.where(offsets == 0xFFFFFFFF, -1, base + offsets)[inverse]
        return places

    # -- strings -----------------------------------------------------------------------------

    def _strings(self, places: Int64Array, cache: dict[int, str]) -> list[str]:
        """The strings at these file offsets, "" for -1; equal ones are one object."""
        unique, inverse = np.unique(places, return_inverse=True)
        if len(cache) > _CACHED_STRINGS:
            cache.clear()
        texts = []
        for place in unique.tolist():
            text = cache.get(place)
            if text is None:
                text = cache[place] = "" if place < 0 else self._string(place)
            texts.append(text)
        return [texts[number] for number in inverse.tolist()]

    def _string(self, place: int) -> str:
        end = self.header.end
        length = 128
        while True:
            length = min(length, end - place)
            if length <= 0:
                raise ParseError("name-malformed", f"at file offset {place:#x}")
            data = self._reader.read(place, length)
            size = data.find(b"\0")
            if size >= 0:
                return data[:size].decode("utf-8", "replace")
            if length >= _MAX_NAME_BYTES or length == end - place:
                raise ParseError("name-malformed", f"no end at file offset {place:#x}")
            length *= 8

    def _scan_names(self, wanted: set[bytes]) -> dict[str, tuple[int, int]]:
        """Find functions by name: one pass over all records, comparing the first bytes."""
        width = min(24, min(len(name) for name in wanted) + 1)
        prefixes = np.array(sorted({name[:width] for name in wanted}), f"S{width}")
        found: dict[str, tuple[int, int]] = {}
        count = self.header.function_count
        for low in range(0, count, _FUNCTIONS_PER_ROUND):
            pcs, records = self._read_functab(low, min(low + _FUNCTIONS_PER_ROUND, count))
            at = self.header.functions + records + self.format.function.name
            names = gather(self._reader, at, 4).view("<i4")[:, 0].astype(np.int64)
            starts = gather(self._reader, self.header.names + names, width)
            alike = np.isin(starts.view(f"S{width}")[:, 0], prefixes)
            for number in np.flatnonzero(alike).tolist():
                name = self._string(self.header.names + int(names[number]))
                if name.encode() in wanted:
                    low_pc, high_pc = int(pcs[number]), int(pcs[number + 1])
                    found.setdefault(name, (self._base + low_pc, self._base + high_pc))
        return found


def parse_pclntab(elf: Elf, version: str) -> Pclntab:
    """The table of a Go binary; ``version`` (``go1.12.17``) matters only up to Go 1.15.

    Raises ParseError: ``pclntab-missing`` (no Go binary), ``pclntab-magic`` (a layout newer than
    this reader), ``pclntab-version`` (too old to be read without the version),
    ``pclntab-malformed``, ``functab-malformed``, ``func-malformed``, ``moduledata-missing``,
    ``moduledata-gofunc``, or an ``elf-`` reason.
    """
    refused: ParseError | None = None
    for address, offset in _candidates(elf):
        try:
            header = _parse_header(elf, address, offset)
            return Pclntab(elf, header, _FORMATS.get(header.magic) or _first_format(version))
        except ParseError as error:
            if error.reason not in ("pclntab-magic", "pclntab-malformed", "functab-malformed"):
                raise
            refused = refused or error  # bytes may look like a table by chance: try the next
    raise refused or ParseError("pclntab-missing")


def has_pclntab(elf: Elf) -> bool:
    """Whether a table of a known layout is there. May read the whole file."""
    for address, offset in _candidates(elf):
        try:
            _parse_header(elf, address, offset)
        except ParseError:
            continue
        return True
    return False


def _candidates(elf: Elf) -> Iterator[tuple[int, int]]:
    """(address, file offset) of what may be a table: the section's, then by its first bytes.

    The sections go missing with the section headers, and external linking of a PIE puts the
    table into .data.rel.ro without one of its own.
    """
    for name in (".gopclntab", ".data.rel.ro.gopclntab"):
        section = elf.sections.get(name)
        if section is not None and section.size >= 64:
            yield section.address, section.offset
    quantum = 4 if elf.machine == EM_AARCH64 else 1
    tail = struct.unpack("<I", bytes((0, 0, quantum, 8)))[0]  # pad, pad, quantum, pointer size
    for segment in elf.loads:
        size = segment.file_size // 8 * 8
        for low in range(0, size, _SCAN_BYTES):
            data = elf.reader.read(segment.offset + low, min(_SCAN_BYTES, size - low))
            words = np.frombuffer(data, "<u4")
            alike = (words[1::2] == tail) & (words[0::2] >= 0xFFFFFF00)
            for place in np.flatnonzero(alike).tolist():
                at = low + 8 * place
                yield segment.address + at, segment.offset + at


def _parse_header(elf: Elf, address: int, offset: int) -> Header:
    segment = elf.segment_of(address)
    if segment is None or segment.offset + address - segment.address != offset:
        raise ParseError("pclntab-malformed", f"not mapped at {address:#x}")
    end = segment.offset + segment.file_size
    head = elf.reader.read(offset, 72)
    magic, pad1, pad2, quantum, pointer_bytes = struct.unpack_from("<IBBBB", head)
    words = struct.unpack_from("<8Q", head, 8)
    count = words[0]
    if magic != _FIRST_MAGIC and magic not in _FORMATS:
        raise ParseError("pclntab-magic", f"{magic:#x} at file offset {offset:#x}")
    if pad1 or pad2 or quantum not in (1, 4) or pointer_bytes != 8:
        raise ParseError("pclntab-malformed", f"header {head[:8].hex()}")
    if not 0 < count < _MAX_FUNCTIONS:
        raise ParseError("pclntab-malformed", f"{count} functions")
    if magic == _FIRST_MAGIC:
        functab = offset + 16
        after = functab + count * 16 + 8
        filetab = offset + int.from_bytes(elf.reader.read(after, 4), "little")
        if not after < filetab < end:
            raise ParseError("pclntab-malformed", f"file table at {filetab:#x}")
        return Header(
            magic, address, offset, end, quantum, count, 0,
            functab=functab, names=offset, cu=filetab, files=offset, pctab=offset,
            functions=offset,
        )  # fmt: skip
    relative = _FORMATS[magic].relative
    text_start = words[2] if relative else 0
    names, cu, files, pctab, functions = words[3:8] if relative else words[2:7]
    functab_bytes = (2 * count + 1) * (4 if relative else 8)
    ordered = 0 < names < cu <= files < pctab < functions
    if not ordered or offset + functions + functab_bytes > end:
        raise ParseError("pclntab-malformed", f"offsets {words[1:]}")
    return Header(
        magic, address, offset, end, quantum, count, text_start,
        functab=offset + functions, names=offset + names, cu=offset + cu, files=offset + files,
        pctab=offset + pctab, functions=offset + functions,
    )  # fmt: skip


def _signed(words: UInt64Array) -> Int64Array:
    if len(words) and int(words.max()) >> 62:
        raise ParseError("functab-malformed", "an address beyond 2^62")
    return words.astype(np.int64)


def _column(rows: UInt8Array, at: int) -> Int64Array:
    """The signed 32-bit field at a byte offset of each row."""
    return np.ascontiguousarray(rows[:, at : at + 4]).view("<i4")[:, 0].astype(np.int64)
