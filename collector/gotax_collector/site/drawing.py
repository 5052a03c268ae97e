"""Pages as HTML. Jinja escapes whatever comes from the store; only our own files are not.

Charts and flame graphs are SVG made on the server: they work without scripts, and no library has
to be shipped (docs/decisions/0017).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup

from gotax_collector.answers import Hour, Profile
from gotax_collector.api import Api, Parameters
from gotax_collector.flamegraph import GROUPS, Box, boxes, depth, group_of, tree, tree_of_two
from gotax_collector.selection import exactly
from gotax_collector.tables import covered

ROW_PX = 19
CHART_WIDTH, CHART_HEIGHT = 1000, 180
GROUP_ORDER = ("user", "service", "native", "gc", "scheduler", "unknown")


@dataclass(frozen=True, slots=True)
class Flame:
    """What the template of a flame graph is given."""

    title: str
    boxes: tuple[Box, ...]
    height: int
    is_difference: bool
    note: str
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked areas. ``areas`` are (group, points of an SVG polygon); ``ticks`` (left %, text)."""

    areas: tuple[tuple[str, str], ...]
    top_cores: float
    ticks: tuple[tuple[float, str], ...]


@cache
def environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("gotax_collector.site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": lambda share: f"{share * 100:.1f} %",
        "cores": _cores,
        "time": lambda unix_s: datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M"),
        "covered": covered,
        "ms": lambda seconds: f"{seconds * 1000:.3g} ms",
        "p": lambda value: "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}",
        "group": group_of,
    }
    made.globals["groups"] = GROUP_ORDER
    return made


def render(template: str, values: Mapping[str, Any]) -> str:
    return environment().get_template(template).render(values)


def static(name: str) -> bytes:
    return files("gotax_collector.site").joinpath("static", name).read_bytes()


def flame_of(api: Api, parameters: Parameters) -> Flame:
    """Of one selection (``q``), or of two (``a``, ``b``). SelectionError."""
    if parameters.get("a") or parameters.get("b"):
        return _flame_of_two(api, parameters)
    selection = api.selection(parameters)
    profile = api.questions.profile(selection)
    drawn = boxes(tree(profile))
    return Flame(
        title=str(selection) or "the whole fleet",
        boxes=drawn,
        height=depth(drawn) * ROW_PX,
        is_difference=False,
        note=_note(profile),
        cpu_s=profile.cpu_ns / 1e9,
    )


def _flame_of_two(api: Api, parameters: Parameters) -> Flame:
    sides = api.selection(parameters, "a"), api.selection(parameters, "b")
    first, second = (api.questions.profile(side) for side in sides)
    drawn = boxes(tree_of_two(first, second))
    return Flame(
        title=f"{sides[0] or 'all'} → {sides[1] or 'all'}",
        boxes=drawn,
        height=depth(drawn) * ROW_PX,
        is_difference=True,
        note="as wide as in the second; red takes a larger share there, blue a smaller one",
        cpu_s=second.cpu_ns / 1e9,
    )


def _note(profile: Profile) -> str:
    span, count, fetched = profile.span, profile.stack_count, len(profile.stacks)
    since, until = (
        datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M") for t in (span.since, span.until)
    )
    rare = f", {count - fetched:,} rare ones as one" if count > fetched else ""
    return f"{since} to {until} UTC ({covered(span.seconds)}), {count:,} distinct stacks{rare}"


def flamegraph_page(api: Api, parameters: Parameters) -> str:
    """A page that needs nothing else, for a file."""
    return render(
        "standalone.html",
        {
            "flame": flame_of(api, parameters),
            # Our own files, and within <style> and <script> nothing is unescaped.
            "style": Markup(static("site.css").decode()),
            "script": Markup(static("flame.js").decode()),
        },
    )


@cache
def standalone_policy() -> str:
    """Content-Security-Policy of such a page: only what we put into it."""
    script, style = (
        base64.b64encode(hashlib.sha256(b"\n" + static(name)).digest()).decode()
        for name in ("flame.js", "site.css")
    )
    return f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'"


def chart_of(hours: Sequence[Hour]) -> Chart | None:
    """None for less than two points in time."""
    if len(hours) < 2:
        return None
    first, last = hours[0].start, hours[-1].start
    top = max(hour.cores for hour in hours) or 1.0
    below = [0.0] * len(hours)
    areas = []
    for group in GROUP_ORDER:
        parts = [
            sum(cores for label, cores in hour.categories.items() if group_of(label) == group)
            for hour in hours
        ]
        above = [low + part for low, part in zip(below, parts, strict=True)]
        if any(parts):
            xs = [(hour.start - first) / (last - first) * CHART_WIDTH for hour in hours]
            edge = [*zip(xs, above, strict=True), *reversed(list(zip(xs, below, strict=True)))]
            points = (f"{x:.1f},{(1 - y / top) * CHART_HEIGHT:.1f}" for x, y in edge)
            areas.append((group, " ".join(points)))
        below = above
    return Chart(tuple(areas), top, _ticks(first, last))


def _ticks(first: int, last: int) -> tuple[tuple[float, str], ...]:
    span = last - first
    steps = (600, 3600, 3 * 3600, 6 * 3600, 86_400, 2 * 86_400, 7 * 86_400, 30 * 86_400)
    step = next((step for step in steps if span / step <= 9), steps[-1])
    form = "%d %b" if step >= 86_400 else "%H:%M"
    return tuple(
        ((at - first) / span * 100, datetime.fromtimestamp(at, UTC).strftime(form))
        for at in range(first - first % step + step, last, step)
    )


def terms_of(row: Any) -> str:
    """The selection that is exactly this workload."""
    fields = ("namespace", "kind", "workload")
    return " ".join(str(exactly(field, getattr(row, field))) for field in fields)


def group_shares(categories: Mapping[str, float]) -> dict[str, float]:
    total = sum(categories.values()) or 1.0
    found = dict.fromkeys(GROUP_ORDER, 0.0)
    for label, cores in categories.items():
        found[group_of(label)] += cores / total
    return found


def _cores(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


assert set(GROUP_ORDER) == set(GROUPS)
