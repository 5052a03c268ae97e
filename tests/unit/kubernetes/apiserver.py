"""A small HTTP server with the API server's watch protocol, which misbehaves on request.

tests/e2e uses a real one. That one cannot forget versions, refuse a token, fall silent or send
garbage at a given moment, and takes a minute to start. These tests are about such moments.
"""

from __future__ import annotations

import json
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

END = object()
"""If queued, the server ends the watch, as it does after some minutes."""


def pod(name: str, container_id: str, version: str = "1", **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": version,
            **metadata,
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "web"}]},
        "status": {
            "containerStatuses": [
                {
                    "name": "web",
                    "containerID": f"containerd://{container_id}",
                    "state": {"running": {}},
                }
            ]
        },
    }


def event(kind: str, value: dict[str, Any]) -> bytes:
    return json.dumps({"type": kind, "object": value}).encode() + b"\n"


def bookmark(version: str) -> bytes:
    return event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": version}})


def expired() -> bytes:
    return event("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})


class ApiServer:
    """``state`` is sent to a watch from version 0; ``say`` sends to the open watch."""

    def __init__(self, port: int = 0) -> None:
        self.state: list[dict[str, Any]] = []
        self.version = "100"
        self.token = "first"
        self.refuse: int | None = None  # a status for every request
        self.expired_versions: set[str] = set()  # answered with HTTP 410
        self.has_bookmarks = True
        self.compress: Callable[[bytes], bytes] | None = None
        self.encoding = "identity"
        self.accepted: list[str] = []  # encodings, by request
        self.current: queue.Queue[Any] | None = None  # of the last watch that was opened
        self.watches = 0
        self.requests: list[dict[str, str]] = []
        self.tokens: list[str] = []
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.api = self
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def start(self) -> ApiServer:
        self._thread.start()
        return self

    def secure(self, context: ssl.SSLContext) -> None:
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def say(self, *lines: Any) -> None:
        assert self.current is not None
        for line in lines:
            self.current.put(line)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.is_stopping = True
        self._server.server_close()
        self._thread.join()


@contextmanager
def api_server(port: int = 0) -> Iterator[ApiServer]:
    server = ApiServer(port).start()
    try:
        yield server
    finally:
        server.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    is_stopping = False
    api: ApiServer

    def handle_error(self, request: object, client_address: object) -> None:
        """The client has closed the connection; some tests do that on purpose."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        api, split = self.server.api, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        api.tokens.append(token)
        api.accepted.append(self.headers.get("Accept-Encoding") or "")
        api.requests.append({"path": split.path, **query})
        if token != api.token:
            self._status(401)
        elif api.refuse is not None:
            self._status(api.refuse)
        elif split.path == "/pods":
            self._answer(200, json.dumps({"kind": "PodList", "items": api.state}).encode())
        elif query["resourceVersion"] in api.expired_versions:
            self._status(410)
        else:
            self._watch(query["resourceVersion"])

    def _watch(self, version: str) -> None:
        api = self.server.api
        mine: queue.Queue[Any] = queue.Queue()
        api.current = mine
        api.watches += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Content-Encoding", api.encoding)
        self.end_headers()
        if version == "0":
            for value in api.state:
                self._chunk(event("ADDED", value))
            if api.has_bookmarks:
                self._chunk(bookmark(api.version))
        while not self.server.is_stopping and api.current is mine:
            try:
                line = mine.get(timeout=0.02)
            except queue.Empty:
                continue
            if line is END:
                break
            self._chunk(line)
        if self.server.is_stopping or api.current is not mine:
            self.close_connection = True  # as when the process is killed: without a last chunk
        else:
            self.wfile.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _status(self, code: int) -> None:
        message = f"status {code}"
        self._answer(
            code, json.dumps({"kind": "Status", "code": code, "message": message}).encode()
        )

    def _answer(self, code: int, body: bytes) -> None:
        api = self.server.api
        if api.compress is not None:
            body = api.compress(body)
        self.send_response(code)
        self.send_header("Content-Encoding", api.encoding)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass
