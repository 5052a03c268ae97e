"""Damaged and truncated Go binaries: an answer or a reason, never another exception.

The real binaries of each layout are damaged in sensitive parts: in the ELF headers, the pclntab's
header, function table and records, the tables by program counter, and the moduledata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gotax.errors import ParseError
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.moduledata import find_moduledata
from gotax.golang.pclntab import Pclntab, parse_pclntab
from gotax.linux.elf import BytesReader, parse_elf
from gotax.profile import Frame

pytestmark = pytest.mark.toolchain

CASES = [
    ("1.9.7", ("pie",)),
    ("1.12.17", ("nosections", "stripped")),
    ("1.16.15", ("pie", "stripped")),
    ("1.18.10", ()),
    ("1.24.13", ("nosections", "pie", "stripped")),
    ("1.27.3", ("arm64", "stripped")),
]
each_layout = pytest.mark.parametrize(
    ("version", "variants"), CASES, ids=["-".join((v, *w)) for v, w in CASES]
)
DAMAGES = 80
READ_LIMIT = 30  # times the file's size, for all operations


class CountingReader(BytesReader):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.count = 0
        self.bytes = 0

    def read(self, offset: int, length: int) -> bytes:
        data = super().read(offset, length)
        self.count += 1
        self.bytes += length
        return data


@dataclass(frozen=True)
class Answer:
    """``reason``: why the binary was refused, "" when it was not."""

    reason: str
    frames: list[tuple[Frame, ...]]
    frame_sizes: list[int]
    reader: CountingReader


def interrogate(data: bytes) -> Answer:
    """All operations of gotax on a binary."""
    reader = CountingReader(data)
    reasons = []
    frames: list[tuple[Frame, ...]] = []
    frame_sizes: list[int] = []
    try:
        elf = parse_elf(reader)
        elf.build_id()
        build = parse_buildinfo(elf)
        table = parse_pclntab(elf, build.version if build else "")
        pcs = np.linspace(table.text_start, table.text_end - 1, 3000).astype(np.uint64)
        frames = table.frames(pcs)
        frame_sizes = table.frame_sizes(pcs).tolist()
        table.function_ranges(frozenset({"main.main", "runtime.procresize"}))
    except ParseError as error:
        reasons.append(error.reason)
    try:
        if (symbols := parse_elf(reader).function_symbols()) is not None:
            symbols.lookup(int(symbols.addresses[len(symbols) // 2]))
    except ParseError as error:
        reasons.append(error.reason)
    return Answer("".join(reasons[:1]), frames, frame_sizes, reader)


@pytest.fixture
def data(go_binary: Callable[..., Path], version: str, variants: tuple[str, ...]) -> bytes:
    return go_binary("symbols", version, *variants).read_bytes()


def places(data: bytes) -> Iterator[tuple[str, int, int]]:
    """(what, file offset, length) of the parts to damage."""
    elf = parse_elf(BytesReader(data))
    build = parse_buildinfo(elf)
    assert build is not None
    table: Pclntab = parse_pclntab(elf, build.version)
    header = table.header
    yield "elf header", 0, 64 + 56 * len(elf.segments)
    yield "pclntab header", header.offset, 72
    yield "function table", header.functab, header.function_count * 2 * 4
    yield "records", header.functab + header.function_count * 8, header.function_count * 40
    yield "pc tables", header.pctab + 64, 50_000
    yield "file table", header.cu, 400
    if table.format.relative:
        extent = (0, table.text_end - table.text_start)
        moduledata = find_moduledata(elf, header.address, header.names - header.offset, extent)
        at = elf.offset_of(moduledata.address)
        assert at is not None
        yield "moduledata", at, 400


@each_layout
def test_damage_is_refused_or_survived(data: bytes) -> None:
    """Random bytes in every part of the table: ParseError or an answer, in bounded reads."""
    rng = np.random.default_rng(26)
    reasons: dict[str, set[str]] = {}
    for what, offset, length in places(data):
        for _ in range(DAMAGES):
            damaged = np.frombuffer(data, np.uint8).copy()
            at = offset + rng.integers(0, length, 1 << int(rng.integers(0, 7)))
            how = rng.integers(0, 4)
            noise = rng.integers(0, 256, len(at))
            damaged[at] = np.array([noise, noise % 2 * 255, damaged[at] + 1, noise % 8])[how]
            answer = interrogate(damaged.tobytes())
            reasons.setdefault(what, set()).add(answer.reason)
            assert answer.reader.bytes < READ_LIMIT * len(data), what
            assert answer.reader.count < 100_000, what
    assert all(found - {""} for what, found in reasons.items()), reasons  # the damage had an effect


@each_layout
def test_truncation_is_refused_or_harmless(data: bytes) -> None:
    """A file cut at any offset: ParseError, or the answers of the whole file."""
    whole = interrogate(data)
    assert not whole.reason
    rng = np.random.default_rng(5)
    cuts = [*range(0, 200, 7), *rng.integers(0, len(data), 60).tolist(), len(data) - 1]
    for cut in cuts:
        answer = interrogate(data[:cut])
        assert answer.reason or (answer.frames, answer.frame_sizes) == (
            whole.frames,
            whole.frame_sizes,
        )
        assert answer.reason or cut > len(data) // 4


@pytest.mark.parametrize("version", ["1.18.10", "1.24.13", "1.27.3"])
def test_text_in_several_sections_is_refused(go_binary: Callable[..., Path], version: str) -> None:
    """If one is moved, maxpc differs from the function table's: no address is certain."""
    data = bytearray(go_binary("symbols", version).read_bytes())
    elf = parse_elf(BytesReader(bytes(data)))
    table = parse_pclntab(elf, f"go{version}")
    header = table.header
    extent = (0, table.text_end - table.text_start)
    moduledata = find_moduledata(elf, header.address, header.names - header.offset, extent)
    at = (elf.offset_of(moduledata.address) or 0) + 168
    assert int.from_bytes(data[at : at + 8], "little") == table.text_end
    data[at : at + 8] = (table.text_end + 4096).to_bytes(8, "little")
    with pytest.raises(ParseError, match="moduledata-missing"):
        parse_pclntab(parse_elf(BytesReader(bytes(data))), f"go{version}")
