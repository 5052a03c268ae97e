"""/metrics, /healthz and /readyz of the collector, on a thread of their own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gotax_collector.exposition import CONTENT_TYPE

log = logging.getLogger(__name__)

_TIMEOUT_S = 5
_STORE_FAILING_S = 60.0


class Probes:
    """OSError where the address cannot be had."""

    def __init__(
        self,
        address: tuple[str, int],
        metrics: Callable[[], bytes],
        store_failing_s: Callable[[], float],
    ) -> None:
        self._server = _Server(address, metrics, store_failing_s)
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        metrics: Callable[[], bytes],
        store_failing_s: Callable[[], float],
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.metrics = metrics
        self.store_failing_s = store_failing_s
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = _TIMEOUT_S
    server_version = "gotax"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, self.server.metrics(), CONTENT_TYPE)
        elif path == "/healthz":
            self._answer(200, b"ok\n")
        elif path == "/readyz":
            is_ready = self.server.store_failing_s() < _STORE_FAILING_S
            self._answer(200 if is_ready else 503, b"ok\n" if is_ready else b"the store fails\n")
        else:
            self._answer(404, b"/metrics /healthz /readyz\n")

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        log.debug("http %s", format % arguments)
