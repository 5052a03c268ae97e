"""The stream to a collector: keeps each window until a collector has stored it.

``publish`` only puts the window into a short queue. A separate thread does the rest (sender.py). It
never waits for the network; answers arrive in a queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue

from gotax.exporters.credentials import read_file
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.metrics.family import Family
from gotax.exporters.stream import metrics
from gotax.exporters.stream.connection import Arrival
from gotax.exporters.stream.sender import AgentIdentity, Sender
from gotax.exporters.stream.spool import Spool
from gotax.exporters.stream.statistics import Statistics
from gotax.exporters.windowqueue import WindowQueue
from gotax.window import Window

log = logging.getLogger("gotax")

QUEUE_FULL = "queue-full"

WINDOWS_MAX = 4
"""Windows that wait to be encoded. More come only if encoding takes longer than a window."""
_CLOSE_S = 1.0


class StreamExporter:
    """An ``Exporter``. Raises UserError if a file of the credentials cannot be read."""

    def __init__(self, endpoint: Endpoint, identity: AgentIdentity, spool: Spool) -> None:
        for name in endpoint.credentials.files:
            read_file(name)
        self._windows = WindowQueue(WINDOWS_MAX)
        self._arrivals: SimpleQueue[Arrival | None] = SimpleQueue()
        self._overrun = 0  # windows for which publish had no room
        self._overrun_counted = 0
        self._is_woken = False
        self._spool = spool
        self._sender = Sender(endpoint, identity, spool, self._arrivals)
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="stream", daemon=True)
        self._thread.start()

    def publish(self, window: Window) -> None:
        self._spool.count_published()
        if self._windows.put(window) is not None:
            self._overrun += 1
        if not self._is_woken:  # a blocked thread needs only one call
            self._is_woken = True
            self._arrivals.put(None)

    def close(self) -> None:
        if self._is_closing.is_set():
            return
        self._is_closing.set()
        self._arrivals.put(None)
        self._thread.join(_CLOSE_S + 0.7)

    def statistics(self) -> Statistics:
        """May be called from any thread."""
        sender, spool = self._sender, self._spool
        return Statistics(
            sent=sender.sent,
            sent_bytes=sender.sent_bytes,
            acknowledged=sender.acknowledged,
            connections=sender.connections,
            failures=dict(sender.failures),
            dropped={**spool.dropped, QUEUE_FULL: self._overrun},
            spool_records=spool.records,
            spool_bytes=spool.size,
            spool_errors=spool.errors,
            in_flight=sender.in_flight,
            is_connected=sender.is_connected,
        )

    def families(self) -> Iterator[Family]:
        return metrics.families(self.statistics())

    def _run(self) -> None:
        sender = self._sender
        close_until_s = 0.0
        while True:
            self._absorb()
            if self._is_closing.is_set():
                close_until_s = close_until_s or time.monotonic() + _CLOSE_S
                if time.monotonic() >= close_until_s or not sender.is_delivering:
                    break
            wait_s = sender.step()
            if close_until_s:
                wait_s = min(wait_s, max(0.0, close_until_s - time.monotonic()))
            self._await_arrivals(wait_s)
        sender.close()
        left = self._spool.records
        if left:
            log.info("%d windows are still in the spool: no collector has them yet", left)
        self._spool.close()

    def _await_arrivals(self, wait_s: float) -> None:
        try:
            arrival = self._arrivals.get(timeout=wait_s)
            while True:
                if arrival is not None:
                    self._sender.receive(arrival)
                arrival = self._arrivals.get_nowait()
        except Empty:
            return

    def _absorb(self) -> None:
        """Turns windows into records of the spool."""
        self._is_woken = False
        while self._overrun_counted < self._overrun:
            self._overrun_counted += 1
            self._spool.discard(QUEUE_FULL)
        while (window := self._windows.take()) is not None:
            self._sender.keep(window)
