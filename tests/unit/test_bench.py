"""The benchmarks: they know the code that they measure, and compute right what they print."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from gotax.sampling.sampler import STACK_COUNT, Stacks

from bench.agent import kubernetes
from bench.growth import CASES, Row
from bench.growth import bars as growth_bars
from bench.overhead import BARS, bars, table
from bench.pipeline import STAGES
from bench.simulated import Recording, drains
from bench.spans import FULL, Line, Memory, Reading, Span, cost, fit, memory, parse_spans, times
from bench.windows import (
    Scrape,
    lateness_s,
    longest_work_s,
    parse_scrape,
    windows_until_judged,
)


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


SCRAPE = """\
# HELP gotax_samples_total Samples.
# TYPE gotax_samples_total counter
gotax_samples_total 1200.0
gotax_lost_samples_total{reason="process-gone"} 3.0
gotax_lost_samples_total{reason="pid-reused"} 0.0
gotax_profiled_seconds_total 31.5
gotax_drain_seconds_count 2.0
gotax_drain_seconds_sum 0.25
gotax_processing_seconds_count 2.0
gotax_processing_seconds_sum 1.5
gotax_gomaxprocs{namespace="",container="a",id="aa"} 4.0
gotax_gomaxprocs{namespace="",container="b} 1",id="bb"} 4.0
gotax_verdict{container="a",id="aa",verdict="fits"} 1.0
gotax_verdict{container="a",id="aa",verdict="oversized"} 0.0
gotax_verdict{container="b} 1",id="bb",verdict="unreadable"} 1.0
gotax_verdict{container="c",id="cc",verdict="fits"} 1.0
"""


def test_a_scrape_has_the_sums_of_the_windows() -> None:
    """A container is judged if it has a verdict and a GOMAXPROCS: here only the first one."""
    found = parse_scrape(SCRAPE)
    assert found == Scrape(2, 31.5, 1.75, 1200, {"process-gone": 3}, 1)
    assert parse_scrape("") == Scrape(0, 0.0, 0.0, 0, {}, 0)


def test_the_longest_work_and_the_lateness_come_from_differences() -> None:
    scrapes = [
        Scrape(0, 0.0, 0.0, 0, {}, 0),
        Scrape(1, 15.2, 0.5, 10, {}, 3),
        Scrape(1, 15.2, 0.5, 10, {}, 3),
        Scrape(3, 45.9, 2.1, 30, {}, 9),
        Scrape(4, 60.1, 2.2, 40, {}, 10),
    ]
    assert longest_work_s(scrapes) == pytest.approx(0.8)
    assert longest_work_s(scrapes[:2]) == 0.5
    assert lateness_s(scrapes, 15.0) == pytest.approx(0.9)
    assert lateness_s(scrapes[:1], 15.0) == 0.0
    assert windows_until_judged(scrapes, 9) == 3
    assert windows_until_judged(scrapes, 11) is None


def _recording() -> Recording:
    """Two processes with two stacks each; process 3 has the binary of process 1."""
    rows = np.zeros(4, STACK_COUNT)
    rows["tgid"], rows["cgroup_id"] = [1, 1, 2, 3], [10, 10, 20, 30]
    rows["user_stack"] = [101, 102, 103, 101]
    stacks = Stacks(
        np.array([101, 102, 103], np.uint64),
        np.array([0, 2, 3, 6]),
        np.array([7, 8, 9], np.uint64),
        np.array([1, 2, 3, 4, 5, 6], np.uint64),
    )
    piece = (rows, np.array([5, 1, 2, 4], np.int64))
    return Recording((piece,), stacks, {1: 10, 2: 20, 3: 30})


def test_simulated_drains_have_the_samples_of_their_cpus() -> None:
    """Whatever the size: as many as asked for, none twice, with the stacks that they name."""
    for samples in (1, 3, 12, 13, 100):
        found = list(islice(drains(_recording(), [[1, 3], [2]], samples), 9))
        assert [int(drain.samples.sum()) for drain in found] == [samples] * 9
        for drain in found:
            assert len(np.unique(drain.stack_counts)) == len(drain.stack_counts)
            assert min(drain.samples) > 0
            assert (drain.user_stacks.find(drain.stack_counts["user_stack"]) >= 0).all()


def test_a_simulated_stream_takes_the_recording_in_order() -> None:
    first, second = islice(drains(_recording(), [[1, 3], [2]], 6), 2)
    counts = [
        dict(zip(drain.stack_counts[["tgid", "user_stack"]].tolist(), drain.samples, strict=True))
        for drain in (first, second)
    ]
    assert counts == [{(1, 101): 5, (1, 102): 1}, {(2, 103): 2, (3, 101): 4}]
    assert second.user_stacks.addresses(1).tolist() == [4, 5, 6]
    assert second.user_stacks.callers.tolist() == [7, 9]


def test_a_recording_that_starts_again_changes_processes_of_one_binary() -> None:
    """Each stack is then new for its process; the cgroup follows the process."""
    _, again, third = islice(drains(_recording(), [[1, 3], [2]], 12), 3)
    owners = again.stack_counts[["tgid", "cgroup_id", "user_stack"]].tolist()
    assert sorted(owners) == [(1, 10, 101), (2, 20, 103), (3, 30, 101), (3, 30, 102)]
    assert third.stack_counts["tgid"].tolist().count(1) == 2


def test_growth_is_judged_at_the_largest_size_and_in_every_window() -> None:
    small = Row(20, 1.0, 9.0, 9.0, 99.0, 99.0, 3500.0, 0.0, None)
    large = Row(2000, 1.0, 0.5, 9.0, 91.0, 99.0, 100.0, 0.0, 2)
    lines = growth_bars(CASES["processes"], [small, large])
    assert [line[:6] for line in lines] == ["holds ", "MISSED", "MISSED"]
    assert [line[:6] for line in growth_bars(CASES["processes"], [small])] == ["MISSED"]
    unjudged = Row(50, 1.0, 0.5, 9.0, 50.0, 99.0, 100.0, 0.0, None)
    assert growth_bars(CASES["binaries"], [unjudged])[0].startswith("MISSED")


def test_the_agents_of_a_series_share_a_folder(tmp_path: Path) -> None:
    """Each has an API server of its own, and an account."""
    for _ in range(2):
        with kubernetes(tmp_path, 1) as environment:
            assert Path(environment["BENCH_ACCOUNT"], "token").read_text()


def test_the_table_has_a_line_for_each_profiler() -> None:
    """Spans of the agent first, in order; what a profiler did not run for is a dash."""
    agent = {"0-30 s": 0.5, "30-90 s": 0.25, "150-210 s": 0.125}
    rows = [
        _profiler("scraped", agent, 9.5),
        _profiler("perf record -g", {"0-30 s": 0.17, "30-60 s": 0.002}, None),
    ]
    text = table(
        {
            "machine": {"cpus": 2, "kernel": "6.18", "machine": "x86_64"},
            "load": {"processes": 20, "cpu_s_per_minute": 75.0},
            "hz": 19,
            "spans": list(agent),
            "forms": ["scraped"],
            "profilers": rows,
            "turns_us_per_sample": {
                "gotax agent": [9.0, 9.4, 9.2],
                "bcc, two get_stackid": [10.0, 10.0, 10.0],
            },
            "missing": [{"name": "bpftrace profile", "reason": "not installed"}],
        }
    )
    lines = text.splitlines()
    assert lines[3].split()[:4] == ["0-30", "30-90", "150-210", "30-60"]
    scraped = next(line for line in lines if line.startswith("gotax agent, scraped"))
    assert scraped.split()[3:8] == ["0.500", "0.250", "0.125", "-", "40.0"]
    peer = next(line for line in lines if line.startswith("perf record"))
    assert peer.split()[3:7] == ["0.170", "-", "-", "0.002"]
    assert "bpftrace profile            skipped: not installed" in lines
    assert "holds   kernel time per run / bcc's walk: 0.92, bar 0.95" in lines


def _profiler(name: str, cpu_s: dict[str, float], kernel_us: float | None) -> dict[str, object]:
    figures = {"pss_mb": 40.0, "peak_mb": 90.0, "back_s": 1.0}
    return {
        "name": name,
        "cpu_s": cpu_s,
        **figures,
        "kernel_us_per_run": kernel_us,
        "runs_per_s": None,
    }
