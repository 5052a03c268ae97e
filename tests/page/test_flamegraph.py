"""The flame graph, driven in a real browser: what it draws, its tables, keys and links."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gotax.exporters.html import html_page
from gotax.page import SCRIPTS, STYLES, asset
from gotax.page.calltree import INLINED, Call, CallTree

from tests.collector import axe, browser
from tests.collector.browser import Browser
from tests.unit.exporters.windows import story_window

CATEGORIES = (("user", "user"), ("gc", "gc"), ("find-work", "scheduler"))
HOSTILE = "<img src=x onerror=alert(1)>\u202e</script>"


def stacks() -> Iterator[tuple[str, int, int]]:
    """80 units: 40 in main.work, 20 in the GC, 10 in the scheduler, 10 below main.other."""
    yield "main;main.work;main.leaf", 0, 30
    yield "main;main.work", 0, 10
    yield "gcBgMarkWorker;gcDrain", 1, 20
    yield "mcall;schedule;findRunnable", 2, 10
    yield f"main;main.other;main.leaf;{HOSTILE}", 0, 6
    yield "main;main.other;main.leaf;main.leaf", 0, 4


def page(document: dict[str, Any], folder: Path) -> str:
    style = "".join(asset(name) for name in STYLES)
    script = "".join(asset(name) for name in SCRIPTS)
    data = json.dumps(document).replace("<", "\\u003c")
    file = folder / "page.html"
    file.write_text(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>t</title><style>{style}</style>"
        f'<main><h1>t</h1><div data-flamegraph="d"></div></main>'
        f'<script type="application/json" id="d">{data}</script><script>{script}</script>'
    )
    return file.as_uri()


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    browser.needed()
    with browser.browsing("--force-prefers-reduced-motion") as opened:
        yield opened


def document_of(sides: int = 1) -> dict[str, Any]:
    tree = CallTree(CATEGORIES, sides)
    for line, category, time in stacks():
        calls = [Call(name, "x.go:7", INLINED * (name == "main.leaf")) for name in line.split(";")]
        tree.add(calls, category, time, side=sides - 1)
    if sides == 2:
        tree.add([Call("gone")], 0, 50, side=0)
        tree.add([Call("main"), Call("main.work")], 0, 50, side=0)
    return tree.document(title="demo", seconds_per_unit=0.01)


@pytest.fixture
def opened(window: Browser, tmp_path: Path) -> Browser:
    window.open("about:blank")
    window.open(page(document_of(), tmp_path))
    window.complaints()  # of the test before
    return window


LOOK = """
const shown = [];
const drawing = window.graph.main;
for (const box of drawing.boxes(1000)) {
  const name = box.node < 0 ? `other (${box.count})` : drawing.tree.label(box.node);
  shown.push([box.row, Math.round(box.x), Math.round(box.w), name]);
}
return shown;
"""


def boxes(window: Browser) -> list[tuple[int, int, int, str]]:
    """(row, left, width, name) of what is drawn in a width of 1000."""
    return [tuple(box) for box in window.run(LOOK)]


def rows(window: Browser) -> list[str]:
    return window.texts(".fg-table tbody tr")


def press(window: Browser, key: str, times: int = 1) -> None:
    window.run(
        "const canvas = document.querySelector('canvas'); canvas.focus();"
        "for (let i = 0; i < arguments[1]; i++)"
        " canvas.dispatchEvent(new KeyboardEvent('keydown', {key: arguments[0]}))",
        key,
        times,
    )


def click(window: Browser, name: str) -> None:
    """On the middle of the first box of that name, as a mouse would."""
    window.run(
        """
        const drawing = window.graph.main, canvas = drawing.canvas;
        const rect = canvas.getBoundingClientRect();
        const box = [...drawing.boxes(canvas.clientWidth)].find(
          (b) => b.node >= 0 && drawing.tree.label(b.node) === arguments[0]);
        canvas.dispatchEvent(new MouseEvent('click', {
          clientX: rect.left + box.x + box.w / 2,
          clientY: rect.top + drawing.y(box.row) - drawing.box.scrollTop + 10}));
        """,
        name,
    )


def test_boxes_are_as_wide_as_their_time(opened: Browser) -> None:
    drawn = boxes(opened)
    assert drawn[0] == (0, 0, 1000, "all")
    assert (1, 0, 250, "gcBgMarkWorker") in drawn
    assert (1, 250, 625, "main") in drawn
    assert (2, 375, 500, "main.work") in drawn
    assert (3, 375, 375, "main.leaf") in drawn
    assert (1, 875, 125, "mcall") in drawn
    assert opened.complaints() == []


def test_the_canvas_has_the_colours_of_the_categories(opened: Browser) -> None:
    """Nothing is drawn beyond the last callee, and every box is."""
    pixels = opened.run(
        """
        const drawing = window.graph.main, context = drawing.canvas.getContext('2d');
        const ratio = devicePixelRatio, width = drawing.canvas.clientWidth;
        const at = (x, row) => [...context.getImageData(
          Math.round(x * width * ratio), Math.round((row * 20 + 3) * ratio), 1, 1).data].join();
        const of = (name) => { context.fillStyle = drawing.owner.colours()[name];
          const [r, g, b] = context.fillStyle.match(/\\w\\w/g).map((c) => parseInt(c, 16));
          return [r, g, b, 255].join(); };
        return [at(.1, 1) === of('gc'), at(.5, 1) === of('user'), at(.95, 1) === of('scheduler'),
          at(.1, 3) === of('card'), at(.5, 0) === of('unknown')];
        """
    )
    assert pixels == [True] * 5


def test_a_click_zooms_and_back_returns(opened: Browser) -> None:
    click(opened, "main.work")
    drawn = boxes(opened)
    assert (2, 0, 1000, "main.work") in drawn
    assert (3, 0, 750, "main.leaf") in drawn
    assert not any(name == "mcall" for *_, name in drawn)
    address = opened.run("return location.href")
    assert "#z=" in address
    opened.run("history.back()")
    browser.wait(opened, "return !location.hash")
    assert (1, 875, 125, "mcall") in boxes(opened)
    opened.open("about:blank")
    opened.open(address)
    assert (2, 0, 1000, "main.work") in boxes(opened)


def test_a_search_is_a_regular_expression_with_the_share_that_matches(opened: Browser) -> None:
    """A match below another match does not count twice."""
    search = (
        "const field = document.querySelector('.fg-search'); field.value = arguments[0];"
        "field.dispatchEvent(new Event('input'))"
    )
    opened.run(search, r"^main\.leaf$")
    assert opened.text(".fg-matched") == "50.0 % matches"
    assert [row.split()[0] for row in rows(opened)] == ["main.leaf"]
    opened.run(search, "MARKWORKER|schedule")
    assert opened.text(".fg-matched") == "37.5 % matches"
    assert "s=MARKWORKER%7Cschedule" in opened.run("return location.hash")
    opened.run(search, "(")
    assert opened.text(".fg-matched") == "not a regular expression"
    assert opened.run("return document.querySelector('.fg-search').matches(':invalid')")
    assert boxes(opened)[0] == (0, 0, 1000, "all")
    opened.run(search, "")
    assert len(rows(opened)) == 10
    assert opened.complaints() == []


def test_the_table_has_self_and_total_once_per_stack(opened: Browser) -> None:
    of = {row.split()[0]: row.split()[1:] for row in rows(opened)}
    assert of["main.leaf"][:4] == ["42.5", "%", "50.0", "%"]
    assert of["main.work"][:4] == ["12.5", "%", "50.0", "%"]
    assert of["main"][:4] == ["0.00", "%", "62.5", "%"]
    assert [row.split()[0] for row in rows(opened)][:2] == ["main.leaf", "gcDrain"]
    opened.run("document.querySelectorAll('.fg-table th button')[1].click()")
    assert rows(opened)[0].startswith("main 0.00 % 62.5 %")


def test_a_category_can_be_hidden(opened: Browser) -> None:
    opened.run("[...document.querySelectorAll('.fg-key')].at(1).click()")
    assert opened.texts(".fg-key") == ["scheduler", "garbage collector", "user code"]
    drawn = boxes(opened)
    assert (1, 0, 833, "main") in drawn
    assert not any(name.startswith("gc") for *_, name in drawn)
    assert opened.run("return document.querySelectorAll('[aria-pressed=false]').length") == 1
    opened.run("[...document.querySelectorAll('.fg-key')].at(1).click()")
    assert (1, 0, 250, "gcBgMarkWorker") in boxes(opened)


def test_the_sandwich_has_all_callers_and_callees_of_a_function(opened: Browser) -> None:
    opened.run(
        "[...document.querySelectorAll('.fg-function')]"
        ".find((b) => b.textContent === 'main.leaf').click()"
    )
    look = LOOK.replace("graph.main", "graph.callers")
    assert {tuple(box[2:]) for box in opened.run(look)} == {
        (1000, "main.leaf"),
        (750, "main.work"),
        (250, "main.other"),
        (750, "main"),
        (250, "main"),
    }
    callees = {tuple(b[2:]) for b in opened.run(LOOK.replace("graph.main", "graph.callees"))}
    assert callees == {(1000, "main.leaf"), (150, HOSTILE), (100, "main.leaf")}
    assert "f=main.leaf" in opened.run("return location.hash")
    opened.run("history.back()")
    browser.wait(opened, "return document.querySelector('.fg-sandwich').hidden")


def test_keys_reach_every_call(opened: Browser) -> None:
    """Down goes to the widest callee, left and right to siblings, up to the caller."""
    press(opened, "ArrowDown")
    assert opened.text(".fg-detail").startswith("main · x.go:7 · total 500 ms, 62.5 %")
    press(opened, "ArrowRight")
    assert opened.text(".fg-detail").startswith("mcall")
    press(opened, "ArrowLeft", 2)
    assert opened.text(".fg-detail").startswith("gcBgMarkWorker")
    press(opened, "ArrowDown")
    press(opened, "Enter")
    assert (2, 0, 1000, "gcDrain") in boxes(opened)
    press(opened, "ArrowUp")
    assert opened.text(".fg-detail").startswith("gcBgMarkWorker")
    press(opened, "s")
    assert opened.text(".fg-sandwich h3") == "gcBgMarkWorker"
    press(opened, "Escape")
    assert (1, 875, 125, "mcall") in boxes(opened)
    opened.run(
        "document.activeElement.blur();"
        "document.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}))"
    )
    assert opened.run("return document.activeElement.className") == "fg-search"


def test_an_inlined_call_says_so(opened: Browser) -> None:
    press(opened, "ArrowDown", 3)
    assert opened.text(".fg-detail").startswith("main.leaf (inlined) · x.go:7 ")


def test_it_can_stand_on_its_root(opened: Browser) -> None:
    before = opened.run("return window.graph.main.y(0)")
    opened.run("window.graph.turned.click()")
    assert opened.text(".fg-end > button:nth-child(2)") == "icicle"
    height = opened.run("return window.graph.main.height")
    assert (before, opened.run("return window.graph.main.y(0)")) == (0, height - 20)
    assert opened.run("return location.hash") == "#o=flame"
    opened.run("history.back()")
    browser.wait(opened, "return !window.graph.main.isFlame")


def test_exports_have_all_stacks(opened: Browser) -> None:
    lines = dict(
        line.rsplit(" ", 1) for line in opened.run("return window.graph.folded()").splitlines()
    )
    assert lines.pop("main;main.work;main.leaf") == "30"
    assert sum(map(int, lines.values())) == 50
    found = opened.run("return window.graph.speedscope()")
    (profile,) = found["profiles"]
    assert sum(profile["weights"]) == pytest.approx(0.8)
    assert profile["endValue"] == pytest.approx(0.8)
    names = [frame["name"] for frame in found["shared"]["frames"]]
    assert {names[i] for stack in profile["samples"] for i in stack} == set(names)
    assert found["shared"]["frames"][0]["line"] == 7
    opened.run("window.drawn = new DOMParser().parseFromString(graph.svg(), 'image/svg+xml')")
    assert opened.run("return drawn.querySelectorAll('rect').length") == len(boxes(opened))
    assert opened.run("return drawn.querySelector('parsererror')") is None


def test_names_are_only_text(opened: Browser) -> None:
    assert opened.run("return document.images.length") == 0
    assert any(HOSTILE.split()[0] in row for row in rows(opened))


def test_a_difference_has_the_width_of_after_and_the_change(
    window: Browser, tmp_path: Path
) -> None:
    """main.work has 50 of 100 before and 40 of 80 after: no change of its share."""
    window.open("about:blank")
    window.open(page(document_of(2), tmp_path))
    assert (2, 375, 500, "main.work") in boxes(window)
    assert not any(name == "gone" for *_, name in boxes(window))
    of = {row.split()[0]: row.split()[1:] for row in rows(window)}
    assert of["gone"] == ["50.0", "%", "0.00", "%", "-50.00", "50.0", "%", "0.00", "%"]
    assert of["main.work"] == ["50.0", "%", "12.5", "%", "-37.50", "50.0", "%", "50.0", "%"]
    fill = "const g = window.graph; return g.fill(g.tree, arguments[0], g.colours())"
    nodes = {name: i for i, (*_, name) in enumerate(window.run(ALL))}
    assert window.run(fill, nodes["main.work"]) == "rgb(214 218 222)"
    red, _, blue = map(int, window.run(fill, nodes["mcall"])[4:-1].split())
    assert red > blue


ALL = "const t = window.graph.tree; return [...t.depth].map((d, i) => [d, t.label(i)])"


def test_what_is_too_narrow_is_one_box_and_not_white(window: Browser, tmp_path: Path) -> None:
    """25,000 stacks of one sample each: here not merged in the document, but too narrow to draw."""
    tree = CallTree(CATEGORIES)
    for i in range(25_000):
        tree.add([Call(f"f{i}"), Call("leaf")], 0, 1)
    document = tree.document(title="t", seconds_per_unit=1.0, nodes_max=100_000)
    window.open("about:blank")
    window.open(page(document, tmp_path))
    assert boxes(window) == [(0, 0, 1000, "all"), (1, 0, 1000, "other (50000)")]
    merged = tree.document(title="t", seconds_per_unit=1.0, nodes_max=1000)
    window.open("about:blank")
    window.open(page(merged, tmp_path))
    assert boxes(window) == [(0, 0, 1000, "all"), (1, 0, 1000, "other (50,000)")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_a_file_of_a_recording(
    window: Browser, tmp_path: Path, scheme: str
) -> None:
    axe.needed()
    file = tmp_path / "cpu.html"
    file.write_text(html_page(story_window()))
    window.set_scheme(scheme)
    for width in (1280, 390):
        window.set_size(width, 900)
        window.open("about:blank")
        window.open(file.as_uri())
        window.run("document.querySelector('.fg-function').click()")
        window.run("document.querySelector('.fg-export').open = true")
        found = axe.violations(window)
        assert not found, "\n".join(found)
    window.set_size(1280, 1600)
