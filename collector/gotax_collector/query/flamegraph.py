"""A profile as a tree of frames: the shape of a flame graph, and folded stacks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gotax_collector.query.answers import Profile, StackTime

NODES_MAX = 4000
"""Maximum of a drawn flame graph. Frames with least time are omitted."""

DEPTH_MAX = 1100

BUILT_MAX = 200_000
"""Nodes of a tree. Stacks come with most time first: beyond it a rare one ends where it leaves
those that are known. Its time counts for the last common function."""


@dataclass(slots=True)
class Node:
    """A function under the same callers. ``times`` are of this and all below it: one, or two for a
    difference. ``groups`` divides the last of them by what it counts as."""

    name: str
    times: list[int]
    groups: dict[str, int] = field(default_factory=dict)
    children: dict[str, Node] = field(default_factory=dict)

    @property
    def group(self) -> str:
        """What most of its time counts as."""
        return max(self.groups, key=lambda name: self.groups[name], default="unknown")


@dataclass(frozen=True, slots=True)
class Box:
    """A frame as it is drawn: ``left`` and ``width`` as parts of the whole; ``row`` 0 is the root.

    ``shares`` are of the totals of either side; a plain flame graph has one.
    """

    row: int
    left: float
    width: float
    name: str
    group: str
    times: tuple[int, ...]
    shares: tuple[float, ...]


def tree(profile: Profile) -> Node:
    root, left = Node("all", [0]), BUILT_MAX
    for stack in _with_rest(profile):
        left -= _add(root, stack, 0, left)
    return root


def tree_of_two(first: Profile, second: Profile) -> Node:
    """Of both, as wide as the second; what only the first has is not drawn, but counted."""
    root = Node("all", [0, 0])
    for side, profile in enumerate((first, second)):
        left = BUILT_MAX // 2
        for stack in _with_rest(profile):
            left -= _add(root, stack, side, left)
    return root


def boxes(root: Node, nodes_max: int = NODES_MAX) -> tuple[Box, ...]:
    """From the root on, callers before callees; left to right by name, as flame graphs are."""
    least = _least(root, nodes_max)
    totals = [max(1, time) for time in root.times]
    found: list[Box] = []
    waiting = [(root, 0, 0.0)]
    while waiting:
        node, row, left = waiting.pop()
        width = node.times[-1] / totals[-1]
        shares = tuple(time / total for time, total in zip(node.times, totals, strict=True))
        found.append(Box(row, left, width, node.name, node.group, tuple(node.times), shares))
        at = left
        for child in sorted(node.children.values(), key=lambda child: child.name):
            if child.times[-1] >= least:
                waiting.append((child, row + 1, at))
                at += child.times[-1] / totals[-1]
    found.sort(key=lambda box: (box.row, box.left))
    return tuple(found)


def folded(profile: Profile) -> Iterator[str]:
    """Lines of ``root;...;leaf MICROSECONDS``, as flamegraph.pl, speedscope and inferno read them.

    ; within a name becomes :, for it ends a name there.
    """
    for stack in _with_rest(profile):
        if time := stack.cpu_ns // 1000:
            yield f"{_line(stack)} {time}"


def folded_of_two(first: Profile, second: Profile) -> Iterator[str]:
    """Lines of ``root;...;leaf MICROSECONDS MICROSECONDS``, as difffolded.pl writes them and
    flamegraph.pl reads them: a difference."""
    times: dict[str, list[int]] = {}
    for side, profile in enumerate((first, second)):
        for stack in _with_rest(profile):
            times.setdefault(_line(stack), [0, 0])[side] += stack.cpu_ns // 1000
    for line, (before, after) in times.items():
        if before or after:
            yield f"{line} {before} {after}"


def _line(stack: StackTime) -> str:
    names = [*(name.replace(";", ":") for name in stack.functions), f"[{stack.category}]"]
    return ";".join(" ".join(name.split()) for name in names)


def _with_rest(profile: Profile) -> Iterator[StackTime]:
    yield from profile.stacks
    if profile.rest_ns:
        yield StackTime(
            (f"({profile.stack_count - len(profile.stacks)} rare stacks)",),
            "unknown",
            profile.rest_ns,
        )


def _add(root: Node, stack: StackTime, side: int, most: int) -> int:
    """Makes ``most`` nodes at most, and says how many."""
    node, made = root, 0
    _count(node, stack.cpu_ns, side, stack.group)
    for name in stack.functions[:DEPTH_MAX] or (f"[{stack.category}]",):
        child = node.children.get(name)
        if child is None:
            if made >= most:
                break
            made += 1
            child = node.children[name] = Node(name, [0] * len(root.times))
        node = child
        _count(node, stack.cpu_ns, side, stack.group)
    return made


def _count(node: Node, time: int, side: int, group: str) -> None:
    node.times[side] += time
    if side == len(node.times) - 1:
        node.groups[group] = node.groups.get(group, 0) + time


def _least(root: Node, nodes_max: int) -> int:
    """The time below which a frame is not drawn: at least a 5000th of the whole."""
    times: list[int] = []
    waiting: list[Node] = [root]
    floor = max(1, root.times[-1] // 5000)
    while waiting:
        node = waiting.pop()
        times.append(node.times[-1])
        waiting.extend(child for child in node.children.values() if child.times[-1] >= floor)
    if len(times) <= nodes_max:
        return floor
    return sorted(times, reverse=True)[nodes_max - 1]


def depth(drawn: Sequence[Box]) -> int:
    return 1 + max((box.row for box in drawn), default=0)
