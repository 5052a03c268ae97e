"""ELF files, read piecemeal. Knows nothing of Go.

Everything here may come from a hostile file: every count is bounded, every offset is checked by
the reader, and whatever does not fit raises ``ParseError``. Files are read with pread and never
mapped: docs/decisions/0002-pread-not-mmap.md.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from gotax.errors import AccessError, ParseError, ReadError
from gotax.profile import Int64Array, UInt8Array, UInt64Array

EM_X86_64 = 62
EM_AARCH64 = 183
ET_EXEC = 2
ET_DYN = 3
PT_LOAD = 1
PT_DYNAMIC = 2
PT_NOTE = 4
PF_X = 1
PF_W = 2
SHT_SYMTAB = 2
SHT_DYNSYM = 11

_Integer = TypeVar("_Integer", bound=np.integer[Any])

_BLOCK_BYTES = 2 * 1024
FEW = 48
"""Up to so many reads from a reader's cache are quicker than finding out which belong together."""
_GATHER_GAP_BYTES = 32 * 1024  # reading this much for nothing is cheaper than another pread
_GATHER_SPAN_BYTES = 128 * 1024  # what is made of it fits the caches of a CPU
_MAX_SEGMENTS = 256  # real files have some ten of either
_MAX_SECTIONS = 4096
_MAX_NAMES_BYTES = 4 << 20
_MAX_SECTION_NAME_BYTES = 256
_MAX_NOTES_BYTES = 64 * 1024
_MAX_ALL_NOTES_BYTES = 1 << 20
_MAX_NOTES = 1024
_MAX_SYMBOLS = 1 << 20
_MAX_SYMBOL_NAME_BYTES = 1024
_MAX_RELOCATIONS = 1 << 21
_RELOCATIONS_AT_ONCE = 8192
_SCAN_BYTES = 1 << 20
_MAX_SCANNED_BYTES = 1 << 30
"""Of one file, by all searches together: a CPU second. The largest Go programs have half of it."""
_LEAST_SCANNED_BYTES = 1 << 16  # a part counts so much, for it costs two system calls
_MAX_DYNAMIC_ENTRIES = 4096
_MAX_PACKER_BYTES = 256
_PACKER_MAGIC = b"UPX!"
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ = 1, 5, 10

_SYMBOL = np.dtype(
    {
        "names": ["name", "info", "other", "section", "address", "size"],
        "formats": ["<u4", "u1", "u1", "<u2", "<u8", "<u8"],
    }
)
_RELA = np.dtype([("where", "<u8"), ("info", "<u8"), ("addend", "<u8")])
# elf.h: R_X86_64_RELATIVE, R_AARCH64_RELATIVE
_RELATIVE = {EM_X86_64: 8, EM_AARCH64: 1027}


class Reader(Protocol):
    """Random access to bytes that may be missing."""

    @property
    def size(self) -> int:
        """Bytes there are (there were, when the file was opened)."""

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes, or ``ParseError("elf-truncated")``."""

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """[start, end) of the parts of this range that are no holes, in order.

        A hole takes no disk and reads as zeros: a file of 4 KB can have one of 64 TiB.
        """


class BytesReader:
    """A reader of bytes already in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > len(self._data):
            raise ParseError("elf-truncated", f"{length} bytes at {offset:#x}")
        return self._data[offset : offset + length]

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        yield offset, offset + length


class FileReader:
    """A reader of a file by pread, with a small least-recently-used cache of 8 KiB blocks.

    Takes a path or a file descriptor; the descriptor is duplicated, so the caller keeps its own.
    Opening raises OSError; reading raises only ParseError: ``elf-truncated`` past the end (also
    when the file shrank meanwhile) and ``elf-unreadable`` when the disk fails.
    Reads larger than a block bypass the cache.
    """

    def __init__(self, path_or_fd: str | os.PathLike[str] | int, cache_bytes: int = 1 << 20):
        if isinstance(path_or_fd, int):
            self._fd = os.dup(path_or_fd)
        else:
            self._fd = os.open(path_or_fd, os.O_RDONLY | os.O_CLOEXEC)
        self._size = os.fstat(self._fd).st_size
        self._max_blocks = max(1, cache_bytes // _BLOCK_BYTES)
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    @property
    def size(self) -> int:
        return self._size

    def close(self) -> None:
        """Closing twice is fine; reading afterwards is ``elf-unreadable``."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._blocks.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self._size:
            raise ParseError("elf-truncated", f"{length} bytes at {offset:#x}")
        if length > _BLOCK_BYTES:
            return self._pread(offset, length)
        number, start = divmod(offset, _BLOCK_BYTES)
        data = self._block(number)[start : start + length]
        if len(data) < length:
            data += self._block(number + 1)[: length - len(data)]
        return data

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        end = min(offset + length, self._size)
        while 0 <= offset < end:
            try:
                start = os.lseek(self._fd, offset, os.SEEK_DATA)
                if start >= end:
                    return
                offset = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                    return
                if error.errno != errno.EINVAL:
                    raise AccessError("elf-unreadable", str(error)) from error
                start, offset = offset, end  # the file system does not know
            yield start, min(offset, end)

    def _block(self, number: int) -> bytes:
        block = self._blocks.get(number)
        if block is not None:
            self._blocks.move_to_end(number)
            return block
        offset = number * _BLOCK_BYTES
        block = self._pread(offset, min(_BLOCK_BYTES, self._size - offset))
        self._blocks[number] = block
        if len(self._blocks) > self._max_blocks:
            self._blocks.popitem(last=False)
        return block

    def _pread(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._fd, length, offset)
            while 0 < len(data) < length:  # one pread gives at most 2 GiB
                more = os.pread(self._fd, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise AccessError("elf-unreadable", str(error)) from error
        if len(data) < length:
            raise ParseError("elf-truncated", f"{length} bytes at {offset:#x}")
        return data


def read_array(reader: Reader, offset: int, length: int) -> UInt8Array:
    return np.frombuffer(reader.read(offset, length), np.uint8)


def gather(reader: Reader, offsets: Int64Array, width: int) -> UInt8Array:
    """The ``width`` bytes at each offset, as rows, in the order of ``offsets``.

    Offsets may repeat and come in any order. A few are read one by one. Of many, neighbours are
    read together, at most 128 KiB at a time, so that neither many small reads nor one huge read
    results.
    """
    if len(offsets) <= FEW:
        each = [reader.read(offset, width) for offset in offsets.tolist()]
        return np.frombuffer(bytearray(b"".join(each)), np.uint8).reshape(-1, width)
    rows = np.empty((len(offsets), width), np.uint8)
    order = np.argsort(offsets, kind="stable")
    for low, high in spans(offsets[order]):
        chosen = order[low:high]
        first = int(offsets[chosen[0]])
        data = read_array(reader, first, int(offsets[chosen[-1]]) - first + width)
        rows[chosen] = np.lib.stride_tricks.sliding_window_view(data, width)[
            offsets[chosen] - first
        ]
    return rows


def distinct(
    ascending: npt.NDArray[_Integer],
) -> tuple[npt.NDArray[_Integer], npt.NDArray[np.intp]]:
    """(each value once, which one is whose), as np.unique, of what is sorted already."""
    is_new = np.empty(len(ascending), bool)
    is_new[:1] = True
    np.not_equal(ascending[1:], ascending[:-1], out=is_new[1:])
    return ascending[is_new], is_new.cumsum() - 1


def spans(offsets: Int64Array) -> Iterator[tuple[int, int]]:
    """Index ranges of sorted offsets close enough to be read at once (about 128 KiB)."""
    if not len(offsets):
        return
    run = np.concatenate(([0], np.cumsum(np.diff(offsets) > _GATHER_GAP_BYTES)))
    run_start = offsets[np.searchsorted(run, np.arange(int(run[-1]) + 1))][run]
    part = (offsets - run_start) // _GATHER_SPAN_BYTES
    cuts = np.flatnonzero((np.diff(run) != 0) | (np.diff(part) != 0)) + 1
    bounds = [0, *cuts.tolist(), len(offsets)]
    yield from pairwise(bounds)


@dataclass(frozen=True, slots=True)
class Segment:
    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int

    @property
    def writable(self) -> bool:
        return bool(self.flags & PF_W)


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    type: int
    address: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True, slots=True)
class Note:
    name: bytes
    type: int
    description: bytes


class SymbolTable:
    """Function symbols, sorted by address; names stay in the file until asked for."""

    def __init__(self, reader: Reader, symbols: np.ndarray, strings: Section) -> None:
        order = np.argsort(symbols["address"], kind="stable")
        self.addresses: UInt64Array = symbols["address"][order].copy()
        self.sizes: UInt64Array = symbols["size"][order].copy()
        self._names = symbols["name"][order].copy()
        self._reader = reader
        self._strings = strings

    def __len__(self) -> int:
        return len(self.addresses)

    def lookup(self, address: int) -> tuple[str, int] | None:
        """(name, start) of the function at a link-time address, or None.

        A symbol without a size (hand-written assembly) reaches to the next symbol; the last one
        has no end that anybody knows, and is where it is alone.
        """
        if not 0 <= address < 1 << 64:
            return None
        index = int(np.searchsorted(self.addresses, np.uint64(address), side="right")) - 1
        if index < 0:
            return None
        start, size = int(self.addresses[index]), int(self.sizes[index])
        if (size or index == len(self.addresses) - 1) and address >= start + max(size, 1):
            return None
        return self.name(index), start

    def name(self, index: int) -> str:
        """Cut off after 4 KiB, "" when it lies outside the string table."""
        offset = int(self._names[index])
        length = min(self._strings.size - offset, _MAX_SYMBOL_NAME_BYTES)
        if length <= 0:
            return ""
        data = self._reader.read(self._strings.offset + offset, length)
        return data.split(b"\0", 1)[0].decode("utf-8", "replace")


class Elf:
    """A parsed ELF file. Addresses are link-time addresses throughout."""

    def __init__(
        self,
        reader: Reader,
        header: tuple[int, int, int],
        segments: tuple[Segment, ...],
        sections: tuple[Section, ...],
    ) -> None:
        self.reader = reader
        self.type, self.machine, self.entry = header
        self.bits = 64
        self.program_headers = range(0)  # in the file
        self.segments = segments
        self._sections = sections
        self.sections = {section.name: section for section in reversed(sections)}
        self._loads = tuple(s for s in segments if s.type == PT_LOAD)
        self._scanned_bytes = 0

    @property
    def loads(self) -> tuple[Segment, ...]:
        return self._loads

    def segment_of(self, va: int) -> Segment | None:
        """The PT_LOAD whose bytes in the file hold this address, or None (unmapped, or bss)."""
        for segment in self._loads:
            if segment.address <= va < segment.address + segment.file_size:
                return segment
        return None

    def offset_of(self, va: int) -> int | None:
        """File offset of an address, None when no byte of the file is mapped there."""
        segment = self.segment_of(va)
        return None if segment is None else segment.offset + va - segment.address

    def read_va(self, va: int, length: int) -> bytes:
        segment = self.segment_of(va)
        if segment is None or va + length > segment.address + segment.file_size:
            raise ParseError("elf-unmapped", f"{length} bytes at address {va:#x}")
        return self.reader.read(segment.offset + va - segment.address, length)

    def scan(self, offset: int, size: int, overlap: int = 0) -> Iterator[tuple[int, int]]:
        """(start, length) of parts of a range of the file that hold all of it but its holes.

        ``start`` counts from ``offset`` and is a multiple of 16. A part is up to 1 MiB and reaches
        ``overlap`` bytes into the next one, and none reaches beyond the range. What is searched
        for must not be zeros. Raises ParseError("elf-too-large") once all scans of this file have
        come to 1 GiB.
        """
        done = 0
        for low, high in self.reader.extents(offset, size):
            start = max(done, (low - offset) // 16 * 16)
            while start < high - offset:
                step = min(_SCAN_BYTES, -(-(high - offset - start) // 16) * 16)
                self._scanned_bytes += max(step, _LEAST_SCANNED_BYTES)
                if self._scanned_bytes > _MAX_SCANNED_BYTES:
                    raise ParseError("elf-too-large", f"over {_MAX_SCANNED_BYTES} bytes to search")
                yield start, min(step + overlap, size - start)
                start += step
            done = start

    def offsets_of(self, addresses: UInt64Array) -> Int64Array:
        """File offsets of many addresses, -1 where no byte of the file is mapped."""
        offsets = np.full(len(addresses), -1, np.int64)
        for segment in self._loads:
            ahead = addresses - np.uint64(segment.address)  # wraps around below the segment
            inside = ahead < np.uint64(segment.file_size)
            offsets[inside] = ahead[inside].astype(np.int64) + segment.offset
        return offsets

    def read_words(self, va: int, count: int) -> UInt64Array:
        """``count`` 64-bit words, as the program sees them before it is moved."""
        words = np.frombuffer(self.read_va(va, 8 * count), "<u8")
        addresses = np.uint64(va) + np.arange(count, dtype=np.uint64) * np.uint64(8)
        return self.relocate(addresses, words)

    def relocate(self, addresses: UInt64Array, words: UInt64Array) -> UInt64Array:
        """The words read at these addresses, with relative relocations applied.

        Go's linker and GNU ld leave the addend of a relative relocation in place; lld leaves
        zero. So only zeroes in a relocatable file are looked up in the relocations.
        """
        if self.type != ET_DYN or words.all():
            return words
        where, addend = self.relative_relocations
        if not len(where):
            return words
        at = np.minimum(np.searchsorted(where, addresses), len(where) - 1)
        return np.where((words == 0) & (where[at] == addresses), addend[at], words)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """Of all PT_NOTE segments, some thousand; a malformed note ends its segment."""
        notes: list[Note] = []
        size = 0
        for segment in self.segments:
            if len(notes) >= _MAX_NOTES or size > _MAX_ALL_NOTES_BYTES:
                break
            if segment.type == PT_NOTE and segment.file_size <= _MAX_NOTES_BYTES:
                size += segment.file_size
                try:
                    data = self.reader.read(segment.offset, segment.file_size)
                except ReadError:
                    continue  # notes are an extra: a file without them still runs
                notes.extend(parse_notes(data))
        return tuple(notes)

    @cached_property
    def is_packed(self) -> bool:
        """Whether UPX packed it: what runs is then not in the file.

        It leaves no sections, and behind the program headers its l_info, with this magic number.
        https://github.com/upx/upx/blob/v4.2.4/src/stub/src/include/linux.h
        """
        if self._sections:
            return False
        behind = self.program_headers.stop
        length = min(_MAX_PACKER_BYTES, self.reader.size - behind)
        return length > 0 and _PACKER_MAGIC in self.reader.read(behind, length)

    def build_id(self) -> str:
        """The GNU build id in hex, "" when there is none."""
        for note in self.notes:
            if note.name == b"GNU\0" and note.type == 3:  # NT_GNU_BUILD_ID
                return note.description.hex()
        return ""

    def function_symbols(self) -> SymbolTable | None:
        """Of .symtab, else .dynsym; None when the file is stripped of both.

        At most a million symbols are read, the rest is ignored.
        """
        for symbols, strings in self._symbol_tables():
            count = min(symbols.size // _SYMBOL.itemsize, _MAX_SYMBOLS)
            found = []
            for low in range(0, count, 8192):
                length = min(8192, count - low) * _SYMBOL.itemsize
                data = self.reader.read(symbols.offset + low * _SYMBOL.itemsize, length)
                rows = np.frombuffer(data, _SYMBOL)
                function = (rows["info"] & 15 == 2) & (rows["section"] != 0)
                found.append(rows[function])
            if found and any(len(part) for part in found):
                return SymbolTable(self.reader, np.concatenate(found), strings)
        return None

    def _symbol_tables(self) -> Iterator[tuple[Section, Section]]:
        """.symtab and .dynsym with their strings; a file has at most one of each."""
        if self.bits != 64:
            return
        for wanted in (SHT_SYMTAB, SHT_DYNSYM):
            table = next((s for s in self._sections if s.type == wanted), None)
            if table is not None and 0 < table.link < len(self._sections):
                yield table, self._sections[table.link]

    def symbol(self, name: str) -> tuple[int, int] | None:
        """(address, size) of a symbol of any kind in .symtab or .dynsym, or None. One scan."""
        wanted = name.encode()
        for section, strings in self._symbol_tables():
            place = self._find_string(strings, wanted)
            count = min(section.size // _SYMBOL.itemsize, _MAX_SYMBOLS)
            for low in range(0, count if place is not None else 0, 8192):
                length = min(8192, count - low) * _SYMBOL.itemsize
                data = self.reader.read(section.offset + low * _SYMBOL.itemsize, length)
                symbols = np.frombuffer(data, _SYMBOL)
                for row in symbols[(symbols["name"] == place) & (symbols["section"] != 0)]:
                    return int(row["address"]), int(row["size"])
        return None

    def _find_string(self, strings: Section, wanted: bytes) -> int | None:
        """Offset of a whole string in a string table, or None."""
        pattern = b"\0" + wanted + b"\0"
        for low, length in self.scan(strings.offset, strings.size, overlap=len(pattern)):
            at = self.reader.read(strings.offset + low, length).find(pattern)
            if at >= 0:
                return low + at + 1
        return None

    @cached_property
    def relative_relocations(self) -> tuple[UInt64Array, UInt64Array]:
        """(address, addend) of the R_*_RELATIVE entries of DT_RELA, sorted by address.

        A large table: ``forget`` drops it. What lies in holes is no entry, since type 0 is none.
        """
        empty = np.empty(0, np.uint64)
        tags = self._dynamic()
        table, size = tags.get(7, 0), tags.get(8, 0)  # DT_RELA, DT_RELASZ
        count = size // _RELA.itemsize
        wanted = _RELATIVE.get(self.machine)
        if not table or not count or wanted is None:
            return empty, empty
        if count > _MAX_RELOCATIONS:
            raise ParseError("elf-relocations", f"{count} of them")
        where, addends = [empty], [empty]
        for low in range(0, count, _RELOCATIONS_AT_ONCE):
            length = min(_RELOCATIONS_AT_ONCE, count - low) * _RELA.itemsize
            if self._is_hole(table + low * _RELA.itemsize, length):
                continue
            data = np.frombuffer(self.read_va(table + low * _RELA.itemsize, length), _RELA)
            relative = data["info"] & 0xFFFFFFFF == wanted
            where.append(data["where"][relative])
            addends.append(data["addend"][relative])
        found = np.concatenate(where)
        order = np.argsort(found, kind="stable")
        return found[order], np.concatenate(addends)[order]

    def _is_hole(self, va: int, length: int) -> bool:
        offset = self.offset_of(va)
        return offset is not None and next(self.reader.extents(offset, length), None) is None

    def forget(self) -> None:
        """Drop what is large and can be read again."""
        self.__dict__.pop("relative_relocations", None)

    @property
    def program_headers_address(self) -> int | None:
        """None: no segment has them."""
        for segment in self._loads:
            ahead = self.program_headers.start - segment.offset
            if 0 <= ahead < segment.file_size:
                return segment.address + ahead
        return None

    def needs(self, library: bytes) -> bool:
        """Whether it asks the dynamic linker for a library whose name starts like this."""
        pairs = list(self._dynamic_pairs()) if self.bits == 64 else []
        tags = dict(reversed(pairs))
        table, size = tags.get(_DT_STRTAB, 0), min(tags.get(_DT_STRSZ, 0), _MAX_NAMES_BYTES)
        if not size or _DT_NEEDED not in tags:
            return False
        strings = self.read_va(table, size)
        return any(tag == _DT_NEEDED and strings.startswith(library, at) for tag, at in pairs)

    def _dynamic(self) -> dict[int, int]:
        return dict(reversed(list(self._dynamic_pairs())))

    def _dynamic_pairs(self) -> Iterator[tuple[int, int]]:
        for segment in self.segments:
            if segment.type != PT_DYNAMIC:
                continue
            count = min(segment.file_size // 16, _MAX_DYNAMIC_ENTRIES)
            for tag, value in struct.iter_unpack(
                "<QQ", self.reader.read(segment.offset, count * 16)
            ):
                if tag == 0:
                    break
                yield tag, value
            return  # a program has one


def parse_elf(reader: Reader) -> Elf:
    """A little-endian file of any machine; of 32 bits all but symbols and relocations.

    Raises ParseError: ``elf-magic`` (no ELF), ``elf-unsupported`` (big-endian),
    ``elf-truncated``, ``elf-malformed``. A file whose section headers cannot be read has none:
    programs run without them.
    """
    ident = reader.read(0, min(16, reader.size))
    if ident[:4] != b"\x7fELF":
        raise ParseError("elf-magic", f"starts with {ident[:4].hex()}")
    layout = _LAYOUTS.get(ident[4:6])
    if layout is None:
        raise ParseError("elf-unsupported", "only little-endian files are read")
    header = reader.read(0, 16 + layout.head.size)
    kind, machine, _, entry, phoff, shoff, _, _, *counts = layout.head.unpack_from(header, 16)
    phentsize, phnum, shentsize, shnum, shstrndx = counts
    if phentsize != layout.segment.size or phnum > _MAX_SEGMENTS:
        raise ParseError("elf-malformed", f"{phnum} program headers of {phentsize} bytes")
    headers = range(phoff, phoff + phnum * phentsize)
    segments = tuple(
        Segment(*(row[place] for place in layout.places))
        for row in layout.segment.iter_unpack(reader.read(phoff, len(headers)))
    )
    sections: tuple[Section, ...] = ()
    if shoff and shentsize == layout.section.size:
        try:
            sections = _parse_sections(reader, layout.section, (shoff, shnum), shstrndx)
        except ReadError:
            sections = ()
    if any(
        s.address + s.file_size >= 1 << 64 or s.offset + s.file_size >= 1 << 63 for s in segments
    ):
        raise ParseError("elf-malformed", "a segment wraps around")
    # Else a search of the segments would read the same bytes again and again.
    if sum(s.file_size for s in segments if s.type == PT_LOAD) > 2 * reader.size:
        raise ParseError("elf-malformed", "segments that overlap in the file")
    elf = Elf(reader, (kind, machine, entry), segments, sections)
    elf.bits, elf.program_headers = layout.bits, headers
    return elf


@dataclass(frozen=True, slots=True)
class _Layout:
    """elf.h. ``head`` is behind the 16 bytes of e_ident, ``places`` those of a Segment's fields."""

    bits: int
    head: struct.Struct
    segment: struct.Struct
    section: struct.Struct
    places: tuple[int, ...]


_LAYOUTS = {  # by EI_CLASS and EI_DATA
    b"\x01\x01": _Layout(
        32,
        struct.Struct("<HHIIIIIHHHHHH"),
        struct.Struct("<IIIIIIII"),
        struct.Struct("<IIIIIIIIII"),
        (0, 6, 1, 2, 4, 5),
    ),
    b"\x02\x01": _Layout(
        64,
        struct.Struct("<HHIQQQIHHHHHH"),
        struct.Struct("<IIQQQQQQ"),
        struct.Struct("<IIQQQQIIQQ"),
        (0, 1, 2, 3, 5, 6),
    ),
}


def _parse_sections(
    reader: Reader, layout: struct.Struct, table: tuple[int, int], names: int
) -> tuple[Section, ...]:
    """``table`` is where the headers are, and how many."""
    shoff, count = table
    if count == 0:  # more than 65279 sections: the count is in the first one's size
        count = int(layout.unpack(reader.read(shoff, layout.size))[5])
    if count > _MAX_SECTIONS or names >= count:
        return ()
    rows = list(layout.iter_unpack(reader.read(shoff, layout.size * count)))
    names_size = min(rows[names][5], _MAX_NAMES_BYTES)
    strings = reader.read(rows[names][4], names_size) if names_size else b""
    sections = []
    for name, type_, _, address, offset, size, link, *_ in rows:
        end = strings.find(b"\0", name, name + _MAX_SECTION_NAME_BYTES)
        text = strings[name:end].decode("utf-8", "replace") if end >= 0 else ""
        sections.append(Section(text, type_, address, offset, size, link))
    return tuple(sections)


def parse_notes(data: bytes) -> list[Note]:
    """The notes of one segment, up to the first that does not fit."""
    notes = []
    at = 0
    while at + 12 <= len(data):
        name_size, description_size, kind = struct.unpack_from("<III", data, at)
        name_at = at + 12
        description_at = name_at + (name_size + 3) // 4 * 4
        end = description_at + description_size
        if end > len(data):
            break
        name = data[name_at : name_at + name_size]
        notes.append(Note(name, kind, data[description_at:end]))
        at = (end + 3) // 4 * 4
    return notes
