"""The chart of a workload: cores by category over time, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from gotax_collector.query.answers import Changed, Changes, Uncompared, WorkloadAnswer
from gotax_collector.query.steps import Gap, Hour
from gotax_collector.query.wording import change_text, minute

WIDTH, HEIGHT = 1000, 180
MARKS_MAX = 20
LEAST = 0.01
"""A saving of less of what is used is not drawn."""
AVERAGED = 6
"""Steps before a finding ended that say what was used and predicted."""
GROUP_ORDER = ("user", "service", "native", "gc", "scheduler", "unknown")


@dataclass(frozen=True, slots=True)
class Mark:
    """A roll-out, or another GOMAXPROCS or limit, at ``at``."""

    left: float
    at: int
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Stacked bars over time. ``areas`` are (group, an SVG path), each from the base line up to the
    group's end, the highest first: the next is drawn over it. ``gaps`` are (left, width, text),
    ``scale`` (share of the height, cores), ``ticks`` (left %, text, Unix time, day or minute)."""

    areas: tuple[tuple[str, str], ...]
    gaps: tuple[tuple[float, float, str], ...]
    highest: float
    scale: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str, int, str], ...]
    marks: tuple[Mark, ...]
    predicted: Prediction | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """``path`` is a line where agents predicted a saving: what would be used with the remedy.

    After a finding has ended, the line goes on at its last height, beside what is used now:
    ``before``, ``predicted`` and ``after`` are cores, the last None until it ended.
    """

    path: str
    before: float
    predicted: float
    after: float | None


def _prediction(hours: Sequence[Hour], top: float, first: int, scale: float) -> Prediction | None:
    """Of the last hours that have a saving, and of the hours after them."""
    with_saving = [i for i, hour in enumerate(hours) if hour.saving_cores > LEAST * hour.cores]
    if not with_saving:
        return None
    # The hour in which it ended is partly the one and partly the other.
    whole = [i for i in with_saving if i + 1 < len(hours) and i + 1 in with_saving] or with_saving
    last = [hours[i] for i in whole[-AVERAGED:]]
    before = _average([hour.cores for hour in last])
    predicted = _average([hour.cores - hour.saving_cores for hour in last])
    later = hours[with_saving[-1] + 1 :]
    levels = [
        (hour, hour.cores - hour.saving_cores if i in set(whole) else predicted)
        for i, hour in enumerate(hours)
        if i >= with_saving[0] and (i in set(with_saving) or i > with_saving[-1])
    ]
    parts: list[str] = []
    end: int | None = None
    for hour, level in levels:
        left, right = ((at - first) * scale for at in (hour.since, hour.until))
        y = (1 - level / top) * HEIGHT
        parts.append(f"{'M' if end is None or hour.since > end else 'L'}{left:.2f} {y:.1f}")
        parts.append(f"H{right:.2f}")
        end = hour.until
    after = _average([hour.cores for hour in later]) if later else None
    return Prediction("".join(parts), before, predicted, after)


def _average(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def chart_of(answer: WorkloadAnswer, changes: Changes | None = None) -> Chart | None:
    """Each step as wide as the time it is of, and nothing between those that do not touch.

    None for less than two steps.
    """
    hours, gaps = answer.hours, answer.gaps
    if len(hours) < 2:
        return None
    first = min(hours[0].since, *(gap.since for gap in gaps), hours[0].since)
    last = max(hours[-1].until, *(gap.until for gap in gaps), hours[-1].until)
    scale = WIDTH / (last - first)
    highest = max(hour.cores for hour in hours)
    top = _round_up(highest)
    marks = tuple(
        Mark((at - first) * scale, at, text)
        for at, text in _changes(changes)
        if first <= at <= last
    )
    heights = [0.0] * len(hours)
    areas = []
    for group in GROUP_ORDER:
        parts = [
            sum(
                cores for label, cores in hour.categories.items() if answer.group_of(label) == group
            )
            for hour in hours
        ]
        heights = [low + part for low, part in zip(heights, parts, strict=True)]
        if any(parts):
            areas.append((group, _steps(hours, [h / top for h in heights], first, scale)))
    return Chart(
        tuple(reversed(areas)),
        tuple(
            ((gap.since - first) * scale, (gap.until - gap.since) * scale, _gap_text(gap))
            for gap in gaps
        ),
        highest,
        tuple((share, f"{top * share:g}") for share in (0.5, 1.0)),
        _ticks(first, last),
        marks,
        _prediction(hours, top, first, scale),
    )


def _steps(hours: Sequence[Hour], heights: Sequence[float], first: int, scale: float) -> str:
    """An SVG path: a block for each run of hours that touch."""
    parts: list[str] = []
    end: int | None = None
    for hour, height in zip(hours, heights, strict=True):
        left, right = ((at - first) * scale for at in (hour.since, hour.until))
        if end is None or hour.since > end:
            parts.append(f"{f'V{HEIGHT}Z' if parts else ''}M{left:.2f} {HEIGHT}")
        parts.append(f"V{(1 - height) * HEIGHT:.1f}H{right:.2f}")
        end = hour.until
    return "".join(parts) + f"V{HEIGHT}Z"


def _round_up(cores: float) -> float:
    """The top of the scale. A hair above a round number is that number."""
    if cores <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(cores))
    steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10)
    return next(step for step in steps if cores / power <= step * 1.002) * power


def _changes(changes: Changes | None) -> Iterator[tuple[int, str]]:
    """(when, what) in their order; a roll-out over several sizes of nodes is one."""
    if changes is None:
        return
    seen: dict[tuple[int, str], None] = {}
    found: list[Changed | Uncompared] = [*changes.rows, *changes.uncompared]
    for change in sorted(found, key=lambda change: change.at):
        seen[change.at, change_text(change.what, change.before, change.after)] = None
    yield from list(seen)[-MARKS_MAX:]


def _gap_text(gap: Gap) -> str:
    return f"no agent reported from {minute(gap.since)} to {minute(gap.until)} UTC"


def _ticks(first: int, last: int) -> tuple[tuple[float, str, int, str], ...]:
    span = last - first
    steps = (600, 3600, 3 * 3600, 6 * 3600, 86_400, 2 * 86_400, 7 * 86_400, 30 * 86_400)
    step = next((step for step in steps if span / step <= 9), steps[-1])
    form, name = ("%d %b", "day") if step >= 86_400 else ("%H:%M", "minute")
    return tuple(
        ((at - first) / span * 100, datetime.fromtimestamp(at, UTC).strftime(form), at, name)
        for at in range(first - first % step + step, last, step)
    )
