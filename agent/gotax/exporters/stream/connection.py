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
from gotax.wire.v1 import ingest_pb2

_METHOD = "/gotax.wire.v1.IngestService/Stream"
_OPTIONS = (
    ("grpc.max_receive_message_length", 64 << 10),
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


Answer: TypeAlias = Welcome | Ack | Goodbye | Ended


@dataclass(frozen=True, slots=True)
class Arrival:
    """An answer and the stream it is of."""

    stream: int
    answer: Answer


class Connection:
    """A channel with one stream. ``Arrival`` s go to ``arrivals``, an ``Ended`` is the last.

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
        self._requests: SimpleQueue[ingest_pb2.StreamRequest | None] = SimpleQueue()
        self._channel = open_channel(endpoint, _OPTIONS)
        self.send(ingest_pb2.StreamRequest(hello=hello))
        method = self._channel.stream_stream(
            _METHOD,
            request_serializer=ingest_pb2.StreamRequest.SerializeToString,
            response_deserializer=ingest_pb2.StreamResponse.FromString,
        )
        self._call = method(
            self._iterate(), metadata=_metadata(endpoint.credentials), wait_for_ready=False
        )
        self._reader = threading.Thread(target=self._read, name="collector", daemon=True)
        self._reader.start()

    def send(self, request: ingest_pb2.StreamRequest) -> None:
        """Does not wait; who calls it bounds how many are under way."""
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
            for response in self._call:
                self._is_open = True
                answer = _answer(response)
                if answer is not None:
                    self._arrivals.put(Arrival(self._number, answer))
        except grpc.RpcError as error:
            ended = _ended(error)
        self._arrivals.put(Arrival(self._number, ended))


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
        return Welcome(welcome.collector, welcome.reports_in_flight)
    if kind == "ack":
        return Ack(response.ack.reports)
    return Goodbye() if kind == "goodbye" else None


def _ended(error: Any) -> Ended:
    """``error`` is the call itself: an RpcError that says more than the type does."""
    trailing = {str(key): str(value) for key, value in error.trailing_metadata() or ()}
    report = trailing.get("gotax-refused-report", "")
    return Ended(
        status=error.code().name.lower().replace("_", "-"),
        text=error.details() or "",
        refused_report=int(report) if report.isascii() and report.isdigit() else None,
        refused_reason=trailing.get("gotax-refused-reason", ""),
    )


def _metadata(credentials: Credentials) -> Headers:
    """Raises UserError also for a token of several words: the collector takes none with a space."""
    if credentials.token_file and " " in read_token(credentials.token_file):
        raise UserError(f"{credentials.token_file} does not hold one token")
    return read_headers(credentials)
