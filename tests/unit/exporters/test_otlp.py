from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from gotax.category import Category
from gotax.exporters.backends.containerprofile import Batch, container_profiles
from gotax.exporters.backends.otlp import export_batches
from gotax.process import Container, CpuLimit, PodContainer, Workload
from gotax.window import Window
from hypothesis import given
from opentelemetry.proto.collector.profiles.v1development.profiles_service_pb2 import (
    ExportProfilesServiceRequest as Request,
)

from .otlpsamples import Key, attributes, resource, samples_received, samples_sent
from .strategies import unhurried, windows
from .windows import (
    PARSE,
    Run,
    build_window,
    fitting_load,
    hostile_load,
    native_load,
    oversized_load,
    story_window,
)


def decoded(batches: Sequence[Batch]) -> list[Request]:
    return [Request.FromString(batch.body) for batch in batches]


def requests(window: Window, **how: Any) -> list[Request]:
    return decoded(list(export_batches(window, **how)))


def test_the_receiver_has_the_windows_samples() -> None:
    """Container, category, process and stack of every sample of a Go container, and no other
    sample."""
    window = story_window()
    [request] = requests(window)
    assert samples_received(request) == samples_sent(window)
    assert sum(samples_received(request).values()) == sum(
        report.samples for report in window.reports
    )


@unhurried
@given(windows())
def test_no_sample_is_lost_in_any_window(window: Window) -> None:
    """With any names and stacks, samples arrive once, by category."""
    received: Counter[str] = Counter()
    for request in requests(window):
        for (_, category, _, _), count in samples_received_by_category(request).items():
            received[category] += count
    sent: Counter[str] = Counter()
    for (_, category, _, _), count in samples_sent(window).items():
        sent[category] += count
    assert received == sent


def samples_received_by_category(request: Request) -> Counter[tuple[str, str, int, int]]:
    found: Counter[tuple[str, str, int, int]] = Counter()
    for added in request.resource_profiles:
        for profile in added.scope_profiles[0].profiles:
            for sample in profile.samples:
                labels = attributes(request, sample.attribute_indices)
                found["", labels["gotax.category"], 0, sample.stack_index] += sample.values[0]
    return found


def assert_dictionary_rules(request: Request) -> None:
    """The rules in the comments of profiles.proto, at ProfilesDictionary and Sample."""
    tables = request.dictionary
    used: dict[str, set[int]] = {}

    def use(table: str, index: int) -> None:
        assert 0 <= index < len(getattr(tables, table)), (table, index)
        used.setdefault(table, {0}).add(index)

    for name in (
        *("mapping_table", "location_table", "function_table", "link_table"),
        *("attribute_table", "stack_table"),
    ):
        table = getattr(tables, name)
        assert table[0].ByteSize() == 0, f"{name}[0] is not the zero value"
        entries = [entry.SerializeToString(deterministic=True) for entry in table]
        assert len(set(entries)) == len(entries), f"{name} has an entry twice"
    assert tables.string_table[0] == ""
    assert len(set(tables.string_table)) == len(tables.string_table)

    for added in request.resource_profiles:
        for scope in added.scope_profiles:
            for profile in scope.profiles:
                assert len(profile.profile_id) == 16
                for kind in (profile.sample_type, profile.period_type):
                    use("string_table", kind.type_strindex)
                    use("string_table", kind.unit_strindex)
                identities = set()
                for sample in profile.samples:
                    use("stack_table", sample.stack_index)
                    use("link_table", sample.link_index)
                    for index in sample.attribute_indices:
                        assert index > 0
                        use("attribute_table", index)
                    identities.add((sample.stack_index, frozenset(sample.attribute_indices)))
                    assert len(sample.values) == 1
                    assert not sample.timestamps_unix_nano
                assert len(identities) == len(profile.samples), "two samples of one identity"
    for stack in tables.stack_table:
        for index in stack.location_indices:
            assert index > 0
            use("location_table", index)
    for location in tables.location_table:
        use("mapping_table", location.mapping_index)
        for index in location.attribute_indices:
            use("attribute_table", index)
        for line in location.lines:
            use("function_table", line.function_index)
    for mapping in tables.mapping_table:
        use("string_table", mapping.filename_strindex)
        for index in mapping.attribute_indices:
            use("attribute_table", index)
    for function in tables.function_table:
        use("string_table", function.name_strindex)
        use("string_table", function.filename_strindex)
    for entry in tables.attribute_table:
        use("string_table", entry.key_strindex)
        use("string_table", entry.unit_strindex)
    for name, indices in used.items():
        assert indices == set(range(len(getattr(tables, name)))), f"{name}: orphans"


@unhurried
@given(windows())
def test_the_dictionary_keeps_the_rules_of_the_format(window: Window) -> None:
    """Zero values first, unique entries, valid indices, no entry without a reference."""
    for request in requests(window):
        assert_dictionary_rules(request)


def test_long_names_that_are_cut_to_the_same_text_are_one_entry() -> None:
    """Limiting a text must not make two entries of the table equal."""
    load = oversized_load()
    long = "x" * 5000
    first = replace(PARSE[0], frames=(replace(PARSE[0].frames[0], function=long + "A" + long),))
    second = replace(PARSE[0], frames=(replace(PARSE[0].frames[0], function=long + "B" + long),))
    window = build_window(
        replace(
            load,
            runs=(
                Run((first,), Category.USER, 3),
                Run((second,), Category.USER, 4),
            ),
        )
    )
    [request] = requests(window)
    assert_dictionary_rules(request)
    [profile] = request.resource_profiles[0].scope_profiles[0].profiles
    assert [list(sample.values) for sample in profile.samples] == [[7]]
    assert max(map(len, request.dictionary.string_table)) == 4096


def test_only_go_containers_are_sent() -> None:
    """Other programs are not sent, and a window without Go gives no message."""
    assert requests(build_window(native_load())) == []
    [request] = requests(build_window(native_load(), oversized_load()))
    assert [resource(added)["service.name"] for added in request.resource_profiles] == [
        "payments-api"
    ]


def test_a_value_times_the_period_is_cpu_time() -> None:
    """Types and units are those that receivers know for a CPU profile."""
    window = build_window(oversized_load())
    [request] = requests(window)
    [profile] = request.resource_profiles[0].scope_profiles[0].profiles
    text = request.dictionary.string_table
    assert (text[profile.sample_type.type_strindex], text[profile.sample_type.unit_strindex]) == (
        "samples",
        "count",
    )
    assert (text[profile.period_type.type_strindex], text[profile.period_type.unit_strindex]) == (
        "cpu",
        "nanoseconds",
    )
    assert profile.period == window.period_ns
    assert profile.time_unix_nano == window.start_unix_ns
    assert profile.duration_nano == 15_000_000_000
    assert sum(s.values[0] for s in profile.samples) == window.reports[0].samples


def test_resource_attributes_follow_the_semantic_conventions() -> None:
    """The names of pod, container and process are those of other tools; GOMAXPROCS is added."""
    load = oversized_load()
    pod = PodContainer(
        namespace="shop",
        pod="payments-api-5d9c7-x2x5b",
        container="api",
        pod_uid="1c0ffee0-0001-4b1d-9c58-0123456789ab",
        node="node-17",
        image="registry.example.com:5000/payments/api:v1.4.2@sha256:" + "0" * 64,
        kind="container",
        workload=Workload("Deployment", "payments-api"),
    )
    container = replace(load.process.container, pod=pod)
    [request] = requests(
        build_window(replace(load, process=replace(load.process, container=container)))
    )
    named = resource(request.resource_profiles[0])
    assert named == {
        "service.name": "payments-api",
        "service.namespace": "shop",
        "host.name": "node-17",
        "os.type": "linux",
        "container.id": container.container_id,
        "container.name": "api",
        "container.runtime.name": "containerd",
        "container.image.name": "registry.example.com:5000/payments/api",
        "container.image.tags": ["v1.4.2"],
        "k8s.namespace.name": "shop",
        "k8s.pod.name": "payments-api-5d9c7-x2x5b",
        "k8s.pod.uid": "1c0ffee0-0001-4b1d-9c58-0123456789ab",
        "k8s.container.name": "api",
        "k8s.node.name": "node-17",
        "k8s.deployment.name": "payments-api",
        "process.pid": 4242,
        "process.executable.name": "server",
        "process.linux.cgroup": container.cgroup,
        "process.runtime.name": "go",
        "process.runtime.version": "go1.22.5",
        "gotax.gomaxprocs.value": 192,
        "gotax.gomaxprocs.origin": "cpu-count",
        "gotax.gomaxprocs.recommended": 1,
        "gotax.cpu.limit_cores": 1.0,
    }


@pytest.mark.parametrize(
    ("image", "name", "tags"),
    [
        ("nginx", "nginx", None),
        ("nginx:1.27", "nginx", ["1.27"]),
        ("localhost:5000/nginx", "localhost:5000/nginx", None),
        ("a/b@sha256:00", "a/b", None),
        ("", None, None),
    ],
)
def test_images_have_a_name_and_an_optional_tag(
    image: str, name: str | None, tags: list[str] | None
) -> None:
    """A port is not a tag, and a digest is neither."""
    load = oversized_load()
    pod = PodContainer("n", "p", "c", "u", "node", image, "container", Workload("Pod", "p"))
    process = replace(load.process, container=replace(load.process.container, pod=pod))
    [request] = requests(build_window(replace(load, process=process)))
    named = resource(request.resource_profiles[0])
    assert named.get("container.image.name") == name
    assert named.get("container.image.tags") == tags


def test_the_processes_of_a_container_are_distinguished() -> None:
    """Then each sample has a PID, and the resource has none."""
    one, two = oversized_load(), oversized_load()
    two = replace(two, process=replace(two.process, pid=4243))
    [request] = requests(build_window(one, two))
    [added] = request.resource_profiles
    assert "process.pid" not in resource(added)
    per_pid: Counter[int] = Counter()
    for sample in added.scope_profiles[0].profiles[0].samples:
        labels = attributes(request, sample.attribute_indices)
        per_pid[labels["process.pid"]] += sample.values[0]
    assert per_pid == {4242: one.samples, 4243: two.samples}


def test_plain_omits_only_the_attributes_of_gotax() -> None:
    """No attribute starts with gotax; samples and stacks are the same."""
    window = story_window()
    [full], [plain] = requests(window), requests(window, plain=True)
    keys = {plain.dictionary.string_table[e.key_strindex] for e in plain.dictionary.attribute_table}
    keys |= {key for added in plain.resource_profiles for key in resource(added)}
    assert not [key for key in keys if key.startswith("gotax")]
    assert_dictionary_rules(plain)

    def total(request: Request) -> int:
        return sum(
            sample.values[0]
            for added in request.resource_profiles
            for sample in added.scope_profiles[0].profiles[0].samples
        )

    assert total(plain) == total(full)
    assert len(plain.dictionary.stack_table) == len(full.dictionary.stack_table)


@pytest.mark.parametrize("max_bytes", [200_000, 4000, 1500, 1])
def test_a_large_window_is_split(max_bytes: int) -> None:
    """Messages stay below the limit unless they hold a single sample; no sample is lost."""
    window = story_window()
    batches = list(export_batches(window, max_bytes=max_bytes))
    received: Counter[Key] = Counter()
    ids = []
    for batch, request in zip(batches, decoded(batches), strict=True):
        assert_dictionary_rules(request)
        received += samples_received(request)
        profiles = [a.scope_profiles[0].profiles[0] for a in request.resource_profiles]
        ids += [profile.profile_id for profile in profiles]
        assert batch.profiles == len(profiles)
        samples = sum(len(profile.samples) for profile in profiles)
        assert len(batch.body) <= max_bytes or samples == 1
    assert received == samples_sent(window)
    assert len(set(ids)) == len(ids), "a profile's id twice"


def test_equal_windows_give_equal_bytes() -> None:
    """So a message that was sent twice can be recognised, also by its profile ids."""
    assert list(export_batches(story_window())) == list(export_batches(story_window()))
    window = story_window()
    later = replace(window, start_unix_ns=window.start_unix_ns + 1)
    [first], [second] = requests(window), requests(later)
    for one, two in zip(first.resource_profiles, second.resource_profiles, strict=True):
        a, b = (added.scope_profiles[0].profiles[0].profile_id for added in (one, two))
        assert a != b


def test_hostile_names_become_valid_text() -> None:
    """A lone surrogate is escaped: protobuf would refuse it. So are sequences for terminals."""
    load = hostile_load()
    container = replace(load.process.container, unit=None)
    [request] = requests(
        build_window(replace(load, process=replace(load.process, container=container)))
    )
    name = resource(request.resource_profiles[0])["service.name"]
    assert name.startswith("\\x1b[31mred")
    assert "\\udcff" in name


def test_a_container_without_an_id_is_a_service() -> None:
    """A unit of systemd is named by its unit."""
    load = oversized_load()
    container = Container(
        "/system.slice/a.service", "a", "/system.slice/a.service", unit="a.service"
    )
    process = replace(load.process, container=container)
    [request] = requests(build_window(replace(load, process=process, limit=CpuLimit())))
    named = resource(request.resource_profiles[0])
    assert named["service.name"] == "a.service"
    assert not {"container.id", "k8s.pod.uid", "gotax.cpu.limit_cores"} & set(named)


def test_profiles_match_the_reports() -> None:
    """One for each Go container that had a sample, with all its samples."""
    window = story_window()
    found = container_profiles(window)
    assert [source.container for source in found] == [r.container for r in window.reports]
    for source in found:
        assert int(window.profile.samples[source.rows].sum()) == source.report.samples
    assert container_profiles(build_window()) == ()
    idle = replace(build_window(fitting_load()), profile=build_window().profile)
    assert container_profiles(idle) == ()


def test_the_flags_do_not_import_the_senders() -> None:
    """The command line knows the flags without importing grpc or OpenTelemetry's types."""
    code = (
        "import sys; from gotax import cli, daemon; cli.build_parser();"
        "print([m for m in sys.modules if m.split('.')[0] in ('grpc', 'opentelemetry', 'google')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
