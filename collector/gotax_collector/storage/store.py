"""Stores reports in ClickHouse: each once, and as a whole or not at all.

A batch takes three steps. First the names of new stacks are inserted (doing so twice changes
nothing). Then the batch is written to the journal. Then it is inserted into ``windows`` with a
unique token. After an interruption behind the second step, the insert is repeated with the same
token, and ClickHouse ignores, table by table, what it already has. After an earlier interruption
the agent sends the reports again, because they were not acknowledged. docs/decisions/0010 gives the
reasons, and says what replicas change.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gotax_collector.errors import CollectorError
from gotax_collector.report import Category, Report, StoreError
from gotax_collector.storage import rows, schema
from gotax_collector.storage.clickhouse import Connections, QueryError
from gotax_collector.storage.columns import STACKS, WINDOWS, Batch, workload_of
from gotax_collector.storage.journal import Journal, JournaledBatch
from gotax_collector.storage.schema import Layout, Retention
from gotax_collector.storage.stored_reports import Ranges, StoredReports

log = logging.getLogger(__name__)

INSERT_MAX_S = 30
"""How long an insert may take before it counts as failed and is repeated."""

ROWS_MAX = 50_000
"""Maximum of one insert. ClickHouse splits larger ones, which are then not atomic."""

PART_BYTES_MAX = 16 << 20
"""Rows of one insert, and so of the journal. A single report may have as much again."""

STACK_LINES_BYTES_MAX = 8 << 20
"""Rows of ``stacks`` that are in memory at a time. One row may have half as much again."""

_STACKS_PERIOD_S = 30 * 86_400  # stacks are inserted again this often, so that they do not expire
_WINDOWS = [column.name for column in WINDOWS]
_STACKS = [column.name for column in STACKS]
_ONE_BLOCK = {
    "max_insert_block_size": 4 * ROWS_MAX,
    "min_insert_block_size_rows": 4 * ROWS_MAX,
    "min_insert_block_size_bytes": 1 << 30,
    "input_format_parallel_parsing": 0,
    "max_insert_threads": 1,
}
_INSERT = {
    **_ONE_BLOCK,
    "async_insert": 0,
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "max_execution_time": INSERT_MAX_S,
    # A batch in the journal may be of an older gotax, without the last columns of this one.
    "input_format_json_compact_allow_variable_number_of_columns": 1,
}


class SchemaError(CollectorError):
    """A newer gotax made the store. The text is one sentence with the remedy."""


@dataclass(slots=True)
class Counters:
    """Counts since the start, for /metrics."""

    reports: int = 0
    rows: int = 0
    stacks: int = 0
    duplicates: int = 0
    batches: int = 0
    failures: int = 0
    replayed: int = 0
    insert_s: float = 0.0


def prepare(connections: Connections, retention: Retention) -> None:
    """Create or upgrade the tables. SchemaError: a newer gotax made the store. QueryError."""
    layout = layout_of(connections, retention)
    version = check(connections)
    statements = schema.statements(layout) if version == 0 else schema.migrations(version, layout)
    for statement in statements:
        connections.command(statement)
    if version < schema.VERSION:
        table = f"{layout.database}.schema_versions"
        connections.command(f"INSERT INTO {table} (version) VALUES ({schema.VERSION})")
    _set_expiry(connections, layout)


def check(connections: Connections) -> int:
    """The schema's version, 0 for an empty database. SchemaError: a newer gotax made it."""
    version = _version(connections)
    if version > schema.VERSION:
        raise SchemaError(
            f"the store {connections.address} has schema version {version}, but this gotax supports"
            f" only versions up to {schema.VERSION}: upgrade the collector"
        )
    return version


def layout_of(connections: Connections, retention: Retention) -> Layout:
    address = connections.address
    return Layout(retention, address.cluster, address.database)


def _version(connections: Connections) -> int:
    database = connections.address.database
    there = connections.rows(
        "SELECT count() AS n FROM system.tables"
        " WHERE database = {database:String} AND name = 'schema_versions'",
        {"database": database},
    )
    if not there[0]["n"]:
        return 0
    found = connections.rows(f"SELECT max(version) AS version FROM {database}.schema_versions")
    return int(found[0]["version"])


def _set_expiry(connections: Connections, layout: Layout) -> None:
    """Apply a changed retention to the tables and to the data in them.

    Each part on disk records when it expires. Only that record is rewritten, in the background. The
    rows are not.
    """
    for table, ttl in schema.expiry(layout):
        name = table.removeprefix(f"{layout.database}.")
        found = connections.rows(
            "SELECT create_table_query AS made FROM system.tables"
            " WHERE database = {database:String} AND name = {name:String}",
            {"database": layout.database, "name": name},
        )
        if found and ttl not in found[0]["made"]:
            alter = f"ALTER TABLE {table}{layout.on_cluster}"
            connections.command(f"{alter} MODIFY SETTING materialize_ttl_recalculate_only = 1")
            connections.command(f"{alter} MODIFY TTL {ttl}", {"materialize_ttl_after_modify": 0})
            connections.command(f"{alter} MATERIALIZE TTL", {"mutations_sync": 0})


@dataclass(slots=True)
class ClickHouseStore:
    """Implements ``report.Store``. ``folder`` is for the journal. One thread inserts."""

    connections: Connections
    folder: Path
    counters: Counters = field(default_factory=Counters)
    _stored: StoredReports = field(default_factory=StoredReports)
    _known: rows.KnownStacks = field(default_factory=rows.KnownStacks)
    _journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self._journal = Journal(self.folder / "journal")

    @property
    def quarantined(self) -> int:
        return self._journal.quarantined

    def insert(self, batch: Sequence[Report]) -> None:
        start = time.monotonic()
        try:
            self._finish()
            self._load_stored(batch)
            new = self._not_stored(batch)
            for part in _parts(new):
                self._keep(part)
        except (QueryError, OSError) as error:
            self.counters.failures += 1
            # A failed insert may have stored some of the batch: ask the table `ledger` again.
            self._stored.clear()
            raise StoreError(f"the store failed to take a batch: {error}") from error
        finally:
            self.counters.insert_s += time.monotonic() - start
        self.counters.batches += 1
        self.counters.reports += len(new)
        self.counters.duplicates += len(batch) - len(new)

    def recover(self) -> None:
        """Finish the interrupted batch of an earlier process. StoreError: retry later."""
        try:
            self._finish()
        except (QueryError, OSError) as error:
            raise StoreError(f"the store failed to take a batch: {error}") from error

    def close(self) -> None:
        self.connections.close()

    def _finish(self) -> None:
        while entry := self._journal.read():
            if self._is_overtaken(entry):
                log.info("batch %s: another replica has stored its reports", entry.token)
            elif not self._replay(entry):
                continue
            self._journal.remove(entry)

    def _replay(self, entry: JournaledBatch) -> bool:
        """False: the store can never take it."""
        try:
            self._send(entry)
        except QueryError as error:
            if not error.is_of_data:
                raise
            self._journal.quarantine(entry.token, str(error))
            return False
        self.counters.replayed += 1
        return True

    def _is_overtaken(self, entry: JournaledBatch) -> bool:
        """Whether another replica has stored the batch instead: none of it is in the store.

        This can only happen with a server: a folder has a single writer.
        """
        if self.connections.address.folder is not None:
            return False
        found = self.connections.rows(
            "SELECT count() AS n FROM windows"
            " WHERE namespace = '' AND workload = '' AND kind = 'Node' AND batch = {batch:UInt64}",
            {"batch": int(entry.token, 16)},
        )
        return not found[0]["n"]

    def _load_stored(self, batch: Sequence[Report]) -> None:
        """Load which reports the store has of agents with a new stream."""
        wanted = {
            (report.sender.agent, report.epoch): report.sender
            for report in batch
            if not self._stored.is_loaded(report.sender.agent, report.epoch, report.sender)
        }
        if not wanted:
            return
        agents = sorted({agent for agent, _ in wanted})
        epochs = sorted({epoch for _, epoch in wanted})
        found = self.connections.rows(
            # Within a range, sequence minus row number is constant.
            "SELECT agent, epoch, min(sequence) AS first, max(sequence) AS last FROM ("
            " SELECT agent, epoch, sequence,"
            "  sequence - row_number() OVER (PARTITION BY agent, epoch ORDER BY sequence) AS range"
            " FROM (SELECT DISTINCT agent, epoch, sequence FROM ledger"
            "  WHERE agent IN {agents:Array(String)} AND epoch IN {epochs:Array(UInt64)})"
            ") GROUP BY agent, epoch, range ORDER BY agent, epoch, first",
            {"agents": agents, "epochs": epochs},
            {"select_sequential_consistency": 1},
        )
        ranges: dict[tuple[str, int], list[tuple[int, int]]] = {key: [] for key in wanted}
        for row in found:
            if (key := (row["agent"], row["epoch"])) in ranges:
                ranges[key].append((row["first"], row["last"]))
        for key, sender in wanted.items():
            self._stored.load(*key, sender, Ranges(ranges[key]))

    def _not_stored(self, batch: Sequence[Report]) -> list[Report]:
        new: dict[tuple[str, int, int], Report] = {}
        for report in batch:
            if not self._stored.has(report.key):
                new.setdefault(report.key, report)
        return list(new.values())

    def _keep(self, reports: Sequence[Report]) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime(reports[0].received_unix_ns // 10**9))
        self._name_stacks(reports, day)
        token = secrets.randbits(64)
        batch = Batch(day, token)
        lines = [line for report in reports for line in rows.window_lines(report, batch)]
        count, body = len(lines), "\n".join(lines).encode()
        del lines
        entry = JournaledBatch(f"{token:016x}", body)
        self._journal.write(entry)
        try:
            self._send(entry)
        except QueryError as error:
            if not error.is_of_data:
                raise
            self._keep_usable(reports, entry, error)
            return
        self._journal.remove(entry)
        self.counters.rows += count
        for report in reports:
            self._stored.add(report.key)

    def _keep_usable(
        self, reports: Sequence[Report], entry: JournaledBatch, error: QueryError
    ) -> None:
        """Find the report that the store can never take. It counts as stored, so that its agent
        does not send it for ever."""
        if len(reports) > 1:
            self._journal.remove(entry)
            middle = len(reports) // 2
            self._keep(reports[:middle])
            self._keep(reports[middle:])
            return
        self._journal.quarantine(entry.token, str(error))
        self._stored.add(reports[0].key)

    def _send(self, entry: JournaledBatch) -> None:
        settings = {**_INSERT, "insert_deduplication_token": entry.token}
        if self.connections.address.cluster:
            settings |= {"distributed_foreground_insert": 1, "insert_quorum": "auto"}
        self.connections.insert("windows", _WINDOWS, entry.body, settings)

    def _name_stacks(self, reports: Sequence[Report], day: str) -> None:
        """Insert the names of new stacks, in parts: together they may be large."""
        lines: list[bytes] = []
        keys: list[np.uint64] = []
        size = 0
        for report in reports:
            for line, key in self._new_stacks(report, day):
                lines.append(line.encode())
                keys.append(key)
                size += len(line)
                if size > STACK_LINES_BYTES_MAX:
                    self._insert_stacks(lines, keys)
                    lines, keys, size = [], [], 0
        if lines:
            self._insert_stacks(lines, keys)

    def _insert_stacks(self, lines: Sequence[bytes], keys: Sequence[np.uint64]) -> None:
        # Duplicates of rows of other batches are merged (ReplacingMergeTree).
        settings = {**_ONE_BLOCK, "async_insert": 0, "insert_deduplicate": 0}
        self.connections.insert("stacks", _STACKS, b"\n".join(lines), settings)
        self._known.add(np.array(keys, np.uint64))
        self.counters.stacks += len(lines)

    def _new_stacks(self, report: Report, day: str) -> Iterator[tuple[str, np.uint64]]:
        stack_counts = report.stack_counts
        if not len(stack_counts):
            return
        period = report.received_unix_ns // 10**9 // _STACKS_PERIOD_S
        workloads = [workload_of(seen.identity) for seen in report.containers]
        salts = np.array([rows.workload_salt(w, period) for w in workloads], np.uint64)
        ids = rows.stack_ids(report)
        keys = ids ^ salts[stack_counts.container]
        found: set[int] = set()
        for index in np.flatnonzero(self._known.unknown(keys)).tolist():
            key = keys[index]
            if int(key) not in found:
                category: Category = report.categories[int(stack_counts.category[index])]
                stack = (int(ids[index]), int(stack_counts.stack_hash[index]), category)
                workload = workloads[int(stack_counts.container[index])]
                found.add(int(key))
                yield rows.stack_line(report, workload, stack, day), key


def _parts(reports: Sequence[Report]) -> list[list[Report]]:
    """Split by ROWS_MAX, by PART_BYTES_MAX and by day (of the collector's clock)."""
    parts: list[list[Report]] = []
    rows_, size, day = 0, 0, -1
    for report in reports:
        count = len(report.containers) + len(report.others) + 1
        today = report.received_unix_ns // 10**9 // 86_400
        is_full = rows_ + count > ROWS_MAX or size > PART_BYTES_MAX
        if not parts or is_full or today != day:
            parts.append([])
            rows_, size, day = 0, 0, today
        parts[-1].append(report)
        rows_ += count
        size += report.rows_bytes
    return parts
