"""What waits for CPU: threads by schedstat, cgroups by pressure, and because of whom."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from gotax.config import Roots
from gotax.diagnosis.waiting import with_cause
from gotax.exporters.terminal.waiting import waiting_text
from gotax.findings import WaitCause
from gotax.linux.cgroups.hierarchies import Hierarchies, Hierarchy, find_hierarchies
from gotax.linux.pressure import (
    THREADS_MAX,
    HostTimes,
    ThreadTimes,
    parse_pressure,
    parse_times,
    read_host_times,
    read_pressure,
    read_thread_name,
    read_times,
)
from gotax.process import CpuResources, CpuUsage
from gotax.processes.counts import ErrorCounts
from gotax.processes.resolver import Resolver
from gotax.processes.waits import EVERY, MOST, Waits
from gotax.waiting import Pressure, Waiting

from tests.unit.exporters.windows import build_window, named, native_load, oversized_load

SECOND = 10**9


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (b"356391 1876698 3\n", ThreadTimes(356391, 1876698)),
        (b"0 0 0\n", ThreadTimes(0, 0)),
        (b"1 2\n", None),
        (b"1 2 3 4\n", None),
        (b"1 -2 3\n", None),
        (b"1 x 3\n", None),
        (b"", None),
        (b"9" * 21 + b" 2 3\n", None),
        (b"9" * 20 + b" 2 3\n", ThreadTimes(int("9" * 20), 2)),
    ],
)
def test_times_of_a_thread(data: bytes, times: ThreadTimes | None) -> None:
    assert parse_times(data) == times


FULL = b"full avg10=0.00 avg60=1.25 avg300=0.00 total=7\n"


@pytest.mark.parametrize(
    ("data", "pressure"),
    [
        (b"some avg10=94.75 avg60=95.70 avg300=93.73 total=27\n" + FULL, Pressure(0.957, 0.0125)),
        (b"some avg10=0.00 avg60=100.00 avg300=0.00 total=27\n", Pressure(1.0, 0.0)),
        (b"some avg10=0.00 avg60=0.29 avg300=0.00 total=1\n", Pressure(0.0029, 0.0)),
        (FULL, None),
        (b"", None),
        (b"some avg10=x avg60=1.00 avg300=0.00 total=27\n", None),
        (b"some avg10=0.00 avg60=1 avg300=0.00 total=27\n", None),
    ],
)
def test_pressure_of_the_last_minute(data: bytes, pressure: Pressure | None) -> None:
    assert parse_pressure(data) == pressure


def test_the_kernel_writes_what_is_parsed(tmp_path: Path) -> None:
    """Its files of this process, and of the host if it has them."""
    found = read_times("/proc", os.getpid())
    assert 0 < len(found) <= THREADS_MAX
    assert found[os.getpid()].run_ns > 0
    try:
        assert read_pressure("/proc/pressure", "cpu") is not None
    except OSError:
        pass
    assert read_pressure(str(tmp_path), "cpu.pressure") is None


def proc(root: Path, threads: dict[int, tuple[int, int]]) -> None:
    for thread, (run, wait) in threads.items():
        folder = root / "7" / "task" / str(thread)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedstat").write_text(f"{run} {wait} 9\n")


class Container:
    """What ``Waits`` needs of a tracked process."""

    def __init__(self, start_ticks: int = 1, cgroup: str = "/c", pid: int = 7) -> None:
        process = oversized_load().process
        self.process = replace(process, pid=pid, start_ticks=start_ticks)
        identity = type("Identity", (), {"cgroup": cgroup})()
        self.membership = type(
            "Membership", (), {"position": type("P", (), {"identity": identity})()}
        )()


@pytest.fixture
def errors() -> ErrorCounts:
    return ErrorCounts()


def test_the_pressure_is_that_of_its_cgroup(tmp_path: Path, errors: ErrorCounts) -> None:
    """In cgroup v2; none for the root, for what is not there, and where the host is not seen."""
    proc(tmp_path, {7: (SECOND, 0)})
    for name, percent in (("cpu", b"20.00"), ("memory", b"30.00")):
        for folder in ("c", ""):
            (tmp_path / "unified" / folder).mkdir(parents=True, exist_ok=True)
            data = b"some avg10=0.00 avg60=%b avg300=0.00 total=1\n" % percent
            (tmp_path / "unified" / folder / f"{name}.pressure").write_bytes(data)
    unified = Hierarchy((), str(tmp_path / "unified"))
    seen = replace(find_hierarchies("/proc", "/sys/fs/cgroup"), unified=unified, sees_host=True)

    def pressures(hierarchies: Hierarchies, cgroup: str = "/c") -> object:
        container = Container(cgroup=cgroup)
        found = Waits(str(tmp_path), hierarchies, errors).of("c", container)  # type: ignore[arg-type]
        assert found is not None
        return found.cpu, found.memory

    assert pressures(seen) == (Pressure(0.2, 0.0), Pressure(0.3, 0.0))
    for hierarchies, cgroup in (
        (seen, "/"),
        (seen, "/gone"),
        (replace(seen, sees_host=False), "/c"),
        (replace(seen, unified=None), "/c"),
        (replace(seen, unified=replace(unified, root="/other")), "/c"),
    ):
        assert pressures(hierarchies, cgroup) == (None, None)
    assert not errors


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (b"cpu  10 20 30 400 50 6 7 8 0 0\ncpu0 1 1 1 1 1 1 1\n", HostTimes(73, 450)),
        (b"cpu  10 20 30 400 50 6 7", HostTimes(73, 450)),
        (b"cpu  10 20 30 400 50 6\n", None),
        (b"cpu  10 20 30 400 50 6 7 x\n", HostTimes(73, 450)),
        (b"cpu  10 20 30 400 50 6 x\n", None),
        (b"cpu  x 20 30 400 50 6 7\n", None),
        (b"x" * 4096 + b"\n", None),
        (b"cpu0 10 20 30 400 50 6 7\n", None),
        (b"", None),
    ],
)
def test_times_of_the_host(tmp_path: Path, data: bytes, times: HostTimes | None) -> None:
    (tmp_path / "stat").write_bytes(data)
    assert read_host_times(str(tmp_path)) == times
    assert read_host_times("/proc") is not None


def test_how_busy_the_host_was() -> None:
    assert HostTimes(175, 125).busy_since(HostTimes(100, 100)) == 0.75
    assert HostTimes(100, 100).busy_since(HostTimes(100, 100)) == 0.0
    assert HostTimes(100, 90).busy_since(HostTimes(50, 100)) == 1.0
    assert HostTimes(101, 100).busy_since(HostTimes(100, 100)) == 1.0
    assert HostTimes(90, 200).busy_since(HostTimes(100, 100)) == 0.0


def test_bounds() -> None:
    assert (THREADS_MAX, EVERY, MOST) == (64, 12, 16)
    early, late = ThreadTimes(5, 7), ThreadTimes(6, 9)
    assert late.since(early) == ThreadTimes(1, 2)
    assert early.since(late) == ThreadTimes(0, 0)


def test_threads_without_times_are_left_out(tmp_path: Path) -> None:
    """One has ended since the threads were listed, the times of another have a new form."""
    proc(tmp_path, {7: (5, 6), 8: (1, 1), 9: (1, 1)})
    (tmp_path / "7" / "task" / "8" / "schedstat").unlink()
    (tmp_path / "7" / "task" / "9" / "schedstat").write_text("1 2 3 4\n")
    assert read_times(str(tmp_path), 7) == {7: ThreadTimes(5, 6)}


def test_a_thread_has_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "7" / "task" / "8"
    folder.mkdir(parents=True)
    for data, name in ((b"worker 1\n", "worker 1"), (b"a\xffb\n", "a\ufffdb"), (b"a\n\n", "a\n")):
        (folder / "comm").write_bytes(data)
        assert read_thread_name(str(tmp_path), 7, 8) == name


def waits(root: Path, errors: ErrorCounts) -> Waits:
    return Waits(str(root), find_hierarchies("/proc", "/sys/fs/cgroup"), errors)


def test_times_are_since_the_start_and_then_since_the_last_time(
    tmp_path: Path, errors: ErrorCounts
) -> None:
    """Only of threads that were there both times; a new process begins again."""
    proc(tmp_path, {7: (SECOND, 3 * SECOND), 8: (SECOND, 0)})
    found, container = waits(tmp_path, errors), Container()
    first = found.of("c", container)  # type: ignore[arg-type]
    assert first == Waiting(2 * SECOND, 3 * SECOND, 2)
    assert first.share == 0.6
    proc(tmp_path, {7: (2 * SECOND, 3 * SECOND), 9: (5 * SECOND, 5 * SECOND)})
    for _ in range(EVERY - 1):
        found.end_window()
        assert found.of("c", container) is first  # type: ignore[arg-type]
    found.end_window()
    # 8 ended: it is there still, with the same times.
    assert found.of("c", container) == Waiting(SECOND, 0, 2, False)  # type: ignore[arg-type]
    again = found.of("c", Container(2))  # type: ignore[arg-type]
    assert again == Waiting(8 * SECOND, 8 * SECOND, 3)
    found.end_window()
    found.end_window()
    assert len(found) == 0
    assert not errors


def test_a_window_reads_sixteen_containers(tmp_path: Path, errors: ErrorCounts) -> None:
    """The others in the next ones."""
    proc(tmp_path, {7: (SECOND, 0)})
    found, container = waits(tmp_path, errors), Container()
    names = [f"c{n}" for n in range(MOST + 1)]
    read = [found.of(name, container) for name in names]  # type: ignore[arg-type]
    assert [each is None for each in read] == [False] * MOST + [True]
    found.end_window()
    read = [found.of(name, container) for name in names]  # type: ignore[arg-type]
    assert None not in read


def test_a_container_is_read_again_after_twelve_windows(
    tmp_path: Path, errors: ErrorCounts
) -> None:
    """Of its own, whenever the first one was; another process of the container at once."""
    proc(tmp_path, {7: (SECOND, 0)})
    found, container = waits(tmp_path, errors), Container()
    for _ in range(EVERY + 1):
        found.end_window()
    first = found.of("c", container)  # type: ignore[arg-type]
    for _ in range(EVERY - 1):
        found.end_window()
        assert found.of("c", container) is first  # type: ignore[arg-type]
    found.end_window()
    assert found.of("c", container) is not first  # type: ignore[arg-type]
    assert found.of("c", Container(pid=8)) is None  # type: ignore[arg-type]


def test_a_process_that_has_ended_is_not_known(tmp_path: Path, errors: ErrorCounts) -> None:
    assert waits(tmp_path, errors).of("c", Container()) is None  # type: ignore[arg-type]
    assert not errors
    proc(tmp_path, {7: (SECOND, 0)})
    (tmp_path / "7" / "task" / "7" / "schedstat").unlink()
    (tmp_path / "7" / "task" / "7" / "schedstat").mkdir()
    assert waits(tmp_path, errors).of("c", Container()) is None  # type: ignore[arg-type]
    assert sum(errors.values()) == 1


def test_of_a_real_process_by_its_resolver() -> None:
    """And of no other that has its PID."""
    table = Resolver(Roots())
    table.begin_round()
    table.scan([os.getpid()])
    tracked = table.get(os.getpid())
    assert tracked is not None
    assert table.waiting(tracked.process) is not None
    assert table.waiting(replace(tracked.process, start_ticks=1)) is None
    assert table.waiting(replace(tracked.process, pid=1 << 22)) is None


@pytest.mark.parametrize(
    ("waiting", "throttled", "busy", "cause"),
    [
        (None, 0, 1.0, None),
        (Waiting(0, 0, 0), 0, 1.0, None),
        (Waiting(0, 1, 1), 0, 1.0, WaitCause.NODE),
        (Waiting(91, 9, 1), 50, 1.0, WaitCause.NOTHING),
        (Waiting(90, 10, 1), 10, 1.0, WaitCause.OWN_LIMIT),
        (Waiting(90, 10, 1), 9, 0.85, WaitCause.NODE),
        (Waiting(90, 10, 1), 9, 0.84, WaitCause.OWN_THREADS),
        (Waiting(90, 10, 1), 9, None, WaitCause.UNKNOWN),
        (Waiting(90, 10, 1), None, 1.0, WaitCause.NODE),
        (Waiting(90, 10, 1), 0, 1.0, WaitCause.NODE),
    ],
)
def test_because_of_whom(
    waiting: Waiting | None, throttled: int | None, busy: float | None, cause: WaitCause | None
) -> None:
    report = build_window(oversized_load()).reports[0]
    assert report.waits_for is WaitCause.OWN_LIMIT
    usage = CpuUsage(periods=100, throttled_periods=throttled)
    assert with_cause(replace(report, waiting=waiting, usage=usage), busy).waits_for is cause


def test_without_periods_nothing_is_throttled() -> None:
    report = build_window(oversized_load()).reports[0]
    idle = replace(report, waiting=Waiting(1, 1, 1), usage=CpuUsage(periods=0, throttled_periods=0))
    assert with_cause(idle, 0.1).waits_for is WaitCause.OWN_THREADS
    unread = replace(idle, usage=CpuUsage(periods=None, throttled_periods=5))
    assert with_cause(unread, 0.1).waits_for is WaitCause.OWN_THREADS


def test_it_says_who_uses_the_node() -> None:
    """With the request beside the use, and the pressure of the cgroup."""
    alone = build_window(named(oversized_load(), "web-1"))
    window = build_window(named(oversized_load(), "web-1"), native_load())
    report = window.reports[0]
    waiting = Waiting(60, 40, 5, True, Pressure(0.5, 0.2), Pressure(0.005, 0.0))
    pod = report.container.pod
    assert pod is not None
    asked = replace(pod, current=CpuResources(0.25, None))

    def text(cause: WaitCause, **changes: object) -> str:
        seen = replace(report, waiting=waiting, waits_for=cause, **changes)  # type: ignore[arg-type]
        return waiting_text(seen, window)

    node = text(WaitCause.NODE, container=replace(report.container, pod=asked))
    assert node.startswith(
        "its threads waited for a CPU 40% of the time in which they had work (5 threads, since they"
        " began); the "
    )
    assert "CPUs of the node are busy: other Go containers use 0.00 cores, other programs" in node
    assert "its request is 0.25" in node
    only = replace(report, waiting=waiting, waits_for=WaitCause.NODE)
    assert "the 8 CPUs of the node are busy; " in waiting_text(only, alone)
    none = replace(pod, current=CpuResources(None, None))
    assert "it has no CPU request" in text(
        WaitCause.NODE, container=replace(report.container, pod=none)
    )
    bare = text(WaitCause.NODE, container=replace(report.container, pod=None))
    assert "request" not in bare
    assert "some of its tasks 50% of the time (all of them 20%) waited for CPU" in bare
    assert "for memory" not in bare
    assert "its own CPU limit is the reason" in text(WaitCause.OWN_LIMIT)
    assert "own threads" in text(WaitCause.OWN_THREADS)
    assert waiting_text(replace(report, waiting=None), window) == ""
    late = replace(waiting, is_since_start=False, cpu=None)
    assert "in the last minutes" in waiting_text(replace(report, waiting=late), window)
    untimed = replace(waiting, run_ns=0, wait_ns=0)
    assert waiting_text(replace(report, waiting=untimed), window).startswith("in the last minute")
