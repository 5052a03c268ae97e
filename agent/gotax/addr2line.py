"""Symbolize addresses of one file: `gotax addr2line`, for users and for oracle tests."""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Iterator, Sequence

import numpy as np

from gotax.binaries import Binary, BorrowedFile
from gotax.errors import UserError
from gotax.linux.procfs import FileId
from gotax.model import Frame

_BATCH_BYTES = 256 * 1024  # some thirty thousand addresses
_MAX_LINE_BYTES = 4096
_UNKNOWN = "?"
_ADDRESS = re.compile(r"(?:0[xX])?([0-9a-fA-F]+)")
_PROBLEMS = {
    "binary-gone": "cannot be opened: see its permissions",
    "binary-changed": "changes while it is read: try again",
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


def open_binary(path: str) -> Binary:
    """Raises UserError for what cannot be read, or is neither Go nor has symbols."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read {path}: {reason}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{path} is no regular file")
    file_id = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    binary = Binary(BorrowedFile(file_id, path), path, serial=1)
    if binary.problem:
        why = _PROBLEMS.get(binary.problem, "is damaged")
        raise UserError(f"{path} {why} ({binary.problem})")
    return binary


def available_lines(fd: int) -> Iterator[list[str]]:
    """The lines of a file, terminal, pipe or socket, as many at a time as are there already.

    Waits only while there is none: whoever writes one line gets its answer before the next one.
    What is longer than an address can be need not end to be a line.
    """
    rest = b""
    ended = False
    while not ended:
        parts = [rest]
        size = 0
        select.select([fd], [], [])
        while size < _BATCH_BYTES and select.select([fd], [], [], 0)[0]:
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
        yield [line.decode("utf-8", "replace") for line in lines]


def addr2line(binary: Binary, texts: Sequence[str]) -> Iterator[str]:
    """Per hexadecimal address one line per inline level, innermost first, tab-separated.

    address as given, function, file, line, ``inline`` or ``outer``; ``?`` for what is unknown.
    Raises UserError for what is no address, after the answers to what is before it.
    """
    texts = [text for text in map(str.strip, texts) if text]
    addresses = [_address(text) for text in texts]
    refused = addresses.index(None) if None in addresses else len(addresses)
    asked = np.array(addresses[:refused], np.uint64)
    wanted, inverse = np.unique(asked, return_inverse=True)
    found = binary.calls(wanted, with_lines=True)[0].chains
    chains = [
        _lines(chain, binary.unnamed(address))
        for address, chain in zip(wanted.tolist(), found, strict=True)
    ]
    for text, index in zip(texts[:refused], inverse.tolist(), strict=True):
        for line in chains[index]:
            yield f"{text}\t{line}"
    if refused < len(texts):
        raise UserError(f"{texts[refused][:40]!r} is no hexadecimal address")


def _address(text: str) -> int | None:
    match = _ADDRESS.fullmatch(text[:1024])
    if match is None or int(match[1], 16) >> 64:
        return None
    return int(match[1], 16)


def _lines(chain: tuple[Frame, ...], unnamed: str) -> list[str]:
    """``unnamed``: what stands for the name where there is none."""
    if chain[0].function == unnamed:
        return [f"{_UNKNOWN}\t{_UNKNOWN}\t{_UNKNOWN}\touter"]
    return [
        f"{frame.function or _UNKNOWN}\t{frame.file or _UNKNOWN}\t{frame.line or _UNKNOWN}"
        f"\t{'inline' if frame.inlined else 'outer'}"
        for frame in chain
    ]
