"""The store of bench/fleet_queries.py, small: its figures are of graphs that are there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.flamegraph import tree
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import parse_selection
from gotax_collector.storage.clickhouse import Address, Connections

from bench.fleet_queries import FAMILIES, Fleet, build, named
from tests.collector import browser

FLEET = Fleet(nodes=16, per_node=3, workloads=3, days=5, minutes=2)


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    folder = tmp_path_factory.mktemp("bench")
    build(folder, 1e9, FLEET)
    with closing(Connections(Address(folder=folder, memory_bytes=512 << 20))) as connections:
        yield Questions(connections)


@pytest.fixture(scope="module")
def end(questions: Questions) -> int:
    rows = questions.database.rows("SELECT toUnixTimestamp(max(start)) AS at FROM windows", {})
    return int(rows[0]["at"]) + 60


def test_stacks_have_names_in_both_tables(questions: Questions, end: int) -> None:
    """Hashes of a UInt16 and of a UInt32 differ: the published times were of near-empty graphs."""
    assert named(questions, end) == 1
    lately = questions.profile(parse_selection(["since=1h", "workload=service-000"], end))
    assert lately.stacks
    assert all(stack.functions for stack in lately.stacks)
    week = questions.profile(parse_selection(["since=7d", "workload=service-000"], end))
    assert len(tree(week).document(title="", seconds_per_unit=1e-9)["names"]) > 200


def test_nobody_changed_a_gomaxprocs(questions: Questions, end: int) -> None:
    """GOMAXPROCS of every third workload follows the node's CPUs, 4 to 192; images roll out."""
    found = questions.changes(parse_selection(["since=7d"], end), limit=1000)
    assert {row.what for row in found.rows} == {("image",)}
    assert {row.cpu_count for row in found.rows} <= set(FAMILIES)
    assert len({row.workload for row in found.rows}) == FLEET.workloads
    assert all(row.before.gomaxprocs == row.after.gomaxprocs for row in found.rows)
    assert all(abs(row.runtime_change.change) < 0.01 for row in found.rows)


def test_the_page_of_changes_says_so(questions: Questions) -> None:
    browser.needed()
    site = Site(("127.0.0.1", 0), Served(questions, lambda: b"", lambda: 0.0))
    with closing(site), browser.browsing() as window:
        window.open(f"http://127.0.0.1:{site.port}/changes?since=7d")
        rows = window.texts("table.changes tbody tr")
        assert len(rows) >= FLEET.workloads
        assert all(re.search(r"image \S+:0 → \S+:1 \d+ CPUs", row) for row in rows)
        assert not any("GOMAXPROCS" in row for row in rows)
