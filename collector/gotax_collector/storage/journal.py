"""Keeps the current batch on disk until it is stored.

If the process is killed during an insert, ``windows`` may have the batch and the hourly sums may
not. The next process finds the batch here and inserts the same bytes again with the same token.
ClickHouse ignores what it already has and adds what is missing.

A batch that cannot be read, or that the store can never take, is moved to the folder
``quarantine``, so that it does not stop all that follow. Its reports were not acknowledged, so the
agents send them again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_SUFFIX = ".batch"
_HEADER = 8
ENTRY_BYTES_MAX = 96 << 20
"""More than a batch can have. An older gotax wrote such a batch, and could not insert it either."""
QUARANTINE_FILES_MAX = 16
"""Older files of the quarantine are deleted."""


@dataclass(frozen=True, slots=True)
class JournaledBatch:
    """``token`` identifies the batch in the store. ``body`` has the rows to insert."""

    token: str
    body: bytes


class Journal:
    """A folder with at most one batch at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._quarantine = folder / "quarantine"
        self.quarantined = 0
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
        """The batch of an interrupted insert."""
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            try:
                size = path.stat().st_size
                data = path.read_bytes() if size <= ENTRY_BYTES_MAX else None
            except OSError as error:
                self.quarantine(path.name.removesuffix(_SUFFIX), error.strerror or "unreadable")
                continue
            if data is None:
                self.quarantine(path.name.removesuffix(_SUFFIX), f"too large: {size} bytes")
                continue
            body = data[_HEADER:]
            token = path.name.removesuffix(_SUFFIX)
            if not _is_token(token):
                self.quarantine(token, "not a name of a batch")
            elif zlib.crc32(body).to_bytes(_HEADER, "little") != data[:_HEADER]:
                self.quarantine(token, "a wrong checksum")
            else:
                return JournaledBatch(token, body)
        return None

    def quarantine(self, token: str, why: str) -> None:
        """Set the batch aside. OSError: it can be neither moved nor deleted."""
        path = self._path(token)
        self.quarantined += 1
        try:
            self._quarantine.mkdir(exist_ok=True)
            kept = sorted(self._quarantine.iterdir(), key=lambda file: file.lstat().st_mtime_ns)
            for old in kept[: max(0, len(kept) + 1 - QUARANTINE_FILES_MAX)]:
                old.unlink()
            path.rename(self._quarantine / path.name)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        log.error(
            "a batch of the journal is unusable",
            extra={"batch": token, "why": why, "folder": str(self._quarantine)},
        )

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


def _is_token(text: str) -> bool:
    return len(text) == 16 and not set(text) - set("0123456789abcdef")
