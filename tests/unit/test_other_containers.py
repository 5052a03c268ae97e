"""Containers without Go: what is read of them, and of which nothing is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from gotax.other import OtherUse
from gotax.processes import others as module
from gotax.processes.files import ProcessFiles
from gotax.processes.others import FIRST_LOOKS, LIMIT_EVERY
from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import TrackedProcess
from gotax.recipe import Knob, Recipe, Recognition

from .host import Host, Program

HZ, WINDOW_S = 20, 15.0
PERIOD_NS = 10**9 // HZ
BUSY = int(HZ * WINDOW_S / 2)  # samples of half a CPU
RECIPE = Recipe("sleeper", (Knob("SLEEPERS"),), "{n}", programs=("sleep*",))


class Clock:
    """Stands in for the module time."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def thread_time(self) -> float:
        return time.thread_time()


class Stage:
    """A host, and windows of it."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.host = Host(folder)
        self.clock = clock
        path = folder / "sleep"
        path.write_bytes(Path("/bin/true").read_bytes())
        line = f"00400000-00401000 r-xp 00000000 08:01 {{inode}} {path}\n"
        self.program = Program(path, line)
        self.resolver = Resolver(self.host.roots, recipes=lambda: (RECIPE,))

    def start(self, pid: int, cgroup: str) -> None:
        self.host.start(pid, 1000 + pid, self.program, cgroup)
        task = self.host.proc / str(pid) / "task" / str(pid)
        task.mkdir(parents=True)
        (task / "comm").write_text("sleep\n")
        (self.host.proc / str(pid) / "cmdline").write_bytes(b"sleep\0")
        self.ran(pid, 0, 0)

    def ran(self, pid: int, run_s: float, wait_s: float) -> None:
        text = f"{int(run_s * 1e9)} {int(wait_s * 1e9)} 1\n"
        (self.host.proc / str(pid) / "task" / str(pid) / "schedstat").write_text(text)

    def throttle(self, cgroup: str, periods: int, throttled: int, stopped_s: float) -> None:
        (self.host.cgroups / cgroup.strip("/") / "cpu.stat").write_text(
            f"usage_usec {periods * 50_000}\nnr_periods {periods}\nnr_throttled {throttled}\n"
            f"throttled_usec {int(stopped_s * 1e6)}\n"
        )

    def tracked(self, pid: int) -> TrackedProcess:
        found = self.resolver.resolve(pid)
        assert isinstance(found, TrackedProcess)
        return found

    def window(self, samples: dict[int, int], go: tuple[str, ...] = ()) -> dict[str, OtherUse]:
        """By cgroup."""
        self.resolver.begin_round()
        self.resolver.others.observe([(self.tracked(pid), n) for pid, n in samples.items()])
        self.clock.now += WINDOW_S
        found = self.resolver.others.measure(go, PERIOD_NS, WINDOW_S)
        return {use.container.cgroup: use for use in found}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("gotax.processes.thread_counts.time", clock)
    return Stage(tmp_path, clock)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of cgroup files that are read from now on."""
    found: list[str] = []
    from gotax.linux.cgroups import files

    inner = files.read

    def read(path: str, most: int) -> bytes | None:
        found.append(path)
        return inner(path, most)

    monkeypatch.setattr(files, "read", read)
    return found


def test_a_throttled_container_has_its_counters_threads_and_settings(stage: Stage) -> None:
    stage.host.cgroup("/web", "50000 100000")
    stage.start(7, "/web")
    (stage.host.proc / "7" / "environ").write_bytes(b"TOKEN=secret\0SLEEPERS=8\0")
    assert stage.window({7: BUSY})["/web"].throttling is not None
    stage.throttle("/web", 101, 80, 30.0)
    stage.ran(7, 5, 10)
    stage.window({7: BUSY})
    stage.throttle("/web", 201, 160, 60.0)
    stage.ran(7, 12, 33)
    use = stage.window({7: BUSY})["/web"]
    assert use.limit is not None
    assert (use.limit.limit_cores, use.limit.limit_cgroup) == (0.5, "/web")
    assert use.throttling is not None
    assert (use.throttling.periods, use.throttling.period_ns) == ((80, 100), 100_000_000)
    assert use.throttling.duration_s == WINDOW_S
    assert use.cpus_at_once == pytest.approx(0.5 + 30 / 8)
    assert (use.counted, use.threads_ran, use.threads) == (1, 1, 1)
    assert use.runnable == pytest.approx(30 / WINDOW_S)
    assert use.recognised is not None
    assert [(each.recipe.name, each.value) for each in use.recognised] == [("sleeper", 8)]


def test_nothing_is_read_of_a_container_that_uses_little(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its limit was read once. The next time is eight windows later."""
    stage.host.cgroup("/web", "400000 100000")
    stage.start(7, "/web")
    stage.window({7: 3})
    found = reads(monkeypatch)
    for _ in range(LIMIT_EVERY - 1):
        assert stage.window({7: 3})["/web"].throttling is None
    assert found == []
    stage.window({7: 3})
    assert any(path.endswith("cpu.max") for path in found)


def test_without_a_limit_no_counters_are_read(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.host.cgroup("/web")
    stage.start(7, "/web")
    found = reads(monkeypatch)
    use = stage.window({7: BUSY})["/web"]
    assert use.limit is not None
    assert (use.limit.limit_cores, use.throttling) == (None, None)
    assert not any(path.endswith("cpu.stat") for path in found)


def test_a_container_with_a_go_process_is_no_other(stage: Stage) -> None:
    stage.host.cgroup("/web", "50000 100000")
    stage.start(7, "/web")
    key = stage.tracked(7).process.container.key
    assert stage.window({7: BUSY}, go=(key,)) == {}
    assert stage.window({7: BUSY}) == {}  # its Go process was there in the last window
    assert list(stage.window({7: BUSY})) == ["/web"]


def test_the_root_cgroup_and_kernel_threads_are_left_out(stage: Stage) -> None:
    stage.start(7, "/")
    stage.host.start(8, 1008, None, "/")
    assert stage.window({7: BUSY, 8: BUSY}) == {}


def test_the_limit_of_an_ancestor_counts_for_the_container_that_uses_most(stage: Stage) -> None:
    """Counters of the ancestor say that it used 5 s; the other container has little of that."""
    stage.host.cgroup("/pod", "50000 100000")
    for pid, name in ((7, "/pod/web"), (8, "/pod/log")):
        stage.host.cgroup(name)
        stage.start(pid, name)
    stage.window({7: BUSY, 8: 30})
    stage.throttle("/pod", 101, 80, 30.0)
    found = stage.window({7: BUSY, 8: 30})
    assert found["/pod/web"].throttling is not None
    assert found["/pod/web"].throttling.periods == (80, 100)
    assert found["/pod/log"].throttling is None


def test_a_process_that_moved_counts_for_its_new_container(stage: Stage) -> None:
    for name in ("/old", "/new"):
        stage.host.cgroup(name, "50000 100000")
    stage.start(7, "/old")
    stage.tracked(7)
    (stage.host.proc / "7" / "cgroup").write_text("0::/new\n")
    stage.window({7: BUSY})
    assert list(stage.window({7: BUSY})) == ["/new"]


def test_another_limit_starts_the_counters_again(stage: Stage) -> None:
    """What was counted under both would be of neither."""
    stage.host.cgroup("/web", "50000 100000")
    stage.start(7, "/web")
    stage.window({7: BUSY})
    stage.throttle("/web", 101, 80, 30.0)
    assert stage.window({7: BUSY})["/web"].throttling is not None
    (stage.host.cgroups / "web" / "cpu.max").write_text("200000 200000\n")
    stage.throttle("/web", 201, 160, 60.0)
    assert stage.window({7: BUSY})["/web"].throttling is None
    stage.throttle("/web", 251, 180, 70.0)
    use = stage.window({7: BUSY})["/web"]
    assert use.throttling is not None
    assert use.throttling.periods == (20, 50)
    assert use.throttling.period_ns == 200_000_000


@pytest.mark.parametrize("data", ["x", "50000", "50000 0"])
def test_a_limit_that_cannot_be_read_is_told(stage: Stage, data: str) -> None:
    stage.host.cgroup("/web", data)
    stage.start(7, "/web")
    use = stage.window({7: BUSY})["/web"]
    assert (use.unread, use.throttling, use.limit) == ("cgroup-quota", None, None)
    assert stage.resolver.errors["cgroup-quota"] >= 1


def test_counters_and_threads_that_cannot_be_read_are_told(stage: Stage) -> None:
    """Neither is a container that is not throttled, or one without threads."""
    stage.host.cgroup("/web", "50000 100000")
    stage.start(7, "/web")
    stage.window({7: BUSY})
    stage.throttle("/web", 101, 80, 30.0)
    schedstat = stage.host.proc / "7/task/7/schedstat"
    schedstat.unlink()
    schedstat.mkdir()
    use = stage.window({7: BUSY})["/web"]
    assert (use.throttling is not None, use.ran) == (True, None)
    assert stage.resolver.errors["procfs-unreadable"] >= 1
    counters = stage.host.cgroups / "web" / "cpu.stat"
    counters.unlink()
    counters.mkdir()
    use = stage.window({7: BUSY})["/web"]
    assert (use.unread != "", use.throttling) == (True, None)
    assert stage.resolver.errors[use.unread] >= 1


def test_an_environment_that_cannot_be_read_is_told(stage: Stage) -> None:
    stage.host.cgroup("/web", "50000 100000")
    stage.start(7, "/web")
    (stage.host.proc / "7" / "environ").unlink()
    (stage.host.proc / "7" / "environ").mkdir()
    stage.window({7: BUSY})
    stage.throttle("/web", 101, 80, 30.0)
    use = stage.window({7: BUSY})["/web"]
    assert use.unread == "procfs-unreadable"
    assert use.recognised is not None
    assert use.recognised[0].value is None


def test_settings_are_asked_for_again_at_doubling_intervals(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And at once for a new process: a changed setting is seen with its first window."""
    stage.host.cgroup("/web", "50000 100000")
    stage.start(7, "/web")
    asked: list[object] = []
    inner = ProcessFiles.recognise

    def recognise(files: ProcessFiles, recipes: tuple[Recipe, ...]) -> Recognition:
        asked.append(files.place)
        return inner(files, recipes)

    monkeypatch.setattr(ProcessFiles, "recognise", recognise)
    for window in range(1, 10):
        stage.throttle("/web", 1 + 100 * window, 80 * window, 30.0 * window)
        stage.window({7: BUSY})
    assert len(asked) == 4  # at the 1st, 2nd, 4th and 8th time
    stage.host.end(7)
    stage.start(9, "/web")
    (stage.host.proc / "9" / "environ").write_bytes(b"SLEEPERS=1\0")
    stage.throttle("/web", 1101, 880, 330.0)
    use = stage.window({9: BUSY})["/web"]
    assert asked[-1] == 9
    assert use.recognised is not None
    assert use.recognised[0].value == 1


def test_first_looks_are_bounded_and_the_busiest_come_first(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORK_S", -1.0)  # no time for anything at the end of the window
    count = FIRST_LOOKS + 5
    for number in range(count):
        stage.host.cgroup(f"/c{number}", "50000 100000")
        stage.start(100 + number, f"/c{number}")
    found = stage.window({100 + number: 1 + number for number in range(count)})
    known = {cgroup for cgroup, use in found.items() if use.limit is not None}
    assert known == {f"/c{number}" for number in range(5, count)}
    assert stage.resolver.errors["others-put-off"] == count


def test_containers_without_samples_are_forgotten(stage: Stage) -> None:
    stage.host.cgroup("/web", "50000 100000")
    stage.start(7, "/web")
    stage.window({7: BUSY})
    assert len(stage.resolver.others) == 1
    for _ in range(LIMIT_EVERY + 2):
        stage.window({})
    assert len(stage.resolver.others) == 0
