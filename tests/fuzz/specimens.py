"""Small but whole Go binaries: a few functions, their tables, and a program around them.

A real binary has two megabytes, most of it alike: mutations of it hit nothing. So a few functions
are cut out of one, with their records, tables, inline trees and names, and a file of some
kilobytes is written around them as Go's linker would have.
Go: cmd/link/internal/ld/pcln.go, debug/gosym/pclntab.go, debug/buildinfo/buildinfo.go.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.functab import Functions
from gotax.golang.pcheader import _FORMATS, Format, _first_format
from gotax.golang.pclntab import Pclntab, parse_pclntab
from gotax.golang.pcvalue import read_pc_tables
from gotax.linux.elf import EM_AARCH64, EM_X86_64, BytesReader, parse_elf
from gotax.profile import UInt64Array

_BASE = 0x400000
_DATA = 0x900000
_TEXT = 0x401000
_MODULEDATA_WORDS = 56
_NO_FUNCDATA = 0xFFFFFFFF
_MAX_TABLE = 200
_MAX_TREE = 8


@dataclass(frozen=True)
class Layout:
    """``gofunc``: where the moduledata says from where inline trees are counted, in bytes."""

    version: str
    magic: int
    machine: int = EM_X86_64
    gofunc: int = 320
    pie: bool = False
    buildinfo: str = "inline"

    @property
    def built_with(self) -> str:
        """One release for each layout, of those that other tests use."""
        return {"go1.15.15": "1.12.17"}.get(self.version, self.version.removeprefix("go"))

    @property
    def quantum(self) -> int:
        return 4 if self.machine == EM_AARCH64 else 1

    def pcs(self, size: int) -> UInt64Array:
        """Of all instructions in so many bytes of code."""
        return np.arange(0, size, self.quantum, dtype=np.uint64)

    @property
    def is_first(self) -> bool:
        """Up to Go 1.15 all offsets count from the table's start."""
        return self.magic == 0xFFFFFFFB

    @property
    def format(self) -> Format:
        return _FORMATS.get(self.magic) or _first_format(self.version)


LAYOUTS = (
    Layout("go1.9.7", 0xFFFFFFFB, buildinfo="none"),
    Layout("go1.12.17", 0xFFFFFFFB, buildinfo="none"),
    Layout("go1.15.15", 0xFFFFFFFB, buildinfo="pointers"),
    Layout("go1.16.15", 0xFFFFFFFA, pie=True, buildinfo="pointers"),
    Layout("go1.18.10", 0xFFFFFFF0, gofunc=304),
    Layout("go1.20.14", 0xFFFFFFF1, machine=EM_AARCH64),
    Layout("go1.26.8", 0xFFFFFFF1, pie=True),
    Layout("go1.27.3", 0xFFFFFFF1, gofunc=344),
)


@dataclass(frozen=True)
class Function:
    """Tables with their closing zeros, b"" for none; ``tree``: entries, and whom each names.

    An entry without a name is written as it is. ``files`` by number.
    """

    name: bytes
    size: int
    pcsp: bytes
    pcfile: bytes
    pcln: bytes
    pcinline: bytes
    tree: tuple[tuple[bytes, bytes | None], ...]
    files: tuple[bytes, ...]
    start_line: int


@dataclass(frozen=True)
class Specimen:
    layout: Layout
    functions: tuple[Function, ...]
    modinfo: bytes = b"path\tmain\nmod\texample.com/m\tv1.2.3\t\nbuild\tGOARCH=amd64\n"


def encode(pairs: list[tuple[int, int]], quantum: int) -> bytes:
    """(value, bytes of code) as cmd/internal/obj/pcln.go writes a table."""
    out, before = b"", -1
    for value, length in pairs:
        delta = value - before
        out += _varint(delta << 1 if delta >= 0 else (-delta << 1) - 1)
        out += _varint(length // quantum)
        before = value
    return out + b"\0"


def _varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes((number & 0x7F | 0x80,))
        number >>= 7
    return out + bytes((number,))


class _Pool:
    """Bytes with offsets from ``base``; the first is a zero, so that no offset is 0."""

    def __init__(self, base: int = 0) -> None:
        self.data = bytearray(b"\0")
        self.base = base
        self._known: dict[bytes, int] = {b"": -base}

    def put(self, item: bytes) -> int:
        if item not in self._known:
            self._known[item] = len(self.data)
            self.data += item
        return self._known[item] + self.base


def write(specimen: Specimen) -> bytes:
    """The file, with records, tables and strings in the form of the layout."""
    layout = specimen.layout
    form = layout.format
    names = _Pool(_functab_end(specimen) if layout.is_first else 0)
    trees = bytearray(8)
    places = []
    for function in specimen.functions:
        names.put(function.name + b"\0")
        places.append(len(trees) if function.tree else 0)
        for entry, name in function.tree:
            if name is not None and form.inline:
                at = form.inline.name
                entry = entry[:at] + struct.pack("<i", names.put(name + b"\0")) + entry[at + 4 :]
            trees += entry
    trees += bytes(-len(trees) % 8 + 24)
    note = struct.pack("<III4s4x", 4, 4, 4, b"Go\0\0")
    head = 64 + 56 * 4 + len(note) + 4
    if not form.relative:
        places = [place and _BASE + head + place for place in places]
    table_at = head + len(trees)
    table = _table(specimen, names, places, _BASE + table_at)
    table += bytes(-len(table) % 16)
    data_at = table_at + len(table)
    data, relocations = _data(specimen, _BASE + table_at, table, _BASE + head)
    body = bytes(trees) + table + data
    dynamic_at = head + len(body)
    body += struct.pack("<6Q", 7, _DATA + dynamic_at + 48 - data_at, 8, len(relocations), 0, 0)
    body += relocations
    end = head + len(body)
    segments = (
        (1, 5, 0, _BASE, data_at),
        (1, 6, data_at, _DATA, end - data_at),
        (4, 4, 64 + 56 * 4, _BASE + 64 + 56 * 4, len(note)),
        (2, 6, dynamic_at, _DATA + dynamic_at - data_at, 48),
    )
    sections = _sections(specimen, end, ((table_at, len(table)), (data_at, len(data))))
    shoff = end + len(sections[0])
    kind = 3 if layout.pie else 2
    ident = b"\x7fELF\2\1\1".ljust(16, b"\0")
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH",
        *(
            kind,
            layout.machine,
            1,
            _TEXT,
            64,
            shoff,
            0,
            64,
            56,
            4,
            64,
            sections[2],
            sections[2] - 1,
        ),
    )
    program = b"".join(
        struct.pack("<IIQQQQQQ", type_, flags, offset, address, address, size, size, 8)
        for type_, flags, offset, address, size in segments
    )
    return header + program + note + bytes(4) + body + sections[0] + sections[1]


def _functab_end(specimen: Specimen) -> int:
    """Of the layouts up to Go 1.15, where the table comes first."""
    return (16 + 16 * len(specimen.functions) + 8 + 4 + 7) // 8 * 8


def _table(specimen: Specimen, names: _Pool, trees: list[int], address: int) -> bytes:
    """The pclntab at an address; ``trees`` as FUNCDATA has them, 0 for none."""
    layout = specimen.layout
    relative, first = layout.format.relative, layout.is_first
    header_bytes = 16 if first else 72 if relative else 64
    pctab, files = _Pool(), _Pool()
    units: list[int] = [0]
    rows: list[tuple[int, ...]] = []
    for function in specimen.functions:
        unit = len(units)
        units += [files.put(file + b"\0") for file in function.files]
        # One table of files for all before Go 1.16: numbers move.
        pcfile = _moved(function.pcfile, unit) if first else function.pcfile
        tables = (function.pcsp, pcfile, function.pcln, function.pcinline)
        rows.append((0 if first else unit, *(pctab.put(part) for part in tables)))
    blocks = [names.data, bytearray(4 * len(units)), files.data, pctab.data]
    at = names.base if first else header_bytes
    places = []
    for block in blocks:
        block += bytes(-len(block) % 8)
        places.append(at)
        at += len(block)
    files_base, pctab_base = (places[2], places[3]) if first else (0, 0)
    units = [len(units) - 1 if first else 0, *(place + files_base for place in units[1:])]
    blocks[1][: 4 * len(units)] = struct.pack(f"<{len(units)}I", *units)
    word = "<I" if relative else "<Q"
    size = struct.calcsize(word)
    functab_bytes = 0 if first else (2 * len(rows) + 1) * size
    functab_bytes += -functab_bytes % 8
    origin = 0 if first else at  # the origin of the records' offsets
    at += functab_bytes
    functab, records = b"", b""
    start = 0 if relative else _TEXT
    for function, row, tree in zip(specimen.functions, rows, trees, strict=True):
        functab += struct.pack(word, start) + struct.pack(word, at + len(records) - origin)
        offsets = [offset and offset + pctab_base for offset in row[1:]]
        numbers = (names.put(function.name + b"\0"), row[0], function.start_line, *offsets)
        record = struct.pack(word, start) + _record(layout, numbers)[size:]
        if layout.format.inline:
            if not relative:
                record += bytes(-(address + at + len(records) + len(record)) % 8)
            none = _NO_FUNCDATA if relative else 0
            funcdata = [none] * layout.format.inline.funcdata + [tree or none]
            record += b"".join(struct.pack(word, value) for value in funcdata)
        records += record + bytes(-len(record) % 8)
        start += function.size
    functab += struct.pack(word, start)
    head = struct.pack("<IHBBQ", layout.magic, 0, layout.quantum, 8, len(rows))
    contents = b"".join(blocks)
    if first:
        head += functab + struct.pack("<I", places[1])
        return head + bytes(names.base - len(head)) + contents + records
    head += struct.pack("<Q", len(units))
    if relative:
        head += struct.pack("<Q", _TEXT if layout.magic == 0xFFFFFFF0 else 0)
    head += struct.pack("<5Q", *places, origin)
    return head + contents + functab + bytes(functab_bytes - len(functab)) + records


def _moved(pcfile: bytes, by: int) -> bytes:
    """A table whose first value is ``by`` higher, and so all others."""
    delta = size = 0
    for size, byte in enumerate(pcfile, 1):
        delta |= (byte & 0x7F) << 7 * (size - 1)
        if byte < 0x80:
            break
    value = -(delta + 1 >> 1) if delta & 1 else delta >> 1
    return _varint(value + by << 1) + pcfile[size:]


def _record(layout: Layout, numbers: tuple[int, ...]) -> bytes:
    """A _func with its PCDATA, but without its entry and FUNCDATA."""
    function, tree = layout.format.function, layout.format.inline
    name, unit, start_line, pcsp, pcfile, pcln, pcinline = numbers
    count = tree.pcdata + 1 if tree else 0
    row = bytearray(function.pcdata)
    struct.pack_into("<i", row, function.name, name)
    struct.pack_into("<iii", row, function.pcsp, pcsp, pcfile, pcln)
    struct.pack_into("<i", row, function.npcdata, count)
    if function.cu is not None:
        struct.pack_into("<i", row, function.cu, unit)
    if function.start_line is not None:
        struct.pack_into("<i", row, function.start_line, start_line)
    if tree:
        row[function.funcdata_count] = tree.funcdata + 1
        row += struct.pack(f"<{count}i", *[0] * tree.pcdata, pcinline)
    return bytes(row)


def _data(specimen: Specimen, table_address: int, table: bytes, gofunc: int) -> tuple[bytes, bytes]:
    """Moduledata, build info, and the relocations of the pointers in them."""
    layout = specimen.layout
    data = bytearray(8 * _MODULEDATA_WORDS)
    extent = sum(function.size for function in specimen.functions)
    names_at = struct.unpack_from("<Q", table, 32)[0] if layout.format.relative else 0
    pointers = {
        0: table_address,
        8: table_address + names_at,
        160: _TEXT,
        168: _TEXT + extent,
        176: _TEXT,
        layout.gofunc: gofunc,
    }
    for at, value in pointers.items():
        struct.pack_into("<Q", data, at, value)
    relocations = b""
    if layout.pie:
        kind = 1027 if layout.machine == EM_AARCH64 else 8
        relocations = b"".join(
            struct.pack("<QQQ", _DATA + at, kind, value) for at, value in sorted(pointers.items())
        )
        for at in pointers:
            data[at : at + 8] = bytes(8)
    version, text = layout.version.encode(), b"0" * 16 + specimen.modinfo + b"1" * 16
    place = len(data)
    if layout.buildinfo == "inline":
        data += b"\xff Go buildinf:\x08\x02".ljust(32, b"\0")
        data += _varint(len(version)) + version + _varint(len(text)) + text
    else:
        blob = layout.buildinfo == "pointers"
        data += b"\xff Go buildinf:\x08\x00".ljust(16, b"\0") if blob else b""
        at = _DATA + len(data) + (16 if blob else 0)
        data += struct.pack("<QQ", at, at + 16) if blob else b""
        data += struct.pack("<QQQQ", at + 32, len(version), at + 32 + len(version), len(text))
        data += version + text
    assert place % 16 == 0
    data += bytes(-len(data) % 16)
    return bytes(data), relocations


def _sections(
    specimen: Specimen, at: int, extents: tuple[tuple[int, int], tuple[int, int]]
) -> tuple[bytes, bytes, int]:
    """(contents, headers, count): pclntab, build info, symbols, strings, names."""
    (table_at, table_size), (data_at, data_size) = extents
    strings = b"\0"
    symbols = bytes(24)
    start = _TEXT
    for function in specimen.functions:
        symbols += struct.pack("<IBBHQQ", len(strings), 2, 0, 1, start, function.size)
        strings += function.name + b"\0"
        start += function.size
    symbols += struct.pack(
        "<IBBHQQ", len(strings), 1, 0, 1, _DATA + 8 * _MODULEDATA_WORDS, 16
    )  # for releases without a blob, the variable lies here
    strings += b"runtime.buildVersion\0"
    wanted = (b".gopclntab", b".go.buildinfo", b".symtab", b".strtab", b".shstrtab")
    names = b"\0" + b"".join(name + b"\0" for name in wanted)
    name_places = [names.index(name + b"\0") for name in wanted]
    rows = [(0, 0, 0, 0, 0, 0)]
    blob = data_at + 8 * _MODULEDATA_WORDS
    blob_size = data_size - 8 * _MODULEDATA_WORDS if specimen.layout.buildinfo != "none" else 0
    rows.append((name_places[0], 1, _BASE + table_at, table_at, table_size, 0))
    rows.append((name_places[1], 1, _DATA + blob - data_at, blob, blob_size, 0))
    rows.append((name_places[2], 2, 0, at, len(symbols), 4))
    rows.append((name_places[3], 3, 0, at + len(symbols), len(strings), 0))
    rows.append((name_places[4], 3, 0, at + len(symbols) + len(strings), len(names), 0))
    headers = b"".join(
        struct.pack("<IIQQQQIIQQ", name, type_, 0, address, offset, size, link, 0, 8, 24)
        for name, type_, address, offset, size, link in rows
    )
    return symbols + strings + names, headers, len(rows)


# Cutting.


def cut(path: Path, layout: Layout, count: int = 6) -> Specimen:
    """A few functions of a real binary, half of them with inlined calls."""
    file = parse_elf(BytesReader(path.read_bytes()))
    build = parse_buildinfo(file)
    assert build is not None
    layout = replace(layout, version=build.version, machine=file.machine)
    table = parse_pclntab(file, build.version)
    chosen: list[Function] = []
    trees = 0
    for entries in table._functions.chunks():
        functions = table._functions.read_functions(entries)
        for number in range(len(entries.pcs)):
            having = bool(functions.tree[number] >= 0)
            if having != (trees < (count + 1) // 2):
                continue
            found = _function(
                table, functions, number, int(entries.ends[number] - entries.pcs[number])
            )
            if found is not None:
                chosen.append(found)
                trees += having
            if len(chosen) == count:
                return Specimen(layout, tuple(chosen))
    return Specimen(layout, tuple(chosen))


def _function(table: Pclntab, functions: Functions, number: int, size: int) -> Function | None:
    """None for a function that is too long."""
    reader, header, layout = table._reader, table.header, table.format.inline
    quantum = header.quantum

    def raw(offset: int) -> bytes:
        if not offset:
            return b""
        room = min(_MAX_TABLE, reader.size - header.pctab - offset)
        data = reader.read(header.pctab + offset, room)
        return data[: data.find(b"\0", 1) + 1]

    columns = (functions.pcsp, functions.pcfile, functions.pcln, functions.pcinline)
    parts = [raw(int(column[number])) for column in columns]
    if not all(parts[:3]) or (columns[3][number] and not parts[3]):
        return None
    tables = read_pc_tables(reader, header.pctab, functions.pcfile[[number]], header.end, quantum)
    runs = tables.runs(np.zeros(1, np.int64))
    values = runs.value.tolist()
    lengths = (runs.end - runs.start).tolist()
    numbers = sorted(set(values))
    if numbers[0] < 0:
        return None
    slots = np.array([int(functions.cu[number]) + n for n in numbers], np.int64)
    places = table._file_places(np.zeros_like(slots), slots)
    texts, which = table._strings(places)
    files = [texts[i].encode() for i in which.tolist()]
    pairs = [(1 + numbers.index(v), n) for v, n in zip(values, lengths, strict=True)]
    tree: list[tuple[bytes, bytes | None]] = []
    if functions.tree[number] >= 0 and layout is not None and parts[3]:
        tables = read_pc_tables(
            reader, header.pctab, functions.pcinline[[number]], header.end, quantum
        )
        entries = int(tables.runs(np.zeros(1, np.int64)).value.max()) + 1
        if not 0 < entries <= _MAX_TREE:
            return None
        for at in range(entries):
            place = table._trees + int(functions.tree[number]) + at * layout.entry_bytes
            entry = reader.read(place, layout.entry_bytes)
            (name,) = struct.unpack_from("<i", entry, layout.name)
            if layout.file is not None:  # of the single table of files, which is omitted
                entry = entry[: layout.file] + b"\1\0\0\0" + entry[layout.file + 4 :]
            tree.append((entry, table._string(header.names + name).encode()))
    name_place = header.names + int(functions.name[number])
    return Function(
        name=table._string(name_place).encode(),
        size=size,
        pcsp=parts[0],
        pcfile=encode(pairs, quantum),
        pcln=parts[2],
        pcinline=parts[3],
        tree=tuple(tree),
        files=(b"", *files),
        start_line=int(functions.start_line[number]),
    )
