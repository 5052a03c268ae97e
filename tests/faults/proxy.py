"""A network between agents and collector that can fail in two ways."""

from __future__ import annotations

import asyncio
import threading
from enum import Enum

from tests.patience import PATIENCE_S


class Mode(Enum):
    OPEN = "open"
    CUT = "cut"  # connections are reset, new ones too
    BLACK = "black"  # no data passes, without an error


class Proxy:
    """Forwards a port of its own to ``upstream`` on this machine."""

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._mode = Mode.OPEN
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        started = threading.Event()
        self.port = 0

        async def start() -> None:
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            started.set()

        def run() -> None:
            self._loop.create_task(start())
            self._loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        started.wait(PATIENCE_S)

    def set(self, mode: Mode) -> None:
        self._loop.call_soon_threadsafe(self._set, mode)

    def _set(self, mode: Mode) -> None:
        self._mode = mode
        if mode is Mode.BLACK:
            self._open.clear()
        else:
            self._open.set()
        if mode is Mode.CUT:
            for writer in list(self._writers):
                writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._mode is Mode.CUT:
            writer.transport.abort()
            return
        await self._open.wait()
        try:
            there = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, there[1]}
        await asyncio.gather(
            self._pump(reader, there[1]), self._pump(there[0], writer), return_exceptions=True
        )
        for each in (writer, there[1]):
            self._writers.discard(each)
            each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.transport.abort()
