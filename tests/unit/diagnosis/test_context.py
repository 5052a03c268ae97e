"""The values that a Context computes, at the edges of each rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, Category, Group
from gotax.config import Thresholds
from gotax.diagnosis.context import Context, Cost, is_mismatch, request_of_weight, whole
from gotax.findings import Saving, Verdict
from gotax.process import (
    Binding,
    Container,
    CpuLimit,
    CpuResources,
    CpuUsage,
    Gomaxprocs,
    Origin,
    PodContainer,
    Process,
    Workload,
)
from gotax.window import ContainerReport

USUAL = Thresholds()
CONTAINER = Container("c", "api", "/kubepods/pod1/c", pod_uid="1")
ONE_CPU = CpuLimit(1.0, "/kubepods/pod1/c", 1.0)
NOTHING = CpuUsage()
POD = PodContainer(
    "shop", "api-1", "api", "1", "node", "api:1", "container", Workload("Deployment", "api")
)


def context(
    value: int | None = 8,
    fits: int | None = 1,
    *,
    limit: CpuLimit = ONE_CPU,
    container: Container = CONTAINER,
    usage: CpuUsage = NOTHING,
    cpu_ns: int | None = None,
    bound_by: tuple[Binding, ...] = (),
    **samples: int,
) -> Context:
    counted = np.zeros(CATEGORY_COUNT, np.int64)
    for name, count in samples.items():
        counted[Category[name]] = count
    gomaxprocs = Gomaxprocs(value, Origin.ENVIRONMENT, fits, bound_by=bound_by)
    report = ContainerReport(
        container=container,
        processes=(Process(7, 1, "api", container, gomaxprocs=gomaxprocs),),
        category_samples=counted,
        functions=(),
        limit=limit,
        usage=usage,
        verdict=Verdict.UNREADABLE,
        cpu_ns=cpu_ns,
    )
    return Context(report, 10.0, 64, USUAL)


def with_saving(found: Context, mid: float, monkeypatch: pytest.MonkeyPatch) -> Context:
    saving = Saving(mid - 0.1, mid, mid + 0.1)
    monkeypatch.setattr("gotax.diagnosis.context.predict_saving", lambda *_: saving)
    return found


# The threshold is 20 % of the CPU; a cost is little if it is surely below 30 %.
@pytest.mark.parametrize(
    ("runtime", "samples", "cost"),
    [
        (68, 280, Cost.LITTLE),  # 19.6 to 29.6 %
        (69, 280, Cost.UNDECIDED),  # 20.0 to 30.0 %: see the interval below
        (25, 100, Cost.UNDECIDED),  # 17.5 to 34.3 %
        (22, 100, Cost.UNDECIDED),  # 15.0 to 31.1 %
        (20, 100, Cost.LITTLE),  # 13.3 to 28.9 %
        (90, 280, Cost.PROVEN),
        (0, 50, Cost.LITTLE),
        (49, 49, Cost.UNDECIDED),  # too few samples for any result
        (50, 50, Cost.PROVEN),
    ],
)
def test_a_cost_is_proven_little_or_undecided(runtime: int, samples: int, cost: Cost) -> None:
    """By both ends of the interval, if no saving can be predicted."""
    found = context(SCHED_FIND_WORK=runtime, USER=samples - runtime)
    assert found.cost(1) == (cost, None)


@pytest.mark.parametrize(
    ("mid", "samples", "cost"),
    [
        (0.2, 1000, Cost.PROVEN),
        (0.1, 1000, Cost.PROVEN),  # 8.3 to 12.0 %
        (0.08, 1000, Cost.LITTLE),  # 6.5 to 9.8 %
        (0.1, 100, Cost.UNDECIDED),  # 5.5 to 17.4 %
        (0.05, 100, Cost.LITTLE),  # 2.2 to 11.2 %
        (-0.5, 1000, Cost.LITTLE),
        (2.0, 1000, Cost.PROVEN),  # limited to all that it uses
    ],
)
def test_a_predicted_saving_counts_as_a_share_of_the_usage(
    mid: float, samples: int, cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a usage of one core; 8 % is the threshold, and surely below 12 % is little."""
    found = with_saving(context(cpu_ns=10 * 10**9, USER=samples), mid, monkeypatch)
    assert found.cost(1)[0] is cost


@pytest.mark.parametrize(
    ("mid", "lenient", "cost"),
    [
        (0.005, False, Cost.PROVEN),
        (0.0049, False, Cost.LITTLE),
        (0.003, True, Cost.PROVEN),
        (0.0029, True, Cost.LITTLE),
    ],
)
def test_a_very_small_saving_is_little(
    mid: float, lenient: bool, cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than half a hundredth of a core (5 mCPU); an earlier finding stays from 3 mCPU."""
    found = with_saving(context(cpu_ns=10**8, USER=1000), mid, monkeypatch)
    assert replace(found, lenient=lenient).cost(1) == (cost, Saving(mid - 0.1, mid, mid + 0.1))


def test_all_that_it_uses_is_the_most_that_it_can_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction of 2 cores for one in use is 100 % of it: a threshold of 90 % is reached."""
    found = with_saving(context(cpu_ns=10 * 10**9, USER=1000), 2.0, monkeypatch)
    strict = replace(found, thresholds=replace(USUAL, saving_share=0.9))
    assert strict.cost(1)[0] is Cost.PROVEN


@pytest.mark.parametrize("cpu_ns", [None, 0])
def test_without_cpu_time_the_share_of_the_runtime_decides(
    cpu_ns: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be a share of it: the prediction does not count."""
    seen = context(cpu_ns=cpu_ns, SCHED_FIND_WORK=900, USER=100)
    assert with_saving(seen, 0.0, monkeypatch).cost(1)[0] is Cost.PROVEN


def test_an_earlier_finding_of_few_samples_is_judged_without_a_prediction() -> None:
    """10 samples predict nothing; half of them in the scheduler do not disprove the cost."""
    few = replace(context(cpu_ns=10**9, SCHED_FIND_WORK=5, USER=5), lenient=True)
    assert few.cost(1) == (Cost.PROVEN, None)


@pytest.mark.parametrize(
    ("unknown", "cost"),
    [
        (0, Cost.LITTLE),
        (5, Cost.LITTLE),  # 2 % is normal
        (6, Cost.LITTLE),  # more, but 8.4 % of runtime would be little too
        (100, Cost.UNDECIDED),
        (280, Cost.UNDECIDED),
    ],
)
def test_what_could_not_be_read_is_not_little_cost(unknown: int, cost: Cost) -> None:
    """A binary that could not be read in time had "little cost", in high confidence."""
    seen = context(SCHED_FIND_WORK=0, UNKNOWN=unknown, USER=280 - unknown)
    assert seen.cost(1)[0] is cost
    assert seen.hidden_samples == (unknown if unknown > 5 else 0)


@pytest.mark.parametrize(
    ("unknown", "cost"), [(0, Cost.LITTLE), (490, Cost.LITTLE), (510, Cost.UNDECIDED)]
)
def test_unknown_time_counts_beside_a_predicted_saving(
    unknown: int, cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A saving below 0.005 cores is little, if what is unknown cannot hide more."""
    seen = context(UNKNOWN=unknown, USER=1000 - unknown, cpu_ns=100_000_000)
    seen = with_saving(seen, 0.0, monkeypatch)
    assert seen.cores == 0.01
    assert seen.cost(1)[0] is cost


@pytest.mark.parametrize(("unknown", "mid"), [(600, -0.5), (1000, 0.05)])
def test_a_prediction_beside_unknown_time_is_undecided(
    unknown: int, mid: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than no samples have no interval, and neither do more than all of them: 1050 of 1000."""
    seen = context(UNKNOWN=unknown, USER=1000 - unknown, cpu_ns=10_000_000_000)
    assert with_saving(seen, mid, monkeypatch).cost(1)[0] is Cost.UNDECIDED


@pytest.mark.parametrize(("unknown", "hidden"), [(5, 0), (6, 6)])
def test_unknown_time_above_two_percent_may_be_the_runtime(unknown: int, hidden: int) -> None:
    """Of 250 samples, 5 are 2 %."""
    assert context(UNKNOWN=unknown, USER=250 - unknown).hidden_samples == hidden


def test_a_proven_cost_needs_nothing_that_is_unknown() -> None:
    assert context(SCHED_FIND_WORK=90, UNKNOWN=190).cost(1)[0] is Cost.PROVEN


def test_a_cost_is_little_only_below_the_edge() -> None:
    """One sample of one: the interval ends at 1, and one and a half times two thirds is 1."""
    edge = replace(USUAL, min_samples=1, runtime_share=2 / 3)
    found = replace(context(SCHED_FIND_WORK=1), thresholds=edge)
    assert found.cost(1)[0] is Cost.UNDECIDED


def test_an_edge_that_is_met_is_reached() -> None:
    """Of nothing the interval is 0 to 1: a threshold of 0 is proven, one of 1 is not disproved."""
    assert context().reaches(0, 0, 0.0)
    assert not context().reaches(0, 0, 0.01)
    half = replace(context(), thresholds=replace(USUAL, release=0.5), lenient=True)
    assert half.reaches(0, 0, 2.0)
    assert not half.reaches(0, 0, 2.01)


@pytest.mark.parametrize(("samples", "reached"), [(15.4, False), (15.6, True)])
def test_a_predicted_share_is_counted_in_whole_samples(samples: float, reached: bool) -> None:
    """Of 100, a tenth is proven by 16, from 10.1 %, and not by 15; 15.6 itself begins at 9.8 %."""
    assert context().reaches(samples, 100, 0.1) is reached


@pytest.mark.parametrize(("mid", "cost"), [(0.0908, Cost.LITTLE), (0.0912, Cost.UNDECIDED)])
def test_a_little_cost_is_counted_in_whole_samples(
    mid: float, cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 500, 45 end at 11.8 % and 46 at 12.1 %; little is what surely is below 12 %."""
    found = with_saving(context(cpu_ns=10 * 10**9, USER=500), mid, monkeypatch)
    assert found.cost(1)[0] is cost


def test_a_proven_cost_stays_until_it_is_disproved() -> None:
    """20 % proves it; it ends when the upper end is below 12 %."""
    few = replace(context(SCHED_FIND_WORK=10, USER=90), lenient=True)
    assert few.cost(1)[0] is Cost.PROVEN  # up to 17.4 %
    none = replace(context(SCHED_FIND_WORK=5, USER=95), lenient=True)
    assert none.cost(1)[0] is Cost.LITTLE  # up to 11.2 %
    assert replace(context(SCHED_FIND_WORK=5, USER=5), lenient=True).cost(1)[0] is Cost.PROVEN


@pytest.mark.parametrize(
    ("value", "fits", "limit", "bound_by", "binding"),
    [
        (8, 1, 1.0, (Binding.CPUSET, Binding.QUOTA), (Binding.CPUSET, Binding.QUOTA)),
        (8, 1, 1.0, (), (Binding.QUOTA,)),
        (8, 8, None, (), (Binding.HOST,)),
    ],
)
def test_there_is_always_a_bound(
    value: int,
    fits: int,
    limit: float | None,
    bound_by: tuple[Binding, ...],
    binding: tuple[Binding, ...],
) -> None:
    """If the bounds are unknown: the limit, else the host."""
    found = context(value, fits, limit=CpuLimit(limit), bound_by=bound_by)
    assert found.bound_by == binding
    unread = replace(found.report.main_process, gomaxprocs=None)
    unread_binding = replace(found, report=replace(found.report, processes=(unread,))).bound_by
    assert unread_binding == ((Binding.QUOTA,) if limit else (Binding.HOST,))


def test_usage_is_the_cpu_time_of_the_kernel_over_the_duration() -> None:
    """5 s in 10 s are half a core; without a duration or without CPU time the usage is unknown."""
    half = context(cpu_ns=5 * 10**9)
    assert half.cores == 0.5
    assert half.highest_cores == 0.5
    assert replace(half, peak_cores=0.6).highest_cores == 0.6
    assert replace(half, duration_s=0.0).cores is None
    assert replace(half, duration_s=0.5).cores == 10.0
    assert context().cores is None
    assert context().highest_cores == 0.0


@pytest.mark.parametrize(
    ("peak", "is_shown"), [(0.5, False), (0.525, False), (0.53, True), (0.0, False)]
)
def test_the_busiest_window_is_mentioned_if_it_stands_out(peak: float, is_shown: bool) -> None:
    """By more than a twentieth."""
    evidence = replace(context(cpu_ns=5 * 10**9), peak_cores=peak).cores_evidence()
    assert evidence.text.startswith("it used 0.50 cores over 10 s")
    assert ("in its busiest window" in evidence.text) is is_shown
    assert (evidence.value, evidence.window_s) == (0.5, 10.0)


@pytest.mark.parametrize(
    ("throttled", "periods", "is_throttled"),
    [
        (0, 0, False),
        (0, 100, False),
        (10, 100, False),  # 5.5 to 17.4 %
        (15, 100, False),  # from 9.3 %
        (16, 100, True),  # from 10.1 %
        (1, 1, True),  # from 20.7 %
        (None, None, False),
    ],
)
def test_throttled_means_a_tenth_of_the_periods(
    throttled: int | None, periods: int | None, is_throttled: bool
) -> None:
    """The lower end of the interval has to reach a tenth."""
    usage = CpuUsage(periods=periods, throttled_periods=throttled, throttled_ns=2_500_000_000)
    found = context(usage=usage)
    assert found.throttled == (throttled or 0, periods or 0)
    assert found.is_throttled is is_throttled


def test_evidence_of_throttling_has_share_interval_and_time() -> None:
    """60 of 100 periods, 3.5 s; of no periods the share is 0."""
    usage = CpuUsage(periods=100, throttled_periods=60, throttled_ns=3_500_000_000)
    evidence = context(usage=usage).throttled_evidence()
    assert evidence.text == "throttled in 60 of 100 periods, 3.5 s in all"
    assert evidence.value == 0.6
    assert evidence.interval == pytest.approx((0.5020, 0.6906), abs=1e-4)
    assert context().throttled_evidence().value == 0.0
    assert context().throttled_evidence().text == "throttled in 0 of 0 periods"


def test_more_throttled_periods_than_periods_are_all_of_them() -> None:
    """The kernel's two counters are not of one moment."""
    assert context(usage=CpuUsage(periods=10, throttled_periods=11)).throttled == (10, 10)


@pytest.mark.parametrize("lenient", [False, True])
def test_what_has_no_periods_is_not_throttled(lenient: bool) -> None:
    """A cgroup without a limit has none; a finding of before ends, too."""
    assert not replace(context(), lenient=lenient).is_throttled


def test_evidence_of_use_that_is_not_known() -> None:
    """Without the kernel's account: that is not 0 cores."""
    evidence = context().cores_evidence()
    assert (evidence.text, evidence.value) == ("its CPU time is not known", None)
    idle = context(cpu_ns=0).cores_evidence()
    assert (idle.text, idle.value) == ("it used 0.00 cores over 10 s", 0.0)


def test_evidence_of_a_share() -> None:
    """40 of 100 samples, with Wilson's interval; without samples any share is possible."""
    evidence = context(USER=100).share_evidence("GC takes", 40)
    expected = "GC takes 40.0% of its CPU time (95 % interval 31% to 50%, 100 samples in 10 s)"
    assert evidence.text == expected
    assert (evidence.value, evidence.unit, evidence.window_s) == (0.4, "share", 10.0)
    nothing = context().share_evidence("GC takes", 0)
    assert (nothing.value, nothing.interval) == (0.0, (0.0, 1.0))


@pytest.mark.parametrize(
    ("value", "fits", "mismatch"),
    [(2, 1, False), (3, 1, True), (3, 2, True), (5, 4, False), (6, 4, True), (None, 1, False)],
)
def test_a_mismatch_is_that_of_the_main_process(
    value: int | None, fits: int, mismatch: bool
) -> None:
    """One and a half times the recommended value, and above 2; not if that is unknown."""
    assert not is_mismatch(Gomaxprocs(value, Origin.CALL, None), USUAL)
    assert context(value, fits).is_mismatch is mismatch
    assert is_mismatch(Gomaxprocs(value, Origin.CALL, fits), USUAL) is mismatch


def test_without_a_value_there_is_no_gomaxprocs() -> None:
    """A value that could not be read is None, even if the recommended value is known."""
    unread = context(None, 3)
    assert unread.gomaxprocs is None
    assert (unread.value, unread.recommended) == (None, 3)
    assert context(4, 3).gomaxprocs is not None
    assert (context(4, 3).value, context(4, 3).recommended) == (4, 3)
    bare = replace(unread.report, processes=(replace(unread.report.main_process, gomaxprocs=None),))
    assert replace(unread, report=bare).recommended is None
    assert replace(unread, report=bare).value is None
    assert replace(unread, report=bare).gomaxprocs is None


@pytest.mark.parametrize(
    ("container", "limit", "request_cores"),
    [
        (replace(CONTAINER, pod=replace(POD, current=CpuResources(0.25))), CpuLimit(), 0.25),
        (replace(CONTAINER, pod=POD), CpuLimit(shares=2048), None),  # Kubernetes has none
        (CONTAINER, CpuLimit(shares=512), 0.5),
        (CONTAINER, CpuLimit(shares=512, weight=1), 0.5),
        (CONTAINER, CpuLimit(weight=79), 1.9989),
        (CONTAINER, CpuLimit(), None),
        (replace(CONTAINER, pod_uid=None), CpuLimit(shares=512), None),  # no pod: no request
        (replace(CONTAINER, nested="docker/x"), CpuLimit(shares=512), None),
    ],
)
def test_requests(container: Container, limit: CpuLimit, request_cores: float | None) -> None:
    """The request from Kubernetes, else that in the pod's cgroup."""
    found = context(container=container, limit=limit).request_cores
    assert found == (None if request_cores is None else pytest.approx(request_cores, abs=1e-4))


@pytest.mark.parametrize(("shares", "weight"), [(2, 1), (1024, 39), (262144, 10000)])
def test_a_weight_is_converted_to_shares(shares: int, weight: int) -> None:
    """runc's table: 2 is 1, 1024 is 39, 262144 is 10000; the weight is rounded down."""
    assert request_of_weight(weight) * 1024 <= shares + 1e-6
    assert shares < request_of_weight(weight + 1) * 1024


def test_the_ends_of_the_weights_are_those_of_the_shares() -> None:
    """The rule is a straight line from 2 shares at 1 to 256 CPUs at 10000."""
    assert request_of_weight(1) == 2 / 1024
    assert request_of_weight(10_000) == 256.0


@pytest.mark.parametrize(
    ("limit", "processors"), [(0.0, 1), (0.01, 1), (1.0, 1), (1.01, 2), (2.5, 3)]
)
def test_processors_that_a_limit_fills(limit: float, processors: int) -> None:
    """Rounded up, and never none."""
    assert whole(limit) == processors


def test_samples_of_groups_and_of_categories() -> None:
    """A group is all of its categories."""
    found = context(SCHED_FIND_WORK=1, SCHED_WAKE=2, GC_MARK_IDLE=4, GC_SWEEP=8, USER=16)
    assert found.group_samples(Group.SCHEDULER) == 3
    assert found.group_samples(Group.GC) == 12
    assert found.group_samples(Group.SCHEDULER, Group.GC) == 15
    assert found.samples(Category.USER, Category.GC_SWEEP) == 24


@pytest.mark.parametrize(
    ("samples", "lenient", "reached"),
    [(49, False, False), (50, False, True), (49, True, True)],
)
def test_a_share_needs_enough_samples(samples: int, lenient: bool, reached: bool) -> None:
    """A new finding needs 50."""
    found = replace(context(USER=samples), lenient=lenient)
    assert found.share_reaches(samples, 0.25) is reached
    assert not found.share_reaches(0, 0.25)


def test_answers_belong_to_their_question() -> None:
    """Each question is answered once, and each by itself."""
    found = context(8, cpu_ns=10**10, USER=300, SCHED_FIND_WORK=500, CGO=100)
    groups = {group: found.group_samples(group) for group in (Group.USER, Group.SCHEDULER)}
    assert groups == {Group.USER: 300, Group.SCHEDULER: 500}
    costs, savings = [found.cost(n) for n in (1, 4)], [found.saving(n) for n in (1, 4)]
    assert costs[0][1] is savings[0] is not None
    assert costs[1][1] is savings[1] is not None
    assert savings[0] != savings[1]
    assert found.saving(1) is savings[0]
    assert replace(found, duration_s=2 * found.duration_s).saving(1) != savings[0]
