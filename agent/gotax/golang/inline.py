"""Inline trees: which function bodies were merged into a function.

A function with inlined calls has a tree (a FUNCDATA) and a pc-value table (a PCDATA) that gives
the tree's entry for a program counter, -1 for none. An entry names the inlined function and its
call site: since Go 1.12 as a program counter in the caller (``parent_pc``), to be looked up in
turn; before, as the parent entry with file and line.
Go: runtime/symtab.go, symtabinl.go (inlinedCall), internal/abi/symtab.go (PCDATA, FUNCDATA).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gotax.linux.elf import Reader, gather
from gotax.profile import Int64Array, UInt8Array


@dataclass(frozen=True, slots=True)
class InlineLayout:
    """Which tables to ask and where an entry keeps its fields, in bytes. None: not there."""

    pcdata: int
    funcdata: int
    entry_bytes: int
    name: int
    parent_pc: int | None = None
    start_line: int | None = None
    parent: int | None = None
    file: int | None = None
    line: int | None = None


MAX_ENTRY_BYTES = 20
GO_1_9 = InlineLayout(1, 2, 16, name=12, parent=0, file=4, line=8)
GO_1_12 = InlineLayout(1, 2, 20, name=12, parent_pc=16)
GO_1_13 = InlineLayout(2, 4, 20, name=12, parent_pc=16)  # PCDATA_RegMapIndex came between
GO_1_16 = InlineLayout(2, 3, 20, name=12, parent_pc=16)  # FUNCDATA_RegPointerMaps went away
GO_1_20 = InlineLayout(2, 3, 16, name=4, parent_pc=8, start_line=12)


@dataclass(frozen=True, slots=True)
class InlineEntries:
    """Columns of tree entries. ``parents``, ``files`` and ``lines`` are used up to Go 1.11 only."""

    names: Int64Array
    parent_pcs: Int64Array
    start_lines: Int64Array
    parents: Int64Array
    files: Int64Array
    lines: Int64Array


def read_entries(reader: Reader, offsets: Int64Array, layout: InlineLayout) -> InlineEntries:
    """The tree entries at these file offsets; 0 in columns the layout lacks."""
    return parse_entries(gather(reader, offsets, layout.entry_bytes), layout)


def parse_entries(rows: UInt8Array, layout: InlineLayout) -> InlineEntries:
    def column(at: int | None) -> Int64Array:
        if at is None:
            return np.zeros(len(rows), np.int64)
        return np.ascontiguousarray(rows[:, at : at + 4]).view("<i4")[:, 0].astype(np.int64)

    return InlineEntries(
        names=column(layout.name),
        parent_pcs=column(layout.parent_pc),
        start_lines=column(layout.start_line),
        parents=column(layout.parent),
        files=column(layout.file),
        lines=column(layout.line),
    )
