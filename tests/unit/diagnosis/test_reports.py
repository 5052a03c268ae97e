"""The report of a container, from its measurements."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from gotax.config import Suppression, Thresholds
from gotax.diagnosis.reports import Measured, Reports
from gotax.process import CpuUsage
from gotax.window import Window

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
