"""Reports that no collector has stored yet, in order of arrival, on disk or in memory. Bounded.

Without a folder the reports are in memory, and a restart loses them. With a folder they are in
files while the disk has room; a few more wait in memory. All that is dropped is counted, by reason.
The acknowledged records are known in memory only: after a restart, those in files that still exist
are sent again, and the collector's store recognises them. A power failure may lose the newest
records, because nothing is synced.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from gotax.errors import UserError
from gotax.exporters.stream.segments import Record, RecordPosition, Segments

FULL, AGE, DISK, KILLED, DAMAGED = "spool-full", "spool-age", "disk-full", "killed", "damaged"

RECORDS_MAX = 20_000
"""The data about a record takes about 300 bytes of memory."""
MEMORY_BYTES = 4 << 20
"""Of reports in memory: all without a folder, otherwise those for which the disk has no room."""
_FILES = 16
"""A full spool has about this many files. It drops one file at a time."""
_FILE_BYTES_MIN, _FILE_BYTES_MAX = 64 << 10, 4 << 20
_COUNTER = struct.Struct("<8sQQ")
_COUNTER_MAGIC = b"gotaxsp1"
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Bounds:
    """``bytes``: limit for the files."""

    bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class _QueuedReport:
    """The data about a record. ``report`` is None if it is on disk."""

    epoch: int
    sequence: int
    born_s: float  # monotonic
    position: RecordPosition | None
    report: bytes | None


class WindowCounter:
    """Counts published windows, and those sent or dropped, in a page of a file.

    Each published window is counted here first, without a system call. So the next process knows
    how many windows a killed process lost.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Writing to a page for which the disk has no room would kill the process (SIGBUS).
            os.posix_fallocate(descriptor, 0, _PAGE)
            self._page = mmap.mmap(descriptor, _PAGE)
        finally:
            os.close(descriptor)
        magic, self.published, self.settled = _COUNTER.unpack_from(self._page)
        if magic != _COUNTER_MAGIC or self.settled > self.published:
            self.published = self.settled = 0
            _COUNTER.pack_into(self._page, 0, _COUNTER_MAGIC, 0, 0)

    def publish(self) -> None:
        self.published += 1
        struct.pack_into("<Q", self._page, 8, self.published)

    def settle(self, count: int = 1) -> None:
        self.settled += count
        struct.pack_into("<Q", self._page, 16, self.settled)

    def close(self) -> None:
        self._page.close()


class Spool:
    """Records have numbers, from 1. Use it from one thread, except for ``count_published``.

    Raises UserError if the folder cannot be used, or if another agent uses it.
    """

    def __init__(self, folder: str, bounds: Bounds) -> None:
        self.dropped: Counter[str] = Counter()
        self.errors = 0
        self._bounds = bounds
        self._entries: dict[int, _QueuedReport] = {}
        self._last = 0
        self._memory_bytes = 0
        self._segments: Segments | None = None
        self._counter: WindowCounter | None = None
        if folder:
            share = bounds.bytes // _FILES
            self._segments = Segments(folder, min(max(share, _FILE_BYTES_MIN), _FILE_BYTES_MAX))
            self._counter = _opened_counter(Path(folder))
            self._adopt(self._segments)

    def _adopt(self, segments: Segments) -> None:
        """Reads the records of earlier processes."""
        now = time.monotonic()
        for found in segments.found:
            born_s = now - found.age_s
            self._add(_QueuedReport(found.epoch, found.sequence, born_s, found.position, None))
        segments.found = []
        if segments.damaged:
            self.dropped[DAMAGED] += segments.damaged
        if segments.surplus:
            self.dropped[FULL] += segments.surplus
        if self._counter and (lost := self._counter.published - self._counter.settled):
            self.dropped[KILLED] += lost
            self._counter.settle(lost)
        self._trim()

    @property
    def records(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """In files and in memory, in bytes."""
        return self._memory_bytes + (self._segments.size if self._segments else 0)

    def count_published(self) -> None:
        """Counts a new window. Call it from one thread; this need not be the spool's."""
        if self._counter:
            self._counter.publish()

    def append(self, record: Record) -> None:
        """Keeps the report of a counted window; drops older ones if there is no room."""
        now = time.monotonic()
        position = None
        if self._segments:
            try:
                position = self._segments.append(record)
            except OSError:
                self.errors += 1  # no room or no disk: memory has a little
        report = record.report if position is None else None
        self._add(_QueuedReport(record.epoch, record.sequence, now, position, report))
        if position:
            self._settle_window()
        self._trim()

    def discard(self, reason: str) -> None:
        """Counts a window that gets no report."""
        self.dropped[reason] += 1
        self._settle_window()

    def after(self, number: int) -> int | None:
        """The first number above ``number`` that is still kept."""
        first = next(iter(self._entries), None)
        if first is None:
            return None
        for candidate in range(max(number + 1, first), self._last + 1):
            if candidate in self._entries:
                return candidate
        return None

    def read(self, number: int) -> Record | None:
        """None if it could not be read; then it is dropped."""
        entry = self._entries[number]
        report = entry.report
        if report is None:
            assert self._segments
            assert entry.position
            try:
                report = self._segments.read(entry.position)
            except (OSError, ValueError):
                self.drop(number, DAMAGED)
                return None
        return Record(entry.epoch, entry.sequence, report)

    def settle(self, number: int) -> None:
        """A collector has stored the record. Does nothing for a number that is not kept any
        more."""
        entry = self._entries.pop(number, None)
        if entry is None:
            return
        if entry.report is not None:
            self._memory_bytes -= len(entry.report)
            self._settle_window()  # up to here, a kill would have lost it
        elif self._segments and entry.position:
            try:
                self._segments.release(entry.position)
            except OSError:
                self.errors += 1  # the file stays; after a restart its records are sent again

    def drop(self, number: int, reason: str) -> None:
        if number in self._entries:
            self.dropped[reason] += 1
            self.settle(number)

    def retry(self) -> None:
        """Moves reports from memory to disk, if there is room now."""
        if not self._segments or not self._memory_bytes:
            return
        waiting = [number for number, entry in self._entries.items() if entry.report is not None]
        for number in waiting:
            entry = self._entries[number]
            report = entry.report or b""
            try:
                position = self._segments.append(Record(entry.epoch, entry.sequence, report))
            except OSError:
                return
            self._entries[number] = replace(entry, position=position, report=None)
            self._memory_bytes -= len(report)
            self._settle_window()
        self._trim()

    def expire(self) -> None:
        """Drops records that are too old."""
        born_s = time.monotonic() - self._bounds.age_s
        while self._entries:
            number, entry = next(iter(self._entries.items()))
            if entry.born_s >= born_s:
                return
            self.drop(number, AGE)

    def close(self) -> None:
        if self._segments:
            self._segments.close()
        if self._counter:
            self._counter.close()
        self._segments = self._counter = None

    def _add(self, entry: _QueuedReport) -> None:
        self._last += 1
        self._entries[self._last] = entry
        self._memory_bytes += len(entry.report or b"")

    def _settle_window(self) -> None:
        if self._counter:
            self._counter.settle()

    def _trim(self) -> None:
        while len(self._entries) > RECORDS_MAX:
            self.drop(next(iter(self._entries)), FULL)
        if self._segments and self._segments.size > self._bounds.bytes:
            for file in self._segments.files:
                self._drop_file(self._segments, file)
                if self._segments.size <= self._bounds.bytes:
                    break
        reason = DISK if self._segments else FULL
        while self._memory_bytes > min(MEMORY_BYTES, self._bounds.bytes):
            in_memory = (n for n, entry in self._entries.items() if entry.report is not None)
            self.drop(next(in_memory), reason)

    def _drop_file(self, segments: Segments, file: int) -> None:
        """The file stays on a disk that takes no change. It is removed when the disk does again."""
        numbers = [n for n, e in self._entries.items() if e.position and e.position.file == file]
        for number in numbers:
            self.drop(number, FULL)
        if not numbers:
            try:
                segments.discard(file)
            except OSError:
                self.errors += 1


def _opened_counter(folder: Path) -> WindowCounter | None:
    """None if the disk is full and has no room for the page."""
    try:
        return WindowCounter(folder / "ledger")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return None
        raise UserError(
            f"cannot keep a spool in {folder}: {error.strerror} (--spool-dir takes another)"
        ) from error
