"""A flame graph as an SVG image, from the document of gotax.page.calltree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from gotax.page.calltree import KERNEL, OTHER

WIDTH, ROW, NARROW = 1600, 18, 0.3
_LETTER, _MARGIN = 7.2, 3
_FONT = 'font-family="monospace" font-size="12"'
_COLOURS = {
    "user": "#5b8def",
    "service": "#49b3a8",
    "native": "#a3abb3",
    "gc": "#f2a33c",
    "scheduler": "#e4572e",
    "unknown": "#d5d9dc",
}


@dataclass(frozen=True, slots=True)
class Box:
    """``left`` and ``width`` are parts of the whole."""

    row: int
    left: float
    width: float
    name: str
    place: str
    group: str
    time: int


def svg(document: dict[str, Any]) -> str:
    """Boxes below 0.3 px are not drawn: their callers show that something is above them."""
    drawn = [box for box in boxes(document) if box.width * WIDTH >= NARROW]
    height = ROW * (1 + max((box.row for box in drawn), default=0))
    total = max(sum(document["own"]["time"]), 1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {_FONT}>',
        f"<title>{_text(document['title'])}</title>",
    ]
    for box in drawn:
        x, y, width = box.left * WIDTH, height - (box.row + 1) * ROW, box.width * WIDTH
        seconds = box.time * document["seconds_per_unit"]
        told = f"{box.name}\n{box.place}\n{seconds:.3f} s, {box.time / total:.2%}"
        lines.append(
            f"<g><title>{_text(told)}</title>"
            f'<rect x="{x:.2f}" y="{y}" width="{max(width - 0.4, NARROW):.2f}"'
            f' height="{ROW - 1}" fill="{_COLOURS[box.group]}"/>'
        )
        room = int((width - 2 * _MARGIN) / _LETTER)
        if room >= 3:
            name = box.name if len(box.name) <= room else box.name[: room - 1] + "…"
            lines.append(f'<text x="{x + _MARGIN:.2f}" y="{y + 13}">{_text(name)}</text>')
        lines.append("</g>")
    return "\n".join([*lines, "</svg>", ""])


def boxes(document: dict[str, Any]) -> Iterator[Box]:
    """In preorder. A box has the group that most of its time counts as."""
    nodes, names, places = document["nodes"], document["names"], document["places"]
    groups = [group for _, group in document["categories"]]
    depths: list[int] = nodes["depth"]
    times: list[dict[str, int]] = [{} for _ in depths]
    for node, category, time in zip(
        document["own"]["node"], document["own"]["category"], document["own"]["time"], strict=True
    ):
        group = groups[category]
        times[node][group] = times[node].get(group, 0) + time
    parents = _parents(depths)
    for node in range(len(depths) - 1, 0, -1):
        above = times[parents[node]]
        for group, time in times[node].items():
            above[group] = above.get(group, 0) + time
    totals = [sum(found.values()) for found in times]
    whole = max(totals[0], 1)
    merged = dict(document["merged"])
    next_left = [0] * len(depths)
    for node, depth in enumerate(depths):
        left = 0
        if node:
            left = next_left[parents[node]]
            next_left[parents[node]] += totals[node]
        next_left[node] = left
        flags, name = nodes["flags"][node], names[nodes["name"][node]]
        if flags & OTHER:
            name = f"other ({merged[node]:,})"
        elif flags & KERNEL:
            name += " [kernel]"
        group = max(times[node], key=times[node].__getitem__, default="unknown")
        if not node or flags & OTHER:
            group = "unknown"
        place = places[nodes["place"][node]]
        yield Box(depth, left / whole, totals[node] / whole, name, place, group, totals[node])


def _parents(depths: list[int]) -> list[int]:
    """Of nodes in preorder; -1 for the root."""
    path: list[int] = []
    found = []
    for node, depth in enumerate(depths):
        del path[depth:]
        found.append(path[-1] if path else -1)
        path.append(node)
    return found


def _text(text: str) -> str:
    """Escaped, without the control characters that XML cannot have."""
    return escape(
        "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    )
