"""Requests that ask the store take turns: a few at a time, and a few more that wait.

An answer takes memory of this process, too: a flame graph is made of 20,000 stacks. So the number
of requests that are answered at a time is a bound on memory. The others wait, and if too many wait
or one waits too long, it is refused with 503 and the time after which to try again. A request whose
client has left gives up its turn, and its query is stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from gotax_collector.query.database import CURRENT, BusyError, CancelledError, Database, Question

_T = TypeVar("_T")

RETRY_AFTER_S = 5
_STOP_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """``waiting``: requests that wait, ``waiting_per_peer``: of one address."""

    at_once: int = 2
    waiting: int = 32
    waiting_per_peer: int = 16
    wait_s: float = 20.0


class Turns:
    """Its methods run on one event loop."""

    def __init__(self, database: Database, limits: TurnLimits) -> None:
        self._database = database
        self._limits = limits
        self._free = limits.at_once
        self._waiting: list[asyncio.Future[None]] = []
        self._of_peer: Counter[str] = Counter()
        self.cancelled = 0
        self.refused = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def answer(self, request: Request, peer: str, work: Callable[[], _T]) -> _T:
        """Run ``work`` on a thread in its turn. BusyError, CancelledError, and errors of it."""
        gone = asyncio.ensure_future(_until_gone(request))
        try:
            await self._wait(peer, gone)
            try:
                return await self._work(work, gone)
            finally:
                self._pass_on()
        except BusyError:
            self.refused += 1
            raise
        except CancelledError:
            self.cancelled += 1
            raise
        finally:
            gone.cancel()

    async def _wait(self, peer: str, gone: asyncio.Future[None]) -> None:
        limits = self._limits
        if self._free:
            self._free -= 1
            return
        if len(self._waiting) >= limits.waiting or self._of_peer[peer] >= limits.waiting_per_peer:
            raise BusyError("too many questions wait: ask again in a moment")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._of_peer[peer] += 1
        try:
            await asyncio.wait(
                (turn, gone), timeout=limits.wait_s, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            if turn.done():
                self._pass_on()
            raise
        finally:
            self._of_peer[peer] -= 1
            if not self._of_peer[peer]:
                del self._of_peer[peer]
            with contextlib.suppress(ValueError):
                self._waiting.remove(turn)
        if turn.done() and not gone.done():
            return
        if turn.done():
            self._pass_on()
        if gone.done():
            raise CancelledError("the client has left")
        raise BusyError("other questions take long: ask again in a moment")

    def _pass_on(self) -> None:
        """The turn goes to the request that has waited longest."""
        if self._waiting:
            self._waiting.pop(0).set_result(None)
        else:
            self._free += 1

    async def _work(self, work: Callable[[], _T], gone: asyncio.Future[None]) -> _T:
        question = Question()
        token = CURRENT.set(question)
        try:
            working = asyncio.ensure_future(asyncio.to_thread(work))
        finally:
            CURRENT.reset(token)
        try:
            await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await asyncio.shield(self._stop(question, working))
            raise
        if not working.done():
            await self._stop(question, working)
        return await working

    async def _stop(self, question: Question, working: asyncio.Future[_T]) -> None:
        """The turn lasts until the thread has ended: until then it has its memory."""
        question.cancel()
        while not working.done():
            await asyncio.to_thread(self._database.stop, question)
            await asyncio.wait((working,), timeout=_STOP_EVERY_S)


async def _until_gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        """A body, which no page has a use for."""
