"""Parts of one container with limits of their own have separate rows in every output."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.cli.targets import is_meant
from gotax.exporters import report as document
from gotax.exporters.backends.containerprofile import container_profiles
from gotax.exporters.backends.series import labels_of
from gotax.exporters.pprof import profile_bytes
from gotax.exporters.prometheus import PrometheusExporter
from gotax.exporters.stream import encoding
from gotax.exporters.style import Style
from gotax.exporters.terminal.explain import render_explain
from gotax.process import CpuResources
from gotax.window import Window
from gotax_collector.ingest.decoding import Decoder
from gotax_collector.report import Sender
from prometheus_client.parser import text_string_to_metric_families

from .windows import Load, build_window, named, oversized_load, service_load

DOCKER = ("docker/" + "b" * 64, "docker/" + "c" * 64)


def part(load: Load, nested: str, pid: int, pod: bool) -> Load:
    """The load as a part of its container."""
    whole = load.process.container
    key, cgroup = f"{whole.key}/{nested}", f"{whole.cgroup}/{nested}"
    own = replace(whole, key=key, nested=nested, cgroup=cgroup)
    own = own.named(whole.name, whole.pod if pod else None)
    return replace(load, process=replace(load.process, pid=pid, container=own))


@pytest.fixture(params=[True, False], ids=["pod", "no pod"])
def window(request: pytest.FixtureRequest) -> Window:
    whole = oversized_load()
    if request.param:
        whole = named(whole, "web-1", current=CpuResources(request_cores=1.5))
    parts = [part(whole, nested, pid, request.param) for pid, nested in enumerate(DOCKER, 1)]
    return build_window(whole, *parts)


def test_prometheus_has_series_for_each_part(window: Window) -> None:
    """Docker in a pod: the container's own series keeps its name, the parts have other names."""
    exporter = PrometheusExporter()
    exporter.publish(window)
    families = {f.name: f for f in text_string_to_metric_families(exporter.expose().decode())}
    labels = [sample.labels for sample in families["gotax_gomaxprocs"].samples]
    assert len(labels) == 3
    assert len({tuple(sorted(each.items())) for each in labels}) == 3
    if window.reports[0].container.pod:
        assert {each["container"] for each in labels} == {
            *("app", "app:docker:bbbbbbbbbbbb", "app:docker:cccccccccccc")
        }
    assert {each["id"] for each in labels} == {"000000000000"}


def test_the_series_of_a_unit_do_not_change_with_its_busiest_process() -> None:
    """Processes of one unit in several cgroups: `id` is the unit's cgroup, not the process's."""
    load = service_load()
    exporter = PrometheusExporter()
    for leaf in ("a", "b"):
        cgroup = f"{load.process.container.cgroup}/{leaf}"
        container = replace(load.process.container, cgroup=cgroup)
        moved = replace(load, process=replace(load.process, container=container))
        exporter.publish(build_window(moved))
    families = {f.name: f for f in text_string_to_metric_families(exporter.expose().decode())}
    (sample,) = families["gotax_gomaxprocs"].samples
    assert sample.labels["id"] == "/system.slice/containerd.service"


def test_backends_have_a_profile_for_each_part(window: Window) -> None:
    """Labels and profile ids differ; each profile has only the samples of its part."""
    found = container_profiles(window)
    assert len(found) == 3
    assert len({labels_of(window, each) for each in found}) == 3
    assert len({each.id(window) for each in found}) == 3
    assert profile_bytes(window)


def test_the_collector_distinguishes_the_parts(window: Window) -> None:
    """Their names are valid and different for each part. They do not get the request of the
    container."""
    report = encoding.encode(window)
    report.epoch, report.sequence = 7, 1
    received = Decoder(Sender("agent", "node", "1", "6.1", "amd64")).decode(report, 0, 0)
    shown = [each.identity.container or each.identity.name for each in received.containers]
    assert len(set(shown)) == 3
    assert len({each.identity.key for each in received.containers}) == 3
    if window.reports[0].container.pod:
        assert [each.request_cores for each in received.containers] == [1.5, None, None]


def test_json_and_text_name_the_part(window: Window) -> None:
    """nested_cgroup is null for the container itself; the text has it in its name."""
    rows = document.check_document(window)["containers"]
    assert [row["nested_cgroup"] for row in rows] == [None, *DOCKER]
    text = render_explain(window.reports[1], window, Style())
    assert "docker/bbbbbbbbbbbb" in text
    assert "limit of its own" in " ".join(text.split())


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("b" * 64, [1]),
        ("bbbbbbbb", [1]),
        (DOCKER[1], [2]),
        ("0" * 12, [0, 1, 2]),
        ("ccc0", []),
    ],
)
def test_explain_finds_a_part_by_its_name(window: Window, target: str, parts: list[int]) -> None:
    """By the id of the container in the container, or by its path; the outer id finds the whole
    container. Each part is found by its own name and key."""
    assert [i for i, r in enumerate(window.reports) if is_meant(r, target)] == parts
    for report in window.reports[1:]:
        for name in (report.container.name, report.container.key):
            assert [r for r in window.reports if is_meant(r, name)] == [report]
