"""Each report is kept once, wholly or not at all, whatever happens in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gotax_collector.report import Report, StoreError
from gotax_collector.storage import rows
from gotax_collector.storage.clickhouse import (
    Address,
    Connections,
    QueryError,
    StoreUnavailableError,
    engine_options,
)
from gotax_collector.storage.columns import Batch
from gotax_collector.storage.journal import (
    ENTRY_BYTES_MAX,
    QUARANTINE_FILES_MAX,
    Journal,
    JournaledBatch,
)
from gotax_collector.storage.schema import VERSION, Retention
from gotax_collector.storage.store import ClickHouseStore, SchemaError, prepare

from tests.collector.conftest import Opener
from tests.collector.reports import NOW, OVERSIZED, SECOND, Sampled, Seen, report, sender, web
from tests.stream.collecting import eventually

SAMPLES = (
    Sampled("main.main;main.work", 0, 70),
    Sampled("runtime.mcall;runtime.schedule;runtime.findRunnable", 1, 20),
    Sampled("runtime.gcBgMarkWorker", 2, 10),
)
SEEN = Seen(web(), SAMPLES, verdict="oversized", findings=(OVERSIZED,))


def count(store: ClickHouseStore, table: str, what: str = "count()") -> int:
    return int(store.connections.rows(f"SELECT {what} AS n FROM {table}")[0]["n"])


def sums(store: ClickHouseStore) -> tuple[int, ...]:
    """Windows, those of the hourly sums, and samples of the stacks' sums."""
    return (
        count(store, "windows", "countIf(ordinal > 0)"),
        count(store, "hours", "sum(windows)"),
        count(store, "workload_hours", "sum(windows)"),
        count(store, "stack_hours", "sum(samples)"),
        count(store, "ledger FINAL"),
    )


def test_a_report_is_kept_with_all_that_follows_from_it(store: ClickHouseStore) -> None:
    store.insert([report(sender(), 1, [SEEN])])
    assert sums(store) == (1, 1, 1, 100, 1)
    found = store.connections.rows("SELECT * FROM windows WHERE ordinal = 1")[0]
    assert (found["namespace"], found["kind"], found["workload"]) == ("shop", "Deployment", "web")
    assert found["cpu_ns"] == found["scheduler_ns"] + found["gc_ns"] + found["user_ns"]
    assert found["finding"] == ["GT001"]
    assert found["saving_mid"] == pytest.approx(0.2)
    assert sorted(found["stack_samples"]) == [10, 20, 70]


def test_what_comes_twice_is_kept_once(store: ClickHouseStore) -> None:
    first = report(sender(), 1, [SEEN])
    store.insert([first, first])
    store.insert([first, report(sender(), 2, [SEEN])])
    assert sums(store) == (2, 2, 2, 200, 2)
    assert store.counters.duplicates == 2


def test_what_comes_again_after_a_restart_is_kept_once(open_store: Opener) -> None:
    store = open_store()
    reports = [report(sender(), number, [SEEN]) for number in (1, 2, 3, 7)]
    store.insert(reports)
    store.close()
    store = open_store()
    store.insert([*reports, report(sender(), 5, [SEEN])])
    assert sums(store) == (5, 5, 5, 500, 5)


def test_another_replica_stored_it_meanwhile(store: ClickHouseStore) -> None:
    """A new stream of a known agent: what is remembered of the last one may be too little."""
    other = ClickHouseStore(store.connections, store.folder / "other")
    store.insert([report(sender(), 1, [SEEN])])
    other.insert([report(sender(), 2, [SEEN])])
    store.insert([report(sender(), 2, [SEEN]), report(sender(), 3, [SEEN])])
    assert sums(store) == (3, 3, 3, 300, 3)


def test_same_sequence_of_another_epoch_or_agent_is_another_report(store: ClickHouseStore) -> None:
    store.insert(
        [
            report(sender("a1"), 1, [SEEN], epoch=7),
            report(sender("a1"), 1, [SEEN], epoch=8),
            report(sender("a2"), 1, [SEEN], epoch=7),
        ]
    )
    assert sums(store) == (3, 3, 3, 300, 3)


def test_a_report_without_containers_is_kept_too(store: ClickHouseStore) -> None:
    store.insert([report(sender(), 1, [])])
    store.insert([report(sender(), 1, [])])
    assert sums(store) == (0, 0, 0, 0, 1)


def killed_before_the_sums(store: ClickHouseStore) -> list[Report]:
    """As kill -9 leaves it: the batch in the journal and in windows, one sum without it."""
    source = sender()
    reports = [report(source, number, [SEEN]) for number in (1, 2)]
    batch = Batch("2026-11-25", 9)
    lines = [line for one in reports for line in rows.window_lines(one, batch)]
    entry = JournaledBatch(f"{9:016x}", "\n".join(lines).encode())
    Journal(store.folder / "journal").write(entry)
    store.connections.command("DROP VIEW hours_view")
    store._send(entry)
    store.connections.command("DROP TABLE schema_versions")
    return reports


def test_killed_in_the_middle_of_an_insert(open_store: Opener) -> None:
    store = open_store()
    reports = killed_before_the_sums(store)
    assert count(store, "hours", "sum(windows)") == 0
    store.close()
    store = open_store()
    store.recover()
    store.insert(reports)  # the agent sends again what it has no Ack for
    assert count(store, "windows", "countIf(ordinal > 0)") == 2
    assert sums(store)[:3] == (2, 2, 2)
    assert store.counters.replayed == 1


def coarse(store: ClickHouseStore) -> tuple[int, int, int]:
    return (
        count(store, "stack_hours", "sum(cpu_ns)"),
        count(store, "stack_days", "sum(cpu_ns)"),
        count(store, "reported", "max(until)"),
    )


def test_a_report_that_comes_twice_counts_once(store: ClickHouseStore) -> None:
    for _ in range(2):
        store.insert([report(sender(), 1, [SEEN])])
    hours, days, until = coarse(store)
    assert hours == days > 0
    assert until == NOW + 60


def test_killed_before_the_coarse_sums(open_store: Opener) -> None:
    store = open_store()
    reports = killed_before_the_sums(store)
    store.close()
    store = open_store()
    store.recover()
    store.insert(reports)
    hours, days, _ = coarse(store)
    assert hours == days > 0


def test_a_failed_insert_comes_again(store: ClickHouseStore) -> None:
    first = report(sender(), 1, [SEEN])
    store.connections.command("RENAME TABLE windows TO away")
    with pytest.raises(StoreError, match="failed to take a batch"):
        store.insert([first])
    store.connections.command("RENAME TABLE away TO windows")
    store.insert([first])
    assert sums(store)[:1] == (1,)


def test_a_torn_journal_never_was(tmp_path: Path) -> None:
    """It is set aside, and counted."""
    journal = Journal(tmp_path)
    journal.write(JournaledBatch("0" * 16, b"whole"))
    path = tmp_path / f"{'0' * 16}.batch"
    path.write_bytes(path.read_bytes()[:-1])
    (tmp_path / "02.part").write_bytes(b"half")
    journal = Journal(tmp_path)
    assert journal.read() is None
    assert [each.name for each in tmp_path.iterdir()] == ["quarantine"]
    assert [each.name for each in (tmp_path / "quarantine").iterdir()] == [path.name]
    assert journal.quarantined == 1


@pytest.mark.parametrize("what", ["large", "name", "folder"])
def test_a_batch_that_cannot_be_read_does_not_stop_the_next(tmp_path: Path, what: str) -> None:
    """A journal of 1.1 GB, which an older gotax wrote, was read at every start."""
    journal = Journal(tmp_path)
    bad = tmp_path / f"{'0' * 15}{'z' if what == 'name' else '0'}.batch"
    if what == "folder":
        bad.mkdir()
    else:
        with bad.open("wb") as file:
            file.truncate(ENTRY_BYTES_MAX + 1 if what == "large" else 10)
    journal.write(JournaledBatch("1" * 16, b"good"))
    assert journal.read() == JournaledBatch("1" * 16, b"good")
    assert journal.quarantined == 1
    assert not bad.exists()


def test_the_quarantine_does_not_grow_without_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(QUARANTINE_FILES_MAX + 5):
        (tmp_path / f"{number:016x}.batch").write_bytes(b"damaged!")
        assert journal.read() is None
    assert len(list((tmp_path / "quarantine").iterdir())) == QUARANTINE_FILES_MAX
    assert journal.quarantined == QUARANTINE_FILES_MAX + 5


def test_a_batch_that_the_store_can_never_take_is_set_aside(open_store: Opener) -> None:
    """Rows that are no rows: the store was stopped for ever, and now takes what follows."""
    store = open_store()
    store._journal.write(JournaledBatch("a" * 16, b'["2026-01-01", "no number"]'))
    store.insert([report(sender(), 1, [SEEN])])
    assert sums(store) == (1, 1, 1, 100, 1)
    assert store.quarantined == 1


def test_of_a_batch_only_the_report_at_fault_is_set_aside(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it does not come again and again."""
    usual = rows.window_lines

    def lines(each: Report, batch: Batch) -> Iterator[str]:
        yield from ["[1, 2, 3, {"] if each.sequence == 3 else usual(each, batch)

    monkeypatch.setattr(rows, "window_lines", lines)
    source = sender()
    reports = [report(source, number, [SEEN]) for number in range(1, 6)]
    store.insert(reports)
    assert sums(store) == (4, 4, 4, 400, 4)
    assert store.quarantined == 1
    store.insert(reports)
    assert sums(store) == (4, 4, 4, 400, 4)
    assert store.quarantined == 1


def test_a_failure_that_may_pass_sets_nothing_aside(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory, no disk, no answer: the batch stays in the journal, and comes again."""
    usual = store.connections.insert

    def insert(*_: object) -> None:
        raise QueryError("Code: 241. DB::Exception: memory limit exceeded")

    monkeypatch.setattr(store.connections, "insert", insert)
    with pytest.raises(StoreError):
        store.insert([report(sender(), 1, [SEEN])])
    monkeypatch.setattr(store.connections, "insert", usual)
    store.insert([report(sender(), 1, [SEEN])])
    assert (sums(store), store.quarantined) == ((1, 1, 1, 100, 1), 0)


def test_stacks_are_inserted_in_parts(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long their names are, and each once."""
    monkeypatch.setattr("gotax_collector.storage.store.STACK_LINES_BYTES_MAX", 1000)
    sizes: list[int] = []
    usual = store.connections.insert

    def insert(table: str, columns: Sequence[str], body: bytes, settings: Any) -> None:
        if table == "stacks":
            sizes.append(len(body))
        usual(table, columns, body, settings)

    monkeypatch.setattr(store.connections, "insert", insert)
    stacks = tuple(Sampled(f"main.main;{'x' * 300}{number}", 0, 1) for number in range(20))
    store.insert([report(sender(), 1, [Seen(web(), stacks)])])
    assert len(sizes) >= 5
    assert max(sizes) < 2000
    assert count(store, "stacks") == 20


def test_a_batch_is_inserted_in_parts(
    store: ClickHouseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what its reports become."""
    monkeypatch.setattr("gotax_collector.storage.store.PART_BYTES_MAX", 1000)
    reports = [replace(report(sender(), number, [SEEN]), rows_bytes=600) for number in range(1, 6)]
    store.insert(reports)
    assert sums(store) == (5, 5, 5, 500, 5)
    assert count(store, "windows", "uniqExact(batch)") == 3


def test_names_of_strangers_stay_names(store: ClickHouseStore) -> None:
    name = "'); DROP TABLE windows; --\"\\<script>"
    seen = Seen(web(name), (Sampled(f"{name};\u202e{name}", 0, 1),))
    store.insert([report(sender(agent=name), 1, [seen])])
    found = store.connections.rows("SELECT workload, agent FROM windows WHERE ordinal = 1")
    assert found == [{"workload": name, "agent": name}]
    functions = store.connections.rows("SELECT functions FROM stacks")[0]["functions"]
    assert list(functions) == [name.split(";")[0], *f"{name};\u202e{name}".split(";")[1:]]


def test_counts_beyond_all_reason_are_kept(store: ClickHouseStore) -> None:
    seen = Seen(web(), (Sampled("main.main", 0, 1 << 62),), cpu_ns=1 << 62)
    store.insert([report(sender(), 1, [seen])])
    assert count(store, "windows", "sum(cpu_ns)") == 1 << 62


def test_a_window_of_the_future_counts_as_now(store: ClickHouseStore) -> None:
    first = report(sender(), 1, [SEEN])
    ahead = replace(first, start_unix_ns=first.start_unix_ns + 40 * 86_400 * 10**9)
    store.insert([ahead])
    assert count(store, "windows", "countIf(start > received)") == 0


def test_a_newer_store_is_refused(store: ClickHouseStore) -> None:
    store.connections.command(f"INSERT INTO schema_versions (version) VALUES ({VERSION + 1})")
    with pytest.raises(SchemaError, match=f"schema version {VERSION + 1}.*upgrade the"):
        prepare(store.connections, Retention())


def test_making_the_tables_twice_changes_nothing(store: ClickHouseStore) -> None:
    store.insert([report(sender(), 1, [SEEN])])
    store.connections.command("DROP TABLE schema_versions")
    prepare(store.connections, Retention())
    prepare(store.connections, Retention())
    assert sums(store) == (1, 1, 1, 100, 1)


def test_another_retention_changes_the_tables(store: ClickHouseStore) -> None:
    prepare(store.connections, Retention(windows_days=3, hours_days=30))
    made = store.connections.rows(
        "SELECT name, create_table_query AS made FROM system.tables WHERE database = 'gotax'"
    )
    text = {row["name"]: row["made"] for row in made}
    assert "stored + toIntervalDay(3)" in text["windows"]
    assert "hour + toIntervalDay(30)" in text["stack_hours"]


def test_a_shorter_retention_holds_for_what_is_there(store: ClickHouseStore) -> None:
    """The days that are now too old go, and no others."""
    prepare(store.connections, Retention(windows_days=30))
    old = NOW - 20 * 86_400
    for sequence, at in ((1, old), (2, NOW)):
        kept = report(sender(), sequence, [SEEN], start_s=at)
        store.insert([replace(kept, received_unix_ns=at * SECOND)])
    assert count(store, "windows", "uniqExact(stored)") == 2
    prepare(store.connections, Retention(windows_days=14))
    eventually(lambda: count(store, "windows", "uniqExact(stored)") == 1)
    assert count(store, "windows", "max(toUnixTimestamp(start))") == NOW
    assert count(store, "hours", "sum(windows)") == 2


def test_the_engine_stays_within_its_memory(store: ClickHouseStore) -> None:
    """A question that wants more than all of it fails, and nothing else does."""
    with pytest.raises(QueryError, match=r"(?i)memory limit"):
        store.connections.rows("SELECT length(groupArray(number)) AS n FROM numbers(300000000)")
    store.insert([report(sender(), 1, [SEEN])])
    assert sums(store) == (1, 1, 1, 100, 1)


def test_the_engine_has_taken_its_bounds(store: ClickHouseStore) -> None:
    """A name that ClickHouse no longer knows would bound nothing."""
    memory = store.connections.address.memory_bytes
    query = "SELECT name, toUInt64OrZero(value) AS n FROM system.server_settings"
    found = store.connections.rows(query)
    values = {row["name"]: row["n"] for row in found}
    wanted = engine_options(memory)
    assert {name: values.get(name) for name in wanted} == wanted
    caches = [n for name, n in wanted.items() if name.endswith("cache_size")]
    assert sum(caches) < memory // 4


def test_one_process_has_the_folder(open_store: Opener, folder: Path) -> None:
    open_store()
    with pytest.raises(StoreUnavailableError, match="another process has the store"):
        Connections(Address(folder=folder))


def test_clocks_behind_by_years_do_not_stop_the_store(store: ClickHouseStore) -> None:
    """Each report of a batch in another month: ClickHouse takes no insert of over a hundred
    partitions, and the batch came again without end."""
    one = report(sender(), 1, [SEEN])
    month_ns = 31 * 86_400 * SECOND
    batch = [
        replace(one, sequence=n, start_unix_ns=max(0, one.start_unix_ns - n * month_ns))
        for n in range(1, 201)
    ]
    store.insert(batch)
    assert sums(store) == (200, 200, 200, 200 * 100, 200)
    assert count(store, "hours", "uniqExact(toYYYYMM(hour))") <= 3
