"""A store that an older gotax made is upgraded, and loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

from gotax_collector.query.coarse import complete_since
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import parse_selection
from gotax_collector.storage import rows, schema
from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.columns import EXPLAINED, Batch
from gotax_collector.storage.journal import Journal, JournaledBatch
from gotax_collector.storage.store import ClickHouseStore

from tests.collector.conftest import Opener
from tests.collector.reports import NOW, Sampled, Seen, report, sender, web

FIXTURES = Path(__file__).parents[1] / "fixtures" / "store"
SEEN = Seen(web(), (Sampled("main.main;main.work", 0, 70), Sampled("runtime.schedule", 1, 30)))


def make_old_store(folder: Path) -> None:
    """As version 1 made it, with two windows in it."""
    connections = Connections(Address(folder=folder, memory_bytes=512 << 20))
    connections.command("CREATE DATABASE IF NOT EXISTS gotax")
    for statement in (FIXTURES / "schema-1.sql").read_text().split(";\n"):
        connections.command(statement)
    connections.command("INSERT INTO gotax.schema_versions (version) VALUES (1)")
    connections.command(
        "INSERT INTO gotax.windows (stored, agent, epoch, sequence, ordinal, start, workload,"
        " cpu_ns, duration_ns, hits, stack, stack_hits, category, category_ns) VALUES"
        " (today(), 'a9', 1, 1, 0, now(), 'n9', 0, 60, 51, [], [], [], []),"
        " (today(), 'a9', 1, 1, 1, now(), 'old', 500, 60, 50, [7, 8], [20, 30], ['user'], [500])"
    )
    connections.close()


def test_a_store_of_version_1_keeps_its_samples(folder: Path, open_store: Opener) -> None:
    """Hits became samples: in tables, in the sums of views, and for what is inserted later."""
    make_old_store(folder)
    store = open_store()
    store.insert([report(sender(), 1, [SEEN])])

    def found_by(query: str) -> list[tuple[object, ...]]:
        return [tuple(row.values()) for row in store.connections.rows(query)]

    by_workload = " GROUP BY workload ORDER BY workload"
    for table in ("hours", "workload_hours", "stack_hours"):
        found = found_by(f"SELECT workload, sum(samples) AS n FROM {table}{by_workload}")
        assert found == [("old", 50), ("web", 100)], table
    samples = "SELECT workload, sum(samples) AS n, sum(arraySum(stack_samples)) AS m FROM windows"
    found = found_by(f"{samples} WHERE ordinal > 0{by_workload}")
    assert found == [("old", 50, 50), ("web", 100, 100)]
    assert found_by("SELECT max(version) AS version FROM schema_versions") == [(schema.VERSION,)]
    assert not found_by(
        "SELECT table, name FROM system.columns WHERE database = 'gotax' AND name LIKE '%hits%'"
    )


def test_an_upgrade_that_was_interrupted_goes_on(folder: Path, open_store: Opener) -> None:
    """Half of the statements were done, and the version was not written."""
    make_old_store(folder)
    connections = Connections(Address(folder=folder, memory_bytes=512 << 20))
    statements = list(schema.migrations(1, schema.Layout()))
    for statement in statements[: len(statements) // 2]:
        connections.command(statement)
    connections.close()
    store = open_store()
    store.insert([report(sender(), 1, [SEEN])])
    found = store.connections.rows("SELECT sum(samples) AS n FROM stack_hours")
    assert found == [{"n": 150}]


def test_an_upgraded_store_has_the_columns_of_a_new_one(folder: Path, open_store: Opener) -> None:
    """Names, types and order: rows of the journal have no column names. The embedded engine has
    one folder per process, so the new one is made in the same, in another database."""
    make_old_store(folder)
    store = open_store()
    for statement in schema.statements(schema.Layout(database="fresh")):
        if statement.startswith("CREATE TABLE"):
            store.connections.command("CREATE DATABASE IF NOT EXISTS fresh")
            store.connections.command(statement)
    columns = (
        "SELECT database, table, name, type, compression_codec, position FROM system.columns"
        " WHERE database IN ('gotax', 'fresh') AND table NOT LIKE '%_view'"
    )
    found: dict[object, set[tuple[object, ...]]] = {"gotax": set(), "fresh": set()}
    for row in store.connections.rows(columns):
        database, *rest = row.values()
        found[database].add(tuple(rest))
    assert found["gotax"] == found["fresh"]
    assert len(found["fresh"]) > 100


def test_the_journal_of_version_2_is_read(folder: Path, open_store: Opener) -> None:
    """Its rows end before the columns that explain findings."""
    store = open_store()
    store.close()
    lines = rows.window_lines(report(sender(), 1, [SEEN]), Batch("2026-11-29", 9))
    shorter = [json.dumps(json.loads(line)[: -len(EXPLAINED)]) for line in lines]
    Journal(folder / "journal").write(JournaledBatch(f"{9:016x}", "\n".join(shorter).encode()))
    store = open_store()
    store.insert([report(sender(), 2, [SEEN])])
    query = "SELECT sequence, sum(samples) AS n FROM windows WHERE ordinal > 0 GROUP BY sequence"
    assert [
        tuple(row.values()) for row in store.connections.rows(f"{query} ORDER BY sequence")
    ] == [
        (1, 100),
        (2, 100),
    ]


def test_an_upgraded_store_uses_them_from_the_next_day_on(folder: Path, open_store: Opener) -> None:
    """What was inserted before is not in them. A new store has all."""
    make_old_store(folder)
    store = open_store()
    store.insert([report(sender(), 1, [SEEN])])
    complete = complete_since(Questions(store.connections).database.rows)
    assert complete is not None
    assert complete % 86_400 == 0
    assert NOW < complete <= NOW + 2 * 86_400
    found = Questions(store.connections).profile(parse_selection(["since=7d"], NOW + 7200))
    assert found.stack_count == 4  # two of the old store


def test_a_new_store_has_all_of_them(store: ClickHouseStore) -> None:
    assert complete_since(Questions(store.connections).database.rows) == 0
