"""The two ends of one connection: bytes of either go to the other, as fast as it takes them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any, Protocol, TypeAlias

Connection: TypeAlias = Any
"""What the relay calls it. A pipe only hands it back."""


class Relaying(Protocol):
    """What a pipe reports."""

    path: str

    def opened(self, pipe: Pipe, address: object) -> tuple[Connection, str] | None:
        """The connection and the name of its socket. None: there is no place for it."""

    def lost(self, connection: Connection) -> None:
        """It has ended."""

    def received(self, connection: Connection, size: int) -> None:
        """So many bytes came from the peer."""

    def stalled(self, connection: Connection, is_stalled: bool) -> None:
        """Whether the peer takes what is sent to it."""


class Pipe(asyncio.Protocol):
    """The side of the peer."""

    def __init__(self, relay: Relaying) -> None:
        self._relay = relay
        self._relayed: Any = None
        self.transport: Any = None
        self._server: Any = None  # the transport to the server behind
        self._connecting: asyncio.Task[None] | None = None
        self._early = bytearray()
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        opened = self._relay.opened(self, transport.get_extra_info("peername"))
        if opened is None:
            self.transport.abort()
            return
        self._relayed, name = opened
        self._connecting = asyncio.create_task(self._connect(name))

    async def _connect(self, name: str) -> None:
        inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            inner.setblocking(False)
            inner.bind(f"\0{name}")
            loop = asyncio.get_running_loop()
            await loop.sock_connect(inner, self._relay.path)
            self._server, _ = await loop.create_connection(lambda: _Back(self), sock=inner)
        except OSError:
            inner.close()
            self.abort()
            return
        if self.transport.is_closing():
            self._server.abort()
            return
        if self._early:
            self._server.write(bytes(self._early))
            self._early.clear()
        if self._has_ended:
            self.eof_received()

    def data_received(self, data: bytes) -> None:
        self._relay.received(self._relayed, len(data))
        if self._server is None:
            self._early += data  # few bytes: it is a new connection
        elif not self._server.is_closing():
            self._server.write(data)

    def eof_received(self) -> bool:
        self._has_ended = True
        if self._server is not None and self._server.can_write_eof():
            with contextlib.suppress(OSError):
                self._server.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._relayed is not None:
            self._relay.lost(self._relayed)
        if self._connecting is not None and self._server is None:
            self._connecting.cancel()
        if self._server is not None:
            self._server.abort()

    def pause_writing(self) -> None:
        if self._relayed is not None:
            self._relay.stalled(self._relayed, True)
        if self._server is not None:
            self._server.pause_reading()

    def resume_writing(self) -> None:
        if self._relayed is not None:
            self._relay.stalled(self._relayed, False)
        if self._server is not None and not self._server.is_closing():
            self._server.resume_reading()

    def abort(self) -> None:
        self.transport.abort()


class _Back(asyncio.Protocol):
    """The side of the server behind."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe

    def data_received(self, data: bytes) -> None:
        if not self._pipe.transport.is_closing():
            self._pipe.transport.write(data)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._pipe.transport.close()  # what was written is still sent

    def pause_writing(self) -> None:
        if not self._pipe.transport.is_closing():
            self._pipe.transport.pause_reading()

    def resume_writing(self) -> None:
        if not self._pipe.transport.is_closing():
            self._pipe.transport.resume_reading()
