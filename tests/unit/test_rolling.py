"""The last minute of a live display is the sum of its windows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.exporters.style import Style
from gotax.exporters.terminal.live import draw
from gotax.exporters.terminal.view import View
from gotax.rolling import MINUTE_S, Minute, Rolling
from gotax.window import SampleCount, Unjudged, Window

from tests.unit.exporters.windows import build_window, fitting_load, oversized_load, story_window


def rolled(*windows: Window) -> Minute:
    rolling = Rolling()
    for window in windows:
        minute = rolling.add(window)
    return minute


def lasting(seconds: float, window: Window | None = None) -> Window:
    return replace(window or story_window(), duration_s=seconds)


def test_one_window_is_itself() -> None:
    """All numbers of the table are those of the window."""
    window = story_window()
    found = rolled(window).window
    assert found.samples == window.samples
    assert found.duration_s == window.duration_s
    assert [window.cores_of(r) for r in window.reports] == pytest.approx(
        [found.cores_of(r) for r in found.reports]
    )
    assert [r.runtime_share for r in window.reports] == [r.runtime_share for r in found.reports]
    assert (found.native_samples, found.judged) == (window.native_samples, window.judged)


def test_samples_and_counters_are_sums() -> None:
    window = story_window()
    found = rolled(window, window, window).window
    assert found.samples.drained == 3 * window.samples.drained
    assert found.duration_s == 3 * window.duration_s
    for one, three in zip(window.reports, found.reports, strict=True):
        assert three.samples == 3 * one.samples
        assert three.category_samples.tolist() == (3 * one.category_samples).tolist()
        assert three.usage.throttled_ns == (
            None if one.usage.throttled_ns is None else 3 * one.usage.throttled_ns
        )
        assert window.cores_of(one) == pytest.approx(found.cores_of(three))
        assert (three.verdict, three.findings) == (one.verdict, one.findings)


def test_older_windows_than_a_minute_are_gone() -> None:
    rolling = Rolling()
    for _ in range(100):
        minute = rolling.add(lasting(2.01))
    assert MINUTE_S - 1 < minute.window.duration_s <= MINUTE_S + 2.5
    key = minute.window.reports[0].container.key
    assert len(minute.trend(key)) == 30


def test_a_pause_does_not_stay_for_a_minute() -> None:
    """After Ctrl-Z and fg, the window of the pause is shown once, and then what is now."""
    rolling = Rolling()
    rolling.add(lasting(2))
    assert rolling.add(lasting(600)).window.duration_s == 600
    assert rolling.add(lasting(2)).window.duration_s == 2


def test_the_trend_has_a_gap_where_a_container_was_not_there() -> None:
    before, both = build_window(fitting_load()), build_window(fitting_load(), oversized_load())
    minute = rolled(before, both)
    (new,) = {r.container.key for r in both.reports} - {r.container.key for r in before.reports}
    first, second = minute.trend(new)
    assert first is None
    assert second
    assert second > 0


def test_functions_and_processes_are_sums() -> None:
    window = story_window()
    minute = rolled(window, window)
    for one, two in zip(window.reports, minute.window.reports, strict=True):
        explained = minute.explained(two)
        assert {
            (f.function, f.flat_samples, f.cumulative_samples) for f in explained.functions
        } == {(f.function, 2 * f.flat_samples, 2 * f.cumulative_samples) for f in one.functions}
        uses = minute.processes_of(two)
        assert sum(use.samples for use in uses) >= 2 * one.samples
        assert [use.samples for use in uses] == sorted((u.samples for u in uses), reverse=True)


def test_losses_and_unread_programs_add_up() -> None:
    """Those that ended are other ones in each window. Those that run are the same ones."""
    window = replace(
        story_window(),
        samples=SampleCount(10, 7, {"process-gone": 3}),
        unjudged=(Unjudged("process-gone", 2, 5), Unjudged("procfs-denied", 1, 4)),
    )
    found = rolled(window, window).window
    assert found.samples == SampleCount(20, 14, {"process-gone": 6})
    assert found.unjudged == (Unjudged("process-gone", 4, 10), Unjudged("procfs-denied", 1, 8))


def test_collecting_is_shown_until_a_minute_is_full() -> None:
    style = Style(100, height=30)
    assert "collecting 15 of 60 s" in draw(View(), rolled(lasting(15)), style, "").lines[0]
    full = rolled(*[lasting(15)] * 5)
    assert "collecting" not in "\n".join(draw(View(), full, style, "").lines)
