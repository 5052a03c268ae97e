"""What a reader says of a binary, checked: the agent uses it without another look.

The types are the messages; ``of_`` functions make them, ``parse_`` functions check them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gotax.errors import AccessError, ParseError, Refusal
from gotax.golang.classmap import ClassMap
from gotax.golang.gomaxprocs import GomaxprocsAddresses
from gotax.golang.pclntab import Calls, Sizes
from gotax.golang.runtimestate import StateAddresses
from gotax.linux.elf import BytesReader, Elf, Segment
from gotax.linux.mappings import FileId, Mapping, Maps
from gotax.process import GoBuild
from gotax.profile import Frame, FrameKind, Int32Array, Int64Array, UInt8Array, UInt64Array
from gotax.reader.binary import BUILD_CHARS_MAX, ParsedBinary

_MAX_SEGMENTS = 256
_MAX_FUNCTIONS = 1 << 22
_NAME_CHARS = 1024  # without type arguments only hashes of large structs are longer
_HIGHEST = 1 << 62
_LOWEST_LINE, _HIGHEST_LINE = -(1 << 31), (1 << 31) - 1
_KINDS = tuple(FrameKind)


class BinaryPlace(NamedTuple):
    """Which binary, where it can be opened now, and its path as its process sees it."""

    id: FileId
    path: str
    module: str


@dataclass(frozen=True, slots=True)
class Headers:
    """Of an ELF file; of the segments those that are loaded."""

    type: int
    machine: int
    entry: int
    bits: int
    headers: tuple[int, int]  # where the program headers are in the file
    loads: tuple[Segment, ...]

    def parse_elf(self) -> Elf:
        """Without a file. Raises ParseError."""
        for load in self.loads:
            if (
                min(load.address, load.offset, load.file_size, load.memory_size) < 0
                or load.address + load.file_size >= 1 << 64
                or load.offset + load.file_size >= 1 << 63
            ):
                raise ParseError("reader-malformed", "a segment")
        if len(self.loads) > _MAX_SEGMENTS or not 0 <= self.headers[0] <= self.headers[1] < 1 << 63:
            raise ParseError("reader-malformed", "segments")
        elf = Elf(BytesReader(b""), (self.type, self.machine, self.entry), self.loads, ())
        elf.bits, elf.program_headers = self.bits, range(*self.headers)
        return elf


@dataclass(frozen=True, slots=True)
class Table:
    """Of a pclntab: [text_start, text_end) of Go code, link-time addresses."""

    text_start: int
    text_end: int
    function_count: int


@dataclass(frozen=True, slots=True)
class BinaryFacts:
    """``problem`` is why it was not understood. ``refused``: why there are no ``gomaxprocs``, and
    whether the file could not be had."""

    problem: str
    headers: Headers | None
    build: GoBuild | None
    build_id: str
    table: Table | None
    gomaxprocs: GomaxprocsAddresses | None
    refused: tuple[str, bool]
    state: StateAddresses
    sigreturn: int

    def check(self) -> None:
        """Raises ParseError."""
        table = self.table or Table(0, 0, 0)
        if not (
            0 <= table.text_start <= table.text_end < _HIGHEST
            and 0 <= table.function_count <= _MAX_FUNCTIONS
            and 0 <= self.sigreturn < 1 << 64
            and len(self.build_id) <= 1024
            and (self.build is None or _chars(self.build) <= BUILD_CHARS_MAX)
            and (self.build is not None or self.table is None)
        ):
            raise ParseError("reader-malformed", "facts of a binary")

    @property
    def addresses(self) -> GomaxprocsAddresses | Refusal:
        reason, is_access = self.refused
        return self.gomaxprocs or Refusal(reason, AccessError if is_access else ParseError)


def of_binary(binary: ParsedBinary) -> BinaryFacts:
    elf, table, found = binary.elf, binary.pclntab, binary.gomaxprocs
    refused = found if isinstance(found, Refusal) else Refusal("")
    return BinaryFacts(
        problem=binary.refused,
        headers=None
        if elf is None
        else Headers(
            elf.type,
            elf.machine,
            elf.entry,
            elf.bits,
            (elf.program_headers.start, elf.program_headers.stop),
            elf.loads,
        ),
        build=binary.build,
        build_id=binary.build_id,
        table=None
        if table is None
        else Table(table.text_start, table.text_end, table.function_count),
        gomaxprocs=None if isinstance(found, Refusal) else found,
        refused=(refused.reason, issubclass(refused.kind, AccessError)),
        state=binary.state,
        sigreturn=binary.sigreturn,
    )


def _chars(build: GoBuild) -> int:
    """As what it counts in memory: a text takes some 50 bytes beside its characters."""
    modules = [build.main, *build.dependencies]
    modules += [module.replaced_by for module in modules if module.replaced_by]
    texts = [build.version, build.package]
    texts += [text for pair in build.settings for text in pair]
    texts += [text for module in modules for text in (module.path, module.version)]
    return sum(len(text) + 50 for text in texts)


@dataclass(frozen=True, slots=True)
class CallColumns:
    """``Calls`` and ``Sizes``. ``chain`` is a number, and ``cuts`` says which frames a chain has.
    ``problem``: what was found to be wrong with the binary meanwhile."""

    starts: UInt64Array
    ends: UInt64Array
    chain: Int32Array
    cuts: Int64Array
    function: Int32Array
    file: Int32Array
    line: Int64Array
    start_line: Int64Array
    kind: UInt8Array
    inlined: UInt8Array
    functions: tuple[str, ...]
    files: tuple[str, ...]
    size_starts: UInt64Array
    size_ends: UInt64Array
    sizes: Int32Array
    problem: str

    def parse(self) -> tuple[Calls, Sizes]:
        """Raises ParseError."""
        rows = len(self.function)
        chains = len(self.cuts) - 1
        fits = (
            len(self.starts) == len(self.ends) == len(self.chain)
            and len(self.file) == len(self.line) == len(self.start_line) == rows
            and len(self.kind) == len(self.inlined) == rows
            and len(self.size_starts) == len(self.size_ends) == len(self.sizes)
            and chains >= 0
            and _are_within(self.chain, chains)
            and _are_within(self.cuts, rows + 1)
            and bool((np.diff(self.cuts) > 0).all())
            and _are_within(self.function, len(self.functions))
            and _are_within(self.file, len(self.files))
            and _are_within(self.kind, len(_KINDS))
        )
        if not fits:
            raise ParseError("reader-malformed", "frames")
        frames = list(
            map(
                Frame,
                map(self.functions.__getitem__, self.function.tolist()),
                map(self.files.__getitem__, self.file.tolist()),
                self.line.clip(_LOWEST_LINE, _HIGHEST_LINE).tolist(),
                self.start_line.clip(_LOWEST_LINE, _HIGHEST_LINE).tolist(),
                map(_KINDS.__getitem__, self.kind.tolist()),
                (self.inlined != 0).tolist(),
            )
        )
        cuts = self.cuts.tolist()
        listed = [tuple(frames[low:high]) for low, high in pairwise(cuts)]
        found = Calls(self.starts, self.ends, [listed[n] for n in self.chain.tolist()])
        return found, Sizes(self.size_starts, self.size_ends, self.sizes)


def _numbers(known: dict[str, int], names: Iterable[str]) -> Int32Array:
    return np.array([known.setdefault(cut(name), len(known)) for name in names], np.int32)


def cut(name: str) -> str:
    """A name as the agent keeps it, by the thousand. `gotax addr2line` shows whole names."""
    return name if len(name) <= _NAME_CHARS else f"{name[: _NAME_CHARS - 1]}…"


def of_calls(calls: Calls, sizes: Sizes, problem: str) -> CallColumns:
    numbers: dict[int, int] = {}
    listed: list[tuple[Frame, ...]] = []
    chain = np.empty(len(calls.chains), np.int32)
    for at, frames in enumerate(calls.chains):
        number = numbers.setdefault(id(frames), len(listed))
        if number == len(listed):
            listed.append(frames)
        chain[at] = number
    every = [frame for frames in listed for frame in frames]
    functions: dict[str, int] = {}
    files: dict[str, int] = {}
    return CallColumns(
        starts=calls.starts,
        ends=calls.ends,
        chain=chain,
        cuts=np.cumsum([0, *map(len, listed)]),
        function=_numbers(functions, (f.function for f in every)),
        file=_numbers(files, (f.file for f in every)),
        line=np.array([f.line for f in every], np.int64),
        start_line=np.array([f.start_line for f in every], np.int64),
        kind=np.array([_KINDS.index(f.kind) for f in every], np.uint8),
        inlined=np.array([f.inlined for f in every], np.uint8),
        functions=tuple(functions),
        files=tuple(files),
        size_starts=sizes.starts,
        size_ends=sizes.ends,
        sizes=sizes.values,
        problem=problem,
    )


@dataclass(frozen=True, slots=True)
class ClassPart:
    """Of a class map: ``pairs`` of tables were read for it. ``whole``: all of it, once it
    ``is_done``; None if there is nothing to be had."""

    pairs: int
    is_done: bool
    whole: ClassMap | None
    problem: str

    def check(self) -> None:
        """Raises ParseError."""
        whole = self.whole
        fits = whole is None or (
            len(whole.starts) == len(whole.values) > 0
            and int(whole.starts[0]) == 0
            and bool((whole.starts[1:] > whole.starts[:-1]).all())
            and _are_within(whole.values >> 1, len(whole.chains))
            and 0 <= whole.text_start <= whole.text_end < _HIGHEST
            and whole.text_end - whole.text_start <= 1 << 32
            and all(len(chain) <= 1024 for chain in whole.chains)
        )
        if not fits or not self.pairs >= 0:
            raise ParseError("reader-malformed", "a class map")


@dataclass(frozen=True, slots=True)
class MapColumns:
    """``Maps``."""

    starts: UInt64Array
    ends: UInt64Array
    offsets: UInt64Array
    devices: UInt64Array
    inodes: UInt64Array
    deleted: UInt8Array
    paths: tuple[str, ...]
    length: int

    def parse(self) -> Maps:
        """Raises ParseError."""
        columns = (
            *(self.starts, self.ends, self.offsets, self.devices, self.inodes, self.deleted),
            self.paths,
        )
        if len({len(column) for column in columns}) != 1 or self.length < 0:
            raise ParseError("reader-malformed", "mappings")
        rows = zip(
            self.starts.tolist(),
            self.ends.tolist(),
            self.offsets.tolist(),
            self.devices.tolist(),
            self.inodes.tolist(),
            self.paths,
            (self.deleted != 0).tolist(),
            strict=True,
        )
        return Maps(tuple([Mapping(*row) for row in rows]), self.length)


def of_maps(maps: Maps) -> MapColumns:
    rows = maps.mappings

    def column(name: str) -> UInt64Array:
        return np.array([getattr(row, name) for row in rows], np.uint64)

    return MapColumns(
        starts=column("start"),
        ends=column("end"),
        offsets=column("offset"),
        devices=column("device"),
        inodes=column("inode"),
        deleted=np.array([row.deleted for row in rows], np.uint8),
        paths=tuple([row.path for row in rows]),
        length=maps.length,
    )


def _are_within(numbers: npt.NDArray[Any], end: int) -> bool:
    return not len(numbers) or (int(numbers.min()) >= 0 and int(numbers.max()) < end)
