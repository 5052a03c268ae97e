"""Symbolize addresses of one file: `gotax addr2line`, for users and for oracle tests."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from gotax.binaries import Binary, BorrowedFile
from gotax.errors import UserError
from gotax.linux.procfs import FileId
from gotax.model import Frame

_BATCH = 32768
_UNKNOWN = "?"


def open_binary(path: str) -> Binary:
    """Raises UserError for what cannot be read, or is neither Go nor has symbols."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    file_id = FileId(status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
    binary = Binary(BorrowedFile(file_id, path), path, serial=1)
    if binary.problem == "elf-packed":
        raise UserError(
            f"{path} is packed by UPX, so its symbols are not in the file: upx -d unpacks"
        )
    if binary.problem:
        raise UserError(f"cannot understand {path}: {binary.problem}")
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
        chains = [_lines(chain) for chain in binary.calls(wanted, with_lines=True)[0].chains]
        for text, index in zip(batch, inverse.tolist(), strict=True):
            for line in chains[index]:
                yield f"{text}\t{line}"


def _address(text: str) -> int:
    try:
        value = int(text, 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise UserError(f"{text[:40]!r} is no hexadecimal address")
    return value


def _lines(chain: tuple[Frame, ...]) -> list[str]:
    if not chain:
        return [f"{_UNKNOWN}\t{_UNKNOWN}\t{_UNKNOWN}\touter"]
    return [
        f"{frame.function or _UNKNOWN}\t{frame.file or _UNKNOWN}\t{frame.line or _UNKNOWN}"
        f"\t{'inline' if frame.inlined else 'outer'}"
        for frame in chain
    ]
