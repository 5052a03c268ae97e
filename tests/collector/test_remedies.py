"""``gotax fleet remedies`` of a store: which findings hold, and what is written of them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gotax_collector.cli import command
from gotax_collector.query.questions import Questions
from gotax_collector.query.remedies import Wanted
from gotax_collector.query.selection import parse_selection
from gotax_collector.report import Finding
from gotax_collector.storage.store import ClickHouseStore

from tests.collector.reports import NOW, OVERSIZED, Sampled, Seen, report, sender, web

SOME = (Sampled("main.main", 0, 100),)
PATCH = """\
spec:
  template:
    spec:
      containers:
      - name: app
        env:
        - name: GOMAXPROCS
          valueFrom:
            resourceFieldRef:
              resource: limits.cpu
              divisor: "1"
"""
NIGHTLY = f"spec:\n  jobTemplate:\n    {PATCH.replace(chr(10), chr(10) + '    ')}"
WANTED = replace(OVERSIZED, patches=(PATCH, "go 1.25.0\n"))
OF_A_JOB = replace(OVERSIZED, patches=(NIGHTLY,))
NEW = replace(OVERSIZED, code="GT099", severity="info", patches=())
END = NOW + 3600


def seen(name: str, node: str, *findings: Finding, kind: str = "Deployment", run: int = 0) -> Seen:
    identity = web(name, node)
    identity = replace(
        *(identity,), workload_kind=kind, pod=f"{name}-{run}", name=f"shop/{name}-{run}/app"
    )
    return Seen(identity, SOME, gomaxprocs=192, findings=findings)


def fill(store: ClickHouseStore) -> None:
    """Over an hour: mended, still there, silent, and the last run of a job."""
    minutes: list[tuple[str, int, list[Seen]]] = [
        ("n1", 0, [seen("mended", "n1", WANTED), seen("nightly", "n1", kind="CronJob")]),
        ("n2", 52, [seen("lost", "n2", WANTED)]),
        ("n1", 20, [seen("nightly", "n1", OF_A_JOB, kind="CronJob", run=1)]),
        ("n1", 58, [seen("mended", "n1"), seen("web", "n1", WANTED, NEW)]),
        ("n3", 58, [seen("web", "n3", replace(WANTED, title="another title"))]),
        ("n3", 59, [seen("web", "n3", replace(WANTED, title="another title"))]),
        ("n1", 59, [seen("mended", "n1"), seen("web", "n1", WANTED, NEW)]),
    ]
    store.insert(
        [
            report(sender(f"agent-{node}", node), number, containers, start_s=NOW + minute * 60)
            for number, (node, minute, containers) in enumerate(minutes, 1)
        ]
    )


def asked(store: ClickHouseStore, *terms: str) -> list[Wanted]:
    selection = parse_selection(["since=1d", f"until={_iso(END)}", *terms], END + 60)
    return list(Questions(store.connections).remedies(selection).rows)


def _iso(unix_s: int) -> str:
    return datetime.fromtimestamp(unix_s, UTC).isoformat()


def test_what_holds_is_asked_for(
    store: ClickHouseStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    fill(store)
    found = asked(store)
    assert [(row.workload, row.code, row.containers, row.nodes) for row in found] == [
        ("nightly", "GT001", 1, 1),
        ("web", "GT001", 2, 2),
        ("web", "GT099", 1, 1),
    ]
    nightly, both, _ = found
    assert both.patches == WANTED.patches
    assert both.title == min("another title", WANTED.title)
    assert both.saving_cores == pytest.approx((0.2, 0.4, 0.6))
    assert (both.gomaxprocs, both.limit_cores, both.origins) == ((192,), (1.0, 1.0), ("cpu-count",))
    assert nightly.patches == OF_A_JOB.patches
    remedies = Questions(store.connections).remedies(
        parse_selection(["since=1d", f"until={_iso(END)}"], END + 60)
    )
    assert (remedies.silent, remedies.is_cut) == (1, False)
    assert [row.workload for row in asked(store, "workload=web", "node=n3")] == ["web"]
    store.close()

    def ask(*arguments: str, code: int = 0) -> str:
        where = ("--store", str(folder), f"until={_iso(END)}")
        assert command.run("fleet", ["remedies", *where, *arguments]) == code
        shown = capsys.readouterr()
        return shown.err if code else shown.out

    text = ask("-o", str(tmp_path / "out"))
    assert "app: GOMAXPROCS=the CPU limit (1), 2 containers on 2 nodes, 0.40 cores  [GT001]" in text
    assert "1 finding of agents that no longer report is left out." in text
    assert "GT099" not in text
    patches = sorted(path.name for path in (tmp_path / "out" / "shop" / "patches").iterdir())
    assert patches == ["shop.CronJob.nightly.yaml", "shop.Deployment.web.yaml"]
    assert "is not empty: name a new folder" in ask("-o", str(tmp_path / "out"), code=2)
    assert "go together" in ask("--owner-label", "team", code=2)
    assert "GT099" in ask("--all", "--format", "csv")
    assert json.loads(ask("--json"))["schema"] == "gotax.fleet.remedies/v1"
