"""Decodes the bytes of a message into a ``Report``, and checks everything in it.

Pure: no clock and no socket.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from google.protobuf.message import DecodeError, Message
from gotax.wire.v1 import ingest_pb2
from gotax.wire.v1 import report_pb2 as wire

from gotax_collector.ingest.bounds import REPORT, REQUEST, check_bounds
from gotax_collector.ingest.dictionary import TEXT_BYTES_MAX, DecodedDictionary, check_text
from gotax_collector.ingest.dictionary_pool import DictionaryPool
from gotax_collector.ingest.expansion import rows_bytes, stacks_bytes
from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.report import (
    ContainerIdentity,
    Finding,
    Frame,
    Int64Array,
    Observation,
    Report,
    Sender,
    StackCounts,
    UInt64Array,
)

REPORT_BYTES_MAX = 16 << 20
HELLO_TEXT_MAX = 256
SAMPLES_MAX = 1 << 40
TIME_MAX_NS = UCORES_MAX = 1 << 60
DURATION_MAX_NS = 86_400 * 10**9
PERIOD_MAX_NS = 10 * 10**9
CPUS_MAX = 65_536

_ORIGINS = {
    wire.ORIGIN_ENVIRONMENT: "environment",
    wire.ORIGIN_AUTOMAXPROCS: "automaxprocs",
    wire.ORIGIN_CALL: "call",
    wire.ORIGIN_CONTAINER_DEFAULT: "container-default",
    wire.ORIGIN_CPU_COUNT: "cpu-count",
    wire.ORIGIN_FIXED_DEFAULT: "fixed-default",
    wire.ORIGIN_CRIO: "cri-o",
}
_VERDICTS = {
    wire.VERDICT_OVERSIZED: "oversized",
    wire.VERDICT_MISMATCH: "mismatch",
    wire.VERDICT_FITS: "fits",
    wire.VERDICT_UNLIMITED: "unlimited",
    wire.VERDICT_TOO_FEW_SAMPLES: "too-few-samples",
    wire.VERDICT_UNREADABLE: "unreadable",
}
_SEVERITIES = {wire.SEVERITY_INFO: "info", wire.SEVERITY_WARNING: "warning"}
_CONFIDENCES = {
    wire.CONFIDENCE_LOW: "low",
    wire.CONFIDENCE_MEDIUM: "medium",
    wire.CONFIDENCE_HIGH: "high",
}
_UNKNOWN, _NOT_GO = "unknown", "not-go"


@dataclass(frozen=True, slots=True)
class ReportStacks:
    """The stacks of one report: implements ``report.Stacks`` with the stream's dictionary."""

    hashes: UInt64Array
    leaves: Int64Array  # the frame of each hash
    dictionary: DecodedDictionary

    def frames(self, stack_hash: int) -> tuple[Frame, ...]:
        index = int(np.searchsorted(self.hashes, np.uint64(stack_hash)))
        if index == len(self.hashes) or int(self.hashes[index]) != stack_hash:
            raise KeyError(stack_hash)
        return self.dictionary.frames(int(self.leaves[index]))


def parse_request(
    data: bytes, inflated_max: int = REPORT_BYTES_MAX
) -> ingest_pb2.Hello | wire.Report | None:
    """None: a report of more than ``inflated_max``, which this function then has not parsed.

    RefusedError: SYNTAX, SIZE, COUNT, DICTIONARY, PROTOCOL (neither hello nor report).
    """
    check_bounds(data, REQUEST)
    request = ingest_pb2.StreamRequest()
    _parse(request, data)
    kind = request.WhichOneof("message")
    if kind == "hello":
        return request.hello
    if kind == "report":
        return request.report
    if kind == "zlib_report":
        inflated = inflate(request.zlib_report, inflated_max)
        if inflated is None:
            return None
        check_bounds(inflated, REPORT)
        report = wire.Report()
        _parse(report, inflated)
        return report
    raise RefusedError(Reason.PROTOCOL, "a message that is neither a hello nor a report")


def parse_hello(hello: ingest_pb2.Hello) -> tuple[Sender, int]:
    """The sender and its epoch. RefusedError: TEXT."""
    texts = (hello.agent, hello.node, hello.version, hello.kernel, hello.architecture)
    for text in texts:
        check_text(text, HELLO_TEXT_MAX)
    if not hello.agent:
        raise RefusedError(Reason.TEXT, "an agent without a name")
    return Sender(*texts), hello.epoch


def inflate(data: bytes, most: int = REPORT_BYTES_MAX) -> bytes | None:
    """None: more than ``most``, which is less than a report may have.

    RefusedError: SYNTAX (not zlib, or cut off), SIZE (more than ``REPORT_BYTES_MAX``).
    """
    inflater = zlib.decompressobj()
    try:
        report = inflater.decompress(data, most)
    except zlib.error as error:
        raise RefusedError(Reason.SYNTAX, "a report that does not inflate") from error
    if inflater.unconsumed_tail and most < REPORT_BYTES_MAX:
        return None
    if inflater.unconsumed_tail:
        raise RefusedError(Reason.SIZE, "a report that is too long")
    if not inflater.eof or inflater.unused_data:
        raise RefusedError(Reason.SYNTAX, "a report that does not inflate")
    return report


class Decoder:
    """Decodes the reports of one stream, in order. All streams share ``pool``."""

    def __init__(self, sender: Sender, pool: DictionaryPool | None = None) -> None:
        self._sender = sender
        self._pool = pool or DictionaryPool()
        self._dictionary = DecodedDictionary(self._pool)
        self._has_begun = False

    @property
    def dictionary_bytes(self) -> int:
        return self._dictionary.held_bytes

    def decode(self, report: wire.Report, wire_bytes: int, now_unix_ns: int) -> Report:
        """After RefusedError nothing else of this stream can be decoded."""
        if report.dictionary.reset:
            self._dictionary = DecodedDictionary(self._pool)
        elif not self._has_begun:
            raise RefusedError(Reason.PROTOCOL, "a stream that does not begin with a reset")
        self._has_begun = True
        dictionary = self._dictionary
        dictionary.extend(report.dictionary)
        _check_sequence(report)
        window = report.window
        _check_window(window)
        observations = window.containers
        ids = [each.container for each in (*observations, *window.others)]
        if len(set(ids)) != len(ids):
            raise RefusedError(Reason.COUNT, "a container that comes twice in one window")
        # Before anything is built: the report's own size says little of what it becomes.
        rows = rows_bytes(window, dictionary, self._sender)
        stack_counts, stacks, named = _stack_counts(observations, dictionary)
        return Report(
            sender=self._sender,
            epoch=report.epoch,
            sequence=report.sequence,
            received_unix_ns=now_unix_ns,
            start_unix_ns=window.start_unix_ns,
            duration_ns=window.duration_ns,
            period_ns=window.period_ns,
            cpu_count=window.cpu_count,
            samples_drained=window.samples_drained,
            samples_attributed=window.samples_attributed,
            samples_other=window.samples_other,
            lost=_losses(window.lost, dictionary),
            dropped=_losses(window.dropped, dictionary),
            categories=dictionary.categories,
            containers=tuple(_observation(each, dictionary) for each in observations),
            others=tuple(_other(each, dictionary) for each in window.others),
            stack_counts=stack_counts,
            stacks=stacks,
            wire_bytes=wire_bytes,
            rows_bytes=rows,
            stacks_bytes=named,
        )


def _parse(message: Message, data: bytes) -> None:
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise RefusedError(Reason.SYNTAX, "bytes that are no message of the wire") from error


def _at_most(most: int, *values: int) -> None:
    for value in values:
        if not 0 <= value <= most:
            raise RefusedError(Reason.COUNT, "a number that cannot be")


def _check_sequence(report: wire.Report) -> None:
    if not 1 <= report.sequence <= SAMPLES_MAX:
        raise RefusedError(Reason.SEQUENCE, "a sequence number that cannot be")


def _check_window(window: wire.Window) -> None:
    _at_most(1 << 62, window.start_unix_ns)
    _at_most(DURATION_MAX_NS, window.duration_ns)
    _at_most(PERIOD_MAX_NS, window.period_ns)
    _at_most(CPUS_MAX, window.cpu_count)
    _at_most(SAMPLES_MAX, window.samples_drained, window.samples_attributed, window.samples_other)
    lost = sum(loss.count for loss in window.lost)
    if window.samples_drained != window.samples_attributed + lost:
        raise RefusedError(Reason.CONSERVATION, "samples that were drained and went nowhere")


def _losses(
    losses: Sequence[wire.Loss], dictionary: DecodedDictionary
) -> tuple[tuple[str, int], ...]:
    _at_most(SAMPLES_MAX, *(loss.count for loss in losses))
    return tuple((dictionary.text(loss.reason), loss.count) for loss in losses)


def _stack_counts(
    observations: Sequence[wire.Observation], dictionary: DecodedDictionary
) -> tuple[StackCounts, ReportStacks, int]:
    """With the bytes of the rows that name the stacks."""
    counts = [len(observation.stack) for observation in observations]
    distances = np.zeros(sum(counts), np.int64)
    samples = np.zeros(sum(counts), np.int64)
    at = 0
    ids = np.zeros(sum(counts), np.int64)
    for observation, count in zip(observations, counts, strict=True):
        if len(observation.stack_samples) != count:
            raise RefusedError(Reason.COUNT, "columns of different lengths")
        if not count:
            continue
        rows = slice(at, at + count)
        distances[rows] = observation.stack
        if max(observation.stack_samples) > SAMPLES_MAX:
            raise RefusedError(Reason.COUNT, "a number that cannot be")
        samples[rows] = observation.stack_samples
        np.cumsum(distances[rows], out=ids[rows])
        at += count
    if len(ids):
        if int(distances.min()) < 1 or int(samples.min()) < 1:
            raise RefusedError(Reason.COUNT, "a stack that comes twice, or without samples")
        if int(ids.max()) >= len(dictionary.stack_frame):
            raise RefusedError(Reason.REFERENCE, "a stack that was not introduced")
    named = stacks_bytes(dictionary.stack_bytes(ids))
    hashes = dictionary.hashes(ids)
    distinct, first = np.unique(hashes, return_index=True)
    leaves = dictionary.stack_frame.values[ids[first]].astype(np.int64)
    stack_counts = StackCounts(
        container=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        category=dictionary.stack_category.values[ids].astype(np.int32),
        stack_hash=hashes,
        samples=samples,
    )
    return stack_counts, ReportStacks(distinct, leaves, dictionary), named


def _observation(observation: wire.Observation, dictionary: DecodedDictionary) -> Observation:
    category = np.array(observation.category, np.int32)
    samples = list(observation.category_samples)
    if len(category) != len(samples) or len(set(observation.category)) != len(samples):
        raise RefusedError(Reason.COUNT, "columns of different lengths, or a category twice")
    if samples and not 1 <= int(category.min()) <= int(category.max()) <= len(
        dictionary.categories
    ):
        raise RefusedError(Reason.REFERENCE, "a category that was not introduced")
    _at_most(SAMPLES_MAX, *samples)
    _at_most(TIME_MAX_NS, observation.cpu_ns)
    _at_most(SAMPLES_MAX, observation.process_count, observation.samples_without_stack)
    if sum(observation.stack_samples) + observation.samples_without_stack != sum(samples):
        raise RefusedError(Reason.CONSERVATION, "samples that don't add up to their categories")
    gomaxprocs, cpu = observation.gomaxprocs, observation.cpu
    _at_most(UCORES_MAX, cpu.limit_ucores, cpu.request_ucores)
    _at_most(TIME_MAX_NS, cpu.usage_ns, cpu.throttled_ns)
    _at_most(SAMPLES_MAX, cpu.periods, cpu.throttled_periods)
    dictionary.text(gomaxprocs.reason)
    return Observation(
        identity=_identity(observation.container, dictionary),
        cpu_ns=observation.cpu_ns,
        category=category - 1,
        category_samples=np.array(samples, np.int64),
        category_cpu_ns=np.array(divided(observation.cpu_ns, samples), np.int64),
        process_count=observation.process_count,
        gomaxprocs=gomaxprocs.value if gomaxprocs.HasField("value") else None,
        origin=_ORIGINS.get(gomaxprocs.origin, _UNKNOWN),
        expected=gomaxprocs.expected if gomaxprocs.HasField("expected") else None,
        recommended=gomaxprocs.recommended if gomaxprocs.HasField("recommended") else None,
        verdict=_VERDICTS.get(observation.verdict, _UNKNOWN),
        limit_cores=cpu.limit_ucores / 1e6 if cpu.HasField("limit_ucores") else None,
        request_cores=cpu.request_ucores / 1e6 if cpu.HasField("request_ucores") else None,
        usage_ns=cpu.usage_ns if cpu.HasField("usage_ns") else None,
        periods=cpu.periods if cpu.HasField("periods") else None,
        throttled_periods=cpu.throttled_periods if cpu.HasField("throttled_periods") else None,
        throttled_ns=cpu.throttled_ns if cpu.HasField("throttled_ns") else None,
        findings=tuple(_finding(finding, dictionary) for finding in observation.findings),
    )


def _other(observation: wire.Observation, dictionary: DecodedDictionary) -> Observation:
    """A container without Go."""
    if observation.category or observation.stack or observation.cpu_ns:
        raise RefusedError(Reason.COUNT, "a container without Go that has a profile")
    return replace(_observation(observation, dictionary), verdict=_NOT_GO, is_go=False)


def _identity(number: int, dictionary: DecodedDictionary) -> ContainerIdentity:
    known = dictionary.containers
    identity = known[number] if number < len(known) else None
    if identity is None:
        raise RefusedError(Reason.REFERENCE, "a container that was not introduced")
    return identity


def divided(total: int, samples: Sequence[int]) -> list[int]:
    """Divide ``total`` in proportion to ``samples``, into whole numbers that add up to it.

    The running sums are rounded down. Without any samples the first part gets everything.
    """
    every = sum(samples)
    if not every:
        return [total, *[0] * (len(samples) - 1)] if samples else []
    parts, before, seen = [], 0, 0
    for count in samples:
        seen += count
        end = total * seen // every
        parts.append(end - before)
        before = end
    return parts


def _finding(finding: wire.Finding, dictionary: DecodedDictionary) -> Finding:
    code = dictionary.text(finding.code)
    if not code:
        raise RefusedError(Reason.TEXT, "a finding without a code")
    _at_most(TIME_MAX_NS, finding.held_ns)
    has_saving = finding.HasField("saving")
    saving = finding.saving
    if has_saving:
        _at_most(UCORES_MAX, *map(abs, (saving.low_ucores, saving.mid_ucores, saving.high_ucores)))
    has_gomaxprocs = finding.HasField("remedy_gomaxprocs")
    return Finding(
        code=code,
        severity=_SEVERITIES.get(finding.severity, _UNKNOWN),
        confidence=_CONFIDENCES.get(finding.confidence, _UNKNOWN),
        cause=dictionary.text(finding.cause),
        title=dictionary.text(finding.title),
        remedy=dictionary.text(finding.remedy),
        remedy_gomaxprocs=finding.remedy_gomaxprocs if has_gomaxprocs else None,
        saving_low_cores=saving.low_ucores / 1e6 if has_saving else None,
        saving_mid_cores=saving.mid_ucores / 1e6 if has_saving else None,
        saving_high_cores=saving.high_ucores / 1e6 if has_saving else None,
        held_s=finding.held_ns / 1e9,
        evidence=tuple(map(_sentence, finding.evidence)),
        patches=tuple(map(_patch, finding.patches)),
    )


def _sentence(text: str) -> str:
    check_text(text, TEXT_BYTES_MAX)
    return text


def _patch(text: str) -> str:
    if len(text.encode()) > TEXT_BYTES_MAX:
        raise RefusedError(Reason.TEXT, "a text that is too long")
    check_text(text.replace("\n", ""), TEXT_BYTES_MAX)
    return text
