"""The collector's gRPC server, from its start to its graceful end."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gotax_collector.errors import CollectorError
from gotax_collector.ingest.intake import Intake
from gotax_collector.ingest.limits import MESSAGE_BYTES_MAX, Limits
from gotax_collector.ingest.receiver import SERVICE, Guard, Identification, Receiver
from gotax_collector.report import Store
from gotax_collector.security.certificates import Certificates

log = logging.getLogger(__name__)

_FRAMING = 64  # overhead around a report of maximum size
_OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX + _FRAMING),
    ("grpc.max_metadata_size", 16 << 10),
    (
        "grpc.max_concurrent_streams",
        8,
    ),  # per connection: an agent needs one, a probe another
    # gRPC decompresses without a limit: the reports themselves are compressed instead.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 60_000),  # detects agents whose network is gone
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
)


class ListenError(CollectorError):
    """The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Listening:
    """``certificates`` None: without TLS. ``drain_s``: how long a graceful end may take."""

    address: str
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
    receiver = Receiver(parts.identification, intake, parts.limits, parts.guard)
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((receiver.handler(),))
    probes = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(probes, server)
    names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    port = _bind(server, listening)
    intake.start()
    await server.start()
    for name in ("", SERVICE):
        await probes.set(name, health_pb2.HealthCheckResponse.SERVING)
    parts.ready(port, receiver, intake)
    await stop.wait()

    log.info(
        "shutting down", extra={"streams": receiver.counters.streams, "waiting": intake.waiting}
    )
    await probes.enter_graceful_shutdown()
    receiver.say_goodbye()
    is_stored = await intake.close(listening.drain_s)
    if not is_stored:
        log.warning("some reports are not stored", extra={"reports": intake.waiting})
    await server.stop(grace=1.0)  # time for the last acknowledgements
    return is_stored


def _bind(server: grpc.aio.Server, listening: Listening) -> int:
    try:
        if listening.certificates is None:
            return server.add_insecure_port(listening.address)
        return server.add_secure_port(listening.address, listening.certificates.credentials())
    except RuntimeError as error:
        raise ListenError(
            f"cannot listen on {listening.address} (choose another with --listen)"
        ) from error


def run(listening: Listening, parts: Parts) -> bool:
    """``serve`` until SIGTERM or Ctrl-C. ListenError."""

    async def until_signalled() -> bool:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        return await serve(listening, parts, stop)

    return asyncio.run(until_signalled())
