"""The formats that draw a window: speedscope, SVG and HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest
from gotax.exporters.calls import call_document
from gotax.exporters.folded import folded_lines
from gotax.exporters.html import html_page
from gotax.exporters.speedscope import speedscope_document
from gotax.exporters.svg import _COLOURS, boxes, svg
from gotax.page import asset
from gotax.page.calltree import OTHER
from gotax.window import Window
from hypothesis import given

from .strategies import unhurried, windows
from .windows import build_window, hostile_load, native_load, story_window


def cpu_s(window: Window) -> float:
    return int(window.profile.samples.sum()) * window.period_ns / 1e9


@unhurried
@given(windows())
def test_speedscope_has_every_stack_of_every_container(window: Window) -> None:
    """The weights add up to the CPU time; leaves are the categories."""
    document = speedscope_document(window)
    json.dumps(document).encode("ascii")
    frames = [frame["name"] for frame in document["shared"]["frames"]]
    weights = 0.0
    for profile in document["profiles"]:
        assert profile["endValue"] == sum(profile["weights"])
        assert len(profile["samples"]) == len(profile["weights"])
        assert all(re.fullmatch(r"\[[a-z/-]+\]", frames[s[-1]]) for s in profile["samples"])
        weights += profile["endValue"]
    assert weights == pytest.approx(cpu_s(window))
    names = [process.container.name for process in window.processes]
    sampled = {names[process] for process in window.profile.process.tolist()}
    assert len(document["profiles"]) == len(sampled)


@unhurried
@given(windows())
def test_a_call_tree_has_the_stacks_of_the_folded_file(window: Window) -> None:
    document = call_document(window)
    samples = int(window.profile.samples.sum())
    assert sum(document["own"]["time"]) == samples  # type: ignore[index]
    by_category: Counter[int] = Counter()
    own: Any = document["own"]
    for category, time in zip(own["category"], own["time"], strict=True):
        by_category[category] += time
    expected: Counter[int] = Counter()
    for category, count in zip(
        window.profile.category.tolist(), window.profile.samples.tolist(), strict=True
    ):
        expected[category] += count
    assert by_category == expected
    assert sum(int(line.rpartition(" ")[2]) for line in folded_lines(window)) == samples


@unhurried
@given(windows())
def test_an_svg_is_well_formed_and_its_boxes_lie_within_their_callers(window: Window) -> None:
    document = call_document(window)
    ElementTree.fromstring(svg(document))
    open_boxes: list[tuple[float, float]] = []
    for box in boxes(document):
        del open_boxes[box.row :]
        if open_boxes:
            left, right = open_boxes[-1]
            assert left - 1e-9 <= box.left
            assert box.left + box.width <= right + 1e-9
        open_boxes.append((box.left, box.left + box.width))


def test_boxes_of_one_caller_do_not_overlap_and_have_the_most_frequent_group() -> None:
    window = story_window()
    found = list(boxes(call_document(window)))
    rows: dict[int, float] = {}
    for box in sorted(found, key=lambda box: (box.row, box.left)):
        assert box.left >= rows.get(box.row, 0.0) - 1e-9
        rows[box.row] = box.left + box.width
    assert found[0].width == 1.0
    sched = [box for box in found if box.name == "runtime.findRunnable"]
    assert sched
    assert {box.group for box in sched} == {"scheduler"}


class Reader(HTMLParser):
    """The tags of a page and the texts between them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in ("meta", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert not self._open or self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts.setdefault(self._open[-1], []).append(data)


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    return reader


def test_an_html_file_has_verdicts_evidence_and_patches() -> None:
    window = story_window()
    reader = read(html_page(window))
    cells = " ".join(reader.texts["td"] + reader.texts["b"] + reader.texts["span"])
    for report in window.reports:
        assert report.container.name in cells
        for finding in report.findings:
            assert finding.code in reader.texts["code"]
            shown = " ".join(reader.texts["dd"])
            assert finding.remedy.text in shown
            assert all(evidence.text in shown for evidence in finding.evidence)
            if finding.remedy.patch:
                assert finding.remedy.patch.rstrip("\n") in reader.texts["pre"]
    assert "2 findings in 2 of 6 containers" in " ".join(reader.texts["p"])
    data = json.loads(reader.texts["script"][0])
    assert data == call_document(window)


@pytest.mark.parametrize("load", [hostile_load(), native_load()], ids=["hostile", "native"])
def test_an_html_file_has_only_our_own_tags_and_scripts(load: Any) -> None:
    """Its policy allows the one script and the one style that are in it, and nothing else."""
    page = html_page(build_window(load))
    reader = read(page)
    assert set(reader.tags) <= set(read(html_page(story_window())).tags)
    assert reader.tags["script"] == 2
    assert not [
        name for name, _ in reader.attributes if name in ("src", "href", "style", "onerror")
    ]
    policy = next(
        value
        for name, value in reader.attributes
        if name == "content" and "default-src" in (value or "")
    )
    assert policy is not None
    for tag, text in (("script", reader.texts["script"][-1]), ("style", reader.texts["style"][0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_colours_of_an_svg_are_those_of_the_pages() -> None:
    """An image has no style sheet."""
    light = asset("theme.css").partition("@media")[0]
    assert dict(re.findall(r"--(user|service|native|gc|scheduler|unknown): (#\w+);", light)) == (
        _COLOURS
    )


def test_merged_calls_are_drawn_as_other() -> None:
    document = {
        "title": "t",
        "seconds_per_unit": 1.0,
        "categories": [["user", "user"]],
        "names": ["all", "other"],
        "places": [""],
        "nodes": {"depth": [0, 1], "name": [0, 1], "place": [0, 0], "flags": [0, OTHER]},
        "merged": [[1, 2500]],
        "own": {"node": [1], "category": [0], "side": [0], "time": [7]},
    }
    assert ">other (2,500)</text>" in svg(document)
