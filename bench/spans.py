"""What a process tree cost, by spans of time since its start; pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FULL = "0-30,30-90,150-210"
SHORT = "0-30,30-60"
_FINE_UNTIL_S, _FINE_S = 5.0, 0.05
_START_UNTIL_S, _START_S, _LATER_S = 30.0, 0.25, 1.0
AFTER_START_S = 60.0
_SETTLED_BYTES = 10e6


@dataclass(frozen=True, slots=True)
class Span:
    """Seconds since the start. The first one is a sum, the others are rates."""

    begin_s: float
    end_s: float

    def __str__(self) -> str:
        return f"{self.begin_s:g}-{self.end_s:g} s"

    @property
    def is_start(self) -> bool:
        return self.begin_s == 0


@dataclass(frozen=True, slots=True)
class Reading:
    """``cpu_s``: since the start."""

    at_s: float
    cpu_s: float
    pss_bytes: int


def parse_spans(text: str) -> tuple[Span, ...]:
    """``full``, ``short``, or spans such as 0-30,30-90. Raises ValueError with a sentence."""
    text = {"full": FULL, "short": SHORT}.get(text, text)
    try:
        pairs = [part.split("-") for part in text.split(",")]
        spans = tuple(Span(float(begin), float(end)) for begin, end in pairs)
    except ValueError:
        raise ValueError(f"{text!r} is not full, short, or spans such as 0-30,30-90") from None
    if any(span.begin_s < 0 or span.end_s <= span.begin_s for span in spans):
        raise ValueError(f"a span of {text!r} does not end after it begins")
    return spans


def times(spans: Sequence[Span]) -> Iterator[float]:
    """When to read: at the ends of all spans, and in between, often in the first seconds."""
    ends = sorted({bound for span in spans for bound in (span.begin_s, span.end_s)})
    at = 0.0
    while at < ends[-1]:
        step = _FINE_S if at < _FINE_UNTIL_S else _START_S if at < _START_UNTIL_S else _LATER_S
        at = min([round(at + step, 3), *(end for end in ends if end > at)])
        yield at


def cpu_at(readings: Sequence[Reading], at_s: float) -> float:
    """CPU seconds used until then, between two readings in proportion to the time."""
    before = Reading(0.0, 0.0, 0)
    for reading in readings:
        if reading.at_s >= at_s:
            passed = reading.at_s - before.at_s
            share = (at_s - before.at_s) / passed if passed else 1.0
            return before.cpu_s + share * (reading.cpu_s - before.cpu_s)
        before = reading
    return before.cpu_s


def cost(readings: Sequence[Reading], span: Span) -> float:
    """CPU seconds in the first span, CPU seconds a minute in every other."""
    spent = cpu_at(readings, span.end_s) - cpu_at(readings, span.begin_s)
    return spent if span.is_start else spent * 60 / (span.end_s - span.begin_s)


@dataclass(frozen=True, slots=True)
class Memory:
    """In bytes. ``after_start``: around 60 s, or at the end of a shorter run. ``back_s``: from the
    peak until memory is at most 10 MB above that."""

    after_start: float
    peak: int
    back_s: float


def memory(readings: Sequence[Reading]) -> Memory:
    end_s = min(readings[-1].at_s, AFTER_START_S + 5)
    after = statistics.median(r.pss_bytes for r in readings if end_s - 10 <= r.at_s <= end_s)
    peak = max(readings, key=lambda reading: reading.pss_bytes)
    settled = after + _SETTLED_BYTES
    back = next((r for r in readings if r.at_s >= peak.at_s and r.pss_bytes <= settled), None)
    return Memory(after, peak.pss_bytes, (back or readings[-1]).at_s - peak.at_s)


@dataclass(frozen=True, slots=True)
class Line:
    """cost = ``base`` + ``each`` * n."""

    base: float
    each: float


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The line with the least squares; a level line for a single size."""
    sizes, costs = [size for size, _ in points], [cost for _, cost in points]
    if len(set(sizes)) < 2:
        return Line(statistics.fmean(costs), 0.0)
    found = statistics.linear_regression(sizes, costs)
    return Line(found.intercept, found.slope)
