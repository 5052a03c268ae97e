"""The collector's gRPC server, from its start to its graceful end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from gotax.wire.addresses import joined
from gotax.wire.listening import listening_socket
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gotax_collector.errors import CollectorError
from gotax_collector.ingest.intake import Intake
from gotax_collector.ingest.limits import MESSAGE_BYTES_MAX, Limits
from gotax_collector.ingest.receiver import SERVICE, Admission, Guard, Identification, Receiver
from gotax_collector.relay.limits import RelayLimits
from gotax_collector.relay.relay import Relay
from gotax_collector.report import Store
from gotax_collector.security.certificates import Certificates

log = logging.getLogger(__name__)

NEW_CONNECTIONS = 1024
"""Connections that have not said hello. After a restart, so many agents come in ten seconds."""
NEW_BYTES_MAX = 256 << 10
"""What they may send: a TLS handshake with certificates, headers, a hello, and what the window of
a stream holds of the message behind it."""
_OVERHEAD = 256 << 10  # of TLS and HTTP/2 around a message of maximum size
_BACKLOG = 1024
_NEW_S = 30.0
_FRAMING = 64  # overhead around a report of maximum size
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX + _FRAMING),
    ("grpc.max_metadata_size", 16 << 10),
    # Per connection. So the relay knows which stream its bytes are of.
    ("grpc.max_concurrent_streams", 1),
    # Otherwise gRPC reads megabytes ahead of a stream that is not read.
    ("grpc.http2.bdp_probe", 0),
    # gRPC decompresses without a limit: the reports themselves are compressed instead.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),  # detects agents whose network is gone
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)


class ListenError(CollectorError):
    """The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Listening:
    """``certificates`` None: without TLS. ``drain_s``: how long a graceful end may take."""

    address: tuple[str, int]
    certificates: Certificates | None = None
    drain_s: float = 10.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a collector needs. ``ready`` is called with the port once agents can connect."""

    identification: Identification
    store: Store
    limits: Limits
    guard: Guard | None
    ready: Callable[[int, Receiver, Intake], None]


async def serve(listening: Listening, parts: Parts, stop: asyncio.Event) -> bool:
    """Serve until ``stop``. Returns whether all reports are stored. ListenError."""
    intake = Intake(parts.store, parts.limits)
    relay = Relay(_listen(listening.address), _relay_limits(parts.limits))
    admission = Admission(parts.guard, relay)
    receiver = Receiver(parts.identification, intake, parts.limits, admission)
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((receiver.handler(),))
    probes = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    _bind(server, listening.certificates, relay.path)
    intake.start()
    await server.start()
    await relay.start()
    checking = asyncio.create_task(receiver.check_tokens())
    for name in ("", SERVICE):
        await probes.set(name, health_pb2.HealthCheckResponse.SERVING)
    try:
        parts.ready(relay.port, receiver, intake)
    except BaseException:  # a server that was started prints a traceback unless it is stopped
        checking.cancel()
        await server.stop(grace=None)
        await relay.close()
        await intake.close(0)
        raise
    await stop.wait()

    log.info(
        "shutting down", extra={"streams": receiver.counters.streams, "waiting": intake.waiting}
    )
    relay.stop_accepting()
    checking.cancel()
    await probes.enter_graceful_shutdown()
    receiver.say_goodbye()
    is_stored = await intake.close(listening.drain_s)
    if not is_stored:
        log.warning("some reports are not stored", extra={"reports": intake.waiting})
    await server.stop(grace=1.0)  # time for the last acknowledgements
    await relay.close()
    return is_stored


def _listen(address: tuple[str, int]) -> socket.socket:
    try:
        return listening_socket(address, _BACKLOG)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {joined(*address)}: {error.strerror}"
            " (choose another address with --listen)"
        ) from error


def _bind(server: grpc.aio.Server, certificates: Certificates | None, path: str) -> None:
    if certificates is None:
        server.add_insecure_port(f"unix:{path}")
    else:
        server.add_secure_port(f"unix:{path}", certificates.credentials())


def _relay_limits(limits: Limits) -> RelayLimits:
    return RelayLimits(
        connections=limits.streams + NEW_CONNECTIONS,
        new=NEW_CONNECTIONS,
        new_s=_NEW_S,
        new_bytes=NEW_BYTES_MAX,
        unread_bytes=MESSAGE_BYTES_MAX + _OVERHEAD,
        unread_total_bytes=limits.unread_bytes,
    )


def run(listening: Listening, parts: Parts) -> bool:
    """``serve`` until SIGTERM or Ctrl-C. ListenError."""

    async def until_signalled() -> bool:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        return await serve(listening, parts, stop)

    return asyncio.run(until_signalled())
