"""Files that an attacker wrote to hold the agent up or to fill its memory: one test per attack.

Work is counted in bytes read and parts visited, so that no clock decides.
"""

from __future__ import annotations

import os
import re
import struct
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gotax.category import Category
from gotax.errors import ParseError
from gotax.golang import categories
from gotax.golang.buildinfo import parse_buildinfo, parse_modinfo
from gotax.golang.categories import function_code
from gotax.golang.pclntab import parse_pclntab
from gotax.linux import elf as elf_module
from gotax.linux.elf import BytesReader, Elf, FileReader, parse_elf
from gotax.linux.mappings import UNLISTED, FileId, parse_maps
from gotax.reader.binary import ParsedBinary
from gotax.reader.facts import cut, of_binary
from gotax.reader.opened import BorrowedFile

from tests.attacks import inputs

_NOTE = struct.pack("<III", 4, 4, 4) + b"Go\0\0" + b"aaaa"
_PAGE = 4096


class CountingReader(FileReader):
    """Counts what is read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.bytes = 0

    def _pread(self, offset: int, length: int) -> bytes:
        self.bytes += length
        return super()._pread(offset, length)


def _elf(
    path: Path, machine: int, segments: Sequence[tuple[int, ...]], content: dict[int, bytes]
) -> None:
    """``segments``: (type, flags, offset, address, size) each; the rest of the file is a hole."""
    head = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head += struct.pack(
        "<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
    )
    for kind, flags, offset, address, size in segments:
        head += struct.pack("<IIQQQQQQ", kind, flags, offset, address, address, size, size, _PAGE)
    with path.open("wb") as file:
        for offset, data in {0: head, **content}.items():
            file.seek(offset)
            file.write(data)
        file.truncate(max(offset + size for _, _, offset, _, size in segments))


def _sparse(path: Path, size: int, content: dict[int, bytes] | None = None) -> None:
    """sparse_elf: says by its note that it is Go, and has a segment of holes."""
    segments = [(1, 5, 0, 0x400000, _PAGE), (4, 4, 0x800, 0x400800, len(_NOTE))]
    segments.append((1, 6, _PAGE, 0x10000000000, size))
    _elf(path, 62, segments, {0x800: _NOTE, **(content or {})})


def test_a_hole_of_64_tebibytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    try:
        _sparse(path, 8 << 40, {_PAGE + (1 << 30): b"go1.9.2".ljust(64, b"\0")})
    except OSError:
        pytest.skip("this file system has no files of that size")
    with CountingReader(path) as reader:
        elf = parse_elf(reader)
        build = parse_buildinfo(elf)
        with pytest.raises(ParseError, match="pclntab-missing"):
            parse_pclntab(elf, "")
        assert build is not None
        assert build.version == ""
        assert elf.symbol("runtime.buildVersion") is None
        assert reader.bytes < 1 << 20


def test_a_text_between_two_holes_is_found(tmp_path: Path) -> None:
    """That a version is there, and a variable that points to it: as in a program of Go 1.12."""
    path = tmp_path / "sparse"
    text, variable = 5 << 20, 9 << 20
    address = 0x10000000000
    content = {
        _PAGE + text + 100: b"go1.9.2",
        _PAGE + variable + 8: struct.pack("<QQ", address + text + 100, 7),
    }
    _sparse(path, 64 << 20, content)
    with CountingReader(path) as reader:
        build = parse_buildinfo(parse_elf(reader))
        assert build is not None
        assert build.version == "go1.9.2"
        assert reader.bytes < 1 << 20


@pytest.mark.parametrize("overlap", [0, 8])
def test_scans_cover_all_that_is_no_hole_and_each_part_once(tmp_path: Path, overlap: int) -> None:
    path = tmp_path / "sparse"
    places = [0, 3 << 20, (3 << 20) + 4096, 17 << 20]
    with path.open("wb") as file:
        for place in places:
            file.seek(place)
            file.write(b"x" * 4096)
        file.truncate(32 << 20)
    with FileReader(path) as reader:
        elf = Elf(reader, (3, 62, 0), (), ())
        offset = 24  # not aligned to anything
        parts = list(elf.scan(offset, (32 << 20) - offset, overlap))
        covered = np.zeros(32 << 20, np.uint8)
        for start, length in parts:
            assert start % 16 == 0
            assert offset + start + length <= 32 << 20
            covered[offset + start : offset + start + length - overlap] += 1
        assert covered.max() == 1
        for place in places:
            assert covered[max(place, offset) : place + 4096].all()
        if any(True for _ in reader.extents(1 << 20, 1 << 20)):
            pytest.skip("this file system does not say where its holes are")
        assert covered.sum() < 1 << 20


def test_searches_of_one_file_come_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elf_module, "_MAX_SCANNED_BYTES", 8 << 20)
    elf = Elf(BytesReader(bytes(5 << 20)), (3, 62, 0), (), ())
    assert sum(length for _, length in elf.scan(0, 5 << 20)) == 5 << 20
    with pytest.raises(ParseError, match="elf-too-large"):
        list(elf.scan(0, 5 << 20))


def test_many_small_parts_count_more_than_their_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elf_module, "_MAX_SCANNED_BYTES", 1 << 20)
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        for number in range(64):
            file.seek(number << 20)
            file.write(b"x")
    with FileReader(path) as reader:
        elf = Elf(reader, (3, 62, 0), (), ())
        with pytest.raises(ParseError, match="elf-too-large"):
            list(elf.scan(0, 64 << 20))


@pytest.mark.parametrize("machine", [3, 62, 183])
def test_relocations_in_a_hole_are_none(tmp_path: Path, machine: int) -> None:
    """rela_elf: of a machine whose relative relocations are not known, type 0 counted as one."""
    path = tmp_path / "rela"
    size = 24 * 2_000_000
    dynamic = struct.pack("<QQQQQQ", 7, 0x10000000, 8, size, 0, 0)
    segments = [(1, 6, 0, 0, 0x2000), (2, 6, 0x500, 0x500, len(dynamic))]
    segments.append((1, 4, 0x2000, 0x10000000, size))
    entry = struct.pack("<QQQ", 0x1000, {62: 8, 183: 1027}.get(machine, 0), 77)
    _elf(path, machine, segments, {0x500: dynamic, 0x2000 + 24 * 1_000_000: entry})
    with CountingReader(path) as reader:
        elf = parse_elf(reader)
        tracemalloc.start()
        where, addend = elf.relative_relocations
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert where.tolist() == ([] if machine == 3 else [0x1000])
        assert addend.tolist() == ([] if machine == 3 else [77])
        assert peak < 2 << 20
        assert reader.bytes < 1 << 20
        elf.forget()
        assert "relative_relocations" not in vars(elf)


def test_more_relocations_than_any_program_has_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rela"
    size = 24 * 4_000_000
    dynamic = struct.pack("<QQQQQQ", 7, 0x10000000, 8, size, 0, 0)
    segments = [(2, 6, 0x500, 0x500, len(dynamic)), (1, 4, 0x2000, 0x10000000, size)]
    _elf(path, 62, segments, {0x500: dynamic})
    with FileReader(path) as reader, pytest.raises(ParseError, match="elf-relocations"):
        _ = parse_elf(reader).relative_relocations


def test_build_info_is_bounded_in_lines_and_in_each_field() -> None:
    lines = [b"path\t" + b"p" * 9000, b"mod\tm\tv1"]
    lines += [b"dep\td%d\tv1" % number for number in range(20_000)]
    lines += [b"build\tk=v"] * 1000
    build = parse_modinfo("go1.26.8", b"\n".join(lines))
    assert build.package == "p" * 1024
    assert len(build.dependencies) == 8190
    many = parse_modinfo("go1.26.8", b"\n".join([b"build\tk=v"] * 1000))
    assert len(many.settings) == 256


def test_build_info_that_is_kept_is_small(tmp_path: Path) -> None:
    """Hundreds of binaries are kept, and each had the same module 8,190 times."""
    lines = [b"path\tmain"]
    lines += [b"dep\tgo.uber.org/automaxprocs\tv%d" % number for number in range(8000)]
    lines += [b"build\tDefaultGODEBUG=%d" % number for number in range(300)]
    inputs.specimen_of(path := tmp_path / "program", b"\n".join(lines))
    status = path.stat()
    file_id = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    build = ParsedBinary(BorrowedFile(file_id, str(path)), "m").build
    assert build is not None
    assert [module.version for module in build.dependencies] == ["v0"]
    assert build.settings == (("DefaultGODEBUG", "0"),)
    facts = of_binary(ParsedBinary(BorrowedFile(file_id, str(path)), "m"))
    facts.check()
    with pytest.raises(ParseError, match="reader-malformed"):  # of a reader that was taken over
        replace(facts, build=replace(build, package="p" * 65536)).check()


_CLOSURES = re.compile(
    r"(?:\.func\d+|\.\d+|\.gowrap\d+|\.deferwrap\d+|-range\d+|\.abi0|\.abiinternal|-fm)+$"
)


@pytest.mark.parametrize(
    "name",
    [
        *("main.f", "main.f.func1", "main.f.func12.3.4", "main.f.gowrap1", "main.f.deferwrap2"),
        *("main.f-range1", "main.f.func1-range2", "main.f.abi0", "main.f.abiinternal", "main.f-fm"),
        *(
            "main.f.func",
            "main.f.func1x",
            "main.func1",
            "func1",
            ".func1",
            "",
            "1",
            ".1",
            "x.1.a.2",
        ),
        *("main.f.func1.abi0", "main.f-fm-fm.1", "main.f.1.func", "a.gowrap1.func2.1-range3"),
    ],
)
def test_a_closure_has_the_name_of_its_function(name: str) -> None:
    """By the plain expression, which takes a time quadratic in the length of a name."""
    assert categories._without_closures(name) == _CLOSURES.sub("", name)


@pytest.mark.parametrize(
    "part", [".func1", ".1", "1", "-range1", ".func", "[", "[a", "]", "[]", ".(", "."]
)
def test_a_name_of_a_megabyte_is_classified_in_linear_time(part: str) -> None:
    """One of 55 kB took 3 CPU seconds: of a megabyte it would be a quarter of an hour."""
    name = "runtime." + part * ((1 << 20) // len(part)) + "x"
    assert function_code(name) in (categories.UNLISTED, int(Category.USER))


def test_names_are_kept_up_to_a_thousand_characters() -> None:
    assert cut("n" * 1024) == "n" * 1024
    assert cut("n" * 1025) == "n" * 1023 + "…"


def test_paths_of_mappings_are_bounded_together() -> None:
    lines = [
        f"{number:x}000-{number:x}800 r-xp 00000000 00:01 {number} /{number}{'p' * 4000}\n"
        for number in range(1, 200)
    ]
    found = parse_maps("".join(lines).encode())
    assert found[-1].path == UNLISTED
    assert found[-1].start == found[-2].start + 0x1000
    assert 60 < len(found) < 70
    same = "".join(re.sub(r"/.*", "/" + "p" * 4000, line) for line in lines)
    assert len(parse_maps(same.encode())) == 199


@pytest.mark.parametrize(("sections", "segments"), [(5000, 1), (0, 257)])
def test_an_elf_with_thousands_of_headers_keeps_none(sections: int, segments: int) -> None:
    head = b"\x7fELF\2\1\1".ljust(16, b"\0")
    head += struct.pack(
        "<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 64 + 56 * segments, 0, 64, 56, segments, 64, sections, 0
    )
    data = head + bytes(56 * segments) + bytes(64 * sections)
    if segments > 256:
        with pytest.raises(ParseError, match="elf-malformed"):
            parse_elf(BytesReader(data))
    else:
        assert parse_elf(BytesReader(data)).sections == {}


def test_a_file_that_shrinks_while_it_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (4 << 20))
    with FileReader(path) as reader:
        os.truncate(path, 0)
        elf = Elf(reader, (3, 62, 0), (), ())
        assert list(elf.scan(0, 4 << 20)) == []
