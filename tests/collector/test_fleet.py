"""``gotax fleet`` as a user types it, against a collector and against a store's folder."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from gotax_collector.cli import command, tables
from gotax_collector.http.application import Served
from gotax_collector.http.site import Site
from gotax_collector.query.questions import Questions

from tests.collector.fleet import filled


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    store = filled(tmp_path_factory.mktemp("fleet"))
    site = Site(("127.0.0.1", 0), Served(Questions(store.connections), lambda: b"", lambda: 0.0))
    yield f"http://127.0.0.1:{site.port}"
    site.close()
    store.close()


def test_all_questions_of_a_collector(
    collector: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def ask(*arguments: str) -> str:
        name, *more = arguments
        assert command.run("fleet", [name, "--collector", collector, *more]) == 0
        return capsys.readouterr().out

    top = ask("top", "since=7d", "--price-per-core-hour", "0.04")
    assert re.search(r"^shop/web .* 29\.\d% .* 4,192 .* GT001$", top, re.M)
    assert "2 workloads" in top
    assert "COST/MONTH" in top

    compared = ask("compare", "web", "since=7d")
    assert re.search(r"^192 .* \+32\.\d pt  \+3\d\.\d to \+3\d\.\d  <0\.001$", compared, re.M)
    assert "gomaxprocs 192 beside 4: the runtime takes more, 47.1% against 14.8%" in compared
    by_node = ask("compare", "web", "since=7d", "--by", "node")
    assert "no difference beyond chance" in by_node

    changes = ask("changes", "since=7d")
    assert "GOMAXPROCS  4 → 1" in changes
    assert "Go          go1.24.1 → go1.25.3" in changes
    assert "Without a throughput" in changes
    with_work = ask("changes", "workload=api", "since=7d", "--throughput", "30", "20")
    assert re.search(r"per unit +(\d\.\d{3}) → \1 ms of CPU", with_work)

    assert "encoding/json.Marshal" in ask("functions", "since=7d", "workload=web")
    both = ask("diff", "workload=web gomaxprocs=4 since=7d", "workload=web gomaxprocs=192 since=7d")
    assert re.search(r"85\.\d%  5\d\.\d%  -3\d\.\d pt .* encoding/json\.Marshal", both)

    assert "main.main;main.serve;encoding/json.Marshal;[user] " in ask("flamegraph", "since=7d")
    page = tmp_path / "fleet.html"
    ask("flamegraph", "since=7d", "-o", str(page))
    assert "<svg" in page.read_text()

    found = json.loads(ask("top", "since=7d", "--json"))
    assert found["schema"] == "gotax.fleet.top/v1"


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run("fleet", ["top", "--collector", "http://127.0.0.1:9"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gotax: no collector answers at http://127.0.0.1:9 (")
    assert error.count("\n") == 1
    assert "--collector URL" in error


def test_a_refusal_is_one_sentence(collector: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run("fleet", ["top", "--collector", collector, "colour=red"]) == 2
    assert "there is no field 'colour'" in capsys.readouterr().err
    assert command.run("fleet", ["top", "--collector", collector, "-n", "0"]) == 2
    assert capsys.readouterr().err == "gotax: limit is from 1 to 1000, not '0'\n"


def test_no_store_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run("fleet", ["top", "--store", str(tmp_path)]) == 2
    assert "`gotax collector` makes one" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["\x1b[2Jred", "a\u202eb", "tab\there", "line\nbreak"])
def test_no_name_moves_the_cursor(name: str) -> None:
    shown = tables.printable(name)
    assert "?" in shown
    assert all(unicodedata.category(c) not in ("Cc", "Cf") for c in shown)


def test_wide_names_keep_the_columns() -> None:
    columns = [tables.Column("A", False), tables.Column("B")]
    lines = tables.table(columns, [["日本", "1"], ["abcd", "22"]]).splitlines()
    assert lines == ["A      B", "日本   1", "abcd  22"]
