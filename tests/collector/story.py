"""A fleet with a story: what a page must not get wrong.

Its agents reported for some hours, then for three days not at all, and now they do again, up to
half past. ``EACH`` cores are what most containers use all the time.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from gotax_collector.report import ContainerIdentity, Finding, Report, Sender
from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import ClickHouseStore, prepare

from tests.collector.fleet import FINE
from tests.collector.reports import OVERSIZED, SECOND, Sampled, Seen, report, sender, web

HOUR = 3600
UNTIL = (int(time.time()) - HOUR // 2) // HOUR * HOUR + HOUR // 2
"""When the last window ended: at half past, so that what happened in the last minutes is in the
same hour whenever the tests run."""
BEGUN = UNTIL // HOUR * HOUR - 90 * HOUR + 50 * 60  # ten minutes of its first hour
STOPPED = BEGUN + 10 * 60 + 9 * HOUR
RETURNED = STOPPED + 72 * HOUR
ROLLED_OUT = STOPPED - 4 * HOUR
LATE = UNTIL - 900
"""From here on windows are a minute, before they are ten."""
MENDED = UNTIL - 420
GONE = UNTIL - 300
EACH = 0.5

NODES = {"n4a": 4, "n4b": 4, "n192a": 192, "n192b": 192}
TOO_FEW = Finding(
    code="GT014",
    severity="info",
    confidence="low",
    cause="",
    title="GOMAXPROCS is above the CPU limit, and there are too few samples to tell the cost",
    remedy="wait",
    remedy_gomaxprocs=None,
    saving_low_cores=None,
    saving_mid_cores=None,
    saving_high_cores=None,
)
THROTTLED = replace(
    TOO_FEW,
    code="GT007",
    severity="warning",
    title="throttled by bursts",
    cause="cpu-count",
    evidence=("throttled in 40 of 600 periods", "<b>GOMAXPROCS</b> is 192"),
    patches=(
        "# apply it\nspec:\n  env:\n    valueFrom:\n      resourceFieldRef:\n",
        "[Service]\nEnvironment=GOMAXPROCS=1\n",
        "go 1.25.0\n",
    ),
)
GC_HEAVY = replace(TOO_FEW, code="GT009", title="garbage collection takes much")


@dataclass(slots=True)
class Story:
    noise: random.Random = field(default_factory=lambda: random.Random(7))

    def seen(self, who: ContainerIdentity, value: int, runtime: int, **more: object) -> Seen:
        """``runtime`` is the scheduler's share in percent."""
        runtime += self.noise.randint(-1, 1)
        samples = (
            Sampled("main.main;main.serve", 0, 100 - runtime),
            Sampled(FINE, 1, runtime),
        )
        return replace(Seen(who, samples, gomaxprocs=value), **more)  # type: ignore[arg-type]

    def containers(self, node: str, at: int) -> Iterator[Seen]:
        cpus = NODES[node]
        runtime = 8 if cpus == 4 else 36
        image = "registry/catalog:2" if at >= ROLLED_OUT else "registry/catalog:1"
        # Most of them were on small nodes before, and are on large ones after.
        many = ("n4a", "n4b") if at < ROLLED_OUT else ("n192a", "n192b")
        for number in range(3 if node in many else 1):
            who = replace(
                web("catalog", node, image=image), pod=f"catalog-{image[-1]}-{node}-{number}"
            )
            yield self.seen(who, cpus, runtime)
        if node == ("n4a" if at < ROLLED_OUT else "n192a"):
            who = web("moved", node, image=image.replace("catalog", "moved"))
            yield self.seen(who, cpus, runtime)
        if node == "n192a":
            is_tuned = at >= ROLLED_OUT
            yield self.seen(web("tuned", node), 4 if is_tuned else 192, 9 if is_tuned else 36)
            yield from self.with_findings(node, at)
        if node == "n192b":
            unit = ContainerIdentity(
                name="gateway.service", unit="gateway.service", command="gateway"
            )
            yield self.seen(unit, 2, 8)

    def with_findings(self, node: str, at: int) -> Iterator[Seen]:
        is_mended = at >= MENDED
        yield self.seen(
            web("mended", node),
            1 if is_mended else 192,
            9 if is_mended else 36,
            findings=() if is_mended else (OVERSIZED,),
        )
        if at < GONE:
            yield self.seen(web("gone", node), 192, 36, findings=(OVERSIZED,))
        found = TOO_FEW if is_mended else OVERSIZED
        yield self.seen(web("restarted", node), 192, 36, findings=(found,))
        yield self.seen(web("throttled", node), 192, 36, findings=(THROTTLED, GC_HEAVY))

    def reports(self) -> Iterator[Report]:
        for node, cpu_count in NODES.items():
            for number, (at, seconds) in enumerate(windows(), 1):
                containers = [
                    replace(one, cpu_ns=int(EACH * seconds * SECOND))
                    for one in self.containers(node, at)
                ]
                yield report(
                    _sender(node),
                    number,
                    containers,
                    start_s=at,
                    duration_s=seconds,
                    cpu_count=cpu_count,
                )


def windows() -> Iterator[tuple[int, int]]:
    """(start, seconds)"""
    for since, until in ((BEGUN, STOPPED), (RETURNED, LATE)):
        at = since
        while at < until:
            yield at, min(600, until - at)
            at += 600
    yield from ((at, 60) for at in range(LATE, UNTIL, 60))


def _sender(node: str) -> Sender:
    return sender(f"agent-{node}", node)


def filled(folder: Path) -> ClickHouseStore:
    """The caller closes it."""
    connections = Connections(Address(folder=folder, memory_bytes=512 << 20))
    prepare(connections, Retention())
    store = ClickHouseStore(connections, folder)
    store.insert(list(Story().reports()))
    return store
