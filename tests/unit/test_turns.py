"""When the processes of a node are read again: not all of them in each window."""

# ruff: noqa: F811 (fixtures of another module)
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from gotax.config import Thresholds
from gotax.pipeline import Pipeline
from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import Life, TrackedProcess
from gotax.processes.turns import ALWAYS_ON, EACH_WINDOW, Turns
from gotax.reader.asking import PENDING
from gotax.window import Window

from tests.unit.host import Host, set_memory
from tests.unit.test_late_answers import Moody
from tests.unit.test_pipeline import (
    EVERYTHING,
    SPAN,
    Known,
    StackCount,
    drain,
    host,  # noqa: F401
    known,  # noqa: F401
)

pytestmark = pytest.mark.toolchain

BUSY = range(10, 18)
OLD_TICKS = 100  # a second after boot


class Clock:
    """Seconds since boot."""

    now_s = 10_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in ("resolver", "table"):
        monkeypatch.setattr(f"gotax.processes.{module}.boot_s", made)
    return made


def walk_of(host: Host, reader: Moody, turns: Turns = ALWAYS_ON) -> Pipeline:
    return Pipeline(Resolver(host.roots, reader, turns=turns), "host", Thresholds(), EVERYTHING)


def start(
    host: Host, known: Known, pids: Iterable[int], ticks: int = OLD_TICKS, gomaxprocs: int = 2
) -> None:
    for pid in pids:
        host.cgroup(f"/app{pid}")
        host.start(pid, ticks, known.program, f"/app{pid}")
        set_memory(host, pid, known.gomaxprocs, gomaxprocs.to_bytes(4, "little"))


def sampled(walk: Pipeline, known: Known, pids: Iterable[int]) -> Window:
    """A window in which these processes were sampled."""
    walk.absorb(drain([StackCount(pid, 10, 1) for pid in pids], {1: [known.main]}), 0.0)
    return walk.window(SPAN)


def gomaxprocs_of(window: Window) -> dict[int, int | None]:
    """By PID, of every Go process in the reports."""
    return {
        process.pid: process.gomaxprocs.value if process.gomaxprocs else None
        for report in window.reports
        for process in report.processes
    }


@pytest.mark.usefixtures("clock")
def test_the_agent_reads_a_busy_process_in_every_fourth_window(host: Host, known: Known) -> None:
    """A quarter of them in each, the longest unread first."""
    start(host, known, BUSY)
    reader = Moody()
    walk = walk_of(host, reader)
    sampled(walk, known, BUSY)
    for pid in BUSY:
        set_memory(host, pid, known.gomaxprocs, b"\x04")
    changed = []
    for _ in range(4):
        asked = reader.asked["runtime_values"]
        values = gomaxprocs_of(sampled(walk, known, BUSY))
        assert reader.asked["runtime_values"] == asked + 2
        changed.append(list(values.values()).count(4))
    assert changed == [2, 4, 6, 8]


@pytest.mark.usefixtures("clock")
def test_a_command_reads_every_busy_process_in_each_window(host: Host, known: Known) -> None:
    start(host, known, BUSY)
    walk = walk_of(host, Moody(), EACH_WINDOW)
    for value in (4, 3, 2):
        for pid in BUSY:
            set_memory(host, pid, known.gomaxprocs, value.to_bytes(4, "little"))
        assert set(gomaxprocs_of(sampled(walk, known, BUSY)).values()) == {value}


def test_a_new_process_is_read_in_each_window_of_its_first_minute(
    host: Host, known: Known, clock: Clock
) -> None:
    start(host, known, BUSY)
    start(host, known, [99], round(clock.now_s * 100))
    reader = Moody()
    walk = walk_of(host, reader)
    for value in (3, 4, 5, 6):
        set_memory(host, 99, known.gomaxprocs, value.to_bytes(4, "little"))
        assert gomaxprocs_of(sampled(walk, known, [*BUSY, 99]))[99] == value
        clock.now_s += 15.0
    asked = reader.asked["runtime_values"]
    sampled(walk, known, [*BUSY, 99])
    assert reader.asked["runtime_values"] == asked + 3  # of nine


def test_a_process_with_a_new_limit_is_read_in_each_window_for_a_minute(
    host: Host, known: Known, clock: Clock
) -> None:
    """Go 1.25 follows a limit up to half a minute later."""
    start(host, known, BUSY)
    walk = walk_of(host, Moody())
    sampled(walk, known, BUSY)
    host.cgroup("/app10", "100000 100000")
    for _ in range(4):
        (report,) = [
            report
            for report in sampled(walk, known, BUSY).reports
            if report.main_process.pid == BUSY[0]
        ]
        clock.now_s += 15.0
    assert report.limit.limit_cores == 1.0
    clock.now_s -= 15.0  # at most 45 s after the limit was read
    set_memory(host, 10, known.gomaxprocs, b"\x01")
    assert gomaxprocs_of(sampled(walk, known, BUSY))[10] == 1


@pytest.mark.usefixtures("clock")
def test_a_process_that_could_not_be_read_is_read_in_the_next_window(
    host: Host, known: Known
) -> None:
    start(host, known, BUSY)
    reader = Moody()
    walk = walk_of(host, reader)
    sampled(walk, known, BUSY)
    reader.refused["runtime_values"] = PENDING
    for late in (2, 4, 5):  # a quarter of the others with them
        asked = reader.asked["runtime_values"]
        sampled(walk, known, BUSY)
        assert reader.asked["runtime_values"] == asked + late
    reader.refused.clear()
    for pid in BUSY:
        set_memory(host, pid, known.gomaxprocs, b"\x04")
    values = gomaxprocs_of(sampled(walk, known, BUSY))
    assert list(values.values()).count(4) == 6


@pytest.mark.usefixtures("clock")
def test_counters_of_a_busy_container_are_those_of_each_window(host: Host, known: Known) -> None:
    """Also where its process is not read again."""
    start(host, known, BUSY)
    walk = walk_of(host, Moody())
    sampled(walk, known, BUSY)
    for number in range(1, 4):
        for pid in BUSY:
            stat = f"usage_usec {number * 1000}\nnr_periods {number * 10}\nnr_throttled {number}\n"
            (host.cgroups / f"app{pid}" / "cpu.stat").write_text(stat)
        window = sampled(walk, known, BUSY)
        assert {report.usage.throttled_periods for report in window.reports} == {1}


@pytest.mark.usefixtures("clock")
def test_the_end_of_a_process_is_seen_though_its_turn_has_not_come(
    host: Host, known: Known
) -> None:
    start(host, known, BUSY)
    walk = walk_of(host, Moody())
    sampled(walk, known, BUSY)
    walk.absorb(drain([StackCount(pid, 10, 1) for pid in BUSY], {1: [known.main]}), 0.0)
    host.end(BUSY[-1])
    walk.window(SPAN)
    assert walk._processes.get(BUSY[-1]) is None
    assert walk._processes.get(BUSY[-2]) is not None
    assert BUSY[-1] not in gomaxprocs_of(sampled(walk, known, []))


@pytest.mark.usefixtures("clock")
def test_of_many_idle_processes_some_are_read_in_each_window(host: Host, known: Known) -> None:
    """Those that were not read for the longest time. One that has samples is read at once, and the
    end of one is seen at once."""
    pids = range(10, 10 + EACH_WINDOW.idle_least + 36)
    start(host, known, pids)
    walk = walk_of(host, Moody(), EACH_WINDOW)
    walk.scan()
    walk.window(SPAN)
    for pid in pids:
        set_memory(host, pid, known.gomaxprocs, b"\x04")
    values = gomaxprocs_of(sampled(walk, known, [pids[0]]))
    assert values[pids[0]] == 4
    assert Counter(values.values()) == {4: EACH_WINDOW.idle_least + 1, 2: 35}
    host.end(pids[-1])
    values = gomaxprocs_of(walk.window(SPAN))
    assert pids[-1] not in values
    assert set(values.values()) == {4}


@pytest.mark.parametrize("turns", [EACH_WINDOW, ALWAYS_ON])
def test_all_idle_processes_are_read_in_their_time(turns: Turns) -> None:
    """However many there are, and as evenly as can be."""
    processes = [TrackedProcess.__new__(TrackedProcess) for _ in range(2000)]
    for number, tracked in enumerate(processes):
        tracked.life = Life(serial=number)
    read: list[int] = []
    for window in range(1, 1 + turns.idle_within):
        now = turns.due(processes, (), 1.0)
        assert len(now) == 2000 // turns.idle_within
        for tracked in now:
            tracked.life.looked = window
        read += [tracked.serial for tracked in now]
    assert sorted(read) == list(range(2000))


def test_of_few_idle_processes_all_are_read() -> None:
    for turns in (EACH_WINDOW, ALWAYS_ON):
        processes = [TrackedProcess.__new__(TrackedProcess) for _ in range(turns.idle_least)]
        for number, tracked in enumerate(processes):
            tracked.life = Life(serial=number)
        assert turns.due(processes, (), 1.0) == processes
