"""One agent's stream: what is read from it, and what is answered."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
from gotax.wire.v1 import ingest_pb2

from gotax_collector.refusal import RefusedError
from gotax_collector.relay.relay import Relayed
from gotax_collector.security.tokens import Grant


class Stream:
    """One agent's stream: how many of its reports were read, and how many are stored."""

    def __init__(self, context: Any, connection: Relayed | None) -> None:
        self.context = context
        self.peer = connection.peer if connection else ""
        self.agent = ""
        self.epoch = 0
        self.grant: Grant | None = None
        self.used_s = time.monotonic()
        self.read = 0
        self.stored = 0
        self.dictionary_bytes = 0
        self._connection = connection
        self._refusal: RefusedError | None = None
        self._farewell = ""
        self._changed = asyncio.Event()
        self._goodbye = asyncio.Event()
        self._has_ended = False

    @property
    def unanswered(self) -> int:
        return self.read - self.stored

    def authorization(self) -> str:
        metadata = dict(self.context.invocation_metadata() or ())
        value = metadata.get("authorization", "")
        return value if isinstance(value, str) else ""

    def accept(self, agent: str) -> None:
        """The agent has said hello, and may stay."""
        self.agent = agent
        if self._connection is not None:
            self._connection.accept()

    def leave(self) -> None:
        """The connection is a new one again. Another stream may follow. One that was never accepted
        gets no more time."""
        if self._connection is not None and self.agent:
            self._connection.renew()

    def taken(self) -> None:
        """The last report is in the queue of the store, which counts its memory."""
        if self._connection is not None:
            self._connection.read()

    async def next_report(self) -> bytes | None:
        data = await self.next_message()
        if data is not None:
            self.read += 1
            self.used_s = time.monotonic()
            if self._connection is not None:
                self._connection.hold()
        return data

    async def next_message(self) -> bytes | None:
        """The next message. None at the end of the stream, or after a goodbye.

        RefusedError: the agent may not stream any more.
        """
        read = asyncio.ensure_future(self.context.read())
        goodbye = asyncio.ensure_future(self._goodbye.wait())
        try:
            await asyncio.wait((read, goodbye), return_when=asyncio.FIRST_COMPLETED)
            if self._refusal is not None:
                raise self._refusal
            if not read.done():
                return None
            message = read.result()
            return None if message is grpc.aio.EOF else message
        finally:
            read.cancel()
            goodbye.cancel()

    @property
    def is_ending(self) -> bool:
        return self._goodbye.is_set()

    def say_goodbye(self, reason: str) -> None:
        self._farewell = self._farewell or reason
        self._goodbye.set()
        self._changed.set()

    def refuse(self, error: RefusedError) -> None:
        """End the stream. What was read and is not stored yet must come again."""
        self._refusal = self._refusal or error
        self.say_goodbye(str(error))

    def mark_stored(self) -> None:
        self.stored += 1
        self._changed.set()

    async def some_stored(self) -> None:
        before = self.stored
        while self.stored == before:
            await asyncio.sleep(0.05)

    async def all_stored(self) -> None:
        while self.stored < self.read:
            await asyncio.sleep(0.02)

    def end_answers(self) -> None:
        self._has_ended = True
        self._changed.set()

    async def answer(self) -> None:
        """Send an Ack whenever more reports are stored, and a Goodbye once there is one."""
        acknowledged = 0
        has_said_goodbye = False
        while True:
            if self._goodbye.is_set() and not has_said_goodbye:
                goodbye = ingest_pb2.Goodbye(reason=self._farewell)
                await self.context.write(ingest_pb2.StreamResponse(goodbye=goodbye))
                has_said_goodbye = True
            if self.stored > acknowledged:
                acknowledged = self.stored
                ack = ingest_pb2.Ack(reports=acknowledged)
                await self.context.write(ingest_pb2.StreamResponse(ack=ack))
            elif self._has_ended:
                return
            else:
                await self._changed.wait()
                self._changed.clear()
