"""A window as a pprof file, for ``go tool pprof``, Pyroscope, Parca, Speedscope and the like.

The format is proto/pprof/profile.proto. Protobuf is imported on first use, so that the daemon does
not load it if it writes no profiles.
"""

from __future__ import annotations

import gzip
from collections import Counter
from typing import TYPE_CHECKING

import gotax
from gotax.category import Category
from gotax.exporters.text import utf8
from gotax.profile import Frame, FrameKind, Location
from gotax.window import Window

if TYPE_CHECKING:
    from gotax.wire.pprof import profile_pb2

WHOLE_ADDRESS_SPACE = 2**64 - 1
"""Our addresses are link-time addresses. In pprof, a mapping from 0 to this address at file offset
0 means the same: its GetBase (internal/elfexec/elfexec.go) then does not change addresses. pprof
never merges two such mappings as neighbours (profile.go, adjacent)."""

COMPRESSION_LEVEL = 6


def profile_bytes(window: Window, *, names_containers: bool = True) -> bytes:
    """The gzipped profile: every attributed sample once, equal bytes for an equal window.

    Values are ``samples`` (count) and ``cpu`` (nanoseconds); labels of a sample are ``category``,
    ``group``, the number ``pid`` and, with ``names_containers``, ``container``. Lost samples are
    only counted in a comment.
    """
    from gotax.wire.pprof import profile_pb2

    return gzip.compress(
        _Encoding(profile_pb2.Profile(), window, names_containers).profile.SerializeToString(
            deterministic=True
        ),
        COMPRESSION_LEVEL,
        mtime=0,
    )


def _modules_by_samples(window: Window) -> list[tuple[str, str]]:
    """The module at the root of each stack, most samples first: mapping 0 is "the" program."""
    samples: Counter[tuple[str, str]] = Counter()
    columns = window.profile
    for stack, n in zip(columns.stack.tolist(), columns.samples.tolist(), strict=True):
        if columns.stacks[stack]:
            root = columns.stacks[stack][-1]
            if root.frames[-1].kind is not FrameKind.KERNEL:
                samples[root.module, root.build_id] += n
    return [module for module, _ in samples.most_common()]


class _Encoding:
    """The tables of a profile under construction. Ids start at 1, texts at 0 for ""."""

    def __init__(
        self, profile: profile_pb2.Profile, window: Window, names_containers: bool
    ) -> None:
        self.profile = profile
        self._names_containers = names_containers
        self._texts = {"": 0}
        self._mappings: dict[tuple[str, str], profile_pb2.Mapping] = {}
        self._functions: dict[tuple[str, str, int], int] = {}
        self._locations: dict[Location, int] = {}
        self._location_by_identity: dict[int, int] = {}  # hashing a Location walks its frames
        self._add_head(window)
        for module, build_id in _modules_by_samples(window):
            self._mapping(module, build_id)
        self._add_samples(window)
        profile.string_table.extend(self._texts)

    def _text(self, text: str) -> int:
        return self._texts.setdefault(utf8(text), len(self._texts))

    def _add_head(self, window: Window) -> None:
        profile = self.profile
        profile.sample_type.add(type=self._text("samples"), unit=self._text("count"))
        profile.sample_type.add(type=self._text("cpu"), unit=self._text("nanoseconds"))
        profile.period_type.type = self._text("cpu")
        profile.period_type.unit = self._text("nanoseconds")
        profile.period = window.period_ns
        profile.time_nanos = window.start_unix_ns
        profile.duration_nanos = round(window.duration_s * 1e9)
        profile.default_sample_type = self._text("cpu")
        comments = [
            f"gotax {gotax.__version__}",
            f"host {window.host}",
            f"samples drained {window.samples.drained}, attributed {window.samples.attributed}",
            *(f"samples lost: {reason} {n}" for reason, n in sorted(window.samples.lost.items())),
        ]
        profile.comment.extend(self._text(comment) for comment in comments)

    def _add_samples(self, window: Window) -> None:
        columns = window.profile
        stacks = [[self._location(location) for location in stack] for stack in columns.stacks]
        category_key, group_key, pid_key = map(self._text, ("category", "group", "pid"))
        categories = [self._text(category.label) for category in Category]
        groups = [self._text(category.group.value) for category in Category]
        container_key = self._text("container") if self._names_containers else 0
        containers = (
            [self._text(process.container.name) for process in window.processes]
            if self._names_containers
            else []
        )
        for process, stack, category, samples in zip(
            columns.process.tolist(),
            columns.stack.tolist(),
            columns.category.tolist(),
            columns.samples.tolist(),
            strict=True,
        ):
            sample = self.profile.sample.add(
                location_id=stacks[stack], value=(samples, samples * window.period_ns)
            )
            sample.label.add(key=category_key, str=categories[category])
            sample.label.add(key=group_key, str=groups[category])
            if containers:
                sample.label.add(key=container_key, str=containers[process])
            sample.label.add(key=pid_key, num=window.processes[process].pid)

    def _location(self, location: Location) -> int:
        known = self._location_by_identity.get(id(location))
        if known is None:
            known = self._locations.get(location) or self._add_location(location)
            self._location_by_identity[id(location)] = known
        return known

    def _add_location(self, location: Location) -> int:
        mapping = self._mapping(location.module, location.build_id)
        number = self._locations[location] = len(self._locations) + 1
        added = self.profile.location.add(
            id=number, mapping_id=mapping.id, address=int(location.address)
        )
        for frame in location.frames:
            added.line.add(function_id=self._function(frame), line=int(frame.line))
            mapping.has_filenames = mapping.has_filenames or frame.file != ""
            mapping.has_line_numbers = mapping.has_line_numbers or frame.line > 0
            mapping.has_inline_frames = mapping.has_inline_frames or frame.kind is FrameKind.GO
        return number

    def _mapping(self, module: str, build_id: str) -> profile_pb2.Mapping:
        mapping = self._mappings.get((module, build_id))
        if mapping is None:
            mapping = self.profile.mapping.add(
                id=len(self._mappings) + 1,
                memory_limit=WHOLE_ADDRESS_SPACE,
                filename=self._text(module),
                build_id=self._text(build_id),
                has_functions=True,  # a location always has frames: nothing is left to look up
            )
            self._mappings[module, build_id] = mapping
        return mapping

    def _function(self, frame: Frame) -> int:
        key = (frame.function, frame.file, frame.start_line)
        known = self._functions.get(key)
        if known is None:
            name = self._text(frame.function)
            known = len(self._functions) + 1
            self.profile.function.add(
                id=known,
                name=name,
                system_name=name,
                filename=self._text(frame.file),
                start_line=int(frame.start_line),
            )
            self._functions[key] = known
        return known
