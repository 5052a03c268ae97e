from __future__ import annotations

import gzip
import re
from collections import Counter
from dataclasses import replace

import pytest
from gotax.category import Category
from gotax.exporters.backends.containerprofile import container_profiles, window_of
from gotax.exporters.backends.parca import write_request
from gotax.exporters.backends.pyroscope import push_request
from gotax.exporters.backends.series import Series, labels_of, series_groups
from gotax.process import Container, PodContainer, Workload
from gotax.window import Window
from gotax.wire.parca.profilestore_pb2 import WriteRawRequest
from gotax.wire.pprof.profile_pb2 import Profile
from gotax.wire.pyroscope.push_pb2 import PushRequest
from hypothesis import given

from .strategies import unhurried, windows
from .windows import (
    build_window,
    hostile_load,
    native_load,
    oversized_load,
    story_window,
)


def all_series(window: Window, max_bytes: int = 1 << 20) -> list[Series]:
    return [series for batch in series_groups(window, max_bytes) for series in batch]


def decoded(series: Series) -> Profile:
    profile: Profile = Profile.FromString(gzip.decompress(series.profile))
    return profile


def by_category(profile: Profile) -> Counter[str]:
    text = profile.string_table
    found: Counter[str] = Counter()
    for sample in profile.sample:
        labels = {text[label.key]: text[label.str] for label in sample.label}
        found[labels["category"]] += sample.value[0]
    return found


def test_each_container_is_a_series_of_its_own() -> None:
    """It has the samples of its report by category, and nothing of other containers."""
    window = story_window()
    found = all_series(window)
    assert len(found) == len(window.reports)
    for series, report in zip(found, window.reports, strict=True):
        assert dict(series.labels)["container"] == report.container.name
        assert by_category(decoded(series)) == {
            category.label: int(report.category_samples[category])
            for category in Category
            if report.category_samples[category]
        }


def test_samples_have_labels_that_the_series_does_not_have() -> None:
    """Category, group and PID; the container is a label of the series, which would clash."""
    [series] = all_series(build_window(oversized_load()))
    profile = decoded(series)
    text = profile.string_table
    keys = {tuple(sorted(text[label.key] for label in s.label)) for s in profile.sample}
    assert keys == {("category", "group", "pid")}
    groups = {
        tuple(text[label.str] for label in s.label if text[label.key] in ("category", "group"))
        for s in profile.sample
    }
    assert ("gc/mark-idle", "gc") in groups


@unhurried
@given(windows())
def test_no_sample_is_lost_in_any_window(window: Window) -> None:
    """With any names; labels are valid for Prometheus."""
    found = all_series(window)
    total = sum(sum(by_category(decoded(series)).values()) for series in found)
    assert total == sum(report.samples for report in window.reports)
    for series in found:
        names = [name for name, _ in series.labels]
        assert names == sorted(set(names))
        assert dict(series.labels)["service_name"]
        for name, value in series.labels:
            assert re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", name)
            assert 0 < len(value.encode()) <= 2048
        assert len(names) <= 30
        assert len(series.profile) < series.size


def test_labels_of_a_pod() -> None:
    """The usual names, and GOMAXPROCS beside the limit for comparison."""
    load = oversized_load()
    pod = PodContainer(
        *("shop", "payments-api-5d9c7-x2x5b", "api", "uid", "node-17", "image", "container"),
        workload=Workload("Deployment", "payments-api"),
    )
    container = replace(load.process.container, pod=pod)
    window = build_window(replace(load, process=replace(load.process, container=container)))
    [source] = container_profiles(window)
    assert dict(labels_of(window, source)) == {
        "__name__": "process_cpu",
        "service_name": "payments-api",
        "namespace": "shop",
        "pod": "payments-api-5d9c7-x2x5b",
        "container": "api",
        "container_id": "000000000000",
        "workload": "Deployment/payments-api",
        "node": "node-17",
        "go_version": "go1.22.5",
        "gomaxprocs": "192",
        "cpu_limit": "1",
        "profiler": "gotax",
    }


def test_a_container_without_a_name_has_a_service_name() -> None:
    """Pyroscope requires one."""
    load = oversized_load()
    process = replace(load.process, container=Container("", "", "/"))
    window = build_window(replace(load, process=process))
    [source] = container_profiles(window)
    assert dict(labels_of(window, source))["service_name"] == "unknown"


def test_hostile_names_are_cut() -> None:
    """A name of a megabyte is shortened."""
    load = hostile_load()
    container = replace(load.process.container, name="\U0001f4a3" * 100_000, unit=None)
    window = build_window(replace(load, process=replace(load.process, container=container)))
    [series] = all_series(window)
    assert max(len(value.encode()) for _, value in series.labels) <= 2048


@pytest.mark.parametrize("max_bytes", [100_000, 3000, 1300, 1])
def test_batches_stay_below_the_limit(max_bytes: int) -> None:
    """Unless a batch is one series with one sample; no sample is lost, and ids are unique."""
    window = story_window()
    total = 0
    ids = []
    for batch in series_groups(window, max_bytes):
        for series in batch:
            ids.append(series.id)
            total += sum(by_category(decoded(series)).values())
        if len(batch) > 1 or len(decoded(batch[0]).sample) > 1:
            assert len(push_request(batch)) <= max_bytes
            assert len(write_request(batch)) <= max_bytes
    assert total == sum(report.samples for report in window.reports)
    assert len(set(ids)) == len(ids)


def test_a_window_without_go_has_no_series() -> None:
    """And no batch: an empty push would be an error."""
    assert list(series_groups(build_window(native_load()), 1000)) == []


def test_a_profile_as_a_window_contains_only_its_own_data() -> None:
    """Its processes, stacks and samples; period and time are those of the whole window."""
    window = story_window()
    for source in container_profiles(window):
        alone = window_of(source, window)
        assert alone.samples.attributed == alone.samples.drained == source.report.samples
        assert alone.processes == source.processes
        assert set(alone.profile.stack.tolist()) == set(range(len(alone.profile.stacks)))
        assert (alone.period_ns, alone.start_unix_ns) == (window.period_ns, window.start_unix_ns)


def test_requests_contain_labels_profile_and_id() -> None:
    """In Pyroscope's form and in Parca's."""
    found = all_series(story_window())
    pushed = PushRequest.FromString(push_request(found))
    written = WriteRawRequest.FromString(write_request(found))
    assert written.normalized
    for series, push, write in zip(found, pushed.series, written.series, strict=True):
        assert tuple((pair.name, pair.value) for pair in push.labels) == series.labels
        assert tuple((pair.name, pair.value) for pair in write.labels.labels) == series.labels
        assert push.samples[0].raw_profile == write.samples[0].raw_profile == series.profile
        assert push.samples[0].ID.replace("-", "") == series.id.hex()
