"""Changes of GOMAXPROCS seen by the agent: when it compares, and what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, Category
from gotax.comparison import Change, Outcome
from gotax.diagnosis import change
from gotax.diagnosis.change import ChangeWatch, Settings
from gotax.diagnosis.comparison import Tuned
from gotax.exporters.comparison import sentence
from gotax.findings import Confidence, Finding, Remedy, Saving, Severity, Verdict
from gotax.process import (
    Container,
    CpuLimit,
    CpuUsage,
    GoBuild,
    Gomaxprocs,
    Module,
    Origin,
    PodContainer,
    Process,
    RuntimeState,
    Workload,
)
from gotax.profile import Profile
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
class Interval:
    """One container in one window: GOMAXPROCS, runtime and user samples; each sample is 10 ms."""

    value: int | None
    runtime: int = 20
    user: int = 80
    name: str = "web"
    program: str = "example.com/web"
    container_id: str | None = None
    also: tuple[int, ...] = ()  # GOMAXPROCS of further processes of the program
    start: int = 1
    gogc: int | None = None
    limit: int | None = None
    tuned: Tuned | None = None  # what a finding predicts for another GOGC or GOMEMLIMIT
    advised: tuple[Saving | None, ...] = ()  # what findings predict for another GOMAXPROCS
    runtime_is_read: bool = True

    def report(self) -> ContainerReport:
        samples = np.zeros(CATEGORY_COUNT, np.int64)
        samples[Category.SCHED_FIND_WORK], samples[Category.USER] = self.runtime, self.user
        container = Container(
            f"/shop/{self.name}", self.name, f"/shop/{self.name}", self.container_id
        )
        build = GoBuild("go1.24.1", Module(self.program, "v1"), self.program)
        processes = tuple(
            Process(
                *(7 + i, self.start, "web", container, build),
                gomaxprocs=Gomaxprocs(value, Origin.ENVIRONMENT, 1, value),
                runtime=RuntimeState(gogc=self.gogc, memory_limit_bytes=self.limit)
                if self.runtime_is_read
                else None,
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
            findings=(
                *(() if self.tuned is None else (tuning(self.tuned),)),
                *(advising(saving) for saving in self.advised),
            ),
        )


def tuning(tuned: Tuned) -> Finding:
    remedy = Remedy("", setting=tuned.setting)
    return Finding(
        *("GT016", "", Severity.WARNING, Confidence.HIGH, (), remedy), saving=tuned.saving
    )


def advising(saving: Saving | None) -> Finding:
    remedy = Remedy("", gomaxprocs=1)
    return Finding(*("GT003", "", Severity.INFO, Confidence.HIGH, (), remedy), saving=saving)


def window(seen: Sequence[Interval], number: int = 0) -> Window:
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
    windows: Sequence[Sequence[Interval]], settings: Settings = SETTLE
) -> list[tuple[int, Change]]:
    """Every change, with the number of the window that reported it."""
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
    windows = [[Interval(192, 60, 40)]] * 10 + [[Interval(1, 5, 35)]] * 20
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
    assert found.comparison.saving.low == pytest.approx(0.6 / 15)  # all windows have the same usage
    assert found.comparison.matched_by == "cgroup"
    assert (before.recommended, before.go_version, before.limit_cores) == (1, "go1.24.1", 1.0)


MIB = 1 << 20
MORE = Tuned("GOMEMLIMIT=324MiB", Saving(0.03, 0.04, 0.05))


def test_a_restart_with_another_memory_limit_is_compared_with_its_prediction() -> None:
    """GT016 at 175 MiB, then a restart with the limit of its remedy."""
    tight = Interval(1, 60, 40, gogc=100, limit=175 * MIB, tuned=MORE)
    wide = Interval(1, 5, 35, start=2, gogc=100, limit=324 * MIB)
    ((number, found),) = follow([[tight]] * 10 + [[wide]] * 20)
    assert number == 10 + 1 + 4
    seen = found.comparison
    assert (seen.before.memory_limit_bytes, seen.after.memory_limit_bytes) == (
        *(175 * MIB, 324 * MIB),
    )
    assert (seen.before.gogc, seen.after.gogc) == (100, 100)
    assert (seen.predicted, seen.predicted_for) == (MORE.saving, "GOMEMLIMIT=324MiB")
    assert seen.outcome is Outcome.WITHIN
    assert "GOMEMLIMIT 175 MiB -> 324 MiB saved 0.040 cores" in sentence(found)
    assert "GOMAXPROCS" not in sentence(found)


def test_the_largest_prediction_counts() -> None:
    """Also beside a finding that gives a number and predicts nothing, as GT003 may."""
    small, large = Saving(0.001, 0.002, 0.003), Saving(0.002, 0.006, 0.01)
    before = Interval(192, 60, 40, advised=(small, None, large))
    ((_, found),) = follow([[before]] * 10 + [[Interval(1, 20, 40, start=2)]] * 20)
    assert found.comparison.predicted == large


def test_a_higher_gogc_is_compared_too() -> None:
    seen = [[Interval(1, 60, 40, gogc=100)]] * 10 + [[Interval(1, 5, 35, start=2, gogc=200)]] * 20
    ((_, found),) = follow(seen)
    assert "GOGC 100 -> 200 saved" in sentence(found)
    assert found.comparison.outcome is Outcome.NOT_PREDICTED


def test_a_program_that_tunes_its_collector_has_no_changes() -> None:
    """Another GOGC in each window of one process; its GOMAXPROCS is compared as ever."""
    tuned = [[Interval(192, gogc=100 + n)] for n in range(12)]
    assert follow([*tuned, *tuned]) == []
    after = [[Interval(1, start=2, gogc=100 + n)] for n in range(12)]
    ((_, found),) = follow(tuned + after)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (192, 1)


def test_values_that_were_not_read_are_no_change() -> None:
    """Before, or after the restart; once they are read, they count for the process."""
    known, unknown = Interval(1, gogc=100, limit=9), Interval(1, gogc=None, limit=None)
    again = replace(unknown, start=2)
    assert follow([[unknown]] * 8 + [[known]] * 12 + [[again]] * 12) == []
    late = [[again]] * 2 + [[replace(again, gogc=400, limit=9)]] * 12
    ((_, found),) = follow([[known]] * 10 + late)
    assert (found.comparison.before.gogc, found.comparison.after.gogc) == (100, 400)


def test_a_memory_limit_that_is_read_later_counts() -> None:
    """And the last prediction stays, also if the finding was gone before the change."""
    unread = Interval(1, 60, 40, gogc=100, tuned=MORE)
    read = replace(unread, limit=175 * MIB, tuned=None)
    after = Interval(1, 5, 35, start=2, gogc=100, limit=324 * MIB)
    ((_, found),) = follow([[unread]] * 3 + [[read]] * 8 + [[after]] * 12)
    seen = found.comparison
    assert seen.before.memory_limit_bytes == 175 * MIB
    assert seen.before.duration_s == 10 * WINDOW_S  # one period, before it was read and after
    assert seen.predicted_for == "GOMEMLIMIT=324MiB"


def test_a_process_whose_collector_is_unread_has_its_gomaxprocs() -> None:
    def bare(value: int) -> Interval:
        return Interval(value, runtime_is_read=False)

    ((_, found),) = follow([[bare(8)]] * 10 + [[bare(1)]] * 12)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (8, 1)


def test_a_rollout_with_another_memory_limit_is_compared() -> None:
    """A new container of the workload, with another GOMEMLIMIT; while an old one runs, not yet."""
    old = Interval(1, 60, 40, "web-1", container_id="1", gogc=100, limit=175 * MIB, tuned=MORE)
    new = Interval(1, 5, 35, "web-2", container_id="2", gogc=100, limit=400 * MIB)
    ((_, found),) = follow([[old]] * 10 + [[old, new]] * 8 + [[new]] * 8)
    assert found.comparison.matched_by == "program"
    assert found.comparison.predicted_for == "GOMEMLIMIT=324MiB"
    assert found.comparison.outcome is Outcome.WITHIN  # more than the remedy's is applied, too
    other = replace(old, name="web-3", container_id="3")
    assert follow([[old, other]] * 10 + [[other, new]] * 16) == []


def test_only_the_last_minutes_before_a_change_count() -> None:
    """A service that cost 3 times as much an hour ago is compared with its last 2½ to 5 minutes."""
    windows = [[Interval(192, 100, 200)]] * 240 + [[Interval(192)]] * 20 + [[Interval(1)]] * 10
    ((_, found),) = follow(windows)
    assert found.comparison.before.cores == pytest.approx(1 / 15)
    assert 150 <= found.comparison.before.duration_s <= 300


def test_a_value_that_returns_before_it_settled_is_no_change() -> None:
    """Four windows with another value, then the old one again: the old period continues."""
    blip = [[Interval(192)]] * 8 + [[Interval(4)]] * 4 + [[Interval(192)]] * 20
    assert follow(blip) == []
    ((_, found),) = follow([*blip, *[[Interval(1)]] * 10])
    assert found.comparison.before.gomaxprocs == 192


def test_a_value_that_never_settles_is_ignored() -> None:
    """192, briefly 8, then 1: 192 is compared with 1."""
    windows = [[Interval(192)]] * 8 + [[Interval(8)]] * 3 + [[Interval(1)]] * 8
    ((_, found),) = follow(windows)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (192, 1)


@pytest.mark.parametrize(("user", "count"), [(0, 0), (1, 0), (15, 1)])
def test_the_comparison_waits_for_enough_samples(user: int, count: int) -> None:
    """50 samples on either side are needed; after 15 minutes there is no comparison."""
    windows = [[Interval(192)]] * 8 + [[Interval(1, 0, user)]] * 8
    assert len(follow(windows)) == count
    late = [*windows[:8], *[[Interval(1, 0, 0)]] * 65, *[[Interval(1)]] * 10]
    assert follow(late) == []


def test_a_restart_in_the_same_cgroup_is_compared() -> None:
    """The container is absent for a minute, and the window of its return has both processes."""
    away: list[list[Interval]] = [[]] * 4
    windows = [[Interval(192)]] * 8 + away + [[Interval(1, also=(192,))]] + [[Interval(1)]] * 10
    ((_, found),) = follow(windows)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (192, 1)
    assert found.comparison.after.duration_s == 4 * WINDOW_S


def test_two_processes_of_one_program_with_different_values_are_no_change() -> None:
    """The main process changes from window to window, and no value changed."""
    windows = [[Interval(8, also=(2,))], [Interval(2, also=(8,))]] * 30
    assert follow(windows) == []


def pod(name: str, value: int, runtime: int = 20, user: int = 80) -> Interval:
    return Interval(value, runtime, user, name=name, container_id=name * 8)


def test_a_rollout_is_compared_when_the_last_old_container_has_ended() -> None:
    """Two replicas are replaced one after the other: their means are compared, once."""
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
    """A unit that ends and another that starts are two, even with the same program."""
    windows = [[Interval(192, name="one.service")]] * 10 + [[Interval(1, name="two.service")]] * 30
    assert follow(windows) == []


def test_unreadable_windows_are_ignored() -> None:
    """A window without a value changes nothing."""
    windows = [[Interval(192)]] * 8 + [[Interval(None)]] * 3 + [[Interval(1)]] * 8
    assert len(follow(windows)) == 1
    assert follow([[Interval(192)], [Interval(None)]] * 20) == []


def test_containers_and_changes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The container not seen for the longest time is dropped first; at most a hundred
    comparisons."""
    monkeypatch.setattr(change, "CONTAINERS_MAX", 5)
    monkeypatch.setattr(change, "CHANGES_MAX", 3)
    watch = ChangeWatch(SETTLE)
    for number in range(40):
        watch.observe(window([Interval(1, name=f"once-{number}")], number))
        assert len(watch) <= 5
    crowd = [f"web-{i}" for i in range(5)]
    changes: tuple[Change, ...] = ()
    for value in (192, 1):
        for number in range(10):
            changes = watch.observe(window([Interval(value, name=name) for name in crowd], number))
            assert len(changes) <= 3
    assert len(changes) == 3
    assert len(watch) == 5


def test_a_comparison_is_shown_for_an_hour() -> None:
    """After it the windows no longer have it."""
    watch = ChangeWatch(SETTLE)
    shown = [
        bool(watch.observe(window([Interval(192 if number < 10 else 1)], number)))
        for number in range(300)
    ]
    assert shown.index(True) == 15
    assert sum(shown) == 3600 / WINDOW_S + 1


SPELLS = st.lists(
    st.tuples(st.sampled_from([1, 2, 192]), st.integers(1, 9), st.integers(0, 40)), max_size=12
)


@given(SPELLS)
def test_any_history_follows_the_rules(spells: list[tuple[int, int, int]]) -> None:
    """The two values differ, both sides held for 60 s with 50 samples, and the side after the
    change is the sequence of windows up to this one, without its first two."""
    windows = [[Interval(value, 0, user)] for value, length, user in spells for _ in range(length)]
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
        if after.duration_s == len(run) * WINDOW_S:  # else it continued after a change back
            assert after.samples == sum(seen.user for seen in run)


@given(st.sampled_from([1, 4, 192]), st.lists(st.integers(0, 200), max_size=60))
def test_load_alone_is_no_change(value: int, loads: list[int]) -> None:
    """However the CPU usage changes under one value."""
    assert follow([[Interval(value, 0, user)] for user in loads]) == []


def test_the_settings_follow_a_long_settling_time() -> None:
    """The memory is always at least twice the settling time."""
    long = Settings.settling(600.0)
    assert long.memory_s >= 2 * long.settle_s
    windows = [[Interval(192)]] * 200 + [[Interval(1)]] * 60
    assert len(follow(windows, long)) == 1
    assert replace(Settings(), settle_s=20.0) == Settings.settling(20.0)


def test_a_process_whose_cgroup_gets_a_limit_keeps_its_history() -> None:
    """A limit for one part of a unit makes it a group of its own, and GOMAXPROCS changes: before
    and after are compared, as for a resized container. A bare cgroup is no part of another."""

    def seen(value: int, nested: str, unit: str | None = "x.service") -> ContainerReport:
        report = Interval(value).report()
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


def test_a_bare_cgroup_replaces_no_container() -> None:
    """A container of the program ends, and a unit of the same program starts: they are
    unrelated."""
    windows = [[pod("a", 192)]] * 10 + [[Interval(1, name="two.service")]] * 30
    assert follow(windows) == []


def test_a_container_that_changed_in_place_replaces_nothing() -> None:
    """``b`` ran beside ``a``, and changed by itself; the later end of ``a`` is no rollout."""
    windows = (
        [[pod("a", 192)]]
        + [[pod("a", 192), pod("b", 64)]] * 10
        + [[pod("a", 192), pod("b", 1)]] * 10
        + [[pod("b", 1)]] * 20
    )
    ((_, found),) = follow(windows)
    assert (found.comparison.before.gomaxprocs, found.comparison.after.gomaxprocs) == (64, 1)
    assert found.comparison.matched_by == "cgroup"


def test_a_rollout_that_takes_too_long_is_not_compared() -> None:
    """The old container ends 15 minutes after the new one started: the load may be different."""
    both = [[pod("a", 192), pod("b", 1)]]
    late = [[pod("a", 192)]] * 10 + both * 62 + [[pod("b", 1)]] * 10
    assert follow(late) == []
    soon = [[pod("a", 192)]] * 10 + both * 50 + [[pod("b", 1)]] * 10
    assert len(follow(soon)) == 1


def test_settings_of_a_long_settling_time_in_numbers() -> None:
    """Twice the time is kept, and four times is waited."""
    assert Settings.settling(600.0) == replace(
        Settings(), settle_s=600.0, memory_s=1200.0, patience_s=2400.0
    )


@pytest.mark.parametrize(("windows", "kept"), [(10, 10), (11, 11), (20, 20), (21, 11), (30, 20)])
def test_the_memory_is_of_two_halves(windows: int, kept: int) -> None:
    """Of 150 s, ten windows, each: when both are full the older one goes as a whole."""
    ((_, found),) = follow([[Interval(192)]] * (1 + windows) + [[Interval(1)]] * 10)
    assert found.comparison.before.duration_s == kept * WINDOW_S


def test_fifty_samples_are_enough() -> None:
    """Five windows of ten after the first two, the second of which may still be a warm-up."""
    ((number, found),) = follow([[Interval(192)]] * 8 + [[Interval(1, 0, 10)]] * 10)
    assert (number, found.comparison.after.samples) == (8 + 1 + 5, 50)
    assert isinstance(found.unix_ns, int)


def test_by_default_a_value_settles_in_a_minute_and_a_half() -> None:
    """Six windows; of the time before, the last five minutes are kept; 49 samples are too few."""
    watch = [[Interval(192)]] * 21 + [[Interval(1)]] * 10
    ((number, found),) = follow(watch, Settings())
    assert number == 21 + 1 + 6
    assert found.comparison.before.duration_s == 300.0
    few = [Interval(1, 0, user) for user in (0, 0, 9, 10, 10, 10, 10, 0, 1, 0)]
    ((number, found),) = follow([[Interval(192)]] * 8 + [[seen] for seen in few], Settings())
    assert (number, found.comparison.after.samples) == (8 + 8, 50)


def test_a_thousand_containers_are_followed_and_a_hundred_changes_are_shown() -> None:
    """Of 1001 the first is forgotten; of 101 changes the oldest."""
    watch = ChangeWatch(SETTLE)
    watch.observe(window([Interval(1, name=f"web-{i}") for i in range(1001)]))
    assert len(watch) == 1000
    watch = ChangeWatch(SETTLE)
    for number in range(13):
        value = 192 if number < 6 else 1
        changes = watch.observe(
            window([Interval(value, name=f"web-{i}") for i in range(101)], number)
        )
    assert len(changes) == 100


def test_changes_are_listed_newest_first() -> None:
    """64, 8 and 1 after one another."""
    watch = ChangeWatch(SETTLE)
    values = [value for value in (192, 64, 8, 1) for _ in range(8)]
    for number, value in enumerate(values):
        changes = watch.observe(window([Interval(value)], number))
    assert [each.comparison.after.gomaxprocs for each in changes] == [1, 8, 64]


def test_what_cannot_be_read_is_no_other_value() -> None:
    """However long, and whatever is missing: the number, or all of it."""
    watch = ChangeWatch(SETTLE)
    for number in range(8):
        watch.observe(window([Interval(192)], number))
    for number in range(8, 30):
        unread = Interval(None).report()
        if number % 2:
            process = replace(unread.main_process, gomaxprocs=None)
            unread = replace(unread, processes=(process,))
        assert watch.observe(replace(window((), number), reports=(unread,))) == ()


def beside(found: Gomaxprocs | None, program: str = "example.com/web") -> ContainerReport:
    """192 Ps, and another process."""
    report = Interval(192).report()
    build = GoBuild("go1.24.1", Module(program, "v1"), program)
    other = replace(report.main_process, pid=8, build=build, gomaxprocs=found)
    return replace(report, processes=(report.main_process, other))


@pytest.mark.parametrize(
    ("mixed", "left_out"),
    [
        (beside(Gomaxprocs(64, Origin.ENVIRONMENT, 1)), 2),  # the window, and the one after it
        (beside(Gomaxprocs(192, Origin.ENVIRONMENT, 1)), 0),
        (beside(Gomaxprocs(None, Origin.UNKNOWN, 1)), 0),  # unreadable is no other value
        (beside(None), 0),
        (beside(Gomaxprocs(64, Origin.ENVIRONMENT, 1), "example.com/sidecar"), 0),
    ],
)
def test_a_window_with_two_values_of_one_program_is_mixed(
    mixed: ContainerReport, left_out: int
) -> None:
    """It restarted within the window, and may warm up in the next one."""
    watch = ChangeWatch(SETTLE)
    changes: tuple[Change, ...] = ()
    for number in range(20):
        report = mixed if number == 5 else Interval(192 if number < 10 else 1).report()
        changes = watch.observe(replace(window((), number), reports=(report,)))
    (found,) = changes
    assert found.comparison.before.duration_s == (9 - left_out) * WINDOW_S


@pytest.mark.parametrize(
    ("pid", "program", "both", "count"),
    [
        (7, "example.com/web", False, 1),
        (9, "example.com/web", False, 0),  # another process
        (7, "example.com/job", False, 0),  # it has started another program
        (7, "example.com/web", True, 0),  # the group of before still ran in that window
    ],
)
def test_a_process_takes_its_past_into_its_new_group(
    pid: int, program: str, both: bool, count: int
) -> None:
    """The same process of the same program, from a group that has ended."""

    def part(seen: Interval, nested: str, pid: int = 7) -> ContainerReport:
        report = seen.report()
        key = f"/x.service/{nested}"
        container = Container(key, key, "/x.service", unit="x.service", nested=nested)
        process = replace(report.main_process, container=container, pid=pid)
        return replace(report, container=container, processes=(process,))

    watch = ChangeWatch(SETTLE)
    before, after = part(Interval(8), ""), part(Interval(2, program=program), "1", pid)
    for number in range(20):
        reports: tuple[ContainerReport, ...] = (before,) if number < 8 else (after,)
        if both and number == 8:
            reports = (before, after)
        changes = watch.observe(replace(window((), number), reports=reports))
    assert len(changes) == count


def test_a_third_value_takes_its_own_time() -> None:
    """192, briefly 8, then 1 from window 11: its first two windows do not count."""
    windows = [[Interval(192)]] * 8 + [[Interval(8)]] * 3 + [[Interval(1)]] * 8
    ((number, _),) = follow(windows)
    assert number == 11 + 1 + 4


@pytest.mark.parametrize(("idle", "count"), [(60, 1), (61, 0)])
def test_samples_are_waited_for_until_patience_ends(idle: int, count: int) -> None:
    """15 minutes after the change they still count."""
    windows = [[Interval(192)]] * 8 + [[Interval(1, 0, 0)]] * idle + [[Interval(1, 0, 60)]] * 3
    found = follow(windows)
    assert [number for number, _ in found] == [8 + idle] * count


def test_a_rollout_is_compared_once_the_new_container_has_settled() -> None:
    """Its first window is of its start; four more make the 60 s."""
    ((number, _),) = follow([[pod("a", 192)]] * 10 + [[pod("b", 1)]] * 20)
    assert number == 10 + 4


@pytest.mark.parametrize(("together", "count"), [(60, 1), (61, 0)])
def test_the_end_of_the_old_container_is_waited_for_until_patience_ends(
    together: int, count: int
) -> None:
    """15 minutes after the new one was seen first, it still is a rollout."""
    both = [pod("a", 192), pod("b", 1)]
    windows = [[pod("a", 192)]] * 10 + [both] * together + [[pod("b", 1)]] * 10
    assert [number for number, _ in follow(windows)] == [10 + together] * count


def test_what_runs_on_is_no_part_of_a_rollout() -> None:
    """``c`` of the same program has a third value, before and after ``a`` makes room for ``b``."""
    windows = [[pod("a", 192), pod("c", 64)]] * 10 + [[pod("b", 1), pod("c", 64)]] * 20
    ((_, found),) = follow(windows)
    sides = found.comparison.before, found.comparison.after
    assert [side.gomaxprocs for side in sides] == [192, 1]
    assert sides[1].duration_s == 4 * WINDOW_S


def test_a_container_succeeds_no_unit() -> None:
    """A unit of the program ends, and a container of it starts: two things."""
    assert follow([[Interval(192, name="one.service")]] * 10 + [[pod("b", 1)]] * 20) == []


def test_what_hardly_ran_has_no_successor() -> None:
    """Two windows of ``a`` are nothing to compare with."""
    assert follow([[pod("a", 192)]] * 2 + [[pod("b", 1)]] * 20) == []


def test_a_successor_succeeds_once() -> None:
    """``b`` has replaced ``a``; that ``e`` ends later is another story."""
    windows = [[pod("a", 192), pod("e", 64)]] * 10 + [[pod("b", 1), pod("e", 64)]] * 10
    ((_, found),) = follow([*windows, *[[pod("b", 1)]] * 20])
    assert found.comparison.before.gomaxprocs == 192


def of_deployment(name: str, deployment: str, value: int) -> ContainerReport:
    report = pod(name, value).report()
    labels = PodContainer(
        "shop", name, "web", name, "node", "web:1", name, Workload("Deployment", deployment)
    )
    container = replace(report.container, pod=labels)
    processes = tuple(replace(process, container=container) for process in report.processes)
    return replace(report, container=container, processes=processes)


@pytest.mark.parametrize(("deployment", "matched"), [("api", ["workload"]), ("batch", [])])
def test_a_rollout_is_within_one_deployment(deployment: str, matched: list[str]) -> None:
    """Two deployments of one program are two workloads, where Kubernetes says so."""
    watch = ChangeWatch(SETTLE)
    old, new = of_deployment("a", "api", 192), of_deployment("b", deployment, 1)
    for number in range(30):
        report = old if number < 10 else new
        changes = watch.observe(replace(window((), number), reports=(report,)))
    assert [change.comparison.matched_by for change in changes] == matched


@pytest.mark.parametrize(("away", "known"), [(60, 1), (61, 0)])
def test_an_ended_container_is_remembered_until_patience_ends(away: int, known: int) -> None:
    """15 minutes after its last window it still is."""
    watch = ChangeWatch(SETTLE)
    watch.observe(window([Interval(1)]))
    for number in range(away):
        watch.observe(window([], number + 1))
    assert len(watch) == known


@pytest.mark.parametrize(
    ("build", "program"),
    [
        (None, "web"),
        (GoBuild("go1.24.1", Module("example.com/m", "v1"), "example.com/m/cmd/web"), "cmd/web"),
        (GoBuild("go1.24.1", Module("example.com/m", "v1"), ""), "example.com/m"),
        (GoBuild("go1.24.1"), "web"),
    ],
)
def test_a_program_has_the_name_of_its_package(build: GoBuild | None, program: str) -> None:
    """Else that of its module, else its command."""
    process = replace(Interval(1).report().main_process, build=build)
    assert change.program_of(process).endswith(program)
    assert (change.program_of(process) == "web") is (program == "web")


def test_a_program_without_build_information_is_compared() -> None:
    """By its command; its versions are unknown."""
    watch = ChangeWatch(SETTLE)
    for number in range(20):
        report = Interval(192 if number < 10 else 1).report()
        process = replace(report.main_process, build=None)
        report = replace(report, processes=(process,))
        changes = watch.observe(replace(window((), number), reports=(report,)))
    (found,) = changes
    assert found.comparison.before.go_version == ""


def with_saving(seen: Interval, *mids: float, gomaxprocs: int | None = 1) -> ContainerReport:
    """With a finding for each. ``gomaxprocs``: None for one about something else."""
    findings = tuple(
        Finding(
            "GT001",
            "",
            Severity.INFO,
            Confidence.LOW,
            (),
            Remedy("", "", gomaxprocs),
            Saving(mid - 0.01, mid, mid + 0.01),
        )
        for mid in mids
    )
    return replace(seen.report(), findings=findings)


def test_the_prediction_of_before_is_kept() -> None:
    """The largest of the last window that had one; that of the time after does not count."""
    watch = ChangeWatch(SETTLE)
    reports = [with_saving(Interval(192), 0.5)] * 4 + [with_saving(Interval(192), 0.1, 0.3, 0.2)]
    reports += [with_saving(Interval(192))] * 4 + [with_saving(Interval(1), 0.7)] * 8
    for number, report in enumerate(reports):
        changes = watch.observe(replace(window((), number), reports=(report,)))
    (found,) = changes
    assert found.comparison.predicted == Saving(0.3 - 0.01, 0.3, 0.3 + 0.01)


def test_a_saving_of_memory_settings_is_no_prediction_for_gomaxprocs() -> None:
    watch = ChangeWatch(SETTLE)
    seen = with_saving(Interval(192), 0.3)
    memory = with_saving(Interval(192), 0.9, gomaxprocs=None)
    both = replace(seen, findings=seen.findings + memory.findings)
    for number, report in enumerate([both] * 8 + [Interval(1).report()] * 8):
        changes = watch.observe(replace(window((), number), reports=(report,)))
    (found,) = changes
    assert found.comparison.predicted == Saving(0.3 - 0.01, 0.3, 0.3 + 0.01)


def test_several_containers_have_the_name_and_the_prediction_of_the_last() -> None:
    """Of those that have one: ``c`` of three has none,."""
    watch = ChangeWatch(SETTLE)
    old = [with_saving(pod("a", 192), 0.1), with_saving(pod("b", 192), 0.2)]
    old.append(with_saving(pod("c", 192)))
    for number in range(24):
        now = old if number < 10 else [pod("d", 1).report()]
        changes = watch.observe(replace(window((), number), reports=tuple(now)))
    (found,) = changes
    assert found.comparison.name == "c"
    assert found.comparison.predicted == Saving(0.2 - 0.01, 0.2, 0.2 + 0.01)


def test_a_new_version_of_the_program_is_a_caveat() -> None:
    """From v1 to v2, in the same change."""
    watch = ChangeWatch(SETTLE)
    for number in range(20):
        report = Interval(192 if number < 10 else 1).report()
        if number >= 10:
            build = GoBuild("go1.24.1", Module("example.com/web", "v2"), "example.com/web")
            process = replace(report.main_process, build=build)
            report = replace(report, processes=(process,))
        changes = watch.observe(replace(window((), number), reports=(report,)))
    (found,) = changes
    assert any("version changed too, v1 to v2" in caveat for caveat in found.comparison.caveats)
