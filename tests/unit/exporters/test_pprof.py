from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
from gotax.category import Category
from gotax.exporters.pprof import profile_bytes
from gotax.profile import FrameKind
from gotax.window import Window
from gotax.wire.pprof.profile_pb2 import Profile
from hypothesis import given

from .strategies import unhurried, windows
from .windows import (
    MALLOC,
    Run,
    Setting,
    build_window,
    go_location,
    kernel_location,
    oversized_load,
    story_window,
)

LABELS = [category.label for category in Category]


def decoded(data: bytes) -> Profile:
    profile: Profile = Profile.FromString(gzip.decompress(data))
    return profile


@unhurried
@given(windows())
def test_every_attributed_sample_is_in_the_file_once(window: Window) -> None:
    """The values of the samples add up to the window's samples and to its CPU time."""
    profile = decoded(profile_bytes(window))
    assert sum(sample.value[0] for sample in profile.sample) == window.samples.attributed
    assert sum(s.value[1] for s in profile.sample) == window.samples.attributed * window.period_ns


@unhurried
@given(windows())
def test_samples_decode_to_the_original_stacks(window: Window) -> None:
    """The ids of a sample lead to the original names, files, lines, modules and labels."""
    profile = decoded(profile_bytes(window))
    text = profile.string_table
    locations = {location.id: location for location in profile.location}
    functions = {function.id: function for function in profile.function}
    mappings = {mapping.id: mapping for mapping in profile.mapping}
    assert len(profile.sample) == len(window.profile)
    for row, sample in enumerate(profile.sample):
        stack = window.profile.stacks[window.profile.stack[row]]
        process = window.processes[window.profile.process[row]]
        assert len(sample.location_id) == len(stack)
        for location_id, original in zip(sample.location_id, stack, strict=True):
            location = locations[location_id]
            mapping = mappings[location.mapping_id]
            assert location.address == original.address
            assert text[mapping.filename] == escaped(original.module)
            assert text[mapping.build_id] == escaped(original.build_id)
            assert mapping.has_functions
            for line, frame in zip(location.line, original.frames, strict=True):
                function = functions[line.function_id]
                assert line.line == frame.line
                assert function.start_line == frame.start_line
                assert text[function.name] == escaped(frame.function)
                assert text[function.filename] == escaped(frame.file)
        labels = {text[label.key]: label for label in sample.label}
        assert text[labels["category"].str] == LABELS[window.profile.category[row]]
        assert text[labels["container"].str] == escaped(process.container.name)
        assert labels["pid"].num == process.pid


def escaped(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


@unhurried
@given(windows())
def test_tables_keep_the_rules_of_the_format(window: Window) -> None:
    """Text 0 is "", texts are unique, ids are unique and never 0."""
    profile = decoded(profile_bytes(window))
    assert profile.string_table[0] == ""
    assert len(set(profile.string_table)) == len(profile.string_table)
    for table in (profile.mapping, profile.location, profile.function):
        ids = [entry.id for entry in table]
        assert 0 not in ids
        assert len(set(ids)) == len(ids)


def test_the_head_describes_the_measurement() -> None:
    """Types, period, time, duration and losses are in the head of the file."""
    window = story_window()
    profile = decoded(profile_bytes(window))
    text = profile.string_table
    types = [(text[t.type], text[t.unit]) for t in profile.sample_type]
    assert types == [("samples", "count"), ("cpu", "nanoseconds")]
    assert (text[profile.period_type.type], text[profile.period_type.unit]) == types[1]
    assert text[profile.default_sample_type] == "cpu"
    assert profile.period == window.period_ns
    assert profile.time_nanos == window.start_unix_ns
    assert profile.duration_nanos == 15_000_000_000
    assert [text[comment] for comment in profile.comment][1:] == [
        "host node-17",
        "samples drained 1249, attributed 1248",
        "samples lost: no-process 1",
    ]


def test_equal_windows_give_equal_bytes() -> None:
    """The file depends only on the window: no clock, no order of a set."""
    assert profile_bytes(story_window()) == profile_bytes(story_window())


def test_equal_locations_of_different_stacks_are_written_once() -> None:
    """Locations are shared if they are equal, not only if they are identical."""
    process = oversized_load().process
    load = oversized_load()
    one, other = go_location("main.run"), go_location("main.run")
    assert one is not other
    runs = (
        Run((one,), Category.USER, 1),
        Run((go_location("main.leaf"), other), Category.USER, 2),
    )
    window = build_window(type(load)(process, runs))
    assert len(decoded(profile_bytes(window)).location) == 2


def test_the_first_mapping_is_the_program_not_the_kernel() -> None:
    """Tools treat mapping 0 as the program, even if the leaf of the first sample is in the
    kernel."""
    load = oversized_load()
    runs = (Run((kernel_location("futex_wake"), *MALLOC), Category.SCHED_WAKE, 5),)
    profile = decoded(profile_bytes(build_window(type(load)(load.process, runs))))
    names = [profile.string_table[mapping.filename] for mapping in profile.mapping]
    assert names == ["/app/server", "[kernel.kallsyms]"]
    assert [m.has_line_numbers for m in profile.mapping] == [True, False]
    assert MALLOC[0].frames[0].kind is FrameKind.GO


def test_a_window_without_samples_is_a_valid_empty_profile() -> None:
    """It has a head and no sample."""
    profile = decoded(profile_bytes(build_window(setting=Setting(host=""))))
    assert len(profile.sample) == 0
    assert len(profile.sample_type) == 2


def test_importing_the_exporter_does_not_import_protobuf() -> None:
    """So the daemon can import it without loading protobuf."""
    code = "import gotax.exporters.pprof, sys; sys.exit('google.protobuf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def story_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pprof") / "story.pb.gz"
    path.write_bytes(profile_bytes(story_window()))
    return path


def pprof(*arguments: str) -> str:
    command = ["go", "tool", "pprof", "-symbolize=none", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.toolchain
def test_pprof_computes_the_same_totals(story_file: Path) -> None:
    """``go tool pprof -top`` shows the flat and cumulative samples of the window, inlines
    marked."""
    shown = {}
    for line in pprof(
        "-top", "-sample_index=samples", "-nodecount=500", str(story_file)
    ).splitlines():
        words = line.split(maxsplit=5)
        if len(words) == 6 and words[1].endswith("%"):
            shown[words[5].removesuffix(" (inline)")] = (int(words[0]), int(words[3]))
    expected: dict[str, tuple[int, int]] = {"hash_search": (318, 318)}
    for report in story_window().reports:
        for share in report.functions:
            flat, cumulative = expected.get(share.function, (0, 0))
            expected[share.function] = (
                flat + share.flat_samples,
                cumulative + share.cumulative_samples,
            )
    assert shown == expected


@pytest.mark.toolchain
def test_pprof_shows_categories_and_containers_as_tags(story_file: Path) -> None:
    """``-tags`` sums samples by category, container and pid."""
    tags = pprof("-tags", "-sample_index=samples", str(story_file))
    assert "category: Total 1248" in tags
    for text in ("gc/mark-idle", "scheduler/find-work", "payments-api-v2", ": 4242"):
        assert text in tags
    focused = pprof("-top", "-sample_index=samples", "-tagfocus=category=gc/", str(story_file))
    assert "runtime.scanobject" in focused
    assert "json" not in focused


@pytest.mark.toolchain
def test_pprof_sees_files_lines_start_lines_and_inlined_frames(story_file: Path) -> None:
    """``-raw`` prints each location with its chain of inlined frames, innermost first."""
    raw = pprof("-raw", str(story_file))
    lines = raw.splitlines()
    start = next(i for i, line in enumerate(lines) if "encoding/json.Unmarshal" in line)
    assert "/src/app/main.go:63" in lines[start]
    assert "s=40" in lines[start]
    assert "main.parse" in lines[start + 1]
    assert "/app/server 9f3c2a [FN][FL][LN][IN]" in raw
    assert "[kernel.kallsyms]  [FN]" in raw
