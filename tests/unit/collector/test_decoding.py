"""What a collector makes of what comes: honest reports, future ones, and hostile ones."""

from __future__ import annotations

import contextlib
import resource
import time
import zlib

import numpy as np
import pytest

pytest.importorskip(
    "gotax_collector.ingest.decoding", reason="the extra [collector] is not installed"
)

from gotax.wire.v1 import ingest_pb2
from gotax.wire.v1 import report_pb2 as wire
from gotax_collector.ingest.decoding import Decoder, divided, parse_hello, parse_request
from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.report import Report, Sender
from hypothesis import given, settings
from hypothesis import strategies as st

from .hostile import field, honest, hostile_messages, packed, raw, varint

SENDER = Sender("agent", "node", "1", "6.1", "amd64")
HOSTILE = hostile_messages()


def decoded(data: bytes, decoder: Decoder | None = None) -> Report:
    report = parse_request(data)
    assert isinstance(report, wire.Report)
    return (decoder or Decoder(SENDER)).decode(report, len(data), time.time_ns())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_messages_are_refused_for_their_reason(name: str) -> None:
    """Each within a second and 300 MB, with a text that holds nothing of the message."""
    data, reason = HOSTILE[name]
    began = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RefusedError) as caught:
        decoded(data)
    assert caught.value.reason is reason
    assert str(caught.value).isascii()
    assert len(str(caught.value)) < 80
    assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10


def test_an_honest_message_is_not_refused() -> None:
    """The same way in as the hostile ones take."""
    report = decoded(packed(honest()))
    assert report.key == ("agent", 5, 1)
    assert len(report.containers) == 6


def test_names_that_print_are_kept_as_they_are() -> None:
    """HTML in a function's name is a valid name: the page must escape it."""
    report = honest()
    html = '<img src=x onerror="alert(1)">'
    report.dictionary.strings.append(html)
    report.dictionary.function_name[0] = len(report.dictionary.strings)
    seen = decoded(packed(report))
    functions = {
        frame.function for hash in seen.stacks.hashes for frame in seen.stacks.frames(int(hash))
    }
    assert html in functions


def test_only_a_patch_has_lines() -> None:
    report = honest()
    finding = report.window.containers[0].findings.add(code=1, patches=["# a\nspec:\n"])
    assert decoded(packed(report)).containers[0].findings[-1].patches == ("# a\nspec:\n",)
    for evidence, patches, reason in (
        (["a\nb"], [], Reason.TEXT),
        (["x" * 4097], [], Reason.TEXT),
        ([], ["\x1b[2J"], Reason.TEXT),
        ([], ["\n" * 4097], Reason.TEXT),
        (["x"] * 17, [], Reason.COUNT),
        ([], ["x"] * 9, Reason.COUNT),
    ):
        finding.evidence[:], finding.patches[:] = evidence, patches
        with pytest.raises(RefusedError) as caught:
            decoded(packed(report))
        assert caught.value.reason is reason


def test_fields_of_the_future_are_ignored() -> None:
    """A newer agent may say more: in the request, the report, the window, a container."""
    report = honest()
    future = varint(999 << 3) + varint(7) + field(998, b"more")
    observation = report.window.containers[0].SerializeToString() + future
    del report.window.containers[0]
    window = report.window.SerializeToString() + future + field(9, observation)
    report.ClearField("window")
    data = report.SerializeToString() + field(4, window) + future
    assert len(decoded(raw(data)).containers) == 6


def test_enums_of_the_future_are_unknown() -> None:
    """A verdict that only a newer gotax gives."""
    report = honest()
    report.window.containers[0].verdict = 77  # type: ignore[assignment]
    report.window.containers[0].gomaxprocs.origin = 78  # type: ignore[assignment]
    seen = decoded(packed(report)).containers[0]
    assert (seen.verdict, seen.origin) == ("unknown", "unknown")


def test_one_hash_for_one_stack_whoever_sends_it() -> None:
    """Ids differ between streams; hashes are of what is in the stack."""
    other = honest()
    dictionary = other.dictionary
    old = [0, *dictionary.function_name]
    shift = 5
    dictionary.strings[:] = ["pad"] * shift + list(dictionary.strings)
    for name in ("function_name", "function_file"):
        column = getattr(dictionary, name)
        column[:] = [number + shift if number else 0 for number in column]
    for container in dictionary.containers:
        for descriptor, value in container.ListFields():
            setattr(container, descriptor.name, value + shift)
    for loss in other.window.lost:
        loss.reason += shift
    for observation in other.window.containers:
        observation.gomaxprocs.reason += shift if observation.gomaxprocs.reason else 0
        for finding in observation.findings:
            for name in ("code", "cause", "title", "remedy"):
                number = getattr(finding, name)
                setattr(finding, name, number + shift if number else 0)
    assert old != [0, *dictionary.function_name]
    one, two = decoded(packed(honest())), decoded(packed(other))
    assert np.array_equal(one.stacks.hashes, two.stacks.hashes)
    assert [c.identity for c in one.containers] == [c.identity for c in two.containers]


def test_reports_keep_their_dictionary_when_a_stream_starts_anew() -> None:
    """A store may ask for frames long after."""
    decoder = Decoder(SENDER)
    first = decoded(packed(honest(1)), decoder)
    before = {int(h): first.stacks.frames(int(h)) for h in first.stacks.hashes}
    decoded(packed(honest(2)), decoder)
    assert before == {int(h): first.stacks.frames(int(h)) for h in first.stacks.hashes}
    with pytest.raises(KeyError):
        first.stacks.frames(12345)


@given(st.integers(0, 2**60), st.lists(st.integers(0, 2**40), max_size=28))
def test_cpu_time_is_divided_without_a_rest(total: int, samples: list[int]) -> None:
    """In proportion, to the nanosecond."""
    parts = divided(total, samples)
    assert len(parts) == len(samples)
    assert sum(parts) == (total if samples else 0)
    if sum(samples):
        for part, count in zip(parts, samples, strict=True):
            assert abs(part - total * count // sum(samples)) <= 1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2000), st.booleans())
def test_no_bytes_raise_anything_but_a_refusal(noise: bytes, at: int, inside: bool) -> None:
    """Noise alone, or written over an honest report before it is compressed."""
    plain = bytearray(honest().SerializeToString())
    plain[at : at + len(noise)] = noise
    data = raw(bytes(plain)) if inside else noise
    with contextlib.suppress(RefusedError):
        decoded(data)


def test_a_hello_has_a_name_and_short_texts() -> None:
    """Anything else is refused before it is looked up anywhere."""
    good = ingest_pb2.Hello(agent="node-1", epoch=2**64 - 1, node="node-1", version="0.1")
    assert parse_hello(good) == (Sender("node-1", "node-1", "0.1", "", ""), 2**64 - 1)
    for bad in ({"agent": ""}, {"node": "x" * 257}, {"version": "1\n2"}):
        hello = ingest_pb2.Hello()
        hello.CopyFrom(good)
        for name, value in bad.items():
            setattr(hello, name, value)
        with pytest.raises(RefusedError) as caught:
            parse_hello(hello)
        assert caught.value.reason is Reason.TEXT


def test_many_capabilities_are_refused() -> None:
    """A hello is bounded like everything else."""
    hello = ingest_pb2.Hello(agent="a", capabilities=["x"] * 65)
    with pytest.raises(RefusedError) as caught:
        parse_request(ingest_pb2.StreamRequest(hello=hello).SerializeToString())
    assert caught.value.reason is Reason.COUNT


def test_an_uncompressed_report_is_as_good() -> None:
    """For authors of other agents."""
    data = ingest_pb2.StreamRequest(report=honest()).SerializeToString()
    assert decoded(data).key == ("agent", 5, 1)
    assert len(zlib.compress(data)) < len(data)
