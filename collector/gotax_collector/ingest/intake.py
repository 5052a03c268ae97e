"""Between the streams and the store: reports wait here, and are stored in batches.

A thread of its own stores, since a store blocks. What waits is bounded: who wants to add more
waits too, so that its stream is not read, and HTTP/2's flow control makes its agent wait.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from gotax_collector.ingest.limits import Limits
from gotax_collector.report import Report, Store, StoreError

log = logging.getLogger(__name__)

BATCH_REPORTS_MAX = 500
BATCH_BYTES_MAX = 32 << 20
_QUIET_S = 0.25
_RETRY_FIRST_S, _RETRY_MAX_S = 0.25, 10.0


def footprint(report: Report) -> int:
    """Bytes in memory, about."""
    samples, stacks = len(report.samples), len(report.stacks.hashes)
    return 4096 + 24 * samples + 16 * stacks + 2048 * len(report.containers) + report.wire_bytes


@dataclass(slots=True)
class IntakeCounters:
    """Since the start, for /metrics. One writer each: the store's thread."""

    batches: int = 0
    stored: int = 0
    failures: int = 0
    insert_s: float = 0.0
    failing_since_s: float | None = None


@dataclass(frozen=True, slots=True)
class _Waiting:
    report: Report
    done: Callable[[], None]
    size: int


class Intake:
    """``put`` is for the event loop's thread only; it runs ``done`` there as well."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._bytes_max = limits.waiting_bytes
        self._batch_s = limits.batch_s
        self._insert_s = 0.0  # of the batch before
        self._queue: deque[_Waiting] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._room = asyncio.Event()
        self._room.set()
        self._is_closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.counters = IntakeCounters()
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def put(self, report: Report, done: Callable[[], None]) -> None:
        """Wait for room, then leave the report to the store; ``done`` once it has it."""
        while self._bytes >= self._bytes_max:
            self._room.clear()
            await self._room.wait()
        waiting = _Waiting(report, done, footprint(report))
        with self._changed:
            self._queue.append(waiting)
            self._bytes += waiting.size
            self._changed.notify()

    async def close(self, within_s: float) -> bool:
        """Store what waits. False: some of it is still not stored; its agents send it again."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, within_s)
        return not self._thread.is_alive() and not self._queue

    def _run(self) -> None:
        while self._store_next():
            """A frame that ends between batches: one that waits would hold the last, with all
            dictionaries behind its reports."""

    def _store_next(self) -> bool:
        """One batch. False at the end."""
        batch = self._next_batch()
        if not batch or not self._insert(batch):
            return False
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._finish, batch, sum(w.size for w in batch))
        except RuntimeError:
            return False  # the loop is closed: nobody waits any more
        return True

    def _next_batch(self) -> list[_Waiting]:
        """Empty at the end. What is taken still counts as waiting until it is stored."""
        with self._changed:
            # Who has come while the batch before was stored has waited as long already.
            waited_s = self._insert_s if self._queue else 0.0
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            self._gather(self._batch_s - waited_s)
        batch: list[_Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_REPORTS_MAX and size < BATCH_BYTES_MAX:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        return batch

    def _gather(self, most_s: float) -> None:
        """Let the first report wait for others: while they come, and ``most_s`` at most.

        An insert costs nearly the same whether it has one report or fifty. Where there are few
        agents nobody else comes, and one that ends has its last acknowledgement in a moment.
        """
        slice_s = min(_QUIET_S, most_s)
        for _ in range(round(most_s / slice_s) if slice_s > 0 else 0):
            before = len(self._queue)
            if self._changed.wait_for(self._is_enough, slice_s) or len(self._queue) == before:
                return

    def _is_enough(self) -> bool:
        return (
            self._is_closing
            or len(self._queue) >= BATCH_REPORTS_MAX
            or self._bytes >= min(BATCH_BYTES_MAX, self._bytes_max)
        )

    def _insert(self, batch: list[_Waiting]) -> bool:
        """Until it works. False: given up, because the collector ends."""
        reports = [waiting.report for waiting in batch]
        retry_s = _RETRY_FIRST_S
        while True:
            started = time.monotonic()
            try:
                self._store.insert(reports)
            except StoreError as error:
                counters = self.counters
                counters.failures += 1
                counters.failing_since_s = counters.failing_since_s or started
                log.warning("the store did not take %d reports: %s", len(reports), error)
                if self._is_closing:
                    return False
                with self._changed:
                    self._changed.wait_for(lambda: self._is_closing, retry_s)
                retry_s = min(retry_s * 2, _RETRY_MAX_S)
            else:
                self._insert_s = time.monotonic() - started
                self.counters.insert_s += self._insert_s
                self.counters.batches += 1
                self.counters.stored += len(reports)
                self.counters.failing_since_s = None
                return True

    def _finish(self, batch: list[_Waiting], size: int) -> None:
        with self._changed:
            self._bytes -= size
        if self._bytes < self._bytes_max:
            self._room.set()
        for waiting in batch:
            waiting.done()
