"""``gotax fleet --store FOLDER``, with no collector: the engine has one folder per process."""

from __future__ import annotations

from pathlib import Path

import pytest
from gotax_collector.cli import command

from tests.collector.fleet import filled


def test_a_folder_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = filled(tmp_path)
    assert command.run("fleet", ["top", "--store", str(tmp_path), "since=7d"]) == 2
    assert "another process has the store" in capsys.readouterr().err
    store.close()
    assert command.run("fleet", ["top", "--store", str(tmp_path), "since=7d"]) == 0
    assert "shop/web" in capsys.readouterr().out
    page = tmp_path / "web.html"
    arguments = ["flamegraph", "--store", str(tmp_path), "workload=web", "-o", str(page)]
    assert command.run("fleet", arguments) == 0
    assert "runtime.findRunnable" in page.read_text()
