"""The pclntab's header: finding it in a file, and what its layout is.

A magic number identifies four layouts; the first (Go 1.2 to 1.15) changed under one magic
and needs the version. A magic not known here is refused: a future layout is not guessed.
Go: internal/abi/symtab.go (magic numbers), cmd/link/internal/ld/pcln.go (generatePCHeader),
runtime/runtime2.go and symtab.go (_func), debug/gosym/pclntab.go (all versions).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from gotax.errors import ParseError, ReadError
from gotax.golang import inline
from gotax.golang.inline import InlineLayout
from gotax.linux.elf import EM_AARCH64, Elf, gather

MAX_ADDRESS_BITS = 62  # so that no sum of two leaves 64 bits; programs have 47, at most 56
_MAX_FUNCTIONS = 1 << 22  # the largest programs have some hundred thousand
_MAX_CANDIDATES = 16
_HEADER_BYTES = 72  # of the longest
_SAMPLED_RECORDS = 1024
_SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")


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
    whole_names: bool  # type arguments are written out; Go 1.18 to 1.20 stored "[...]"
    function: FunctionLayout
    inline: InlineLayout | None

    @property
    def word_bytes(self) -> int:
        """Size of the words of the function table."""
        return 4 if self.relative else 8


_GO_1_2 = 0xFFFFFFFB
_FORMATS = {
    0xFFFFFFFA: Format(
        "1.16",
        relative=False,
        whole_names=False,
        function=FunctionLayout(8, 20, 32, pcdata=44, funcdata_count=43, cu=36),
        inline=inline.GO_1_16,
    ),
    0xFFFFFFF0: Format(
        "1.18",
        relative=True,
        whole_names=False,
        function=FunctionLayout(4, 16, 28, pcdata=40, funcdata_count=39, cu=32),
        inline=inline.GO_1_16,
    ),
    0xFFFFFFF1: Format(
        "1.20",
        relative=True,
        whole_names=True,
        function=FunctionLayout(4, 16, 28, pcdata=44, funcdata_count=43, cu=32, start_line=36),
        inline=inline.GO_1_20,
    ),
}


@dataclass(frozen=True, slots=True)
class Header:
    """Where everything is. File offsets throughout, except ``address``."""

    format: Format
    address: int
    offset: int
    end: int  # of the segment's bytes: nothing of the table lies beyond
    quantum: int  # size of the smallest instruction
    function_count: int
    functab: int
    names: int
    cu: int  # what file numbers index: 32-bit offsets of file names
    cu_count: int
    files: int
    pctab: int
    functions: int

    @property
    def functab_address(self) -> int:
        return self.address + self.functab - self.offset


def find_headers(elf: Elf, version: str) -> Iterator[Header | ReadError]:
    """What may be the table, the likeliest first, and why other candidates are not.

    A table without a section of its own (no section headers; a PIE linked externally up to
    Go 1.25 has it inside .data.rel.ro) is found by its first bytes, which may occur by chance,
    or as bait: only so many places are tried.
    """
    for address, offset in islice(_candidates(elf), _MAX_CANDIDATES):
        try:
            yield parse_header(elf, address, offset, version)
        except ReadError as error:
            yield error


def _candidates(elf: Elf) -> Iterator[tuple[int, int]]:
    """(address, file offset) of sections, then of 8-aligned bytes like a header's."""
    for name in _SECTIONS:
        section = elf.sections.get(name)
        if section is not None and section.size >= _HEADER_BYTES:
            yield section.address, section.offset
    quantum = 4 if elf.machine == EM_AARCH64 else 1
    tail = int.from_bytes(bytes((0, 0, quantum, 8)), "little")
    for segment in elf.loads:
        size = segment.file_size // 8 * 8
        for low, length in elf.scan(segment.offset, size):
            data = elf.reader.read(segment.offset + low, length)
            words = np.frombuffer(data, "<u4")
            alike = (words[1::2] == tail) & (words[0::2] >= 0xFFFFFF00)
            for place in np.flatnonzero(alike).tolist():
                at = low + 8 * place
                yield segment.address + at, segment.offset + at


def parse_header(elf: Elf, address: int, offset: int, version: str) -> Header:
    """The header at an address, which is at ``offset`` in the file.

    Raises ParseError: ``pclntab-magic`` (a layout newer than this reader), ``pclntab-version``
    (the version is needed and is not one of Go 1.2 to 1.15), ``pclntab-malformed``.
    """
    segment = elf.segment_of(address)
    if segment is None or segment.offset + address - segment.address != offset:
        raise ParseError("pclntab-malformed", f"not mapped at {address:#x}")
    if address >> MAX_ADDRESS_BITS:
        raise ParseError("pclntab-malformed", f"at {address:#x}")
    end = segment.offset + segment.file_size
    head = elf.reader.read(offset, _HEADER_BYTES)
    magic, pad, quantum, pointer_bytes, count = struct.unpack_from("<IHBBQ", head)
    if pad or quantum not in (1, 4) or pointer_bytes != 8:
        raise ParseError("pclntab-malformed", f"header {head[:8].hex()}")
    if not 0 < count < _MAX_FUNCTIONS:
        raise ParseError("pclntab-malformed", f"{count} functions")
    if magic == _GO_1_2:
        functab = offset + 16
        after = functab + count * 16 + 8
        filetab = offset + int.from_bytes(elf.reader.read(after, 4), "little")
        if not after < filetab < end - 4:
            raise ParseError("pclntab-malformed", f"file table at {filetab:#x}")
        files = int.from_bytes(elf.reader.read(filetab, 4), "little")
        if filetab + 4 * files >= end:
            raise ParseError("pclntab-malformed", f"{files} files")
        # The file table's first word is the highest number of a file.
        return Header(
            _first_format(version or _version_by_records(elf, offset, count)),
            address, offset, end, quantum, count, functab,
            names=offset, cu=filetab, cu_count=files + 1, files=offset, pctab=offset,
            functions=offset,
        )  # fmt: skip
    layout = _FORMATS.get(magic)
    if layout is None:
        raise ParseError("pclntab-magic", f"{magic:#x} at file offset {offset:#x}")
    # nfunc, nfiles, since Go 1.18 textStart (0 since 1.26, when the moduledata became its only
    # place), then five offsets.
    places = struct.unpack_from("<5Q", head, 32 if layout.relative else 24)
    names, cu, files, pctab, functions = places
    functab_bytes = (2 * count + 1) * layout.word_bytes
    if not 0 < names < cu <= files < pctab < functions <= end - offset - functab_bytes:
        raise ParseError("pclntab-malformed", f"offsets {places}")
    return Header(
        layout, address, offset, end, quantum, count, offset + functions,
        names=offset + names, cu=offset + cu, cu_count=(files - cu) // 4,
        files=offset + files, pctab=offset + pctab, functions=offset + functions,
    )  # fmt: skip


def _version_by_records(elf: Elf, offset: int, count: int) -> str:
    """ "go1.2" for a table of Go 1.2 or 1.3, "" for any other one.

    These releases leave no version in a binary: it was a constant, a variable only since Go 1.4.
    Nor have they the linker's note of Go 1.5. Up to Go 1.11 the number of FUNCDATA is a word,
    so its upper bytes are zero; since, the uppermost one is the number.
    """
    if any(note.name == b"Go\0\0" for note in elf.notes):
        return ""
    rows = np.frombuffer(elf.reader.read(offset + 16, 16 * min(count, _SAMPLED_RECORDS)), "<u8")
    if int(rows[1::2].max()) >> MAX_ADDRESS_BITS:
        raise ParseError("pclntab-malformed", "a record beyond 2^62")
    records = gather(elf.reader, offset + rows[1::2].astype(np.int64), 40)
    numbers = records[:, 36:40]
    return "go1.2" if numbers[:, 0].any() and not numbers[:, 1:].any() else ""


def _first_format(version: str) -> Format:
    """The layout under the magic of Go 1.2 to 1.15."""
    match = re.match(r"go1\.(\d+)", version)
    minor = int(match[1]) if match else 0
    if not 2 <= minor <= 15:
        raise ParseError("pclntab-version", f"the table is of Go 1.2 to 1.15, not {version!r}")
    count = 39 if minor >= 12 else 36
    function = FunctionLayout(8, 20, 32, pcdata=40, funcdata_count=count)
    if minor >= 13:
        return Format("1.13", False, False, function, inline.GO_1_13)
    if minor == 12:
        return Format("1.12", False, False, function, inline.GO_1_12)
    return Format("1.2", False, False, function, inline.GO_1_9 if minor >= 9 else None)
