"""A mapped library is Go, is not, or cannot be read: the last is never taken for the second."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.errors import ParseError
from gotax.linux.mappings import FileId
from gotax.processes.binaries import BinaryTable
from gotax.reader.asking import InProcess

pytestmark = pytest.mark.toolchain
MAGIC = b"\xff Go buildinf:"


def file_id(path: Path) -> FileId:
    status = os.stat(path)
    return FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)


def changed(data: bytes, kind: str) -> bytes:
    at = data.index(MAGIC) + 15
    match kind:
        case "buildinfo-malformed":  # a length of its version that no program has
            return data[: at + 17] + b"\xff" * 16 + data[at + 33 :]
        case "elf-truncated":
            return data[:100]
        case "elf-malformed":  # of its program headers
            return data[:54] + b"\xff\x7f" + data[56:]
    return data


@pytest.mark.parametrize("reason", ["elf-truncated", "elf-malformed"])
def test_a_damaged_library_is_not_taken_for_one_that_is_not_go(
    reason: str, go_binary: Callable[..., Path], tmp_path: Path
) -> None:
    library = tmp_path / "library.so"
    library.write_bytes(changed(go_binary("symbols", "1.27.3").read_bytes(), reason))
    table = BinaryTable(InProcess())
    for _ in range(2):  # also when it is known
        with pytest.raises(ParseError, match=reason):
            table.get_go(file_id(library), str(library), "group", lambda: "library.so")


def test_a_library_with_damaged_build_info_is_go(
    go_binary: Callable[..., Path], tmp_path: Path
) -> None:
    """By its other marks."""
    library = tmp_path / "library.so"
    whole = go_binary("symbols", "1.27.3").read_bytes()
    library.write_bytes(changed(whole, "buildinfo-malformed"))
    found = BinaryTable(InProcess()).get_go(file_id(library), str(library), "group", lambda: "l.so")
    assert found is not None
    assert found.is_go


def test_a_mapped_file_that_is_no_elf_file_is_not_go(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"no ELF file" * 100)
    table = BinaryTable(InProcess())
    assert table.get_go(file_id(data), str(data), "group", lambda: "data") is None
