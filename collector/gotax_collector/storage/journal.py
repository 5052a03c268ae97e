"""Keeps the current batch on disk until it is stored.

If the process is killed during an insert, ``windows`` may have the batch and the hourly sums may
not. The next process finds the batch here and inserts the same bytes again with the same token.
ClickHouse ignores what it already has and adds what is missing.
"""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path

_SUFFIX = ".batch"
_HEADER = 8


@dataclass(frozen=True, slots=True)
class JournaledBatch:
    """``token`` identifies the batch in the store. ``body`` has the rows to insert."""

    token: str
    body: bytes


class Journal:
    """A folder with at most one batch at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob("*.part"):
            left.unlink()

    def write(self, entry: JournaledBatch) -> None:
        """Write the batch and sync it to disk. OSError."""
        path = self._path(entry.token)
        part = path.with_suffix(".part")
        checksum = zlib.crc32(entry.body).to_bytes(_HEADER, "little")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(checksum)
                file.write(entry.body)
                file.flush()
                os.fsync(file.fileno())
            os.rename(part, path)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        self._sync()

    def read(self) -> JournaledBatch | None:
        """The batch of an interrupted insert. Incomplete files are removed: no insert used them."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            data = path.read_bytes()
            body = data[_HEADER:]
            if zlib.crc32(body).to_bytes(_HEADER, "little") == data[:_HEADER]:
                return JournaledBatch(path.name.removesuffix(_SUFFIX), body)
            path.unlink()
        return None

    def remove(self, entry: JournaledBatch) -> None:
        self._path(entry.token).unlink(missing_ok=True)

    def _path(self, token: str) -> Path:
        return self._folder / f"{token}{_SUFFIX}"

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
