"""The HTTP server of the agent.

/metrics renders the last Window; /healthz says whether windows still come; /readyz, if one has.

Every pod of a cluster can connect to it, so clients are untrusted. One thread with an event loop
serves all connections. A request and its response have a deadline each, whatever a client sends or
reads meanwhile. The number of connections is bounded, in all and for one address. If there is no
room for a new connection, the server drops the one that has been idle for longest, of the address
with the most connections. A new client is never refused, so a probe is answered also while others
hold as many connections as they can, even from the same address.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import socket
import struct
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from http import HTTPStatus

from gotax.errors import UserError
from gotax.exporters.metrics.http import HttpCounts
from gotax.exporters.prometheus import CONTENT_TYPE, Exposition, PrometheusExporter
from gotax.wire.addresses import joined
from gotax.wire.listening import listening_socket

log = logging.getLogger("gotax")

_BACKLOG = 1024  # a client for which there is no place comes back only after a second
_STALE_WINDOWS = 3
_PATHS = ("/metrics", "/healthz", "/readyz")
_NOT_FOUND = " ".join(_PATHS).encode() + b"\n"
_REQUEST_LINE = re.compile(rb"(?:\r?\n)*([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP/1\.[01]\r?\n")
_END_OF_HEADER, _END_BYTES_MAX = re.compile(rb"[^\r\n]\r?\n\r?\n"), 5
_RECEIVED_BYTES = 4096
_SENT_BYTES = 64 << 10
_IGNORED_BYTES_MAX = 64 << 10  # after the request
# The kernel's buffers count as memory of the agent's container. Without a bound it lets each
# connection have megabytes.
_RECEIVE_BUFFER_BYTES, _SEND_BUFFER_BYTES = 16 << 10, 128 << 10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: nothing stays in the kernel for this connection
_RETRY_S = 0.1
_LOG_INTERVAL_S = 60.0


class Pulse:
    """When the last window ended, or what it waits for before the first."""

    def __init__(self, window_s: float) -> None:
        self._allowed_s = window_s * _STALE_WINDOWS + 10
        self._last = time.monotonic()
        self.windows = 0
        self.waits_for = "no window yet"

    def beat(self) -> None:
        self.windows += 1
        self._last = time.monotonic()

    def wait_for(self, what: str) -> None:
        """Marks the agent as alive but not ready."""
        self.waits_for = what
        self._last = time.monotonic()

    @property
    def is_alive(self) -> bool:
        return time.monotonic() - self._last < self._allowed_s


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The address of /metrics, and its content."""

    address: tuple[str, int]
    exposition: Exposition = Exposition()


@dataclass(frozen=True, slots=True)
class Limits:
    """``request_s``: from the connection to the end of the request; ``response_s``: from there to
    the client's end of the connection. ``of_peer``: connections of one address."""

    request_s: float = 5.0
    response_s: float = 30.0
    header_bytes: int = 16 << 10
    connections: int = 64
    of_peer: int = 8


@dataclass(frozen=True, slots=True)
class _Response:
    code: HTTPStatus
    body: bytes
    kind: str = "text/plain; charset=utf-8"
    allow: str = ""

    def header(self) -> bytes:
        lines = [
            f"HTTP/1.1 {self.code} {self.code.phrase}",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {self.kind}",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
            *([f"Allow: {self.allow}"] if self.allow else []),
        ]
        return "\r\n".join((*lines, "", "")).encode()


@dataclass(eq=False, slots=True)
class _Connection:
    """``progress_s``: when the client last sent a whole request or took a part of the response."""

    socket: socket.socket
    peer: str
    progress_s: float
    is_answered: bool = False
    task: asyncio.Task[None] = field(init=False)

    def reset(self) -> None:
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class Server:
    """Answers from ``start`` until ``close``."""

    def __init__(
        self,
        address: tuple[str, int],
        metrics: PrometheusExporter,
        pulse: Pulse,
        counts: HttpCounts,
        limits: Limits = Limits(),
    ) -> None:
        self._listening = listening_socket(address, _BACKLOG)
        self._listening.setblocking(False)
        for option, size in (
            (socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES),
            (socket.SO_SNDBUF, _SEND_BUFFER_BYTES),
        ):
            self._listening.setsockopt(socket.SOL_SOCKET, option, size)  # connections inherit it
        self.port: int = self._listening.getsockname()[1]
        self._metrics = metrics
        self._pulse = pulse
        self._counts = counts
        self._limits = limits
        self._connections: dict[_Connection, None] = {}
        self._logged_s = float("-inf")
        # Rendering takes as long as there are containers: probes do not wait for it.
        self._renderer = ThreadPoolExecutor(1, "metrics")
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        self._runner.get_loop()
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._runner.get_loop().call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._renderer.shutdown(wait=False, cancel_futures=True)
        self._listening.close()

    def _run(self) -> None:
        with self._listening, self._runner:  # which cancels all tasks at its end
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        accepting = asyncio.create_task(self._accept())
        accepting.add_done_callback(lambda _: self._stop.set())
        await self._stop.wait()
        if accepting.done():  # by an error: the thread ends, and the kubelet sees no server
            accepting.result()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, address = await loop.sock_accept(self._listening)
            except OSError as error:
                if error.errno != errno.ECONNABORTED:  # no file descriptor or no memory
                    await asyncio.sleep(_RETRY_S)
                continue
            connection = _Connection(accepted, address[0].removeprefix("::ffff:"), loop.time())
            self._make_room(connection.peer)
            self._connections[connection] = None
            connection.task = loop.create_task(self._talk(connection))
            connection.task.add_done_callback(partial(self._end, connection))
            # One at a time: in a flood, requests that have arrived are answered between.
            await asyncio.sleep(0)

    def _make_room(self, peer: str) -> None:
        counts = Counter(connection.peer for connection in self._connections)
        if counts[peer] >= self._limits.of_peer:
            crowd, reason = {peer}, "peer-limit"
        elif len(self._connections) >= self._limits.connections:
            most = max(counts.values())
            crowd, reason = {one for one, n in counts.items() if n == most}, "limit"
        else:
            return
        idle = min(
            (one for one in self._connections if one.peer in crowd), key=lambda one: one.progress_s
        )
        del self._connections[idle]
        self._drop(idle, reason)
        idle.task.cancel()

    def _drop(self, connection: _Connection, reason: str) -> None:
        connection.reset()
        if connection.is_answered:
            return
        self._counts.dropped[reason] += 1
        now_s = time.monotonic()
        if now_s - self._logged_s >= _LOG_INTERVAL_S:
            self._logged_s = now_s
            log.warning(
                "dropped an HTTP connection from %s: %s (at most one such line a minute; %d dropped"
                " since the start)",
                connection.peer,
                reason,
                sum(self._counts.dropped.values()),
            )

    def _end(self, connection: _Connection, task: asyncio.Task[None]) -> None:
        connection.socket.close()
        self._connections.pop(connection, None)
        if not task.cancelled() and (error := task.exception()):
            log.error("HTTP connection from %s", connection.peer, exc_info=error)

    async def _talk(self, connection: _Connection) -> None:
        reason = "request-timeout"
        try:
            async with asyncio.timeout(self._limits.request_s):
                header = await self._receive_header(connection)
            if header is None:
                return
            reason = "response-timeout"
            async with asyncio.timeout(self._limits.response_s):
                await self._respond(connection, header)
                await _wait_for_close(connection)
        except TimeoutError:
            self._drop(connection, reason)
        except OSError:
            return  # the client has closed the connection

    async def _receive_header(self, connection: _Connection) -> bytes | None:
        """Up to the empty line, or more than the bound; None if the client has closed before."""
        loop = asyncio.get_running_loop()
        header = bytearray()
        searched = 0  # never twice: a client may send one byte at a time
        while (
            _END_OF_HEADER.search(header, searched) is None
            and len(header) <= self._limits.header_bytes
        ):
            searched = max(0, len(header) - _END_BYTES_MAX)
            received = await loop.sock_recv(connection.socket, _RECEIVED_BYTES)
            if not received:
                return None
            header += received
        connection.progress_s = loop.time()
        return bytes(header)

    async def _respond(self, connection: _Connection, header: bytes) -> None:
        loop = asyncio.get_running_loop()
        line = _REQUEST_LINE.match(header)
        if len(header) > self._limits.header_bytes:
            response = _Response(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, b"header too large\n")
        elif line is None:
            response = _Response(HTTPStatus.BAD_REQUEST, b"not an HTTP request\n")
        else:
            response = await self._answer(line[1], line[2].partition(b"?")[0].decode("latin-1"))
        is_head = line is not None and line[1] == b"HEAD"
        await loop.sock_sendall(connection.socket, response.header())
        # All connections send the same text of /metrics, without copies of it.
        rest = memoryview(b"" if is_head else response.body)
        while rest:
            await loop.sock_sendall(connection.socket, rest[:_SENT_BYTES])
            rest = rest[_SENT_BYTES:]
            connection.progress_s = loop.time()
            await asyncio.sleep(0)  # the turn of the others, also if this client reads at once
        connection.is_answered = True
        self._counts.requests[response.code] += 1

    async def _answer(self, method: bytes, path: str) -> _Response:
        if path not in _PATHS:
            return _Response(HTTPStatus.NOT_FOUND, _NOT_FOUND)
        if method not in (b"GET", b"HEAD"):
            return _Response(HTTPStatus.METHOD_NOT_ALLOWED, b"GET or HEAD\n", allow="GET, HEAD")
        if path == "/metrics":
            loop = asyncio.get_running_loop()
            text = await loop.run_in_executor(self._renderer, self._metrics.expose)
            return _Response(HTTPStatus.OK, text, CONTENT_TYPE)
        if path == "/healthz":
            return _health(self._pulse.is_alive, "no window for too long")
        return _health(self._pulse.windows > 0, self._pulse.waits_for)


def _health(is_good: bool, why_not: str) -> _Response:
    if is_good:
        return _Response(HTTPStatus.OK, b"ok\n")
    return _Response(HTTPStatus.SERVICE_UNAVAILABLE, f"{why_not}\n".encode())


async def _wait_for_close(connection: _Connection) -> None:
    """Reads what the client still sends: unread bytes would make the kernel reset the connection,
    and the client might lose the response."""
    loop = asyncio.get_running_loop()
    connection.socket.shutdown(socket.SHUT_WR)
    for _ in range(_IGNORED_BYTES_MAX // _RECEIVED_BYTES):
        if not await loop.sock_recv(connection.socket, _RECEIVED_BYTES):
            return


def open_server(
    listen: tuple[str, int],
    metrics: PrometheusExporter,
    pulse: Pulse,
    counts: HttpCounts,
    limits: Limits = Limits(),
) -> Server:
    """A listening server; it answers once it is started. Raises UserError."""
    try:
        return Server(listen, metrics, pulse, counts, limits)
    except OSError as error:
        raise UserError(
            f"cannot listen on {joined(*listen)}: {error.strerror} (set another with --listen)"
        ) from error
