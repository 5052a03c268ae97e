"""Stable verdicts: simulated hours of a varying load."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from gotax.config import Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context, Cost
from gotax.diagnosis.history import LONG_S, History
from gotax.findings import Cause, Saving, Verdict
from gotax.process import Container, CpuLimit, CpuUsage, Gomaxprocs, Origin, Process
from gotax.profile import CATEGORY_COUNT, Category
from gotax.window import ContainerReport

WINDOW_S, HZ = 15.0, 19
CONTAINER = Container("c", "web", "/web")
PHASES = ((0.3, 10), (1.0, 16), (0.1, 14), (0.0, 6), (0.6, 20), (0.05, 10), (1.0, 1), (0.0, 2)) * 3
"""Shares of the load, and for how many windows; about an hour."""


@dataclass(frozen=True)
class Service:
    """A service at full load: cores, and shares by category. ``throttled``: share of its
    periods."""

    shares: dict[Category, float]
    cores: float = 0.3
    procs: int = 64
    limit: float | None = 1.0
    throttled: Callable[[float], float] = lambda _: 0.0
    pid: int = 7

    def window(self, load: float, chance: random.Random) -> ContainerReport:
        """Random samples and periods, and the CPU time as the kernel counts it."""
        cores = self.cores * load
        samples = np.zeros(CATEGORY_COUNT, np.int64)
        categories = list(self.shares)
        expected = cores * WINDOW_S * HZ
        count = max(0, round(chance.gauss(expected, expected**0.5)))
        for category in chance.choices(categories, [self.shares[c] for c in categories], k=count):
            samples[category] += 1
        periods = 150 if self.limit is not None else 0
        throttled = sum(chance.random() < self.throttled(load) for _ in range(periods))
        fits = 2 if self.limit is None else max(1, round(self.limit + 0.49))
        gomaxprocs = Gomaxprocs(self.procs, Origin.ENVIRONMENT, fits)
        return ContainerReport(
            container=CONTAINER,
            processes=(Process(self.pid, 1, "web", CONTAINER, gomaxprocs=gomaxprocs),),
            category_samples=samples,
            functions=(),
            limit=CpuLimit(self.limit, "/web", self.limit),
            usage=CpuUsage(None, periods, throttled, throttled * 10**7),
            verdict=Verdict.UNREADABLE,
            cpu_ns=round(cores * WINDOW_S * 1e9),
            process_samples=(int(samples.sum()),),
        )


def loads(hours: float) -> Iterator[float]:
    left = round(hours * 3600 / WINDOW_S)
    while left > 0:
        for share, windows in PHASES:
            for _ in range(min(windows, left)):
                yield share
            left -= windows


def mixed(runtime: float, **others: float) -> dict[Category, float]:
    """Scheduler and idle marking with that share; the rest is user code, except ``others``."""
    found = {
        Category.SCHED_FIND_WORK: runtime * 0.4,
        Category.SCHED_WAKE: runtime * 0.3,
        Category.SCHED_PARK: runtime * 0.2,
        Category.NETPOLL: runtime * 0.1,
    }
    found |= {Category[name]: share for name, share in others.items()}
    return found | {Category.USER: 1 - sum(found.values())}


COSTLY = Service(mixed(0.6))
SERVICES = {
    "costly": COSTLY,
    "costly and small": Service(mixed(0.6), cores=0.05),
    "in between": Service(mixed(0.08)),
    "costs little": Service({Category.USER: 1.0}, cores=0.9),
    "fits": Service(mixed(0.3), procs=1),
    "GC at the threshold": Service(mixed(0.1, GC_MARK_DEDICATED=0.25), procs=1),
    "coordination at the threshold": Service(mixed(0.35), procs=1),
    "throttled at peaks": Service(mixed(0.6), throttled=lambda load: 0.3 if load > 0.5 else 0.0),
    "throttled at the threshold": Service(mixed(0.3), throttled=lambda _: 0.1),
    "too low a limit at peaks": Service(
        mixed(0.05), cores=1.0, procs=1, throttled=lambda load: 0.9 if load == 1.0 else 0.0
    ),
    "half a core too many": Service(mixed(0.2), procs=2, limit=1.5, cores=1.4),
}


def verdicts_of(service: Service, hours: float, seed: int = 1) -> list[ContainerReport]:
    """Verdict and findings of each window."""
    history, chance = History(Thresholds()), random.Random(seed)
    found = []
    for load in loads(hours):
        found.append(history.judge(service.window(load, chance), WINDOW_S, 2))
        history.end_window()
    return found


def codes(report: ContainerReport) -> frozenset[str]:
    return frozenset(finding.code for finding in report.findings)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SERVICES)
def test_nothing_flaps_in_two_hours_of_varying_load(name: str, seed: int) -> None:
    """No finding ends and comes back, and no verdict returns to an earlier one, also exactly at the
    thresholds."""
    reports = verdicts_of(SERVICES[name], 2.0, seed)
    verdicts = [reports[0].verdict]
    came: dict[str, int] = {}
    for before, after in pairwise(reports):
        if after.verdict is not before.verdict:
            verdicts.append(after.verdict)
        for code in codes(after) - codes(before):
            came[code] = came.get(code, 0) + 1
    assert len(verdicts) == len(set(verdicts)), verdicts
    assert not {code for code, times in came.items() if times > 1}, came


def test_a_costly_mismatch_is_found_within_a_minute_of_load() -> None:
    """From then on the finding has the time for which it has held."""
    reports = verdicts_of(COSTLY, 1.0)
    first = next(i for i, report in enumerate(reports) if "GT001" in codes(report))
    assert (first + 1) * WINDOW_S <= 60
    last = reports[-1]
    finding = next(f for f in last.findings if f.code == "GT001")
    assert finding.held_s == (len(reports) - first) * WINDOW_S
    assert last.held_s == finding.held_s
    assert last.verdict is Verdict.OVERSIZED


def test_a_fixed_mismatch_is_no_longer_reported() -> None:
    """A new process with another GOMAXPROCS is judged only by its own numbers, at once."""
    history, chance = History(Thresholds()), random.Random(1)
    for _ in range(40):
        before = history.judge(COSTLY.window(1.0, chance), WINDOW_S, 2)
    assert before.verdict is Verdict.OVERSIZED
    fixed = replace(COSTLY, procs=1, pid=8, shares=mixed(0.1))
    after = history.judge(fixed.window(1.0, chance), WINDOW_S, 2)
    assert (after.verdict, after.findings, after.held_s) == (Verdict.FITS, (), WINDOW_S)


def test_an_improvement_without_a_change_takes_an_hour() -> None:
    """The same process no longer costs: the finding ends, once."""
    history, chance = History(Thresholds()), random.Random(1)
    better = replace(COSTLY, shares={Category.USER: 1.0}, cores=0.9)
    for _ in range(40):
        history.judge(COSTLY.window(1.0, chance), WINDOW_S, 2)
    held = []
    for _ in range(round(1.5 * LONG_S / WINDOW_S)):
        held.append("GT001" in codes(history.judge(better.window(1.0, chance), WINDOW_S, 2)))
    assert held[0]
    assert not held[-1]
    assert held == sorted(held, reverse=True)


def test_ended_containers_are_forgotten() -> None:
    """Memory is bounded by the containers of the last window."""
    history, chance = History(Thresholds()), random.Random(1)
    history.judge(COSTLY.window(1.0, chance), WINDOW_S, 2)
    history.end_window()
    assert len(history) == 1
    history.end_window()
    assert len(history) == 0


@pytest.mark.parametrize(("pid", "cause"), [(7, Cause.RESIZE), (8, Cause.ENVIRONMENT)])
def test_a_process_in_a_new_group_has_the_earlier_limit(pid: int, cause: Cause) -> None:
    """Its cgroup got a limit of its own: 4 Ps fitted the container's 4 CPUs. A process that is new
    has no earlier limit."""
    history, chance = History(Thresholds()), random.Random(1)
    history.judge(replace(COSTLY, procs=4, limit=4.0).window(1.0, chance), WINDOW_S, 8)
    history.end_window()
    after = replace(COSTLY, procs=4, limit=1.0, pid=pid).window(1.0, chance)
    part = replace(CONTAINER, key="c/part", nested="part")
    after = replace(after, container=part)
    for _ in range(8):
        found = history.judge(after, WINDOW_S, 8)
        history.end_window()
    assert found.findings[0].code == "GT001"
    assert found.findings[0].cause is cause


def judged_with(lows: list[float], monkeypatch: pytest.MonkeyPatch) -> list[ContainerReport]:
    """The low end of the costly service's predicted saving, from minute to minute, for an hour or
    more."""
    history, chance = History(Thresholds()), random.Random(1)
    found = []
    for low in lows:
        saving = Saving(low, 0.15, 0.2)
        monkeypatch.setattr("gotax.diagnosis.context.predict_saving", lambda *_, s=saving: s)
        for _ in range(4):
            found.append(history.judge(COSTLY.window(1.0, chance), WINDOW_S, 2))
            history.end_window()
    return found


def test_a_warning_does_not_flap_with_the_end_of_a_range(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A low end that crosses 0 every other minute changes nothing; one that stays below 0 does."""
    crossing = judged_with([0.01, -0.01] * 30, monkeypatch)
    assert {report.verdict for report in crossing} == {Verdict.OVERSIZED}
    staying = judged_with([0.01] * 5 + [-0.01] * 30, monkeypatch)
    assert staying[5 * 4 + 4].verdict is Verdict.OVERSIZED
    assert staying[-1].verdict is Verdict.MISMATCH
    assert codes(staying[-1]) == {"GT001"}


def test_only_a_found_finding_excludes_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """GC-heavy with a harmless GOMAXPROCS stays while the cost is not proven. A possible finding
    that was not found does not end another one."""
    monkeypatch.setattr(
        "gotax.diagnosis.context.predict_saving", lambda *_: Saving(0.0, 0.09 * 0.3, 0.1)
    )
    service = Service(mixed(0.05, GC_MARK_DEDICATED=0.45))
    strict = Context(service.window(1.0, random.Random(1)), WINDOW_S, 2, Thresholds())
    lenient = replace(strict, lenient=True)
    assert (strict.cost(1)[0], lenient.cost(1)[0]) == (Cost.UNDECIDED, Cost.PROVEN)
    assert rules.GC_HEAVY in {finding.code for finding in rules.find_each(lenient)}


def steady(report: ContainerReport, samples: dict[Category, int]) -> ContainerReport:
    """The same container with exactly these samples."""
    counted = np.zeros(CATEGORY_COUNT, np.int64)
    for category, count in samples.items():
        counted[category] = count
    return replace(report, category_samples=counted, process_samples=(int(counted.sum()),))


def test_after_its_first_minute_a_container_is_judged_once_a_minute() -> None:
    """C code uses all CPU from the 5th window of 15 s on: it is found in the 8th, which ends the
    second minute."""
    history = History(Thresholds())
    quiet = steady(replace(COSTLY, procs=1).window(1.0, random.Random(1)), {Category.USER: 100})
    loud = steady(quiet, {Category.CGO: 100})
    seen = [history.judge(quiet, WINDOW_S, 2) for _ in range(4)]
    seen += [history.judge(loud, WINDOW_S, 2) for _ in range(8)]
    assert [rules.CGO_HEAVY in codes(report) for report in seen] == [False] * 7 + [True] * 5


def test_in_its_first_minute_a_container_is_judged_in_every_window() -> None:
    """C code from the second window on is found in the second."""
    history = History(Thresholds())
    quiet = steady(replace(COSTLY, procs=1).window(1.0, random.Random(1)), {Category.USER: 60})
    loud = steady(quiet, {Category.CGO: 100})
    assert rules.CGO_HEAVY not in codes(history.judge(quiet, WINDOW_S, 2))
    assert rules.CGO_HEAVY in codes(history.judge(loud, WINDOW_S, 2))


def pair(first: int, second: int, *, is_swapped: bool) -> ContainerReport:
    """Two processes, 7 and 8, with these samples; the busier one comes first."""
    report = COSTLY.window(1.0, random.Random(1))
    seven = report.main_process
    eight = replace(seven, pid=8, gomaxprocs=Gomaxprocs(1, Origin.ENVIRONMENT, 1))
    report = steady(report, {Category.USER: first + second})
    if is_swapped:
        return replace(report, processes=(eight, seven), process_samples=(second, first))
    return replace(report, processes=(seven, eight), process_samples=(first, second))


@pytest.mark.parametrize(
    ("first", "second", "pid"),
    [
        (20, 80, 7),  # a quarter of the other's samples is not minor
        (19, 80, 8),
        (10, 39, 7),  # 49 samples in total are too few
        (10, 41, 8),
        (9, 41, 8),
        (0, 49, 7),
        (0, 50, 8),
    ],
)
def test_the_verdict_stays_with_a_process_until_it_is_minor(
    first: int, second: int, pid: int
) -> None:
    """Process 7, of 64 Ps, until it has less than a quarter of the samples of process 8, of 1."""
    history = History(Thresholds())
    history.judge(pair(900, 100, is_swapped=False), WINDOW_S, 2)
    after = history.judge(pair(first, second, is_swapped=True), WINDOW_S, 2)
    assert after.verdict is (Verdict.FITS if pid == 8 else Verdict.MISMATCH)
    assert (after.held_s == WINDOW_S) is (pid == 8)


def timed(report: ContainerReport, cpu_ns: int | None, usage: CpuUsage) -> ContainerReport:
    return replace(report, cpu_ns=cpu_ns, usage=usage)


def test_windows_are_added_up() -> None:
    """Samples, CPU time and the kernel's counters; unknown values of a window count as 0."""
    history = History(Thresholds())
    base = replace(COSTLY, procs=1).window(1.0, random.Random(1))
    samples = {Category.CGO: 30, Category.USER: 10}
    first = timed(steady(base, samples), 3 * 10**9, CpuUsage(None, 100, 60, None))
    second = timed(steady(base, samples), 5 * 10**9, CpuUsage(7, 100, 80, 10**9))
    history.judge(first, WINDOW_S, 2)
    found = {finding.code: finding for finding in history.judge(second, WINDOW_S, 2).findings}
    cgo = found[rules.CGO_HEAVY].evidence[0]
    assert (cgo.value, cgo.window_s) == (0.75, 2 * WINDOW_S)
    assert "80 samples in 30 s" in cgo.text
    throttled, used = found[rules.LIMIT_TOO_LOW].evidence[1:]
    assert throttled.text == "throttled in 140 of 200 periods, 1.0 s in all"
    assert used.value == pytest.approx(8 / 30)
    assert "0.33 in its busiest window" in used.text


def test_windows_older_than_an_hour_are_dropped() -> None:
    """A load that was C code for one minute: an hour later it is no longer in the sums, and the
    finding has ended."""
    history = History(Thresholds())
    base = replace(COSTLY, procs=1).window(1.0, random.Random(1))
    cgo, user = steady(base, {Category.CGO: 1000}), steady(base, {Category.USER: 1})
    for _ in range(4):
        history.judge(cgo, WINDOW_S, 2)
    held = [rules.CGO_HEAVY in codes(history.judge(user, WINDOW_S, 2)) for _ in range(400)]
    # 4000 samples, against one in each later window: they decide while they are in the sum.
    gone_s = held.index(False) * WINDOW_S
    assert LONG_S - 300 <= gone_s <= LONG_S + 900 + 300 + 60
    assert not any(held[held.index(False) :])


@pytest.mark.parametrize(
    "changed",
    [
        {"procs": 2},  # another GOMAXPROCS
        {"limit": 2.0},
        {"pid": 8},
    ],
)
def test_a_changed_subject_is_judged_by_its_own_numbers(changed: dict[str, int]) -> None:
    """Earlier findings end at once, and the time restarts."""
    history = History(Thresholds())
    before = replace(COSTLY, procs=1)
    loud = steady(before.window(1.0, random.Random(1)), {Category.CGO: 1000})
    for _ in range(6):
        assert rules.CGO_HEAVY in codes(history.judge(loud, WINDOW_S, 2))
    after = replace(before, **changed).window(1.0, random.Random(1))  # type: ignore[arg-type]
    found = history.judge(steady(after, {Category.USER: 100}), WINDOW_S, 2)
    assert rules.CGO_HEAVY not in codes(found)
    assert found.held_s == WINDOW_S


def test_a_restarted_process_is_another() -> None:
    """A reused PID has another start time."""
    history = History(Thresholds())
    report = steady(replace(COSTLY, procs=1).window(1.0, random.Random(1)), {Category.CGO: 1000})
    history.judge(report, WINDOW_S, 2)
    process = replace(report.main_process, start_ticks=2)
    later = steady(replace(report, processes=(process,)), {Category.USER: 100})
    assert codes(history.judge(later, WINDOW_S, 2)) == frozenset()


@pytest.mark.parametrize(("earlier", "cause"), [(4.0, Cause.RESIZE), (8.0, Cause.ENVIRONMENT)])
def test_the_earlier_limit_shows_a_resize(earlier: float, cause: Cause) -> None:
    """4 Ps fitted an earlier limit of 4; they never fitted a limit of 8."""
    history, chance = History(Thresholds()), random.Random(1)
    history.judge(replace(COSTLY, procs=4, limit=earlier).window(1.0, chance), WINDOW_S, 8)
    for _ in range(8):
        after = replace(COSTLY, procs=4, limit=1.0).window(1.0, chance)
        found = history.judge(after, WINDOW_S, 8)
    assert found.findings[0].cause is cause


def test_a_new_process_has_no_earlier_limit() -> None:
    """It was started under the present limit."""
    history, chance = History(Thresholds()), random.Random(1)
    history.judge(replace(COSTLY, procs=4, limit=4.0).window(1.0, chance), WINDOW_S, 8)
    for _ in range(8):
        after = replace(COSTLY, procs=4, limit=1.0, pid=8).window(1.0, chance)
        found = history.judge(after, WINDOW_S, 8)
    assert found.findings[0].cause is Cause.ENVIRONMENT
