"""`gotax addr2line` with invalid binaries and invalid addresses."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gotax.addr2line as addr2line_module
import pytest
from gotax.addr2line import addr2line, available_lines, open_binary
from gotax.errors import UserError
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import BytesReader, parse_elf

from tests.fuzz.bombs import make_elf
from tests.fuzz.specimens import LAYOUTS, Function, Specimen, encode, write
from tests.patience import PATIENCE_S, is_readable

HEADER = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
HEADER_32 = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack(
    "<HHIIIIIHHHHHH", 2, 3, 1, 0, 52, 0, 0, 52, 32, 0, 40, 0, 0
)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is no ELF file"),
        (b"#!/bin/sh\n", "is no ELF file"),
        (HEADER, "is cut off"),
        (HEADER_32, "32-bit or big-endian"),
        (HEADER.replace(b"\x02\x01", b"\x02\x02") + bytes(100), "32-bit or big-endian"),
    ],
)
def test_an_invalid_binary_is_one_sentence(tmp_path: Path, content: bytes, said: str) -> None:
    """With its path, and the reason as in the metrics."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said) as refusal:
        open_binary(str(path))
    assert str(path) in str(refusal.value)


def test_a_binary_packed_by_upx_is_named_as_such(tmp_path: Path) -> None:
    """UPX leaves no sections, and its l_info after the program headers."""
    info = b"\x1a\x2b\x3c\x4dUPX!\x40\x08\x0e\x16" + bytes(3000)
    path = tmp_path / "packed"
    path.write_bytes(make_elf([(1, 5, 0, 0x400000, 3000)], [], info))
    with pytest.raises(UserError, match="packed by UPX"):
        open_binary(str(path))
    path.write_bytes(make_elf([(1, 5, 0, 0x400000, 3000)], [], info.replace(b"UPX!", b"none")))
    assert not open_binary(str(path)).build


@pytest.mark.parametrize("name", ["", "missing", "\0"])
def test_a_missing_file_or_folder_is_an_error(tmp_path: Path, name: str) -> None:
    """A folder, a missing path, and an invalid path."""
    with pytest.raises(UserError):
        open_binary(f"{tmp_path}/{name}")


@pytest.mark.toolchain
@pytest.mark.parametrize("text", ["zz", "-5", "1_0", "0x", "1" * 17, "\u0663", "1 2", "+1"])
def test_an_invalid_address_is_unknown(go_binary: Callable[..., Path], text: str) -> None:
    """Python's own numbers may have underscores and non-ASCII digits."""
    binary = open_binary(str(go_binary("symbols", "1.27.3")))
    assert "".join(addr2line(binary, [text])) == f"{text}\t?\t?\t?\touter\n"


@pytest.mark.toolchain
def test_an_unknown_address_is_a_question_mark(go_binary: Callable[..., Path]) -> None:
    """Below the first function, beyond the last, and the highest address; blank lines are
    ignored."""
    binary = open_binary(str(go_binary("symbols", "1.27.3")))
    assert binary.pclntab is not None
    start = f"0x{binary.pclntab.text_start:x}"
    asked = ["0", start, "", f"{binary.pclntab.text_end + (1 << 30):x}", "F" * 16, "  0 "]
    lines = [line.split("\t") for line in "".join(addr2line(binary, asked)).splitlines()]
    assert [line[0] for line in lines] == [text.strip() for text in asked if text.strip()]
    unknown = ["?", "?", "?", "outer"]
    assert [line[1:] == unknown for line in lines] == [True, False, True, True, True]


@pytest.mark.toolchain
def test_an_invalid_line_does_not_affect_others(go_binary: Callable[..., Path]) -> None:
    """As in Go's addr2line: an answer does not depend on the other lines."""
    binary = open_binary(str(go_binary("symbols", "1.27.3")))
    assert binary.pclntab is not None
    good = f"{binary.pclntab.text_start:x}"
    alone = "".join(addr2line(binary, [good]))
    assert "?" not in alone
    unknown = "\t?\t?\t?\touter\n"
    for bad, shown in (("end", "end"), ("a\tb\x1b[2J", "a?b?[2J"), (f"{good} {good}",) * 2):
        answers = "".join(addr2line(binary, [good, bad, "0", bad, good]))
        assert answers == alone + shown + unknown + "0" + unknown + shown + unknown + alone


@contextmanager
def command(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`gotax addr2line` with a pipe on each side."""
    with subprocess.Popen(
        [sys.executable, "-m", "gotax", "addr2line", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_answer(process: subprocess.Popen[bytes], length: int) -> str:
    """Reads this many bytes; fails if they do not come."""
    assert process.stdout is not None
    answer = b""
    while len(answer) < length:
        assert is_readable(process.stdout, PATIENCE_S), f"no answer after {answer!r}"
        part = os.read(process.stdout.fileno(), length - len(answer))
        assert part, "ended"
        answer += part
    return answer.decode()


@pytest.mark.toolchain
def test_a_client_that_waits_for_each_answer_gets_it(go_binary: Callable[..., Path]) -> None:
    """As pprof uses addr2line: an address, its answer, and only then the next address."""
    path = go_binary("symbols", "1.27.3")
    binary = open_binary(str(path))
    assert binary.pclntab is not None
    with command(path) as process:
        assert process.stdin is not None
        for pc in range(binary.pclntab.text_start, binary.pclntab.text_start + 20, 7):
            process.stdin.write(f"\n{pc:#x}\n".encode())
            expected = "".join(addr2line(binary, [f"{pc:#x}"]))
            assert read_answer(process, len(expected)) == expected


@pytest.mark.toolchain
def test_many_addresses_through_a_pipe_are_each_answered_once(
    go_binary: Callable[..., Path],
) -> None:
    """More than are read at a time; the last line has no line break."""
    path = go_binary("symbols", "1.27.3")
    binary = open_binary(str(path))
    assert binary.pclntab is not None
    asked = [f"{binary.pclntab.text_start + 5 * number:x}" for number in range(70_000)]
    with command(path) as process:
        output, _ = process.communicate("\n".join(asked).encode(), timeout=PATIENCE_S)
        assert process.returncode == 0
    assert output.decode() == "".join(addr2line(binary, asked))


@pytest.mark.toolchain
def test_two_processes_give_the_same_answers(
    go_binary: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the questions, including unknown and repeated addresses."""
    binary = open_binary(str(go_binary("symbols", "1.27.3")))
    assert binary.pclntab is not None
    start = binary.pclntab.text_start
    asked = [f"{start + 7919 * number % 500_000:x}" for number in range(400)]
    asked[50:50] = ["0", "1", asked[3]]
    alone = "".join(addr2line(binary, asked))
    monkeypatch.setattr(addr2line_module, "_TWO_PROCESSES", 100)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
    assert "".join(addr2line(binary, asked)) == alone
    assert alone.count("\n") >= len(asked)


def test_a_damaged_function_does_not_affect_others(tmp_path: Path) -> None:
    """The table of one of five functions is outside the file: the other four have their lines."""
    tables = encode([(0, 1)], 1), encode([(1, 1)], 1), encode([(9, 1)], 1)
    functions = [Function(b"f%d" % n, 1, *tables, b"", (), (b"", b"file.go"), 1) for n in range(5)]
    data = bytearray(write(Specimen(LAYOUTS[-1], tuple(functions))))
    table = parse_pclntab(parse_elf(BytesReader(bytes(data))), LAYOUTS[-1].version)
    (record,) = struct.unpack_from("<I", data, table.header.functab + 8 * 3 + 4)
    struct.pack_into("<i", data, table.header.functions + record + 24, 0x7FFFFFF)  # pcln
    path = tmp_path / "damaged"
    path.write_bytes(data)
    asked = [f"{table.text_start + number:x}" for number in range(5)]
    lines = "".join(addr2line(open_binary(str(path)), asked)).splitlines()
    known = ["file.go\t9" in line for line in lines]
    assert known == [True, True, True, False, True]


def test_available_lines_are_complete_lines() -> None:
    """Wherever a write or a read ends; the last line needs no line break."""
    reading, writing = os.pipe()
    try:
        lines = available_lines(reading)
        os.write(writing, b"1\n2\n3")
        assert next(lines) == ["1", "2"]
        os.write(writing, b"4\r\n\xff\n")
        assert next(lines) == ["34\r", "\ufffd"]
        os.write(writing, b"5")
        assert next(lines) == []
        os.close(writing)
        writing = -1
        assert list(lines) == [["5"]]
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def test_an_endless_line_is_not_buffered() -> None:
    """It is too long for an address: it is passed on in parts, and refused."""
    with open("/dev/zero", "rb") as zeros:
        (line,) = next(available_lines(zeros.fileno()))
    assert len(line) < 2 << 20
