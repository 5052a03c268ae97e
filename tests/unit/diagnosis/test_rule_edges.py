"""The edges of each finding: the last number without it, and the first with it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.category import Category
from gotax.diagnosis import advice, rules
from gotax.diagnosis.context import Context
from gotax.findings import Cause, Finding
from gotax.process import (
    Binding,
    CpuLimit,
    CpuUsage,
    GoBuild,
    Gomaxprocs,
    Origin,
    Otherwise,
    RuntimeState,
)

from tests.unit.diagnosis.test_context import context


def found(seen: Context) -> dict[str, Finding]:
    return {finding.code: finding for finding in rules.find_each(seen)}


def test_idle_marking_does_not_count_as_gc() -> None:
    """Ps without other work do idle marking, and stop when there is work: 20 % of marking by
    dedicated workers is below the threshold, with any amount of idle marking."""
    idle = context(1, GC_MARK_IDLE=600, GC_MARK_DEDICATED=200, USER=200)
    assert rules.GC_HEAVY not in found(idle)
    heavy = context(1, GC_MARK_IDLE=100, GC_MARK_DEDICATED=400, USER=500)
    assert found(heavy)[rules.GC_HEAVY].evidence[0].value == 0.4


@pytest.mark.parametrize(
    ("value", "limit", "fits", "is_below"),
    [
        (3, 4.0, 4, True),  # exactly one core unused
        (4, 4.0, 4, False),
        (3, 3.9, 4, False),  # nine tenths of one
        (3, 5.0, 3, False),  # the recommended value is less than the limit: it may use no more CPUs
        (2, 4.0, 4, True),
    ],
)
def test_below_the_limit_by_a_whole_core(
    value: int, limit: float, fits: int, is_below: bool
) -> None:
    """GT004, for a program that uses all its Ps."""
    seen = context(value, fits, limit=CpuLimit(limit, None, limit), cpu_ns=value * 10**10)
    assert (rules.BELOW_LIMIT in found(seen)) is is_below


@pytest.mark.parametrize(
    ("value", "fits", "cores", "target"),
    [
        (1, 64, 0.85, 2),  # four goroutines busy on one P look like this
        (1, 64, 0.84, None),
        (4, 64, 3.4, 8),
        (4, 4, 4.0, None),  # all CPUs that it may use
        (3, 4, 3.0, 4),
        (40, 64, 34.0, 64),
    ],
)
def test_too_low_without_a_limit(value: int, fits: int, cores: float, target: int | None) -> None:
    """GT004: a number, because there is no limit to take it from."""
    for origin in (Origin.ENVIRONMENT, Origin.CRIO):
        seen = context(value, fits, limit=CpuLimit(shares=512 * value), cpu_ns=int(cores * 10**10))
        main = seen.report.main_process
        gomaxprocs = Gomaxprocs(value, origin, fits, variable=value)
        main = replace(main, gomaxprocs=gomaxprocs, runtime=RuntimeState(idle_ps=0))
        seen = replace(seen, report=replace(seen.report, processes=(main,)))
        finding = found(seen).get(rules.BELOW_LIMIT)
        if target is None:
            assert finding is None
            continue
        assert finding is not None
        assert finding.remedy.gomaxprocs == target
        assert f'value: "{target}"' in finding.remedy.patch
        assert "limits.cpu" not in finding.remedy.patch
        assert f"GOMAXPROCS={target}" in finding.remedy.text
        raised = f"raise requests.cpu to {target / 2:g}: CRI-O sets GOMAXPROCS to twice"
        assert (raised in finding.remedy.text) is (origin is Origin.CRIO)
        texts = [each.text for each in finding.evidence]
        assert f"its CPU request is {value / 2:.2f} cores" in texts
        assert f"0 of {value} Ps had no work at the end of the window" in texts


@pytest.mark.parametrize(("cores", "is_full"), [(1.69, False), (1.7, True)])
def test_used_up_means_85_percent_of_the_ps(cores: float, is_full: bool) -> None:
    """Of 2 Ps at a limit of 4; an earlier finding stays from 60 % of that."""
    seen = context(2, 4, limit=CpuLimit(4.0, None, 4.0), cpu_ns=round(cores * 10**10))
    assert (rules.BELOW_LIMIT in found(seen)) is is_full
    less = context(2, 4, limit=CpuLimit(4.0, None, 4.0), cpu_ns=round(cores * 0.6 * 10**10))
    assert (rules.BELOW_LIMIT in found(replace(less, lenient=True))) is is_full


def several(fits: int, *busy: tuple[int, int]) -> Context:
    """Processes with (GOMAXPROCS, samples)."""
    seen = context(busy[0][0], fits, USER=sum(samples for _, samples in busy))
    main = seen.report.main_process
    processes = tuple(
        replace(main, pid=7 + i, gomaxprocs=Gomaxprocs(value, Origin.CPU_COUNT, fits))
        for i, (value, _) in enumerate(busy)
    )
    report = replace(
        seen.report, processes=processes, process_samples=tuple(samples for _, samples in busy)
    )
    return replace(seen, report=report)


@pytest.mark.parametrize(
    ("fits", "busy", "is_told"),
    [
        (2, ((2, 50), (2, 50)), True),  # 4 Ps where 2 fit
        (2, ((4, 100),), False),  # only one
        (2, ((2, 950), (2, 50)), True),  # a twentieth of the samples is busy
        (2, ((2, 951), (2, 49)), False),
        (2, ((2, 50), (1, 50)), False),  # 3 are not 2 more than 2
        (8, ((6, 50), (6, 50)), True),  # 12 are one and a half times 8
        (8, ((6, 50), (5, 50)), False),
        (2, ((2, 0), (2, 0)), False),  # none of them runs
    ],
)
def test_two_busy_processes_share_a_limit(
    fits: int, busy: tuple[tuple[int, int], ...], is_told: bool
) -> None:
    """GT012, from two on."""
    seen = several(fits, *busy)
    assert (rules.SEVERAL_PROCESSES in found(seen)) is is_told
    if is_told:
        finding = found(seen)[rules.SEVERAL_PROCESSES]
        assert finding.title.startswith(f"{len(busy)} Go processes")
        assert finding.evidence[0].value == sum(value for value, _ in busy)


@pytest.mark.parametrize(
    ("value", "fits", "limit", "well"),
    [
        (1, 1, 1.0, True),
        (2, 1, 1.0, True),  # Go itself gives 2 for a limit of 1
        (3, 1, 1.0, False),
        (2, 2, 1.5, True),
        (1, 2, 1.5, True),  # automaxprocs rounds down
        (3, 2, 1.5, False),
        (1, 2, 2.0, False),
        (4, 4, 4.0, True),
        (5, 4, 4.0, False),
        (3, 4, None, False),
        (None, 1, 1.0, False),
        (1, None, 1.0, False),
        (0, 1, 0.5, False),
    ],
)
def test_values_that_a_remedy_may_lead_to(
    value: int | None, fits: int | None, limit: float | None, well: bool
) -> None:
    """At most the recommended value, except for Go's 2; a limit rounded down is fine too."""
    seen = context(8, fits, limit=CpuLimit(limit, None, limit))
    assert advice.fits_well(seen, value) is well


def test_a_limit_that_does_not_bind_is_not_rounded_down() -> None:
    """2 CPUs under a limit of 1.5, with the cpuset as the bound."""
    seen = context(8, 2, limit=CpuLimit(1.5), bound_by=(Binding.CPUSET,))
    assert not advice.fits_well(seen, 1)


def test_what_was_read_may_contradict_itself() -> None:
    """A quota that bounds, without a limit or with one that allows more; a value not read."""
    free = context(8, 2, limit=CpuLimit(), bound_by=(Binding.QUOTA,))
    assert [advice.fits_well(free, value) for value in (1, 2, 3)] == [False, True, False]
    more = context(8, 2, limit=CpuLimit(4.0), bound_by=(Binding.QUOTA,))
    assert [advice.fits_well(more, value) for value in (1, 2, 3)] == [False, True, False]
    assert not advice.fits_well(context(None, 1), 1)


@pytest.mark.parametrize(
    ("go_line", "cause", "target"),
    [
        (2, Cause.GO_MOD, 2),  # a new go line gives Go's own 2 at a limit of 1
        (1, Cause.GO_MOD, 1),
        (3, Cause.GO_MOD, 1),
        (None, Cause.GO_MOD, 1),
        (2, Cause.OLD_GO, 1),
    ],
)
def test_target_of_a_remedy(go_line: int | None, cause: Cause, target: int) -> None:
    """The recommended value, unless Go's own choice is the remedy and leads to 2."""
    seen = context(8, 1)
    gomaxprocs = Gomaxprocs(8, Origin.CPU_COUNT, 1, otherwise=Otherwise(go_line=go_line))
    process = replace(seen.report.main_process, gomaxprocs=gomaxprocs)
    seen = replace(seen, report=replace(seen.report, processes=(process,)))
    assert advice.target_of(seen, cause) == target


def of_a_thousand(category: str, samples: int) -> Context:
    seen = context(1, USER=1000 - samples)
    seen.report.category_samples[Category[category]] = samples
    return seen


@pytest.mark.parametrize(
    ("code", "category", "most", "first"),
    [
        # Of 1000 samples: the lower end of the first interval is at the threshold or above.
        (rules.GC_HEAVY, "GC_MARK_DEDICATED", 276, 277),
        (rules.ALLOCATION_HEAVY, "ALLOC", 276, 277),
        (rules.ALLOCATION_HEAVY, "GC_ASSIST", 276, 277),
        (rules.ALLOCATION_HEAVY, "GC_SWEEP", 276, 277),
        (rules.COORDINATION, "CHAN", 379, 380),
        (rules.COORDINATION, "LOCKS", 379, 380),
        (rules.COORDINATION, "SCHED_WAKE", 379, 380),
        (rules.CGO_HEAVY, "CGO", 328, 329),
    ],
)
def test_thresholds_of_shares(code: str, category: str, most: int, first: int) -> None:
    """25 % for GC and for allocation, 35 % for coordination, 30 % for C."""
    assert code not in found(of_a_thousand(category, most))
    assert code in found(of_a_thousand(category, first))


@pytest.mark.parametrize(
    ("chan", "locks", "says"),
    [
        (100, 0, "(channels)"),
        (0, 100, "(locks)"),
        (50, 50, "(channels)"),
        (49, 51, "(locks)"),
        (99, 0, "Waking"),
    ],
)
def test_the_cause_of_waiting_is_named_from_a_tenth(chan: int, locks: int, says: str) -> None:
    """Of 1000 samples in coordination."""
    seen = context(1, CHAN=chan, LOCKS=locks, SCHED_WAKE=1000 - chan - locks)
    assert says in found(seen)[rules.COORDINATION].title


@pytest.mark.parametrize(
    ("value", "limit", "is_told"),
    [(2, 1.0, True), (2, 0.5, True), (2, 1.1, False), (1, 1.0, False), (3, 1.0, False)],
)
def test_two_where_one_fits(value: int, limit: float, is_told: bool) -> None:
    """GT005: 2 Ps at a limit of 1 CPU or less."""
    seen = context(value, 1, limit=CpuLimit(limit, None, limit))
    assert (rules.TWO_FOR_ONE in found(seen)) is is_told


@pytest.mark.parametrize(
    ("value", "limit", "cores", "throttled", "is_told"),
    [
        (2, 1.5, 1.0, 50, True),  # rounded up: throttled in bursts
        (2, 1.5, 1.0, 5, False),  # hardly throttled
        (2, 1.5, 1.28, 50, False),  # the limit itself is used up
        (1, 1.5, 0.85, 0, True),  # rounded down: one P is used up
        (1, 1.5, 0.84, 0, False),
        (2, 2.0, 1.7, 50, False),  # a whole number
        (1, 0.5, 0.5, 50, False),  # below one CPU
        (3, 1.5, 1.0, 50, False),
    ],
)
def test_fractional_limits(
    value: int, limit: float, cores: float, throttled: int, is_told: bool
) -> None:
    """GT006: the rounding shows."""
    seen = context(
        value,
        max(1, round(limit + 0.49)),
        limit=CpuLimit(limit, None, limit),
        usage=CpuUsage(periods=100, throttled_periods=throttled),
        cpu_ns=round(cores * 10**10),
    )
    assert (rules.FRACTIONAL in found(seen)) is is_told


@pytest.mark.parametrize(
    ("cores", "throttled", "codes"),
    [
        (0.5, 40, {rules.BURSTS}),
        (0.9, 40, {rules.LIMIT_TOO_LOW}),  # it would use up the limit with one P, too
        (0.5, 90, {rules.LIMIT_TOO_LOW}),  # the quota was used up in 90 of 100 periods
        (0.5, 5, set()),
    ],
)
def test_throttled_by_bursts_or_by_a_low_limit(
    cores: float, throttled: int, codes: set[str]
) -> None:
    """GT007 or GT008, depending on the demand."""
    usage = CpuUsage(periods=100, throttled_periods=throttled)
    seen = context(8, 1, usage=usage, cpu_ns=round(cores * 10**10))
    assert {rules.BURSTS, rules.LIMIT_TOO_LOW} & found(seen).keys() == codes


@pytest.mark.parametrize(
    ("value", "cpus", "cores", "is_told"),
    [
        (64, 64, 1.0, True),
        (7, 7, 0.5, False),  # no large node
        (8, 8, 0.5, True),
        (8, 8, 2.0, True),  # 8 are twice the 4 it should have
        (7, 8, 2.0, False),
        (8, 8, 2.1, False),  # it should have 5
        (3, 8, 0.1, False),  # never below 2
        (4, 8, 0.1, True),
    ],
)
def test_without_a_limit_twice_the_usage_is_enough(
    value: int, cpus: int, cores: float, is_told: bool
) -> None:
    """GT003, on nodes of 8 CPUs or more."""
    limit = CpuLimit()
    seen = context(value, cpus, limit=limit, SCHED_FIND_WORK=900, USER=100)
    seen = replace(seen, peak_cores=cores)
    assert (rules.UNLIMITED in found(seen)) is is_told


def test_cgo_in_any_build_is_enough() -> None:
    """One of two processes with cgo."""
    seen = several(1, (1, 500), (1, 500))
    samples = context(1, CGO=1000).report.category_samples
    first, second = seen.report.processes
    second = replace(second, build=GoBuild("go1.27.3", cgo=True))
    report = replace(seen.report, processes=(first, second), category_samples=samples)
    assert "limits it only in part" in found(replace(seen, report=report))[rules.CGO_HEAVY].title
