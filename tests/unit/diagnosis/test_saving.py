"""The predicted saving: its inputs, and its quality on the calibration's own runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from gotax.diagnosis import calibrated, saving
from gotax.diagnosis.saving import TERMS, Situation, predict_retained, predict_saving
from gotax.findings import Verdict
from gotax.process import Binding, Container, CpuLimit, CpuUsage, Gomaxprocs, Origin, Process
from gotax.profile import CATEGORY_COUNT, Category
from gotax.window import ContainerReport
from hypothesis import given
from hypothesis import strategies as st

from calibration import table
from calibration.validation import WORTHWHILE, judge, score

CONTAINER = Container("c", "web", "/web")
RUNS = table.read(table.DATA / "fitted.csv")
HELD_OUT = table.read(table.DATA / "held-out.csv")
histograms = st.lists(st.integers(0, 500), min_size=CATEGORY_COUNT, max_size=CATEGORY_COUNT).filter(
    lambda samples: sum(samples) >= saving.MIN_SAMPLES
)


def report(
    samples: list[int], value: int | None = 64, limit: float | None = 1.0
) -> ContainerReport:
    """One core second per hundred samples."""
    gomaxprocs = Gomaxprocs(value, Origin.ENVIRONMENT, 1)
    return ContainerReport(
        container=CONTAINER,
        processes=(Process(7, 1, "web", CONTAINER, gomaxprocs=gomaxprocs),),
        category_samples=np.array(samples, np.int64),
        functions=(),
        limit=CpuLimit(limit, "/web", limit),
        usage=CpuUsage(),
        verdict=Verdict.UNREADABLE,
        cpu_ns=sum(samples) * 10_000_000,
    )


def only(**shares: int) -> list[int]:
    samples = [0] * CATEGORY_COUNT
    for name, count in shares.items():
        samples[Category[name]] = count
    return samples


def test_every_category_is_in_one_term() -> None:
    """So the shares of the terms add up to 1."""
    members = [category for _, categories in TERMS.values() for category in categories]
    assert sorted(members) == sorted(Category)


@given(
    histograms, st.sampled_from([3, 4, 16, 64, 192]), st.floats(0.01, 1), st.sampled_from([2, 64])
)
def test_a_prediction_is_a_range_within_bounds(
    samples: list[int], value: int, utilisation: float, cpus: int
) -> None:
    """Any profile: the middle is inside the range, above zero, and below a doubling."""
    for target in (1, 2):
        kept = predict_retained(Situation(tuple(samples), value, utilisation), target, cpus)
        assert 0 < kept.low < kept.mid < kept.high
        assert kept.mid < 2


@given(histograms)
def test_fewer_samples_give_a_wider_range(samples: list[int]) -> None:
    """The range of a tenth of the samples contains that of all of them."""
    many = predict_retained(Situation(tuple(10 * n for n in samples), 64, 0.3), 1, 2)
    few = predict_retained(Situation(tuple(samples), 64, 0.3), 1, 2)
    assert few.mid == pytest.approx(many.mid)
    assert few.low <= many.low
    assert few.high >= many.high


def test_searching_for_work_is_saved_and_computing_is_not() -> None:
    """The two extremes: a program that mostly searches for work, and one that mostly computes."""
    idle = predict_retained(
        Situation(tuple(only(SCHED_FIND_WORK=400, SCHED_WAKE=300, USER=300)), 64, 0.4), 1, 2
    )
    busy = predict_retained(Situation(tuple(only(USER=980, ALLOC=20)), 64, 0.99), 1, 2)
    assert idle.mid < 0.6
    assert busy.mid > 0.85


def test_a_larger_host_gives_a_wider_range() -> None:
    """Larger hosts were not calibrated: the range includes the effect of fewer CPUs at once, and
    its absence."""
    situation = Situation(tuple(only(SCHED_FIND_WORK=200, SCHED_WAKE=200, USER=600)), 64, 0.3)
    here, there = (predict_retained(situation, 2, cpus) for cpus in (2, 64))
    assert there.low < here.low
    assert there.high / there.low > here.high / here.low


def test_a_small_step_on_a_larger_host_saves_less() -> None:
    """From 9 to 8 is almost nothing, from 64 to 8 is not."""
    samples = tuple(only(SCHED_FIND_WORK=300, SCHED_WAKE=200, USER=500))
    small, large = (predict_retained(Situation(samples, value, 0.3), 8, 64) for value in (9, 64))
    assert large.mid < small.mid < 1.05


@given(histograms, st.sampled_from([0.5, 4.0, 600.0]))
def test_sources_add_up_to_the_middle(samples: list[int], duration_s: float) -> None:
    """Largest first, and no other ones."""
    found = predict_saving(report(samples), 1, 2, duration_s)
    assert found is not None
    assert found.low <= found.mid <= found.high
    assert math.isclose(sum(s.cores for s in found.sources), found.mid, abs_tol=1e-9)
    cores = [source.cores for source in found.sources]
    assert cores == sorted(cores, reverse=True)
    assert {source.name for source in found.sources} <= {name for name, _ in TERMS.values()}


def test_no_prediction_without_enough_data() -> None:
    """No GOMAXPROCS, no CPU time, too few samples, no duration, or a target above GOMAXPROCS; 0 for
    no change."""
    samples = only(USER=500, SCHED_WAKE=500)
    assert predict_saving(report(samples, value=None), 1, 2, 4.0) is None
    assert predict_saving(replace(report(samples), cpu_ns=None), 1, 2, 4.0) is None
    assert predict_saving(report(only(USER=saving.MIN_SAMPLES - 1)), 1, 2, 4.0) is None
    assert predict_saving(report(samples), 1, 2, 0.0) is None
    assert predict_saving(report(samples, value=1), 2, 2, 4.0) is None
    same = predict_saving(report(samples, value=1), 1, 2, 4.0)
    assert same is not None
    assert (same.low, same.mid, same.high) == (0, 0, 0)


def cautions(
    samples: list[int],
    duration_s: float,
    drains: tuple[int, ...] = (),
    value: int = 64,
    host_cpus: int = 2,
    bound_by: tuple[Binding, ...] = (),
) -> str:
    seen = replace(report(samples, value), drain_samples=drains)
    main = seen.main_process
    assert main.gomaxprocs is not None
    gomaxprocs = replace(main.gomaxprocs, recommended=1, bound_by=bound_by)
    seen = replace(seen, processes=(replace(main, gomaxprocs=gomaxprocs),))
    found = predict_saving(seen, 1, host_cpus, duration_s)
    assert found is not None
    return " ".join(found.cautions)


def test_cautions_say_where_a_change_could_hurt() -> None:
    """Each for its kind of load, and none for an even load with headroom."""
    even = only(USER=500, SCHED_FIND_WORK=500)
    assert cautions(even, 40.0, (250,) * 4) == ""
    assert "bursts" in cautions(even, 40.0, (900, 30, 40, 30))
    assert "Little headroom" in cautions(only(USER=1000), 10.5)
    assert "Compare throughput" in cautions(even, 10.0)
    assert "garbage collector" in cautions(only(USER=500, GC_MARK_IDLE=300, ALLOC=200), 40.0)
    assert "close to what fits" in cautions(even, 40.0, value=2)


@pytest.mark.parametrize(
    ("host_cpus", "bound_by", "offered"),
    [
        (2, (), True),
        (64, (Binding.QUOTA,), True),
        (1, (Binding.QUOTA,), False),
        (1, (Binding.HOST,), False),
        (64, (Binding.CPUSET,), False),
        (64, (Binding.AFFINITY,), False),
        (64, (Binding.QUOTA, Binding.CPUSET), False),
    ],
)
def test_two_is_recommended_only_with_two_cpus(
    host_cpus: int, bound_by: tuple[Binding, ...], offered: bool
) -> None:
    """The GC caution recommended GOMAXPROCS=2 on a node or a cpuset of one CPU."""
    collecting = only(USER=500, GC_MARK_IDLE=300, ALLOC=200)
    text = cautions(collecting, 40.0, host_cpus=host_cpus, bound_by=bound_by)
    assert "the garbage collector can delay" in text
    assert ("use GOMAXPROCS=2" in text) is offered


def test_a_saturated_limit_promises_no_saving() -> None:
    """More work may be waiting: then it uses the same CPU for more work."""
    found = predict_saving(report(only(USER=300, SCHED_FIND_WORK=700)), 1, 2, 10.0)
    assert found is not None
    assert found.low <= 0 < found.mid


def test_the_numbers_are_those_of_the_runs() -> None:
    """calibrated.py was generated from the table in calibration/data."""
    assert f"from {len(RUNS)} runs" in (calibrated.__doc__ or "")
    above = [r for r in RUNS if r.procs > 1]
    lines = calibrated.RUNS["one"].strip().splitlines()
    assert len(lines) == len(above)


def test_no_false_alarm_and_few_misses_on_the_fitted_runs() -> None:
    """At least 100 runs, with and without a mismatch, through the real rules."""
    found = score(list(judge(RUNS)))
    assert found.matched + found.worthwhile >= 100
    assert found.false_alarms == 0
    assert found.missed <= 0.02 * found.worthwhile
    assert found.not_warned <= 0.10 * found.worthwhile  # the range of the saving includes a loss


def test_no_false_alarm_and_few_misses_on_held_out_workloads() -> None:
    """The fit includes neither these workloads nor variants of them."""
    assert not {row.workload for row in HELD_OUT} & {row.workload for row in RUNS}
    found = score(list(judge(HELD_OUT)))
    assert found.false_alarms == 0
    assert found.worthwhile >= 15, f"few save {WORTHWHILE:.0%}"
    assert found.missed <= 0.02 * found.worthwhile
    assert found.not_warned <= 0.12 * found.worthwhile


def test_a_warning_never_promises_a_possible_loss() -> None:
    """ "1.05 cores, -0.97 to 1.70" is no warning, whatever other findings there are."""
    judged = [*judge(RUNS), *judge(HELD_OUT)]
    in_doubt = [e for e in judged if e.codes & {"GT001", "GT003"} and (e.low or 0.0) < 0]
    assert in_doubt
    assert not any(each.warned for each in in_doubt if "GT007" not in each.codes)


def test_predictions_hold_on_held_out_workloads() -> None:
    """Close to docs/saving.md: 91 % within the range, the middle off by 10.3 %."""
    found = score(list(judge(HELD_OUT)))
    assert found.predicted >= 40
    assert found.within >= 0.85
    assert found.off <= 0.11
