"""The store by URL: the same questions, and once only, over HTTP (server.py says how far)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gotax_collector.cli.credentials import CredentialsError, store_password
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import parse_selection
from gotax_collector.storage.clickhouse import (
    Address,
    Connections,
    StoreUnavailableError,
    parse_address,
)
from gotax_collector.storage.schema import Layout, Retention, statements
from gotax_collector.storage.store import ClickHouseStore, prepare

from tests.collector.conftest import Opener
from tests.collector.fleet import UNTIL, fill
from tests.collector.reports import Sampled, Seen, report, sender, web

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.collector.server", str(tmp_path / "server")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    yield f"http://127.0.0.1:{int(process.stdout.readline())}/fleet"
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_server_keeps_and_answers(url: str, tmp_path: Path) -> None:
    connections = Connections(parse_address(url))
    prepare(connections, Retention())
    store = ClickHouseStore(connections, tmp_path)
    fill(store)
    fill(ClickHouseStore(connections, tmp_path / "other replica"))
    questions = Questions(connections)
    week = parse_selection(["since=12h", 'workload="web"'], UNTIL)
    assert questions.top(week).rows[0].gomaxprocs == (4, 192)
    big = questions.compare(week).sides[1]
    assert big.runtime is not None
    assert big.runtime.is_sure
    profile = questions.profile(week)
    assert profile.cpu_ns == pytest.approx(12 * 128 * 10**9, rel=1e-6)
    name = "a'b\\c\t%2B&é\"`"
    store.insert([report(sender("x"), 1, [Seen(web(name), (Sampled("f", 0, 90),))])])
    found = questions.top(parse_selection(["since=12h", "pod=a'b*"], UNTIL))
    assert [row.workload for row in found.rows] == [name]
    store.close()


def test_nobody_listens() -> None:
    with pytest.raises(
        StoreUnavailableError, match=r"cannot use the store http://127\.0\.0\.1:9/gotax"
    ):
        Connections(Address(host="127.0.0.1", port=9))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("/var/lib/gotax", Address(folder=Path("/var/lib/gotax"))),
        ("http://ch", Address(host="ch")),
        (
            "https://me@ch/prod?cluster=main",
            Address(
                *(None, "ch", 8443, True, "me", "p@ss", "prod", "main"),
            ),
        ),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    password = address.password
    assert parse_address(text, password=password) == address
    assert "p@ss" not in str(address)
    assert "p@ss" not in repr(address)


@pytest.mark.parametrize(
    "text", ["tcp://ch:9000", "http://", "http://ch/a;b", "http://ch/?cluster=a'b", "http://ch?x=1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a folder"):
        parse_address(text)


def test_a_password_in_an_argument_is_refused() -> None:
    """Every user of the machine can read it in /proc. The sentence does not repeat it."""
    with pytest.raises(ValueError, match="--store-password-file") as caught:
        parse_address("https://me:hunter2@ch/prod")
    assert "hunter2" not in str(caught.value)


def test_a_password_comes_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOTAX_STORE_PASSWORD", "of the environment")
    assert store_password(None) == "of the environment"
    (tmp_path / "password").write_text("of the file\n")
    assert store_password(str(tmp_path / "password")) == "of the file"
    (tmp_path / "password").write_text("\n")
    with pytest.raises(CredentialsError, match="no password in its first line"):
        store_password(str(tmp_path / "password"))
    with pytest.raises(CredentialsError, match="No such file"):
        store_password(str(tmp_path / "none"))


def test_the_tables_of_a_cluster_are_sql(open_store: Opener) -> None:
    """The engine parses them; only a cluster could make them."""
    connections = open_store().connections
    made = list(statements(Layout(cluster="main")))
    for statement in made:
        assert connections.rows(f"EXPLAIN AST {statement}")
        assert "ON CLUSTER" in statement
    text = "\n".join(made)
    assert "ENGINE = Distributed('main', 'gotax', 'windows_local', cityHash64(agent))" in text
    assert "ReplicatedAggregatingMergeTree('/clickhouse/tables/gotax/hours/{shard}'" in text
    assert "TO gotax.hours_local AS SELECT" in text.replace("\n", " ")
