"""A window as OTLP profiles, for OpenTelemetry Collectors and the backends behind them.

The format is that of opentelemetry-proto 1.10 (profiles v1development): one ResourceProfiles per Go
container, one dictionary per message. The comments at ProfilesDictionary in profiles.proto give its
rules: the first entry of every table is the zero value, entries are unique, and each entry is
referred to. docs/backends.md lists the attributes.

A value is a number of samples; the period gives the nanoseconds of CPU time per sample. The
OpenTelemetry eBPF profiler sends the same, and receivers treat it as CPU time.

The package opentelemetry-proto is imported on first use: only an agent that sends OTLP needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import gotax
from gotax.category import Category
from gotax.exporters.backends.containerprofile import Batch, ContainerProfile, container_profiles
from gotax.exporters.text import bounded
from gotax.process import Process
from gotax.profile import Frame, Location, Stack
from gotax.window import Window

if TYPE_CHECKING:
    from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2 as service
    from opentelemetry.proto.common.v1 import common_pb2 as common
    from opentelemetry.proto.profiles.v1development import profiles_pb2 as profiles

MAX_BYTES = 4 * 1024 * 1024 - 64 * 1024
"""Receivers accept 4 MiB by default (grpc-go's MaxRecvMsgSize, after decompression)."""

MAX_TEXT = 4096
WHOLE_ADDRESS_SPACE = 2**64 - 1
"""Addresses are link-time addresses, which have a meaning without a mapping."""

Value = str | int | float | tuple[str, ...]

_CATEGORIES = tuple(Category)
_WORKLOADS = {
    "Deployment": "deployment",
    "ReplicaSet": "replicaset",
    "ReplicationController": "replicationcontroller",
    "StatefulSet": "statefulset",
    "DaemonSet": "daemonset",
    "Job": "job",
    "CronJob": "cronjob",
}


def export_batches(
    window: Window, *, plain: bool = False, max_bytes: int = MAX_BYTES
) -> Iterator[Batch]:
    """ExportProfilesServiceRequests of at most ``max_bytes``, equal bytes for an equal window.

    ``plain`` omits what is specific to gotax: the attributes that start with ``gotax.``. A single
    sample that does not fit gives a batch that is too large.
    """
    yield from _batches(window, container_profiles(window), plain, max_bytes)


def _batches(
    window: Window, chosen: Sequence[ContainerProfile], plain: bool, max_bytes: int
) -> Iterator[Batch]:
    if not chosen:
        return
    body = _request(window, chosen, plain).SerializeToString(deterministic=True)
    if len(body) <= max_bytes or (len(chosen) == 1 and len(chosen[0].rows) == 1):
        yield Batch(body, len(chosen))
        return
    if len(chosen) == 1:
        chosen = chosen[0].halves()
    # The estimated number of parts: a part that is still too large is split again.
    count = -(-len(chosen) // (len(body) // max_bytes + 1))
    for first in range(0, len(chosen), count):
        yield from _batches(window, chosen[first : first + count], plain, max_bytes)


def _request(
    window: Window, chosen: Sequence[ContainerProfile], plain: bool
) -> service.ExportProfilesServiceRequest:
    from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2

    request = profiles_service_pb2.ExportProfilesServiceRequest()
    tables = _Tables(request.dictionary)
    for source in chosen:
        added = request.resource_profiles.add()
        for key, value in resource_attributes(window, source, plain):
            _set_value(added.resource.attributes.add(key=key).value, value)
        scope = added.scope_profiles.add()
        scope.scope.name = "gotax"
        scope.scope.version = gotax.__version__
        _add_profile(scope.profiles.add(), tables, window, source, plain)
    tables.finish()
    return request


def _add_profile(
    profile: profiles.Profile,
    tables: _Tables,
    window: Window,
    source: ContainerProfile,
    plain: bool,
) -> None:
    profile.sample_type.type_strindex = tables.text("samples")
    profile.sample_type.unit_strindex = tables.text("count")
    profile.period_type.type_strindex = tables.text("cpu")
    profile.period_type.unit_strindex = tables.text("nanoseconds")
    profile.period = window.period_ns
    profile.time_unix_nano = max(0, window.start_unix_ns)
    profile.duration_nano = round(window.duration_s * 1e9)
    profile.profile_id = source.id(window)

    # Stack and set of attributes identify a sample, so each combination appears once.
    samples: Counter[tuple[int, tuple[int, ...]]] = Counter()
    attributes: dict[tuple[int, int], tuple[int, ...]] = {}
    columns, rows = window.profile, source.rows
    for process, stack, category, count in zip(
        columns.process[rows].tolist(),
        columns.stack[rows].tolist(),
        columns.category[rows].tolist(),
        columns.samples[rows].tolist(),
        strict=True,
    ):
        chosen = attributes.get((process, category))
        if chosen is None:
            of_process = window.processes[process] if len(source.processes) > 1 else None
            chosen = attributes[process, category] = tuple(
                tables.attribute(key, value)
                for key, value in _sample_attributes(_CATEGORIES[category], of_process, plain)
            )
        samples[tables.stack(columns.stacks[stack]), chosen] += count
    for (stack_index, indices), count in samples.items():
        profile.samples.add(stack_index=stack_index, attribute_indices=indices, values=(count,))


def _sample_attributes(
    category: Category, process: Process | None, plain: bool
) -> Iterator[tuple[str, Value]]:
    """``process`` is None if the resource already identifies it."""
    if not plain:
        yield "gotax.category", category.label
        yield "gotax.group", category.group.value
    if process is not None:
        yield "process.pid", process.pid


def resource_attributes(
    window: Window, source: ContainerProfile, plain: bool = False
) -> Iterator[tuple[str, Value]]:
    """Names and values by OpenTelemetry's semantic conventions; unknown ones are omitted.

    Of ``process.*`` only the PID belongs to a single process. It is absent if several had a sample.
    The others describe the process with the most samples.
    """
    container, main = source.container, source.report.main_process
    pod = container.pod
    named: dict[str, Value | None] = {
        "service.name": pod.workload.name if pod else container.unit or container.name,
        "service.namespace": pod.namespace if pod else None,
        "host.name": window.host,
        "os.type": "linux",
        "container.id": container.container_id,
        "container.runtime.name": container.runtime,
        "k8s.pod.uid": pod.pod_uid if pod else container.pod_uid,
    }
    if pod:
        named |= {
            "container.name": pod.container,
            "k8s.container.name": pod.container,
            "k8s.pod.name": pod.pod,
            "k8s.namespace.name": pod.namespace,
            "k8s.node.name": pod.node,
        }
        name, tag = _image(pod.image)
        named["container.image.name"] = name
        named["container.image.tags"] = (tag,) if tag else None
        if kind := _WORKLOADS.get(pod.workload.kind):
            named[f"k8s.{kind}.name"] = pod.workload.name
    named["process.executable.name"] = main.command
    named["process.linux.cgroup"] = container.cgroup
    if len(source.processes) == 1:
        named["process.pid"] = source.processes[0].pid
    named["process.runtime.name"] = "go"
    named["process.runtime.version"] = main.build.version if main.build else None
    if not plain:
        found = main.gomaxprocs
        named["gotax.gomaxprocs.value"] = found.value if found else None
        named["gotax.gomaxprocs.origin"] = found.origin.value if found else None
        named["gotax.gomaxprocs.recommended"] = found.recommended if found else None
        named["gotax.cpu.limit_cores"] = source.report.limit.limit_cores
    for key, value in named.items():
        if value is not None and value not in ("", ()):
            yield key, value


def _image(reference: str) -> tuple[str, str]:
    """Name and tag of ``registry:5000/name:tag@sha256:...``."""
    reference = reference.partition("@")[0]
    name, _, tag = reference.rpartition(":")
    return (name, tag) if name and "/" not in tag else (reference, "")


def _set_value(target: common.AnyValue, value: Value) -> None:
    if isinstance(value, str):
        target.string_value = bounded(value, MAX_TEXT)
    elif isinstance(value, int):
        target.int_value = value
    elif isinstance(value, float):
        target.double_value = value
    else:
        for text in value:
            target.array_value.values.add().string_value = bounded(text, MAX_TEXT)


class _Tables:
    """The dictionary of a message under construction.

    Each table finds its entries by value; index 0 is the zero value.
    """

    def __init__(self, dictionary: profiles.ProfilesDictionary) -> None:
        self._dictionary = dictionary
        for table in (
            *(dictionary.mapping_table, dictionary.location_table, dictionary.function_table),
            *(dictionary.link_table, dictionary.attribute_table, dictionary.stack_table),
        ):
            table.add()
        self._texts = {"": 0}
        self._attributes: dict[tuple[int, type, Any], int] = {}
        self._mappings = {(0, ""): 0}
        self._functions = {(0, 0, 0): 0}
        self._locations: dict[tuple[Any, ...], int] = {}
        self._stacks: dict[tuple[int, ...], int] = {(): 0}
        self._known: dict[int, int] = {}  # by id(): hashing a Location walks its frames
        self._known_stacks: dict[int, int] = {}

    def finish(self) -> None:
        self._dictionary.string_table.extend(self._texts)

    def text(self, text: str) -> int:
        known = self._texts.get(text)
        if known is None:
            known = self._texts.setdefault(bounded(text, MAX_TEXT), len(self._texts))
        return known

    def attribute(self, key: str, value: Value) -> int:
        if isinstance(value, str):
            value = bounded(value, MAX_TEXT)
        identity = (self.text(key), type(value), value)
        known = self._attributes.get(identity)
        if known is None:
            known = self._attributes[identity] = len(self._dictionary.attribute_table)
            _set_value(self._dictionary.attribute_table.add(key_strindex=identity[0]).value, value)
        return known

    def stack(self, stack: Stack) -> int:
        known = self._known_stacks.get(id(stack))
        if known is None:
            indices = tuple(
                self._known.get(id(location)) or self._location(location) for location in stack
            )
            known = self._stacks.get(indices)
            if known is None:
                known = self._stacks[indices] = len(self._dictionary.stack_table)
                self._dictionary.stack_table.add(location_indices=indices)
            self._known_stacks[id(stack)] = known
        return known

    def _location(self, location: Location) -> int:
        mapping = self._mapping(location.module, location.build_id)
        lines = tuple((self._function(frame), int(frame.line)) for frame in location.frames)
        kind = self.attribute("profile.frame.type", location.frames[0].kind.value)
        identity = (mapping, int(location.address), lines, kind)
        known = self._locations.get(identity)
        if known is None:
            known = self._locations[identity] = len(self._dictionary.location_table)
            added = self._dictionary.location_table.add(
                mapping_index=mapping, address=int(location.address), attribute_indices=(kind,)
            )
            for function, line in lines:
                added.lines.add(function_index=function, line=line)
        self._known[id(location)] = known
        return known

    def _mapping(self, module: str, build_id: str) -> int:
        identity = (self.text(module), bounded(build_id, MAX_TEXT))
        known = self._mappings.get(identity)
        if known is None:
            known = self._mappings[identity] = len(self._dictionary.mapping_table)
            added = self._dictionary.mapping_table.add(
                memory_limit=WHOLE_ADDRESS_SPACE, filename_strindex=identity[0]
            )
            if build_id:
                key = "process.executable.build_id.gnu"
                added.attribute_indices.append(self.attribute(key, build_id))
        return known

    def _function(self, frame: Frame) -> int:
        identity = (self.text(frame.function), self.text(frame.file), int(frame.start_line))
        known = self._functions.get(identity)
        if known is None:
            known = self._functions[identity] = len(self._dictionary.function_table)
            self._dictionary.function_table.add(
                name_strindex=identity[0],
                filename_strindex=identity[1],
                start_line=identity[2],
            )
        return known
