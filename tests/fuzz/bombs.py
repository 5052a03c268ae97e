"""Inputs that are too large for a fixture and too regular for fuzzing to find: small but
expensive."""

from __future__ import annotations

import struct
from collections.abc import Callable

from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import BytesReader, parse_elf

from tests.fuzz.specimens import LAYOUTS, Function, Specimen, encode, write

Rows = list[tuple[int, ...]]


def make_elf(segments: Rows, sections: Rows, content: bytes) -> bytes:
    """Segments: type, flags, offset, address, file size. Sections: as _sections writes them."""
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH",
        *(2, 62, 1, 0x400000, 64, 64 + 56 * len(segments), 0),
        *(64, 56, len(segments), 64, len(sections), max(0, len(sections) - 1)),
    )
    rows = [
        struct.pack("<IIQQQQQQ", type_, flags, offset, address, address, size, size, 8)
        for type_, flags, offset, address, size in segments
    ] + [
        struct.pack("<IIQQQQIIQQ", name, type_, 0, 0, offset, size, link, 0, 8, 24)
        for name, type_, offset, size, link in sections
    ]
    return header + b"".join(rows) + content


def overlapping_notes() -> bytes:
    """One segment of tiny notes, four thousand times."""
    head = 64 + 56 * 4000
    notes = struct.pack("<III", 0, 0, 1) * 5000
    return make_elf([(4, 4, head, 0x400000, len(notes))] * 4000, [], notes)


def endless_section_names() -> bytes:
    """All sections share one name of half a megabyte."""
    sections: Rows = [(0, 1, 0, 0, 0)] * 1999
    text = b"a" * (1 << 19) + b"\0"
    return make_elf([], [*sections, (0, 3, 64 + 64 * 2000, len(text), 0)], text)


def overlapping_segments() -> bytes:
    """The same megabyte is mapped two thousand times, and searched each time."""
    head = 64 + 56 * 2000
    data = bytes(1 << 20)
    return make_elf([(1, 6, head, 0x400000, len(data))] * 2000, [], data)


def many_symbol_tables() -> bytes:
    """A thousand symbol tables without functions, and as many string tables."""
    head = 64 + 64 * 2000
    symbols, strings = bytes(24 * 4000), bytes(100_000)
    tables: Rows = []
    for number in range(1000):
        tables.append((0, 2, head, len(symbols), 2 * number + 1))
        tables.append((0, 3, head + len(symbols), len(strings), 0))
    return make_elf([], tables, symbols + strings)


def names_within_names() -> bytes:
    """Every function's name is the rest of one text, which is nearly as long as names may be."""
    layout = LAYOUTS[-1]
    tables = encode([(0, 1)], 1), encode([(1, 1)], 1), encode([(9, 1)], 1)
    text = b"n" * 60_000
    functions = [Function(text, 1, *tables, b"", (), (b"", b"f"), 1)]
    functions += [Function(b"", 1, *tables, b"", (), (b"", b"f"), 1)] * 3999
    data = bytearray(write(Specimen(layout, tuple(functions))))
    header = parse_pclntab(parse_elf(BytesReader(bytes(data))), layout.version).header
    for number in range(1, 4000):
        (record,) = struct.unpack_from("<I", data, header.functab + 8 * number + 4)
        struct.pack_into("<i", data, header.functions + record + 4, 1 + 12 * number)
    return bytes(data)


def shared_tables(functions: int, pairs: int) -> bytes:
    """All functions have the same long table."""
    tables = encode([(0, 1)], 1), encode([(1, 1)], 1), encode([(9, 1)], 1)
    long = b"\2\1" * pairs + b"\0"
    named = [
        Function(b"f%d" % number, 1, long, *tables[1:], b"", (), (b"", b"f"), 1)
        for number in range(functions)
    ]
    return write(Specimen(LAYOUTS[-1], tuple(named)))


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "overlapping-notes": (overlapping_notes, "elf"),
    "endless-section-names": (endless_section_names, "elf"),
    "overlapping-segments": (overlapping_segments, "pclntab"),
    "many-symbol-tables": (many_symbol_tables, "elf"),
    "names-within-names": (names_within_names, "all_functions"),
    "a-long-table-for-all": (lambda: shared_tables(4000, 20_000), "all_functions"),
    "as-many-pairs-as-may-be": (lambda: shared_tables(26, 20_000), "all_functions"),
}
"""The input, and its target."""
