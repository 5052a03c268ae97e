from __future__ import annotations

import re
import shutil
import subprocess
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from gotax.exporters.prometheus import (
    CONTAINER_LABELS,
    MAX_LABEL,
    METRICS,
    PrometheusExporter,
    read_resident_bytes,
)
from gotax.exporters.statistics import Statistics, Streaming
from gotax.model import Category, Container, Health, Window
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from .strategies import unhurried, windows
from .windows import (
    Load,
    Run,
    Setting,
    build_window,
    fitting_load,
    hostile_load,
    native_load,
    oversized_load,
    pod_container,
    story_window,
)

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def scraped(exporter: PrometheusExporter) -> dict[str, Family]:
    """What Prometheus would read, by family name."""
    return {f.name: f for f in text_string_to_metric_families(exporter.expose().decode())}


def values(exporter: PrometheusExporter, name: str, **labels: str) -> list[float]:
    return [
        sample.value
        for family in scraped(exporter).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


@dataclass(frozen=True)
class FixedStream:
    """A stream to a collector whose numbers stand still."""

    def statistics(self) -> Statistics:
        return Statistics(
            sent=5,
            sent_bytes=4000,
            acknowledged=3,
            connections=2,
            failures={"unavailable": 1},
            dropped={"spool-full": 7},
            spool_records=2,
            spool_bytes=1700,
            spool_errors=0,
            in_flight=2,
            is_connected=True,
        )


def published(
    *windows: Window, stream: Streaming | None = None, **settings: int
) -> PrometheusExporter:
    exporter = PrometheusExporter(stream=stream, **settings)
    for window in windows:
        exporter.publish(window)
    return exporter


def numbered(load: Load, number: int) -> Load:
    container = pod_container(f"app-{number}", number)
    return replace(load, process=replace(load.process, container=container))


def test_story_in_metrics() -> None:
    """The oversized container's series hold the numbers of its report."""
    exporter = published(story_window())
    name = {"container": "payments-api", "id": "000000000000"}
    period_s = story_window().period_ns / 1e9
    for category, hits in (("gc/mark-idle", 51), ("scheduler/wake", 40), ("user", 96)):
        found = values(exporter, "gotax_cpu_seconds_total", category=category, **name)
        assert found == [pytest.approx(hits * period_s)]
    assert values(exporter, "gotax_gomaxprocs", **name) == [192]
    assert values(exporter, "gotax_gomaxprocs_recommended", **name) == [1]
    assert values(exporter, "gotax_cpu_limit_cores", **name) == [1]
    assert values(exporter, "gotax_cpu_throttled_seconds_total", **name) == [3.2]
    assert values(exporter, "gotax_cpu_throttled_periods_total", **name) == [121]
    assert values(exporter, "gotax_runtime_share", **name) == [pytest.approx(137 / 285)]
    assert values(exporter, "gotax_verdict", verdict="oversized", **name) == [1]
    assert values(exporter, "gotax_verdict", verdict="fits", **name) == [0]
    assert values(exporter, "gotax_finding", code="GT001", **name) == [1]
    assert values(exporter, "gotax_container_info", go_version="go1.22.5", **name) == [1]
    assert values(exporter, "gotax_lost_hits_total", reason="no-process") == [1]
    assert values(exporter, "gotax_other_cpu_seconds_total") == [pytest.approx(318 * period_s)]
    assert values(exporter, "gotax_cache_evictions_total", cache="frames") == [12]
    assert values(exporter, "gotax_tick_seconds_sum") == [0.021]


def test_a_service_outside_containers_is_known_by_its_cgroup() -> None:
    """There is no container id; a limit and throttling it has not are absent, not zero."""
    exporter = published(story_window())
    service = {"container": "containerd.service", "id": "/system.slice/containerd.service"}
    assert values(exporter, "gotax_gomaxprocs", **service) == [8]
    assert values(exporter, "gotax_cpu_limit_cores", **service) == []
    assert values(exporter, "gotax_cpu_throttled_seconds_total", **service) == []


@unhurried
@given(st.lists(windows(), min_size=1, max_size=2))
def test_cpu_seconds_are_conserved_over_windows(published_windows: list[Window]) -> None:
    """Listed, unlisted and other CPU time add up to the attributed hits of all windows."""
    exporter = published(*published_windows, max_containers=2, grace_s=10**9)
    total = sum(
        value
        for name in ("gotax_cpu", "gotax_unlisted_cpu", "gotax_other_cpu")
        for value in values(exporter, name + "_seconds_total")
    )
    spent = sum(w.hits.attributed * w.period_ns / 1e9 for w in published_windows)
    assert total == pytest.approx(spent)
    assert values(exporter, "gotax_hits_total") == [sum(w.hits.drained for w in published_windows)]
    lost = sum(sum(w.hits.lost.values()) for w in published_windows)
    assert sum(values(exporter, "gotax_lost_hits_total")) == lost


@unhurried
@given(st.lists(windows(), min_size=1, max_size=2))
def test_no_series_is_there_twice_and_no_label_is_long(published_windows: list[Window]) -> None:
    """A duplicate would make Prometheus refuse the whole scrape."""
    exporter = published(*published_windows)
    samples = [sample for family in scraped(exporter).values() for sample in family.samples]
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(set(series)) == len(series)
    assert all(len(v) <= MAX_LABEL for sample in samples for v in sample.labels.values())


def test_counters_grow_by_each_window() -> None:
    """Publishing the same window thrice gives three times its seconds."""
    once, thrice = published(story_window()), published(*[story_window()] * 3)
    for name in ("gotax_cpu_seconds_total", "gotax_cpu_periods_total", "gotax_hits_total"):
        assert sum(values(thrice, name)) == pytest.approx(3 * sum(values(once, name)))
    assert values(thrice, "gotax_tick_seconds_count") == [3]


def test_cpu_seconds_are_the_kernels_and_none_is_dropped() -> None:
    """The kernel's account, divided as the hits fall; a window without hits waits for one."""
    window = build_window(oversized_load())
    (report,) = window.reports
    idle = replace(report, category_hits=np.zeros_like(report.category_hits), cpu_ns=2_000_000_000)
    busy = replace(report, cpu_ns=5_000_000_000)
    exporter = published(replace(window, reports=(idle,)), replace(window, reports=(busy,)))
    seconds = values(exporter, "gotax_cpu_seconds_total")
    assert sum(seconds) == pytest.approx(7.0, abs=1e-6)
    assert max(seconds) == pytest.approx(7.0 * max(report.category_hits) / report.hits, abs=1e-6)


def test_a_container_vanishes_after_its_grace_and_not_before() -> None:
    """Between its last hit and then it keeps its counters; only the share of now is gone."""
    both = build_window(oversized_load(), fitting_load())
    one = build_window(fitting_load())
    exporter = published(both, one, one, grace_s=30)
    gone = {"container": "payments-api"}
    assert len(values(exporter, "gotax_gomaxprocs", **gone)) == 1
    assert values(exporter, "gotax_runtime_share", **gone) == []
    exporter.publish(one)
    for family in METRICS[:11]:
        assert values(exporter, family.series, **gone) == []
    assert len(values(exporter, "gotax_gomaxprocs")) == 1


def test_containers_beyond_the_bound_are_added_up() -> None:
    """The busiest are listed; the rest is one number, and its time is not lost."""
    loads = [numbered(fitting_load(), number) for number in range(1, 8)]
    exporter = published(build_window(*loads), max_containers=5)
    assert len(values(exporter, "gotax_gomaxprocs")) == 5
    assert values(exporter, "gotax_unlisted_containers") == [2]
    one = fitting_load().hits * build_window().period_ns / 1e9
    assert values(exporter, "gotax_unlisted_cpu_seconds_total") == [pytest.approx(2 * one)]


def test_two_containers_with_equal_labels_are_one_series() -> None:
    """Their times add up; the scrape stays valid."""
    load = fitting_load()
    twin = replace(load.process.container, key="other", cgroup="/elsewhere")
    other = replace(load, process=replace(load.process, pid=1, container=twin))
    exporter = published(build_window(load, other))
    spent = 2 * load.hits * build_window().period_ns / 1e9
    assert sum(values(exporter, "gotax_cpu_seconds_total")) == pytest.approx(spent)
    assert len(values(exporter, "gotax_gomaxprocs")) == 1


def test_hostile_labels_come_through_escaped() -> None:
    """Quotes, backslashes and line breaks in names end no label and no line."""
    container = Container(key="k", name='a"}\n1 \\', cgroup="\udcff/x")
    load = replace(hostile_load(), process=replace(hostile_load().process, container=container))
    exporter = published(build_window(load))
    assert values(exporter, "gotax_gomaxprocs", container='a"}\n1 \\', id="\\udcff/x") == [8]


def test_before_the_first_window_there_is_only_gotax_itself() -> None:
    """A scrape that comes too early gets a valid answer."""
    assert set(scraped(PrometheusExporter())) == {
        "gotax_own_cpu_seconds",
        "gotax_resident_memory_bytes",
        "gotax_build_info",
    }


def test_close_forgets_the_containers_and_may_be_called_twice() -> None:
    """After it nothing of the last window is shown."""
    exporter = published(story_window())
    exporter.close()
    exporter.close()
    assert "gotax_cpu_seconds" not in scraped(exporter)


def test_the_text_is_made_once_per_window() -> None:
    """Two scrapes of one window get the same bytes; a new window makes new ones."""
    exporter = published(story_window())
    first = exporter.expose()
    assert exporter.expose() is first
    exporter.publish(story_window())
    assert exporter.expose() != first


def test_scrapes_during_publishing_see_whole_windows() -> None:
    """Another thread never sees the hits of one window with the CPU time of another."""
    exporter = published(build_window(fitting_load()))
    ratio = values(exporter, "gotax_hits_total")[0] / sum(
        values(exporter, "gotax_cpu_seconds_total")
    )
    window = build_window(fitting_load())

    def publish() -> None:
        for _ in range(300):
            exporter.publish(window)

    publisher = threading.Thread(target=publish)
    publisher.start()
    while True:
        finished = not publisher.is_alive()
        families = scraped(exporter)
        hits = families["gotax_hits"].samples[0].value
        seconds = sum(sample.value for sample in families["gotax_cpu_seconds"].samples)
        assert hits / seconds == pytest.approx(ratio)
        if finished:
            break
    publisher.join()
    assert hits == 301 * fitting_load().hits


def test_resident_memory_is_of_this_process(tmp_path: Path) -> None:
    """statm counts pages; an unreadable or odd file gives 0."""
    block = np.ones(20_000_000, dtype=np.uint8)
    assert read_resident_bytes() > block.nbytes
    assert read_resident_bytes(tmp_path) == 0
    (tmp_path / "self").mkdir()
    for text in ("", "1", "1 x 2"):
        (tmp_path / "self" / "statm").write_text(text)
        assert read_resident_bytes(tmp_path) == 0


def full_exporter() -> PrometheusExporter:
    """Every metric has a series."""
    health = Health(0.1, 0.2, {"frames": 1}, {"frames": 1}, {"elf-truncated": 1})
    setting = Setting(lost={"no-process": 1}, health=health)
    window = build_window(oversized_load(), native_load(), setting=setting)
    return published(window, stream=FixedStream())


def test_the_stream_to_a_collector_has_metrics_where_there_is_one() -> None:
    """Drops are told by reason; without a collector there is none of it."""
    exporter = published(story_window(), stream=FixedStream())
    assert values(exporter, "gotax_stream_dropped_windows_total", reason="spool-full") == [7]
    assert values(exporter, "gotax_stream_connected") == [1]
    assert values(exporter, "gotax_spool_reports") == [2]
    assert not any("stream" in name for name in scraped(published(story_window())))


def test_the_page_lists_every_metric_with_type_and_labels_and_no_other() -> None:
    """docs/metrics.md says what METRICS says."""
    rows = re.findall(
        r"^\| `(gotax_\w+)` \| (\w+) \| [\w ]+ \|([^|]*)\| [^|]+ \|$",
        PAGE.read_text(),
        re.MULTILINE,
    )
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows
    }
    own = {
        m.series: (m.kind, tuple(label for label in m.labels if label not in CONTAINER_LABELS))
        for m in METRICS
    }
    assert documented == own


def test_exported_series_have_the_type_and_labels_of_their_metric() -> None:
    """METRICS is what really comes out, each metric once."""
    families = scraped(full_exporter())
    assert set(families) == {metric.name for metric in METRICS}
    for metric in METRICS:
        family = families[metric.name]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) == set(metric.labels)


def test_the_pages_queries_use_only_metrics_and_labels_that_exist() -> None:
    """A query on the page that names a metric nobody exports would be a lie."""
    queries = "\n".join(re.findall(r"^    (.+)$", PAGE.read_text(), re.MULTILINE))
    used = set(re.findall(r"gotax_\w+", queries))
    assert used <= {metric.series for metric in METRICS}
    assert len(used) > 8
    labels = {label for metric in METRICS for label in metric.labels}
    for listing in re.findall(r"(?:by|on|group_left) \(([\w, ]+)\)", queries):
        assert set(listing.split(", ")) <= labels


def test_every_category_has_its_label_and_group_in_the_series() -> None:
    """The label of a category leads to its group, so that groups can be summed by query."""
    load = oversized_load()
    runs = tuple(Run(load.runs[0].stack, category, 1) for category in Category)
    family = scraped(published(build_window(replace(load, runs=runs))))["gotax_cpu_seconds"]
    exported = {(s.labels["category"], s.labels["group"]) for s in family.samples}
    assert exported == {(category.label, category.group.value) for category in Category}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (apt: prometheus) not found")
def test_promtool_finds_nothing_to_complain_about() -> None:
    """Prometheus' own linter of metric names, units and help texts."""
    result = subprocess.run(
        ["promtool", "check", "metrics"],
        input=full_exporter().expose(),
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")
