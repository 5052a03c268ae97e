"""Symbolize addresses of one file: `gotax addr2line`, for users and for oracle tests."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from gotax.binaries import Binary, BorrowedFile
from gotax.errors import UserError
from gotax.linux.procfs import FileId
from gotax.model import Frame

_BATCH = 32768
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
    "pclntab-magic": "was built by a Go release that this gotax does not know: update gotax",
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


def addr2line(binary: Binary, texts: Iterable[str]) -> Iterator[str]:
    """Per hexadecimal address one line per inline level, innermost first, tab-separated.

    address as given, function, file, line, ``inline`` or ``outer``; ``?`` for what is unknown.
    Raises UserError for what is no address.
    """
    lines = iter(texts)
    while batch := [text.strip() for text in islice(lines, _BATCH)]:
        batch = [text for text in batch if text]
        addresses = np.array([_address(text) for text in batch], np.uint64)
        wanted, inverse = np.unique(addresses, return_inverse=True)
        found = binary.calls(wanted, with_lines=True)[0].chains
        chains = [
            _lines(chain, binary.unnamed(address))
            for address, chain in zip(wanted.tolist(), found, strict=True)
        ]
        for text, index in zip(batch, inverse.tolist(), strict=True):
            for line in chains[index]:
                yield f"{text}\t{line}"


def _address(text: str) -> int:
    match = _ADDRESS.fullmatch(text[:1024])
    if match is None or int(match[1], 16) >> 64:
        raise UserError(f"{text[:40]!r} is no hexadecimal address")
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
