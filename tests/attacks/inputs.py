"""Files that are small on disk, and that ask a reader for memory or time without end."""

from __future__ import annotations

import json
import platform
import struct
import sys
from dataclasses import replace
from pathlib import Path

from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import BytesReader, parse_elf

from tests.fuzz.specimens import LAYOUTS, Function, Specimen, encode, write

HERE = Path(__file__).parent
PYTHON = sys.executable
PAGE = 4096
MACHINE = {"x86_64": 62, "aarch64": 183}[platform.machine()]
SPIN = {62: b"\xeb\xfe", 183: b"\x00\x00\x00\x14"}[MACHINE]  # a jump to itself
CODE_AT = 0xE00
"""Where in the first page of a file of ``executable`` its code is."""

_BASE = 0x400000
_NOTE = struct.pack("<III", 4, 4, 4) + b"Go\0\0" + b"mark"  # what Go's linker leaves
_LOAD, _DYNAMIC, _NOTES = 1, 2, 4
Segment = tuple[int, int, int, int, int]
"""Type, flags, offset, address, size."""


def executable(
    path: Path, more: tuple[Segment, ...], size: int, kind: tuple[int, int] = (2, MACHINE)
) -> Path:
    """A program that says that it is Go and spins: one page, and then holes up to ``size``."""
    segments = (
        (_LOAD, 5, 0, _BASE, PAGE),
        (_NOTES, 4, 0x800, _BASE + 0x800, len(_NOTE)),
        *more,
    )
    header = b"\x7fELF\2\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH",
        *(*kind, 1, _BASE + CODE_AT, 64, 0, 0, 64, 56, len(segments), 64, 0, 0),
    )
    for type_, flags, offset, address, length in segments:
        header += struct.pack(
            "<IIQQQQQQ", type_, flags, offset, *[address] * 2, *[length] * 2, PAGE
        )
    page = bytearray(header.ljust(PAGE, b"\0"))
    page[0x800 : 0x800 + len(_NOTE)] = _NOTE
    page[CODE_AT : CODE_AT + len(SPIN)] = SPIN
    with path.open("wb") as file:
        file.write(page)
        file.truncate(size)
    path.chmod(0o755)
    return path


def task(*files: Path, entry: int = CODE_AT, environ: str = "") -> str:
    """What ``attacker.py`` is to do: map all, and run in the last one."""
    maps: list[tuple[str, int, int, int, bool]] = []
    at = 0
    for path in files:
        size = -(-min(path.stat().st_size, 1 << 20) // PAGE) * PAGE
        maps.append((str(path), 0, size, at, True))
        at += size
    return json.dumps({"maps": maps, "entry": maps[-1][3] + entry, "environ": environ})


def disguise(program: Path, copy: Path, data_from: str, environ: str) -> str:
    """As ``task``: a copy of a Go program that spins in main.main, its data of another file."""
    data = bytearray(program.read_bytes())
    elf = parse_elf(BytesReader(bytes(data)))
    build = parse_buildinfo(elf)
    assert build is not None
    table = parse_pclntab(elf, build.version)
    (start, _) = table.function_ranges(frozenset({"main.main"}))["main.main"]
    place = elf.offset_of(start)
    assert place is not None
    data[place : place + len(SPIN)] = SPIN
    copy.write_bytes(data)
    copy.chmod(0o755)
    base = min(segment.address for segment in elf.loads) // PAGE * PAGE
    maps = []
    for segment in elf.loads:
        skew = segment.address % PAGE
        length = segment.memory_size if segment.writable else segment.file_size
        size = -(-(length + skew) // PAGE) * PAGE  # with what is zero at first, as GOMAXPROCS
        path = data_from if data_from and segment.writable else str(copy)
        at = segment.address - skew - base
        maps.append([path, segment.offset - skew, size, at, not segment.writable])
    return json.dumps({"maps": maps, "entry": start - base, "environ": environ})


def hole(path: Path, size: int) -> Path:
    """A segment to read, of ``size`` bytes that are not there: the search for a version."""
    data = (_LOAD, 4, PAGE, 1 << 40, size - PAGE)
    return executable(path, (data,), size)


def relocations(path: Path, count: int) -> Path:
    """``count`` relocations, all of them in a hole, for a machine whose type 0 is relative."""
    size = 24 * count
    at, table = _BASE + 0x900, 0x10000000
    segments = (
        (_DYNAMIC, 6, 0x900, at, 48),
        (_LOAD, 6, PAGE, 0x800000, PAGE),
        (_LOAD, 4, 2 * PAGE, table, size),
    )
    executable(path, segments, 2 * PAGE + size, kind=(3, 3))
    with path.open("r+b") as file:
        file.seek(0x900)
        file.write(struct.pack("<6Q", 7, table, 8, size, 0, 0))  # DT_RELA, DT_RELASZ
        file.seek(PAGE)
        file.write(b"go1.20")
    return path


def build_information(path: Path, size: int) -> Path:
    """Modules and settings of nearly ``size`` bytes, all of them different."""
    line = b"dep\t%07d\tv%d\t\n"
    lines = [b"path\tmain\nmod\texample.com/m\tv1.2.3\t\n"]
    total, number = len(lines[0]), 0
    while total < size - 256:
        lines.append(line % (number, number))
        total += len(lines[-1])
        number += 1
    return specimen_of(path, b"".join(lines))


def specimen_of(path: Path, modinfo: bytes) -> Path:
    """A Go program that spins, with this build info."""
    _specimen(path, (_padding(64),), modinfo)
    with path.open("r+b") as file:
        file.seek(PAGE)
        file.write(SPIN)
        file.seek(0x28)  # e_shoff, and e_shentsize to e_shstrndx: as if stripped of all sections
        file.write(bytes(8))
        file.seek(0x3A)
        file.write(bytes(6))
    return path


def names(path: Path, count: int, length: int) -> Path:
    """``count`` functions with names of ``length`` bytes, in which closures never end, and all of
    them run in turn."""
    step = 32
    functions = [_padding(step)]
    for number in range(count):
        head = b"runtime.f%05d" % number
        functions.append(_function(head + b".1" * ((length - len(head)) // 2) + b"x", step))
    _specimen(path, tuple(functions), b"path\tmain\n")
    with path.open("r+b") as file:
        for number in range(count + 1):
            file.seek(PAGE + number * step)
            file.write(_a_while(-number * step if number == count else step))
    return path


def _a_while(to: int) -> bytes:
    """Code that counts for some milliseconds, and then jumps ``to`` bytes from where it began."""
    if MACHINE == 62:
        loop = b"\xb9" + struct.pack("<I", 10_000_000) + b"\xff\xc9\x75\xfc"
        return loop + b"\xe9" + struct.pack("<i", to - len(loop) - 5)
    loop = struct.pack("<III", 0x52A01309, 0x71000529, 0x54FFFFE1)  # mov, subs, b.ne
    return loop + struct.pack("<I", 0x14000000 | (to - 12) // 4 & 0x3FFFFFF)


def _padding(size: int) -> Function:
    """A function with a name over which code can be written, at the offset of the text."""
    return _function(b"main." + b"p" * 16000, size)


def _function(name: bytes, size: int) -> Function:
    tables = encode([(0, size)], 1), encode([(1, size)], 1), encode([(9, size)], 1)
    return Function(name, size, *tables, b"", (), (b"", b"/src/main.go"), 1)


def _specimen(path: Path, functions: tuple[Function, ...], modinfo: bytes) -> Path:
    layout = replace(LAYOUTS[-1], machine=MACHINE)
    path.write_bytes(write(Specimen(layout, functions, modinfo)))
    path.chmod(0o755)
    return path
