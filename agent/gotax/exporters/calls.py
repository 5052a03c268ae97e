"""A window's profile as a tree of calls, for the formats that draw it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gotax.category import Category
from gotax.exporters.text import printable
from gotax.page.calltree import INLINED, KERNEL, Call, CallTree
from gotax.profile import Frame, FrameKind, Stack
from gotax.window import Window

CATEGORIES = tuple((category.label, category.group.value) for category in Category)


def weighted_stacks(window: Window) -> Iterator[tuple[str, Stack, Category, int]]:
    """Container, stack (leaf first), category and samples of each row of the profile."""
    categories = list(Category)
    names = [process.container.name for process in window.processes]
    rows = window.profile
    for process, stack, category, samples in zip(
        rows.process.tolist(),
        rows.stack.tolist(),
        rows.category.tolist(),
        rows.samples.tolist(),
        strict=True,
    ):
        yield names[process], rows.stacks[stack], categories[category], samples


def call_tree(window: Window) -> CallTree:
    """The containers are the roots; times are samples."""
    tree = CallTree(CATEGORIES)
    for container, stack, category, samples in sorted(
        weighted_stacks(window), key=lambda row: -row[3]
    ):
        calls = (call_of(frame) for frame in frames_from_root(stack))
        tree.add((Call(printable(container) or "?"), *calls), category, samples)
    return tree


def call_document(window: Window) -> dict[str, object]:
    return call_tree(window).document(
        title=f"gotax {printable(window.host)}", seconds_per_unit=window.period_ns / 1e9
    )


def frames_from_root(stack: Stack) -> Iterable[Frame]:
    return (frame for location in reversed(stack) for frame in reversed(location.frames))


def call_of(frame: Frame) -> Call:
    place = f"{printable(frame.file)}:{frame.line}" if frame.line else printable(frame.file)
    flags = INLINED * frame.inlined | KERNEL * (frame.kind is FrameKind.KERNEL)
    return Call(printable(frame.function) or "?", place, flags)
