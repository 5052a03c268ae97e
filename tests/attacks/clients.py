"""Clients that keep a server busy and never finish what they say."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable
from typing import Self

BEGINNING = b"GET /metrics HTTP/1.1\r\nX: "


class SlowClients:
    """So many connections from one address, each with a byte now and then; a new one for each that
    the server ends. ``beginning`` and ``byte`` may be empty: silent ones."""

    def __init__(
        self,
        port: int,
        count: int,
        source: Callable[[int], str],
        beginning: bytes = BEGINNING,
        byte: bytes = b"a",
    ) -> None:
        self._port, self._count, self._source = port, count, source
        self._beginning, self._byte = beginning, byte
        self._connections: dict[int, socket.socket] = {}
        self._enough = threading.Event()
        self._all = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._all.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()
        for connection in self._connections.values():
            connection.close()

    def _run(self) -> None:
        number = 0
        while not self._enough.is_set():
            while len(self._connections) < self._count and not self._enough.is_set():
                number += 1
                self._open(self._source(number))
            self._all.set()
            self._enough.wait(0.1)
            self._drop_what_ended()

    def _open(self, source: str) -> None:
        connection = socket.socket()
        connection.settimeout(1)
        try:
            connection.bind((source, 0))
            connection.connect(("127.0.0.1", self._port))
            connection.sendall(self._beginning)
        except OSError:
            connection.close()
            self._enough.wait(0.01)
            return
        self._connections[connection.fileno()] = connection

    def _drop_what_ended(self) -> None:
        with selectors.DefaultSelector() as selector:
            for connection in self._connections.values():
                selector.register(connection, selectors.EVENT_READ)
            ended = {key.fd for key, _ in selector.select(0)}  # an answer, or the end
        for number, connection in list(self._connections.items()):
            try:
                if number not in ended:
                    connection.sendall(self._byte)
                    continue
            except OSError:
                pass
            del self._connections[number]
            connection.close()


def one_address(_number: int) -> str:
    return "127.0.0.66"


def many_addresses(number: int) -> str:
    return f"127.0.1.{1 + number % 250}"
