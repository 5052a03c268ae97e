"""Samples compared with the kernel's counters, the program's own clock, and its own profile.

The error by chance: a share of ``n`` independent samples has a standard deviation of at most
``sqrt(1 / (4 n))``; regular samples of work in random slices have less. CPU seconds from samples
have a relative one of at most ``sqrt(1 / n)`` (and almost none for a process that never pauses).
The bounds are the acceptance bounds; ``n`` is large enough for them to be 4.5 deviations: chance
exceeds them once in 150,000 runs.
"""

from __future__ import annotations

import gzip
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gotax.category import Category
from gotax.sampling.sampler import Counter as KernelCounter
from gotax.window import ContainerReport, Window
from gotax.wire.pprof import profile_pb2

from tests.kernel.load import GUARD_S, Group, Load, Walk, functions, wait_until
from tests.toolchains import VERSIONS

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

DEVIATIONS = 4.5
SHARE_BOUND = 0.02
CPU_BOUND = 0.05
FRESH_NS = 50_000_000
SAMPLES_MIN = math.ceil((DEVIATIONS / SHARE_BOUND) ** 2 / 4)
"""For shares: 12,657 samples. For CPU seconds 8,100 would be enough."""
THREE = ("main.sixty", "main.thirty", "main.ten")
NAMES = (*THREE, "main.allocate")


@dataclass(frozen=True)
class Run:
    """One measurement of tests/programs/knownwork in a cgroup of its own."""

    window: Window
    report: ContainerReport
    pid: int
    function_ns: dict[str, int]  # by the program's own thread clocks
    own_ns: int  # by getrusage
    # At least and at most, since each reading takes time: from drain to drain, by its clock and by
    # the kernel, and from window to window.
    process_ns: tuple[int, int]
    cgroup_ns: tuple[int, int]
    window_ns: tuple[int, int]
    apart_ns: int  # its CPU time between its reports and the drains
    profile: Counter[str]  # its own runtime/pprof: cumulative samples by function
    profile_samples: int
    unseen_ns: int  # in its own profile, and not between the drains


@pytest.fixture(scope="module")
def run(go_binary: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Sampled at 999 Hz from one of its reports to a later one, until there are enough samples."""
    path = tmp_path_factory.mktemp("knownwork") / "own.pb.gz"
    flags = ("-busy", "0.6", "-allocate", "0.5", "-cpuprofile", path, "-profrate", "200")
    with (
        Group("knownwork") as group,
        Load(go_binary("knownwork", VERSIONS[-1]), *flags, group=group) as program,
        Walk(999) as walk,
    ):
        walk.pipeline.scan()
        program.report()  # while it starts

        def clocks() -> tuple[int, int]:
            return group.usage_ns(), program.cpu_ns()

        first = fresh_report(program)
        before = clocks()
        walk.drain()
        after = clocks()
        walk.window()
        after_first = group.usage_ns()
        samples, deadline = 0, time.monotonic() + GUARD_S
        while samples < 1.3 * SAMPLES_MIN:
            last = fresh_report(program)
            before_now = clocks()
            drain = walk.drain()
            after_now = clocks()
            samples += int(drain.samples[drain.stack_counts["tgid"] == program.pid].sum())
            assert time.monotonic() < deadline, f"{samples} samples only: is the host that busy?"
        window = walk.window()
        after_last = group.usage_ns()
        whole_ns = program.cpu_ns()
        program.end()
        (report,) = [r for r in window.reports if r.container.cgroup == group.path]
        profile, own_samples = read_profile(path)
        yield Run(
            window=window,
            report=report,
            pid=program.pid,
            function_ns={n: last["function_ns"][n] - first["function_ns"][n] for n in NAMES},
            own_ns=last["process_ns"] - first["process_ns"],
            process_ns=(before_now[1] - after[1], after_now[1] - before[1]),
            cgroup_ns=(before_now[0] - after[0], after_now[0] - before[0]),
            # A process with samples is read in the drain before its window, else in the window.
            window_ns=(before_now[0] - after_first, after_last - before[0]),
            apart_ns=after[1] - first["process_ns"] + after_now[1] - last["process_ns"],
            profile=profile,
            profile_samples=own_samples,
            unseen_ns=whole_ns - before_now[1] + after[1],
        )


def fresh_report(program: Load) -> dict[str, Any]:
    """One of just now, and not one that waited in the pipe."""

    def fresh() -> dict[str, Any] | None:
        report = program.report()
        return report if program.cpu_ns() - report["process_ns"] < FRESH_NS else None

    found: dict[str, Any] = wait_until(fresh, "a report of just now")
    return found


def read_profile(path: Path) -> tuple[Counter[str], int]:
    """Cumulative samples by function, and all samples."""
    profile = profile_pb2.Profile.FromString(gzip.decompress(path.read_bytes()))
    names = {f.id: profile.string_table[f.name] for f in profile.function}
    called = {
        location.id: {names[line.function_id] for line in location.line}
        for location in profile.location
    }
    counted, samples = Counter[str](), 0
    for sample in profile.sample:
        count = sample.value[0]
        samples += count
        on_stack = set().union(*(called[number] for number in sample.location_id))
        counted.update(dict.fromkeys(on_stack, count))
    return counted, samples


def test_cpu_seconds_agree_with_the_kernel(run: Run) -> None:
    """Samples times the period are within 5 % of the kernel's CPU time of the cgroup, and of the
    process. (The program wants 1.1 cores; how much it gets depends on other programs.)"""
    assert run.report.samples >= SAMPLES_MIN
    sampled_ns = run.report.samples * run.window.period_ns
    for least, most in (run.cgroup_ns, run.process_ns):
        assert (1 - CPU_BOUND) * least <= sampled_ns <= (1 + CPU_BOUND) * most


def test_cpu_time_of_the_report_is_that_of_the_kernel(run: Run) -> None:
    """The CPU time in a report is exact: to 2 %, and the 20 ms of two readings."""
    least, most = run.window_ns
    assert run.report.cpu_ns is not None
    assert 0.98 * least - 20_000_000 <= run.report.cpu_ns <= 1.02 * most + 20_000_000


def test_usage_in_the_report_is_that_of_the_kernel(run: Run) -> None:
    """The usage in a report is the difference in the file that the test reads too."""
    least, most = run.window_ns
    assert run.report.usage.usage_ns is not None
    assert least <= run.report.usage.usage_ns <= most


@pytest.mark.parametrize("name", NAMES)
def test_shares_match_the_clocks_of_the_threads(run: Run, name: str) -> None:
    """The share of each function is within 2 points of its thread's own clock, plus the time
    between the program's report and the drain."""
    counted = functions(run.window, run.pid)
    truth = run.function_ns[name] / run.own_ns
    bound = SHARE_BOUND + run.apart_ns / run.own_ns
    assert counted[name] / run.report.samples == pytest.approx(truth, abs=bound)


def test_the_split_is_60_30_10(run: Run) -> None:
    """Of the three functions: 60, 30 and 10 %, within 2 points."""
    counted = functions(run.window, run.pid)
    three = {name: counted[name] for name in THREE}
    for name, share in zip(THREE, (0.6, 0.3, 0.1), strict=True):
        deviation = DEVIATIONS * math.sqrt(share * (1 - share) / sum(three.values()))
        bound = max(SHARE_BOUND, deviation)
        assert three[name] / sum(three.values()) == pytest.approx(share, abs=bound)


@pytest.mark.parametrize("name", NAMES)
def test_shares_match_the_programs_own_profile(run: Run, name: str) -> None:
    """Within 2 points of runtime/pprof, plus the error of its fewer samples. Its profile is of the
    whole run: the split of the three functions is the same at any time, but how much of the CPU
    allocation gets depends on the host's other work."""
    assert run.profile_samples > 500
    counted = functions(run.window, run.pid)
    ours, own, bound = run.report.samples, run.profile_samples, SHARE_BOUND
    if name in THREE:
        ours, own = (sum(counts[n] for n in THREE) for counts in (counted, run.profile))
    else:
        bound += run.unseen_ns / run.own_ns
    bound += DEVIATIONS * math.sqrt(1 / (4 * own))
    assert counted[name] / ours == pytest.approx(run.profile[name] / own, abs=bound)


def test_the_table_of_functions_has_the_same_counts(run: Run) -> None:
    """The report's own table has these functions with the samples of the profile's rows."""
    counted = functions(run.window, run.pid)
    table = {f.function: f.cumulative_samples for f in run.report.functions}
    for name in NAMES:
        assert table[name] == counted[name]


def test_gc_and_allocation_are_found(run: Run) -> None:
    """A program that allocates all the time spends some of it on allocation and GC, and little is
    unknown."""
    labels = {c.label: n for c, n in zip(Category, run.report.category_samples, strict=True)}
    assert labels["alloc"] > 0
    assert sum(n for label, n in labels.items() if label.startswith("gc/")) > 0
    assert labels["unknown"] < 0.01 * run.report.samples


@pytest.mark.slow
def test_cpu_seconds_at_99_hz_over_a_minute(
    go_binary: Callable[..., Path],
    load: Callable[..., Load],
    group: Callable[[str], Group],
) -> None:
    """At the default frequency over 60 s: within 5 %, with at least 2,970 samples (a relative
    deviation of at most 1.8 % by chance for independent samples; regular ones have less)."""
    own = group("minute")
    program = load(go_binary("knownwork", VERSIONS[-1]), "-busy", "0.8", group=own)
    program.report()
    with Walk(99) as walk:
        walk.pipeline.scan()
        usage_ns = -own.usage_ns()
        walk.drain()
        walk.window()
        for _ in range(60):
            time.sleep(1.0)
            usage_now_ns = own.usage_ns()
            walk.drain()
        usage_ns += usage_now_ns
        window = walk.window()
    (report,) = [r for r in window.reports if r.container.cgroup == own.path]
    assert report.samples > 0.5 * 99 * 60
    assert report.samples * window.period_ns == pytest.approx(usage_ns, rel=CPU_BOUND)
    assert walk.counted(KernelCounter.STACK_COUNTS_FULL) == 0
