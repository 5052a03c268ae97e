"""Stable verdicts: simulated hours of a varying load."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, Category
from gotax.config import Thresholds
from gotax.diagnosis import history as history_module
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context, Cost
from gotax.diagnosis.history import LONG_S, History
from gotax.findings import Cause, Saving, Severity, Verdict
from gotax.process import (
    Container,
    CpuLimit,
    CpuUsage,
    Gomaxprocs,
    Memory,
    Origin,
    Process,
    RuntimeState,
)
from gotax.window import ContainerReport
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_a_container_without_samples_is_judged_every_five_minutes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And as soon as it has samples again, if a minute has passed."""
    history = History(Thresholds())
    quiet = steady(replace(COSTLY, procs=1).window(1.0, random.Random(1)), {Category.USER: 100})
    idle = steady(quiet, {Category.USER: 0})
    judged = 0
    settle = history_module._settle

    def count(*arguments: Any) -> None:
        nonlocal judged
        judged += 1
        settle(*arguments)

    monkeypatch.setattr(history_module, "_settle", count)

    def times(report: ContainerReport, windows: int) -> int:
        before = judged
        for _ in range(windows):
            history.judge(report, WINDOW_S, 2)
        return judged - before

    assert times(quiet, 4) == 4
    assert [times(idle, 19), times(idle, 1)] == [0, 1]
    assert [times(idle, 5), times(quiet, 1)] == [0, 1]
    assert [times(idle, 19), times(idle, 1)] == [0, 1]


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


def test_a_limit_that_cannot_be_read_any_more_is_said_at_once() -> None:
    """And no longer once it is read again."""
    history, chance = History(Thresholds()), random.Random(1)
    read = COSTLY.window(1.0, chance)
    main = read.main_process
    assert main.gomaxprocs is not None
    main = replace(main, gomaxprocs=replace(main.gomaxprocs, recommended=None))
    unread = replace(read, limit=CpuLimit(problem="cgroup-unreadable"), processes=(main,))
    windows = [read] * 40 + [unread] * 2 + [read] * 2
    found = [history.judge(each, WINDOW_S, 8) for each in windows]
    unreadable = [each.verdict is Verdict.UNREADABLE for each in found]
    assert unreadable == [False] * 40 + [True] * 2 + [False] * 2
    assert [codes(each) for each in found[39:]] == [
        *({rules.COSTLY}, {rules.UNREADABLE}, {rules.UNREADABLE}, {rules.COSTLY}, {rules.COSTLY})
    ]


def of_memory(limit: int | None, pid: int) -> ContainerReport:
    """A GOMEMLIMIT of 180 MiB in a container with this limit; None: not read."""
    report = replace(COSTLY, procs=1, pid=pid).window(1.0, random.Random(1))
    state = RuntimeState(gogc=100, memory_limit_bytes=180 << 20)
    memory = None if limit is None else Memory(limit << 20, "/web", limit << 20)
    process = replace(report.main_process, runtime=state)
    return replace(report, processes=(process,), memory=memory)


@pytest.mark.parametrize(
    ("seen", "held_s", "before"),
    [
        ([(200, 7), (200, 7)], [15.0, 30.0], None),
        ([(200, 7), (None, 7), (200, 7)], [15.0, 30.0, 45.0], None),
        ([(None, 7), (400, 7)], [15.0, 30.0], None),
        ([(200, 7), (400, 7)], [15.0, 15.0], 200),
        ([(200, 7), (None, 7), (400, 7)], [15.0, 30.0, 15.0], 200),
        ([(200, 7), (400, 7), (400, 7)], [15.0, 15.0, 30.0], 200),
        ([(200, 7), (300, 7), (400, 7)], [15.0, 15.0, 15.0], 300),
        ([(200, 7), (400, 8)], [15.0, 15.0], None),  # it was started under the new limit
        ([(200, 7), (400, 7), (400, 8)], [15.0, 15.0, 15.0], None),
    ],
)
def test_the_earlier_memory_limit_shows_a_resize(
    seen: list[tuple[int | None, int]], held_s: list[float], before: int | None
) -> None:
    """For each window the limit in MiB and the process. A resize begins the history again, and a
    GOMEMLIMIT that fitted before did not follow it (GT018)."""
    history = History(Thresholds())
    found = [history.judge(of_memory(*each), WINDOW_S, 2) for each in seen]
    assert [report.held_s for report in found] == held_s
    stale = [finding for finding in found[-1].findings if finding.code == rules.UNFIT_MEMORY_LIMIT]
    assert [finding.evidence[2].text for finding in stale] == (
        [] if before is None else [f"the container's memory limit was {before} MiB before"]
    )


def test_a_new_process_has_no_earlier_limit() -> None:
    """It was started under the present limit."""
    history, chance = History(Thresholds()), random.Random(1)
    history.judge(replace(COSTLY, procs=4, limit=4.0).window(1.0, chance), WINDOW_S, 8)
    for _ in range(8):
        after = replace(COSTLY, procs=4, limit=1.0, pid=8).window(1.0, chance)
        found = history.judge(after, WINDOW_S, 8)
    assert found.findings[0].cause is Cause.ENVIRONMENT


def cgo_history() -> Callable[..., ContainerReport]:
    """What the history says of the next window of a container, whose GOMAXPROCS fits."""
    history = History(Thresholds())
    base = replace(COSTLY, procs=1).window(1.0, random.Random(1))

    def then(seconds: float, *, user: int = 0, cgo: int = 0, **changed: object) -> ContainerReport:
        seen = steady(base, {Category.USER: user, Category.CGO: cgo})
        if changed:
            process = replace(seen.main_process, **changed)  # type: ignore[arg-type]
            seen = replace(seen, processes=(process,))
        return history.judge(seen, seconds, 2)

    return then


def window_of(report: ContainerReport) -> float | None:
    """Of the first evidence of C code, the only finding of these containers."""
    (finding,) = report.findings
    assert finding.code == rules.CGO_HEAVY
    return finding.evidence[0].window_s


@pytest.mark.parametrize(("seconds", "is_recent"), [(59.0, True), (58.875, False)])
def test_the_recent_sum_is_of_the_fewest_windows_that_make_a_minute(
    seconds: float, is_recent: bool
) -> None:
    """59 s are one: timers are not exact. What was before is not in it."""
    then = cgo_history()
    then(60.0, user=100_000)
    then(1.25, user=100_000)
    found = then(seconds, cgo=100)
    assert (rules.CGO_HEAVY in codes(found)) is is_recent
    if is_recent:
        assert window_of(found) == 59.0


def test_the_recent_sum_is_of_the_last_minute() -> None:
    """A finding of the last four windows of 15 s, after ten minutes of something else."""
    then = cgo_history()
    for _ in range(40):
        then(15.0, user=10_000)
    found = [then(15.0, cgo=100) for _ in range(4)][-1]
    assert window_of(found) == 60.0


def test_the_long_sum_is_of_an_hour_in_blocks_of_five_minutes() -> None:
    """And of the last minute; the oldest block is dropped as a whole."""
    then = cgo_history()
    windows = [window_of(then(60.0, cgo=100)) for _ in range(180)]
    assert windows[:61] == [60.0 * n for n in range(1, 62)]
    later = [3660.0 - 240 + 60 * n for n in range(5)]
    assert windows[61:] == (later * 24)[: len(windows) - 61]


def test_the_long_sum_is_of_one_block_at_least() -> None:
    """Windows of more than an hour: the last and the one before it."""
    then = cgo_history()
    assert [window_of(then(4000.0, cgo=100)) for _ in range(4)] == [4000.0] + [8000.0] * 3


def released(then: Callable[..., ContainerReport]) -> None:
    """Found, and let go after a quarter of an hour of something else."""
    assert rules.CGO_HEAVY in codes(then(60.0, cgo=1000))
    assert rules.CGO_HEAVY in codes(then(899.0, user=1_000_000))
    assert rules.CGO_HEAVY not in codes(then(900.0, user=1_000_000))


@pytest.mark.parametrize(("seconds", "ends"), [(899.0, False), (900.0, True)])
def test_a_finding_ends_after_a_quarter_of_an_hour_of_doubt(seconds: float, ends: bool) -> None:
    """Of the long sum."""
    then = cgo_history()
    then(60.0, cgo=1000)
    assert (rules.CGO_HEAVY not in codes(then(seconds, user=1_000_000))) is ends


def test_doubt_that_is_interrupted_begins_again() -> None:
    """Ten minutes of doubt, a proof, ten minutes of doubt: the finding holds for five more."""
    then = cgo_history()
    then(60.0, cgo=1000)
    said = [
        then(600.0, user=1_000_000),
        then(60.0, cgo=10_000_000),
        then(600.0, user=1_000_000_000),
        then(299.0, user=1),
        then(60.0, user=1),
    ]
    assert [rules.CGO_HEAVY in codes(report) for report in said] == [True] * 4 + [False]


def test_what_has_ended_comes_back_after_as_long_a_proof() -> None:
    """A quarter of an hour, minute by minute, while the hour after its end lasts."""
    then = cgo_history()
    released(then)
    said = [rules.CGO_HEAVY in codes(then(60.0, cgo=100_000_000)) for _ in range(16)]
    assert said == [False] * 14 + [True] * 2


def test_a_proof_that_is_interrupted_begins_again() -> None:
    """14 minutes are not enough, nor are 14 more after a minute that proved nothing."""
    then = cgo_history()
    released(then)
    said = [then(60.0, cgo=10_000_000) for _ in range(14)]
    said.append(then(60.0, user=10_000_000_000))
    said += [then(60.0, cgo=1_000_000_000_000) for _ in range(14)]
    assert not any(rules.CGO_HEAVY in codes(report) for report in said)
    assert rules.CGO_HEAVY in codes(then(60.0, cgo=1))


@pytest.mark.parametrize(("seconds", "is_new"), [(3599.0, False), (3600.0, True)])
def test_an_hour_later_a_finding_that_ended_is_a_new_one(seconds: float, is_new: bool) -> None:
    """A minute makes it again."""
    then = cgo_history()
    released(then)
    then(seconds, user=1_000_000)
    assert (rules.CGO_HEAVY in codes(then(60.0, cgo=1000))) is is_new


def test_what_has_ended_in_another_process_is_new_in_this_one() -> None:
    """A restart forgets what was let go."""
    then = cgo_history()
    released(then)
    assert rules.CGO_HEAVY in codes(then(60.0, cgo=100, pid=8))


@pytest.mark.parametrize(("seconds", "is_judged"), [(20.0, True), (20.25, False)])
def test_the_first_minute_begins_again_with_another_process(
    seconds: float, is_judged: bool
) -> None:
    """Its third window of 20 s ends its first minute, and is judged; one of 20.25 s is not."""
    then = cgo_history()
    then(600.0, user=1)
    for _ in range(2):
        then(seconds, user=1, pid=8)
    assert (rules.CGO_HEAVY in codes(then(seconds, cgo=1000, pid=8))) is is_judged


@pytest.mark.parametrize(("seconds", "is_judged"), [(20.0, True), (20.25, False)])
def test_the_first_minute_of_a_container_ends_after_60_s(seconds: float, is_judged: bool) -> None:
    """From its first window on."""
    then = cgo_history()
    for _ in range(2):
        then(seconds, user=1)
    assert (rules.CGO_HEAVY in codes(then(seconds, cgo=1000))) is is_judged


@pytest.mark.parametrize(("seconds", "is_judged"), [(59.875, False), (60.0, True)])
def test_later_a_container_is_judged_after_a_minute(seconds: float, is_judged: bool) -> None:
    """Since it was judged last."""
    then = cgo_history()
    then(600.0, user=1)
    assert (rules.CGO_HEAVY in codes(then(seconds, cgo=1000))) is is_judged
    assert rules.CGO_HEAVY in codes(then(60.0, cgo=1000))


def of_runtime(history: History, seconds: float, runtime: int, user: int) -> ContainerReport:
    """A window of 64 Ps under a limit of 1 CPU, without the kernel's account of the CPU time: the
    share of the runtime decides, proven from 20 % and little below 30 %."""
    seen = steady(
        COSTLY.window(1.0, random.Random(1)),
        {Category.SCHED_FIND_WORK: runtime, Category.USER: user},
    )
    return history.judge(replace(seen, cpu_ns=None, usage=CpuUsage()), seconds, 2)


COSTS = {rules.COSTLY, rules.HARMLESS, rules.TOO_FEW_SAMPLES}


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([15.0, 60.0, 300.0, 900.0]),
            st.sampled_from([0.0, 0.1, 0.15, 0.22, 0.28, 0.6]),
            st.sampled_from([0, 10, 50, 100, 1000, 10**5]),
            st.integers(1, 20),
        ),
        max_size=12,
    )
)
def test_a_gomaxprocs_above_what_fits_always_has_one_finding(
    spells: list[tuple[float, float, int, int]],
) -> None:
    """That it is costly, that it costs little, or that it is not known: never none, or two."""
    history = History(Thresholds())
    for seconds, share, samples, windows in spells:
        runtime = round(share * samples)
        for _ in range(windows):
            found = of_runtime(history, seconds, runtime, samples - runtime)
            assert len(codes(found) & COSTS) == 1, found.verdict


def test_harmless_after_costly_after_harmless_leaves_no_gap() -> None:
    """That it costs little was proven for a quarter of an hour before the other was let go: for ten
    minutes it had no finding, and fitted."""
    history = History(Thresholds())
    said = [of_runtime(history, 60.0, 0, 100), of_runtime(history, 60.0, 1000, 1000)]
    said += [of_runtime(history, 60.0, 15_000, 85_000) for _ in range(5)]
    said += [of_runtime(history, 60.0, 0, 10_000_000) for _ in range(16)]
    found = [codes(report) for report in said]
    assert found[0] == {rules.HARMLESS}
    assert found[1:] == [{rules.COSTLY}] * 20 + [{rules.HARMLESS}] * 2


def test_little_cost_once_proven_stays_while_it_is_not_known() -> None:
    """8 of 50 samples are little; 35 of 150 are not known to be, and no proof of a cost either."""
    history = History(Thresholds())
    assert codes(of_runtime(history, 60.0, 8, 42)) == {rules.HARMLESS}
    assert codes(of_runtime(history, 900.0, 27, 73)) == {rules.HARMLESS}
    other = History(Thresholds())
    assert codes(of_runtime(other, 60.0, 35, 115)) == {rules.TOO_FEW_SAMPLES}


def test_a_finding_may_be_proven_by_the_long_sum_alone() -> None:
    """8 samples a minute are 56 in the seventh: enough for a share."""
    then = cgo_history()
    said = [rules.CGO_HEAVY in codes(then(60.0, cgo=8)) for _ in range(8)]
    assert said == [False] * 6 + [True] * 2


def test_the_last_minute_ends_a_doubt() -> None:
    """Ten minutes of doubt, a minute of C code that the long sum does not see, and ten of doubt."""
    then = cgo_history()
    then(60.0, cgo=1000)
    said = [
        then(600.0, user=1_000_000),
        then(60.0, cgo=100),
        then(600.0, user=1_000_000),
        then(300.0, user=1_000_000),
    ]
    assert [rules.CGO_HEAVY in codes(report) for report in said] == [True] * 3 + [False]


def test_doubt_begins_after_a_finding_has_come_back() -> None:
    """The quarter of an hour of its proof is no doubt of it."""
    then = cgo_history()
    released(then)
    for _ in range(15):
        back = then(60.0, cgo=100_000_000)
    assert rules.CGO_HEAVY in codes(back)
    assert rules.CGO_HEAVY in codes(then(60.0, user=100_000_000_000))


@pytest.mark.parametrize(("seconds", "severity"), [(899.0, "WARNING"), (900.0, "INFO")])
def test_a_severity_changes_after_a_quarter_of_an_hour(
    seconds: float, severity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a saving whose range begins below 0."""
    history = History(Thresholds())
    seen = COSTLY.window(1.0, random.Random(1))
    for low, length in ((0.01, 60.0), (-0.01, seconds)):
        saving = Saving(low, 0.15, 0.2)
        monkeypatch.setattr("gotax.diagnosis.context.predict_saving", lambda *_, s=saving: s)
        (finding,) = history.judge(replace(seen, usage=CpuUsage()), length, 2).findings
    assert finding.severity.name == severity


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([-0.5, -1e-9, 0.0, 0.1]), st.sampled_from([60.0, 900.0])),
        min_size=1,
        max_size=8,
    )
)
def test_a_warning_never_shows_a_possible_loss(windows: list[tuple[float, float]]) -> None:
    """Nor in the quarter of an hour in which a change of severity is in doubt: what is shown then
    is the finding of before, with its range."""
    history = History(Thresholds())
    seen = replace(COSTLY.window(1.0, random.Random(1)), usage=CpuUsage())
    for low, length in windows:
        saving = Saving(low, 0.15, 0.2)
        with patch("gotax.diagnosis.context.predict_saving", lambda *_, s=saving: s):
            (finding,) = history.judge(seen, length, 2).findings
        assert finding.saving is not None
        assert finding.saving.low >= 0 or finding.severity is Severity.INFO


def test_the_saving_is_that_of_what_fits() -> None:
    """Of the long sum, and of nothing where it is not known what fits."""
    seen = steady(COSTLY.window(1.0, random.Random(1)), {Category.SCHED_WAKE: 30, Category.USER: 5})
    history = History(Thresholds())
    assert history.judge(seen, WINDOW_S, 2).saving is None  # 35 samples predict nothing
    saving = history.judge(seen, WINDOW_S, 2).saving
    assert saving is not None
    assert saving.mid > 0
    unknown = replace(seen.main_process, gomaxprocs=Gomaxprocs(64, Origin.ENVIRONMENT, None))
    for _ in range(4):
        found = history.judge(replace(seen, processes=(unknown,)), WINDOW_S, 2)
        assert found.saving is None


def test_cpu_time_that_one_window_does_not_know_counts_as_none() -> None:
    """Not a nanosecond of it."""
    history = History(Thresholds())
    base = steady(replace(COSTLY, procs=1).window(1.0, random.Random(1)), {Category.USER: 100})
    usage = CpuUsage(None, 100, 90, None)
    history.judge(timed(base, None, usage), WINDOW_S, 2)
    (finding,) = history.judge(timed(base, 6 * 10**9, usage), WINDOW_S, 2).findings
    assert finding.evidence[2].value == 0.2


def test_an_earlier_limit_is_known_after_another_change() -> None:
    """From 4 CPUs to 1; then a call sets 4 Ps, which fitted the 4."""
    history, chance = History(Thresholds()), random.Random(1)
    for procs, limit in ((8, 4.0), (8, 1.0)):
        history.judge(replace(COSTLY, procs=procs, limit=limit).window(1.0, chance), 60.0, 8)
    found = history.judge(replace(COSTLY, procs=4, limit=1.0).window(1.0, chance), 60.0, 8)
    assert found.findings[0].cause is Cause.RESIZE


def test_an_earlier_limit_goes_with_the_process_into_a_new_group() -> None:
    """The group has the same limit as the container, which was lowered before."""
    history, chance = History(Thresholds()), random.Random(1)
    for limit in (4.0, 1.0):
        history.judge(replace(COSTLY, procs=4, limit=limit).window(1.0, chance), 60.0, 8)
    moved = replace(COSTLY, procs=4, limit=1.0).window(1.0, chance)
    moved = replace(moved, container=replace(CONTAINER, key="c/part", nested="part"))
    assert history.judge(moved, 60.0, 8).findings[0].cause is Cause.RESIZE


def test_a_process_that_was_not_read_has_a_history() -> None:
    """And its verdict is that."""
    history = History(Thresholds())
    seen = COSTLY.window(1.0, random.Random(1))
    seen = replace(seen, processes=(replace(seen.main_process, gomaxprocs=None),))
    for n in range(1, 4):
        found = history.judge(seen, WINDOW_S, 2)
        assert (found.verdict, found.held_s) == (Verdict.UNREADABLE, n * WINDOW_S)


@pytest.mark.parametrize(
    ("limit", "changed", "begins_again"),
    [
        (1.2, {}, False),
        (2.0, {}, True),  # another limit, which the same GOMAXPROCS fits
        (1.2, {"recommended": 1}, True),  # fewer CPUs
        (1.2, {"variable_is_set": True}, False),  # known only now
    ],
)
def test_windows_count_until_the_value_or_what_fits_is_another(
    limit: float, changed: dict[str, Any], begins_again: bool
) -> None:
    """Of the same process."""
    history, chance = History(Thresholds()), random.Random(1)
    before = replace(COSTLY, procs=1, limit=1.2).window(1.0, chance)
    history.judge(before, WINDOW_S, 2)
    after = replace(COSTLY, procs=1, limit=limit).window(1.0, chance)
    main = after.main_process
    assert main.gomaxprocs is not None
    main = replace(main, gomaxprocs=replace(main.gomaxprocs, **changed))
    found = history.judge(replace(after, processes=(main,)), WINDOW_S, 2)
    assert found.held_s == (WINDOW_S if begins_again else 2 * WINDOW_S)


def test_the_main_process_stays_where_another_has_more_samples_in_the_sum() -> None:
    """7 has 70 of 170, and 64 Ps; 8 has 1 P."""
    history = History(Thresholds())
    history.judge(pair(50, 40, is_swapped=False), WINDOW_S, 2)
    found = history.judge(pair(20, 60, is_swapped=True), 900.0, 2)  # no doubt lasts longer
    assert (found.verdict, found.held_s) == (Verdict.MISMATCH, WINDOW_S + 900.0)


def busy(*own: int) -> ContainerReport:
    """Processes 7, 8 and so on with so many samples, of 2 Ps each under a limit of 2."""
    report = replace(COSTLY, procs=2, limit=2.0).window(1.0, random.Random(1))
    main = report.main_process
    processes = tuple(replace(main, pid=7 + i, command=f"p{7 + i}") for i in range(len(own)))
    report = steady(report, {Category.USER: sum(own)})
    return replace(report, processes=processes, process_samples=own)


def test_a_process_without_samples_has_none_in_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = contexts(monkeypatch)
    History(Thresholds()).judge(busy(10, 0), WINDOW_S, 2)
    assert [context.report.process_samples for context in seen] == [(10, 0)]


def contexts(monkeypatch: pytest.MonkeyPatch) -> list[Context]:
    """Those that rules see from now on."""
    seen: list[Context] = []
    find_all = rules.find_all

    def note(context: Context) -> Any:
        seen.append(context)
        return find_all(context)

    monkeypatch.setattr(rules, "find_all", note)
    return seen


def test_rules_see_the_live_heap_of_all_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, history, report = contexts(monkeypatch), History(Thresholds()), busy(10)
    for live in (5, 7, 6):
        main = replace(report.main_process, runtime=RuntimeState(live_heap_bytes=live))
        history.judge(replace(report, processes=(main,)), WINDOW_S, 2)
    assert [context.live_heap for context in seen] == [(5, 5), (5, 7), (5, 7)]


def test_processes_are_in_the_order_of_their_sums() -> None:
    """The main one first; of those with as many, the one with the lower PID."""
    history = History(Thresholds())
    history.judge(busy(50, 40, 10, 20), WINDOW_S, 2)
    later = busy(50, 20, 90, 40)
    first, *others = zip(later.processes, later.process_samples, strict=True)
    processes, own = zip(first, *others[::-1], strict=True)
    later = replace(later, processes=processes, process_samples=own)
    (finding,) = history.judge(later, WINDOW_S, 2).findings
    assert "busy processes: p7 2, p9 2, p8 2, p10 2; sum 8" in finding.evidence[0].text


def test_processes_that_are_not_counted_have_no_samples() -> None:
    """64 with samples are: the 65th is not busy."""
    few, many = busy(1000, *([1] * 62), 500), busy(1000, *([1] * 63), 500)
    assert codes(History(Thresholds()).judge(few, WINDOW_S, 2)) == {rules.SEVERAL_PROCESSES}
    assert codes(History(Thresholds()).judge(many, WINDOW_S, 2)) == set()


def test_without_an_account_in_the_last_window_there_is_none() -> None:
    """The sum is not complete."""
    history = History(Thresholds())
    base = steady(replace(COSTLY, procs=1).window(1.0, random.Random(1)), {Category.USER: 100})
    usage = CpuUsage(None, 100, 90, None)
    history.judge(timed(base, 6 * 10**9, usage), WINDOW_S, 2)
    (finding,) = history.judge(timed(base, None, usage), WINDOW_S, 2).findings
    assert finding.evidence[2].value is None


def test_a_cost_ends_what_may_be_its_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collections and waiting were found at little cost; with the cost they go, at once."""
    history = History(Thresholds())
    seen = steady(
        COSTLY.window(1.0, random.Random(1)), {Category.GC_MARK_DEDICATED: 500, Category.CHAN: 600}
    )
    seen = replace(seen, usage=CpuUsage())
    said = []
    for mid in (0.0, 0.25):
        saving = Saving(mid - 0.01, mid, mid + 0.01)
        monkeypatch.setattr("gotax.diagnosis.context.predict_saving", lambda *_, s=saving: s)
        said.append(codes(history.judge(seen, 60.0, 2)))
    assert said == [{rules.HARMLESS, rules.GC_HEAVY, rules.COORDINATION}, {rules.COSTLY}]


@pytest.mark.parametrize(
    ("procs", "limit", "code"), [(2, 1.5, rules.FRACTIONAL), (8, 1.0, rules.BURSTS)]
)
def test_another_reason_for_throttling_ends_too_low_a_limit(
    procs: int, limit: float, code: str
) -> None:
    """A minute at the limit, then one below it, and throttled all the same."""
    history = History(Thresholds())
    service = replace(COSTLY, procs=procs, limit=limit)
    seen = steady(service.window(1.0, random.Random(1)), {Category.USER: 1000})
    said = []
    for cores, periods in ((limit, 100), (0.1 * limit, 10_000)):
        usage = CpuUsage(periods=periods, throttled_periods=periods // 5)
        said.append(codes(history.judge(timed(seen, round(cores * 60e9), usage), 60.0, 8)))
    assert [found & {rules.LIMIT_TOO_LOW, code} for found in said] == [
        {rules.LIMIT_TOO_LOW},
        {code},
    ]


def test_a_cost_that_comes_back_replaces_little_cost_when_that_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Five minutes of not known and ten of proof end it; the quarter of an hour of proof that a
    finding needs to come back leaves no gap, and is no reason to say that the cost is little."""
    history = History(Thresholds())
    said = []
    for mid, seconds in ((0.5, 60.0), (0.0, 900.0), (0.1, 300.0), (0.5, 300.0), (0.5, 300.0)):
        saving = Saving(mid - 0.01, mid, mid + 0.01)
        monkeypatch.setattr("gotax.diagnosis.context.predict_saving", lambda *_, s=saving: s)
        seen = steady(COSTLY.window(1.0, random.Random(1)), {Category.USER: 100})
        seen = timed(seen, round(seconds * 1e9), CpuUsage())
        said.append(codes(history.judge(seen, seconds, 2)))
    assert said == [{rules.COSTLY}, *[{rules.HARMLESS}] * 3, {rules.COSTLY}]
