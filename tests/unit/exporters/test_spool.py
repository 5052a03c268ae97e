"""The spool is bounded, checksummed, and survives kill -9."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gotax.errors import UserError
from gotax.exporters.stream import segments, spool
from gotax.exporters.stream.segments import Record
from gotax.exporters.stream.spool import Bounds, Spool
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.patience import PATIENCE_S

BOUNDS = Bounds(1 << 20, 3600)
FOREVER = Bounds(1 << 40, 1e9)


def record(sequence: int, size: int = 100) -> Record:
    return Record(7, sequence, bytes([sequence % 251]) * size)


def contents(held: Spool) -> list[int]:
    """Sequence numbers, in order; checks the bytes of each."""
    found, number = [], 0
    while (after := held.after(number)) is not None:
        number = after
        kept = held.read(number)
        if kept is not None:
            assert kept == record(kept.sequence, len(kept.report))
            found.append(kept.sequence)
    return found


def filled(folder: Path, *sequences: int, size: int = 100) -> Spool:
    held = Spool(str(folder), FOREVER)
    for sequence in sequences:
        held.append(record(sequence, size))
    return held


@pytest.fixture(params=["disk", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "spool") if request.param == "disk" else ""


def test_records_keep_their_order_and_are_removed_when_settled(where: str) -> None:
    """In any order; the numbers of the others do not change."""
    held = Spool(where, BOUNDS)
    for sequence in (1, 2, 3):
        held.append(record(sequence))
    assert contents(held) == [1, 2, 3]
    held.settle(2)
    held.settle(2)
    assert contents(held) == [1, 3]
    held.settle(1)
    held.settle(3)
    assert (contents(held), held.records, held.size) == ([], 0, 0)
    held.append(record(4))
    assert contents(held) == [4]


def test_the_oldest_records_are_dropped_above_the_byte_limit(where: str) -> None:
    """Dropped and kept records add up, and the limit holds at all times."""
    held = Spool(where, BOUNDS)
    for sequence in range(1, 201):
        held.append(record(sequence, 20_000))
        assert held.size <= BOUNDS.bytes + 25_000
    kept = contents(held)
    assert kept == list(range(201 - len(kept), 201))
    assert len(kept) >= 25
    assert held.dropped == {"spool-full": 200 - len(kept)}


def test_the_number_of_records_is_limited_too(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data about each record takes memory."""
    monkeypatch.setattr(spool, "RECORDS_MAX", 10)
    held = Spool(where, BOUNDS)
    for sequence in range(1, 15):
        held.append(record(sequence))
    assert contents(held) == list(range(5, 15))
    assert held.dropped == {"spool-full": 4}


def test_old_records_expire(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the monotonic clock."""
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    held = Spool(where, Bounds(1 << 20, 60))
    held.append(record(1))
    now = 1050
    held.append(record(2))
    held.expire()
    assert contents(held) == [1, 2]
    now = 1061
    held.expire()
    assert contents(held) == [2]
    assert held.dropped == {"spool-age": 1}


def test_a_restart_finds_the_records_that_were_not_settled(tmp_path: Path) -> None:
    """With their old epoch and sequence numbers. A file with some settled records is read whole."""
    held = filled(tmp_path, 1, 2, 3)
    held.settle(1)
    held.close()
    again = Spool(str(tmp_path), BOUNDS)
    assert contents(again) == [1, 2, 3]  # 1 is sent twice: the store recognises it
    assert not again.dropped


def test_a_file_is_deleted_when_all_its_records_are_settled(tmp_path: Path) -> None:
    """The space on disk is freed file by file."""
    held = Spool(str(tmp_path), Bounds(1 << 20, 3600))  # files of 64 KiB
    for sequence in range(1, 31):
        held.append(record(sequence, 10_000))
    assert len(list(tmp_path.glob("*.spool"))) == 5
    for number in range(1, 29):
        held.settle(number)
    assert len(list(tmp_path.glob("*.spool"))) == 1
    held.close()
    assert contents(Spool(str(tmp_path), BOUNDS)) == [29, 30]


def test_files_beyond_their_bound_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest of ten thousand files were passed over: their records were neither sent, nor
    counted, nor deleted, nor a part of the spool's size."""
    monkeypatch.setattr(spool, "_FILE_BYTES_MIN", 1)
    held = filled(tmp_path, *range(1, 10))
    monkeypatch.setattr(held._segments, "_file_bytes", 500)  # three records a file
    for sequence in range(10, 22):
        held.append(record(sequence))
    held.close()
    files = sorted(tmp_path.glob("*.spool"))
    monkeypatch.setattr(segments, "_FILES_MAX", 3)
    again = Spool(str(tmp_path), FOREVER)
    kept = contents(again)
    assert kept == list(range(kept[0], 22))
    assert again.dropped == {"spool-full": 21 - len(kept)}
    assert sorted(tmp_path.glob("*.spool")) == files[-3:]
    assert again.size == sum(file.stat().st_size for file in files[-3:])
    again.close()
    assert not Spool(str(tmp_path), FOREVER).dropped


@pytest.mark.parametrize("damage", [b"", b"GTX1", b"garbage" * 20, b"GTX1" + b"\xff" * 60])
def test_a_file_beyond_the_bound_may_be_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    """What is whole at its beginning is counted."""
    held = filled(tmp_path, 1, 2)
    held.close()
    (file,) = tmp_path.glob("*.spool")
    with file.open("ab") as end:
        end.write(damage)
    filled(tmp_path, 3).close()
    monkeypatch.setattr(segments, "_FILES_MAX", 1)
    again = Spool(str(tmp_path), BOUNDS)
    assert contents(again) == [3]
    assert again.dropped["spool-full"] == 2


def test_setting_the_clock_forward_expires_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one boot, the time since then counts: a step of the clock drops no window."""
    held = filled(tmp_path, 1)
    held.close()
    real = __import__("time").time
    monkeypatch.setattr("time.time", lambda: real() + 1e6)
    again = Spool(str(tmp_path), Bounds(1 << 20, 60))
    again.expire()
    assert contents(again) == [1]
    again.close()
    # another boot: only the wall clock is left
    monkeypatch.setattr(segments, "_boot_id", lambda: 1)
    later = Spool(str(tmp_path), Bounds(1 << 20, 60))
    later.expire()
    assert contents(later) == []
    assert later.dropped == {"spool-age": 1}


@settings(max_examples=60, deadline=None)
@given(
    cut=st.integers(0, 500), flip=st.none() | st.tuples(st.integers(0, 440), st.integers(1, 255))
)
def test_a_damaged_file_gives_the_records_before_the_damage(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flip: tuple[int, int] | None
) -> None:
    """Cut at any byte, or with any byte changed: only whole records are read."""
    folder = tmp_path_factory.mktemp("spool")
    filled(folder, 1, 2, 3).close()
    (path,) = folder.glob("*.spool")
    data = bytearray(path.read_bytes())
    size = len(data) // 3
    end = max(0, len(data) - cut)
    intact = min(end, flip[0] if flip and flip[0] < end else end) // size
    if flip and flip[0] < len(data):
        data[flip[0]] ^= flip[1]
    path.write_bytes(data[:end])
    again = Spool(str(folder), BOUNDS)
    assert contents(again) == list(range(1, intact + 1))
    assert again.dropped["damaged"] == (1 if end and end != intact * size else 0)
    again.append(record(9))
    assert contents(again)[-1] == 9


def test_damage_at_run_time_is_found_by_the_checksum(tmp_path: Path) -> None:
    """A record that changed on disk is dropped, and not sent."""
    held = filled(tmp_path, 1, 2)
    (path,) = tmp_path.glob("*.spool")
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)
    assert contents(held) == [2]
    assert held.dropped == {"damaged": 1}


FULL_DISK = """
import sys
from pathlib import Path
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.exporters.stream.segments import Record
held = Spool(sys.argv[1], Bounds(64 << 20, 3600))
for sequence in range(1, 101):
    held.count_published()
    held.append(Record(7, sequence, bytes([sequence]) * 100_000))
found, number = [], 0
while (number := held.after(number) or 0):
    kept = held.read(number)
    assert kept.report == bytes([kept.sequence]) * 100_000
    found.append(kept.sequence)
print(found, dict(held.dropped), held.errors > 0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_survived(tmp_path: Path) -> None:
    """2 MB of disk for 10 MB: 4 MB of the rest wait in memory, and the others are counted."""
    script = 'mount -t tmpfs -o size=2m none "$1" && "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable]
    done = subprocess.run([*command, FULL_DISK], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    found, dropped, failed = eval(done.stdout.replace(" {", ", {").replace("} ", "}, "))
    assert failed
    assert set(dropped) == {"disk-full"}
    assert len(found) + dropped["disk-full"] == 100
    assert 55 <= len(found) <= 62
    assert found[:15] == list(range(1, 16))
    assert found[-30:] == list(range(71, 101))


def test_the_agent_starts_without_room_for_the_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only windows lost by a kill are then not counted."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    held = Spool(str(tmp_path), BOUNDS)
    held.count_published()
    held.append(record(1))
    assert contents(held) == [1]


def test_a_file_that_cannot_be_deleted_does_not_stop_the_spool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full spool deleted its oldest file again and again, and the thread never came back. Newer
    files go in its place, and it goes once it can."""
    held = Spool(str(tmp_path), Bounds(256 << 10, 3600))
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "0000000001.spool":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlink(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        for sequence in range(1, 21):
            held.count_published()
            held.append(Record(7, sequence, bytes(40_000)))
        assert held.size <= 256 << 10
        assert held.errors > 0
        assert (tmp_path / "0000000001.spool").exists()
    for sequence in range(21, 31):
        held.count_published()
        held.append(Record(7, sequence, bytes(40_000)))
    assert not (tmp_path / "0000000001.spool").exists()
    assert held.records + held.dropped["spool-full"] == 30
    held.close()


KILLED = """
import os, sys, signal
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.exporters.stream.segments import Record
held = Spool(sys.argv[1], Bounds(1 << 20, 3600))
held.count_published()
held.append(Record(7, 1, b"\\1" * 100))
held.count_published()
held.count_published()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_windows_lost_by_a_kill_are_counted_by_the_next_agent(tmp_path: Path) -> None:
    """kill -9 between the publication of a window and the writing of its record."""
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=PATIENCE_S)
    again = Spool(str(tmp_path), BOUNDS)
    assert contents(again) == [1]
    assert again.dropped == {"killed": 2}
    again.close()
    assert not Spool(str(tmp_path), BOUNDS).dropped


FULL_AND_KILLED = """
import os, sys, signal
from gotax.exporters.stream import segments
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.exporters.stream.segments import Record
held = Spool(sys.argv[1], Bounds(1 << 20, 3600))
def full(*_):
    raise OSError(28, "No space left on device")
segments.os.pwrite = full
for sequence in (1, 2, 3):
    held.count_published()
    held.append(Record(7, sequence, bytes([sequence]) * 100))
held.settle(held.after(0))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_reports_in_memory_are_counted_after_a_kill(
    tmp_path: Path,
) -> None:
    """They were in memory because the disk was full. Acknowledged ones are not counted."""
    subprocess.run(
        [sys.executable, "-c", FULL_AND_KILLED, str(tmp_path)], check=False, timeout=PATIENCE_S
    )
    again = Spool(str(tmp_path), BOUNDS)
    assert contents(again) == []
    assert again.dropped == {"killed": 2}


def test_reports_in_memory_are_written_when_the_disk_has_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same order, and a later kill loses nothing."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    held = filled(tmp_path, 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for sequence in (2, 3):
            held.count_published()
            held.append(record(sequence))
        held.retry()
    assert contents(held) == [1, 2, 3]
    held.retry()
    assert contents(held) == [1, 2, 3]
    held.close()
    again = Spool(str(tmp_path), BOUNDS)
    assert contents(again) == [1, 2, 3]
    assert not again.dropped


def test_a_spool_belongs_to_one_agent(tmp_path: Path) -> None:
    """Two agents would take each other's records."""
    held = Spool(str(tmp_path), BOUNDS)
    with pytest.raises(UserError, match="another gotax agent keeps its spool in"):
        Spool(str(tmp_path), BOUNDS)
    held.close()
    Spool(str(tmp_path), BOUNDS).close()


def test_an_unusable_folder_is_an_error(tmp_path: Path) -> None:
    """One sentence, with the option to change."""
    path = tmp_path / "spool"
    path.write_text("a file")
    with pytest.raises(UserError, match=r"cannot keep a spool in .*--spool-dir"):
        Spool(str(path), BOUNDS)
