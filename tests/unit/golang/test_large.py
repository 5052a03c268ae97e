"""A binary of 250 MB with a pclntab of 140 MB: there is no size limit, and only the needed parts
are read."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import BytesReader, FileReader, parse_elf

from tests.fuzz import specimens
from tests.fuzz.specimens import LAYOUTS, Function, Layout, Specimen, encode, write

BINARY_BYTES = 250 << 20
TABLE_BYTES = 140 << 20
MEMORY_BYTES = 8 << 20
TRIED = (LAYOUTS[-1], pytest.param(LAYOUTS[3], marks=pytest.mark.slow))


def large(layout: Layout) -> bytes:
    """140 MB of names lie between those of two functions, and before all other tables."""
    tables = {
        "pcsp": encode([(0, 8), (24, 56)], layout.quantum),
        "pcfile": encode([(1, 64)], layout.quantum),
        "pcln": encode([(10, 16), (12, 48)], layout.quantum),
        "pcinline": b"",
    }
    names = (b"main.first", b"n" * 40 + bytes(TABLE_BYTES), b"main.last")
    files = (b"", b"/src/main.go")
    functions = [Function(n, 64, **tables, tree=(), files=files, start_line=9) for n in names]
    return write(Specimen(layout, tuple(functions)))


@pytest.mark.parametrize("layout", TRIED, ids=["go1.27.3", "go1.16.15"])
def test_a_large_table_is_read_in_parts(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opening, indexing and questions take some megabytes of memory; answers come from both of its
    ends."""
    monkeypatch.setattr(specimens, "_DATA", 0x4000_0000)  # behind so large a table
    path = tmp_path / "large"
    path.write_bytes(large(layout))
    assert path.stat().st_size > TABLE_BYTES
    with path.open("r+b") as file:
        file.truncate(BINARY_BYTES)  # the part behind it, like debug information, is never read
    tracemalloc.start()
    try:
        with FileReader(path) as reader:
            elf = parse_elf(reader)
            build = parse_buildinfo(elf)
            assert build is not None
            table = parse_pclntab(elf, build.version)
            pcs = np.arange(table.text_start, table.text_end, 4, dtype=np.uint64)
            frames = table.frames(pcs)
            assert table.function_range("main.last") == (table.text_end - 64, table.text_end)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_BYTES
    names = [chain[0].function for chain in frames]
    assert (names[0], names[-1]) == ("main.first", "main.last")
    assert {chain[0].line for chain in frames} == {10, 12}


def test_names_of_nine_megabytes_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for all functions of a large program: many separate names."""
    monkeypatch.setattr(specimens, "_DATA", 0x4000_0000)
    layout, count, width = LAYOUTS[-1], 8192, 1090
    tables = {
        "pcsp": encode([(0, 16)], layout.quantum),
        "pcfile": encode([(0, 16)], layout.quantum),
        "pcln": encode([(9, 16)], layout.quantum),
        "pcinline": b"",
    }
    functions = tuple(
        Function(
            b"main.%d" % number + b"n" * width,
            16,
            **tables,
            tree=(),
            files=(b"/f.go",),
            start_line=9,
        )
        for number in range(count)
    )
    elf = parse_elf(BytesReader(write(Specimen(layout, functions))))
    table = parse_pclntab(elf, layout.version)
    symbols = table.symbols(np.arange(table.text_start, table.text_end, 16, dtype=np.uint64))
    assert len(set(symbols.functions)) == count
    assert symbols.functions[symbols.function[-1]] == f"main.{count - 1}" + "n" * width
