"""Symbolize addresses of one file: `gotax addr2line`, for users and for oracle tests."""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from gotax.errors import ReadError, UserError
from gotax.forked import forked
from gotax.golang.pclntab import Pclntab, Symbols
from gotax.linux.mappings import FileId
from gotax.profile import Frame, UInt64Array
from gotax.reader.binary import ParsedBinary
from gotax.reader.opened import PASSING, BorrowedFile

_BATCH_BYTES = 1 << 20  # some hundred thousand addresses: of each function tables are read once
_MAX_LINE_BYTES = 4096
_PER_TEXT = 4096  # addresses whose lines are put together at a time
_TWO_PROCESSES = 50_000  # so many addresses are worth a second one
_UNKNOWN = "?"
_KINDS = ("outer", "inline")
_ADDRESS = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)")
_DIGITS = b"0123456789abcdefABCDEFxX"
_Texts = npt.NDArray[np.object_]
_PROBLEMS = {
    "binary-gone": "cannot be opened: see its permissions",
    "binary-changed": "changes while it is read: try again",
    "compiler-gccgo": "was built by gccgo, which keeps its symbols elsewhere: GNU addr2line reads"
    " them",
    "elf-magic": "is no ELF file",
    "elf-packed": "is packed by UPX, so its symbols are not in the file: upx -d unpacks it",
    "elf-truncated": "is cut off",
    "elf-unreadable": "cannot be read: see its permissions and the disk",
    "elf-unsupported": "is for a 32-bit or big-endian machine, and gotax reads others only",
    "pclntab-magic": "has symbols in no layout that this gotax knows: update gotax, unless the"
    " program was obfuscated (garble)",
    "pclntab-version": "does not say which Go release built it, and is too old to do without",
}
"""For people; the names are those of the metrics (docs/metrics.md)."""


def open_binary(path: str) -> ParsedBinary:
    """Raises UserError for what cannot be read, or is neither Go nor has symbols."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read {path}: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is no regular file")
    file_id = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    binary = ParsedBinary(BorrowedFile(file_id, path), path, for_processes=False)
    is_small = binary.elf is not None and binary.elf.bits != 64
    if problem := "elf-unsupported" if is_small else binary.problem:
        why = _PROBLEMS.get(problem, "is damaged")
        raise UserError(f"{path} {why} ({problem})")
    return binary


def available_lines(fd: int) -> Iterator[list[str]]:
    """The lines of a file, terminal, pipe or socket: at each step all that are available.

    Waits only if there is none, so that a client that writes one line gets its answer at once.
    A line that is too long for an address is returned before its end.
    """
    rest = b""
    ended = False
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    while not ended:
        parts = [rest]
        size = 0
        waiting.poll()
        while size < _BATCH_BYTES and waiting.poll(0):
            part = os.read(fd, _BATCH_BYTES - size)
            if not part:
                ended = True
                break
            parts.append(part)
            size += len(part)
        *lines, rest = b"".join(parts).split(b"\n")
        if ended or len(rest) > _MAX_LINE_BYTES:
            lines.append(rest)
            rest = b""
        yield b"\n".join(lines).decode("utf-8", "replace").split("\n") if lines else []


def addr2line(binary: ParsedBinary, texts: Sequence[str]) -> Iterator[str]:
    """Per hexadecimal address one line per inline level, innermost first, tab-separated.

    address as given, function, file, line, ``inline`` or ``outer``; ``?`` for what is unknown, and
    for what is no address. Many lines come as one text.
    """
    texts = [text for text in map(str.strip, texts) if text]
    asked, is_address = _addresses(texts)
    wanted, inverse = np.unique(asked, return_inverse=True)
    found = _with_unknown(_answers(binary, wanted))
    inverse[~is_address] = len(wanted)
    for number in np.flatnonzero(~is_address).tolist():  # a tab in it would be another column
        texts[number] = "".join(c if c.isprintable() else _UNKNOWN for c in texts[number])
    for low in range(0, len(asked), _PER_TEXT):
        of = inverse[low : low + _PER_TEXT]
        counts = found.counts[of]
        rows = np.repeat(found.first[of] - (np.cumsum(counts) - counts), counts)
        rows += np.arange(len(rows))
        lines = np.empty((len(rows), 4), object)
        lines[:, 0] = np.repeat(_texts(texts[low : low + len(of)]), counts)
        for number, column in enumerate((found.functions, found.files, found.tails), 1):
            lines[:, number] = column[rows]
        yield "".join(lines.ravel().tolist())


@dataclass(frozen=True, slots=True)
class _Answers:
    """Columns of lines, cut into pieces of text; each address has ``counts`` of them from ``first``
    on, and at least one."""

    functions: _Texts
    files: _Texts
    tails: _Texts
    first: npt.NDArray[np.intp]
    counts: npt.NDArray[np.intp]


def _with_unknown(found: _Answers) -> _Answers:
    """One more answer: to what is no address."""
    function, file, tail = (_texts((piece,)) for piece in _pieces(Frame(""), is_unnamed=True))
    return _Answers(
        np.append(found.functions, function),
        np.append(found.files, file),
        np.append(found.tails, tail),
        np.append(found.first, len(found.functions)),
        np.append(found.counts, 1),
    )


def _answers(binary: ParsedBinary, addresses: UInt64Array) -> _Answers:
    """What is said of each address, which is unique."""
    go = _in_go(binary, addresses)
    # What is outside Go code, or cannot be read, as ``calls`` will say.
    rest = np.flatnonzero(go.counts == 0)
    chains = binary.calls(addresses[rest], with_lines=True)[0].chains
    frames: list[tuple[str, str, str]] = []
    for number, address, chain in zip(rest.tolist(), addresses[rest].tolist(), chains, strict=True):
        go.first[number] = len(go.functions) + len(frames)
        go.counts[number] = len(chain)
        unnamed = binary.unnamed(address)
        frames += (_pieces(frame, frame.function == unnamed) for frame in chain)
    if not frames:
        return go
    functions, files, tails = map(_texts, zip(*frames, strict=True))
    return replace(
        go,
        functions=np.append(go.functions, functions),
        files=np.append(go.files, files),
        tails=np.append(go.tails, tails),
    )


def _in_go(binary: ParsedBinary, addresses: UInt64Array) -> _Answers:
    """As ``_pieces`` has them, without a Frame for each line; none outside Go code."""
    none, nowhere = _texts(()), np.zeros(len(addresses), np.intp)
    if binary.pclntab is None:
        return _Answers(none, none, none, nowhere, nowhere.copy())
    try:
        symbols = _symbols(binary.pclntab, addresses)
    except ReadError as error:
        if len(addresses) == 1 or error.reason in PASSING:
            return _Answers(none, none, none, nowhere, nowhere.copy())
        # What is damaged somewhere does not take with it what is asked beside it.
        middle = len(addresses) // 2
        halves = _in_go(binary, addresses[:middle]), _in_go(binary, addresses[middle:])
        return _one_after_the_other(*halves)
    tails, tail = np.unique(symbols.line * 2 + symbols.inlined, return_inverse=True)
    cuts = np.searchsorted(symbols.query, np.arange(len(addresses) + 1))
    return _Answers(
        _texts(f"\t{name or _UNKNOWN}\t" for name in symbols.functions)[symbols.function],
        _texts(f"{name or _UNKNOWN}\t" for name in symbols.files)[symbols.file],
        _texts(_tail(number >> 1, bool(number & 1)) for number in tails.tolist())[tail],
        cuts[:-1],
        np.diff(cuts),
    )


def _one_after_the_other(one: _Answers, other: _Answers) -> _Answers:
    return _Answers(
        np.append(one.functions, other.functions),
        np.append(one.files, other.files),
        np.append(one.tails, other.tails),
        np.append(one.first, other.first + len(one.functions)),
        np.append(one.counts, other.counts),
    )


def _symbols(table: Pclntab, addresses: UInt64Array) -> Symbols:
    """As ``table.symbols``; half of many addresses is another process's, on another CPU."""
    if len(addresses) < _TWO_PROCESSES or len(os.sched_getaffinity(0)) < 2:
        return table.symbols(addresses)
    middle = len(addresses) // 2
    with forked(partial(table.symbols, addresses[middle:])) as other:
        one = table.symbols(addresses[:middle])
        two = other()
    return Symbols(
        query=np.append(one.query, two.query + middle),
        function=np.append(one.function, two.function + len(one.functions)),
        file=np.append(one.file, two.file + len(one.files)),
        line=np.append(one.line, two.line),
        start_line=np.append(one.start_line, two.start_line),
        inlined=np.append(one.inlined, two.inlined),
        native=np.append(one.native, two.native),
        functions=one.functions + two.functions,
        files=one.files + two.files,
    )


def _pieces(frame: Frame, is_unnamed: bool) -> tuple[str, str, str]:
    """``is_unnamed``: what stands for the name says only where it is."""
    if is_unnamed:
        return f"\t{_UNKNOWN}\t", f"{_UNKNOWN}\t", _tail(0, False)
    function, file = frame.function or _UNKNOWN, frame.file or _UNKNOWN
    return f"\t{function}\t", f"{file}\t", _tail(frame.line, frame.inlined)


def _tail(line: int, inlined: bool) -> str:
    return f"{line or _UNKNOWN}\t{_KINDS[inlined]}\n"


def _texts(texts: Iterable[str]) -> _Texts:
    return np.array([*texts], object)


def _addresses(texts: list[str]) -> tuple[UInt64Array, npt.NDArray[np.bool_]]:
    """Addresses, 0 for a text that is none; and which are."""
    try:
        if not "".join(texts).encode().translate(None, _DIGITS):
            found = np.array([int(text, 16) for text in texts], np.uint64)
            return found, np.ones(len(texts), bool)
    except (ValueError, OverflowError):
        pass  # one by one
    understood = [_address(text) for text in texts]
    is_address = np.array([address is not None for address in understood], bool)
    return np.array([address or 0 for address in understood], np.uint64), is_address


def _address(text: str) -> int | None:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match[1], 16) >> 64:
        return None
    return int(match[1], 16)
