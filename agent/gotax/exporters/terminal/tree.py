"""The processes of a container below their parents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from gotax.exporters.style import Style
from gotax.rolling import ProcessUse

_DEEPEST = 6
"""Deeper branches are drawn like this one."""


def tree(uses: Sequence[ProcessUse], style: Style) -> Iterator[tuple[str, ProcessUse]]:
    """Each with the branch before its name, in the order given among those of one parent.

    A process whose parent is not among them has no branch.
    """
    corner = "└ " if style.unicode else "`-"
    first: dict[int, int] = {}
    for index, use in enumerate(uses):
        first.setdefault(use.process.pid, index)
    below: defaultdict[int | None, list[int]] = defaultdict(list)
    for index, use in enumerate(uses):
        parent = first.get(use.process.parent)
        below[None if parent == index else parent].append(index)
    seen: set[int] = set()
    # Parents that are each other's, of PIDs that were used again, come last.
    for start in (*below[None], *range(len(uses))):
        waiting = [(0, start)]
        while waiting:
            depth, index = waiting.pop()
            if index in seen:
                continue
            seen.add(index)
            branch = "  " * (min(depth, _DEEPEST) - 1) + corner if depth else ""
            yield branch, uses[index]
            waiting += [(depth + 1, each) for each in reversed(below[index])]
