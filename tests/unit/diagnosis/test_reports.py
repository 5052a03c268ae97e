"""The report of a container, from its measurements."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from gotax.config import Suppression, Thresholds
from gotax.diagnosis.others import IDLE_MAX
from gotax.diagnosis.reports import Collected, Measured, Reports, collected_by
from gotax.other import OtherUse
from gotax.process import CpuUsage, RuntimeState
from gotax.window import Collections, Window

from tests.unit.diagnosis.test_context import POD
from tests.unit.diagnosis.test_others import throttling, use
from tests.unit.exporters.windows import (
    Load,
    build_window,
    fitting_load,
    named,
    native_load,
    oversized_load,
)

WINDOW = build_window(native_load(), oversized_load(), fitting_load())
COUNTERS = CpuUsage(10**9, 100, 10, 10**8)


def measured(window: Window, counters: CpuUsage = COUNTERS) -> list[Measured]:
    return [
        Measured(
            processes=report.processes,
            process_samples=(report.samples,),
            rows=rows,
            drain_samples=(1, 2),
            cpu_ns=7 * 10**9,
            limit=report.limit,
            counters=counters,
        )
        for report, rows in zip(window.reports, window.report_rows(), strict=True)
    ]


def test_a_report_counts_the_rows_of_its_container() -> None:
    """Samples by category and by function; measurements are passed on; most samples come first."""
    reports = Reports(Thresholds(), 2, Counter())
    found = reports.of_window(reversed(measured(WINDOW)), WINDOW.profile, 15.0, 8)
    assert [report.container for report in found] == [r.container for r in WINDOW.reports]
    for report, expected in zip(found, WINDOW.reports, strict=True):
        assert np.array_equal(report.category_samples, expected.category_samples)
        assert report.functions == expected.functions[:2]
        assert (report.cpu_ns, report.drain_samples) == (7 * 10**9, (1, 2))
        assert (report.limit, report.process_samples) == (expected.limit, (expected.samples,))


def test_functions_are_counted_only_if_wanted() -> None:
    (report,) = Reports(Thresholds(), 0, Counter()).of_window(
        measured(WINDOW)[:1], WINDOW.profile, 15.0, 8
    )
    assert report.functions == ()


def test_usage_is_the_delta_since_the_last_window() -> None:
    """Unknown in the first window, and again after the container was absent."""
    reports = Reports(Thresholds(), 0, Counter())

    def usages(count: int, counters: CpuUsage) -> list[CpuUsage]:
        each = measured(WINDOW, counters)[:count]
        return [r.usage for r in reports.of_window(each, WINDOW.profile, 15.0, 8)]

    delta = CpuUsage(5, 4, 3, 2)
    assert usages(2, COUNTERS) == [CpuUsage()] * 2
    assert usages(1, COUNTERS + delta) == [delta]
    assert usages(2, COUNTERS + delta + delta) == [delta, CpuUsage()]


def test_counters_known_before_the_first_window_give_its_delta() -> None:
    """A scan has read them at the beginning of the window."""
    reports = Reports(Thresholds(), 0, Counter())
    each = measured(WINDOW, COUNTERS)[:1]
    reports.counters[each[0].container.key] = CpuUsage(0, 0, 0, 0)
    (report,) = reports.of_window(each, WINDOW.profile, 15.0, 8)
    assert report.usage == COUNTERS


BEFORE = Collected(7, 1, 2**32 - 1, 900)


@pytest.mark.parametrize(
    ("now", "before", "growth"),
    [
        (Collected(7, 1, 2, 1000), BEFORE, Collections(3, 100)),  # the runtime counts in 32 bits
        (Collected(7, 1, 2**32 - 1, 900), BEFORE, Collections(0, 0)),
        (Collected(7, 1, 1 << 31, 1000), replace(BEFORE, cycles=0), Collections(1 << 31, 100)),
        (Collected(7, 1, 2, 899), BEFORE, Collections(3, 0)),  # read while it was written
        (Collected(7, 1, 2, None), BEFORE, Collections(3)),
        (Collected(7, 1, 2, 1000), replace(BEFORE, allocated_bytes=None), Collections(3)),
        (Collected(7, 1, None, 1000), BEFORE, None),
        (Collected(7, 1, 2, 1000), replace(BEFORE, cycles=None), None),
        (Collected(7, 1, 2, 1000), None, None),
        (Collected(8, 1, 2, 1000), BEFORE, None),
        (Collected(7, 2, 2, 1000), BEFORE, None),  # a reused PID
    ],
)
def test_collections_are_the_growth_of_one_process(
    now: Collected, before: Collected | None, growth: Collections | None
) -> None:
    """What was not read is unknown, and not 0 cycles."""
    assert now.since(before) == growth


def test_a_process_without_a_state_has_no_counters() -> None:
    process = replace(oversized_load().process, runtime=None)
    assert collected_by(process) == Collected(process.pid, process.start_ticks, None, None)
    state = RuntimeState(gc_cycles=5, allocated_bytes=700)
    read = replace(process, runtime=state)
    assert collected_by(read) == Collected(process.pid, process.start_ticks, 5, 700)


def test_the_collections_are_those_of_the_main_process() -> None:
    """From the second window on."""
    reports = Reports(Thresholds(), 0, Counter())
    (each,) = measured(build_window(oversized_load()))
    (main,) = each.processes

    def seen(cycles: int) -> Collections | None:
        first = replace(main, runtime=RuntimeState(gc_cycles=cycles, allocated_bytes=10 * cycles))
        second = replace(main, pid=1, runtime=RuntimeState(gc_cycles=99, allocated_bytes=99))
        both = replace(each, processes=(first, second), process_samples=(9, 1))
        (report,) = reports.of_window([both], WINDOW.profile, 15.0, 8)
        return report.collections

    assert [seen(2), seen(5)] == [None, Collections(3, 30)]


def other(name: str, suppress: str = "", **changes: Any) -> OtherUse:
    one = use(**changes)
    pod = replace(POD, suppress=suppress)
    return replace(one, container=replace(one.container, key=name, name=name, pod=pod))


def test_other_containers_are_judged_in_their_order() -> None:
    """Flags and annotations are for them, too; what has no finding needs neither."""
    errors = Counter[str]()
    flag = Suppression("GT020", "", "hidden")
    reports = Reports(replace(Thresholds(), suppressions=(flag,)), 0, errors)
    uses = [
        other("z"),
        other("hidden"),
        other("a", suppress="GT020"),
        other("quiet", suppress="GT099", limit=None),
    ]
    found = reports.of_others(uses, 15.0, 64)
    assert [
        (report.container.name, [finding.code for finding in report.findings], report.suppressed)
        for report in found
    ] == [
        ("z", ["GT020"], ()),
        ("hidden", [], ("GT020",)),
        ("a", [], ("GT020",)),
        ("quiet", [], ()),
    ]
    assert errors == {}
    reports.of_others([other("wrong", suppress="GT099")], 15.0, 64)
    assert errors == {"suppression": 1}


@pytest.mark.parametrize(("windows", "is_kept"), [(IDLE_MAX - 1, True), (IDLE_MAX, False)])
def test_another_container_that_is_gone_is_forgotten(windows: int, is_kept: bool) -> None:
    """Its finding would else be that of a new container in its cgroup."""
    reports = Reports(Thresholds(), 0, Counter())
    reports.of_others([other("a")], 15.0, 64)
    for _ in range(windows):
        assert reports.of_others([], 15.0, 64) == ()
    (report,) = reports.of_others(
        [other("a", found=throttling(throttled=0, stopped_s=0.0), runnable=None)], 15.0, 64
    )
    assert bool(report.findings) is is_kept


def suppressed_codes(annotation: str, errors: Counter[str], *flags: Suppression) -> tuple[str, ...]:
    window = build_window(named(oversized_load(), "web", suppress=annotation))
    reports = Reports(replace(Thresholds(), suppressions=flags), 0, errors)
    (report,) = reports.of_window(measured(window), window.profile, 15.0, 8)
    assert not {finding.code for finding in report.findings} & {*report.suppressed}
    return report.suppressed


def test_flags_and_annotation_are_combined() -> None:
    """An invalid annotation is counted, and the flags still apply."""
    errors = Counter[str]()
    assert suppressed_codes("", errors) == ()
    assert suppressed_codes("GT001", errors) == ("GT001",)
    assert suppressed_codes("GT005", errors, Suppression("GT001", "", "*")) == ("GT001",)
    assert errors == {}
    assert suppressed_codes("GT099", errors, Suppression("GT001", "", "*")) == ("GT001",)
    assert errors == {"suppression": 1}


def test_a_container_that_was_away_begins_again() -> None:
    """Its history is of windows without a gap."""
    reports = Reports(Thresholds(), 0, Counter())
    each = measured(WINDOW)[:1]

    def held_s(seen: list[Measured]) -> list[float]:
        return [report.held_s for report in reports.of_window(seen, WINDOW.profile, 15.0, 8)]

    assert [held_s(each), held_s(each), held_s([]), held_s(each)] == [[15.0], [30.0], [], [15.0]]


def test_reports_are_ordered_by_samples_and_then_by_name() -> None:
    """Most samples first; of as many the first name."""
    load = fitting_load()

    def called(name: str, *, times: int) -> Load:
        container = replace(load.process.container, key=name, name=name)
        runs = tuple(replace(run, samples=run.samples * times) for run in load.runs)
        return replace(load, process=replace(load.process, container=container), runs=runs)

    window = build_window(called("b", times=1), called("z", times=2), called("a", times=1))
    seen = measured(window)
    reports = Reports(Thresholds(), 0, Counter())
    for order in (seen, seen[::-1]):
        found = reports.of_window(order, window.profile, 15.0, 8)
        assert [report.container.name for report in found] == ["z", "a", "b"]
