"""A small fleet of twelve hours, whose answers are known.

``web`` runs on a 192-core node and on two of 4 cores; ``api`` changes its Go version and GOMAXPROCS
after six hours.
"""

from __future__ import annotations

import random
from pathlib import Path

from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import ClickHouseStore, prepare

from tests.collector.reports import NOW, OVERSIZED, SECOND, Sampled, Seen, report, sender, web

HOURS = 12
UNTIL = NOW + 3600
FINE = "runtime.mcall;runtime.schedule;runtime.findRunnable"


def filled(folder: Path) -> ClickHouseStore:
    """A store with the fleet in it; the caller closes it."""
    connections = Connections(Address(folder=folder, memory_bytes=512 << 20))
    prepare(connections, Retention())
    store = ClickHouseStore(connections, folder)
    fill(store)
    return store


def share(runtime: int, noise: random.Random) -> tuple[Sampled, ...]:
    """100 samples, about ``runtime`` of them the scheduler's and the GC's."""
    runtime += noise.randint(-3, 3)
    return (
        Sampled("main.main;main.serve;encoding/json.Marshal", 0, 100 - runtime),
        Sampled(FINE, 1, runtime // 2),
        Sampled("runtime.gcBgMarkWorker", 2, runtime - runtime // 2),
    )


def fill(store: ClickHouseStore) -> None:
    noise = random.Random(7)
    nodes = {"big": (192, 47), "small1": (4, 15), "small2": (4, 15)}
    senders = {node: sender(f"agent-{node}", node) for node in nodes}
    reports = []
    for hour in range(HOURS):
        start = NOW - (HOURS - 1 - hour) * 3600
        changed = hour >= HOURS // 2
        for node, (value, runtime) in nodes.items():
            for minute in (0, 20):
                containers = [
                    Seen(
                        web(node=node),
                        share(runtime, noise),
                        gomaxprocs=value,
                        cpu_ns=30 * SECOND if value == 192 else 17 * SECOND,
                        findings=(OVERSIZED,) if value == 192 else (),
                    )
                ]
                if node == "small1":
                    version = "go1.25.3" if changed else "go1.24.1"
                    containers.append(
                        Seen(
                            web("api", node, go=version),
                            share(10 if changed else 30, noise),
                            gomaxprocs=1 if changed else 4,
                            cpu_ns=(6 if changed else 9) * SECOND,
                        )
                    )
                number = hour * 2 + minute // 20 + 1
                reports.append(
                    report(senders[node], number, containers, start_s=start + minute * 60)
                )
    store.insert(reports)
