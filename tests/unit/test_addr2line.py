"""`gotax addr2line` with files that are no Go binaries, and lines that are no addresses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gotax.addr2line import addr2line, open_binary
from gotax.errors import UserError

HEADER = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no ELF file"),
        (b"#!/bin/sh\n", "is no ELF file"),
        (HEADER, "is cut off"),
        (HEADER.replace(b"\x02\x01", b"\x01\x01") + bytes(100), "32-bit or big-endian"),
        (HEADER.replace(b"\x02\x01", b"\x02\x02") + bytes(100), "32-bit or big-endian"),
    ],
)
def test_a_file_that_is_no_binary_is_told_in_a_sentence(
    tmp_path: Path, content: bytes, said: str
) -> None:
    """With its path, and the name that the metrics have for it."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as refusal:
        open_binary(str(path))
    assert str(path) in str(refusal.value)


@pytest.mark.parametrize("name", ["", "missing", "\0"])
def test_what_is_not_there_or_no_file(tmp_path: Path, name: str) -> None:
    """A folder, a path that leads nowhere, and one that no path can be."""
    with pytest.raises(UserError):
        open_binary(f"{tmp_path}/{name}")


@pytest.mark.toolchain
@pytest.mark.parametrize("text", ["zz", "-5", "1_0", "0x", "1" * 17, "\u0663", "1 2", "+1"])
def test_a_line_that_is_no_address_is_refused(go_binary: Callable[..., Path], text: str) -> None:
    """Python's own idea of a number has underscores and other people's digits."""
    binary = open_binary(str(go_binary("symbols", "1.27.3")))
    with pytest.raises(UserError, match="no hexadecimal address"):
        list(addr2line(binary, [text]))


@pytest.mark.toolchain
def test_what_has_no_name_is_a_question_mark(go_binary: Callable[..., Path]) -> None:
    """Below the first function, beyond the last, and the highest address; blank lines go."""
    binary = open_binary(str(go_binary("symbols", "1.27.3")))
    assert binary.pclntab is not None
    start = f"0x{binary.pclntab.text_start:x}"
    asked = ["0", start, "", f"{binary.pclntab.text_end + (1 << 30):x}", "F" * 16, "  0 "]
    lines = [line.split("\t") for line in addr2line(binary, asked)]
    assert [line[0] for line in lines] == [text.strip() for text in asked if text.strip()]
    unknown = ["?", "?", "?", "outer"]
    assert [line[1:] == unknown for line in lines] == [True, False, True, True, True]
