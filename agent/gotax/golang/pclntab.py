"""Go's own symbol table: function, file, line and inlined calls for a program counter.

Every Go binary carries it, stripped or not, because the runtime walks stacks with it: Go 1.2 to
1.27, 64-bit little-endian. ``pcheader`` finds it, ``functab`` reads functions, ``pcvalue`` decodes
the tables by program counter, ``inline`` the trees of inlined calls; here they come together.

Nothing of the binary is kept but a sparse index of its functions. Questions come in batches, are
answered in columns, and a table is decoded once for all program counters of a round.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from gotax.errors import ParseError, ReadError
from gotax.golang import inline
from gotax.golang.functab import FunctionEntries, Functions, FunctionTable
from gotax.golang.inline import read_entries
from gotax.golang.moduledata import Moduledata, find_moduledata
from gotax.golang.pcheader import Format, Header, find_headers
from gotax.golang.pcvalue import PcTables, read_pc_tables
from gotax.linux.elf import FEW, Elf, gather, spans
from gotax.profile import Frame, FrameKind, Int32Array, Int64Array, UInt64Array

_NAME_BYTES = 256  # few names are longer, and on average they have a quarter
_MAX_NAME_BYTES = 1 << 16  # names of generic functions can be long
_MAX_TEXT_BYTES = 8 << 20  # of all names of a round, and _NAME_BYTES more for each
MAX_DEPTH = 64  # of inlined calls; the Go compiler itself has seven
_MAX_MEAN_DEPTH = 8  # of many pcs; usual is below two
_PCS_PER_ROUND = 4096
_CODE_PER_ROUND = 4 << 20  # all functions of a round together; their tables have about a third
_CODE_OF_ONE = _CODE_PER_ROUND // 16  # counts at most: claimed sizes do not make a round of each pc
_FUNCTIONS_PER_PART = 2048
_SAMPLED_TREES = 16
_SAMPLED_FUNCTIONS = 65536
_SAMPLE_STEP = 512
_NO_FILE = 0xFFFFFFFF
_NONE = np.empty(0, np.int64)
_KINDS = (FrameKind.GO, FrameKind.NATIVE)
_BY_CHANCE = frozenset({"pclntab-magic", "pclntab-malformed", "functab-malformed"})


@dataclass(frozen=True, slots=True)
class _Activations:
    """Columns of frames, those of a query innermost first; ``file``: a file offset, -1 unknown.

    ``native``: a C function, which the linker lists beside Go's when it links C code itself. Only
    Go's compiler and assembler write how far the stack pointer has moved (pcsp).
    """

    query: Int64Array
    name: Int64Array
    file: Int64Array
    line: Int64Array
    start_line: Int64Array
    inlined: npt.NDArray[np.bool_]
    native: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Symbols:
    """Columns of frames, by query (the number of a pc asked for) and within it innermost first.

    ``function`` and ``file`` are numbers in ``functions`` and ``files``; ``native``: a C function.
    """

    query: Int64Array
    function: npt.NDArray[np.intp]
    file: npt.NDArray[np.intp]
    line: Int64Array
    start_line: Int64Array
    inlined: npt.NDArray[np.bool_]
    native: npt.NDArray[np.bool_]
    functions: list[str]
    files: list[str]


@dataclass(frozen=True, slots=True)
class Calls:
    """Columns: ranges [start, end) of addresses and the chain of frames all over each."""

    starts: UInt64Array
    ends: UInt64Array
    chains: list[tuple[Frame, ...]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Columns: ranges [start, end) of addresses and ``frame_sizes`` all over each."""

    starts: UInt64Array
    ends: UInt64Array
    values: Int32Array


@dataclass(frozen=True, slots=True)
class Chains:
    """Columns of a part of the table: which chain of frames each range of addresses has.

    ``starts`` ascend, and each range ends where the next one starts, the last where the next part
    does. ``chain`` is a number in the chains, ``frameless`` says where the stack pointer has not
    moved since the entry. ``of`` (a chain, ascending), ``name`` (a number in ``names``) and
    ``native`` (a C function) have a row per frame, innermost first. ``names`` are as in the file.
    """

    pairs: int  # of the tables that were decoded for it: what it cost
    starts: Int64Array
    chain: npt.NDArray[np.intp]
    frameless: npt.NDArray[np.bool_]
    of: Int64Array
    name: npt.NDArray[np.intp]
    native: npt.NDArray[np.bool_]
    names: list[bytes]


@dataclass(frozen=True, slots=True)
class _Round:
    """Some pcs in Go code, sorted: their places in the question, and in which function each is.

    ``offsets`` count from the function's entry, ``of`` is a number in ``functions``.
    """

    places: npt.NDArray[np.intp]
    offsets: Int64Array
    functions: Functions
    of: npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _SourcePosition:
    """Columns: what the tables say at program counters; ``index`` is of the inline tree."""

    index: Int64Array
    file: Int64Array
    line: Int64Array


class Pclntab:
    """The table of one binary. Addresses are link-time addresses.

    Every method reads the file and raises ParseError where it is malformed.
    """

    def __init__(self, elf: Elf, header: Header) -> None:
        self.header = header
        self._elf = elf
        self._reader = elf.reader
        self._ranges: dict[str, tuple[int, int] | None] = {}
        self._functions = FunctionTable(elf, header)
        self._text = 0
        self._trees = 0  # file offset to add to inline trees
        if header.format.relative:
            extent = (self._functions.first, self._functions.end)
            moduledata = find_moduledata(elf, header.address, header.names - header.offset, extent)
            self._text = moduledata.text
            self._trees = self._find_gofunc(moduledata)
        self.text_start = self._text + self._functions.first
        self.text_end = self._text + self._functions.end

    @property
    def format(self) -> Format:
        return self.header.format

    @property
    def function_count(self) -> int:
        return self.header.function_count

    def contains(self, pcs: UInt64Array) -> npt.NDArray[np.bool_]:
        """Which of these lie between the first and the last byte of Go code."""
        inside: npt.NDArray[np.bool_] = (pcs >= np.uint64(self.text_start)) & (
            pcs < np.uint64(self.text_end)
        )
        return inside

    def frames(self, pcs: UInt64Array) -> list[tuple[Frame, ...]]:
        """For each pc its chain of frames, innermost first; () outside Go code.

        For a return address pass the address less one: the call, not what follows it. Names are
        as the runtime prints them: type arguments are "[...]". Between two functions it is the
        function before, with file "" and line 0.
        """
        wanted, inverse = np.unique(pcs, return_inverse=True)
        chains = _chains(self.symbols(wanted), len(wanted))
        return [chains[place] for place in inverse.tolist()]

    def symbols(self, pcs: UInt64Array) -> Symbols:
        """What ``frames`` says, in columns; the same pc twice is looked up twice."""
        found = []
        for part in self._rounds(pcs):
            functions = part.functions
            columns = (functions.pcinline, functions.pcfile, functions.pcln)
            tables = self._read_tables(*columns)
            numbers = [tables.numbers(column) for column in columns]

            def place_at(
                of: npt.NDArray[np.intp],
                offsets: Int64Array,
                tables: PcTables = tables,
                numbers: list[Int64Array] = numbers,
            ) -> _SourcePosition:
                return _SourcePosition(
                    *(tables.at(n[of], offsets).astype(np.int64) for n in numbers)
                )

            activations = self._activations(part.offsets, functions, part.of, place_at)
            found.append(replace(activations, query=part.places[activations.query]))
        return self._symbols(found)

    def frame_sizes(self, pcs: UInt64Array) -> Int32Array:
        """Bytes the stack pointer has moved since the function's entry; -1 unknown."""
        sizes = np.full(len(pcs), -1, np.int32)
        for part in self._rounds(pcs):
            tables = self._read_tables(part.functions.pcsp)
            numbers = tables.numbers(part.functions.pcsp)
            sizes[part.places] = tables.at(numbers[part.of], part.offsets)
        return sizes

    def calls(self, pcs: UInt64Array) -> tuple[Calls, Sizes]:
        """What is to be known of the functions that these pcs are in.

        The frames as ``frames`` has them, but with file "" and line 0: the ranges that the pcs
        are in, and all others of the same functions with the same answer. A pc outside Go code
        has the chain () for a range of its own. And ``frame_sizes`` for all of these functions; a
        pc that no table covers has -1 for a range of its own.
        """
        outside = pcs[~self.contains(pcs)]
        parts = [self._calls(part, pcs[part.places]) for part in self._rounds(pcs)]
        parts.append((_single(outside, [()] * len(outside)), _unsized(outside)))
        calls, sizes = zip(*parts, strict=True)
        return (
            Calls(
                np.concatenate([part.starts for part in calls]),
                np.concatenate([part.ends for part in calls]),
                [chain for part in calls for chain in part.chains],
            ),
            _together(sizes),
        )

    def _calls(self, part: _Round, pcs: UInt64Array) -> tuple[Calls, Sizes]:
        offsets, functions, of = part.offsets, part.functions, part.of
        tables = self._read_tables(functions.pcinline, functions.pcsp)
        numbers = tables.numbers(functions.pcinline)
        index = tables.at(numbers[of], offsets).astype(np.int64)
        # One query for each inlined call of a function, and for its own body.
        pairs, first, pair_of_pc = np.unique(
            (of << 32) + index + 1, return_index=True, return_inverse=True
        )
        found = self._without_lines(offsets[first], functions, of[first], tables)
        chains = _chains(self._symbols([found]), len(pairs))
        runs = tables.runs(numbers)
        pair_of_run = (runs.of << 32) + runs.value + 1
        at = np.minimum(np.searchsorted(pairs, pair_of_run), len(pairs) - 1)
        kept = np.flatnonzero(pairs[at] == pair_of_run)
        entries = self._text + functions.entry
        entries_of_runs = entries[runs.of[kept]]
        # Without a table all is the function's own up to the pc; beyond its end (padding) the pc.
        beyond = np.flatnonzero(offsets >= tables.ends(numbers)[of])
        low = entries[of[beyond]] + np.where(numbers[of[beyond]] < 0, 0, offsets[beyond])
        calls = Calls(
            _addresses(low, entries_of_runs + runs.start[kept]),
            _addresses(entries[of[beyond]] + offsets[beyond] + 1, entries_of_runs + runs.end[kept]),
            [chains[place] for place in (*pair_of_pc[beyond].tolist(), *at[kept].tolist())],
        )
        return calls, self._sizes(pcs, offsets, functions, of, tables)

    def all_chains(self) -> Iterator[Chains]:
        """The whole table, in parts of bounded size: ``calls`` of all addresses, in columns."""
        for entries in self._functions.chunks(_FUNCTIONS_PER_PART):
            yield self._chains_of(entries)  # while this waits it holds none of it

    def _chains_of(self, entries: FunctionEntries) -> Chains:
        """Of these functions, which follow each other."""
        functions = self._functions.read_functions(entries)
        tables = self._read_tables(functions.pcinline, functions.pcsp)
        inline, sizes = (tables.numbers(at) for at in (functions.pcinline, functions.pcsp))
        every = np.arange(len(entries.pcs), dtype=np.int64) << 32
        runs = [tables.runs(numbers) for numbers in (inline, sizes)]
        # Where anything may change, and where a table ends before its function does.
        keys, passed = _merged(
            *((run.of << 32) + run.start for run in runs),
            every,
            *(every + tables.ends(numbers) for numbers in (inline, sizes)),
        )
        of, offsets = keys >> 32, keys & 0xFFFFFFFF
        inside = offsets < (entries.ends - entries.pcs)[of]
        of, offsets = of[inside], offsets[inside]
        pairs = len(entries.pcs) + sum(len(run.of) for run in runs)
        if not len(of):  # functions without a byte, in a damaged file
            return Chains(pairs, _NONE, _NONE, _NONE > 0, _NONE, _NONE, _NONE > 0, [])
        index, moved = (
            run.values_at(of, offsets, rows[inside] - 1)
            for run, rows in zip(runs, passed, strict=True)
        )
        _, first, chain = np.unique((of << 32) + index + 1, return_index=True, return_inverse=True)
        found = self._without_lines(offsets[first], functions, of[first], tables)
        order = np.argsort(found.query, kind="stable")  # rounds went from the inside out
        names, name = self._texts(self.header.names + found.name[order])
        return Chains(
            pairs=pairs,
            starts=self._text + entries.pcs[of] + offsets,
            chain=chain,
            frameless=moved == 0,
            of=found.query[order],
            name=name,
            native=found.native[order],
            names=names,
        )

    def _without_lines(
        self,
        offsets: Int64Array,
        functions: Functions,
        of: npt.NDArray[np.intp],
        tables: PcTables,
    ) -> _Activations:
        """The frames at these offsets in functions whose pcinline is among the tables."""
        numbers = tables.numbers(functions.pcinline)

        def place_at(of: npt.NDArray[np.intp], offsets: Int64Array) -> _SourcePosition:
            inline = tables.at(numbers[of], offsets).astype(np.int64)
            return _SourcePosition(inline, np.full_like(inline, -1), np.full_like(inline, -1))

        found = self._activations(offsets, functions, of, place_at)
        none = np.zeros_like(found.line)  # up to Go 1.11 inlined calls have lines of their own
        return replace(found, file=none - 1, line=none)

    def _sizes(
        self,
        pcs: UInt64Array,
        offsets: Int64Array,
        functions: Functions,
        of: npt.NDArray[np.intp],
        tables: PcTables,
    ) -> Sizes:
        """All ranges of these functions, from tables that theirs are among."""
        numbers = tables.numbers(functions.pcsp)
        runs = tables.runs(numbers)
        entries = self._text + functions.entry[runs.of]
        covered = Sizes(
            _addresses(entries + runs.start), _addresses(entries + runs.end), runs.value
        )
        return _together([_unsized(pcs[offsets >= tables.ends(numbers)[of]]), covered])

    def function_range(self, name: str) -> tuple[int, int] | None:
        """[low, high) of the function with this name, or None. See ``function_ranges``."""
        return self.function_ranges(frozenset((name,))).get(name)

    def function_ranges(self, names: frozenset[str]) -> dict[str, tuple[int, int]]:
        """[low, high) of each of these functions that exists as a body of its own.

        Names are compared as the table has them (type arguments written out since Go 1.21).
        Goes through the whole table once for all names not asked before; answers are kept.
        """
        unknown = names - self._ranges.keys()
        if unknown:
            self._ranges.update(dict.fromkeys(unknown))
            self._ranges.update(self._scan_names({name.encode() for name in unknown}))
        found = {name: self._ranges[name] for name in names}
        return {name: extent for name, extent in found.items() if extent is not None}

    # Symbolizing, in columns.

    def _read_tables(self, *offsets: Int64Array) -> PcTables:
        header = self.header
        return read_pc_tables(
            self._reader, header.pctab, np.concatenate(offsets), header.end, header.quantum
        )

    def _rounds(self, pcs: UInt64Array) -> Iterator[_Round]:
        """Those of the pcs that are in Go code, in parts of bounded size."""
        places = np.flatnonzero(self.contains(pcs))
        places = places[np.argsort(pcs[places], kind="stable")]
        for low in range(0, len(places), _PCS_PER_ROUND):
            some = places[low : low + _PCS_PER_ROUND]
            relative = (pcs[some] - np.uint64(self._text)).astype(np.int64)
            entries, of = self._functions.locate(relative)
            functions = self._functions.read_functions(entries)
            code = np.minimum(entries.ends - entries.pcs, _CODE_OF_ONE).cumsum()
            code = code[of] // _CODE_PER_ROUND
            cuts = np.flatnonzero(np.diff(code)) + 1
            for start, stop in pairwise([0, *cuts.tolist(), len(some)]):
                first, last = int(of[start]), int(of[stop - 1])
                yield _Round(
                    some[start:stop],
                    relative[start:stop] - entries.pcs[of[start:stop]],
                    functions.part(first, last + 1),
                    of[start:stop] - first,
                )

    def _symbols(self, parts: list[_Activations]) -> Symbols:
        """With names for places in the file."""
        found = _Activations(
            query=np.concatenate([_NONE, *(part.query for part in parts)]),
            name=np.concatenate([_NONE, *(part.name for part in parts)]),
            file=np.concatenate([_NONE, *(part.file for part in parts)]),
            line=np.concatenate([_NONE, *(part.line for part in parts)]),
            start_line=np.concatenate([_NONE, *(part.start_line for part in parts)]),
            inlined=np.concatenate([_NONE > 0, *(part.inlined for part in parts)]),
            native=np.concatenate([_NONE > 0, *(part.native for part in parts)]),
        )
        # Rounds of inlined calls went from the inside out, and stay so.
        order = np.argsort(found.query, kind="stable")
        functions, function = self._strings(self.header.names + found.name)
        if self.format.whole_names:
            functions = [shortened(name) if "[" in name else name for name in functions]
        files, file = self._strings(found.file)
        return Symbols(
            query=found.query[order],
            function=function[order],
            file=file[order],
            line=np.maximum(found.line, 0)[order],
            start_line=found.start_line[order],
            inlined=found.inlined[order],
            native=found.native[order],
            functions=functions,
            files=files,
        )

    def _activations(
        self,
        offsets: Int64Array,
        functions: Functions,
        of: npt.NDArray[np.intp],
        place_at: Callable[[npt.NDArray[np.intp], Int64Array], _SourcePosition],
    ) -> _Activations:
        """Round by round: the innermost frame of every pc, then the callers of inlined ones.

        In this order, not by query. ``place_at`` says what the tables of the functions with these
        numbers say at these offsets.

        Real trees can lead in a circle: in a leaf function, such as a package's init, the call site
        of an inlined call may be given as the entry, where the first instruction is of that very
        call (cmd/internal/obj/pcln.go, setParentPC). The runtime would go round for ever
        (runtime/symtabinl.go, next). Here the calls outside the circle stand, the innermost in any
        case, and then the function itself, at an unknown line.
        """
        layout = self.format.inline
        query = np.arange(len(offsets))
        place = place_at(of, offsets)
        before = np.empty((len(offsets), 0), np.int64)  # indexes of the calls passed, by query
        sound = np.full(len(offsets), MAX_DEPTH)  # so many calls of it are in no circle
        rounds: list[_Activations] = []
        rows, most = 0, _MAX_MEAN_DEPTH * len(offsets) + _PCS_PER_ROUND
        while len(query):
            rows += len(query)
            if len(rounds) == MAX_DEPTH or rows > most:
                raise ParseError("inline-malformed", f"{rows} frames, {len(rounds)} calls deep")
            inlined = place.index >= 0
            name, start_line = functions.name[of], functions.start_line[of]
            called = np.flatnonzero(inlined)
            files = self._file_places(functions.cu[of], place.file)
            native = functions.pcsp[of] == 0
            rounds.append(_Activations(query, name, files, place.line, start_line, inlined, native))
            if layout is None or not len(called):
                break
            at = self._trees + functions.tree[of[called]] + place.index[called] * layout.entry_bytes
            callees = read_entries(self._reader, at, layout)
            name[called], start_line[called] = callees.names, callees.start_lines
            query, of = query[called], of[called]
            before = np.column_stack((before[called], place.index[called]))
            if layout.parent_pc is None:
                place = _SourcePosition(callees.parents, callees.files, callees.lines)
            else:
                # -1 (no instruction of the caller's is left) counts as the entry, as in Go.
                place = place_at(of, np.maximum(callees.parent_pcs, 0))
            repeated = before == place.index[:, None]
            again = repeated.any(axis=1)
            if again.any():
                sound[query[again]] = np.maximum(repeated[again].argmax(axis=1), 1)
                place = _SourcePosition(*np.where(again, [[-1], [-1], [0]], astuple(place)))
        if (sound < MAX_DEPTH).any():
            for number, part in enumerate(rounds[1:], 1):
                kept = ~part.inlined | (number < sound[part.query])
                rounds[number] = _Activations(*(column[kept] for column in astuple(part)))
        return _Activations(
            query=np.concatenate([part.query for part in rounds]),
            name=np.concatenate([part.name for part in rounds]),
            file=np.concatenate([part.file for part in rounds]),
            line=np.concatenate([part.line for part in rounds]),
            start_line=np.concatenate([part.start_line for part in rounds]),
            inlined=np.concatenate([part.inlined for part in rounds]),
            native=np.concatenate([part.native for part in rounds]),
        )

    def _file_places(self, cu: Int64Array, numbers: Int64Array) -> Int64Array:
        """File offsets of the names of files, -1 for unknown.

        A number counts from its compilation unit's part of the table (``cu``); before Go 1.16
        there is one table for all, and ``cu`` is zero.
        """
        places = np.full(len(numbers), -1, np.int64)
        known = np.flatnonzero(numbers >= 0)
        if not len(known):
            return places
        slots, inverse = np.unique(cu[known] + numbers[known], return_inverse=True)
        if len(slots) and not 0 <= int(slots[0]) <= int(slots[-1]) < self.header.cu_count:
            raise ParseError("func-malformed", f"file number {int(slots[-1])}")
        rows = gather(self._reader, self.header.cu + 4 * slots, 4)
        offsets = rows.view("<u4")[:, 0].astype(np.int64)
        places[known] = np.where(offsets == _NO_FILE, -1, self.header.files + offsets)[inverse]
        return places

    # Names.

    def _strings(self, places: Int64Array) -> tuple[list[str], npt.NDArray[np.intp]]:
        """The strings at these file offsets, "" for -1, each once, and which one is whose.

        Equal texts are one object.
        """
        if not (places >= 0).any():
            return [""], np.zeros(len(places), np.intp)
        texts, which = self._texts(places)
        return [sys.intern(text.decode("utf-8", "replace")) for text in texts], which

    def _texts(self, places: Int64Array) -> tuple[list[bytes], npt.NDArray[np.intp]]:
        """What ``_strings`` decodes."""
        unique, which = np.unique(places, return_inverse=True)
        texts = [b""] * int(np.searchsorted(unique, 0))
        known = unique[len(texts) :]
        if len(known) <= FEW:
            texts += [self._terminated(place) for place in known.tolist()]
            return texts, which
        size = 0
        for low, high in spans(known):
            first = int(known[low])
            length = int(known[high - 1]) - first + _NAME_BYTES
            data = self._reader.read(first, max(0, min(length, self.header.end - first)))
            found = self._texts_in(data, known[low:high] - first, first)
            size += sum(map(len, found))
            if size > _MAX_TEXT_BYTES + _NAME_BYTES * len(known):
                raise ParseError("name-malformed", f"{len(texts)} names have {size} bytes")
            texts += found
        return texts, which

    def _texts_in(self, data: bytes, starts: Int64Array, place: int) -> list[bytes]:
        """The strings that start at these places of the data, which is at ``place``."""
        zeros = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
        inside = int(np.searchsorted(starts, zeros[-1], side="right")) if len(zeros) else 0
        ends = zeros[np.searchsorted(zeros, starts[:inside])]
        if inside < len(starts):
            # Those that go on beyond the data share one end.
            first = int(starts[inside])
            rest = self._terminated(place + first)
            data = data[:first] + rest
            ends = np.append(ends, np.full(len(starts) - inside, len(data)))
        if int((ends - starts).sum()) > _MAX_TEXT_BYTES:
            raise ParseError("name-malformed", f"{len(starts)} names within each other")
        extents = zip(starts.tolist(), ends.tolist(), strict=True)
        return [data[low:high] for low, high in extents]

    def _string(self, place: int) -> str:
        return self._terminated(place).decode("utf-8", "replace")

    def _terminated(self, place: int) -> bytes:
        """The bytes before the next zero."""
        available = self.header.end - place
        length = _NAME_BYTES
        while available > 0:
            data = self._reader.read(place, min(length, available))
            size = data.find(b"\0")
            if size >= 0:
                return data[:size]
            if length >= min(available, _MAX_NAME_BYTES):
                break
            length *= 8
        raise ParseError("name-malformed", f"no end, at file offset {place:#x}")

    def _scan_names(self, wanted: set[bytes]) -> dict[str, tuple[int, int]]:
        """Find functions by name: one pass over all records, comparing the first bytes."""
        width = min(24, min(len(name) for name in wanted) + 1)
        prefixes = np.array(sorted({name[:width] for name in wanted}), f"S{width}")
        header = self.header
        found: dict[str, tuple[int, int]] = {}
        for entries in self._functions.chunks():
            at = header.functions + entries.records + self.format.function.name
            names = header.names + gather(self._reader, at, 4).view("<i4")[:, 0].astype(np.int64)
            alike = np.isin(gather(self._reader, names, width).view(f"S{width}")[:, 0], prefixes)
            for number in np.flatnonzero(alike).tolist():
                name = self._string(int(names[number]))
                if name.encode() in wanted:
                    extent = (int(entries.pcs[number]), int(entries.ends[number]))
                    found.setdefault(name, (self._text + extent[0], self._text + extent[1]))
        return found

    # Where inline trees are.

    def _find_gofunc(self, moduledata: Moduledata) -> int:
        """File offset of ``go:func.*``, from which inline trees are counted.

        A word of the moduledata points there, but its place moved in Go 1.20 and 1.27. It is the
        word that makes inline trees readable: names start where a name starts, call sites lie
        within the function.
        """
        trees, sizes = self._sample_trees()
        for candidate in moduledata.gofunc_candidates:
            segment = self._elf.segment_of(candidate)
            if segment is None:
                continue
            place = segment.offset + candidate - segment.address
            room = segment.offset + segment.file_size - place - inline.MAX_ENTRY_BYTES
            if (trees <= room).all() and self._trees_fit(trees + place, sizes):
                return place
        raise ParseError("moduledata-gofunc", "no word leads to readable inline trees")

    def _sample_trees(self) -> tuple[Int64Array, Int64Array]:
        """(trees, sizes of code) of a few functions with inlined calls; none if there is none."""
        empty = np.empty(0, np.int64)
        for number, entries in enumerate(self._functions.chunks(_SAMPLE_STEP)):
            if number * _SAMPLE_STEP >= _SAMPLED_FUNCTIONS:
                break
            trees = self._functions.read_functions(entries).tree
            having = np.flatnonzero(trees >= 0)[:_SAMPLED_TREES]
            if len(having):
                return trees[having], (entries.ends - entries.pcs)[having]
        return empty, empty

    def _trees_fit(self, places: Int64Array, sizes: Int64Array) -> bool:
        """Are these file offsets of inline trees? By their first entries."""
        header, layout = self.header, self.format.inline
        if layout is None:
            return False
        trees = read_entries(self._reader, places, layout)
        named = (trees.names >= 0) & (trees.names < header.cu - header.names)
        called = (trees.parent_pcs >= 0) & (trees.parent_pcs < sizes)
        if not (named & called).all():
            return False
        before = gather(self._reader, header.names + np.maximum(trees.names - 1, 0), 1)[:, 0]
        return bool(((before == 0) | (trees.names == 0)).all())


def _chains(symbols: Symbols, count: int) -> list[tuple[Frame, ...]]:
    """The frames of ``count`` queries."""
    # All frames in one pass, then cut where the next pc's begin: this is where time goes.
    frames = list(
        map(
            Frame,
            map(symbols.functions.__getitem__, symbols.function.tolist()),
            map(symbols.files.__getitem__, symbols.file.tolist()),
            symbols.line.tolist(),
            symbols.start_line.tolist(),
            map(_KINDS.__getitem__, symbols.native.tolist()),
            symbols.inlined.tolist(),
        )
    )
    cuts = np.searchsorted(symbols.query, np.arange(count + 1)).tolist()
    return [tuple(frames[low:high]) for low, high in pairwise(cuts)]


def _addresses(*columns: Int64Array) -> UInt64Array:
    return np.concatenate(columns).astype(np.uint64)


def _merged(
    inline: Int64Array, sizes: Int64Array, *others: Int64Array
) -> tuple[Int64Array, tuple[Int64Array, Int64Array]]:
    """All values of these sorted columns, each once and sorted; and for each of them how many
    values of the first two columns are not above it."""
    values = np.concatenate((inline, sizes, *others))
    order = values.argsort(kind="stable")  # which finds the columns, and only merges
    values = values[order]
    is_last = np.append(values[1:] != values[:-1], True)
    of_inline = order < len(inline)
    of_sizes = (order < len(inline) + len(sizes)) & ~of_inline
    return values[is_last], (of_inline.cumsum()[is_last], of_sizes.cumsum()[is_last])


def _single(pcs: UInt64Array, chains: list[tuple[Frame, ...]]) -> Calls:
    return Calls(pcs, pcs + np.uint64(1), chains)


def _unsized(pcs: UInt64Array) -> Sizes:
    return Sizes(pcs, pcs + np.uint64(1), np.full(len(pcs), -1, np.int32))


def _together(parts: Sequence[Sizes]) -> Sizes:
    return Sizes(
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.ends for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def shortened(name: str) -> str:
    """Type arguments as "[...]". Go: runtime/traceback.go (funcNamePiecesForPrint)."""
    low, high = name.find("["), name.rfind("]")
    return name if high <= low else sys.intern(f"{name[:low]}[...]{name[high + 1 :]}")


def parse_pclntab(elf: Elf, version: str) -> Pclntab:
    """The table of a Go binary; ``version`` (``go1.12.17``) matters only up to Go 1.15.

    Raises ParseError: ``pclntab-missing`` (no Go binary), ``pclntab-magic`` (a layout newer than
    this reader), ``pclntab-version`` (too old to be read without the version),
    ``pclntab-malformed``, ``functab-malformed``, ``func-malformed``, ``moduledata-missing``,
    ``moduledata-gofunc``, or an ``elf-`` reason.
    """
    refused: ReadError | None = None
    for header in find_headers(elf, version):
        try:
            if isinstance(header, ReadError):
                raise header
            return Pclntab(elf, header)
        except ReadError as error:
            if error.reason not in _BY_CHANCE:
                raise
            refused = refused or error
    raise refused or ParseError("pclntab-missing")


def has_pclntab(elf: Elf) -> bool:
    """Whether a table of a known layout is there. May read the whole file."""
    for header in find_headers(elf, ""):
        if isinstance(header, Header) or header.reason == "pclntab-version":
            return True
    return False
