from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from gotax.errors import ParseError
from gotax.golang.pcvalue import read_pc_tables
from gotax.linux.elf import BytesReader
from hypothesis import given, settings
from hypothesis import strategies as st

Pairs = list[tuple[int, int]]  # (value, bytes of code it holds for)


def varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def encoded(pairs: Pairs, quantum: int) -> bytes:
    """As cmd/internal/obj/pcln.go writes a table."""
    out, before = b"", -1
    for value, length in pairs:
        delta = value - before
        out += varint(delta << 1 if delta >= 0 else (-delta << 1) - 1) + varint(length // quantum)
        before = value
    return out + b"\0"


def step_by_step(data: bytes, at: int, pc: int, quantum: int) -> int:
    """As runtime/symtab.go reads a table: pcvalue and step."""
    value, reached, first = -1, 0, True

    def number() -> int:
        nonlocal at
        result = shift = 0
        while True:
            byte = data[at]
            at += 1
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    while True:
        delta = number()
        if delta == 0 and not first:
            return -1
        value += -(delta + 1 >> 1) if delta & 1 else delta >> 1
        reached += number() * quantum
        first = False
        if pc < reached:
            return value


@st.composite
def tables(draw: st.DrawFn, quantum: int) -> Pairs:
    """Tables as compilers write them: neighbours differ, every value holds for some code."""
    lengths = draw(st.lists(st.integers(1, 1 << 20), min_size=1, max_size=8))
    pairs: Pairs = []
    for length in lengths:
        value = draw(st.integers(-1, 1 << 24))
        if not pairs or value != pairs[-1][0]:
            pairs.append((value, length * quantum))
    return pairs


@settings(max_examples=60, deadline=None)
@given(data=st.data(), quantum=st.sampled_from([1, 4]), gap=st.integers(0, 40_000))
def test_decoding_at_once_equals_the_runtimes_loop(
    data: st.DataObject, quantum: int, gap: int
) -> None:
    """Any set of tables, with other bytes between them, gives the results of Go's own loop."""
    content, offsets, queries = b"\0", [0], []
    for pairs in data.draw(st.lists(tables(quantum), min_size=1, max_size=5)):
        offsets.append(len(content))
        content += encoded(pairs, quantum) + b"\x01" * data.draw(st.sampled_from([0, gap]))
        size = sum(length for _, length in pairs)
        queries.append(data.draw(st.lists(st.integers(0, size + 9), min_size=1, max_size=9)))
    decoded = read_pc_tables(
        BytesReader(content), 0, np.array(offsets, np.int64), len(content), quantum
    )
    for offset, pcs in zip(offsets[1:], queries, strict=True):
        numbers = decoded.numbers(np.full(len(pcs), offset, np.int64))
        found = decoded.at(numbers, np.array(pcs, np.int64))
        assert found.tolist() == [step_by_step(content, offset, pc, quantum) for pc in pcs]


def read(content: bytes, *offsets: int) -> None:
    read_pc_tables(BytesReader(content), 0, np.array(offsets, np.int64), len(content), 1)


def test_offset_zero_is_no_table() -> None:
    """Value -1 everywhere, also when there is no other table."""
    decoded = read_pc_tables(BytesReader(b"\0"), 0, np.array([0, 0]), 1, 1)
    numbers = decoded.numbers(np.array([0, 0]))
    assert decoded.at(numbers, np.array([0, 7])).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("content", "offsets"),
    [
        pytest.param(b"\0\2\4", [1], id="no end"),
        pytest.param(b"\0\2\4\6\0", [1], id="half a pair"),
        pytest.param(b"\0\2\x80\0", [1], id="ends within a number"),
        pytest.param(b"\0\2\xff\xff\xff\xff\xff\x01\0", [1], id="a number too long"),
        pytest.param(b"\0" + b"\2\xff\xff\xff\xff\x7f\2\4\0", [1], id="a pc beyond 32 bits"),
        pytest.param(b"\0" + b"\xfe\xff\xff\xff\x7f\4\0", [1], id="a value beyond 32 bits"),
        pytest.param(b"\0\2\4\6\4\0", [1, 3], id="one within another"),
        pytest.param(b"\0\2\4\0", [9], id="beyond the end"),
        pytest.param(b"\0\2\4\0", [1, -7], id="before the start"),
        pytest.param(
            b"\0" + b"\2\1" * 450_000 + b"\0", [*range(1, 900_000, 32_770)], id="far within"
        ),
    ],
)
def test_malformed_tables_are_refused(content: bytes, offsets: list[int]) -> None:
    """With the reason pctab-malformed, and nothing else."""
    with pytest.raises(ParseError) as refusal:
        read(content, *offsets)
    assert refusal.value.reason == "pctab-malformed"


def test_an_endless_table_is_not_read_to_the_end_of_the_file() -> None:
    """Looking for its end stops after some megabytes."""

    class Endless:
        size = 1 << 40
        furthest = 0

        def read(self, offset: int, length: int) -> bytes:
            self.furthest = max(self.furthest, offset + length)
            return b"\1" * length

        def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
            yield offset, offset + length

    reader = Endless()
    with pytest.raises(ParseError):
        read_pc_tables(reader, 0, np.array([1]), reader.size, 1)
    assert reader.furthest < 16 << 20
