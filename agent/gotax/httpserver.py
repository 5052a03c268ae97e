"""The HTTP server of the agent.

/metrics renders the last Window; /healthz says whether windows still come; /readyz, if one has.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gotax.errors import UserError
from gotax.exporters.prometheus import CONTENT_TYPE, Exposition, PrometheusExporter
from gotax.wire.addresses import joined
from gotax.wire.listening import listening_socket

log = logging.getLogger("gotax")

_REQUEST_TIMEOUT_S = 5
_CONNECTIONS_MAX = 16
_STALE_WINDOWS = 3
_PATHS = ("/metrics", "/healthz", "/readyz")
_NOT_FOUND = " ".join(_PATHS).encode() + b"\n"


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


class Server(ThreadingHTTPServer):
    """At most ``_CONNECTIONS_MAX`` requests at a time, because usually one client scrapes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = _CONNECTIONS_MAX

    def __init__(self, address: tuple[str, int], metrics: PrometheusExporter, pulse: Pulse) -> None:
        super().__init__(address, _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening_socket(address, self.request_queue_size)
        self.server_address = self.socket.getsockname()
        self.metrics = metrics
        self.pulse = pulse
        self._free = threading.BoundedSemaphore(_CONNECTIONS_MAX)

    def process_request(self, request, client_address):  # type: ignore[no-untyped-def]
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def handle_error(self, request, client_address):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Ignores a client that closed the connection, and logs any other error."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.exception("http request from %s", client_address)

    def process_request_thread(self, request, client_address):  # type: ignore[no-untyped-def]
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _REQUEST_TIMEOUT_S
    server_version = "gotax"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, self.server.metrics.expose(), CONTENT_TYPE)
        elif path == "/healthz":
            self._answer_health(self.server.pulse.is_alive, "no window for too long")
        elif path == "/readyz":
            self._answer_health(self.server.pulse.windows > 0, self.server.pulse.waits_for)
        else:
            self._answer(404, _NOT_FOUND)

    def do_HEAD(self) -> None:
        self.do_GET()  # _answer omits the body

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Handles every other HTTP method."""
        if name.startswith("do_"):
            return self._refuse_method
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        if self.path.partition("?")[0] in _PATHS:
            self._answer(405, b"GET or HEAD\n", allow="GET, HEAD")
        else:
            self._answer(404, _NOT_FOUND)

    def _answer_health(self, is_good: bool, why_not: str) -> None:
        self._answer(200 if is_good else 503, b"ok\n" if is_good else f"{why_not}\n".encode())

    def _answer(
        self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8", allow: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if allow:
            self.send_header("Allow", allow)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        log.debug("http %s", format % arguments)


def open_server(listen: tuple[str, int], metrics: PrometheusExporter, pulse: Pulse) -> Server:
    """A listening server; it answers while ``serve_forever`` runs. Raises UserError."""
    try:
        return Server(listen, metrics, pulse)
    except OSError as error:
        raise UserError(
            f"cannot listen on {joined(*listen)}: {error.strerror} (set another with --listen)"
        ) from error
