"""A collector in this process, on a thread of its own, with a store that tests look into."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from gotax_collector.ingest.intake import Intake
from gotax_collector.ingest.limits import Limits
from gotax_collector.ingest.receiver import Guard, Identification, Receiver
from gotax_collector.ingest.server import Listening, Parts, serve
from gotax_collector.metrics import Exposition
from gotax_collector.report import Report, StoreError
from prometheus_client.parser import text_string_to_metric_families

from tests.patience import PATIENCE_S


def _set() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


@dataclass
class MemoryStore:
    """Keeps reports once each. ``failing``: takes nothing; ``slow_s``: takes its time; ``open``:
    waits until it is set."""

    kept: dict[tuple[str, int, int], Report] = field(default_factory=dict)
    calls: Counter[tuple[str, int, int]] = field(default_factory=Counter)
    failing: bool = False
    slow_s: float = 0.0
    quarantined: int = 0
    open: threading.Event = field(default_factory=_set)

    def insert(self, batch: Sequence[Report]) -> None:
        assert self.open.wait(PATIENCE_S)
        time.sleep(self.slow_s)
        if self.failing:
            raise StoreError("the store is told to fail")
        for report in batch:
            self.calls[report.key] += 1
            self.kept.setdefault(report.key, report)

    def close(self) -> None:
        pass

    def sequences(self, agent: str) -> list[int]:
        return sorted(key[2] for key in self.kept if key[0] == agent)


class Collecting:
    """``port`` is where; ``metric`` reads its own metrics."""

    def __init__(self, listening: Listening) -> None:
        self.port = 0
        self._listening = listening
        self._exposition: Exposition | None = None
        self._ready = threading.Event()
        self.error: BaseException | None = None

    def ready(self, port: int, receiver: Receiver, intake: Intake) -> None:
        self.port = port
        self._exposition = Exposition(receiver, intake, self._listening.certificates, "0")
        self._ready.set()

    def wait_ready(self) -> None:
        assert self._ready.wait(PATIENCE_S), self.error

    def metric(self, name: str, **labels: str) -> float:
        assert self._exposition
        text = self._exposition.text().decode()
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == f"gotax_collector_{name}" and labels.items() <= sample.labels.items()
        )


@dataclass(frozen=True)
class Setup:
    """How a collector is run. ``port`` 0: any."""

    limits: Limits = Limits()
    guard: Guard | None = None
    listening: Callable[[tuple[str, int]], Listening] = Listening
    port: int = 0


@contextmanager
def collecting(store: MemoryStore, setup: Setup | None = None) -> Iterator[Collecting]:
    setup = setup or Setup()
    listening = setup.listening(("127.0.0.1", setup.port))
    running = Collecting(listening)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    parts = Parts(Identification("test", "0"), store, setup.limits, setup.guard, running.ready)

    def run() -> None:
        try:
            loop.run_until_complete(serve(listening, parts, stop))
        except BaseException as error:
            running.error = error
            running._ready.set()
            raise

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        running.wait_ready()
        yield running
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
        loop.close()


def eventually(condition: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for it; AssertionError when it does not come."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, "did not come true in time"
        time.sleep(0.02)
