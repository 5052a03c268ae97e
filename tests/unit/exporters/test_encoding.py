"""Windows as reports of the wire format, decoded by the collector."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from gotax.category import Category
from gotax.exporters.stream import encoding
from gotax.exporters.stream.interning import SentDictionary
from gotax.process import CpuResources, Origin, PodContainer, Workload
from gotax.window import Window
from gotax.wire.v1 import report_pb2 as wire
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip(
    "gotax_collector.ingest.decoding", reason="the extra [collector] is not installed"
)

from gotax_collector.ingest.decoding import Decoder
from gotax_collector.query.wording import origin_text
from gotax_collector.refusal import RefusedError
from gotax_collector.report import Report, Sender

from .strategies import unhurried, windows
from .windows import (
    PARSE,
    Run,
    build_window,
    fitting_load,
    other_report,
    oversized_load,
    story_window,
)

SENDER = Sender("agent", "node", "1", "6.1", "amd64")


def report_of(window: Window, sequence: int = 1) -> wire.Report:
    report = encoding.encode(window)
    report.epoch, report.sequence = 7, sequence
    return report


def received(report: wire.Report) -> Report:
    return Decoder(SENDER).decode(report, 0, 0)


def sampled(window: Window) -> Counter[tuple[str, str, tuple[str, ...]]]:
    """Samples by container, category and functions, root first, of a window's Go containers."""
    found: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    profile = window.profile
    rows = zip(profile.process, profile.stack, profile.category, profile.samples, strict=True)
    for process, stack, category, samples in rows:
        owner = window.processes[process]
        if owner.is_go:
            frames = [f.function for location in profile.stacks[stack] for f in location.frames]
            found[owner.container.key, Category(category).label, tuple(reversed(frames))] += samples  # type: ignore[call-arg]
    return found


def resampled(report: Report) -> Counter[tuple[str, str, tuple[str, ...]]]:
    found: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    of = report.stack_counts
    columns = (of.container, of.category, of.stack_hash, of.samples)
    for container, category, stack, samples in zip(*(c.tolist() for c in columns), strict=True):
        frames = report.stacks.frames(stack) if stack else ()
        key = report.containers[container].identity.key
        label = report.categories[category].label
        found[key, label, tuple(frame.function for frame in frames)] += samples
    return found


@pytest.mark.parametrize("origin", Origin)
def test_every_origin_arrives_and_has_words(origin: Origin) -> None:
    """CRI-O's was sent as that of the environment."""
    load = fitting_load()
    assert load.process.gomaxprocs is not None
    known = replace(load.process.gomaxprocs, origin=origin)
    window = build_window(replace(load, process=replace(load.process, gomaxprocs=known)))
    (observed,) = received(report_of(window)).containers
    assert observed.origin == origin.value
    assert (origin_text(observed.origin) == origin_text("")) == (origin is Origin.UNKNOWN)


def test_the_collector_decodes_the_contents_of_a_window() -> None:
    """Samples by container, category and stack; GOMAXPROCS, limits, findings, throttling."""
    window = story_window()
    report = received(report_of(window))
    assert resampled(report) == sampled(window)
    assert report.samples_drained == window.samples.drained
    assert dict(report.lost) == window.samples.lost
    assert len(report.containers) == len(window.reports)
    for observed, original in zip(report.containers, window.reports, strict=True):
        main = original.main_process
        assert main.gomaxprocs is not None
        assert observed.cpu_ns == window.cpu_ns_of(original)
        assert int(observed.category_cpu_ns.sum()) == observed.cpu_ns
        assert int(observed.category_samples.sum()) == original.samples
        assert observed.gomaxprocs == main.gomaxprocs.value
        assert observed.origin == main.gomaxprocs.origin.value
        assert observed.expected == main.gomaxprocs.expected
        assert observed.recommended == main.gomaxprocs.recommended
        assert observed.limit_cores == original.limit.limit_cores
        assert observed.throttled_ns == original.usage.throttled_ns
        assert observed.verdict == original.verdict.value
        assert [f.code for f in observed.findings] == [f.code for f in original.findings]
        for sent, finding in zip(observed.findings, original.findings, strict=True):
            assert sent.evidence == tuple(evidence.text for evidence in finding.evidence)
            assert sent.patches == finding.remedy.patches
        assert observed.identity.go_version == (main.build.version if main.build else "")


def test_containers_without_go_are_apart() -> None:
    """With their findings, limit and throttling, also on a stream, and without CPU time of Go."""
    other = other_report()
    silent = replace(other, findings=())
    window = replace(story_window(), others=(other, silent))
    for sent in (report_of(window), SentDictionary().intern(report_of(window))):
        report = received(sent)
        assert len(report.containers) == len(window.reports)
        (found,) = report.others
        assert (found.verdict, found.is_go, found.cpu_ns) == ("not-go", False, 0)
        assert (found.identity.name, found.identity.command) == ("numbers", "python")
        assert (found.limit_cores, found.periods, found.throttled_periods) == (1.0, 150, 120)
        assert found.usage_ns == 9_000_000_000
        assert [(f.code, f.severity) for f in found.findings] == [("GT020", "warning")]
        assert found.findings[0].patches == ("OPENBLAS_NUM_THREADS=1\n",)


@pytest.mark.parametrize("what", ["cpu_ns", "category", "twice"])
def test_a_container_without_go_has_no_profile(what: str) -> None:
    """Nor may it be one of the Go containers of the same window."""
    sent = report_of(replace(story_window(), others=(other_report(),)))
    if what == "cpu_ns":
        sent.window.others[0].cpu_ns = 1
    elif what == "category":
        sent.window.others[0].category.append(1)
        sent.window.others[0].category_samples.append(1)
    else:
        sent.window.others[0].container = sent.window.containers[0].container
    with pytest.raises(RefusedError):
        received(sent)


def test_a_pod_has_all_its_names() -> None:
    """Namespace, pod, container, workload, image and request come from Kubernetes."""
    load = oversized_load()
    pod = PodContainer(
        *("shop", "web-5d9c-x2x5b", "web", "1c0f", "node-1", "registry.example.com/web:1.4"),
        kind="container",
        workload=Workload("Deployment", "web"),
        current=CpuResources(0.25, 1.0),
    )
    container = replace(load.process.container, pod=pod)
    load = replace(load, process=replace(load.process, container=container))
    observed = received(report_of(build_window(load))).containers[0]
    identity = observed.identity
    assert (identity.namespace, identity.pod, identity.container) == ("shop", pod.pod, "web")
    assert (identity.workload_kind, identity.workload_name) == ("Deployment", "web")
    assert identity.image == "registry.example.com/web:1.4"
    assert observed.request_cores == 0.25


@unhurried
@given(windows())
def test_the_collector_accepts_every_window(window: Window) -> None:
    """With any names and numbers: the agent sends only what the wire format allows."""
    keys = [report.container.key for report in window.reports]
    report = received(report_of(window))
    assert len(report.containers) == len(keys)
    assert int(report.stack_counts.samples.sum()) == sum(each.samples for each in window.reports)


@unhurried
@given(st.lists(windows(), min_size=1, max_size=4))
def test_interned_reports_have_the_same_contents(stream: list[Window]) -> None:
    """The reports of one stream, decoded, equal the originals; only new entries are sent."""
    dictionary, decoder = SentDictionary(), Decoder(SENDER)
    for number, window in enumerate(stream, 1):
        whole = report_of(window, number)
        short = dictionary.intern(whole)
        there, here = decoder.decode(short, 0, 0), received(whole)
        assert resampled(there) == resampled(here)
        assert [c.identity for c in there.containers] == [c.identity for c in here.containers]
        assert [c.findings for c in there.containers] == [c.findings for c in here.containers]
        assert (there.lost, there.dropped) == (here.lost, here.dropped)
        assert np.array_equal(there.stacks.hashes, here.stacks.hashes)


def test_known_entries_are_not_sent_again() -> None:
    """The second report of the same window has an empty dictionary."""
    dictionary = SentDictionary()
    first = dictionary.intern(report_of(story_window()))
    second = dictionary.intern(report_of(story_window(), 2))
    assert first.dictionary.reset
    assert second.dictionary == wire.Dictionary()
    assert len(second.SerializeToString()) < len(first.SerializeToString()) / 4


def test_a_full_dictionary_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The report after it is complete in itself."""
    monkeypatch.setattr("gotax.exporters.stream.interning.ENTRIES_MAX", 10)
    dictionary = SentDictionary()
    dictionary.intern(report_of(story_window()))
    again = dictionary.intern(report_of(story_window(), 2))
    assert again.dictionary.reset
    assert resampled(received(again)) == sampled(story_window())


def test_too_many_stacks_are_dropped_and_counted() -> None:
    """Those with the fewest samples; the samples of the categories stay complete."""
    load = replace(
        oversized_load(),
        runs=tuple(Run(PARSE[cut:], Category.USER, 10 + cut) for cut in range(len(PARSE))),
    )
    window = build_window(load)
    report = encoding.encode(window, stack_counts_max=2)
    report.epoch, report.sequence = 1, 1
    kept = received(report)
    assert len(kept.stack_counts) == 2
    assert (
        sorted(kept.stack_counts.samples.tolist()) == sorted(window.profile.samples.tolist())[-2:]
    )
    assert int(kept.containers[0].category_samples.sum()) == window.reports[0].samples
    lost = report.window.containers[0].samples_without_stack
    assert lost == window.reports[0].samples - int(kept.stack_counts.samples.sum())


def test_stacks_that_differ_only_by_addresses_are_one() -> None:
    """A flame graph shows functions."""
    twin = tuple(replace(location, address=location.address + 4) for location in PARSE)
    runs = (Run(PARSE, Category.USER, 3), Run(twin, Category.USER, 4))
    report = received(report_of(build_window(replace(oversized_load(), runs=runs))))
    assert report.stack_counts.samples.tolist() == [7]


def test_dropped_windows_are_reported() -> None:
    """By reason, since the start of the epoch."""
    report = report_of(story_window())
    encoding.add_dropped(report, {"spool-full": 3, "killed": 1})
    assert received(report).dropped == (("killed", 1), ("spool-full", 3))
