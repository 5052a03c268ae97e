from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from gotax.category import CATEGORY_COUNT, Category
from gotax.comparison import Change, Comparison, Delta, Estimate, Observation, Outcome
from gotax.exporters.backends import metrics as of_backends
from gotax.exporters.backends.account import Account
from gotax.exporters.events import metrics as of_events
from gotax.exporters.metrics.containers import MAX_LABEL, SERIES_OF_CONTAINER
from gotax.exporters.metrics.family import CONTAINER_LABELS
from gotax.exporters.metrics.family import Family as OwnFamily
from gotax.exporters.metrics.http import HttpCounts
from gotax.exporters.metrics.own import read_resident_bytes
from gotax.exporters.prometheus import Exposition, PrometheusExporter
from gotax.exporters.stream import metrics as of_streams
from gotax.exporters.stream.statistics import Statistics
from gotax.findings import Saving
from gotax.process import Container, CpuUsage, RuntimeState
from gotax.window import Collections, Health, Window
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from .metrics import METRICS
from .strategies import unhurried, windows
from .windows import (
    Load,
    Run,
    Setting,
    build_window,
    fitting_load,
    hostile_load,
    named,
    native_load,
    other_report,
    oversized_load,
    pod_container,
    story_window,
)

PROMTOOL = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


def scraped(exporter: PrometheusExporter) -> dict[str, Family]:
    """Prometheus' view of the text, by family name."""
    return {f.name: f for f in text_string_to_metric_families(exporter.expose().decode())}


def values(exporter: PrometheusExporter, name: str, **labels: str) -> list[float]:
    return [
        sample.value
        for family in scraped(exporter).values()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]


USUAL = Exposition()


@dataclass(frozen=True)
class FixedStream:
    """A stream to a collector with constant numbers."""

    def families(self) -> Iterator[OwnFamily]:
        now = Statistics(
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
        return of_streams.families(now)


def published(
    *windows: Window, exposition: Exposition = USUAL, others: Sequence[object] = ()
) -> PrometheusExporter:
    exporter = PrometheusExporter(exposition, others)
    for window in windows:
        exporter.publish(window)
    return exporter


def numbered(load: Load, number: int) -> Load:
    container = pod_container(f"app-{number}", number)
    return replace(load, process=replace(load.process, container=container))


def test_metrics_of_the_example() -> None:
    """The oversized container's series hold the numbers of its report."""
    exporter = published(story_window())
    name = {"container": "payments-api", "id": "000000000000"}
    period_s = story_window().period_ns / 1e9
    for category, samples in (("gc/mark-idle", 51), ("scheduler/wake", 40), ("user", 96)):
        found = values(exporter, "gotax_cpu_seconds_total", category=category, **name)
        assert found == [pytest.approx(samples * period_s)]
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
    assert values(exporter, "gotax_lost_samples_total", reason="no-process") == [1]
    assert values(exporter, "gotax_other_cpu_seconds_total") == [pytest.approx(318 * period_s)]
    assert values(exporter, "gotax_cache_evictions_total", cache="frames") == [12]
    assert values(exporter, "gotax_processing_seconds_sum") == [0.021]


def test_a_service_outside_containers_has_its_cgroup_as_id() -> None:
    """It has no container id. Without a limit or throttling these series are absent, not zero."""
    exporter = published(story_window())
    service = {"container": "containerd.service", "id": "/system.slice/containerd.service"}
    assert values(exporter, "gotax_gomaxprocs", **service) == [8]
    assert values(exporter, "gotax_cpu_limit_cores", **service) == []
    assert values(exporter, "gotax_cpu_throttled_seconds_total", **service) == []


@unhurried
@given(st.lists(windows(), min_size=1, max_size=2))
def test_cpu_seconds_are_conserved_over_windows(published_windows: list[Window]) -> None:
    """Listed, unlisted and other CPU time add up to the attributed samples of all windows."""
    bounds = Exposition(max_series=2 * SERIES_OF_CONTAINER, grace_s=1e9)
    exporter = published(*published_windows, exposition=bounds)
    total = sum(
        value
        for name in ("gotax_cpu", "gotax_unlisted_cpu", "gotax_other_cpu", "gotax_unjudged_cpu")
        for value in values(exporter, name + "_seconds_total")
    )
    spent = sum(w.samples.attributed * w.period_ns / 1e9 for w in published_windows)
    assert total == pytest.approx(spent)
    assert values(exporter, "gotax_samples_total") == [
        sum(w.samples.drained for w in published_windows)
    ]
    lost = sum(sum(w.samples.lost.values()) for w in published_windows)
    assert sum(values(exporter, "gotax_lost_samples_total")) == lost


@unhurried
@given(st.lists(windows(), min_size=1, max_size=2))
def test_series_are_unique_and_labels_are_short(published_windows: list[Window]) -> None:
    """Prometheus would refuse the whole scrape for a duplicate."""
    exporter = published(*published_windows)
    samples = [sample for family in scraped(exporter).values() for sample in family.samples]
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(set(series)) == len(series)
    assert all(len(v) <= MAX_LABEL for sample in samples for v in sample.labels.values())


def test_counters_grow_by_each_window() -> None:
    """Publishing the same window three times gives three times its seconds."""
    once, thrice = published(story_window()), published(*[story_window()] * 3)
    for name in ("gotax_cpu_seconds_total", "gotax_cpu_periods_total", "gotax_samples_total"):
        assert sum(values(thrice, name)) == pytest.approx(3 * sum(values(once, name)))
    assert values(thrice, "gotax_processing_seconds_count") == [3]


def test_cpu_seconds_are_those_of_the_kernel() -> None:
    """They are divided in proportion to the samples. The CPU time of a window without samples is
    added to a later window."""
    window = build_window(oversized_load())
    (report,) = window.reports
    idle = replace(
        report, category_samples=np.zeros_like(report.category_samples), cpu_ns=2_000_000_000
    )
    busy = replace(report, cpu_ns=5_000_000_000)
    exporter = published(replace(window, reports=(idle,)), replace(window, reports=(busy,)))
    seconds = values(exporter, "gotax_cpu_seconds_total")
    assert sum(seconds) == pytest.approx(7.0, abs=1e-6)
    assert max(seconds) == pytest.approx(
        7.0 * max(report.category_samples) / report.samples, abs=1e-6
    )


def test_an_ended_container_keeps_its_counters_for_the_grace_period() -> None:
    """Its gauges are removed at once."""
    both = build_window(oversized_load(), fitting_load())
    one = build_window(fitting_load())
    exporter = published(both, one, one, exposition=Exposition(grace_s=30))
    gone = {"container": "payments-api"}
    for metric in METRICS:
        if metric.kind != "counter":
            assert values(exporter, metric.series, **gone) == []
    assert len(values(exporter, "gotax_cpu_periods_total", **gone)) == 1
    exporter.publish(one)
    for metric in METRICS:
        assert values(exporter, metric.series, **gone) == []
    assert len(values(exporter, "gotax_gomaxprocs")) == 1


def test_containers_beyond_the_bound_are_added_up() -> None:
    """The busiest are listed; the CPU time of the others is in one number."""
    loads = [numbered(fitting_load(), number) for number in range(1, 8)]
    exporter = published(
        build_window(*loads), exposition=Exposition(max_series=6 * SERIES_OF_CONTAINER - 1)
    )
    assert len(values(exporter, "gotax_gomaxprocs")) == 5
    assert values(exporter, "gotax_unlisted_containers") == [2]
    one = fitting_load().samples * build_window().period_ns / 1e9
    assert values(exporter, "gotax_unlisted_cpu_seconds_total") == [pytest.approx(2 * one)]


def test_two_containers_with_equal_labels_share_their_series() -> None:
    """Their times are added up; the scrape stays valid."""
    load = fitting_load()
    twin = replace(load.process.container, key="other", cgroup="/elsewhere")
    other = replace(load, process=replace(load.process, pid=1, container=twin))
    exporter = published(build_window(load, other))
    spent = 2 * load.samples * build_window().period_ns / 1e9
    assert sum(values(exporter, "gotax_cpu_seconds_total")) == pytest.approx(spent)
    assert len(values(exporter, "gotax_gomaxprocs")) == 1


def test_pods_have_the_labels_of_other_exporters() -> None:
    """namespace, pod and container join with kube-state-metrics and cAdvisor."""
    exporter = published(build_window(named(oversized_load(), "payments-5d-x2")))
    name = {
        "namespace": "shop",
        "pod": "payments-5d-x2",
        "container": "app",
        "workload": "payments",
        "id": "000000000000",
    }
    for series in ("gotax_gomaxprocs", "gotax_cpu_limit_cores", "gotax_runtime_share"):
        assert len(values(exporter, series, **name)) == 1
    facts = {"node": "node-17", "workload_kind": "Deployment", "image": "shop/payments:1"}
    assert values(exporter, "gotax_container_info", **name, **facts) == [1]
    for metric in METRICS:
        if metric.kind == "counter":
            assert not {"pid", "function", "image"} & set(metric.labels)


def test_a_late_name_counts_no_time_twice() -> None:
    """Time counted under the id stays there until it expires; the sum only grows."""
    load = oversized_load()
    before, after = build_window(load), build_window(named(load, "payments-5d-x2"))
    exporter = published(before, before, exposition=Exposition(grace_s=20))
    total = sum(values(exporter, "gotax_cpu_seconds_total"))
    exporter.publish(after)
    assert sum(values(exporter, "gotax_cpu_seconds_total")) == pytest.approx(1.5 * total)
    assert len(values(exporter, "gotax_gomaxprocs")) == 1
    assert len(values(exporter, "gotax_gomaxprocs", pod="payments-5d-x2")) == 1
    exporter.publish(after)
    assert values(exporter, "gotax_cpu_seconds_total", pod="") == []


def restarted(load: Load, digit: str, ended: bool = False) -> Load:
    """Another container with the same pod and name."""
    container = replace(load.process.container, key=digit, container_id=digit * 64)
    load = replace(load, process=replace(load.process, container=container))
    return named(load, "payments-5d-x2", ended=ended)


def test_a_restarted_container_has_new_series() -> None:
    """Only the new one has gauges, so that a join by name finds one."""
    first, second = oversized_load(), fitting_load()
    exporter = published(
        build_window(restarted(first, "a")),
        build_window(restarted(first, "a", ended=True), restarted(second, "b")),
    )
    assert values(exporter, "gotax_gomaxprocs", pod="payments-5d-x2") == [2]
    assert values(exporter, "gotax_verdict", verdict="oversized") == [0]
    period_s = build_window().period_ns / 1e9
    for load, times, digit in ((first, 2, "a"), (second, 1, "b")):
        spent = sum(values(exporter, "gotax_cpu_seconds_total", id=digit * 12))
        assert spent == pytest.approx(times * load.samples * period_s)


@pytest.mark.parametrize(
    "dropped",
    [{"id"}, {"pod", "id"}, {"pod", "id", "workload", "container"}, set(CONTAINER_LABELS)],
    ids=lambda dropped: "+".join(sorted(dropped)),
)
def test_dropped_labels_add_up(dropped: set[str]) -> None:
    """Counters are sums, the container with the worst verdict gives the other values, and series
    are unique."""
    window = build_window(
        named(fitting_load(), "payments-a"),
        named(numbered(oversized_load(), 7), "payments-b"),
        named(numbered(fitting_load(), 8), "payments-c"),
    )
    whole = published(window, window)
    exporter = published(window, window, exposition=Exposition(frozenset(dropped)))
    for name in ("cpu_seconds", "cpu_throttled_seconds", "cpu_periods"):
        counter = f"gotax_{name}_total"
        assert sum(values(exporter, counter)) == pytest.approx(sum(values(whole, counter)))
    assert sum(values(exporter, "gotax_saving_cores", bound="mid")) == pytest.approx(0.44)
    samples = [sample for family in scraped(exporter).values() for sample in family.samples]
    series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples]
    assert len(set(series)) == len(series)
    assert not {label for sample in samples for label in sample.labels} & dropped
    if "pod" in dropped:
        assert values(exporter, "gotax_gomaxprocs") == [192]
        assert values(exporter, "gotax_verdict", verdict="oversized") == [1]
        assert values(exporter, "gotax_verdict", verdict="fits") == [0]
    else:
        assert sorted(values(exporter, "gotax_gomaxprocs")) == [2, 2, 192]


@unhurried
@given(st.lists(windows(), min_size=2, max_size=3), st.sets(st.sampled_from(CONTAINER_LABELS)))
def test_counters_never_decrease_while_their_series_exists(
    published_windows: list[Window], dropped: set[str]
) -> None:
    """Also when containers are named, renamed, merged or removed."""
    exporter = PrometheusExporter(Exposition(frozenset(dropped), grace_s=20))
    before: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for window in published_windows:
        exporter.publish(window)
        now = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in scraped(exporter).values()
            if family.type == "counter" and family.name != "gotax_errors"
            for sample in family.samples
            if "cache" not in sample.labels  # the caches count these themselves
        }
        assert all(now[key] >= value for key, value in before.items() if key in now)
        before = now


def full_change(container: Container) -> Change:
    """A change with all optional data."""
    seen = Observation(
        duration_s=60.0,
        cpu_ns=10**9,
        category_samples=(1,) * CATEGORY_COUNT,
        usage=CpuUsage(periods=10, throttled_periods=1, throttled_ns=5),
        gomaxprocs=8,
        gogc=-1,
        memory_limit_bytes=90 << 20,
    )
    delta = Delta(1.0, 2.0)
    comparison = Comparison(
        name="x",
        matched_by="cgroup",
        before=seen,
        after=seen,
        cores=delta,
        runtime=delta,
        shares=(),
        categories=(),
        work=None,
        cpu_per_unit=None,
        saving=Estimate(0.5, 0.4, 0.6),
        predicted=Saving(0.1, 0.2, 0.3),
        outcome=Outcome.WITHIN,
        caveats=(),
    )
    return Change(container, 10**18, comparison)


def test_no_container_has_more_series_than_the_bound() -> None:
    """A container with all optional data; the bound holds for all."""
    load = oversized_load()
    finding = load.findings[0]
    load = replace(
        load,
        runs=tuple(Run(load.runs[0].stack, category, 1) for category in Category),
        findings=tuple(replace(finding, code=f"GT{n:03}") for n in range(100)),
    )
    assert load.process.runtime is not None
    limited = replace(load.process.runtime, memory_limit_bytes=90 << 20)
    load = replace(load, process=replace(load.process, runtime=limited))
    loads = [numbered(load, number) for number in range(1, 30)]
    window = build_window(*loads)
    changes = tuple(full_change(report.container) for report in window.reports)
    bounds = Exposition(max_series=5 * SERIES_OF_CONTAINER)
    exporter = published(replace(window, changes=changes), exposition=bounds)
    of_containers = {metric.name for metric in METRICS if metric.most}
    series = [
        sample
        for family in scraped(exporter).values()
        if family.name in of_containers
        for sample in family.samples
    ]
    assert len(series) == 5 * SERIES_OF_CONTAINER == bounds.max_series
    assert values(exporter, "gotax_unlisted_containers") == [24]


def test_memory_and_gc_of_the_main_process() -> None:
    """No series for no limit, and for what could not be read; -1 for GOGC off."""
    exporter = published(build_window(oversized_load()))
    names = ("gogc", "go_memory_limit_bytes", "heap_goal_bytes", "live_heap_bytes")
    found = [values(exporter, f"gotax_{name}") for name in names]
    assert found == [[100], [], [64 << 20], [32 << 20]]
    assert values(exporter, "gotax_memory_limit_bytes") == [256 << 20]
    assert values(exporter, "gotax_idle_processors") == [0]
    load = oversized_load()
    state = RuntimeState(gogc=-1, memory_limit_bytes=90 << 20)
    bare = replace(load, process=replace(load.process, runtime=state), memory=None)
    exporter = published(build_window(bare))
    assert [values(exporter, f"gotax_{name}") for name in names] == [[-1], [90 << 20], [], []]
    assert values(exporter, "gotax_memory_limit_bytes") == []
    assert values(exporter, "gotax_idle_processors") == []


def test_gc_cycles_do_not_fall_when_another_process_is_the_main_one() -> None:
    """A counter that falls counts as a restart in Prometheus."""
    window = build_window(oversized_load())
    [report] = window.reports
    exporter = PrometheusExporter()
    found = []
    for collections in (None, Collections(3), None, Collections(4)):
        exporter.publish(replace(window, reports=(replace(report, collections=collections),)))
        found.append(values(exporter, "gotax_gc_cycles_total"))
    assert found == [[], [3], [3], [7]]


def test_hostile_labels_are_escaped() -> None:
    """Quotes, backslashes and line breaks in names do not end a label or a line. Escape sequences
    and marks that reorder a line do not reach a terminal (curl, a log of the scraper)."""
    container = Container(key="k", name='a"}\n1 \\', cgroup="\udcff/x")
    load = replace(hostile_load(), process=replace(hostile_load().process, container=container))
    exporter = published(build_window(load))
    name = 'a"}\\x0a1 \\'
    assert values(exporter, "gotax_gomaxprocs", container=name, id="\\udcff/x") == [8]
    container = Container(key="k", name="\x1b]0;x\x07\u202egnp.\u0661\u00e9", cgroup="/x")
    load = replace(load, process=replace(load.process, container=container))
    exporter = published(build_window(load))
    name = "\\x1b]0;x\\x07\\u202egnp.\u0661\u00e9"
    assert values(exporter, "gotax_gomaxprocs", container=name) == [8]


def test_before_the_first_window_only_gotax_itself_is_shown() -> None:
    """An early scrape gets a valid answer."""
    assert set(scraped(PrometheusExporter())) == {
        "gotax_own_cpu_seconds",
        "gotax_resident_memory_bytes",
        "gotax_build_info",
    }


def test_close_removes_the_containers_and_may_be_called_twice() -> None:
    """After it nothing of the last window is shown."""
    exporter = published(story_window())
    exporter.close()
    exporter.close()
    assert "gotax_cpu_seconds" not in scraped(exporter)


def test_the_text_is_rendered_once_per_window() -> None:
    """Two scrapes of one window get the same bytes; a new window gives new ones."""
    exporter = published(story_window())
    first = exporter.expose()
    assert exporter.expose() is first
    exporter.publish(story_window())
    assert exporter.expose() != first


def test_scrapes_during_publishing_see_complete_windows() -> None:
    """Another thread never sees the samples of one window with the CPU time of another."""
    exporter = published(build_window(fitting_load()))
    ratio = values(exporter, "gotax_samples_total")[0] / sum(
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
        samples = families["gotax_samples"].samples[0].value
        seconds = sum(sample.value for sample in families["gotax_cpu_seconds"].samples)
        assert samples / seconds == pytest.approx(ratio)
        if finished:
            break
    publisher.join()
    assert samples == 301 * fitting_load().samples


def test_resident_memory_is_of_this_process(tmp_path: Path) -> None:
    """statm counts pages; 0 if it is missing or invalid."""
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
    window = replace(window, others=(other_report(),))
    return published(window, others=[FixedStream(), Sent(), SentEvents(), HttpCounts()])


def test_containers_without_go_have_series_only_with_a_finding() -> None:
    """Two with equal labels have one: a repeated series would fail the scrape."""
    other = other_report()
    twin = replace(other, use=replace(other.use, samples=1))
    silent = replace(other, findings=(), use=replace(other.use, samples=2))
    exporter = published(replace(story_window(), others=(silent, other, twin)))
    assert values(exporter, "gotax_finding", code="GT020", severity="warning") == [1]
    assert values(exporter, "gotax_finding_held_seconds", code="GT020") == [15]
    assert values(exporter, "gotax_other_threads_ran", container="numbers") == [64]
    assert values(exporter, "gotax_other_throttled_ratio") == [0.8]
    exporter = published(replace(story_window(), others=(silent,)))
    assert values(exporter, "gotax_other_threads_ran") == []


def test_the_stream_has_metrics_only_with_a_collector() -> None:
    """Dropped windows are counted by reason."""
    exporter = published(story_window(), others=[FixedStream()])
    assert values(exporter, "gotax_stream_dropped_windows_total", reason="spool-full") == [7]
    assert values(exporter, "gotax_stream_connected") == [1]
    assert values(exporter, "gotax_spool_reports") == [2]
    assert not any("stream" in name for name in scraped(published(story_window())))


@dataclass(frozen=True)
class Sent:
    """The part of a Delivery that the metrics use."""

    name: str = "otlp"
    sent: int = 4

    def families(self) -> Iterator[OwnFamily]:
        now = Account(9, self.sent, 1000, Counter({"expired": 2}), Counter({"unavailable": 3}))
        return of_backends.families(self.name, now)


@dataclass(frozen=True)
class SentEvents:
    """Events that were sent."""

    def families(self) -> Iterator[OwnFamily]:
        return of_events.families({"created": 1})


def test_metrics_of_a_delivery() -> None:
    """Sent, dropped by reason, failed calls by reason, and waiting."""
    exporter = full_exporter()
    name = {"backend": "otlp"}
    assert values(exporter, "gotax_backend_sent_profiles_total", **name) == [4]
    assert values(exporter, "gotax_backend_sent_bytes_total", **name) == [1000]
    assert values(exporter, "gotax_backend_dropped_profiles_total", reason="expired") == [2]
    assert values(exporter, "gotax_backend_failed_calls_total", reason="unavailable") == [3]
    assert values(exporter, "gotax_backend_waiting_profiles", **name) == [3]
    assert values(published(story_window()), "gotax_backend_waiting_profiles") == []


def test_two_backends_are_one_family_each() -> None:
    """Prometheus refuses a scrape with the same metric twice."""
    others = (Sent(), Sent("parca", 1))
    text = published(story_window(), others=others).expose().decode()
    assert text.count("# TYPE gotax_backend_sent_profiles_total ") == 1
    exporter = published(story_window(), others=others)
    assert values(exporter, "gotax_backend_sent_profiles_total", backend="otlp") == [4]
    assert values(exporter, "gotax_backend_sent_profiles_total", backend="parca") == [1]
    assert values(exporter, "gotax_backend_waiting_profiles") == [3, 6]


def test_the_page_lists_every_metric_with_type_and_labels() -> None:
    """docs/metrics.md matches METRICS, and lists no other metric."""
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
    assert f"no container has more than\n{SERIES_OF_CONTAINER}," in PAGE.read_text()
    assert f"{Exposition().max_series:,}" in PAGE.read_text()
    assert f"{Exposition().grace_s:g} s" in PAGE.read_text()


def test_exported_series_have_the_type_and_labels_of_their_metric() -> None:
    """METRICS matches the output, each metric once."""
    families = scraped(full_exporter())
    assert set(families) == {metric.name for metric in METRICS}
    for metric in METRICS:
        family = families[metric.name]
        assert family.type == metric.kind
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) == set(metric.labels)


def test_the_queries_of_the_page_use_existing_metrics_and_labels() -> None:
    """A query in the documentation must not name a metric that does not exist."""
    queries = "\n".join(re.findall(r"^    (.+)$", PAGE.read_text(), re.MULTILINE))
    used = set(re.findall(r"gotax_\w+", queries))
    assert used <= {metric.series for metric in METRICS}
    assert len(used) > 8
    labels = {label for metric in METRICS for label in metric.labels}
    for listing in re.findall(r"(?:by|on|group_left) \(([\w, ]+)\)", queries):
        assert set(listing.split(", ")) <= labels


def test_every_category_has_its_label_and_group_in_the_series() -> None:
    """The category determines the group, so that a query can sum groups."""
    load = oversized_load()
    runs = tuple(Run(load.runs[0].stack, category, 1) for category in Category)
    family = scraped(published(build_window(replace(load, runs=runs))))["gotax_cpu_seconds"]
    exported = {(s.labels["category"], s.labels["group"]) for s in family.samples}
    assert exported == {(category.label, category.group.value) for category in Category}


@pytest.mark.skipif(PROMTOOL is None, reason="promtool not found: ./setup test")
def test_promtool_finds_no_fault() -> None:
    """Prometheus' own linter of metric names, units and help texts."""
    assert PROMTOOL is not None
    result = subprocess.run(
        [PROMTOOL, "check", "metrics"],
        input=full_exporter().expose(),
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stdout + result.stderr) == (0, b"")
