"""When a binary is read as a whole, for an agent that stores no names."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.linux.mappings import FileId
from gotax.processes.binaries import Binary, BinaryTable
from gotax.reader.asking import InProcess
from gotax.symbols.symbolizer import Symbolizer

from tests.toolchains import VERSIONS

pytestmark = pytest.mark.toolchain

_ROOM = 1 << 30


@pytest.fixture
def binary(go_binary: Callable[..., Path]) -> Binary:
    path = go_binary("gomaxprocs", VERSIONS[-1])
    status = os.stat(path)
    found = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    return BinaryTable(InProcess()).get(found, str(path), "", lambda: str(path))


@pytest.mark.parametrize(("unknown", "cost"), [(1, 512), (100, 1700)])
def test_once_the_questions_have_cost_a_quarter_as_much(
    binary: Binary, unknown: int, cost: int
) -> None:
    """A question costs as much as 500 functions of a whole binary, each address as 12."""
    symbolizer = Symbolizer("/proc", with_lines=False, with_names=False)
    known = symbolizer._binaries.of(binary)
    assert binary.table is not None
    functions = binary.table.function_count // 4
    windows = 0
    while known.whole is None:
        symbolizer._learn_whole(binary, unknown, _ROOM)
        windows += 1
        assert windows * cost < functions + cost
    assert functions <= windows * cost
    assert symbolizer._learn_whole(binary, unknown, _ROOM) == 0  # once


def test_a_program_that_shows_all_of_itself_is_read_at_once(binary: Binary) -> None:
    symbolizer = Symbolizer("/proc", with_lines=False, with_names=False)
    assert binary.table is not None
    assert symbolizer._learn_whole(binary, binary.table.function_count, 0) == 0  # no time for it
    assert symbolizer._learn_whole(binary, 1, _ROOM) > 0
    assert symbolizer._binaries.of(binary).whole is not None
