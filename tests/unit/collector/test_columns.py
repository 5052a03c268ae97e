"""One table of columns: what CREATE TABLE, INSERT and the rows have follows from it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

pytest.importorskip("clickhouse_connect", reason="the extra [collector] is not installed")

from gotax_collector.report import Report
from gotax_collector.storage import schema
from gotax_collector.storage.columns import STACKS, WINDOWS, Batch, workload_of
from gotax_collector.storage.rows import stack_line, window_lines

from tests.collector.reports import NOW, OVERSIZED, SECOND, Sampled, Seen, report, sender, web

SAMPLES = (Sampled("main;work", 0, 7), Sampled("main;idle", 1, 3))


def one_report() -> Report:
    """Every value is another."""
    who = dataclasses.replace(web(), container_id="c1", main_version="v1", command="webd")
    seen = Seen(
        who, SAMPLES, recommended=6, cpu_ns=1000, verdict="oversized", findings=(OVERSIZED,)
    )
    made = report(sender(), 5, [seen])
    container = dataclasses.replace(
        made.containers[0],
        process_count=2,
        expected=3,
        request_cores=0.25,
        usage_ns=1100,
    )
    lost, dropped = (("ring", 4),), (("queue", 2),)
    return dataclasses.replace(made, containers=(container,), lost=lost, dropped=dropped)


def rows(made: Report) -> list[dict[str, Any]]:
    names = [column.name for column in WINDOWS]
    lines = window_lines(made, Batch("2026-11-25", 9))
    return [dict(zip(names, json.loads(line), strict=True)) for line in lines]


def test_a_container_without_go_has_a_workload_of_its_own() -> None:
    """So it is not added to the Go containers of its pod, and has none of their CPU time."""
    made = one_report()
    go = made.containers[0]
    other = dataclasses.replace(
        go,
        identity=dataclasses.replace(go.identity, container="proxy", go_version=""),
        cpu_ns=0,
        category=go.category[:0],
        category_samples=go.category_samples[:0],
        category_cpu_ns=go.category_cpu_ns[:0],
        verdict="not-go",
        is_go=False,
    )
    node, first, last = rows(dataclasses.replace(made, others=(other,)))
    assert [row["ordinal"] for row in (node, first, last)] == [0, 1, 2]
    assert last["workload"] == f"{first['workload']}/proxy"
    assert (last["verdict"], last["cpu_ns"], last["samples"], last["stack"]) == ("not-go", 0, 0, [])
    assert last["finding"] == first["finding"]
    assert sorted(first["stack_samples"]) == [3, 7]


SHARED = {
    "stored": "2026-11-25",
    "batch": 9,
    "agent": "a1",
    "epoch": 7,
    "sequence": 5,
    "node": "n1",
    "version": "0.1.0",
    "kernel": "6.1.0",
    "architecture": "amd64",
    "start": NOW,
    "received": NOW + 60,
    "duration_ns": 60 * SECOND,
    "period_ns": SECOND // 19,
    "cpu_count": 8,
}


def test_a_container_has_each_value_under_its_column() -> None:
    made = one_report()
    row = rows(made)[1]
    first, second = (made.categories[number] for number in (0, 1))
    costs = dict(zip(row["category"], row["category_ns"], strict=True))
    assert costs == {first.label: 700, second.label: 300}
    groups = {first.group: 700, second.group: 300}
    assert row == {
        **SHARED,
        "ordinal": 1,
        "namespace": "shop",
        "kind": "Deployment",
        "workload": "web",
        "pod": "web-n1",
        "container": "app",
        "container_id": "c1",
        "name": "shop/web-n1/app",
        "image": "registry/web:1",
        "go": "go1.24.1",
        "program": "example.com/web",
        "program_version": "v1",
        "command": "webd",
        "process_count": 2,
        "gomaxprocs": 4,
        "origin": "cpu-count",
        "expected": 3,
        "recommended": 6,
        "limit_cores": 1.0,
        "request_cores": 0.25,
        "usage_ns": 1100,
        "periods": 600,
        "throttled_periods": 6,
        "throttled_ns": SECOND,
        "samples": 10,
        "cpu_ns": 1000,
        **{f"{g}_ns": groups.get(g, 0) for g in ("scheduler", "gc", "service", "user")},
        "category": list(costs),
        "category_ns": list(costs.values()),
        "verdict": "oversized",
        "finding": ["GT001"],
        "finding_severity": ["warning"],
        "finding_title": [OVERSIZED.title],
        "finding_remedy": [OVERSIZED.remedy],
        "saving_low": 0.1,
        "saving_mid": 0.2,
        "saving_high": 0.3,
        "target": 1,
        "lost": {},
        "dropped": {},
        "stack": row["stack"],
        "stack_samples": row["stack_samples"],
        "finding_cause": ["environment"],
        "finding_confidence": ["high"],
        "finding_evidence": [list(OVERSIZED.evidence)],
        "finding_patches": [list(OVERSIZED.patches)],
    }
    assert sorted(row["stack_samples"]) == [3, 7]
    assert len(set(row["stack"])) == 2


def test_a_node_has_its_own_values_and_zeros() -> None:
    """Zero of each column's type: "" for text, no entry in a list or a map."""
    own = {
        **SHARED,
        "ordinal": 0,
        "kind": "Node",
        "name": "n1",
        "samples": 13,
        "lost": {"ring": 4},
        "dropped": {"queue": 2},
    }
    row = rows(one_report())[0]
    assert {name: row[name] for name in own} == own
    for column in WINDOWS:
        if column.name not in own:
            kind = column.definition
            zero: object = [] if kind.startswith("Array") else "" if "String" in kind else 0
            assert row[column.name] == zero, column.name


def test_the_tables_have_the_columns_in_the_order_of_the_rows() -> None:
    """INSERT names them, and the journal's rows have no names."""
    made = list(schema.statements(schema.Layout()))
    for name, columns in (("windows", WINDOWS), ("stacks", STACKS)):
        [text] = [one for one in made if f"EXISTS gotax.{name} (" in one]
        lines = text.partition("(")[2].partition(") ENGINE")[0].split("\n")[1:]
        found = [line.strip().rstrip(",") for line in lines if "INDEX" not in line]
        assert found == [f"{column.name} {column.definition}" for column in columns]


def test_a_stack_has_each_value_under_its_column() -> None:
    made = one_report()
    stack_hash = int(made.stack_counts.stack_hash[0])
    category = made.categories[int(made.stack_counts.category[0])]
    workload = workload_of(made.containers[0].identity)
    line = stack_line(made, workload, (11, stack_hash, category), "2026-11-25")
    names = [column.name for column in STACKS]
    functions = [frame.function for frame in made.stacks.frames(stack_hash)]
    assert functions[0] == "main"
    assert dict(zip(names, json.loads(line), strict=True)) == {
        "namespace": "shop",
        "kind": "Deployment",
        "workload": "web",
        "stack": 11,
        "category": category.label,
        "group": category.group,
        "functions": functions,
        "files": ["" for _ in functions],
        "kinds": [0, 0],
        "seen": "2026-11-25",
    }
