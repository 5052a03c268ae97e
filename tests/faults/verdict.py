"""The contents of the store, compared with the published windows."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from gotax_collector.storage.clickhouse import Address, Connections


@dataclass(frozen=True)
class Stored:
    """``rows``: how often each (agent, epoch, sequence, ordinal) is stored; ``numbers``: windows'
    numbers by agent; ``sequences`` by (agent, epoch)."""

    rows: Counter[tuple[str, int, int, int]]
    numbers: dict[str, set[int]]
    sequences: dict[tuple[str, int], set[int]]

    @property
    def doubled(self) -> int:
        return sum(1 for count in self.rows.values() if count > 1)


def read_store(folder: Path) -> Stored:
    connections = Connections(Address(folder=folder))
    try:
        rows: Counter[tuple[str, int, int, int]] = Counter()
        numbers: dict[str, set[int]] = defaultdict(set)
        sequences: dict[tuple[str, int], set[int]] = defaultdict(set)
        for row in connections.rows(
            "SELECT agent, epoch, sequence, ordinal, period_ns FROM gotax.windows"
        ):
            rows[row["agent"], row["epoch"], row["sequence"], row["ordinal"]] += 1
            numbers[row["agent"]].add(row["period_ns"])
            sequences[row["agent"], row["epoch"]].add(row["sequence"])
        return Stored(rows, numbers, sequences)
    finally:
        connections.close()


@dataclass
class Account:
    """Of an agent with a ledger. ``missing``: published, not stored. ``dropped``: by reason, as
    reported last by its processes."""

    published: set[int] = field(default_factory=set)
    dropped: Counter[str] = field(default_factory=Counter)
    processes: int = 0
    waiting: int = 0

    def missing(self, stored: set[int]) -> set[int]:
        return self.published - stored


def read_ledger(path: Path) -> Account:
    account = Account()
    last: dict[int, dict[str, int]] = {}
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "published" in entry:
            account.published.add(entry["published"])
        last[entry["process"]] = entry["statistics"]["dropped"]
        account.waiting = entry["statistics"]["spool_records"]
    for dropped in last.values():
        account.dropped.update({why: count for why, count in dropped.items() if count})
    account.processes = len(last)
    return account


def gaps(sequences: set[int]) -> list[int]:
    """The missing numbers between 1 and the highest."""
    return sorted(set(range(1, max(sequences, default=0) + 1)) - sequences)
