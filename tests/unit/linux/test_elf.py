from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from gotax.errors import AccessError, ParseError
from gotax.linux.elf import (
    ET_DYN,
    PT_LOAD,
    BytesReader,
    Elf,
    FileReader,
    Reader,
    Segment,
    gather,
    parse_elf,
    parse_notes,
)
from hypothesis import given, settings
from hypothesis import strategies as st

EXECUTABLE = Path(os.path.realpath(sys.executable))
BEGINNING = EXECUTABLE.read_bytes()[: 64 * 1024]
needs_binutils = pytest.mark.skipif(not shutil.which("readelf"), reason="no binutils")


@pytest.fixture(scope="module")
def content() -> bytes:
    """300 kB in which every place is recognisable."""
    return np.arange(75_000, dtype="<u4").tobytes()


@pytest.fixture(params=["bytes", "file", "file with one block"])
def reader(request: pytest.FixtureRequest, content: bytes, tmp_path: Path) -> Reader:
    if request.param == "bytes":
        return BytesReader(content)
    path = tmp_path / "file"
    path.write_bytes(content)
    return FileReader(path, *([] if request.param == "file" else [1]))


def test_reads_are_exact(reader: Reader, content: bytes) -> None:
    """Within blocks, across them, longer than the cache, and at both ends."""
    assert reader.size == len(content)
    for offset in (0, 1, 65_530, 65_536, 131_071, 290_000):
        for length in (0, 1, 12, 65_536, 65_537, 200_000):
            if offset + length <= len(content):
                assert reader.read(offset, length) == content[offset : offset + length]
    assert reader.read(len(content), 0) == b""


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 300_001), (299_999, 2), (1 << 70, 1), (-1, 1), (5, -1)]
)
def test_reading_past_the_end_is_refused(reader: Reader, offset: int, length: int) -> None:
    """Also with numbers that no file has."""
    with pytest.raises(ParseError) as refusal:
        reader.read(offset, length)
    assert refusal.value.reason == "elf-truncated"


def test_a_file_that_shrinks_is_truncated(tmp_path: Path) -> None:
    """A mapping would have killed the process; a read returns an error."""
    path = tmp_path / "file"
    path.write_bytes(bytes(200_000))
    with FileReader(path) as reader:
        os.truncate(path, 1000)
        for offset, length in ((100_000, 8), (0, 150_000), (500, 1000)):
            with pytest.raises(ParseError) as refusal:
                reader.read(offset, length)
            assert refusal.value.reason == "elf-truncated"
        path.write_bytes(b"")


def test_a_reader_of_a_descriptor_has_its_own(tmp_path: Path) -> None:
    """Closing either leaves the other open."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    fd = os.open(path, os.O_RDONLY)
    reader = FileReader(fd)
    os.close(fd)
    assert reader.read(0, 7) == b"content"
    reader.close()
    reader.close()
    with pytest.raises(AccessError) as refusal:
        reader.read(0, 7)
    assert refusal.value.reason == "elf-unreadable"


@settings(max_examples=50, deadline=None)
@given(
    offsets=st.lists(st.integers(0, 299_000), max_size=200),
    width=st.sampled_from([1, 4, 56, 999]),
)
def test_gathered_rows_equal_single_reads(offsets: list[int], width: int) -> None:
    """In the given order, whichever rows are read together."""
    content = np.arange(75_000, dtype="<u4").tobytes()
    rows = gather(BytesReader(content), np.array(offsets, np.int64), width)
    assert rows.shape == (len(offsets), width)
    for row, offset in zip(rows, offsets, strict=True):
        assert row.tobytes() == content[offset : offset + width]


@needs_binutils
def test_a_real_program_matches_readelf() -> None:
    """Type, entry, segments, sections and build id."""
    with FileReader(EXECUTABLE) as reader:
        elf = parse_elf(reader)
        listing = subprocess.run(
            ["readelf", "--wide", "--file-header", "--segments", "--notes", str(EXECUTABLE)],
            capture_output=True,
            text=True,
            check=True,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        ).stdout
        assert f"Entry point address:               {elf.entry:#x}\n" in listing
        assert f"Number of program headers:         {len(elf.segments)}\n" in listing
        assert f"Build ID: {elf.build_id()}" in listing
        loads = [line.split() for line in listing.splitlines() if line.startswith("  LOAD ")]
        assert [(s.offset, s.address, s.file_size, s.memory_size) for s in elf.loads] == [
            tuple(int(row[column], 16) for column in (1, 2, 4, 5)) for row in loads
        ]
        assert elf.offset_of(elf.entry) is not None
        assert ".text" in elf.sections


@needs_binutils
def test_function_symbols_match_nm() -> None:
    """Every defined function is found by its first and its last byte."""
    with FileReader(EXECUTABLE) as reader:
        symbols = parse_elf(reader).function_symbols()
        assert symbols is not None
        listing = subprocess.run(
            ["nm", "--dynamic", "--defined-only", "--print-size", str(EXECUTABLE)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        names: dict[int, set[str]] = {}
        sizes = {}
        for line in listing.splitlines():
            match line.split():
                case [start, size, "T", name]:
                    names.setdefault(int(start, 16), set()).add(name.split("@")[0])
                    sizes[int(start, 16)] = int(size, 16)
        assert len(names) > 100
        for address, expected in names.items():
            for place in (address, address + sizes[address] - 1):
                found = symbols.lookup(place)
                assert found is not None
                assert found[0] in expected
                assert found[1] == address
        first = int(symbols.addresses[0])
        assert symbols.lookup(first - 1) is None
        assert symbols.lookup(-1) is None
        assert symbols.lookup(1 << 64) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "elf-magic"),
        (b"#!/bin/sh\n", "elf-magic"),
        (b"\x7fELF\x02\x01", "elf-truncated"),
        (b"\x7fELF\x01\x01" + bytes(60), "elf-malformed"),
        (b"\x7fELF\x01\x02" + bytes(60), "elf-unsupported"),
        (b"\x7fELF\x02\x02" + bytes(60), "elf-unsupported"),
        (b"\x7fELF\x02\x01" + bytes(60), "elf-malformed"),
    ],
)
def test_other_files_are_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ParseError) as refusal:
        parse_elf(BytesReader(data))
    assert refusal.value.reason == reason


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(4, 1023), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_damaged_header_gives_an_answer_or_a_reason(damages: list[tuple[int, int]]) -> None:
    """Any bytes in the headers: only ParseError is raised."""
    original = bytearray(BEGINNING)
    for place, byte in damages:
        original[place] = byte
    with suppress(ParseError):
        elf = parse_elf(BytesReader(bytes(original)))
        elf.build_id()
        elf.function_symbols()
        elf.symbol("main")
        assert len(elf.relative_relocations[0]) == len(elf.relative_relocations[1])


def note(name: bytes, kind: int, description: bytes) -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name, description)]
    return struct.pack("<III", len(name), len(description), kind) + b"".join(padded)


def test_notes_end_at_the_first_that_does_not_fit() -> None:
    """What came before counts."""
    good = note(b"Go\0\0", 4, b"id/xyz") + note(b"GNU\0", 3, bytes(20))
    bad = struct.pack("<III", 4, 0xFFFFFFFF, 1) + b"GNU\0"
    assert [(n.name, n.type) for n in parse_notes(good + bad)] == [(b"Go\0\0", 4), (b"GNU\0", 3)]
    assert parse_notes(good)[0].description == b"id/xyz"
    assert parse_notes(b"") == []


def test_addresses_map_to_file_offsets() -> None:
    """By segment; bss and gaps have none; at the very top nothing wraps around."""
    top = (1 << 64) - 0x1000
    segments = (
        Segment(PT_LOAD, 5, 0, 0x400000, 0x1000, 0x1000),
        Segment(PT_LOAD, 6, 0x1000, 0x600000, 0x800, 0x2000),
        Segment(PT_LOAD, 4, 0x1800, top, 0x800, 0x800),
    )
    elf = Elf(BytesReader(bytes(0x2000)), (ET_DYN, 62, 0), segments, ())
    expected = {
        0x3FFFFF: None,
        0x400000: 0,
        0x400FFF: 0xFFF,
        0x401000: None,
        0x6007FF: 0x17FF,
        0x600800: None,
        top: 0x1800,
        top + 0x800: None,
    }
    assert {address: elf.offset_of(address) for address in expected} == expected
    columns = elf.offsets_of(np.array(list(expected), np.uint64)).tolist()
    assert columns == [-1 if offset is None else offset for offset in expected.values()]
    with pytest.raises(ParseError) as refusal:
        elf.read_va(0x6007FF, 2)
    assert refusal.value.reason == "elf-unmapped"
