"""A gRPC client that sends what no gRPC library sends: messages that never end.

HTTP/2 by hand (RFC 9113), as far as that takes: one stream, headers without compression.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
METHOD = "/gotax.wire.v1.IngestService/Stream"


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    return (
        struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + stream.to_bytes(4, "big") + body
    )


def message(body: bytes, length: int | None = None) -> bytes:
    """A message of gRPC, or the beginning of a longer one."""
    return b"\0" + struct.pack(">I", len(body) if length is None else length) + body


class Client:
    """One connection. ``is_open`` after every attempt to send."""

    def __init__(self, port: int, timeout_s: float = 0.05) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(timeout_s)
        self._received = b""
        self._windows = {0: 65_535, 1: 65_535}
        self.trailers = b""
        self.is_open = True
        self.sent = 0

    def open_stream(self, metadata: Sequence[tuple[str, str]] = (), path: str = METHOD) -> None:
        fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "collector"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            *metadata,
        ]
        block = b"".join(
            b"\0" + b"".join(bytes([len(text)]) + text.encode() for text in field)
            for field in fields
        )
        self._write(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, block))

    def send(self, data: bytes) -> bool:
        """As much as the windows allow, and wait for more. False: the other side has had enough."""
        waits = 0
        while data and self.is_open and not self.trailers and waits < 100:
            allowed = min(len(data), *self._windows.values(), 16_384)
            if allowed <= 0:
                waits += 1
                self.read()
                continue
            self._write(frame(DATA, 0, 1, data[:allowed]))
            self._windows = {key: left - allowed for key, left in self._windows.items()}
            self.sent += allowed
            data = data[allowed:]
        return self.is_open and not data

    def read(self) -> None:
        """What has come, if anything comes within the time."""
        try:
            found = self._socket.recv(65_536)
        except TimeoutError:
            return
        except OSError:
            found = b""
        if not found:
            self.is_open = False
            return
        self._received += found
        while len(self._received) >= 9:
            length = int.from_bytes(self._received[:3], "big")
            if len(self._received) < 9 + length:
                return
            kind, flags = self._received[3], self._received[4]
            stream = int.from_bytes(self._received[5:9], "big")
            body = self._received[9 : 9 + length]
            self._received = self._received[9 + length :]
            if kind == WINDOW_UPDATE and stream in self._windows:
                self._windows[stream] += int.from_bytes(body, "big")
            elif kind == SETTINGS and not flags & ACK:
                self._write(frame(SETTINGS, ACK, 0))
            elif kind == HEADERS and flags & END_STREAM:
                self.trailers += body

    def wait_for_end(self, attempts: int) -> bool:
        """Whether the connection was closed."""
        for _ in range(attempts):
            self.read()
            if not self.is_open:
                return True
        return False

    def wait_for_trailers(self, attempts: int) -> bytes:
        """The status of the stream, b"" if none came."""
        for _ in range(attempts):
            if self.trailers:
                break
            self.read()
        return self.trailers

    def close(self) -> None:
        self._socket.close()

    def _write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError:
            self.is_open = False
