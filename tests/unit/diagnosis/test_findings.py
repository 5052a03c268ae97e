from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from gotax.confidence import interval
from gotax.config import Thresholds
from gotax.diagnosis.findings import OVERSIZED, is_mismatch, judge
from gotax.model import (
    CATEGORY_COUNT,
    RUNTIME_GROUPS,
    Category,
    Container,
    ContainerReport,
    CpuLimit,
    CpuUsage,
    Gomaxprocs,
    Group,
    Origin,
    Process,
    Severity,
    Verdict,
)
from hypothesis import given
from hypothesis import strategies as st

USUAL = Thresholds()
CONTAINER = Container("c", "api", "/kubepods/pod1/c", pod_uid="1")
COUNTS = st.integers(1, 10**7).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


def report(
    value: int | None,
    recommended: int | None,
    *,
    runtime: int,
    hits: int,
    limit: float | None = 1.0,
    origin: Origin = Origin.CPU_COUNT,
) -> ContainerReport:
    """A container with ``runtime`` of its ``hits`` in the scheduler and the GC."""
    category_hits = np.zeros(CATEGORY_COUNT, np.int64)
    category_hits[Category.SCHED_FIND_WORK] = runtime - runtime // 3
    category_hits[Category.GC_MARK_IDLE] = runtime // 3
    category_hits[Category.USER] = hits - runtime
    gomaxprocs = Gomaxprocs(value, origin, recommended)
    return ContainerReport(
        container=CONTAINER,
        processes=(Process(7, 1, "api", CONTAINER, gomaxprocs=gomaxprocs),),
        category_hits=category_hits,
        functions=(),
        limit=CpuLimit(limit_cores=limit, limit_cgroup="/kubepods/pod1/c"),
        usage=CpuUsage(),
        verdict=Verdict.UNREADABLE,
    )


# Published: Newcombe, Statistics in Medicine 17 (1998), table I, method 3; z = 1.959964.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_interval_is_the_published_one(
    successes: int, trials: int, low: float, high: float
) -> None:
    """To the four digits that Newcombe prints."""
    assert interval(successes, trials, 1.959964) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS)
def test_interval_ends_are_where_the_score_test_turns(counts: tuple[int, int]) -> None:
    """Both ends solve (p - share)^2 = z^2 p (1 - p) / n: Wilson's definition itself."""
    successes, trials = counts
    share, z = Fraction(successes, trials), Fraction("1.96")
    low, high = interval(successes, trials)
    assert 0 <= low <= float(share) + 1e-12
    assert float(share) - 1e-12 <= high <= 1
    for end in (low, high):
        p = Fraction(end)
        error = (p - share) ** 2 - z**2 * p * (1 - p) / trials
        assert abs(error) <= Fraction(1, 10**12)


@given(COUNTS)
def test_interval_narrows_with_more_hits(counts: tuple[int, int]) -> None:
    """The same share of a hundred times as many hits has the narrower interval inside."""
    successes, trials = counts
    low, high = interval(successes, trials)
    inner_low, inner_high = interval(100 * successes, 100 * trials)
    assert low - 1e-12 <= inner_low <= inner_high <= high + 1e-12


def test_nothing_says_nothing() -> None:
    """No hits: the share can be anything."""
    assert interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("value", "fits", "is_one"),
    [
        (1, 1, False),
        (2, 1, False),  # what Go >= 1.25 gives to a limit of 1 core
        (3, 1, True),
        (192, 1, True),
        (3, 2, False),
        (4, 2, True),
        (7, 5, False),  # 1.4 times
        (8, 5, True),  # 1.6 times
        (6, 4, True),  # 1.5 times, exactly
        (5, 4, False),
        (1, 8, False),  # too small is not what this finding is about
        (None, 1, False),
        (192, None, False),
    ],
)
def test_mismatches(value: int | None, fits: int | None, is_one: bool) -> None:
    """At least 1.5 times what fits, and at least two more."""
    assert is_mismatch(Gomaxprocs(value, Origin.UNKNOWN, fits), USUAL) is is_one


@given(st.integers(1, 1 << 20), st.integers(1, 4096))
def test_more_processors_never_fit_better(value: int, fits: int) -> None:
    """A mismatch stays one when GOMAXPROCS grows, and when what fits shrinks."""
    if is_mismatch(Gomaxprocs(value, Origin.UNKNOWN, fits), USUAL):
        assert is_mismatch(Gomaxprocs(value + 1, Origin.UNKNOWN, fits), USUAL)
        assert fits == 1 or is_mismatch(Gomaxprocs(value, Origin.UNKNOWN, fits - 1), USUAL)


@pytest.mark.parametrize(
    ("case", "verdict"),
    [
        (report(2, 1, runtime=900, hits=1000), Verdict.FITS),
        (report(1, 1, runtime=0, hits=0), Verdict.FITS),
        (report(192, 1, runtime=150, hits=1000), Verdict.MISMATCH),
        (report(192, 1, runtime=500, hits=1000), Verdict.OVERSIZED),
        (report(192, 1, runtime=49, hits=49), Verdict.TOO_FEW_SAMPLES),
        (report(192, 1, runtime=50, hits=50), Verdict.OVERSIZED),
        (report(192, 1, runtime=0, hits=0), Verdict.TOO_FEW_SAMPLES),
        # 22 % of 200 hits may well be below 20 %; of 20,000 it is not.
        (report(192, 1, runtime=44, hits=200), Verdict.MISMATCH),
        (report(192, 1, runtime=4400, hits=20_000), Verdict.OVERSIZED),
        (report(4, 4, runtime=900, hits=1000, limit=None), Verdict.UNLIMITED),
        (report(64, 4, runtime=900, hits=1000, limit=None), Verdict.OVERSIZED),
        (report(None, 1, runtime=900, hits=1000), Verdict.UNREADABLE),
    ],
)
def test_verdicts(case: ContainerReport, verdict: Verdict) -> None:
    """One verdict per container, and a warning exactly for an oversized one."""
    got, findings = judge(case, USUAL)
    assert got is verdict
    assert [f.code for f in findings] == ([OVERSIZED] if verdict is Verdict.OVERSIZED else [])
    assert all(f.severity is Severity.WARNING for f in findings)


def test_process_that_was_never_read_is_unreadable() -> None:
    """Without any GOMAXPROCS there is no verdict about it."""
    case = report(192, 1, runtime=900, hits=1000)
    process = replace(case.main_process, gomaxprocs=None)
    assert judge(replace(case, processes=(process,)), USUAL) == (Verdict.UNREADABLE, ())


@given(st.integers(50, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_oversized_means_that_the_lower_end_reaches_the_threshold(counts: tuple[int, int]) -> None:
    """Never on a share that chance alone could have lifted over the threshold."""
    runtime, hits = counts
    case = report(192, 1, runtime=runtime, hits=hits)
    verdict, _ = judge(case, USUAL)
    assert (verdict is Verdict.OVERSIZED) == (interval(runtime, hits)[0] >= USUAL.runtime_share)
    assert math.isclose(case.runtime_share, runtime / hits)


@given(st.sampled_from(Category), st.integers(50, 5000))
def test_only_scheduler_and_gc_are_a_cost(category: Category, hits: int) -> None:
    """A container that spends all its time in one category is oversized exactly if that is the
    runtime's own work; allocation, locks or system calls are the program's."""
    case = report(192, 1, runtime=0, hits=0)
    case.category_hits[category] = hits
    verdict, _ = judge(case, USUAL)
    assert (verdict is Verdict.OVERSIZED) == (category.group in RUNTIME_GROUPS)
    assert {Group.SCHEDULER, Group.GC} == RUNTIME_GROUPS


@pytest.mark.parametrize(
    ("thresholds", "verdict"),
    [
        (Thresholds(runtime_share=0.5), Verdict.MISMATCH),
        (Thresholds(runtime_share=0.0), Verdict.OVERSIZED),
        (Thresholds(min_hits=1001), Verdict.TOO_FEW_SAMPLES),
        (Thresholds(mismatch_ratio=200.0), Verdict.FITS),
    ],
)
def test_thresholds_move_the_verdict(thresholds: Thresholds, verdict: Verdict) -> None:
    """Each of the three settings alone changes what is said of the same 40 %."""
    case = report(192, 1, runtime=400, hits=1000)
    assert judge(case, USUAL)[0] is Verdict.OVERSIZED
    assert judge(case, thresholds)[0] is verdict


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize("limit", [1.0, 0.25, None])
def test_a_finding_can_be_written_for_every_origin(origin: Origin, limit: float | None) -> None:
    """Wherever GOMAXPROCS came from, the evidence names value, room, share and hits."""
    case = report(192, 1, runtime=400, hits=1000, origin=origin, limit=limit)
    verdict, (finding,) = judge(case, USUAL)
    assert verdict is Verdict.OVERSIZED
    text = " ".join(finding.evidence)
    assert "GOMAXPROCS is 192" in text
    assert "40.0%" in text
    assert "1000 hits" in text
    assert ("a limit of" in text) == (limit is not None)


def test_throttling_is_evidence_where_there_was_some() -> None:
    """Periods and seconds appear when the kernel counted any."""
    case = report(192, 1, runtime=400, hits=1000)
    _, (quiet,) = judge(case, USUAL)
    usage = CpuUsage(periods=100, throttled_periods=60, throttled_ns=3_500_000_000)
    _, (loud,) = judge(replace(case, usage=usage), USUAL)
    assert not any("throttled" in line for line in quiet.evidence)
    assert "throttled in 60 of 100 periods, 3.5 s in all" in loud.evidence


def test_remedy_is_for_whoever_runs_it() -> None:
    """A pod gets the lines of its template, a service the variable."""
    case = report(192, 1, runtime=400, hits=1000)
    _, (in_pod,) = judge(case, USUAL)
    assert "resourceFieldRef" in in_pod.remedy
    service = replace(case, container=replace(CONTAINER, pod_uid=None))
    _, (outside,) = judge(service, USUAL)
    assert "GOMAXPROCS=1" in outside.remedy
