"""Stacks as one tree of calls, and its JSON document for flamegraph.js. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "gotax.flamegraph/v1"
NODES_MAX = 50_000
"""Nodes of a document. Those with least time are merged with their siblings into "other"."""

BUILT_MAX = 200_000
"""Nodes of a tree, some 600 bytes each."""

DEPTH_MAX = 1100
INLINED, KERNEL, OTHER = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Call:
    """A function in a stack. ``name`` is not empty. ``place`` is "FILE:LINE" or ""; ``flags``:
    INLINED, KERNEL or 0."""

    name: str
    place: str = ""
    flags: int = 0


_OTHER = Call("other", flags=OTHER)
_REST = ""  # the key of an OTHER among the calls of a node, whose names are never empty


@dataclass(slots=True)
class _Node:
    call: Call
    own: dict[tuple[int, int], int] = field(default_factory=dict)
    """Time of stacks that end here, by (side, category)."""
    children: dict[str, _Node] = field(default_factory=dict)
    total: int = 0
    size: int = 1  # calls, with those below; of an OTHER, how many it stands for


class CallTree:
    """Calls under the same callers are one node. Times are integers of any unit.

    ``categories``: (label, group) of what a time counts as, by index. ``sides`` is 2 for a
    difference: 0 is before, 1 is after. After ``built_max`` nodes no new ones are made: what would
    be a new call is part of a call "other" of its caller. So add the stacks with most time first.
    """

    def __init__(
        self, categories: Sequence[tuple[str, str]], sides: int = 1, built_max: int = BUILT_MAX
    ) -> None:
        self._categories = categories
        self._sides = sides
        self._left = built_max
        self._root = _Node(Call("all"))

    def add(self, calls: Iterable[Call], category: int, time: int, side: int = 0) -> None:
        """One stack, from its root to its leaf."""
        node = self._root
        for depth, call in enumerate(calls):
            child = node.children.get(call.name)
            if child is None:
                if self._left <= 0 or depth >= DEPTH_MAX:
                    node = node.children.setdefault(_REST, _Node(_OTHER, size=0))
                    node.size += 1
                    break
                self._left -= 1
                child = node.children[call.name] = _Node(call)
            node = child
        key = side, category
        node.own[key] = node.own.get(key, 0) + time

    def document(
        self, *, title: str, seconds_per_unit: float, nodes_max: int = NODES_MAX
    ) -> dict[str, Any]:
        """Built-in types only. Its times add up to those that were added.

        ``nodes`` are in preorder, callers first and siblings by name: ``depth`` (0 for the root),
        ``name`` and ``place`` (indexes of ``names`` and ``places``), ``flags``. ``merged`` are
        pairs of a node "other" and how many calls it stands for. ``own`` are the times without
        those of callees: ``node``, ``category``, ``side``, ``time``.
        """
        _sum(self._root)
        least = _least(self._root, nodes_max)
        names: dict[str, int] = {}
        places: dict[str, int] = {"": 0}
        nodes: dict[str, list[int]] = {"depth": [], "name": [], "place": [], "flags": []}
        own: dict[str, list[int]] = {"node": [], "category": [], "side": [], "time": []}
        merged = []
        for depth, node in _kept(self._root, least):
            if node.call.flags & OTHER:
                merged.append([len(nodes["depth"]), node.size])
            for (side, category), time in node.own.items():
                own["node"].append(len(nodes["depth"]))
                own["category"].append(category)
                own["side"].append(side)
                own["time"].append(time)
            nodes["depth"].append(depth)
            nodes["name"].append(names.setdefault(node.call.name, len(names)))
            nodes["place"].append(places.setdefault(node.call.place, len(places)))
            nodes["flags"].append(node.call.flags)
        return {
            "schema": SCHEMA,
            "title": title,
            "sides": self._sides,
            "seconds_per_unit": seconds_per_unit,
            "categories": [list(each) for each in self._categories],
            "names": list(names),
            "places": list(places),
            "nodes": nodes,
            "merged": merged,
            "own": own,
        }


def _preorder(root: _Node) -> Iterator[_Node]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.children.values())


def _sum(root: _Node) -> None:
    """Sets ``total``, of both sides, and ``size``; callees are included."""
    order = list(_preorder(root))
    for node in order:
        node.total = sum(node.own.values())
        if not node.call.flags & OTHER:
            node.size = 1
    parents = [(child, node) for node in order for child in node.children.values()]
    for child, parent in reversed(parents):
        parent.total += child.total
        parent.size += child.size


def _least(root: _Node, nodes_max: int) -> int:
    """The total below which a node is merged. A caller has never less than its callees."""
    if root.size <= nodes_max:
        return 0
    totals = sorted((node.total for node in _preorder(root)), reverse=True)
    return totals[nodes_max - 1] + 1


def _kept(root: _Node, least: int) -> Iterator[tuple[int, _Node]]:
    waiting = [(0, root)]
    while waiting:
        depth, node = waiting.pop()
        yield depth, node
        rest = [child for child in node.children.values() if child.total < least]
        shown = [child for child in node.children.values() if child.total >= least]
        if rest:
            here = [child for child in shown if child.call.flags & OTHER]
            shown = [child for child in shown if not child.call.flags & OTHER]
            shown.append(_other([*rest, *here]))
        shown.sort(key=lambda child: (child.call.flags & OTHER, child.call.name), reverse=True)
        waiting.extend((depth + 1, child) for child in shown)


def _other(nodes: Sequence[_Node]) -> _Node:
    """One node with all time below these."""
    found = _Node(_OTHER, size=sum(node.size for node in nodes))
    for top in nodes:
        for node in _preorder(top):
            for key, time in node.own.items():
                found.own[key] = found.own.get(key, 0) + time
    return found
