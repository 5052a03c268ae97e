"""A container that crashes repeatedly between two drains keeps its CPU time."""

from __future__ import annotations

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gotax.category import Category
from gotax.cli.stopping import StopSignal
from gotax.config import Detail
from gotax.pipeline import Pipeline
from gotax.processes.first_look import LOOK_AT_S
from gotax.reader.asking import PENDING
from gotax.sampling import sampler
from gotax.sampling.sampler import Drain, Sampler
from gotax.session import Plan, Session
from gotax.window import Window

from tests.kernel.load import GUARD_S, Group, Load, check_books, wait_until
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

HZ = 999
DRAIN_S = 20.0
LIVES_S = (4.0, 3.0, 2.0)
"""For one process, in its own cgroup, at least: on a busy host a process runs until it has used
``USED_NS`` and was admitted. The window ends after all of them."""
USED_NS = 150_000_000
SLACK, DEVIATIONS = 0.10, 4.5
"""Tolerance of the reported time: a tenth for the shell before the program and the kernel's work at
its end, plus the error of so few samples."""


@dataclass(frozen=True)
class Life:
    container_id: str
    used_ns: int
    overlap_ns: int
    """Used between a drain and the end of the look that follows: its samples come with the next
    drain, and are also in the time that the look reads."""
    was_read: bool
    """Whether its GOMAXPROCS was, before it ended. On a starved host a reader may need longer than
    all looks take."""


@dataclass(frozen=True)
class Crashes:
    window: Window
    lives: tuple[Life, ...]

    def reported_ns(self, life: Life) -> int:
        (report,) = [
            r for r in self.window.reports if r.container.container_id == life.container_id
        ]
        return self.window.cpu_ns_of(report)


@pytest.fixture(scope="module")
def crashes(go_binary: Callable[..., Path]) -> Crashes:
    """One window with a single regular drain at its end, as in the agent (more drains on a host so
    busy that it takes longer)."""
    binary = go_binary("knownwork", VERSIONS[-1])
    lives: list[Life] = []
    stop = StopSignal()
    overlap = Overlap()

    def crash() -> None:
        for number, seconds in enumerate(LIVES_S):
            container_id = hashlib.sha256(f"{number} {time.time_ns()}".encode()).hexdigest()
            with Group(container_id) as group, Load(binary, group=group) as program:
                group.favour()
                overlap.begin(group)
                time.sleep(seconds)
                wait_until(lambda: group.usage_ns() >= USED_NS, "it to use some CPU")
                wait_until(lambda: is_admitted(session, program.pid), "it to be admitted")
                was_read = wait_until_read(session, program.pid)
                program.kill()
                used_ns = group.usage_ns()
                lives.append(Life(container_id, used_ns, overlap.end(used_ns), was_read))

    def crash_and_stop() -> None:
        try:
            crash()
        finally:
            stop.set()

    with overlap.observed(), Session(Plan(HZ, DRAIN_S, detail=Detail(functions=5))) as session:
        threading.Thread(target=crash_and_stop).start()
        (window,) = session.windows(GUARD_S, stop)
    check_books(window)
    return Crashes(window, tuple(lives))


class Overlap:
    """How much CPU time a cgroup used while its samples were drained and then looked at."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._group: Group | None = None
        self._drained_ns: int | None = None
        self._sum_ns = 0

    def begin(self, group: Group) -> None:
        with self._lock:
            self._group, self._drained_ns, self._sum_ns = group, None, 0

    def end(self, used_ns: int) -> int:
        with self._lock:
            self._group = None
            return self._sum_ns + self._since_drain(used_ns)

    def _since_drain(self, used_ns: int) -> int:
        return 0 if self._drained_ns is None else used_ns - self._drained_ns

    @contextmanager
    def observed(self) -> Iterator[None]:
        """Between the beginning of each drain and the end of its look."""
        drain, absorb = Sampler.drain, Pipeline.absorb

        def drained(sampling: Sampler) -> Drain:
            with self._lock:
                self._drained_ns = self._group.usage_ns() if self._group else None
            return drain(sampling)

        def absorbed(pipeline: Pipeline, *arguments: Any, **options: Any) -> None:
            absorb(pipeline, *arguments, **options)
            with self._lock:
                if self._group:
                    self._sum_ns += self._since_drain(self._group.usage_ns())
                    self._drained_ns = None

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Sampler, "drain", drained)
            patch.setattr(Pipeline, "absorb", absorbed)
            yield


def is_admitted(session: Session, pid: int) -> bool:
    """As its final program: at first it is the shell that starts it."""
    tracked = session._processes.get(pid)
    return tracked is not None and tracked.is_go


def wait_until_read(session: Session, pid: int) -> bool:
    """Whether its GOMAXPROCS is, at the latest when the last look at it is over."""

    def is_read() -> bool:
        tracked = session._processes.get(pid)
        return tracked is not None and tracked.has_gomaxprocs

    looked = time.monotonic() + LOOK_AT_S[-1] + 1
    wait_until(lambda: is_read() or time.monotonic() > looked, "its GOMAXPROCS")
    return is_read()


@pytest.mark.parametrize("number", range(len(LIVES_S)))
def test_no_cpu_time_of_a_short_process_is_lost(crashes: Crashes, number: int) -> None:
    """The report of the container has the kernel's CPU time of the cgroup, and no more but what it
    used while gotax drained and looked."""
    life = crashes.lives[number]
    samples = life.used_ns / crashes.window.period_ns
    bound = SLACK + DEVIATIONS / math.sqrt(samples)
    assert bound < 0.75  # otherwise any time would be within the tolerance
    reported_ns = crashes.reported_ns(life)
    assert (1 - bound) * life.used_ns <= reported_ns
    assert reported_ns <= (1 + bound) * life.used_ns + life.overlap_ns


def test_each_run_is_a_separate_go_program(crashes: Crashes) -> None:
    """The crashed program is reported as itself, with its GOMAXPROCS."""
    mine = {life.container_id: life for life in crashes.lives}
    found = [r for r in crashes.window.reports if r.container.container_id in mine]
    assert len(found) == len(LIVES_S)
    for report in found:
        assert report.main_process.build
        assert report.main_process.build.package.endswith("knownwork")
        if mine[str(report.container.container_id)].was_read:
            assert report.main_process.gomaxprocs
            assert report.main_process.gomaxprocs.value
        else:
            assert crashes.window.health.errors[PENDING]


@pytest.mark.timing
def test_most_of_a_run_of_seconds_is_classified(crashes: Crashes) -> None:
    """Its stacks were symbolized while its file could be read. Without early drains none would be;
    how many depends on how soon those come."""
    (report,) = [
        r
        for r in crashes.window.reports
        if r.container.container_id == crashes.lives[0].container_id
    ]
    assert report.category_samples[Category.USER] > 0.5 * report.samples


def test_new_processes_are_always_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many more than the kernel's table of announced processes holds: it is cleared in time."""
    monkeypatch.setattr(sampler, "_ANNOUNCED_MAX", 64)
    with Sampler(HZ, DRAIN_S) as sampling:
        for _ in range(200):
            with Load("/bin/sh", "-c", "while :; do :; done") as program:
                pid = program.pid

                def is_announced(pid: int = pid) -> bool:
                    return any(n.tgid == pid for n in sampling.new_processes())

                wait_until(is_announced, f"PID {pid} to be announced")
