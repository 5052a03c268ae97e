"""The queue between the streams and the store. It stores reports in batches.

A separate thread inserts, because a store blocks. The queue is bounded. When it is full, ``put``
waits, so the stream is not read, and HTTP/2's flow control makes the agent wait.
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
    """Estimated bytes in memory: as it is, or as the rows of its batch, if these are larger."""
    stack_counts, stacks = len(report.stack_counts), len(report.stacks.hashes)
    containers = len(report.containers) + len(report.others)
    now = 4096 + 24 * stack_counts + 16 * stacks + 2048 * containers + report.wire_bytes
    return max(now, report.rows_bytes)


@dataclass(slots=True)
class IntakeCounters:
    """Counts since the start, for /metrics. Only the store's thread writes them."""

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
    """Only the event loop's thread may call ``put``. ``done`` runs there too."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self._store = store
        self._bytes_max = limits.waiting_bytes
        self._batch_s = limits.batch_s
        self._insert_s = 0.0  # how long the last batch took
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

    @property
    def quarantined(self) -> int:
        return self._store.quarantined

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    async def room(self) -> None:
        """Wait until less than the maximum waits for the store."""
        while self._bytes >= self._bytes_max:
            self._room.clear()
            await self._room.wait()

    async def put(self, report: Report, done: Callable[[], None]) -> None:
        """Wait for room, then queue the report. ``done`` is called once it is stored."""
        await self.room()
        waiting = _Waiting(report, done, footprint(report))
        with self._changed:
            self._queue.append(waiting)
            self._bytes += waiting.size
            self._changed.notify()

    async def close(self, within_s: float) -> bool:
        """Store what waits. False: some of it is not stored, and the agents will send it again."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, within_s)
        return not self._thread.is_alive() and not self._queue

    def _run(self) -> None:
        while self._store_next():
            """One call per batch: a local variable here would keep the last batch, and the
            dictionaries of its reports, in memory until the next one."""

    def _store_next(self) -> bool:
        """Store one batch. False at the end."""
        batch = self._next_batch()
        if not batch or not self._insert(batch):
            return False
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._finish, batch, sum(w.size for w in batch))
        except RuntimeError:
            return False  # the loop is closed, so no stream waits for an answer
        return True

    def _next_batch(self) -> list[_Waiting]:
        """The next batch; empty at the end. Its reports count as waiting until they are stored."""
        with self._changed:
            # The first report in the queue has already waited while the last batch was stored.
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
        """Wait for more reports, as long as they arrive, and for ``most_s`` at most.

        An insert of fifty reports costs little more than an insert of one. With few agents nothing
        arrives, and the wait is short: an agent that ends soon gets its last acknowledgement.
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
        """Retry until it succeeds. False: given up, because the collector ends."""
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
                log.warning("cannot store %d reports: %s", len(reports), error)
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
