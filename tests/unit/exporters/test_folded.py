from __future__ import annotations

import json

from gotax.category import Category
from gotax.exporters.folded import folded_lines
from gotax.exporters.record import SCHEMA, record_document
from gotax.profile import Frame, FrameKind, Location
from gotax.window import Window
from hypothesis import given

from .strategies import unhurried, windows
from .windows import Run, build_window, oversized_load, story_window


@unhurried
@given(windows())
def test_folded_lines_add_up_to_the_samples(window: Window) -> None:
    """Each line is printable and ends in its number; the sum is the window's samples."""
    for by_category in (False, True):
        lines = list(folded_lines(window, by_category))
        assert all(line.isprintable() for line in lines)
        stacks = [line.rpartition(" ")[0] for line in lines]
        assert len(set(stacks)) == len(stacks)
        assert sum(int(line.rpartition(" ")[2]) for line in lines) == window.samples.attributed


def test_folded_line_runs_from_the_container_to_the_kernel() -> None:
    """Container first, then the root of the stack, inlined callers, the kernel's leaf last."""
    lines = list(folded_lines(story_window()))
    assert (
        "payments-api;runtime.mcall;runtime.schedule;runtime.findRunnable;runtime.wakep;"
        "runtime.futexwakeup;do_syscall_64_[k];futex_wake_[k] 40"
    ) in lines
    assert (
        "payments-api;runtime.goexit;main.(*pool).work.func1;main.(*pool).work;main.parse;"
        "encoding/json.Unmarshal;runtime.mallocgc;runtime.nextFreeFast 30"
    ) in lines


def test_the_category_follows_the_container_if_requested() -> None:
    """``by_category`` divides a container's graph by category."""
    lines = list(folded_lines(story_window(), by_category=True))
    stack = "runtime.gcBgMarkWorker;runtime.gcDrain;runtime.scanobject"
    assert f"payments-api;[gc/mark-idle];{stack} 51" in lines


def test_semicolons_and_line_breaks_in_names_do_not_make_frames() -> None:
    """The name of a generic type may contain a semicolon; it stays one frame of one line."""
    name = "main.f[go.shape.struct { A int; B string }]\n"
    stack = (Location("m", "", 1, (Frame(name, kind=FrameKind.GO),)),)
    load = oversized_load()
    window = build_window(type(load)(load.process, (Run(stack, Category.USER, 7),)))
    expected = "payments-api;main.f[go.shape.struct { A int, B string }]\\x0a 7"
    assert list(folded_lines(window)) == [expected]


@unhurried
@given(windows())
def test_record_document_contains_every_sample(window: Window) -> None:
    """The indices of the JSON tables lead to the original frames."""
    document = json.loads(json.dumps(record_document(window), allow_nan=False).encode())
    assert document["schema"] == SCHEMA
    counts = document["stack_counts"]
    assert sum(counts["samples"]) == document["samples"]["attributed"] == window.samples.attributed
    assert {len(column) for column in counts.values()} == {len(window.profile)}
    for process, number in zip(counts["process"], window.profile.process, strict=True):
        assert document["processes"][process]["pid"] == window.processes[number].pid
    for stack, original in zip(document["stacks"], window.profile.stacks, strict=True):
        for index, location in zip(stack, original, strict=True):
            row = document["locations"][index]
            assert row["address"] == location.address
            lines = [document["frames"][frame]["line"] for frame in row["frames"]]
            assert lines == [frame.line for frame in location.frames]
