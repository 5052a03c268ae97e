"""A stand-in for a ClickHouse server: its HTTP interface before the embedded engine.

``python -m tests.collector.server FOLDER`` prints its port. What it is for: no package registry has
a ClickHouse server that clickhouse-connect still speaks to (Debian's is of 2018), and the way over
HTTP differs from that of the library in how parameters, settings and data travel. The SQL is run by
the real engine; clusters, replication and authentication are not there.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import chdb

_OWN = {
    *("query", "database", "query_id", "session_id", "session_timeout", "role", "compress"),
    *("client_protocol_version", "enable_http_compression", "http_headers_progress_interval_ms"),
    *("send_progress_in_http_headers", "wait_end_of_query"),
    "cancel_http_readonly_queries_on_client_close",
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connection_lock: ClassVar[threading.Lock] = threading.Lock()
    engine: ClassVar[Any] = None

    def do_GET(self) -> None:
        self._answer(200, b"Ok.\n")

    def do_POST(self) -> None:
        options = {
            key: values[0]
            for key, values in parse_qs(urlsplit(self.path).query, keep_blank_values=True).items()
        }
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunked()
        if "multipart/form-data" in self.headers.get("Content-Type", ""):
            self._answer(500, b"Code: 48. no forms here")
            return
        query = options.get("query", "")
        try:
            self._answer(200, self._run(query, body, options))
        except RuntimeError as error:
            self._answer(500, str(error).encode())

    def _run(self, query: str, body: bytes, options: dict[str, str]) -> bytes:
        parameters = {k.removeprefix("param_"): v for k, v in options.items() if k[:6] == "param_"}
        settings = {k: v for k, v in options.items() if k not in _OWN and k[:6] != "param_"}
        clause = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
        with self.connection_lock:
            self.engine.query(f"USE {options.get('database', 'default')}")
            if not query:
                query, body = body.decode(), b""
            if clause:
                self.engine.query(f"SET {clause}")
            if not body:
                result = self.engine.query(query, "TabSeparated", params=parameters)
                return bytes(result.bytes() or b"")
            with tempfile.NamedTemporaryFile() as file:
                file.write(body)
                file.flush()
                head, _, form = query.rpartition("FORMAT")
                self.engine.query(f"{head} FROM INFILE '{file.name}' FORMAT {form}")
                return b""

    def _chunked(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-ClickHouse-Summary", json.dumps({}))
        self.send_header("X-ClickHouse-Timezone", "UTC")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def main() -> None:
    Handler.engine = chdb.connect(str(Path(sys.argv[1])))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
