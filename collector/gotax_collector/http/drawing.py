"""Pages as HTML. Jinja escapes whatever comes from the store; only our own files are not.

Charts are SVG made on the server. A flame graph is drawn by the script of gotax.page, with a table
of functions made here for browsers without scripts (docs/decisions/0011 and 0019).
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import jinja2
from gotax.page import SCRIPTS, STYLES, asset
from gotax.page.calltree import CallTree
from markupsafe import Markup

from gotax_collector.http.api import Api
from gotax_collector.http.charts import GROUP_ORDER
from gotax_collector.http.parameters import Parameters
from gotax_collector.query.answers import (
    GROUPS,
    Profile,
    Span,
    TopRow,
    WorkloadAnswer,
)
from gotax_collector.query.documents import document
from gotax_collector.query.findings import TOO_FEW_SAMPLES
from gotax_collector.query.flamegraph import NANOSECOND, tree
from gotax_collector.query.selection import Selection, exactly
from gotax_collector.query.wording import (
    FIELD_NAMES,
    ago,
    covered_of,
    minute,
    origin_text,
    patch_form,
    variant_text,
    why_not,
)

ALL_STYLES = (*STYLES, "site.css")
ENDED = {
    "mended": "no container that runs has it any more",
    "gone": "none of the containers that had it runs any more",
    "too-few-samples": "too few samples since then to tell",
}


@dataclass(frozen=True, slots=True)
class Flame:
    """What the template of a flame graph is given."""

    title: str
    data: Markup
    profiles: tuple[Profile, ...]
    note: str
    cpu_s: float


@cache
def environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("gotax_collector.http"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "percent": lambda share: f"{share * 100:.1f} %",
        "cores": _cores,
        "time": _time,
        "ago": ago,
        "money": lambda amount: f"{amount:,.0f}",
        "origin": origin_text,
        "patch_form": patch_form,
        "span": _span,
        "ms": lambda seconds: f"{seconds * 1000:.3g} ms",
        "p": lambda value: "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}",
        "variant": variant_text,
        "why_not": lambda row: why_not(document(row)),
    }
    made.globals["field_names"] = FIELD_NAMES
    made.globals["ended_words"] = ENDED
    made.globals["can_save"] = can_save
    made.globals["with_zeros"] = lambda values: [(value, 0) for value in values]
    made.globals["groups"] = GROUP_ORDER
    return made


def render(template: str, values: Mapping[str, Any]) -> str:
    return environment().get_template(template).render(values)


def static(name: str) -> bytes:
    """A file of this package, or one that agents' files and these pages share."""
    if name in (*STYLES, *SCRIPTS):
        return asset(name).encode()
    return files("gotax_collector.http").joinpath("static", name).read_bytes()


def flame_of(api: Api, parameters: Parameters) -> Flame:
    """Of one selection (``q``), or of two (``a``, ``b``). SelectionError."""
    if sides := api.sides(parameters):
        return _flame_of_two(api, sides)
    selection = api.selection(parameters)
    profile = api.questions.profile(selection)
    title = str(selection) or "the whole fleet"
    return Flame(
        title=title,
        data=_data(tree(profile), title),
        profiles=(profile,),
        note=_note(profile),
        cpu_s=profile.cpu_ns / 1e9,
    )


def _flame_of_two(api: Api, sides: tuple[Selection, Selection]) -> Flame:
    first, second = (api.questions.profile(side) for side in sides)
    title = f"{sides[0] or 'all'} → {sides[1] or 'all'}"
    return Flame(
        title=title,
        data=_data(tree(first, second), title),
        profiles=(first, second),
        note=(
            f"before: {_span(first.span)}; after: {_span(second.span)};"
            " as wide as after; red takes a larger share there, blue a smaller one"
        ),
        cpu_s=second.cpu_ns / 1e9,
    )


def _data(calls: CallTree, title: str) -> Markup:
    """JSON in ASCII that cannot end the element that it stands in."""
    document = calls.document(title=title, seconds_per_unit=NANOSECOND)
    return Markup(json.dumps(document, separators=(",", ":")).replace("<", "\\u003c"))


def _note(profile: Profile) -> str:
    span, count, fetched = profile.span, profile.stack_count, len(profile.stacks)
    rare = f", {count - fetched:,} rare ones as one" if count > fetched else ""
    return f"{_span(span)}, {count:,} distinct stacks{rare}"


def _span(span: Span) -> str:
    return (
        f"{minute(span.since)} to {minute(span.until)} UTC,"
        f" {covered_of(span.seconds, span.until - span.since)}"
    )


def _time(unix_s: int) -> Markup:
    """The script of the page shows it in local time where that is asked for."""
    text = minute(unix_s)
    return Markup('<time datetime="{}Z" data-at="{}">{}</time>').format(
        text.replace(" ", "T"), int(unix_s), text
    )


def flamegraph_page(api: Api, parameters: Parameters) -> str:
    """A page that needs nothing else, for a file."""
    return render(
        "standalone.html",
        {
            "flame": flame_of(api, parameters),
            # Our own files, and within <style> and <script> nothing is unescaped.
            "style": Markup(_joined(ALL_STYLES)),
            "script": Markup(_joined(SCRIPTS)),
        },
    )


def _joined(names: Sequence[str]) -> str:
    return "".join(static(name).decode() for name in names)


@cache
def standalone_policy() -> str:
    """Content-Security-Policy of such a page: only what we put into it."""
    script, style = (
        base64.b64encode(hashlib.sha256(f"\n{_joined(names)}".encode()).digest()).decode()
        for names in (SCRIPTS, ALL_STYLES)
    )
    return f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'"


def terms_of(row: Any) -> str:
    """The selection that is exactly this workload."""
    fields = ("namespace", "kind", "workload")
    return " ".join(str(exactly(field, getattr(row, field))) for field in fields)


def can_save(row: TopRow) -> bool:
    """The saving is an average over the time: it is still to be had while a warning holds."""
    return row.open_findings is None or any(f.severity == "warning" for f in row.open_findings)


def ended_codes(row: TopRow) -> tuple[str, ...]:
    """Of findings that were seen and do not hold any more; that samples were few is none."""
    if row.open_findings is None:
        return ()
    held = {found.code for found in row.open_findings}
    return tuple(code for code in row.findings if code not in held and code != TOO_FEW_SAMPLES)


def group_shares(answer: WorkloadAnswer) -> dict[str, float]:
    total = sum(answer.categories.values()) or 1.0
    found = dict.fromkeys(GROUP_ORDER, 0.0)
    for label, cores in answer.categories.items():
        found[answer.group_of(label)] += cores / total
    return found


def _cores(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


assert set(GROUP_ORDER) == set(GROUPS)
