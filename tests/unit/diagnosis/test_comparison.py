"""Intervals of differences, matching, and the contents of a comparison."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, RUNTIME_GROUPS, Category, Group
from gotax.comparison import Observation, Outcome, Work, collector_changes, collector_texts
from gotax.confidence import difference, interval, mean_reach, student
from gotax.diagnosis.comparison import (
    Matching,
    Pair,
    Subject,
    Tuned,
    compare,
    match,
    tuned_of,
)
from gotax.findings import Saving
from gotax.process import NO_MEMORY_LIMIT, CpuUsage
from hypothesis import given
from hypothesis import strategies as st

COUNTS = st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# Published: Newcombe, Statistics in Medicine 17 (1998) p. 873, table II, method 10; z = 1.959964.
# The sides are the paper's second and first sample: its difference is first minus second.
@pytest.mark.parametrize(
    ("before", "after", "low", "high"),
    [
        ((48, 80), (56, 70), 0.0524, 0.3339),
        ((3, 10), (9, 10), 0.1705, 0.8090),
        ((2, 7), (6, 7), 0.0582, 0.8062),
        ((0, 29), (5, 56), -0.0381, 0.1926),
        ((0, 20), (0, 10), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((0, 20), (10, 10), 0.6791, 1.0),
        ((0, 10), (10, 10), 0.6075, 1.0),
    ],
)
def test_difference_matches_the_published_values(
    before: tuple[int, int], after: tuple[int, int], low: float, high: float
) -> None:
    """To the four digits of the paper, except for the rounding of z."""
    assert difference(before, after) == pytest.approx((low, high), abs=1e-4)


@given(COUNTS, COUNTS)
def test_difference_changes_its_sign_with_the_sides(
    before: tuple[int, int], after: tuple[int, int]
) -> None:
    """The estimate lies within the interval."""
    low, high = difference(before, after)
    back_low, back_high = difference(after, before)
    assert (low, high) == pytest.approx((-back_high, -back_low))
    assert low - 1e-12 <= after[0] / after[1] - before[0] / before[1] <= high + 1e-12


@pytest.mark.parametrize(("p", "q"), [(0.1, 0.1), (0.45, 0.15), (0.02, 0.2), (0.5, 0.6)])
def test_difference_covers_the_truth_in_about_95_percent(p: float, q: float) -> None:
    """Computed over all outcomes of 60 and 80 samples, not simulated."""
    n, m = 60, 80
    covered = sum(
        binomial(a, n, p) * binomial(b, m, q)
        for a in range(n + 1)
        for b in range(m + 1)
        if (ends := difference((a, n), (b, m)))[0] <= q - p <= ends[1]
    )
    assert 0.94 <= covered <= 0.985


def binomial(k: int, n: int, p: float) -> float:
    return math.comb(n, k) * p**k * (1 - p) ** (n - k)


def test_without_samples_a_share_is_unknown() -> None:
    """If one side has no samples, its share can be anything."""
    assert difference((0, 0), (0, 0)) == (-1.0, 1.0)
    low, high = difference((0, 0), (50, 100))
    assert low < -0.3
    assert high > 0.5


@pytest.mark.parametrize("freedom", [*range(1, 41), 75, 200, 5000])
def test_student_covers_95_percent(freedom: int) -> None:
    """The area of Student's density within the bounds, integrated, is 0.95."""
    t = np.linspace(0, student(freedom), 200_001)
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    density = scale / math.sqrt(freedom * math.pi) * (1 + t * t / freedom) ** (-(freedom + 1) / 2)
    assert 2 * np.trapezoid(density, t) == pytest.approx(0.95, abs=5e-4)


def test_student_matches_the_printed_tables() -> None:
    """NIST/SEMATECH e-Handbook, 1.3.6.7.2: three decimals; whole degrees of freedom are rounded
    down."""
    printed = {1: 12.706, 2: 4.303, 3: 3.182, 9: 2.262, 14: 2.145, 17: 2.110, 29: 2.045, 30: 2.042}
    assert {freedom: student(freedom) for freedom in printed} == printed
    assert student(14.9) == 2.145
    assert student(30.99) == 2.042


def test_equal_sides_have_the_interval_of_student() -> None:
    """For equal numbers and variances Welch's interval is the pooled t with 2 n - 2 degrees of
    freedom."""
    assert mean_reach((8, 0.5), (8, 0.5)) == pytest.approx(2.145 * math.sqrt(2 * 0.5 / 8))


@pytest.mark.parametrize("sides", [((1, 0.0), (9, 1.0)), ((9, 1.0), (1, 0.0)), ((0, 0.0),) * 2])
def test_one_block_has_no_interval(sides: tuple[tuple[int, float], tuple[int, float]]) -> None:
    """One value does not show how much the next may differ."""
    assert mean_reach(*sides) is None


def samples_of(runtime: int, user: int) -> tuple[int, ...]:
    counts = [0] * CATEGORY_COUNT
    counts[Category.SCHED_FIND_WORK] = runtime
    counts[Category.USER] = user
    return tuple(counts)


def seen(cores: float, **changes: object) -> Observation:
    """60 s of a service at that CPU."""
    usual = Observation(
        duration_s=60.0,
        cpu_ns=round(cores * 60e9),
        category_samples=samples_of(400, 600),
        usage=CpuUsage(periods=600, throttled_periods=60, throttled_ns=10**9),
        limit_cores=1.0,
        gomaxprocs=192,
        recommended=1,
        go_version="go1.26.8",
    )
    return replace(usual, **changes)  # type: ignore[arg-type]


def subject(name: str = "web", program: str = "example.com/web", cgroup: str = "") -> Subject:
    return Subject(name, cgroup or f"/shop/{name}", seen(0.5), program=program, version="v1")


def pair(
    before: Observation,
    after: Observation,
    predicted: Saving | None = None,
    tuned: Tuned | None = None,
) -> Pair:
    old = replace(subject(), observation=before, predicted=predicted, tuned=tuned)
    return Pair(old, replace(subject(), observation=after), "cgroup")


BEFORE = seen(0.5)
AFTER = seen(0.3, gomaxprocs=1, category_samples=samples_of(60, 540))


def test_shares_change_with_their_intervals() -> None:
    """Runtime share, groups and categories; groups without samples are included, categories are
    not."""
    found = compare(pair(BEFORE, AFTER))
    assert (found.runtime.before, found.runtime.after) == (0.4, 0.1)
    assert (found.runtime.low, found.runtime.high) == difference((400, 1000), (60, 600))
    assert found.runtime.is_sure
    shares = dict(found.shares)
    assert set(shares) == set(Group)
    assert shares[Group.SCHEDULER] == found.runtime
    assert not shares[Group.NATIVE].is_sure
    assert [c for c, _ in found.categories] == [Category.USER, Category.SCHED_FIND_WORK]


def test_single_windows_have_no_interval_of_cpu() -> None:
    """The saving is a number without one, and the caveats say why."""
    found = compare(pair(BEFORE, AFTER))
    assert found.saving.value == pytest.approx(0.2)
    assert (found.saving.low, found.saving.high, found.cores.low) == (None, None, None)
    assert any("does not show how much the CPU varies" in text for text in found.caveats)
    assert any("no throughput" in text for text in found.caveats)


def varied(variance: float) -> tuple[Observation, Observation]:
    before, after = (replace(s, blocks=8, cores_variance=variance) for s in (BEFORE, AFTER))
    return before, after


def test_blocks_give_an_interval() -> None:
    """Similar windows give a narrow one, varying ones a wide one that includes zero."""
    even = compare(pair(*varied(1e-4)))
    assert even.cores.is_sure
    assert even.saving.low == pytest.approx(0.2 - 2.145 * math.sqrt(2e-4 / 8))
    uneven = compare(pair(*varied(0.25)))
    assert not uneven.cores.is_sure
    assert uneven.saving.low is not None
    assert uneven.saving.low < 0 < uneven.saving.value


def test_the_saving_is_at_the_work_of_before() -> None:
    """0.3 cores for half the work are 0.6 for all of it: nothing was saved."""
    found = compare(pair(BEFORE, AFTER), Work(1000.0, 500.0))
    assert found.cpu_per_unit is not None
    assert (found.cpu_per_unit.before, found.cpu_per_unit.after) == pytest.approx((5e-4, 6e-4))
    assert found.saving.value == pytest.approx(0.5 - 0.6)
    assert not any("no throughput" in text for text in found.caveats)


@pytest.mark.parametrize(
    ("after", "predicted", "outcome"),
    [
        (AFTER, None, Outcome.NOT_PREDICTED),
        (AFTER, Saving(0.15, 0.18, 0.25), Outcome.WITHIN),
        (AFTER, Saving(0.21, 0.22, 0.25), Outcome.BELOW),
        (AFTER, Saving(0.1, 0.12, 0.19), Outcome.ABOVE),
        (replace(AFTER, gomaxprocs=4), Saving(0.15, 0.18, 0.25), Outcome.NOT_APPLIED),
        (replace(AFTER, gomaxprocs=None), Saving(0.15, 0.18, 0.25), Outcome.NOT_APPLIED),
    ],
)
def test_predicted_and_realised_saving(
    after: Observation, predicted: Saving | None, outcome: Outcome
) -> None:
    """0.2 cores were saved; a prediction for another GOMAXPROCS is not judged."""
    assert compare(pair(BEFORE, after, predicted)).outcome is outcome
    if after.gomaxprocs is None:
        unknown = replace(BEFORE, recommended=None)
        assert compare(pair(unknown, after, predicted)).outcome is outcome


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gomaxprocs": 192}, "GOMAXPROCS is 192 on both sides"),
        ({"go_version": "go1.27"}, "Go changed too, go1.26.8 to go1.27"),
        ({"limit_cores": None}, "the CPU limit changed too, 1 to none"),
        ({"category_samples": samples_of(3, 4)}, "7 samples on one side are too few"),
    ],
)
def test_other_changes_are_caveats(changes: dict[str, object], words: str) -> None:
    """One caveat for each, and none without other changes."""
    usual = compare(pair(BEFORE, AFTER)).caveats
    assert not any(words in text or "changed too" in text for text in usual)
    found = compare(pair(BEFORE, replace(AFTER, **changes)))  # type: ignore[arg-type]
    assert any(words in text for text in found.caveats)


def matched(found: Matching) -> set[tuple[str, str, str]]:
    return {(p.before.name, p.after.name, p.matched_by) for p in found.pairs}


def test_matching_is_by_cgroup_then_name_then_program() -> None:
    """A restart in its cgroup, a pod of the same name elsewhere, a rollout under a new name."""
    before = [
        subject("a"),
        subject("b", "example.com/b", "/old/b"),
        subject("c-1", "example.com/c"),
    ]
    after = [subject("c-2", "example.com/c"), subject("b", "example.com/b", "/new/b"), subject("a")]
    found = match(before, after)
    assert matched(found) == {
        ("a", "a", "cgroup"),
        ("b", "b", "name"),
        ("c-1", "c-2", "program"),
    }
    assert found.unmatched == ()


def test_ambiguous_replicas_are_not_matched() -> None:
    """Two before, two after, all with other names: each of the four is listed, with the reason."""
    before = [subject("web-1"), subject("web-2")]
    after = [subject("web-3"), subject("web-4")]
    found = match(before, after)
    assert found.pairs == ()
    assert [(side, name) for side, name, _ in found.unmatched] == [
        ("before", "web-1"),
        ("before", "web-2"),
        ("after", "web-3"),
        ("after", "web-4"),
    ]
    assert all("2 containers run example.com/web" in why for _, _, why in found.unmatched)


def test_another_program_in_the_same_cgroup_is_not_matched() -> None:
    """An equal cgroup alone is not enough."""
    found = match([subject("a")], [subject("a", "example.com/other")])
    assert found.pairs == ()
    assert {why for _, _, why in found.unmatched} == {
        "no such container after",
        "no such container before",
    }


NAMES = st.sampled_from("abc")
SUBJECTS = st.lists(
    st.builds(subject, NAMES, NAMES, st.sampled_from(["/x", "/y", "/z"])), max_size=6
)


@given(SUBJECTS, SUBJECTS)
def test_matching_loses_and_repeats_nothing(before: list[Subject], after: list[Subject]) -> None:
    """Each container is in one pair or unmatched, and both sides of a pair run the same program."""
    found = match(before, after)
    sides = (
        ("before", before, [p.before for p in found.pairs]),
        ("after", after, [p.after for p in found.pairs]),
    )
    for side, every, of_pairs in sides:
        left = [name for where, name, _ in found.unmatched if where == side]
        assert sorted([s.name for s in of_pairs] + left) == sorted(s.name for s in every)
    assert all(p.before.program == p.after.program for p in found.pairs)


@given(COUNTS, COUNTS, st.floats(0, 100), st.floats(0, 100))
def test_shares_of_groups_add_up(
    before: tuple[int, int], after: tuple[int, int], cores: float, later: float
) -> None:
    """The groups' shares sum to one on either side; the runtime's is scheduler and GC."""
    found = compare(
        pair(
            seen(cores, category_samples=samples_of(before[0], before[1])),
            seen(later, category_samples=samples_of(after[0], after[1])),
        )
    )
    assert sum(delta.before for _, delta in found.shares) == pytest.approx(1)
    assert sum(delta.after for _, delta in found.shares) == pytest.approx(1)
    of_runtime = [delta for group, delta in found.shares if group in RUNTIME_GROUPS]
    assert found.runtime.change == pytest.approx(sum(delta.change for delta in of_runtime))
    assert found.saving.value == pytest.approx(cores - later, abs=1e-6)


def test_a_container_answers_to_each_of_its_names() -> None:
    """And to the beginning of its ID; not to parts of the others, nor to nothing."""
    found = Subject(
        "web",
        "/shop/web",
        BEFORE,
        "0123abcd",
        "web.service",
        "example.com/web",
        "v1",
        ("w", "serve"),
    )
    for name in ("web", "/shop/web", "web.service", "example.com/web", "w", "serve", "0123", "0"):
        assert found.answers_to(name), name
    for name in ("", "we", "/shop", "v1", "123", "0123abcde"):
        assert not found.answers_to(name), name
    assert not replace(found, container_id=None).answers_to("0123")


def test_a_subject_that_is_matched_is_not_matched_again() -> None:
    """By its place first: the one of the same name elsewhere has none left."""
    before = [subject("a", cgroup="/x"), subject("b", cgroup="/y")]
    after = [subject("b", cgroup="/x"), subject("c", cgroup="/z")]
    found = match(before, after)
    assert matched(found) == {("a", "b", "cgroup"), ("b", "c", "program")}


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1), (2, 3)])
def test_unmatched_says_how_many_there_are(before: int, after: int) -> None:
    """On the side with more."""
    found = match(
        [subject(f"old-{n}") for n in range(before)], [subject(f"new-{n}") for n in range(after)]
    )
    assert found.pairs == ()
    assert [side for side, _, _ in found.unmatched] == ["before"] * before + ["after"] * after
    assert all(why.startswith("3 containers run") for _, _, why in found.unmatched)


def test_intervals_at_the_work_of_before() -> None:
    """0.3 cores for half the work are 0.6, and their deviation is twice as large."""
    before, after = varied(0.01)
    found = compare(pair(before, after), Work(1000.0, 500.0))
    reach = mean_reach((8, 0.01), (8, 0.04))
    assert reach is not None
    assert (found.saving.low, found.saving.high) == pytest.approx((-0.1 - reach, -0.1 + reach))
    per_unit = mean_reach((8, 0.01 / 1000**2), (8, 0.01 / 500**2))
    assert found.cpu_per_unit is not None
    assert per_unit is not None
    assert found.cpu_per_unit.low == pytest.approx(1e-4 - per_unit)
    assert found.cpu_per_unit.high == pytest.approx(1e-4 + per_unit)
    plain = mean_reach((8, 0.01), (8, 0.01))
    assert plain is not None
    assert (found.cores.low, found.cores.high) == pytest.approx((-0.2 - plain, -0.2 + plain))
    assert (found.work, compare(pair(before, after)).cpu_per_unit) == (Work(1000.0, 500.0), None)


@pytest.mark.parametrize("predicted", [Saving(0.25, 0.3, 0.35), Saving(0.15, 0.2, 0.25)])
def test_the_ends_of_a_range_are_within_it(predicted: Saving) -> None:
    """A quarter of a core, exactly."""
    before, after = seen(0.5), seen(0.25, gomaxprocs=1)
    assert compare(pair(before, after, predicted)).outcome is Outcome.WITHIN


@pytest.mark.parametrize(
    ("blocks", "one_window"), [((1, 1), True), ((2, 1), True), ((1, 2), True), ((2, 2), False)]
)
def test_two_windows_on_both_sides_show_how_the_cpu_varies(
    blocks: tuple[int, int], one_window: bool
) -> None:
    """One of these two caveats is always there."""
    before, after = (
        replace(side, blocks=n, cores_variance=0.01)
        for side, n in zip((BEFORE, AFTER), blocks, strict=True)
    )
    found = compare(pair(before, after))
    assert any("one window on a side" in text for text in found.caveats) is one_window
    assert any("the interval of CPU covers" in text for text in found.caveats) is not one_window
    assert (found.cores.low is None) is one_window


@pytest.mark.parametrize(("count", "few"), [(49, True), (50, False)])
def test_few_samples_are_those_of_a_verdict(count: int, few: bool) -> None:
    """On either side."""
    less = replace(AFTER, category_samples=samples_of(0, count))
    for sides in ((BEFORE, less), (replace(less, gomaxprocs=192), AFTER)):
        caveats = compare(pair(*sides)).caveats
        assert any(f"{count} samples on one side" in text for text in caveats) is few


def test_versions_that_changed_are_named() -> None:
    """Of the program too; what was not known is unknown."""
    old = replace(subject(), observation=replace(BEFORE, go_version=""), version="v1")
    new = replace(subject(), observation=AFTER, version="v2")
    caveats = compare(Pair(old, new, "cgroup")).caveats
    assert any(text.startswith("the program's version changed too, v1 to v2") for text in caveats)
    assert any(text.startswith("Go changed too, unknown to go1.26.8") for text in caveats)
    back = compare(Pair(new, old, "cgroup")).caveats
    assert any(text.startswith("Go changed too, go1.26.8 to unknown") for text in back)


def test_without_samples_shares_are_nothing() -> None:
    """And any change of them is possible; a category without samples is not listed."""
    none = replace(BEFORE, category_samples=samples_of(0, 0))
    found = compare(pair(none, none))
    assert (found.runtime.before, found.runtime.after) == (0.0, 0.0)
    assert (found.runtime.low, found.runtime.high) == (-1.0, 1.0)
    assert found.categories == ()
    half = compare(pair(none, AFTER))
    assert [category for category, _ in half.categories] == [
        Category.USER,
        Category.SCHED_FIND_WORK,
    ]


def test_the_expansion_of_student_begins_above_thirty() -> None:
    """Up to there the table; the numbers at 40 and 120 are those of printed tables."""
    assert student(1.0) == 12.706
    assert student(40) == pytest.approx(2.021, abs=1.5e-3)
    assert student(120) == pytest.approx(1.980, abs=1e-3)
    assert student(31) == pytest.approx(2.040, abs=3e-3)
    assert [student(31), student(40)] == pytest.approx([1.96 + 2.4 / 31, 2.02], abs=1e-9)


def test_the_interval_is_of_two_standard_errors_and_its_freedom_is_welchs() -> None:
    """Of unequal variances, by hand: 0.04 / 4 and 0.01 / 9; 3.82 degrees of freedom count as 3."""
    a, b = 0.04 / 4, 0.01 / 9
    freedom = (a + b) ** 2 / (a * a / 3 + b * b / 8)
    assert int(freedom) == 3
    assert mean_reach((4, 0.04), (9, 0.01)) == pytest.approx(3.182 * math.sqrt(a + b))
    assert mean_reach((2, 1.0), (2, 0.0)) == pytest.approx(12.706 * math.sqrt(0.5))
    assert mean_reach((2, 0.0), (2, 0.0)) == 0.0


def test_nothing_after_says_no_more_than_nothing_before() -> None:
    """Half of 100, and then anything: down by at most its high end, up by what is left above its
    low end."""
    low, high = interval(50, 100)
    assert difference((50, 100), (0, 0)) == (-high, 1 - low)
    assert difference((0, 0), (50, 100)) == (low - 1, high)


@pytest.mark.parametrize(
    ("before", "after", "ends"),
    [
        ((0, 1), (1, 1), (1 - 0.7935 * 2**0.5, 1.0)),
        ((1, 1), (0, 1), (-1.0, 0.7935 * 2**0.5 - 1)),
        ((0, 1), (10, 10), (1 - math.hypot(0.2775, 0.7935), 1.0)),
        ((10, 10), (0, 1), (-1.0, math.hypot(0.2775, 0.7935) - 1)),
    ],
)
def test_one_sample_is_something(
    before: tuple[int, int], after: tuple[int, int], ends: tuple[float, float]
) -> None:
    """By hand, from Wilson's 0 to 0.7935 for none of one, and 0 to 0.2775 for none of ten."""
    assert difference(before, after) == pytest.approx(ends, abs=2e-4)


MIB = 1 << 20
TUNED = Tuned("GOMEMLIMIT=300MiB", Saving(0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    ("setting", "gogc", "limit_mib", "applied"),
    [
        ("GOMEMLIMIT=300MiB", 100, 300, True),
        ("GOMEMLIMIT=300MiB", 100, 301, True),
        ("GOMEMLIMIT=300MiB", 100, 299, False),
        ("GOMEMLIMIT=300MiB", 100, None, False),
        ("GOMEMLIMIT=all", 100, 300, False),
        ("GOGC=400", 400, None, True),
        ("GOGC=400", 200, None, False),
        ("GOGC=400", None, None, False),
    ],
)
def test_a_setting_of_the_collector_is_applied(
    setting: str, gogc: int | None, limit_mib: int | None, applied: bool
) -> None:
    limit = None if limit_mib is None else limit_mib * MIB
    after = Observation(10.0, 10**9, (), gogc=gogc, memory_limit_bytes=limit)
    assert Tuned(setting, TUNED.saving).is_applied(after) is applied


def test_the_prediction_is_that_of_what_changed() -> None:
    """GOMAXPROCS first; another GOMEMLIMIT or GOGC then is a caveat."""
    cores = Saving(0.5, 0.6, 0.7)
    before = Observation(
        *(10.0, 10**10, (9,) * CATEGORY_COUNT),
        gomaxprocs=8,
        recommended=1,
        gogc=100,
        memory_limit_bytes=MIB,
    )
    more = replace(before, cpu_ns=8 * 10**9, memory_limit_bytes=300 * MIB)
    found = compare(pair(before, more, predicted=cores, tuned=TUNED))
    assert (found.predicted, found.predicted_for) == (TUNED.saving, "GOMEMLIMIT=300MiB")
    assert found.outcome is Outcome.WITHIN
    assert not any("changed too" in each or "on both sides" in each for each in found.caveats)
    both = compare(pair(before, replace(more, gomaxprocs=1), predicted=cores, tuned=TUNED))
    assert (both.predicted, both.predicted_for) == (cores, "GOMAXPROCS=1")
    assert both.outcome is Outcome.BELOW
    assert any(each.startswith("GOMEMLIMIT changed too, 1 MiB to 300 MiB") for each in both.caveats)
    assert compare(pair(before, more, predicted=cores)).outcome is Outcome.NOT_APPLIED
    same = compare(pair(before, before, predicted=cores, tuned=TUNED))
    assert (same.predicted, same.outcome) == (cores, Outcome.NOT_APPLIED)
    assert any("GOMAXPROCS is 8 on both sides" in each for each in same.caveats)
    only = compare(pair(before, before, tuned=TUNED))
    assert (only.predicted, only.outcome) == (TUNED.saving, Outcome.NOT_APPLIED)
    nothing = compare(pair(before, more))
    assert (nothing.outcome, nothing.predicted_for) == (Outcome.NOT_PREDICTED, "")
    percent = compare(pair(before, replace(more, gogc=-1), tuned=TUNED))
    assert any(each.startswith("GOGC changed too, 100 to off") for each in percent.caveats)
    unread = compare(pair(before, replace(before, gogc=None, memory_limit_bytes=None)))
    assert not any("changed too" in each for each in unread.caveats)
    gogc = compare(pair(before, replace(before, gogc=200), predicted=cores, tuned=TUNED))
    assert (gogc.predicted, gogc.outcome) == (TUNED.saving, Outcome.NOT_APPLIED)


def test_the_largest_saving_of_a_setting_counts() -> None:
    less = Saving(0.0, 0.1, 0.2)
    found = tuned_of([("GOGC=200", less), ("", Saving(9, 9, 9)), ("GOMEMLIMIT=9MiB", None)])
    assert found == Tuned("GOGC=200", less)
    assert tuned_of([("GOGC=200", less), (TUNED.setting, TUNED.saving)]) == TUNED
    assert tuned_of([]) is None


def test_settings_as_text() -> None:
    for limit, gogc, texts in (
        (None, None, ["?", "?"]),
        (NO_MEMORY_LIMIT, -1, ["none", "off"]),
        (1500 * MIB, 0, ["1,500 MiB", "0"]),
    ):
        seen = Observation(1.0, 1, (), gogc=gogc, memory_limit_bytes=limit)
        assert list(collector_texts(seen).values()) == texts
    old = Observation(1.0, 1, (), gogc=100, memory_limit_bytes=9 * MIB)
    assert collector_changes(old, replace(old, gogc=200)) == [("GOGC", "100", "200")]
    assert collector_changes(old, replace(old, gogc=None, memory_limit_bytes=MIB)) == [
        ("GOMEMLIMIT", "9 MiB", "1 MiB")
    ]
    assert collector_changes(replace(old, gogc=None), old) == []
