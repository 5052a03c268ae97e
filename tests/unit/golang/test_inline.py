"""Inlined calls with invalid trees. For valid trees: tests/oracle, tests/corpus."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.pclntab import Pclntab, parse_pclntab
from gotax.linux.elf import BytesReader, parse_elf

from tests.fuzz.specimens import LAYOUTS, Function, Layout, Specimen, encode, write

each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.version)
SIZE = 64


def entry(layout: Layout, parent: int, call_site: int) -> bytes:
    """Up to Go 1.11 an entry has its parent's number, since then the place of the call."""
    inline = layout.format.inline
    assert inline is not None
    data = bytearray(inline.entry_bytes)
    if inline.parent_pc is not None:
        struct.pack_into("<i", data, inline.parent_pc, call_site)
    elif inline.parent is not None:
        struct.pack_into("<i", data, inline.parent, parent)
    return bytes(data)


def table_of(
    layout: Layout, indexes: list[tuple[int, int]], calls: list[tuple[bytes, int, int]]
) -> Pclntab:
    """One function ``f`` whose code has these (index, bytes), and calls (name, parent, site)."""
    quantum = layout.quantum
    function = Function(
        b"f",
        SIZE,
        pcsp=encode([(0, SIZE)], quantum),
        pcfile=encode([(0, SIZE)], quantum),
        pcln=encode([(10 + at // 8, 8) for at in range(0, SIZE, 8)], quantum),
        pcinline=encode(indexes, quantum),
        tree=tuple((entry(layout, parent, site), name) for name, parent, site in calls),
        files=(b"/f.go",),
        start_line=9,
    )
    elf = parse_elf(BytesReader(write(Specimen(layout, (function, function)))))
    build = parse_buildinfo(elf)
    return parse_pclntab(elf, layout.version if build is None else build.version or layout.version)


def names(table: Pclntab, offset: int) -> list[str]:
    (chain,) = table.frames(np.array([table.text_start + offset], np.uint64))
    return [frame.function for frame in chain]


@each_layout
def test_calls_lead_outward(layout: Layout) -> None:
    """f calls a, which calls b: a valid tree."""
    table = table_of(layout, [(-1, 16), (0, 16), (1, 32)], [(b"a", -1, 8), (b"b", 0, 16)])
    assert [names(table, at) for at in (0, 16, 32)] == [["f"], ["a", "f"], ["b", "a", "f"]]


@each_layout
def test_a_cycle_ends_with_the_function(layout: Layout) -> None:
    """The call site of b is its entry, where the first instruction belongs to a, whose call site is
    the same. The linker wrote such a package init into many programs."""
    table = table_of(
        layout, [(0, 16), (1, 16), (2, 32)], [(b"a", 0, 0), (b"b", 0, 0), (b"c", 1, 16)]
    )
    pcs = np.array([table.text_start + at for at in (0, 16, 32)], np.uint64)
    chains = [[frame.function for frame in chain] for chain in table.frames(pcs)]
    assert chains == [["a", "f"], ["b", "f"], ["c", "b", "f"]]
    outermost = [chain[-1] for chain in table.frames(pcs)]
    assert [(frame.file, frame.line, frame.inlined) for frame in outermost] == [("", 0, False)] * 3
    calls, _ = table.calls(pcs)
    assert {tuple(frame.function for frame in chain) for chain in calls.chains} == {
        ("a", "f"),
        ("b", "f"),
        ("c", "b", "f"),
    }


@each_layout
def test_a_cycle_of_two_keeps_the_innermost(layout: Layout) -> None:
    """Calls that name each other: which one is the caller is unknown."""
    table = table_of(layout, [(0, 16), (1, 48)], [(b"a", 1, 16), (b"b", 0, 0)])
    assert [names(table, at) for at in (0, 16)] == [["a", "f"], ["b", "f"]]
