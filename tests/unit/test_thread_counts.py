"""Threads between two looks: which ran, under which names, and how many wanted to at once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from gotax.linux.pressure import ThreadTimes, read_thread_name, read_times
from gotax.other import ThreadGroup
from gotax.processes.thread_counts import GROUPS_MAX, Ran, Snapshot, grouped


def snapshot(at_s: float, **threads: tuple[int, int]) -> Snapshot:
    """``name=(run, wait)`` in seconds."""
    return Snapshot(
        at_s,
        {
            (1, 2, number): (ThreadTimes(run * 10**9, wait * 10**9), name)
            for number, (name, (run, wait)) in enumerate(threads.items())
        },
    )


def test_what_ran_and_what_wanted_to() -> None:
    """Two threads that ran or waited for all of ten seconds, one that did nothing, a new one."""
    before = snapshot(100, pool=(5, 5), main=(1, 0), idle=(3, 3))
    now = snapshot(110, pool=(7, 13), main=(11, 0), idle=(3, 3), fresh=(1, 4))
    ran = now.since(before)
    assert ran is not None
    assert ran.counted == 4
    assert ran.runnable == pytest.approx(2.5)
    assert [group.name for group in ran.groups] == ["fresh", "main", "pool"]


def test_nothing_is_known_of_no_threads_or_no_time() -> None:
    before = snapshot(100, a=(1, 1))
    assert Snapshot(110, {}).since(before) is None
    assert snapshot(100, a=(2, 2)).since(before) is None
    assert snapshot(101, a=(1, 1)).since(before) == Ran((), 1, 0.0)


def test_names_are_grouped_without_their_numbers() -> None:
    names = Counter({"pool-1": 1, "pool-2": 1, "python3.11": 2, "GC Thread#0": 1, "w7": 1})
    assert grouped(names) == (
        ThreadGroup("pool-*", 2),
        ThreadGroup("python3.11", 2),
        ThreadGroup("GC Thread#0", 1),
        ThreadGroup("w7", 1),
    )
    many = Counter({chr(97 + number) * 3: 1 for number in range(GROUPS_MAX + 3)})
    assert len(grouped(many)) == GROUPS_MAX + 1
    assert grouped(many)[-1] == ThreadGroup("", 3)


def test_files_of_threads(tmp_path: Path) -> None:
    """A thread that has ended is left out; of more than asked for only so many are read."""
    for number in (7, 8, 9):
        folder = tmp_path / "7" / "task" / str(number)
        folder.mkdir(parents=True)
        if number != 9:
            (folder / "schedstat").write_text("123 45 6\n")
            (folder / "comm").write_text("a b\x1b\n")
    assert read_times(str(tmp_path), 7, 10) == {n: ThreadTimes(123, 45) for n in (7, 8)}
    assert read_times(str(tmp_path), 7, 0) == {}
    assert read_thread_name(str(tmp_path), 7, 8) == "a b\x1b"
