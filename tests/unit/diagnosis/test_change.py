"""The agent's own before and after: when it speaks, and what of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from gotax.comparison import Change
from gotax.diagnosis import change
from gotax.diagnosis.change import ChangeWatch, Settings
from gotax.findings import Verdict
from gotax.process import (
    Container,
    CpuLimit,
    CpuUsage,
    GoBuild,
    Gomaxprocs,
    Module,
    Origin,
    Process,
)
from gotax.profile import CATEGORY_COUNT, Category, Profile
from gotax.window import ContainerReport, SampleCount, Window
from hypothesis import given
from hypothesis import strategies as st

WINDOW_S = 15.0
SETTLE = Settings(settle_s=60.0)
EMPTY = Profile(
    process=np.zeros(0, np.int32),
    stack=np.zeros(0, np.int32),
    category=np.zeros(0, np.uint8),
    samples=np.zeros(0, np.int64),
    stacks=(),
)


@dataclass(frozen=True)
class Seen:
    """One container in one window: GOMAXPROCS, runtime and user samples; each sample is 10 ms."""

    value: int | None
    runtime: int = 20
    user: int = 80
    name: str = "web"
    program: str = "example.com/web"
    container_id: str | None = None
    also: tuple[int, ...] = ()  # GOMAXPROCS of further processes of the program

    def report(self) -> ContainerReport:
        samples = np.zeros(CATEGORY_COUNT, np.int64)
        samples[Category.SCHED_FIND_WORK], samples[Category.USER] = self.runtime, self.user
        container = Container(
            f"/shop/{self.name}", self.name, f"/shop/{self.name}", self.container_id
        )
        build = GoBuild("go1.24.1", Module(self.program, "v1"), self.program)
        processes = tuple(
            Process(
                7 + i, 1, "web", container, build, Gomaxprocs(value, Origin.ENVIRONMENT, 1, value)
            )
            for i, value in enumerate((self.value, *self.also))
        )
        return ContainerReport(
            container=container,
            processes=processes,
            category_samples=samples,
            functions=(),
            limit=CpuLimit(limit_cores=1.0),
            usage=CpuUsage(periods=150, throttled_periods=15, throttled_ns=10**8),
            verdict=Verdict.FITS,
            cpu_ns=(self.runtime + self.user) * 10_000_000,
        )


def window(seen: Sequence[Seen], number: int = 0) -> Window:
    return Window(
        host="node",
        start_unix_ns=number * round(WINDOW_S * 1e9),
        duration_s=WINDOW_S,
        period_ns=10_000_000,
        cpu_count=4,
        samples=SampleCount(0, 0, {}),
        processes=(),
        profile=EMPTY,
        reports=tuple(each.report() for each in seen),
        other_samples=0,
    )


def follow(
    windows: Sequence[Sequence[Seen]], settings: Settings = SETTLE
) -> list[tuple[int, Change]]:
    """Every change with the number of the window that brought it."""
    watch = ChangeWatch(settings)
    found: list[tuple[int, Change]] = []
    before: tuple[Change, ...] = ()
    for number, seen in enumerate(windows):
        changes = watch.observe(window(seen, number))
        found += [(number, each) for each in changes if each not in before]
        before = changes
    return found


def test_a_lasting_change_is_compared_once() -> None:
    """Windows 0 to 9 under 192, 10 to 29 under 1. The first window of the container, that of the
    change and the one after it belong to neither side; four windows make the 60 s."""
    windows = [[Seen(192, 60, 40)]] * 10 + [[Seen(1, 5, 35)]] * 20
    ((number, found),) = follow(windows)
    assert number == 10 + 1 + 4
    assert found.unix_ns == (number + 1) * WINDOW_S * 1e9
    before, after = found.comparison.before, found.comparison.after
    assert (before.gomaxprocs, after.gomaxprocs) == (192, 1)
    assert (before.duration_s, after.duration_s) == (9 * WINDOW_S, 4 * WINDOW_S)
    assert (before.samples, after.samples) == (900, 160)
    assert (before.runtime_share, after.runtime_share) == (0.6, 0.125)
    assert before.cores == pytest.approx(1 / 15)
    assert after.cores == pytest.approx(0.4 / 15)
    assert (before.usage.periods, after.usage.throttled_periods) == (9 * 150, 4 * 15)
    assert found.comparison.saving.value == pytest.approx(0.6 / 15)
    assert found.comparison.saving.low == pytest.approx(0.6 / 15)  # every window like the other
    assert found.comparison.matched_by == "cgroup"
    assert (before.recommended, before.go_version, before.limit_cores) == (1, "go1.24.1", 1.0)


def test_of_a_long_time_before_the_last_minutes_count() -> None:
    """A service that cost 3 times as much an hour ago is compared with its last 2½ to 5 minutes."""
    windows = [[Seen(192, 100, 200)]] * 240 + [[Seen(192)]] * 20 + [[Seen(1)]] * 10
    ((_, found),) = follow(windows)
    assert found.comparison.before.cores == pytest.approx(1 / 15)
    assert 150 <= found.comparison.before.duration_s <= 300


def test_a_change_back_before_it_settled_is_none() -> None:
    """Four windows under another value, and the old one again: the old spell goes on."""
    blip = [[Seen(192)]] * 8 + [[Seen(4)]] * 4 + [[Seen(192)]] * 20
    assert follow(blip) == []
    ((_, found),) = follow([*blip, *[[Seen(1)]] * 10])
    assert found.comparison.before.gomaxprocs == 192


def test_a_value_that_never_settles_is_passed_over() -> None:
    """192, briefly 8, then 1: the comparison is of 192 with 1."""
    windows = [[Seen(192)]] * 8 + [[Seen(8)]] * 3 + [[Seen(1)]] * 8
    ((_, found),) = follow(windows)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (192, 1)


@pytest.mark.parametrize(("user", "count"), [(0, 0), (1, 0), (15, 1)])
def test_few_samples_are_waited_for(user: int, count: int) -> None:
    """50 samples on either side, or nothing is said; after 15 minutes it is too late."""
    windows = [[Seen(192)]] * 8 + [[Seen(1, 0, user)]] * 8
    assert len(follow(windows)) == count
    late = [*windows[:8], *[[Seen(1, 0, 0)]] * 65, *[[Seen(1)]] * 10]
    assert follow(late) == []


def test_a_restart_in_its_place_is_compared() -> None:
    """The container is away for a minute, and the window it comes back in has both processes."""
    away: list[list[Seen]] = [[]] * 4
    windows = [[Seen(192)]] * 8 + away + [[Seen(1, also=(192,))]] + [[Seen(1)]] * 10
    ((_, found),) = follow(windows)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (192, 1)
    assert found.comparison.after.duration_s == 4 * WINDOW_S


def test_two_processes_of_one_program_with_different_values_are_no_change() -> None:
    """Whichever has the most samples in a window, nothing changed."""
    windows = [[Seen(8, also=(2,))], [Seen(2, also=(8,))]] * 30
    assert follow(windows) == []


def pod(name: str, value: int, runtime: int = 20, user: int = 80) -> Seen:
    return Seen(value, runtime, user, name=name, container_id=name * 8)


def test_a_rollout_is_compared_when_the_last_old_container_has_ended() -> None:
    """Two replicas are replaced one after the other: their means, once, and not before."""
    windows = (
        [[pod("a", 192, 50, 50), pod("b", 192, 50, 150)]] * 10
        + [[pod("c", 1, 0, 50), pod("b", 192, 50, 150)]] * 10
        + [[pod("c", 1, 0, 50), pod("d", 1, 0, 150)]] * 12
    )
    ((number, found),) = follow(windows)
    assert number == 20
    assert found.comparison.matched_by == "program"
    assert found.comparison.before.cores == pytest.approx((9 * 1 + 18 * 2) / 27 / 15, rel=0.2)
    assert found.comparison.after.cores == pytest.approx(0.5 / 15)


def test_a_rollout_that_changes_nothing_is_no_change() -> None:
    """A new version with the same GOMAXPROCS."""
    assert follow([[pod("a", 8)]] * 10 + [[pod("b", 8)]] * 30) == []


def test_another_deployment_that_ends_is_no_rollout() -> None:
    """Two deployments of one program side by side; one is deleted."""
    both = [[pod("a", 192), pod("b", 4)]] * 20
    assert follow([*both, *[[pod("b", 4)]] * 40]) == []
    assert follow([*both, *[[pod("a", 192)]] * 40]) == []


def test_a_bare_cgroup_is_no_successor() -> None:
    """A unit that ends and another that starts are two, even if they run the same program."""
    windows = [[Seen(192, name="one.service")]] * 10 + [[Seen(1, name="two.service")]] * 30
    assert follow(windows) == []


def test_unreadable_windows_are_left_out() -> None:
    """A window without a value says nothing, and breaks nothing."""
    windows = [[Seen(192)]] * 8 + [[Seen(None)]] * 3 + [[Seen(1)]] * 8
    assert len(follow(windows)) == 1
    assert follow([[Seen(192)], [Seen(None)]] * 20) == []


def test_it_is_bounded_in_containers_and_in_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was seen longest ago is forgotten first; a hundred comparisons at most."""
    monkeypatch.setattr(change, "CONTAINERS_MAX", 5)
    monkeypatch.setattr(change, "CHANGES_MAX", 3)
    watch = ChangeWatch(SETTLE)
    for number in range(40):
        watch.observe(window([Seen(1, name=f"once-{number}")], number))
        assert len(watch) <= 5
    crowd = [f"web-{i}" for i in range(5)]
    changes: tuple[Change, ...] = ()
    for value in (192, 1):
        for number in range(10):
            changes = watch.observe(window([Seen(value, name=name) for name in crowd], number))
            assert len(changes) <= 3
    assert len(changes) == 3


def test_a_comparison_is_shown_for_an_hour() -> None:
    """Then the windows are without it."""
    watch = ChangeWatch(SETTLE)
    shown = [
        bool(watch.observe(window([Seen(192 if number < 10 else 1)], number)))
        for number in range(300)
    ]
    assert shown.index(True) == 15
    assert sum(shown) == 3600 / WINDOW_S + 1


SPELLS = st.lists(
    st.tuples(st.sampled_from([1, 2, 192]), st.integers(1, 9), st.integers(0, 40)), max_size=12
)


@given(SPELLS)
def test_any_history_is_compared_by_the_rules(spells: list[tuple[int, int, int]]) -> None:
    """Whatever a container does: the two values differ, both sides held for 60 s with 50 samples,
    and the side of after is the run of windows up to this one, less its first two."""
    windows = [[Seen(value, 0, user)] for value, length, user in spells for _ in range(length)]
    values = [seen.value for (seen,) in windows]
    for number, found in follow(windows):
        before, after = found.comparison.before, found.comparison.after
        assert before.gomaxprocs != after.gomaxprocs == values[number]
        assert before.gomaxprocs in values[:number]
        for side in (before, after):
            assert side.samples >= SETTLE.min_samples
            assert SETTLE.settle_s <= side.duration_s <= SETTLE.memory_s
        start = max(i for i in range(number) if values[i] != values[number]) + 1
        run = [seen for (seen,) in windows[start + 2 : number + 1]]
        if after.duration_s == len(run) * WINDOW_S:  # else it went on after a change back
            assert after.samples == sum(seen.user for seen in run)


@given(st.sampled_from([1, 4, 192]), st.lists(st.integers(0, 200), max_size=60))
def test_load_alone_is_no_change(value: int, loads: list[int]) -> None:
    """However the CPU goes up and down under one value."""
    assert follow([[Seen(value, 0, user)] for user in loads]) == []


def test_the_settings_follow_a_long_settling_time() -> None:
    """What is kept always holds twice the time that is asked for."""
    long = Settings.settling(600.0)
    assert long.memory_s >= 2 * long.settle_s
    windows = [[Seen(192)]] * 200 + [[Seen(1)]] * 60
    assert len(follow(windows, long)) == 1
    assert replace(Settings(), settle_s=20.0) == Settings.settling(20.0)


def test_a_process_whose_cgroup_gets_a_limit_keeps_its_past() -> None:
    """A limit for one part of a unit makes it a group of its own. GOMAXPROCS follows: before and
    after are compared, as of a container that is resized; a bare cgroup is no part of another."""

    def seen(value: int, nested: str, unit: str | None = "x.service") -> ContainerReport:
        report = Seen(value).report()
        key = f"/x.service/{nested}".rstrip("/")
        container = Container(key, key, "/x.service/1", unit=unit, nested=nested)
        process = replace(report.main_process, container=container)
        return replace(report, container=container, processes=(process,))

    for unit, expected in (("x.service", ["cgroup"]), (None, [])):
        watch = ChangeWatch(SETTLE)
        changes: tuple[Change, ...] = ()
        for number in range(16):
            late = number >= 8
            part = "1" if late and unit else ""
            report = seen(2 if late else 8, part, unit)
            if late and not unit:
                report = replace(report, container=replace(report.container, key="/y"))
            changes = watch.observe(replace(window((), number), reports=(report,)))
        assert [change.comparison.matched_by for change in changes] == expected
        if unit:
            assert changes[0].container.nested == "1"
            assert len(watch) == 1


def test_a_bare_cgroup_succeeds_no_container() -> None:
    """A container of the program ends, and a unit of the same program starts: two things."""
    windows = [[pod("a", 192)]] * 10 + [[Seen(1, name="two.service")]] * 30
    assert follow(windows) == []


def test_a_container_that_changed_in_place_succeeds_nothing() -> None:
    """``b`` ran beside ``a``, and changed by itself; that ``a`` ends later is no rollout."""
    windows = (
        [[pod("a", 192)]]
        + [[pod("a", 192), pod("b", 64)]] * 10
        + [[pod("a", 192), pod("b", 1)]] * 10
        + [[pod("b", 1)]] * 20
    )
    ((_, found),) = follow(windows)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (64, 1)
    assert found.comparison.matched_by == "cgroup"


def test_of_a_rollout_that_came_too_late_nothing_is_said() -> None:
    """The old container ends 15 minutes after the new one was born: the load is another one."""
    both = [[pod("a", 192), pod("b", 1)]]
    late = [[pod("a", 192)]] * 10 + both * 62 + [[pod("b", 1)]] * 10
    assert follow(late) == []
    soon = [[pod("a", 192)]] * 10 + both * 50 + [[pod("b", 1)]] * 10
    assert len(follow(soon)) == 1
