"""The files of a spool: records are only appended.

A record is, little endian::

    "GTX1"  crc32  length  epoch  sequence  unix_s  boot_s  boot   and `length` bytes
      4s     u32     u32    u64     u64       u64    u64    u64

crc32 is of all that follows it. A record is written by one call; what a killed process left half-
written fails its checksum, and the file is cut there. ``boot`` distinguishes runs of the machine,
``boot_s`` is the time since its start: setting the clock does not expire records.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from gotax.errors import UserError

_START = struct.Struct("<4sI")
_REST = struct.Struct("<IQQQQQ")
_MAGIC = b"GTX1"
_HEAD_BYTES = _START.size + _REST.size
_FILE = re.compile(r"\d{10}\.spool\Z")
_RECORD_BYTES_MAX = 16 << 20
_FILES_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Record:
    """``report`` is a complete, serialized report, compressed by zlib."""

    epoch: int
    sequence: int
    report: bytes


@dataclass(frozen=True, slots=True)
class RecordPosition:
    """The position of a record; ``length`` is that of its report."""

    file: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Found:
    """A record written by an earlier process."""

    position: RecordPosition
    epoch: int
    sequence: int
    age_s: float


class Segments:
    """A folder of these files, by number; records are appended to the last one.

    Raises UserError if the folder cannot be used, or if another agent uses it. One thread at a
    time.
    """

    def __init__(self, folder: str, file_bytes: int) -> None:
        self._folder = Path(folder)
        self._file_bytes = file_bytes
        self._boot = _boot_id()
        self._sizes: dict[int, int] = {}
        self._live: dict[int, int] = {}  # number of records that are still needed
        self._writer = -1
        self._writing = 0  # the file's number
        self._lock = -1
        self.damaged = 0
        """Files with something other than whole records at their end."""
        self.surplus = 0
        """Records of the oldest files, which went because there were too many files."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(self._folder / "lock")
            self.found = self._load()
        except OSError as error:
            raise UserError(
                f"cannot keep a spool in {folder}: {error.strerror} (--spool-dir takes another)"
            ) from error

    @property
    def size(self) -> int:
        """The size of all files, in bytes."""
        return sum(self._sizes.values())

    @property
    def files(self) -> tuple[int, ...]:
        """In the order in which they are deleted."""
        return tuple(self._sizes)

    def append(self, record: Record) -> RecordPosition:
        """After an OSError the files are as before."""
        if self._writer < 0 or self._sizes[self._writing] >= self._file_bytes:
            self._open_next()
        rest = _REST.pack(
            len(record.report),
            record.epoch,
            record.sequence,
            int(time.time()),
            _boot_s(),
            self._boot,
        )
        crc = zlib.crc32(record.report, zlib.crc32(rest))
        data = _START.pack(_MAGIC, crc) + rest + record.report
        offset = self._sizes[self._writing]
        try:
            written = os.pwrite(self._writer, data, offset)
            while written < len(data):  # the disk is nearly full, or a signal came
                more = os.pwrite(self._writer, data[written:], offset + written)
                written += more
        except OSError:
            os.ftruncate(self._writer, offset)
            raise
        self._sizes[self._writing] = offset + len(data)
        self._live[self._writing] += 1
        return RecordPosition(self._writing, offset, len(record.report))

    def read(self, position: RecordPosition) -> bytes:
        """Returns the report. Raises OSError, or ValueError if the file was changed."""
        with open(self._path(position.file), "rb", buffering=0) as file:
            size = _HEAD_BYTES + position.length
            data = os.pread(file.fileno(), size, position.offset)
        if len(data) != size or not _is_whole(data):
            raise ValueError(f"{self._path(position.file)} is damaged at {position.offset}")
        return data[_HEAD_BYTES:]

    def release(self, position: RecordPosition) -> None:
        """The record is no longer needed. A file without needed records is deleted."""
        if position.file not in self._live:
            return
        self._live[position.file] -= 1
        if self._live[position.file] > 0:
            return
        if position.file == self._writing and self._writer >= 0:
            os.ftruncate(self._writer, 0)  # the usual case: reports are acknowledged soon
            self._sizes[position.file] = 0
        else:
            self._remove(position.file)

    def discard(self, file: int) -> None:
        """Delete a file without needed records, which could not be deleted before. OSError."""
        if file != self._writing and not self._live[file]:
            self._remove(file)

    def close(self) -> None:
        for descriptor in (self._writer, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._writer = self._lock = -1

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:010d}.spool"

    def _remove(self, number: int) -> None:
        self._path(number).unlink(missing_ok=True)
        del self._sizes[number], self._live[number]

    def _open_next(self) -> None:
        number = self._writing + 1
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path(number), flags, 0o600)
        if self._writer >= 0:
            os.close(self._writer)
        full, self._writer, self._writing = self._writing, descriptor, number
        self._sizes[number] = self._live[number] = 0
        if self._live.get(full) == 0:
            self._remove(full)

    def _load(self) -> list[Found]:
        found: list[Found] = []
        names = sorted(path for path in self._folder.iterdir() if _FILE.match(path.name))
        for path in names[:-_FILES_MAX]:
            with open(path, "rb", buffering=0) as file:
                self.surplus += _count_records(file.fileno())
            path.unlink()
        for path in names[-_FILES_MAX:]:
            number = int(path.stem)
            self._writing = max(self._writing, number)
            with open(path, "r+b", buffering=0) as file:
                records, end = self._scan(file.fileno(), number)
                if os.fstat(file.fileno()).st_size > end:
                    self.damaged += 1
                    os.ftruncate(file.fileno(), end)
            if not records:
                path.unlink()
                continue
            self._sizes[number], self._live[number] = end, len(records)
            found.extend(records)
        return found

    def _scan(self, descriptor: int, number: int) -> tuple[list[Found], int]:
        """The whole records at the beginning of a file, and where they end."""
        records: list[Found] = []
        at = 0
        while head := os.pread(descriptor, _HEAD_BYTES, at):
            if len(head) < _HEAD_BYTES or not head.startswith(_MAGIC):
                break
            length, epoch, sequence, unix_s, boot_s, boot = _REST.unpack_from(head, _START.size)
            if length > _RECORD_BYTES_MAX:
                break
            data = head + os.pread(descriptor, length, at + _HEAD_BYTES)
            if len(data) != _HEAD_BYTES + length or not _is_whole(data):
                break
            age_s = _boot_s() - boot_s if boot == self._boot else time.time() - unix_s
            position = RecordPosition(number, at, length)
            records.append(Found(position, epoch, sequence, max(0.0, age_s)))
            at += len(data)
        return records, at


def _count_records(descriptor: int) -> int:
    """By their heads alone: reading that many files as a whole would take minutes."""
    count = at = 0
    while head := os.pread(descriptor, _HEAD_BYTES, at):
        if len(head) < _HEAD_BYTES or not head.startswith(_MAGIC):
            break
        length = _REST.unpack_from(head, _START.size)[0]
        if length > _RECORD_BYTES_MAX:
            break
        count += 1
        at += _HEAD_BYTES + length
    return count


def _is_whole(data: bytes) -> bool:
    magic, crc = _START.unpack_from(data)
    return bool(magic == _MAGIC and zlib.crc32(memoryview(data)[_START.size :]) == crc)


def _locked(path: Path) -> int:
    """Held while the descriptor is open: the kernel releases it when the process is killed."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise UserError(
            f"another gotax agent keeps its spool in {path.parent} (--spool-dir takes another)"
        ) from error
    return descriptor


def _boot_s() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME))


def _boot_id() -> int:
    """A random number for each boot; 0 if the kernel does not give one, and then all boots are
    equal."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:
        return 0
    return int(text.replace("-", "")[:16], 16)
