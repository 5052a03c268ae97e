"""One stream to a collector over gRPC; what comes of it is put into a queue.

This module is imported only where there is a collector: gRPC takes some 20 MB.
"""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeAlias

import grpc

import gotax
from gotax.errors import UserError
from gotax.exporters.credentials import Credentials, Headers, read_headers, read_token
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.grpcchannel import open_channel
from gotax.wire.parsing import parsed
from gotax.wire.v1 import ingest_pb2

_METHOD = "/gotax.wire.v1.IngestService/Stream"
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 10),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.compression_enabled_algorithms_bitset", 1),  # gRPC inflates without a bound
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),  # a new connection for each: that is what balances
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_GRACE_S = 0.2


@dataclass(frozen=True, slots=True)
class Welcome:
    """``reports_in_flight`` 0: the collector does not say."""

    collector: str
    reports_in_flight: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The first ``reports`` reports of the stream are stored."""

    reports: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The collector ends: it takes no more."""


@dataclass(frozen=True, slots=True)
class Ended:
    """``status`` is gRPC's (``unavailable``); ``refused_report``: which one may not come again."""

    status: str
    text: str
    refused_report: int | None = None
    refused_reason: str = ""


MALFORMED = "malformed"
"""The status of a stream whose collector answered something that is not of the wire."""
FLOODED = "flooded"
"""The same where it answered more than anything that was sent can explain."""
_ANSWERS_WAITING_MAX = 256
_ANSWERS_MAX, _ANSWERS_PER_REQUEST = 1000, 4
_TEXT_MAX = 256
_NUMBER_DIGITS_MAX = 15
_READ_ERRORS = (ValueError, TypeError, AttributeError, UnicodeError, OverflowError, KeyError)

Answer: TypeAlias = Welcome | Ack | Goodbye | Ended


@dataclass(frozen=True, slots=True)
class Arrival:
    """An answer and the stream it is of."""

    stream: int
    answer: Answer


class Connection:
    """A channel with one stream. ``Arrival`` s go to ``arrivals``, an ``Ended`` is the last,
    whatever the collector answers.

    UserError where a certificate or the token cannot be read.
    """

    def __init__(
        self,
        number: int,
        endpoint: Endpoint,
        hello: ingest_pb2.Hello,
        arrivals: SimpleQueue[Arrival | None],
    ) -> None:
        self._number = number
        self._arrivals = arrivals
        self._is_open = False  # something has come
        self._sent = 0
        self._requests: SimpleQueue[ingest_pb2.StreamRequest | None] = SimpleQueue()
        self._channel = open_channel(endpoint, _OPTIONS)
        self.send(ingest_pb2.StreamRequest(hello=hello))
        method: grpc.StreamStreamMultiCallable[ingest_pb2.StreamRequest, bytes]
        method = self._channel.stream_stream(
            _METHOD,
            request_serializer=ingest_pb2.StreamRequest.SerializeToString,
            # As bytes: gRPC ends a stream without a reason if they are no message.
            response_deserializer=None,
        )
        self._call = method(
            self._iterate(), metadata=_metadata(endpoint.credentials), wait_for_ready=False
        )
        self._reader = threading.Thread(target=self._read, name="collector", daemon=True)
        self._reader.start()

    def send(self, request: ingest_pb2.StreamRequest) -> None:
        """Does not wait; who calls it bounds how many are under way."""
        self._sent += 1
        self._requests.put(request)

    def finish(self) -> None:
        """Nothing more is sent; what was sent is still answered."""
        self._requests.put(None)

    def close(self) -> None:
        """A stream that was finished and has its last answers ends by itself, a moment later."""
        self.finish()
        self._reader.join(_GRACE_S if self._is_open else 0)
        self._call.cancel()
        self._channel.close()
        self._reader.join(1.0)

    def _iterate(self) -> Iterator[ingest_pb2.StreamRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        ended = Ended("ok", "")
        try:
            ended = self._read_answers() or ended
        except grpc.RpcError as error:
            ended = _ended(error)
        except _READ_ERRORS as error:
            # Nothing above raises these. A stream without an end would be one that is not read.
            ended = Ended(MALFORMED, f"the answers cannot be read ({type(error).__name__})")
        self._arrivals.put(Arrival(self._number, ended))

    def _read_answers(self) -> Ended | None:
        """Until the stream ends. What it was ended for, if the collector did not end it."""
        has_welcome = False
        for count, data in enumerate(self._call):
            most = _ANSWERS_MAX + _ANSWERS_PER_REQUEST * self._sent
            # The exporter takes them as fast as they come. What waits here is a flood.
            if count > most or self._arrivals.qsize() >= _ANSWERS_WAITING_MAX:
                self._call.cancel()
                return Ended(FLOODED, "more answers than there can be")
            response = parsed(ingest_pb2.StreamResponse, data)
            if response is None:
                self._call.cancel()
                return Ended(MALFORMED, "an answer that is no message of the wire")
            answer = _answer(response)
            if answer is None:
                continue
            if isinstance(answer, Welcome):
                if has_welcome:
                    continue
                has_welcome = True
            self._is_open = True
            self._arrivals.put(Arrival(self._number, answer))
        return None


def hello(agent: str, node: str, epoch: int) -> ingest_pb2.Hello:
    machine = platform.machine()
    return ingest_pb2.Hello(
        agent=agent,
        epoch=epoch,
        node=node,
        version=gotax.__version__,
        kernel=os.uname().release,
        architecture=_ARCHITECTURES.get(machine, machine),
    )


def _answer(response: ingest_pb2.StreamResponse) -> Answer | None:
    """None: something that only a newer gotax knows."""
    kind = response.WhichOneof("message")
    if kind == "welcome":
        welcome = response.welcome
        return Welcome(welcome.collector[:_TEXT_MAX], welcome.reports_in_flight)
    if kind == "ack":
        return Ack(response.ack.reports)
    return Goodbye() if kind == "goodbye" else None


def _ended(error: Any) -> Ended:
    """``error`` is the call itself: an RpcError that says more than the type does.

    Everything in it is the collector's: texts are cut off, and a number is one or it is not there.
    """
    trailing: dict[str, str] = {}
    for key, value in error.trailing_metadata() or ():
        if isinstance(key, str) and isinstance(value, str) and key.startswith("gotax-"):
            trailing[key] = value[:_TEXT_MAX]
    report = trailing.get("gotax-refused-report", "")
    is_number = len(report) <= _NUMBER_DIGITS_MAX and report.isascii() and report.isdigit()
    code = error.code()
    return Ended(
        status=code.name.lower().replace("_", "-") if code is not None else "unknown",
        text=str(error.details() or "")[:_TEXT_MAX],
        refused_report=int(report) if is_number else None,
        refused_reason=trailing.get("gotax-refused-reason", ""),
    )


def _metadata(credentials: Credentials) -> Headers:
    """Raises UserError also for a token of several words: the collector takes none with a space."""
    if credentials.token_file and " " in read_token(credentials.token_file):
        raise UserError(f"{credentials.token_file} does not hold one token")
    return read_headers(credentials)
