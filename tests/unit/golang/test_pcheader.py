from __future__ import annotations

import struct

import pytest
from gotax.errors import ParseError
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import EM_AARCH64, EM_X86_64, ET_EXEC, PT_LOAD, BytesReader, Elf, Segment


class CountingReader(BytesReader):
    total = 0

    def read(self, offset: int, length: int) -> bytes:
        self.total += length
        return super().read(offset, length)


def elf_of(data: bytes, machine: int = EM_X86_64) -> tuple[Elf, CountingReader]:
    """A file without section headers that is one writable segment."""
    reader = CountingReader(data)
    segment = Segment(PT_LOAD, 6, 0, 0x400000, len(data), len(data))
    return Elf(reader, (ET_EXEC, machine, 0x400000), (segment,), ()), reader


def refusal(data: bytes, version: str = "", machine: int = EM_X86_64) -> str:
    with pytest.raises(ParseError) as caught:
        parse_pclntab(elf_of(data, machine)[0], version)
    return caught.value.reason


def header(magic: int, *words: int, quantum: int = 1) -> bytes:
    data = struct.pack(f"<IHBB{len(words)}Q", magic, 0, quantum, 8, *words)
    return bytes(64) + data + bytes(4096)


@pytest.mark.parametrize("magic", [0xFFFFFFF2, 0xFFFFFFEF, 0xFFFFFFFF, 0xFFFFFF00])
def test_an_unknown_magic_is_refused(magic: int) -> None:
    """A future layout has its own reason; gotax does not guess."""
    assert refusal(header(magic, 5, 5, 0, 72, 100, 200, 300, 400)) == "pclntab-magic"


@pytest.mark.parametrize(
    "words",
    [
        (0, 5, 0, 72, 100, 200, 300, 400),
        (1 << 60, 5, 0, 72, 100, 200, 300, 400),
        (5, 5, 0, 0, 100, 200, 300, 400),
        (5, 5, 0, 72, 100, 200, 200, 400),
        (5, 5, 0, 72, 100, 200, 300, 4200),
        (5, 5, 0, 72, 100, 200, 300, (1 << 64) - 1),
        (5, 5, 0, 400, 300, 200, 100, 72),
    ],
)
def test_an_impossible_header_is_refused(words: tuple[int, ...]) -> None:
    """No functions, too many, or parts out of order or beyond the segment."""
    assert refusal(header(0xFFFFFFF1, *words)) == "pclntab-malformed"


@pytest.mark.parametrize("version", ["", "go1.16", "go1.1", "devel +0123456789"])
def test_the_first_layout_needs_its_version(version: str) -> None:
    """Go 1.2 to 1.15 share a magic number, so without a version the table cannot be read."""
    data = header(0xFFFFFFFB, 1, 0x400000, 48, 0x400010) + bytes(4096)
    data = data[:104] + struct.pack("<I", 56) + data[108:]
    assert refusal(data, version) == "pclntab-version"


def test_the_quantum_distinguishes_machines() -> None:
    """A table with another machine's quantum is not found by its first bytes."""
    data = header(0xFFFFFFF2, 5, quantum=4)
    assert refusal(data, machine=EM_AARCH64) == "pclntab-magic"
    assert refusal(data, machine=EM_X86_64) == "pclntab-missing"


@pytest.mark.parametrize(
    "bait",
    [
        pytest.param(header(0xFFFFFFF1, 1 << 15, 5, 0, 72, 100, 200, 300, 400)[64:136], id="table"),
        pytest.param(b"\xff Go buildinf:\x08\x02" + bytes(16) + b"\x04go1.", id="build info"),
        pytest.param(b"go1.", id="version"),
    ],
)
def test_many_false_starts_cost_at_most_a_few_reads_of_the_file(bait: bytes) -> None:
    """A file full of magic numbers; trying each fully would read gigabytes."""
    bait += bytes(-len(bait) % 8)
    data = bytes(64) + bait * (6_000_000 // len(bait))
    elf, reader = elf_of(data)
    parse_buildinfo(elf)
    with pytest.raises(ParseError):
        parse_pclntab(elf, "")
    assert reader.total < 8 * len(data)
