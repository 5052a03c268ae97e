"""Comparisons as text and as gotax.compare/v2 (docs/json.md)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import gotax
from gotax.comparison import (
    Change,
    Comparison,
    Delta,
    Estimate,
    Observation,
    Outcome,
    collector_changes,
    collector_texts,
)
from gotax.exporters.style import (
    BOLD,
    DIM,
    GREEN,
    GROUP_PAINTS,
    YELLOW,
    Style,
    arrow,
    cores,
    dash,
    dot,
    labelled,
    padded,
    painted,
    paragraph,
    seconds,
    shortened,
    word,
)
from gotax.exporters.text import columns, utf8

SCHEMA = "gotax.compare/v2"
_LABEL_WIDTH = 12
_FIGURE = 10
_NOTABLE_SHARE = 0.01  # categories below this on both sides are not shown

_MATCHES = {
    "cgroup": "the same program in the same cgroup",
    "name": "the same program under the same name",
    "workload": "the same container of the same workload",
    "program": "the same program, once on each side",
    "container": "as named by --container",
}

_OUTCOMES = {
    Outcome.WITHIN: "the saving is within the predicted range",
    Outcome.BELOW: "less was saved than predicted",
    Outcome.ABOVE: "more was saved than predicted",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison. ``source`` is the name of the file."""

    source: str
    host: str
    start_unix_s: float
    duration_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """``unmatched``: (before or after, name of the container, why)."""

    before: Side
    after: Side
    comparisons: tuple[Comparison, ...]
    unmatched: tuple[tuple[str, str, str], ...] = ()


def compare_document(result: Result) -> dict[str, Any]:
    """Only built-in types, ready for ``json.dump`` in any encoding."""
    return {
        "schema": SCHEMA,
        "gotax_version": gotax.__version__,
        "before": _side(result.before),
        "after": _side(result.after),
        "comparisons": [_comparison(each) for each in result.comparisons],
        "unmatched": [
            {"side": side, "name": utf8(name), "why": utf8(why)}
            for side, name, why in result.unmatched
        ],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "source": utf8(side.source),
        "host": utf8(side.host),
        "start_unix_s": side.start_unix_s,
        "duration_s": side.duration_s,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    predicted = comparison.predicted
    return {
        "name": utf8(comparison.name),
        "matched_by": comparison.matched_by,
        "before": _observation(comparison.before),
        "after": _observation(comparison.after),
        "cpu_cores": _delta(comparison.cores),
        "runtime_share": _delta(comparison.runtime),
        "groups": {group.value: _delta(delta) for group, delta in comparison.shares},
        "categories": {category.label: _delta(delta) for category, delta in comparison.categories},
        "work_per_s": {"before": comparison.work.before, "after": comparison.work.after}
        if comparison.work
        else None,
        "cpu_s_per_unit": _delta(comparison.cpu_per_unit) if comparison.cpu_per_unit else None,
        "saving_cores": {
            "realised": {
                "value": comparison.saving.value,
                "low": comparison.saving.low,
                "high": comparison.saving.high,
            },
            "predicted": {"low": predicted.low, "mid": predicted.mid, "high": predicted.high}
            if predicted
            else None,
            "predicted_for": utf8(comparison.predicted_for) or None,
            "outcome": comparison.outcome.value,
        },
        "caveats": [utf8(caveat) for caveat in comparison.caveats],
    }


def _observation(seen: Observation) -> dict[str, Any]:
    usage = seen.usage
    return {
        "duration_s": seen.duration_s,
        "samples": seen.samples,
        "cpu_seconds": seen.cpu_ns / 1e9,
        "blocks": seen.blocks,
        "go_version": utf8(seen.go_version) or None,
        "gomaxprocs": seen.gomaxprocs,
        "recommended": seen.recommended,
        "gogc": seen.gogc,
        "memory_limit_bytes": seen.memory_limit_bytes,
        "cpu_limit_cores": seen.limit_cores,
        "throttled_s": None if usage.throttled_ns is None else usage.throttled_ns / 1e9,
        "throttled_periods": usage.throttled_periods,
        "periods": usage.periods,
    }


def _delta(delta: Delta) -> dict[str, Any]:
    return {
        "before": delta.before,
        "after": delta.after,
        "change": delta.change,
        "change_low": delta.low,
        "change_high": delta.high,
    }


# Text


def render_compare(result: Result, style: Style) -> str:
    """A table for each matched container, the saving, and the caveats."""
    sides = [
        f"{shortened(side.source, 40, style)} ({shortened(side.host, 30, style)},"
        f" {side.duration_s:.1f} s)"
        for side in (result.before, result.after)
    ]
    head = painted("gotax compare", BOLD, style)
    lines = paragraph(f"{dot(style)}{sides[0]} {arrow(style)} {sides[1]}", style.room - 13, style)
    lines = [f"{head} {lines[0].strip()}", *lines[1:]]
    for comparison in result.comparisons:
        lines += ["", *render_comparison(comparison, style)]
    if result.unmatched:
        lines += ["", painted("Not compared", BOLD, style)]
        for side, name, why in result.unmatched:
            lines += [
                f"  {line}" for line in paragraph(f"{side}: {name}: {why}", style.room - 2, style)
            ]
    return "\n".join(lines)


def render_comparison(comparison: Comparison, style: Style) -> list[str]:
    before, after = comparison.before, comparison.after
    name = shortened(comparison.name, style.room // 2, style)
    how = _MATCHES.get(comparison.matched_by, comparison.matched_by)
    lines = [painted(name, BOLD, style) + painted(f" ({how})", DIM, style)]
    facts = (
        *_settings(before, after),
        ("limit", _limit(before, style), _limit(after, style)),
        ("Go", _version(before, style), _version(after, style)),
    )
    lines += paragraph(
        dot(style).join(f"{what} {_changed(old, new, style)}" for what, old, new in facts),
        style.room,
        style,
    )
    lines += ["", *_table(comparison, style), ""]
    room = style.room - _LABEL_WIDTH
    for label, text in (("Saved", _saved(comparison)), ("Predicted", _predicted(comparison))):
        lines += labelled(label, paragraph(text, room, style), _LABEL_WIDTH, style)
    if comparison.outcome in _OUTCOMES:
        paint = GREEN if comparison.outcome is Outcome.WITHIN else YELLOW
        lines.append(" " * _LABEL_WIDTH + painted(_OUTCOMES[comparison.outcome], paint, style))
    for caveat in comparison.caveats:
        label = "Note" if caveat is comparison.caveats[0] else ""
        lines += labelled(label, paragraph(caveat, room, style), _LABEL_WIDTH, style)
    return lines


def sentence(change: Change) -> str:
    """The change in one printable line, for a log."""
    return _sentence(change, Style(unicode=False))


def headline(change: Change, style: Style) -> str:
    """``sentence`` with a mark, shortened to the width of the screen."""
    mark, paint = ("✓" if style.unicode else "=", GREEN)
    if change.comparison.outcome is Outcome.BELOW or change.comparison.saving.value < 0:
        mark, paint = "!", YELLOW
    return (
        painted(mark, paint, style)
        + " "
        + shortened(_sentence(change, style), style.room - 2, style)
    )


def _sentence(change: Change, style: Style) -> str:
    found = change.comparison
    before, after, saving = found.before, found.after, found.saving
    predicted = found.predicted
    changed = [each for each in _settings(before, after) if each[1] != each[2]]
    what = ", ".join(
        f"{name} {old} {arrow(style)} {new}"
        for name, old, new in changed or _settings(before, after)[:1]
    )
    text = f"{word(change.container.name, style)}: {what} saved {saving.value:.3f} cores"
    text += _between(saving)
    if predicted is not None:
        text += f", predicted {predicted.low:.3f} to {predicted.high:.3f}"
    throttled = before.throttled_share, after.throttled_share
    text += (
        f"; CPU {before.cores:.3f} {arrow(style)} {after.cores:.3f} cores, runtime share"
        f" {before.runtime_share:.0%} {arrow(style)} {after.runtime_share:.0%}"
    )
    if throttled[0] is not None and throttled[1] is not None:
        text += f", periods throttled {throttled[0]:.0%} {arrow(style)} {throttled[1]:.0%}"
    return (
        text
        + f" (if the load was the same; {before.duration_s:.0f} s and {after.duration_s:.0f} s)"
    )


def _settings(before: Observation, after: Observation) -> list[tuple[str, str, str]]:
    """GOMAXPROCS, and those of the collector that changed."""
    value = "GOMAXPROCS", _known(before.gomaxprocs), _known(after.gomaxprocs)
    return [value, *collector_changes(before, after)]


def _known(value: int | None) -> str:
    return "?" if value is None else str(value)


def _limit(seen: Observation, style: Style) -> str:
    return dash(style) if seen.limit_cores is None else cores(seen.limit_cores)


def _version(seen: Observation, style: Style) -> str:
    return shortened(seen.go_version.removeprefix("go"), 12, style) or "?"


def _changed(before: str, after: str, style: Style) -> str:
    return before if before == after else f"{before} {arrow(style)} {after}"


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    figures: tuple[str, str, str, str]
    paint: str = ""


def _table(comparison: Comparison, style: Style) -> list[str]:
    rows = list(_rows(comparison, style))
    width = max(columns(row.label) for row in rows) + 2
    titles = ("before", "after", "change", "95% interval")
    lines = [painted(" " * width + _figures(titles), DIM, style)]
    for row in rows:
        label = padded(row.label, width, right=False)
        lines.append((painted(label, row.paint, style) + _figures(row.figures)).rstrip())
    return lines


def _figures(figures: Sequence[str]) -> str:
    *short, last = figures
    return "".join(padded(text, _FIGURE, right=True) for text in short) + padded(
        last, _FIGURE + 8, right=True
    )


def _rows(comparison: Comparison, style: Style) -> Iterable[_Row]:
    yield _Row("CPU, cores", _cells(comparison.cores, "{:.3f}", style))
    if comparison.cpu_per_unit and comparison.work:
        unit, scale = _unit(max(comparison.cpu_per_unit.before, comparison.cpu_per_unit.after))
        unit = unit.replace("u", "µ") if style.unicode else unit
        yield _Row(
            f"CPU per unit of work, {unit}", _cells(comparison.cpu_per_unit, "{:.3g}", style, scale)
        )
        yield _Row(
            "units of work a second",
            _cells(Delta(comparison.work.before, comparison.work.after), "{:,.1f}", style),
        )
    throttled = comparison.before.throttled_share, comparison.after.throttled_share
    if throttled[0] is not None and throttled[1] is not None:
        yield _Row("periods throttled, %", _percents(Delta(throttled[0], throttled[1]), style))
    times = [_throttled_s(seen) for seen in (comparison.before, comparison.after)]
    if times[0] is not None and times[1] is not None:
        figures = seconds(times[0]), seconds(times[1]), "", ""
        yield _Row("throttled, a second", figures)
    yield _Row("runtime share, %", _percents(comparison.runtime, style))
    for group, delta in comparison.shares:
        if not (delta.before or delta.after):
            continue
        yield _Row(f"  {group.value}", _percents(delta, style), GROUP_PAINTS[group])
        own = [row for row in comparison.categories if row[0].group is group]
        for category, delta in own if len(own) > 1 else []:
            if max(delta.before, delta.after) >= _NOTABLE_SHARE:
                label = category.label.removeprefix(f"{group.value}/")
                yield _Row(f"    {label}", _percents(delta, style), DIM)


def _throttled_s(seen: Observation) -> float | None:
    """Throttled time per second of profiled time."""
    if seen.usage.throttled_ns is None or seen.duration_s <= 0:
        return None
    return seen.usage.throttled_ns / 1e9 / seen.duration_s


def _unit(value_s: float) -> tuple[str, float]:
    """A unit in which the value is at least 1, and how many of it make a second."""
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value_s * scale >= 1:
            return unit, scale
    return "ns", 1e9


def _percents(delta: Delta, style: Style) -> tuple[str, str, str, str]:
    return _cells(delta, "{:.1f}", style, 100.0)


def _cells(delta: Delta, form: str, style: Style, scale: float = 1.0) -> tuple[str, str, str, str]:
    between = ""
    if delta.low is not None and delta.high is not None:
        between = f"{_signed(delta.low * scale, form)} to {_signed(delta.high * scale, form)}"
    change = _signed(delta.change * scale, form)
    return (
        form.format(delta.before * scale),
        form.format(delta.after * scale),
        word(change, style),
        word(between, style),
    )


def _signed(value: float, form: str) -> str:
    text = form.format(value)
    zero = not any(digit in text for digit in "123456789")
    return text.removeprefix("-") if zero else text if value < 0 else f"+{text}"


def _saved(comparison: Comparison) -> str:
    saving = comparison.saving
    share = saving.value / comparison.before.cores if comparison.before.cores else 0.0
    at = "for the same work" if comparison.work else "if the load was the same"
    return f"{saving.value:.3f} cores{_between(saving)}, {share:.0%} of the CPU before, {at}"


def _between(saving: Estimate) -> str:
    if saving.low is None or saving.high is None:
        return ""
    return f" (95 % interval {saving.low:.3f} to {saving.high:.3f})"


def _predicted(comparison: Comparison) -> str:
    predicted = comparison.predicted
    if predicted is None:
        return "no prediction: no finding before the change predicted a saving"
    text = f"{predicted.mid:.3f} cores, between {predicted.low:.3f} and {predicted.high:.3f}"
    if comparison.outcome is Outcome.NOT_APPLIED:
        name = comparison.predicted_for.partition("=")[0]
        now = collector_texts(comparison.after).get(name, _known(comparison.after.gomaxprocs))
        text += f", for {comparison.predicted_for}; it is {now}"
    return text
