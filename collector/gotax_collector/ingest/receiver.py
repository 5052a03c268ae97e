"""The service of proto/gotax/wire/v1/ingest.proto: one stream per agent, on one event loop.

One task reads a stream (stream.py), another answers it. An error of a stream ends that stream and
is counted. It does not affect other streams.

The token is checked before a byte of a message is read, and the agent's name after its hello. Until
then the connection is a new one of the relay, with little time, few bytes and few places. Only
agents that have said hello count against the maximum.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import grpc
from gotax.wire.v1 import ingest_pb2

from gotax_collector.ingest.clocks import Clocks
from gotax_collector.ingest.decoding import REPORT_BYTES_MAX, Decoder, parse_hello, parse_request
from gotax_collector.ingest.dictionary_pool import DictionaryPool, to_restart
from gotax_collector.ingest.intake import Intake
from gotax_collector.ingest.limits import Limits, RateLimiter
from gotax_collector.ingest.namesakes import Namesakes
from gotax_collector.ingest.stream import Stream
from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.relay.relay import Relay
from gotax_collector.report import Report, Sender
from gotax_collector.security.tokens import Grant

log = logging.getLogger(__name__)

SERVICE = ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name
HELLO_TIMEOUT_S = 10.0
_LARGE_BYTES = 64 << 10
"""Larger messages are decoded on a thread, so that the event loop can serve other streams. On one
thread, because decoding the largest report takes 300 MB for a moment."""
_LARGE_INFLATED_BYTES = 512 << 10
_SILENT_S = 120.0
"""If all places are taken, an agent that sent nothing for so long gives its place to another."""
_CHECK_S = 1.0
"""How often the tokens of open streams are checked."""
_UNIX = "unix-abstract:"
_RATE_LIMITERS_MAX = 20_000
_ENDING = "this collector is shutting down"
_SILENT = "this stream was silent, and the collector has its maximum number of agents"
_RESTART = "the dictionaries of all agents take too much memory: start a new stream"

_STATUS = {
    Reason.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.EXPIRED: grpc.StatusCode.UNAUTHENTICATED,
    Reason.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    Reason.RATE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.SIZE: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.DICTIONARY: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.STREAMS: grpc.StatusCode.UNAVAILABLE,
    Reason.HELLO_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
}
_OF_ONE_REPORT = frozenset(Reason) - {
    *(Reason.UNAUTHENTICATED, Reason.EXPIRED, Reason.FORBIDDEN),
    *(Reason.RATE, Reason.STREAMS, Reason.HELLO_TIMEOUT),
}
"""Reasons that lie in the report: the same report would be refused again."""


class Guard(Protocol):
    """Decides which agents may stream."""

    def admit(self, authorization: str) -> None:
        """Before the agent's name is known. RefusedError: UNAUTHENTICATED, EXPIRED."""

    def check(self, authorization: str, agent: str) -> Grant:
        """RefusedError: UNAUTHENTICATED, EXPIRED, FORBIDDEN."""

    def hold(self, grant: Grant) -> None:
        """Whether a grant is still valid. The same errors."""

    def refresh(self) -> None:
        """Read what has changed."""


@dataclass(slots=True)
class ReceiverCounters:
    """Counts since the start, for /metrics. ``streams`` is the number of open streams, ``agents``
    of those that have said hello."""

    streams: int = 0
    agents: int = 0
    streams_opened: int = 0
    streams_renewed: int = 0
    streams_ended: Counter[str] = field(default_factory=Counter)
    reports: int = 0
    containers: int = 0
    stack_counts: int = 0
    received_bytes: int = 0
    decode_s: float = 0.0
    acknowledged: int = 0
    ack_s: float = 0.0
    refused: Counter[Reason] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Identification:
    """What the collector sends in its welcome."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Admission:
    """Who may stream. ``guard`` None: everyone. ``relay`` knows the connections."""

    guard: Guard | None
    relay: Relay


class Receiver:
    """The handler of the service. Its methods run on the event loop."""

    def __init__(
        self,
        identification: Identification,
        intake: Intake,
        limits: Limits,
        admission: Admission,
    ) -> None:
        self._identification = identification
        self._intake = intake
        self._limits = limits
        self._guard = admission.guard
        self.relay = admission.relay
        self._rate_limiters: dict[str, RateLimiter] = {}
        self._streams: OrderedDict[Stream, None] = OrderedDict()  # least recently used first
        self._dictionaries = DictionaryPool()
        self._large = ThreadPoolExecutor(1, "decoder")
        self._decoding = asyncio.Lock()
        self.namesakes = Namesakes()
        self.clocks = Clocks()
        self.counters = ReceiverCounters()

    @property
    def dictionary_bytes(self) -> int:
        return self._dictionaries.held_bytes

    def handler(self) -> grpc.GenericRpcHandler:
        """gRPC passes messages as bytes, so that those that do not parse are counted too."""
        method: grpc.RpcMethodHandler[bytes, ingest_pb2.StreamResponse] = (
            grpc.stream_stream_rpc_method_handler(
                self._stream,
                request_deserializer=None,
                response_serializer=ingest_pb2.StreamResponse.SerializeToString,
            )
        )
        return grpc.method_handlers_generic_handler(SERVICE, {"Stream": method})

    def say_goodbye(self) -> None:
        """Stop reading. What was read is still acknowledged."""
        for stream in self._streams:
            stream.say_goodbye(_ENDING)

    async def check_tokens(self) -> None:
        """End the streams whose token has expired or was removed, until this task is cancelled."""
        while self._guard is not None:
            await asyncio.sleep(_CHECK_S)
            self._guard.refresh()
            for stream in list(self._streams):
                if stream.grant is not None:
                    try:
                        self._guard.hold(stream.grant)
                    except RefusedError as error:
                        stream.refuse(error)

    async def _stream(self, _: Any, context: Any) -> None:
        counters = self.counters
        peer = context.peer()  # gRPC crashes if this is called after the end of the call
        stream = Stream(context, self.relay.find(peer.removeprefix(_UNIX)))
        self._streams[stream] = None
        counters.streams += 1
        counters.streams_opened += 1
        ended = "cancelled"  # by the agent, the network, or gRPC (a message that is too long)
        try:
            await self._serve(stream)
            ended = "done"
        except RefusedError as error:
            ended = "refused"
            counters.refused[error.reason] += 1
            await self._refuse(stream, error)
        finally:
            del self._streams[stream]
            counters.streams -= 1
            counters.agents -= bool(stream.agent)
            self.namesakes.remove(stream)
            stream.leave()
            counters.streams_ended[ended] += 1
            log.info(
                "stream ended",
                extra={
                    "agent": stream.agent,
                    "peer": stream.peer,
                    "how": ended,
                    "reports": stream.read,
                    "stored": stream.stored,
                },
            )

    async def _serve(self, stream: Stream) -> None:
        if self._guard is not None:
            self._guard.admit(stream.authorization())  # before anything is read
        sender = await self._greet(stream)
        answers = asyncio.create_task(stream.answer())
        try:
            await self._read_reports(stream, sender)
            await stream.all_stored()
        except asyncio.CancelledError:
            answers.cancel()  # the agent is gone
            raise
        finally:
            # Send the Acks of what is stored before the status. If the agent is gone, this fails,
            # which is fine.
            stream.end_answers()
            await asyncio.gather(answers, return_exceptions=True)

    async def _greet(self, stream: Stream) -> Sender:
        try:
            data = await asyncio.wait_for(stream.next_message(), HELLO_TIMEOUT_S)
        except TimeoutError as error:
            raise RefusedError(Reason.HELLO_TIMEOUT, "no hello came") from error
        if data is None:
            raise RefusedError(Reason.PROTOCOL, "a stream without a hello")
        hello = parse_request(data)
        if not isinstance(hello, ingest_pb2.Hello):
            raise RefusedError(Reason.PROTOCOL, "a report before the hello")
        sender, stream.epoch = parse_hello(hello)
        if self._guard is not None:
            stream.grant = self._guard.check(stream.authorization(), sender.agent)
        self._make_place()
        stream.accept(sender.agent)
        self.counters.agents += 1
        welcome = ingest_pb2.Welcome(
            collector=self._identification.name,
            version=self._identification.version,
            reports_in_flight=self._limits.reports_in_flight,
        )
        await stream.context.write(ingest_pb2.StreamResponse(welcome=welcome))
        log.info("stream began", extra={"agent": sender.agent, "peer": stream.peer})
        return sender

    def _make_place(self) -> None:
        """RefusedError: STREAMS. A stream that is silent gives its place to another."""
        agents = [stream for stream in self._streams if stream.agent and not stream.is_ending]
        if len(agents) < self._limits.streams:
            return
        oldest = agents[0]
        if time.monotonic() - oldest.used_s < _SILENT_S:
            raise RefusedError(Reason.STREAMS, "this collector has its maximum number of agents")
        oldest.say_goodbye(_SILENT)

    async def _read_reports(self, stream: Stream, sender: Sender) -> None:
        decoder = Decoder(sender, self._dictionaries)
        rate_limiter = self._rate_limiter(sender.agent)
        counters = self.counters
        while (data := await stream.next_report()) is not None:
            counters.received_bytes += len(data)
            rate_limiter.take(len(data), time.monotonic())
            # One at a time, and only with room behind it. Otherwise a thousand streams could each
            # hold a decoded report, which is larger than what was sent.
            async with self._decoding:
                await self._intake.room()
                report = await self._decode(decoder, data)
                expanded = report.rows_bytes + report.stacks_bytes
                rate_limiter.take_expanded(expanded, time.monotonic())
                began = time.monotonic()
                await self._intake.put(report, partial(self._stored, stream, began))
            self._streams.move_to_end(stream)
            self.namesakes.note(stream)
            self.clocks.note(report)
            stream.dictionary_bytes = decoder.dictionary_bytes
            self._keep_within_bounds()
            counters.reports += 1
            counters.containers += len(report.containers)
            counters.stack_counts += len(report.stack_counts)
            del data, report
            stream.taken()
            if stream.unanswered >= 2 * self._limits.reports_in_flight:
                await stream.some_stored()  # the agent ignores reports_in_flight: wait

    def _keep_within_bounds(self) -> None:
        """End streams with a goodbye if needed. The agent's next stream has a new dictionary."""
        taken, most = self._dictionaries.held_bytes, self._limits.dictionary_bytes
        if taken <= most:
            return
        staying = [stream for stream in self._streams if not stream.is_ending]
        held = [stream.dictionary_bytes for stream in staying]
        taken -= sum(stream.dictionary_bytes for stream in self._streams if stream.is_ending)
        for index in to_restart(held, taken, most):
            staying[index].say_goodbye(_RESTART)
            self.counters.streams_renewed += 1

    async def _decode(self, decoder: Decoder, data: bytes) -> Report:
        if len(data) < _LARGE_BYTES:
            report = self._decode_now(decoder, data, _LARGE_INFLATED_BYTES)
            if report is not None:
                return report
        loop = asyncio.get_running_loop()
        decoded = await loop.run_in_executor(
            self._large, self._decode_now, decoder, data, REPORT_BYTES_MAX
        )
        assert decoded is not None
        return decoded

    def _decode_now(self, decoder: Decoder, data: bytes, inflated_max: int) -> Report | None:
        """None: it is larger than ``inflated_max``."""
        began = time.thread_time()
        try:
            report = parse_request(data, inflated_max)
            if report is None:
                return None
            if isinstance(report, ingest_pb2.Hello):
                raise RefusedError(Reason.PROTOCOL, "a second hello")
            return decoder.decode(report, len(data), time.time_ns())
        finally:
            self.counters.decode_s += time.thread_time() - began

    def _stored(self, stream: Stream, began: float) -> None:
        self.counters.acknowledged += 1
        self.counters.ack_s += time.monotonic() - began
        stream.mark_stored()

    def _rate_limiter(self, agent: str) -> RateLimiter:
        """The same object after a reconnect: otherwise a reconnect would reset the limit."""
        known = self._rate_limiters.pop(agent, None) or RateLimiter(self._limits, time.monotonic())
        self._rate_limiters[agent] = known
        if len(self._rate_limiters) > _RATE_LIMITERS_MAX:
            del self._rate_limiters[next(iter(self._rate_limiters))]
        return known

    async def _refuse(self, stream: Stream, error: RefusedError) -> None:
        log.warning(
            "refused",
            extra={
                "agent": stream.agent,
                "peer": stream.peer,
                "reason": error.reason.value,
                "what": str(error),
                "report": stream.read,
            },
        )
        metadata = [("gotax-refused-reason", error.reason.value)]
        if stream.read and error.reason in _OF_ONE_REPORT:
            metadata.append(("gotax-refused-report", str(stream.read)))
        status = _STATUS.get(error.reason, grpc.StatusCode.INVALID_ARGUMENT)
        await stream.context.abort(status, str(error), tuple(metadata))
