"""Sums of windows of one container."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from gotax.diagnosis.sums import NO_WINDOWS, WindowSum, one_window
from gotax.process import CpuUsage, RuntimeState
from gotax.window import Collections

from tests.unit.exporters.windows import build_window, oversized_load

(REPORT,) = build_window(oversized_load()).reports
MAIN = REPORT.main_process.pid, REPORT.main_process.start_ticks


def total(*windows: WindowSum) -> WindowSum:
    return sum(windows, start=NO_WINDOWS)


def test_one_window_has_the_values_of_its_report() -> None:
    """Samples, counters and CPU time of the window; its usage is both the sum and the peak."""
    found = one_window(replace(REPORT, process_samples=(REPORT.samples,)), 10.0, 5 * 10**9)
    assert (found.windows, found.duration_s, found.cpu_ns) == (1, 10.0, 5 * 10**9)
    assert found.samples == REPORT.samples
    assert np.array_equal(found.category_samples, REPORT.category_samples)
    assert found.usage == REPORT.usage
    assert found.process_samples == {MAIN: REPORT.samples}
    assert (found.peak_cores, found.cores, found.cores_squared) == (0.5, 0.5, 0.25)
    assert found.collections == REPORT.collections != Collections()
    assert one_window(replace(REPORT, collections=None), 10.0, 0).collections == Collections()


def test_a_window_of_no_duration_has_no_usage() -> None:
    """No division by zero."""
    assert one_window(REPORT, 0.0, 10**9).cores == 0.0
    assert one_window(REPORT, 0.5, 10**9).cores == 2.0


def test_windows_add_up() -> None:
    """Everything except the peak is a sum, and adding an empty sum changes nothing."""
    low = one_window(replace(REPORT, process_samples=(3,)), 10.0, 10**10)
    high = one_window(
        replace(
            REPORT,
            process_samples=(4,),
            usage=CpuUsage(periods=7),
            collections=Collections(3, 70),
        ),
        20.0,
        6 * 10**10,
    )
    both = total(low, high)
    assert (both.windows, both.duration_s, both.cpu_ns) == (2, 30.0, 7 * 10**10)
    assert both.samples == 2 * REPORT.samples
    assert both.process_samples == {MAIN: 7}
    assert (both.cores, both.peak_cores, total(high, low).peak_cores) == (4.0, 3.0, 3.0)
    assert NO_WINDOWS.peak_cores == 0.0
    assert both.usage == REPORT.usage + CpuUsage(periods=7)
    assert REPORT.collections is not None
    assert both.collections == REPORT.collections + Collections(3, 70)
    assert both.cores_variance == pytest.approx(2.0)  # of 1 and 3 cores
    assert low.cores_variance == NO_WINDOWS.cores_variance == 0.0
    assert NO_WINDOWS.samples == 0


def test_the_live_heap_is_seen_at_several_moments() -> None:
    def one(live: int | None) -> WindowSum:
        state = RuntimeState(live_heap_bytes=live)
        main = replace(REPORT.main_process, runtime=state)
        return one_window(replace(REPORT, processes=(main,)), 10.0, 0)

    bare = replace(REPORT.main_process, runtime=None)
    assert one_window(replace(REPORT, processes=(bare,)), 10.0, 0).live_heap is None
    assert total(one(None), one(7), one(9), one(None), one(3)).live_heap == (3, 9)
    assert total(one(None), one(None)).live_heap is None
    assert total(one(0), one(None)).live_heap == (0, 0)
    extents = [WindowSum(live_heap=extent) for extent in ((2, 8), (4, 6), (1, 7), (3, 9))]
    assert [total(a, b).live_heap for a, b in permutations(extents, 2)] == [
        *((2, 8), (1, 8), (2, 9)),
        *((2, 8), (1, 7), (3, 9)),
        *((1, 8), (1, 7), (1, 9)),
        *((2, 9), (3, 9), (1, 9)),
    ]


def test_separately_counted_processes_are_bounded() -> None:
    """A container that starts a process every second does not make its sum larger; known ones still
    count."""
    first, *more = [WindowSum(process_samples={(pid, 1): 1}) for pid in range(100)]
    both = total(first, *more, first)
    assert len(both.process_samples) == 64
    assert both.process_samples[0, 1] == 2
    crowd = replace(
        REPORT,
        processes=tuple(replace(REPORT.main_process, pid=pid) for pid in range(100)),
        process_samples=tuple(range(100)),
    )
    found = one_window(crowd, 1.0, 0).process_samples
    assert list(found.values()) == list(range(1, 65))


def test_samples_of_processes_that_are_not_known_are_none() -> None:
    assert not one_window(replace(REPORT, process_samples=()), 10.0, 10**9).process_samples
    other = replace(REPORT.main_process, pid=1)
    two = replace(REPORT, processes=(REPORT.main_process, other), process_samples=())
    assert not one_window(two, 10.0, 10**9).process_samples
    two = replace(two, process_samples=(7, 0))
    assert one_window(two, 10.0, 10**9).process_samples == {MAIN: 7}


def test_a_variance_is_never_below_nothing() -> None:
    """Rounding may leave a little less; three windows of 1, 2 and 3 cores have a variance of 1."""
    assert WindowSum(windows=2, cores=2.0, cores_squared=1.9).cores_variance == 0.0
    assert WindowSum(windows=3, cores=6.0, cores_squared=14.0).cores_variance == 1.0
    assert WindowSum(windows=1, cores=2.0, cores_squared=9.0).cores_variance == 0.0
