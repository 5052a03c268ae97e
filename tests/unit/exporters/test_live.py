"""``gotax top``: what keys do to the view, and what the screen shows of a minute."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from gotax.exporters.style import Style
from gotax.exporters.terminal.live import NARROWEST, TREND_WIDTH, draw, sparkline
from gotax.exporters.terminal.table import Sort
from gotax.exporters.terminal.view import SORT_KEYS, Page, View, pressed
from gotax.exporters.text import columns
from gotax.rolling import Minute, Rolling
from gotax.window import Window
from hypothesis import given
from hypothesis import strategies as st

from .strategies import names, unhurried, windows
from .windows import (
    build_window,
    fitting_load,
    native_load,
    other_report,
    pod_container,
    story_window,
)

Golden = Callable[[str, str], None]
SGR = re.compile(r"\x1b\[[\d;]+m")
WIDE = Style(100, height=30, narrowest=NARROWEST)
KEYS = (
    *("up", "down", "pageup", "pagedown", "home", "end", "enter", "escape", "backspace", "clear"),
    *"/?spkjgGvcrwtn",
)


def minute_of(window: Window) -> Minute:
    return Rolling().add(window)


def many(count: int) -> Minute:
    """Containers app-1, app-2 and so on, all equally busy."""
    load = fitting_load()
    loads = (
        replace(load, process=replace(load.process, pid=n, container=pod_container(f"app-{n}", n)))
        for n in range(1, count + 1)
    )
    return minute_of(build_window(*loads))


def after(view: View, keys: str, minute: Minute | None, style: Style = WIDE) -> View:
    """The view after keys, separated by spaces, each on what is drawn then."""
    for key in keys.split():
        view = pressed(view, key, minute, draw(view, minute, style, "").bottom)
    return view


def text_of(view: View, minute: Minute | None, style: Style = WIDE) -> str:
    return "\n".join(draw(view, minute, style, "nothing yet").lines)


@pytest.mark.parametrize(("width", "height"), [(100, 24), (80, 12), (40, 16)])
def test_the_table_matches_its_golden_file(golden: Golden, width: int, height: int) -> None:
    """With findings of the selected container, with little height, and as narrow as a phone."""
    style = Style(width, height=height, narrowest=NARROWEST)
    golden(
        f"top-{width}x{height}.txt", text_of(View(Sort.VERDICT), minute_of(story_window()), style)
    )


def test_the_selected_row_is_reversed_over_its_whole_width() -> None:
    style = replace(WIDE, colour=True)
    rows = [row for row in draw(View(), minute_of(story_window()), style, "").lines if "▸" in row]
    (row,) = rows
    assert row.startswith("\x1b[7m▸")
    assert row.endswith("\x1b[0m")
    assert columns(SGR.sub("", row)) == 100
    inner = row.removesuffix("\x1b[0m")
    assert inner.count("\x1b[0;7m") == len(re.findall(r"\x1b\[0", inner)) > 0


@unhurried
@given(
    windows(),
    st.integers(1, 160),
    st.integers(2, 50),
    st.booleans(),
    st.booleans(),
    st.lists(st.sampled_from(KEYS) | names, max_size=12),
)
def test_no_screen_scrolls_or_wraps(
    window: Window, width: int, height: int, colour: bool, unicode: bool, keys: list[str]
) -> None:
    """After any keys, with any names: within the screen, and only our own control characters."""
    style = Style(width, colour, unicode, height, NARROWEST)
    minute = minute_of(window)
    view = View()
    for key in keys:
        drawn = draw(view, minute, style, "nothing yet")
        assert len(drawn.lines) <= height
        for line in drawn.lines:
            plain = SGR.sub("", line) if colour else line
            assert plain.isprintable()
            assert unicode or plain.isascii()
            assert columns(plain) <= style.room, line
        view = pressed(view, key, minute, drawn.bottom)


def test_the_selection_stays_with_its_container() -> None:
    """Sorting and new windows move the row, and the selection with it."""
    minute = minute_of(story_window())
    view = after(View(Sort.NAME), "down down", minute)
    chosen = view.selected
    assert sorted(r.container.name for r in minute.window.reports)[2] in {
        r.container.name for r in minute.window.reports if r.container.key == chosen
    }
    for key in SORT_KEYS:
        moved = after(view, key, minute)
        assert moved.sort is SORT_KEYS[key]
        (row,) = [row for row in text_of(moved, minute).split("\n") if row.startswith("▸")]
        name = next(r.container.name for r in minute.window.reports if r.container.key == chosen)
        assert name in row


def test_every_row_can_be_reached_and_the_screen_says_which_rows_it_shows() -> None:
    minute = many(200)
    view = View(Sort.NAME)
    shown = set()
    for _ in range(200):
        lines = text_of(view, minute).split("\n")
        (row,) = [row for row in lines if row.startswith("▸")]
        found = re.search(r"app-\d+", row)
        assert found
        shown.add(found[0])
        view = after(view, "down", minute)
    assert len(shown) == 200
    assert re.search(r"^ \d+.200 of 200$", text_of(view, minute), re.M)
    assert after(view, "home", minute).selected != view.selected


def test_a_filter_takes_every_key_until_it_is_entered_or_ended() -> None:
    """Also q and ?, which are letters of names."""
    minute = many(30)
    view = after(View(), "/ p p - 2 q ?", minute)
    assert (view.pattern, view.is_typing, view.has_ended) == ("pp-2q?", True, False)
    view = after(view, "backspace backspace enter", minute)
    rows = re.findall(r"app-\d+", text_of(view, minute))
    assert set(rows) == {f"app-{n}" for n in (2, *range(20, 30))}
    assert after(view, "escape", minute).pattern == ""
    assert after(View(), "/ A P P - 3 enter", minute).pattern == "APP-3"
    assert "app-3" in text_of(after(View(), "/ A P P - 3 enter", minute), minute)
    assert "'zz'" in text_of(after(View(), "/ z z enter", minute), minute)


def test_enter_explains_and_escape_goes_back() -> None:
    """What `gotax explain` prints, down to its last line and not further."""
    minute = minute_of(story_window())
    style = replace(WIDE, height=12)
    view = after(View(Sort.VERDICT), "enter", minute, style)
    assert view.page is Page.EXPLAIN
    seen = []
    for _ in range(200):
        seen += draw(view, minute, style, "").lines[1:-1]
        view = after(view, "down", minute, style)
    text = "\n".join(seen)
    assert "Where the time goes" in text
    assert "Remedy" in text
    assert "GOMAXPROCS" in text
    end = view.scroll
    assert after(view, "down pagedown end", minute, style).scroll == end
    assert after(view, "up", minute, style).scroll == end - 1
    assert after(view, "escape", minute, style).page is Page.TABLE
    assert after(view, "q", minute, style) == replace(view, page=Page.TABLE, scroll=0)


def test_a_page_of_a_container_that_has_ended_says_so() -> None:
    view = after(View(), "enter", minute_of(story_window()))
    assert "has ended" in text_of(view, minute_of(build_window(native_load())))


def test_keys_work_before_the_first_window() -> None:
    view = after(View(), "down enter p s", None)
    assert view.page is Page.TABLE
    assert "nothing yet" in text_of(view, None)
    assert "sort by saving" in text_of(after(view, "?", None), None)
    assert after(view, "q", None).has_ended


@pytest.mark.parametrize("key", ["x", "\u00e9", "left", "backspace", "clear", "1"])
def test_other_keys_change_nothing(key: str) -> None:
    assert pressed(View(), key, minute_of(story_window()), 0) == View()


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((), ""),
        ((0.0, 0.0), "▁▁"),
        ((0.5, 1.0, None), "▅█ "),
        ((None, 0.25), " █"),
        (tuple(float(n) for n in range(12)), "▁▁▂▃▃▄▅▆▆▇██"),
        ((*[0.0] * 24, *[4.0] * 6), "▁▁▁▁▁▁▁▁██"),
    ],
)
def test_sparklines(values: tuple[float | None, ...], text: str) -> None:
    """The newest value at the right, the highest one full, nothing for no value."""
    assert sparkline(values, Style()) == text.rjust(TREND_WIDTH)
    assert sparkline(values, Style(unicode=False)).isascii()


def test_findings_of_containers_without_go_are_below_the_table() -> None:
    """They have no row. Also on a host without Go."""
    for window in (story_window(), build_window()):
        minute = Rolling().add(replace(window, others=(other_report(),)))
        text = "\n".join(draw(View(), minute, WIDE, "No Go.").lines)
        assert "[GT020] numbers (not Go): Throttled: OpenBLAS runs more threads" in text
