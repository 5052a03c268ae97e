"""The rows of a window's profile by report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gotax.profile import Profile
from gotax.window import Window, go_processes
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.exporters.strategies import windows
from tests.unit.exporters.windows import build_window, native_load, oversized_load


def profile(processes: list[int]) -> Profile:
    count = len(processes)
    return Profile(
        process=np.array(processes, np.int32),
        stack=np.zeros(count, np.int32),
        category=np.zeros(count, np.uint8),
        samples=np.ones(count, np.int64),
        stacks=((),),
    )


@given(st.lists(st.integers(0, 5), max_size=30), st.sets(st.integers(0, 7)).map(sorted))
def test_rows_of_processes(processes: list[int], wanted: list[int]) -> None:
    """Each row of a wanted process once, in the order of the profile."""
    rows = profile(processes).rows_of(wanted)
    assert rows.dtype == np.int64
    assert rows.tolist() == [i for i, process in enumerate(processes) if process in wanted]


@given(windows())
def test_each_row_of_a_go_process_belongs_to_one_report(window: Window) -> None:
    """The rows are a partition, by the container of their process, of Go processes only."""
    by_report = window.report_rows()
    assert len(by_report) == len(window.reports)
    for report, rows in zip(window.reports, by_report, strict=True):
        owners = [window.processes[i] for i in window.profile.process[rows].tolist()]
        assert all(p.is_go and p.container.key == report.container.key for p in owners)
    known = {report.container.key for report in window.reports}
    expected = sum(
        window.processes[i].is_go and window.processes[i].container.key in known
        for i in window.profile.process.tolist()
    )
    assert sum(map(len, by_report)) == expected


def test_a_replaced_profile_has_its_own_rows() -> None:
    """The cached rows of a window are not kept when its profile is replaced."""
    window = build_window(oversized_load())
    assert len(window.report_rows()[0]) == len(window.profile)
    assert [len(rows) for rows in replace(window, profile=profile([])).report_rows()] == [0]


def test_processes_that_are_not_go_are_in_no_report() -> None:
    """They are only in the profile."""
    window = build_window(native_load(), oversized_load())
    assert list(go_processes(window.processes).values()) == [[1]]
