"""Spool and journal as files of their own and on sqlite3: time, disk and memory, in turns.

``python -m bench.spools``. The sqlite3 versions are prototypes behind the same interfaces. Each
round runs every candidate once, in a new order; the table has the medians of the rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gotax.errors import UserError
from gotax.exporters.stream import segments, spool
from gotax.exporters.stream.segments import Found, Record, RecordPosition, Segments
from gotax.exporters.stream.spool import Bounds, Spool
from gotax_collector.storage.journal import Journal, JournaledBatch

_NAME = "records.sqlite"
_SIGN = 1 << 63


class SqliteSegments:
    """``Segments`` on sqlite3. Each record is a "file" of its own: the bound is exact."""

    journal_mode = "wal"
    synchronous = "normal"
    page_size = 4096
    surplus = 0

    def __init__(self, folder: str, file_bytes: int) -> None:
        del file_bytes
        self._folder = Path(folder)
        self._boot = segments._boot_id()
        self._lock = -1
        self.damaged = 0
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = segments._locked(self._folder / "lock")
            self._database, self.found = self._opened()
        except OSError as error:
            raise UserError(
                f"cannot keep a spool in {folder}: {error.strerror} (--spool-dir takes another)"
            ) from error

    def _opened(self) -> tuple[sqlite3.Connection, list[Found]]:
        path = self._folder / _NAME
        for attempt in range(2):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            os.close(os.open(path, flags, 0o600))  # sqlite3 gives -wal and -shm the same mode
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                self._prepare(database)
                return database, self._load(database)
            except sqlite3.DatabaseError as error:
                database.close()
                if attempt:
                    raise OSError(5, str(error)) from error
                self.damaged += 1
                for part in self._folder.glob(f"{_NAME}-*"):
                    part.unlink()
                path.rename(path.with_suffix(".damaged"))
        raise AssertionError

    def _prepare(self, database: sqlite3.Connection) -> None:
        for pragma in (
            "trusted_schema=off",
            "cell_size_check=on",
            "locking_mode=exclusive",
            f"page_size={self.page_size}",
            "auto_vacuum=incremental",
            f"journal_mode={self.journal_mode}",
            f"synchronous={self.synchronous}",
            "journal_size_limit=0",
        ):
            database.execute(f"pragma {pragma}")
        database.execute(
            "create table if not exists records (id integer primary key autoincrement, crc integer,"
            " epoch integer, sequence integer, unix_s integer, boot_s integer, boot integer,"
            " report blob)"
        )

    def _load(self, database: sqlite3.Connection) -> list[Found]:
        found = []
        broken = []
        rows = database.execute("select * from records order by id")
        for number, crc, epoch, sequence, unix_s, boot_s, boot, report in rows:
            if zlib.crc32(report) != crc:
                self.damaged += 1
                broken.append(number)
                continue
            is_same = boot + _SIGN == self._boot
            age_s = segments._boot_s() - boot_s if is_same else time.time() - unix_s
            position = RecordPosition(number, 0, len(report))
            found.append(Found(position, epoch + _SIGN, sequence, max(0.0, age_s)))
        for number in broken:
            database.execute("delete from records where id = ?", (number,))
        return found

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"pragma {name}").fetchone()[0])

    @property
    def size(self) -> int:
        if self.oldest is None:
            return 0
        used = self._pragma("page_count") - self._pragma("freelist_count")
        return used * self._pragma("page_size")

    @property
    def oldest(self) -> int | None:
        number = self._database.execute("select min(id) from records").fetchone()[0]
        return None if number is None else int(number)

    def append(self, record: Record) -> RecordPosition:
        values = (
            zlib.crc32(record.report),
            record.epoch - _SIGN,
            record.sequence,
            int(time.time()),
            segments._boot_s(),
            self._boot - _SIGN,
            record.report,
        )
        with _as_os_error():
            cursor = self._database.execute(
                "insert into records (crc, epoch, sequence, unix_s, boot_s, boot, report)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        return RecordPosition(cursor.lastrowid or 0, 0, len(record.report))

    def read(self, position: RecordPosition) -> bytes:
        with _as_os_error():
            row = self._database.execute(
                "select crc, report from records where id = ?", (position.file,)
            ).fetchone()
        if row is None or zlib.crc32(row[1]) != row[0]:
            raise ValueError(f"record {position.file} is damaged")
        return bytes(row[1])

    def release(self, position: RecordPosition) -> None:
        with _as_os_error():
            self._database.execute("delete from records where id = ?", (position.file,))
            # Pages are used again. The file shrinks once a quarter of a file of today's is free.
            if self._pragma("freelist_count") > 256:
                # ``execute`` would free one page.
                self._database.executescript("pragma incremental_vacuum")

    def close(self) -> None:
        self._database.close()
        if self._lock >= 0:
            os.close(self._lock)
        self._lock = -1


class SqliteJournal:
    """``Journal`` on sqlite3."""

    journal_mode = "wal"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "journal.sqlite"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        for pragma in (
            "trusted_schema=off",
            f"journal_mode={self.journal_mode}",
            "synchronous=full",
            "journal_size_limit=0",
        ):
            self._database.execute(f"pragma {pragma}")
        self._database.execute(
            "create table if not exists batches (token text primary key, crc integer, body blob)"
        )

    def write(self, entry: JournaledBatch) -> None:
        with _as_os_error():
            self._database.execute(
                "insert or replace into batches values (?, ?, ?)",
                (entry.token, zlib.crc32(entry.body), entry.body),
            )

    def read(self) -> JournaledBatch | None:
        for token, crc, body in self._database.execute("select * from batches order by token"):
            if zlib.crc32(body) == crc:
                return JournaledBatch(token, body)
            self._database.execute("delete from batches where token = ?", (token,))
        return None

    def remove(self, entry: JournaledBatch) -> None:
        self._database.execute("delete from batches where token = ?", (entry.token,))

    def close(self) -> None:
        self._database.close()


@contextlib.contextmanager
def _as_os_error() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise OSError(5, str(error)) from error


def variant(journal_mode: str, synchronous: str, page: int = 4096) -> type[SqliteSegments]:
    settings = {"journal_mode": journal_mode, "synchronous": synchronous, "page_size": page}
    return type("Variant", (SqliteSegments,), settings)


SPOOLS: dict[str, type[Segments] | type[SqliteSegments]] = {
    "files (today)": Segments,
    "sqlite3 wal, sync off": variant("wal", "off"),
    "sqlite3 wal, sync normal": variant("wal", "normal"),
    "sqlite3 wal, sync full": variant("wal", "full"),
    "sqlite3 truncate, sync off": variant("truncate", "off"),
    "sqlite3 wal, off, 16 kB pages": variant("wal", "off", 16384),
}
JOURNALS: dict[str, Callable[[Path], Journal | SqliteJournal]] = {
    "files (today)": Journal,
    "sqlite3 wal, sync full": SqliteJournal,
    "sqlite3 delete, sync full": type("Rollback", (SqliteJournal,), {"journal_mode": "delete"}),
}


@dataclass
class Cost:
    """Of one run, per record where ``records`` is not 1."""

    wall_us: float
    cpu_us: float
    written_kb: float


@contextlib.contextmanager
def costed(into: list[Cost], records: int = 1) -> Iterator[None]:
    wall, cpu, written = time.perf_counter(), time.process_time(), _written()
    yield
    cpu = (time.process_time() - cpu) / records * 1e6
    wall = (time.perf_counter() - wall) / records * 1e6
    into.append(Cost(wall, cpu, (_written() - written) / records / 1000))


def _written() -> int:
    """Bytes that this process caused to be written: dirtied pages, also of files deleted since."""
    for line in Path("/proc/self/io").read_text().splitlines():
        if line.startswith("write_bytes"):
            return int(line.split()[1])
    return 0


def on_disk(folder: Path) -> float:
    return sum(path.stat().st_blocks * 512 for path in folder.iterdir()) / 1e6


Results = dict[str, dict[str, list[Cost]]]  # by what, by candidate
Sizes = dict[str, dict[str, list[float]]]


def run_spool(name: str, folder: Path, results: Results, sizes: Sizes) -> None:
    def of(what: str) -> list[Cost]:
        return results.setdefault(what, {}).setdefault(name, [])

    def size(what: str) -> None:
        sizes.setdefault(what, {}).setdefault(name, []).append(on_disk(here))

    setattr(spool, "Segments", SPOOLS[name])  # noqa: B010
    for kilobytes, count in ((20, 300), (200, 60)):
        here = folder / f"{kilobytes}"
        reports = [os.urandom(kilobytes * 1000) for _ in range(16)]
        held = Spool(str(here), Bounds(256 << 20, 1e9))
        with costed(of(f"append {kilobytes} kB"), count):
            for sequence in range(count):
                held.append(Record(7, sequence, reports[sequence % 16]))
        size(f"disk, {count} x {kilobytes} kB")
        held.close()
        with costed(of(f"open with {count} x {kilobytes} kB")):
            held = Spool(str(here), Bounds(256 << 20, 1e9))
        with costed(of(f"read {kilobytes} kB"), count):
            for number in range(1, count + 1):
                assert held.read(number)
        with costed(of(f"acknowledge {kilobytes} kB of a backlog"), count):
            for number in range(1, count + 1):
                held.settle(number)
        size(f"disk, {count} x {kilobytes} kB acknowledged")
        with costed(of(f"append and acknowledge {kilobytes} kB"), count):
            for sequence in range(count):
                held.append(Record(7, sequence, reports[sequence % 16]))
                held.settle(count + 1 + sequence)
        held.close()
        here = folder / f"full{kilobytes}"
        bound = 8 << 20
        held = Spool(str(here), Bounds(bound, 1e9))
        for sequence in range(bound // (kilobytes * 1000) + 1):
            held.append(Record(7, sequence, reports[sequence % 16]))
        with costed(of(f"append {kilobytes} kB to a full spool"), count):
            for sequence in range(count):
                held.append(Record(7, sequence, reports[sequence % 16]))
        size(f"disk, full with 8.4 MB of {kilobytes} kB")
        held.close()


def run_journal(name: str, folder: Path, results: Results, sizes: Sizes) -> None:
    for kilobytes, count in ((200, 20), (4000, 6)):
        here = folder / f"journal{kilobytes}"
        journal = JOURNALS[name](here)
        bodies = [os.urandom(kilobytes * 1000) for _ in range(4)]
        costs = results.setdefault(f"write and remove {kilobytes} kB", {}).setdefault(name, [])
        with costed(costs, count):
            for number in range(count):
                entry = JournaledBatch(f"{number:016x}", bodies[number % 4])
                journal.write(entry)
                journal.remove(entry)
        found = sizes.setdefault(f"disk after {count} x {kilobytes} kB", {})
        found.setdefault(name, []).append(on_disk(here))
        if isinstance(journal, SqliteJournal):
            journal.close()


MEMORY = """
import sys, time
import gotax.exporters.stream.spool
def kb():
    return int(next(l for l in open("/proc/self/smaps_rollup") if l.startswith("Rss")).split()[1])
before, started = kb(), time.process_time()
import sqlite3
imported, ms = kb(), (time.process_time() - started) * 1e3
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("pragma journal_mode=wal")
database.execute("create table records (id integer primary key, report blob)")
for _ in range(200):
    database.execute("insert into records (report) values (randomblob(20000))")
print(imported - before, kb() - before, ms)
"""


def memory(folder: Path) -> tuple[float, float, float]:
    """kB of importing sqlite3, and with a database in use; ms of importing it."""
    command = [sys.executable, "-c", MEMORY, str(folder / "memory.sqlite")]
    first, second, third = subprocess.check_output(command, text=True).split()
    return float(first), float(second), float(third)


def damage(folder: Path, cuts: bool, records: int = 50, flips: int = 60) -> dict[str, list[int]]:
    """How many of the records are still there after one bit was changed at a random place, or
    the file was cut there."""
    found: dict[str, list[int]] = {}
    for name in ("files (today)", "sqlite3 wal, sync normal"):
        setattr(spool, "Segments", SPOOLS[name])  # noqa: B010
        whole = folder / name.replace(" ", "-")
        held = Spool(str(whole), Bounds(16 << 20, 1e9))
        report = os.urandom(20_000)
        for sequence in range(records):
            held.append(Record(7, sequence, report))
        held.close()
        (path,) = [p for p in whole.iterdir() if p.suffix in (".spool", ".sqlite")]
        data = path.read_bytes()
        draw = random.Random(7)
        for flip in range(flips):
            here = folder / f"{whole.name}-{flip}"
            here.mkdir()
            changed = bytearray(data)
            place = draw.randrange(len(data))
            changed[place] ^= 1 << draw.randrange(8)
            if cuts:
                del changed[place:]
            (here / path.name).write_bytes(changed)
            again = Spool(str(here), Bounds(16 << 20, 1e9))
            kept = 0
            for number in range(1, again.records + 1):
                record = again.read(number)
                assert record is None or record.report == report
                kept += record is not None
            assert kept == records or again.dropped
            again.close()
            found.setdefault(name, []).append(kept)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", help="where; the file system is what is measured")
    options = parser.parse_args()
    results: Results = {}
    journal_results: Results = {}
    sizes: Sizes = {}
    memories = []
    with tempfile.TemporaryDirectory(dir=options.folder) as text:
        folder = Path(text)
        for number in range(options.rounds):
            for name in random.Random(number).sample(sorted(SPOOLS), len(SPOOLS)):
                run_spool(name, _new(folder), results, sizes)
            for name in random.Random(number).sample(sorted(JOURNALS), len(JOURNALS)):
                run_journal(name, _new(folder), journal_results, sizes)
            memories.append(memory(_new(folder)))
        damaged = {
            "one changed bit": damage(_new(folder), cuts=False),
            "a cut": damage(_new(folder), cuts=True),
        }
    print(f"sqlite3 {sqlite3.sqlite_version}, {options.rounds} rounds, medians")
    for title, found in (("spool", results), ("journal", journal_results)):
        for what, by_name in found.items():
            print(f"\n{title}: {what}")
            for name, costs in sorted(by_name.items()):
                wall = statistics.median(cost.wall_us for cost in costs)
                cpu = statistics.median(cost.cpu_us for cost in costs)
                written = statistics.median(cost.written_kb for cost in costs)
                print(f"  {name:30}{wall:12.0f} us {cpu:10.0f} us CPU {written:10.0f} kB written")
    for what, by_size in sizes.items():
        print(f"\n{what}")
        for name, each in sorted(by_size.items()):
            print(f"  {name:30}{statistics.median(each):12.2f} MB")
    imported, used, took = (statistics.median(each) for each in zip(*memories, strict=True))
    print(f"\nsqlite3: {imported:.0f} kB to import, {used:.0f} kB in use, {took:.1f} ms CPU")
    for what, kept in damaged.items():
        for name, left in kept.items():
            mean, least, none = statistics.mean(left), min(left), left.count(0)
            print(
                f"records of 50 left after {what}: {name}: mean {mean:.1f}, least {least},"
                f" none {none} of {len(left)} times"
            )
    return 0


def _new(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))


if __name__ == "__main__":
    sys.exit(main())
