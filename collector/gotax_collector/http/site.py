"""The web server: a thread with an event loop, a relay, and uvicorn behind it.

The relay bounds connections, silence, and what a request may send. ``Bounds`` says when a request
begins and ends, and bounds the answers that are not sent yet. Probes and metrics run on the event
loop itself, so that they need no turn and no thread. A site can also be of these alone: on a port
of its own, it is apart from everything that pages do.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from gotax.wire.listening import listening_socket
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from gotax_collector.http.application import Served, application, probes
from gotax_collector.http.tls import WebTls
from gotax_collector.relay.limits import RelayLimits
from gotax_collector.relay.relay import Relay, Relayed

_BACKLOG = 512
_KEEP_ALIVE_S = 5
_PIECE_BYTES = 64 << 10
_REFRESH_S = 5.0
_START_MAX_S = 30.0

PAGES = RelayLimits(
    connections=512,
    new=256,
    per_peer=64,
    new_s=10.0,
    unread_bytes=256 << 10,
    unread_total_bytes=16 << 20,
    unread_s=30.0,
    idle_write_s=20.0,
)


@dataclass(frozen=True, slots=True)
class SiteOptions:
    """``tls`` None: plain HTTP. ``is_of_probes``: only probes and metrics. ``request_s`` is for a
    whole request, with its answer. ``unsent_bytes`` is the memory of all answers that clients have
    not taken yet."""

    tls: WebTls | None = None
    is_of_probes: bool = False
    limits: RelayLimits = PAGES
    request_s: float = 150.0
    unsent_bytes: int = 64 << 20


class Site:
    """Serves on a separate thread until ``close``. OSError: it cannot listen on the address."""

    def __init__(
        self, address: tuple[str, int], served: Served, options: SiteOptions | None = None
    ) -> None:
        self._options = options or SiteOptions()
        # Earlier connections wait for the thread.
        self.relay = Relay(listening_socket(address, _BACKLOG), self._options.limits)
        self.port = self.relay.port
        app = probes(served) if self._options.is_of_probes else application(served)
        self._server = uvicorn.Server(self._config(Bounds(app, self.relay, self._options)))
        self._has_started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="http", daemon=True
        )
        self._thread.start()
        self._has_started.wait(_START_MAX_S)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(3)

    def _config(self, app: ASGIApp) -> uvicorn.Config:
        tls = self._options.tls
        return uvicorn.Config(
            app,
            http=_Protocol,
            log_config=None,
            log_level="warning",  # its start and end are ours to log
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=_KEEP_ALIVE_S,
            ws="none",
            ssl_context_factory=(lambda *_: tls.context) if tls else None,
        )

    async def _serve(self) -> None:
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        inner.bind(self.relay.path)
        inner.listen(_BACKLOG)
        await self.relay.start()
        refreshing = asyncio.create_task(self._refresh())
        self._has_started.set()
        try:
            await self._server.serve(sockets=[inner])
        finally:
            refreshing.cancel()
            await self.relay.close()

    async def _refresh(self) -> None:
        while self._options.tls is not None:
            await asyncio.sleep(_REFRESH_S)
            self._options.tls.refresh()


class _Protocol(H11Protocol):
    """Says which connection of the relay it is: the name of the socket at the other end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        if isinstance(name, bytes):
            self.client = (name.removeprefix(b"\0").decode("ascii", "replace"), 0)


class Bounds:
    """Of one request: its time, and the memory of its answer."""

    def __init__(self, app: ASGIApp, relay: Relay, options: SiteOptions) -> None:
        self._app, self._relay, self._options = app, relay, options
        self._unsent: dict[Relayed, int] = {}  # the oldest answer first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = scope.get("client")
        connection = self._relay.find(client[0]) if client else None
        if connection is None:
            return  # it has ended
        scope["peer"] = connection.group
        connection.accept()
        try:
            async with asyncio.timeout(self._options.request_s):
                await self._app(scope, receive, self._sender(connection, send))
        except TimeoutError:
            connection.close("slow")
        finally:
            self._unsent.pop(connection, None)
            connection.renew()

    def _sender(self, connection: Relayed, send: Send) -> Callable[[Message], Any]:
        async def sending(message: Message) -> None:
            body = cast(bytes, message.get("body", b""))
            if len(body) <= _PIECE_BYTES:
                await send(message)
                return
            has_more = message.get("more_body", False)
            self._unsent[connection] = len(body)
            self._keep_within_bounds(connection)
            for at in range(0, len(body), _PIECE_BYTES):
                piece = body[at : at + _PIECE_BYTES]
                is_last = at + _PIECE_BYTES >= len(body)
                await send({**message, "body": piece, "more_body": has_more or not is_last})

        return sending

    def _keep_within_bounds(self, newest: Relayed) -> None:
        """Close the connections that have not taken their answer for longest."""
        for connection in list(self._unsent):
            if sum(self._unsent.values()) <= self._options.unsent_bytes or connection is newest:
                return
            del self._unsent[connection]
            connection.close("stalled")
