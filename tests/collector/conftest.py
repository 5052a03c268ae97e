"""The embedded engine allows one folder per process at a time: a store is opened per test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("clickhouse_connect", reason="the extra [collector] is not installed")
pytest.importorskip("chdb", reason="no embedded ClickHouse for this platform")

from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import ClickHouseStore, prepare

Opener = Callable[[], ClickHouseStore]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def open_store(folder: Path) -> Iterator[Opener]:
    """Opens the test's store; again, after it was closed."""
    opened: list[ClickHouseStore] = []

    def open_() -> ClickHouseStore:
        connections = Connections(Address(folder=folder, memory_bytes=512 << 20))
        prepare(connections, Retention())
        opened.append(ClickHouseStore(connections, folder))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Opener) -> ClickHouseStore:
    return open_store()
