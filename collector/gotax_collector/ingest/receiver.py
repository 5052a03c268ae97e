"""The service of proto/gotax/wire/v1/ingest.proto: one stream per agent, on one event loop.

One task reads a stream, another answers it. An error of a stream ends that stream and is counted.
It does not affect other streams.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import grpc
from gotax.wire.v1 import ingest_pb2

from gotax_collector.ingest.decoding import Decoder, parse_hello, parse_request
from gotax_collector.ingest.dictionary_pool import DictionaryPool, to_restart
from gotax_collector.ingest.intake import Intake
from gotax_collector.ingest.limits import Limits, RateLimiter
from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.report import Report, Sender

log = logging.getLogger(__name__)

SERVICE = ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name
HELLO_TIMEOUT_S = 10.0
_LARGE_BYTES = 64 << 10
"""Larger messages are decoded on a thread, so that the event loop can serve other streams."""
_RATE_LIMITERS_MAX = 20_000
_ENDING = "this collector is shutting down"
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

    def check(self, authorization: str, agent: str) -> None:
        """RefusedError: UNAUTHENTICATED, EXPIRED, FORBIDDEN."""


@dataclass(slots=True)
class ReceiverCounters:
    """Counts since the start, for /metrics. ``streams`` is the number of open streams."""

    streams: int = 0
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


class Receiver:
    """The handler of the service. Its methods run on the event loop."""

    def __init__(
        self, identification: Identification, intake: Intake, limits: Limits, guard: Guard | None
    ) -> None:
        self._identification = identification
        self._intake = intake
        self._limits = limits
        self._guard = guard
        self._rate_limiters: dict[str, RateLimiter] = {}
        self._streams: OrderedDict[_Stream, None] = OrderedDict()  # least recently used first
        self._dictionaries = DictionaryPool()
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

    async def _stream(self, _: Any, context: Any) -> None:
        counters = self.counters
        stream = _Stream(context)
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

    async def _serve(self, stream: _Stream) -> None:
        if self.counters.streams > self._limits.streams:
            raise RefusedError(Reason.STREAMS, "this collector has its maximum number of agents")
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

    async def _greet(self, stream: _Stream) -> Sender:
        try:
            data = await asyncio.wait_for(stream.next_message(), HELLO_TIMEOUT_S)
        except TimeoutError as error:
            raise RefusedError(Reason.HELLO_TIMEOUT, "no hello came") from error
        if data is None:
            raise RefusedError(Reason.PROTOCOL, "a stream without a hello")
        hello = parse_request(data)
        if not isinstance(hello, ingest_pb2.Hello):
            raise RefusedError(Reason.PROTOCOL, "a report before the hello")
        sender, _ = parse_hello(hello)
        if self._guard is not None:
            self._guard.check(stream.authorization(), sender.agent)
        stream.agent = sender.agent
        welcome = ingest_pb2.Welcome(
            collector=self._identification.name,
            version=self._identification.version,
            reports_in_flight=self._limits.reports_in_flight,
        )
        await stream.context.write(ingest_pb2.StreamResponse(welcome=welcome))
        log.info("stream began", extra={"agent": sender.agent, "peer": stream.peer})
        return sender

    async def _read_reports(self, stream: _Stream, sender: Sender) -> None:
        decoder = Decoder(sender, self._dictionaries)
        rate_limiter = self._rate_limiter(sender.agent)
        counters = self.counters
        while (data := await stream.next_message()) is not None:
            counters.received_bytes += len(data)
            stream.read += 1
            rate_limiter.take(len(data), time.monotonic())
            report = await self._decode(decoder, data)
            self._streams.move_to_end(stream)
            stream.dictionary_bytes = decoder.dictionary_bytes
            self._keep_within_bounds()
            counters.reports += 1
            counters.containers += len(report.containers)
            counters.stack_counts += len(report.stack_counts)
            began = time.monotonic()
            await self._intake.put(report, partial(self._stored, stream, began))
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
            return self._decode_now(decoder, data)
        return await asyncio.to_thread(self._decode_now, decoder, data)

    def _decode_now(self, decoder: Decoder, data: bytes) -> Report:
        began = time.thread_time()
        try:
            report = parse_request(data)
            if isinstance(report, ingest_pb2.Hello):
                raise RefusedError(Reason.PROTOCOL, "a second hello")
            return decoder.decode(report, len(data), time.time_ns())
        finally:
            self.counters.decode_s += time.thread_time() - began

    def _stored(self, stream: _Stream, began: float) -> None:
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

    async def _refuse(self, stream: _Stream, error: RefusedError) -> None:
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


class _Stream:
    """One agent's stream: how many of its reports were read, and how many are stored."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.peer: str = context.peer()  # gRPC crashes if this is called after the end of the call
        self.agent = ""
        self.read = 0
        self.stored = 0
        self.dictionary_bytes = 0
        self._farewell = ""
        self._changed = asyncio.Event()
        self._goodbye = asyncio.Event()
        self._has_ended = False

    @property
    def unanswered(self) -> int:
        return self.read - self.stored

    def authorization(self) -> str:
        metadata = dict(self.context.invocation_metadata() or ())
        value = metadata.get("authorization", "")
        return value if isinstance(value, str) else ""

    async def next_message(self) -> bytes | None:
        """The next message. None at the end of the stream, or after a goodbye."""
        read = asyncio.ensure_future(self.context.read())
        goodbye = asyncio.ensure_future(self._goodbye.wait())
        try:
            await asyncio.wait((read, goodbye), return_when=asyncio.FIRST_COMPLETED)
            if not read.done():
                return None
            message = read.result()
            return None if message is grpc.aio.EOF else message
        finally:
            read.cancel()
            goodbye.cancel()

    @property
    def is_ending(self) -> bool:
        return self._goodbye.is_set()

    def say_goodbye(self, reason: str) -> None:
        self._farewell = self._farewell or reason
        self._goodbye.set()
        self._changed.set()

    def mark_stored(self) -> None:
        self.stored += 1
        self._changed.set()

    async def some_stored(self) -> None:
        before = self.stored
        while self.stored == before:
            await asyncio.sleep(0.05)

    async def all_stored(self) -> None:
        while self.stored < self.read:
            await asyncio.sleep(0.02)

    def end_answers(self) -> None:
        self._has_ended = True
        self._changed.set()

    async def answer(self) -> None:
        """Send an Ack whenever more reports are stored, and a Goodbye once there is one."""
        acknowledged = 0
        has_said_goodbye = False
        while True:
            if self._goodbye.is_set() and not has_said_goodbye:
                goodbye = ingest_pb2.Goodbye(reason=self._farewell)
                await self.context.write(ingest_pb2.StreamResponse(goodbye=goodbye))
                has_said_goodbye = True
            if self.stored > acknowledged:
                acknowledged = self.stored
                ack = ingest_pb2.Ack(reports=acknowledged)
                await self.context.write(ingest_pb2.StreamResponse(ack=ack))
            elif self._has_ended:
                return
            else:
                await self._changed.wait()
                self._changed.clear()
