from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, RUNTIME_GROUPS, Category, Group
from gotax.cli.output import verdict_code
from gotax.confidence import interval
from gotax.config import Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context, is_mismatch
from gotax.diagnosis.findings import judge
from gotax.findings import Finding, Saving, Severity, Verdict
from gotax.process import Binding, Container, CpuLimit, CpuUsage, Gomaxprocs, Origin, Process
from gotax.window import ContainerReport
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
    samples: int,
    limit: float | None = 1.0,
    origin: Origin = Origin.CPU_COUNT,
) -> ContainerReport:
    """A container with ``runtime`` of its ``samples`` in the scheduler and the GC."""
    category_samples = np.zeros(CATEGORY_COUNT, np.int64)
    category_samples[Category.SCHED_FIND_WORK] = runtime - runtime // 3
    category_samples[Category.GC_MARK_IDLE] = runtime // 3
    category_samples[Category.USER] = samples - runtime
    gomaxprocs = Gomaxprocs(value, origin, recommended)
    return ContainerReport(
        container=CONTAINER,
        processes=(Process(7, 1, "api", CONTAINER, gomaxprocs=gomaxprocs),),
        category_samples=category_samples,
        functions=(),
        limit=CpuLimit(limit_cores=limit, limit_cgroup="/kubepods/pod1/c"),
        usage=CpuUsage(),
        verdict=Verdict.UNREADABLE,
    )


def verdict(seen: ContainerReport, thresholds: Thresholds = USUAL) -> Verdict:
    return judge(Context(seen, 15.0, 192, thresholds))[0]


def found(seen: ContainerReport, thresholds: Thresholds = USUAL) -> dict[str, Finding]:
    """By code."""
    return {f.code: f for f in judge(Context(seen, 15.0, 192, thresholds))[1]}


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
def test_interval_matches_the_published_values(
    successes: int, trials: int, low: float, high: float
) -> None:
    """To the four digits that Newcombe prints."""
    assert interval(successes, trials, 1.959964) == pytest.approx((low, high), abs=5e-5)


@given(COUNTS)
def test_interval_ends_solve_the_score_equation(counts: tuple[int, int]) -> None:
    """Both ends solve (p - share)^2 = z^2 p (1 - p) / n: Wilson's definition."""
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
def test_interval_narrows_with_more_samples(counts: tuple[int, int]) -> None:
    """The same share of a hundred times as many samples has a narrower interval inside."""
    successes, trials = counts
    low, high = interval(successes, trials)
    inner_low, inner_high = interval(100 * successes, 100 * trials)
    assert low - 1e-12 <= inner_low <= inner_high <= high + 1e-12


def test_without_samples_the_interval_is_everything() -> None:
    """The share can be anything."""
    assert interval(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("value", "fits", "is_one"),
    [
        (1, 1, False),
        (2, 1, False),  # Go's choice since 1.25 for a limit of 1 core
        (3, 1, True),
        (192, 1, True),
        (3, 2, True),
        (4, 2, True),
        (7, 5, False),  # 1.4 times
        (8, 5, True),  # 1.6 times
        (6, 4, True),  # 1.5 times, exactly
        (5, 4, False),
        (1, 8, False),  # this finding is not about a value that is too small
        (None, 1, False),
        (192, None, False),
    ],
)
def test_mismatches(value: int | None, fits: int | None, is_one: bool) -> None:
    """At least 1.5 times the recommended value, and more than Go chooses for the smallest limit."""
    assert is_mismatch(Gomaxprocs(value, Origin.UNKNOWN, fits), USUAL) is is_one


@given(st.integers(1, 1 << 20), st.integers(1, 4096))
def test_a_mismatch_is_monotonic(value: int, fits: int) -> None:
    """A mismatch stays one if GOMAXPROCS grows, and if the recommended value shrinks."""
    if is_mismatch(Gomaxprocs(value, Origin.UNKNOWN, fits), USUAL):
        assert is_mismatch(Gomaxprocs(value + 1, Origin.UNKNOWN, fits), USUAL)
        assert fits == 1 or is_mismatch(Gomaxprocs(value, Origin.UNKNOWN, fits - 1), USUAL)


@pytest.mark.parametrize(
    ("seen", "expected", "codes"),
    [
        (report(2, 1, runtime=100, samples=1000), Verdict.FITS, ["GT005"]),
        (report(1, 1, runtime=0, samples=0), Verdict.FITS, []),
        (report(192, 1, runtime=150, samples=1000), Verdict.MISMATCH, ["GT002"]),
        (report(192, 1, runtime=500, samples=1000), Verdict.OVERSIZED, ["GT001"]),
        (report(192, 1, runtime=49, samples=49), Verdict.TOO_FEW_SAMPLES, ["GT014"]),
        (report(192, 1, runtime=50, samples=50), Verdict.OVERSIZED, ["GT001"]),
        (report(192, 1, runtime=0, samples=0), Verdict.TOO_FEW_SAMPLES, ["GT014"]),
        # 22 % of 200 samples may well be below 20 %; of 20,000 it is not.
        (report(192, 1, runtime=44, samples=200), Verdict.MISMATCH, ["GT002"]),
        (report(192, 1, runtime=4400, samples=20_000), Verdict.OVERSIZED, ["GT001"]),
        (report(4, 4, runtime=100, samples=1000, limit=None), Verdict.UNLIMITED, []),
        (report(64, 4, runtime=900, samples=1000, limit=None), Verdict.OVERSIZED, ["GT001"]),
        (report(None, 1, runtime=900, samples=1000), Verdict.UNREADABLE, ["GT015"]),
    ],
)
def test_verdicts(seen: ContainerReport, expected: Verdict, codes: list[str]) -> None:
    """Without the kernel's CPU time nothing is predicted: the runtime's share decides."""
    assert verdict(seen) is expected
    assert sorted(found(seen)) == codes


def test_a_process_that_was_not_read_is_unreadable() -> None:
    """Without any GOMAXPROCS it has no other verdict."""
    seen = report(192, 1, runtime=900, samples=1000)
    process = replace(seen.main_process, gomaxprocs=None)
    seen = replace(seen, processes=(process,))
    assert verdict(seen) is Verdict.UNREADABLE
    assert list(found(seen)) == [rules.UNREADABLE]


@given(st.integers(50, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_oversized_needs_the_lower_end_above_the_threshold(counts: tuple[int, int]) -> None:
    """A share that exceeds the threshold only by chance is not enough."""
    runtime, samples = counts
    seen = report(192, 1, runtime=runtime, samples=samples)
    proven = interval(runtime, samples)[0] >= USUAL.runtime_share
    assert (verdict(seen) is Verdict.OVERSIZED) == proven
    assert math.isclose(seen.runtime_share, runtime / samples)


@given(st.sampled_from(Category), st.integers(50, 5000))
def test_only_scheduler_and_gc_are_a_cost(category: Category, samples: int) -> None:
    """A container with all its time in one category is oversized exactly if this category is
    scheduler or GC; allocation, locks and system calls belong to the program."""
    seen = report(192, 1, runtime=0, samples=0)
    seen.category_samples[category] = samples
    assert (verdict(seen) is Verdict.OVERSIZED) == (category.group in RUNTIME_GROUPS)
    assert {Group.SCHEDULER, Group.GC} == RUNTIME_GROUPS


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (Thresholds(runtime_share=0.5), Verdict.MISMATCH),
        (Thresholds(runtime_share=0.0), Verdict.OVERSIZED),
        (Thresholds(min_samples=1001), Verdict.TOO_FEW_SAMPLES),
        (Thresholds(mismatch_ratio=200.0), Verdict.FITS),
    ],
)
def test_thresholds_change_the_verdict(thresholds: Thresholds, expected: Verdict) -> None:
    """Each setting alone changes the verdict about the same 40 %."""
    seen = report(192, 1, runtime=400, samples=1000)
    assert verdict(seen) is Verdict.OVERSIZED
    assert verdict(seen, thresholds) is expected


@pytest.mark.parametrize("origin", Origin)
@pytest.mark.parametrize("limit", [1.0, 0.25, None])
def test_every_origin_gives_a_finding(origin: Origin, limit: float | None) -> None:
    """For every origin of GOMAXPROCS, the evidence has value, bound, share and samples."""
    seen = report(192, 1, runtime=400, samples=1000, origin=origin, limit=limit)
    finding = found(seen)[rules.COSTLY]
    text = " ".join(evidence.text for evidence in finding.evidence)
    assert "GOMAXPROCS is 192" in text
    assert "40.0%" in text
    assert "1000 samples" in text
    assert ("a limit of" in text) == (limit is not None)


def test_throttling_is_evidence_if_there_was_some() -> None:
    """Periods and seconds are shown if the kernel counted any."""
    seen = report(192, 1, runtime=400, samples=1000)
    quiet = found(seen)[rules.COSTLY]
    usage = CpuUsage(periods=100, throttled_periods=60, throttled_ns=3_500_000_000)
    loud = found(replace(seen, usage=usage))[rules.COSTLY]
    assert not any("throttled" in evidence.text for evidence in quiet.evidence)
    assert "throttled in 60 of 100 periods, 3.5 s in all" in [e.text for e in loud.evidence]


def test_the_patch_depends_on_the_kind_of_container() -> None:
    """A pod gets lines for its template, a service a drop-in, anything else the variable."""
    seen = report(192, 1, runtime=400, samples=1000)
    assert "containers:" in found(seen)[rules.COSTLY].remedy.patch
    outside = replace(seen, container=replace(CONTAINER, pod_uid=None))
    assert found(outside)[rules.COSTLY].remedy.patch == "GOMAXPROCS=1\n"
    service = replace(seen, container=replace(CONTAINER, pod_uid=None, unit="api.service"))
    assert "Environment=GOMAXPROCS=1" in found(service)[rules.COSTLY].remedy.patch


def test_more_throttled_periods_than_periods_are_no_error() -> None:
    """The kernel's two counters are not read at the same time: seen with a window of a second."""
    usage = CpuUsage(periods=10, throttled_periods=11, throttled_ns=5)
    seen = replace(report(192, 1, runtime=400, samples=1000), usage=usage)
    assert "throttled in 10 of 10 periods" in found(seen)[rules.COSTLY].evidence[-1].text


@pytest.mark.parametrize(("limit", "warned"), [(0.5, True), (1.0, False)])
def test_below_one_cpu_fewer_ps_do_not_end_throttling(limit: float, warned: bool) -> None:
    """The quota of half a CPU is used up after half a period, with one P as with eight."""
    bursty = report(8, 1, runtime=10, samples=1000, limit=limit)
    usage = CpuUsage(usage_ns=int(0.4 * limit * 15e9), periods=150, throttled_periods=40)
    finding = found(replace(bursty, usage=usage, cpu_ns=usage.usage_ns))[rules.BURSTS]
    assert ("even a single thread" in finding.remedy.text) is warned


def predicted(seen: ContainerReport, monkeypatch: pytest.MonkeyPatch, low: float) -> Context:
    """A context with a usage of one core, and a predicted saving of half a core with this range."""
    saving = Saving(low, 0.5, 0.7)
    monkeypatch.setattr("gotax.diagnosis.context.predict_saving", lambda *_: saving)
    return Context(replace(seen, cpu_ns=15 * 10**9), 15.0, 192, USUAL)


@pytest.mark.parametrize(
    ("low", "severity", "expected"),
    [
        (-0.97, Severity.INFO, Verdict.MISMATCH),
        (-0.001, Severity.INFO, Verdict.MISMATCH),
        # it uses all that it may, and would do more work
        (0.0, Severity.WARNING, Verdict.OVERSIZED),
        (0.2, Severity.WARNING, Verdict.OVERSIZED),
    ],
)
def test_a_possible_loss_is_no_warning(
    low: float, severity: Severity, expected: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text does not claim a cost, and the exit code is not 1."""
    context = predicted(report(192, 1, runtime=500, samples=1000), monkeypatch, low)
    verdict, findings = judge(context)
    finding = {f.code: f for f in findings}[rules.COSTLY]
    assert (finding.severity, verdict) == (severity, expected)
    assert ("this costs CPU" in finding.title) is (severity is Severity.WARNING)
    judged = replace(context.report, findings=findings, verdict=verdict)
    assert verdict_code([judged]) == (1 if severity is Severity.WARNING else 0)


@pytest.mark.parametrize(("low", "severity"), [(-0.1, Severity.INFO), (0.1, Severity.WARNING)])
def test_a_possible_loss_is_no_warning_without_a_limit(
    low: float, severity: Severity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GT003; the verdict is then unlimited."""
    context = predicted(report(64, 64, runtime=500, samples=1000, limit=None), monkeypatch, low)
    verdict, findings = judge(context)
    assert {f.code: f.severity for f in findings}[rules.UNLIMITED] is severity
    is_warned = severity is Severity.WARNING
    assert verdict is (Verdict.OVERSIZED if is_warned else Verdict.UNLIMITED)


def test_all_cpus_of_the_node_means_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 of 64 set by a variable are not all."""
    seen = report(32, 64, runtime=500, samples=1000, limit=None, origin=Origin.ENVIRONMENT)
    _, findings = judge(predicted(seen, monkeypatch, 0.1))
    finding = {f.code: f for f in findings}[rules.UNLIMITED]
    assert "far more than it uses" in finding.title
    assert "Or set a CPU limit" not in finding.remedy.text  # the variable would stay


def test_the_remedy_names_the_limit_of_the_throttled_cgroup() -> None:
    """Its periods are its own; an ancestor's tighter limit has other periods."""
    seen = report(1, 1, runtime=10, samples=1000, limit=0.5)
    limit = CpuLimit(0.5, "/kubepods/pod1", 0.7)
    usage = CpuUsage(periods=100, throttled_periods=60)
    finding = found(replace(seen, limit=limit, usage=usage, cpu_ns=10**9))[rules.LIMIT_TOO_LOW]
    assert "Raise the limit of 0.7 CPU" in finding.remedy.text


def coordinating(**samples: int) -> Finding:
    category_samples = np.zeros(CATEGORY_COUNT, np.int64)
    for name, count in samples.items():
        category_samples[Category[name]] = count
    seen = replace(report(1, 1, runtime=0, samples=1000), category_samples=category_samples)
    return found(seen)[rules.COORDINATION]


@pytest.mark.parametrize(
    ("samples", "says"),
    [
        ({"CHAN": 60, "SCHED_WAKE": 440, "USER": 500}, "(channels)"),
        ({"LOCKS": 60, "SCHED_WAKE": 440, "USER": 500}, "(locks)"),
        ({"CHAN": 20, "SCHED_WAKE": 480, "USER": 500}, "Waking and switching"),
        ({"SCHED_FIND_WORK": 500, "USER": 500}, "Waking and switching"),
    ],
)
def test_goroutines_that_wait_for_each_other_need_evidence(
    samples: dict[str, int], says: str
) -> None:
    """Timers and the network also wake goroutines, without a channel or a lock."""
    assert says in coordinating(**samples).title


@pytest.mark.parametrize(
    ("reason", "says"),
    [
        ("procfs-denied", "CAP_SYS_PTRACE"),
        ("gomaxprocs-machine", "amd64 and arm64 only"),
        ("gomaxprocs-range", "Try again"),
        ("gomaxprocs-none", "docs/gomaxprocs.md explains each reason"),
    ],
)
def test_unreadable_has_the_remedy_for_its_reason(reason: str, says: str) -> None:
    """The capability is mentioned only if access was denied."""
    seen = report(None, 1, runtime=0, samples=100)
    gomaxprocs = Gomaxprocs(None, Origin.UNKNOWN, 1, reason=reason)
    process = replace(seen.main_process, gomaxprocs=gomaxprocs)
    text = found(replace(seen, processes=(process,)))[rules.UNREADABLE].remedy.text
    assert says in text
    assert ("CAP_SYS_PTRACE" in text) is (reason == "procfs-denied")


def test_a_cpuset_limits_the_usage() -> None:
    """4 Ps, a limit of 4 and one CPU: at a usage of one core it is saturated, and the saving may be
    0."""
    seen = report(4, 1, runtime=500, samples=1000, limit=4.0)
    bound = replace(seen.main_process.gomaxprocs or Gomaxprocs(4, Origin.CALL, 1))
    process = replace(seen.main_process, gomaxprocs=replace(bound, bound_by=(Binding.CPUSET,)))
    seen = replace(seen, processes=(process,), cpu_ns=15 * 10**9)
    saving = Context(seen, 15.0, 16, USUAL).saving(1)
    assert saving is not None
    assert "It uses all of the 1 CPU available" in saving.cautions[0]


@pytest.mark.parametrize(
    ("problem", "remedy"),
    [
        ("cgroup-unreachable", "needs the host's /sys/fs/cgroup"),
        ("cgroup-unreadable", "longer than 4096 bytes"),
        ("another", "longer than 4096 bytes"),
    ],
)
def test_a_limit_that_could_not_be_read(problem: str, remedy: str) -> None:
    """It is not "unlimited": nothing is said of what depends on it."""
    seen = report(192, 1, runtime=900, samples=1000)
    main = seen.main_process
    assert main.gomaxprocs is not None
    process = replace(main, gomaxprocs=replace(main.gomaxprocs, recommended=None, bound_by=()))
    seen = replace(seen, limit=CpuLimit(problem=problem), processes=(process,))
    assert verdict(seen) is Verdict.UNREADABLE
    (finding,) = found(seen).values()
    assert finding.code == rules.UNREADABLE
    assert "The CPU limit could not be read" in finding.title
    assert remedy in finding.remedy.text
    assert ("longer than 4096 bytes" in finding.remedy.text) is (problem != "cgroup-unreachable")
    assert finding.evidence[0].text == f"reason: {problem}"
    assert finding.evidence[1].text.startswith("GOMAXPROCS is 192, ")
    assert (finding.evidence[1].value, finding.severity) == (192, Severity.INFO)
