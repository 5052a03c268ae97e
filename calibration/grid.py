"""The runs of the calibration: workloads x limits x Go versions x GOMAXPROCS, a balanced
fraction."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

SEED = 20
VERSIONS = ("1.22.12", "1.24.13", "1.26.8")
TURNS = (
    (1.0, None, 0.5, 1.5),
    (None, 0.5, 1.5, 1.0),
    (0.5, 1.5, 1.0, None),
    (1.5, 1.0, None, 0.5),
)
"""Limits (None: none) by workload and round: within two rounds each workload has one that fits 1
and one that fits 2."""
CPUS = 2  # of the machine for which the grid is
LOADS = (0.12, 0.22, 0.35, 0.5)
"""The load, as shares of what a right-sized process can use under the limit (or on the machine)."""

UNITS_PER_CPU_S = {
    "http": 27_000,
    "fanout": 60_000,
    "tickers": 390_000,
    "trees": 13_000,
    "digest": 46_000,
    "mutex": 500_000,
    "stages": 225_000,
    "lookup": 38_000,
    "bursts": 90_000,
    "datagrams": 110_000,
    "render": 22_000,
    "rpc": 75_000,
    "mergesort": 2_700,
    "relay": 50_000,
    "tables": 31_000,
    "condition": 190_000,
    "images": 7_000,
    "pollers": 400_000,
    "multiplex": 450_000,
    "sessions": 70_000,
    "journal": 700_000,
    "graph": 5_800,
    "index": 50_000,
    "values": 19_000,
    "counters": 350_000,
    "files": 12_500,
    "pool": 36_000,
    "batches": 1_400,
    "lines": 97_000,
    "sign": 9_900,
    "chores": 11_000,
    "deadlines": 100_000,
    "ingest": 350_000,
    "broker": 28_000,
    "cache": 385_000,
    "parser": 9_900,
    "pipes": 75_000,
    "gateway": 17_000,
    "tls": 49_000,
}
"""The work of one CPU second with GOMAXPROCS=1, so that loads can be given as shares. Rounded; not
needed for a closed loop."""

FITTED = (
    *("http", "fanout", "tickers", "trees", "digest", "saturate"),
    *("mutex", "stages", "lookup", "bursts", "datagrams", "pingpong"),
    *("relay", "tables", "condition", "images", "pollers", "multiplex", "sessions", "journal"),
    *("graph", "index", "values", "counters", "files", "pool"),
    *("batches", "lines", "sign", "primes", "chores", "deadlines"),
)
HELD_OUT = (
    *("render", "rpc", "mergesort", "ingest", "broker", "matrix", "cache"),
    *("parser", "pipes", "gateway", "tls"),
)
CLOSED = frozenset({"saturate", "pingpong", "primes", "matrix"})

ABOVE_ONE = (2, 3, 4, 8, 16, 64, 192)
ABOVE_TWO = (3, 4, 8, 16, 64, 192)


@dataclass(frozen=True, slots=True)
class Cell:
    """Runs that differ only in GOMAXPROCS. ``procs`` has the value that fits the limit first."""

    workload: str
    version: str
    limit_cores: float | None
    load: float
    procs: tuple[int, ...]

    @property
    def fits(self) -> int:
        return self.procs[0]

    @property
    def rate(self) -> float:
        """Units a second."""
        if self.workload in CLOSED:
            return 1.0
        cores = min(self.limit_cores or CPUS, CPUS)
        return UNITS_PER_CPU_S[self.workload] * self.load * cores


def cells(workloads: tuple[str, ...], rounds: int) -> Iterator[Cell]:
    """A cell per workload in each round, in random order; the variables are spread evenly.

    A cell does not depend on the other workloads, so that more can be added to a table.
    """
    for turn in range(rounds):
        found = []
        for number, workload in enumerate(workloads):
            limit = TURNS[number % len(TURNS)][turn]
            chosen = random.Random(f"{SEED} {workload} {turn}")
            if limit is not None and limit <= 1:
                procs = (1, *sorted(chosen.sample(ABOVE_ONE, 4)))
            else:
                procs = (2, 1, *sorted(chosen.sample(ABOVE_TWO, 3)))
            version = VERSIONS[(number + turn) % len(VERSIONS)]
            load = chosen.choice(LOADS)
            found.append(Cell(workload, version, limit, load, procs))
        random.Random(f"{SEED} {turn}").shuffle(found)
        yield from found
