"""A window as folded stacks, for flamegraph.pl, inferno, speedscope and plain grep.

A line is ``container;root;...;leaf samples``. The container is the first frame, so that one graph
shows a whole host. Kernel functions end in ``_[k]``, as in perf's folding scripts. Inlined
functions look like any other. With ``by_category`` the second frame is the category in square
brackets: the graph then shows the categories first, but divides a function's subtree into several
parts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from gotax.category import Category
from gotax.exporters.text import printable
from gotax.profile import Frame, FrameKind, Stack
from gotax.window import Window


def folded_lines(window: Window, by_category: bool = False) -> Iterator[str]:
    """Sorted lines without line ends, each stack once; the numbers add up to the window's
    samples."""
    columns = window.profile
    stacks = [folded_stack(stack) for stack in columns.stacks]
    roots = [folded_name(process.container.name) for process in window.processes]
    tags = [f";[{category.label}]" if by_category else "" for category in Category]
    totals: defaultdict[str, int] = defaultdict(int)
    for process, stack, category, samples in zip(
        columns.process.tolist(),
        columns.stack.tolist(),
        columns.category.tolist(),
        columns.samples.tolist(),
        strict=True,
    ):
        totals[roots[process] + tags[category] + stacks[stack]] += samples
    for line in sorted(totals):
        yield f"{line} {totals[line]}"


def folded_stack(stack: Stack) -> str:
    """``;root;...;leaf``, "" for an empty stack."""
    return "".join(
        ";" + folded_frame(frame)
        for location in reversed(stack)
        for frame in reversed(location.frames)
    )


def folded_frame(frame: Frame) -> str:
    name = folded_name(frame.function)
    return f"{name}_[k]" if frame.kind is FrameKind.KERNEL else name


def folded_name(name: str) -> str:
    """The name of one frame, without line breaks and semicolons (some generic types in Go have
    one)."""
    return printable(name).replace(";", ",") or "?"
