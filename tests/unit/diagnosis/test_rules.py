"""The rules over any possible numbers."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from unittest.mock import patch

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, Category
from gotax.config import Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.diagnosis.findings import verdict_of
from gotax.findings import Confidence, Finding, Saving, Severity, Verdict
from gotax.process import (
    Automaxprocs,
    Binding,
    Container,
    CpuLimit,
    CpuUsage,
    GoBuild,
    Gomaxprocs,
    Ignored,
    Origin,
    Otherwise,
    Process,
    RuntimeState,
)
from gotax.window import ContainerReport
from hypothesis import given, settings
from hypothesis import strategies as st

cores = st.none() | st.sampled_from([0.0, 1e-9, 0.01, 0.5, 1.0, 1.5, 2.0, 1e4])
counts = st.none() | st.integers(0, 2**60)
few = st.none() | st.integers(0, 400)
gomaxprocs = st.none() | st.builds(
    Gomaxprocs,
    value=st.none() | st.integers(1, 1 << 20),
    origin=st.sampled_from(Origin),
    recommended=st.none() | st.integers(1, 4096),
    ignored=st.none() | st.sampled_from(Ignored),
    automaxprocs=st.sampled_from(Automaxprocs),
    expected=st.none() | st.integers(1, 4096),
    bound_by=st.sampled_from([(), *((b,) for b in Binding), (Binding.QUOTA, Binding.CPUSET)]),
    updates=st.booleans(),
    variable=st.none() | st.integers(1, 4096),
    variable_is_set=st.none() | st.booleans(),
    otherwise=st.builds(Otherwise, *[st.none() | st.integers(1, 4)] * len(fields(Otherwise))),
)
states = st.none() | st.builds(
    RuntimeState,
    gogc=st.none() | st.sampled_from([-1, 0, 1, 100, 200, 2**31 - 1]),
    memory_limit_bytes=st.none() | st.sampled_from([0, 175 << 20, 2**63 - 1]),
)
containers = st.builds(
    Container,
    key=st.just("c"),
    name=st.just("c"),
    cgroup=st.just("/c"),
    pod_uid=st.sampled_from([None, "1"]),
    unit=st.sampled_from([None, "c.service"]),
    nested=st.sampled_from(["", "docker/x"]),
)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    samples = draw(st.lists(st.integers(0, 5000), min_size=CATEGORY_COUNT, max_size=CATEGORY_COUNT))
    if draw(st.booleans()):
        samples = [n // 500 for n in samples]
    container = draw(containers)
    processes = tuple(
        Process(7 + i, 1, "web", container, gomaxprocs=draw(gomaxprocs), runtime=draw(states))
        for i in range(draw(st.integers(1, 3)))
    )
    report = ContainerReport(
        container=container,
        processes=processes,
        category_samples=np.array(samples, np.int64),
        functions=(),
        limit=CpuLimit(draw(cores), "/c", draw(cores), None, draw(few), draw(few)),
        usage=CpuUsage(draw(counts), draw(few), draw(few), draw(counts)),
        verdict=Verdict.UNREADABLE,
        cpu_ns=draw(counts),
        process_samples=tuple(draw(st.integers(0, 5000)) for _ in processes),
        drain_samples=tuple(draw(st.lists(st.integers(0, 900), max_size=9))),
    )
    return Context(
        report,
        draw(st.sampled_from([0.0, 0.001, 4.0, 3600.0])),
        draw(st.sampled_from([1, 2, 64, 4096])),
        Thresholds(),
        peak_cores=draw(st.sampled_from([0.0, 0.5, 64.0])),
        earlier_limit=draw(cores),
        lenient=draw(st.booleans()),
    )


@settings(max_examples=300, deadline=None)
@given(contexts())
def test_no_numbers_make_a_rule_fail(context: Context) -> None:
    """A limit of 0, counters that contradict each other, a duration of 0: there is a verdict, every
    text has a sentence, and every number is finite. A crash here would end the agent."""
    found = rules.find_all(context)
    codes = [finding.code for finding in found]
    assert codes == sorted(codes)
    assert len(codes) == len(set(codes))
    assert verdict_of(found, context) in Verdict
    for finding in found:
        assert finding.title
        assert finding.remedy.text
        assert finding.evidence
        numbers = [e.value for e in finding.evidence if e.value is not None]
        saving = finding.saving
        if saving is not None:
            assert saving.low <= saving.mid <= saving.high
            numbers += [saving.low, saving.mid, saving.high]
            if saving.sources:
                total = sum(source.cores for source in saving.sources)
                assert math.isclose(total, saving.mid, rel_tol=1e-6, abs_tol=1e-9)
        assert all(math.isfinite(number) for number in numbers)


@settings(max_examples=200, deadline=None)
@given(contexts())
def test_exclusive_findings_are_not_reported_together(context: Context) -> None:
    """With a costly GOMAXPROCS, its possible effects are not reported as findings about the
    program."""
    codes = {finding.code for finding in rules.find_all(replace(context, lenient=False))}
    for code, excluded in rules.EXCLUDES.items():
        assert not (code in codes and codes & set(excluded)), codes
    costs = {rules.COSTLY, rules.HARMLESS, rules.TOO_FEW_SAMPLES}
    assert len(codes & costs) <= 1


RANGES = st.lists(
    st.sampled_from([-2.0, -0.97, -1e-9, 0.0, 1e-9, 0.3, 1.7]), min_size=3, max_size=3
)


def may_lose(finding: Finding) -> bool:
    """By its saving, or by what it says of one."""
    ranges = [e.interval for e in finding.evidence if "is predicted to save" in e.text]
    if finding.saving is not None:
        ranges.append((finding.saving.low, finding.saving.high))
    return any(each is not None and each[0] < 0 for each in ranges)


@settings(max_examples=150, deadline=None)
@given(contexts(), RANGES)
def test_no_rule_warns_where_the_change_may_lose(context: Context, ends: list[float]) -> None:
    """GT003 was a warning of "1.05 cores, -0.97 to 1.70". Whatever is predicted of any container,
    and before other findings exclude one."""
    low, mid, high = sorted(ends)
    with patch("gotax.diagnosis.context.predict_saving", lambda *_: Saving(low, mid, high)):
        found = rules.find_each(context)
    assert not any(may_lose(f) for f in found if f.severity is Severity.WARNING)


@pytest.mark.parametrize("low", [-0.97, -1e-9, 0.0, 0.2])
def test_every_rule_with_a_saving_warns_by_its_range(low: float) -> None:
    """All four that have one, each in a container of its own."""
    spent = {rules.COSTLY: 1.7, rules.HARMLESS: 1e-9, rules.UNLIMITED: 1.7, rules.TWO_FOR_ONE: 1.7}
    limits = {rules.UNLIMITED: None}
    values = {rules.TWO_FOR_ONE: 2}
    seen: set[str] = set()
    for code, mid in spent.items():
        saving = Saving(min(low, mid), mid, max(mid, 1.8))
        context = one_container(values.get(code, 64), limits.get(code, 1.0))
        with patch("gotax.diagnosis.context.predict_saving", lambda *_, s=saving: s):
            found = {f.code: f for f in rules.find_each(context) if f.saving is not None}
        seen |= found.keys()
        assert found[code].saving == saving
        is_warned = found[code].severity is Severity.WARNING
        assert is_warned is (low >= 0 and code in (rules.COSTLY, rules.UNLIMITED))
    assert seen == spent.keys()


def one_container(value: int, limit: float | None) -> Context:
    """Two core seconds a second, half of them of the scheduler, on a node of 64 CPUs."""
    container = Container("c", "c", "/c")
    samples = np.zeros(CATEGORY_COUNT, np.int64)
    samples[Category.SCHED_FIND_WORK] = samples[Category.USER] = 1000
    bound = Binding.HOST if limit is None else Binding.QUOTA
    fits = 64 if limit is None else 1
    gomaxprocs = Gomaxprocs(value, Origin.CPU_COUNT, fits, bound_by=(bound,))
    report = ContainerReport(
        container=container,
        processes=(Process(7, 1, "web", container, gomaxprocs=gomaxprocs),),
        category_samples=samples,
        functions=(),
        limit=CpuLimit(limit, "/c", limit),
        usage=CpuUsage(),
        verdict=Verdict.UNREADABLE,
        cpu_ns=20 * 10**9,
        process_samples=(2000,),
    )
    return Context(report, 10.0, 64, Thresholds())


def c_code(*builds: GoBuild | None) -> Finding:
    container = Container("c", "c", "/c")
    samples = np.zeros(CATEGORY_COUNT, np.int64)
    samples[Category.CGO], samples[Category.USER] = 800, 200
    processes = tuple(Process(7, 1, "web", container, build=build) for build in builds)
    report = ContainerReport(
        container, processes, samples, (), CpuLimit(), CpuUsage(), Verdict.FITS
    )
    (rule,) = [rule for rule in rules.RULES if rule.code == rules.CGO_HEAVY]
    finding = rule.find(Context(report, 10.0, 4, Thresholds()))
    assert finding is not None
    return finding


def test_c_code_is_certain_only_with_cgo_in_the_build() -> None:
    """Without it the code is from a file that Go did not link: it is reported with less
    confidence."""
    with_cgo, without = GoBuild("go1.27.3", cgo=True), GoBuild("go1.27.3")
    assert c_code(with_cgo).confidence is Confidence.HIGH
    assert c_code(without, with_cgo).confidence is Confidence.HIGH
    for builds in ((without,), (None,)):
        finding = c_code(*builds)
        assert finding.confidence is Confidence.LOW
        assert "without cgo" in finding.title
