"""The benchmarks: they know the code that they measure, and compute right what they print."""

from __future__ import annotations

import pytest

from bench.overhead import BARS, bars
from bench.pipeline import STAGES
from bench.spans import FULL, Line, Memory, Reading, Span, cost, fit, memory, parse_spans, times


def test_every_stage_of_the_pipeline_is_a_function() -> None:
    """bench.pipeline replaces these by functions that take the time."""
    missing = [stage for stage, owner, name in STAGES if not callable(getattr(owner, name, None))]
    assert missing == []


def test_spans_are_named_or_written_out() -> None:
    assert parse_spans("full") == parse_spans(FULL) == (Span(0, 30), Span(30, 90), Span(150, 210))
    assert parse_spans("short") == (Span(0, 30), Span(30, 60))
    assert [str(span) for span in parse_spans("0-2.5,5-9")] == ["0-2.5 s", "5-9 s"]


@pytest.mark.parametrize("text", ["", "long", "5", "1-2-3", "9-3", "4-4", "0-30,"])
def test_other_spans_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="span"):
        parse_spans(text)


def test_readings_are_dense_at_the_start_and_at_every_end() -> None:
    found = list(times((Span(0, 30.1), Span(33.3, 34))))
    assert found == sorted(set(found))
    assert {30.1, 33.3, 34.0} <= set(found)
    assert found[-1] == 34.0
    steps = [after - before for before, after in zip([0.0, *found], found, strict=False)]
    assert max(step for step, at in zip(steps, found, strict=True) if at <= 5) < 0.051
    assert max(steps) <= 1.0
    assert len(found) < 220


READINGS = [
    Reading(0.5, 1.0, 80_000_000),
    Reading(2.0, 1.5, 150_000_000),
    Reading(4.0, 2.5, 75_000_000),
    Reading(10.0, 4.0, 60_000_000),
    Reading(20.0, 5.0, 66_000_000),
    Reading(22.0, 5.0, 64_000_000),
]


def test_the_first_span_is_a_sum_and_the_others_are_rates() -> None:
    assert cost(READINGS, Span(0, 10)) == 4.0
    assert cost(READINGS, Span(10, 20)) == 6.0
    assert cost(READINGS, Span(0, 3)) == 2.0  # half way between two readings
    assert cost(READINGS, Span(10, 99)) == pytest.approx(60 / 89)  # what there is


def test_memory_has_a_peak_and_comes_back() -> None:
    """Back: at most 10 MB above what it is later; 75 MB are one too many."""
    assert memory(READINGS) == Memory(65_000_000.0, 150_000_000, 2.0)
    more = [*READINGS[:2], Reading(4.0, 2.5, 75_000_001), *READINGS[3:]]
    assert memory(more).back_s == 8.0


def test_memory_after_the_start_is_that_of_the_first_minute() -> None:
    late = [Reading(float(at), 0.0, 40 if at <= 65 else 90) for at in range(1, 211)]
    assert memory(late).after_start == 40


def test_costs_are_fitted_to_a_line() -> None:
    assert fit([(0, 3.0), (10, 8.0), (20, 13.0)]) == Line(3.0, 0.5)
    uneven = fit([(0, 0.0), (1, 3.0), (2, 3.0)])
    assert [uneven.base, uneven.each] == pytest.approx([0.5, 1.5])
    assert fit([(7, 4.0)]) == Line(4.0, 0.0)


def test_a_bar_is_judged_where_it_was_measured() -> None:
    row = {"name": "scraped", "cpu_s": {"0-30 s": 0.7}, "pss_mb": 45.0, "peak_mb": 1, "back_s": 1}
    other = {"name": "perf record -g", "cpu_s": {"0-30 s": 9.9}, "pss_mb": 900.0}
    turns = {"gotax agent": [9.0], "bcc, two get_stackid": [10.0]}
    lines = bars({"profilers": [row, other], "turns_us_per_sample": turns})
    assert [line[:6] for line in lines] == ["MISSED", "holds ", "holds ", "holds ", "holds "]
    assert lines[0] == "MISSED  scraped: CPU s in 0-30 s: 0.7, bar 0.6"
    assert {form for form, _ in BARS} == {"scraped", "streaming"}
