"""docs/alerts.md: its table has the alerts of the rules, and its queries give what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from gotax.exporters.prometheus import PrometheusExporter
from prometheus_client.parser import text_string_to_metric_families

from .metrics import METRICS
from .windows import Load, build_window, named, oversized_load, pod_container, unreadable_load

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "alerts.md").read_text()
RULES = yaml.safe_load((ROOT / "helm" / "gotax" / "rules" / "gotax.rules.yaml").read_text())
PROMTOOL = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
QUERIES = [block.strip() for block in re.findall(r"(?:^    .+\n)+", PAGE, re.MULTILINE)]
OF_OTHERS = {"up", "kube_daemonset_status_number_unavailable"}
WINDOWS = 60


def test_the_table_has_every_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| `(Gotax\w+)` \|.*\| (\w+) \|$", PAGE, re.MULTILINE)
    alerts = [rule for group in RULES["groups"] for rule in group["rules"]]
    assert rows == [(alert["alert"], alert["labels"]["severity"]) for alert in alerts]


def test_the_queries_use_metrics_that_exist() -> None:
    assert len(QUERIES) > 6
    series = {metric.series for metric in METRICS}
    for query in QUERIES:
        names = set(re.findall(r"\b(gotax_\w+|up|kube_\w+)\b(?=[{\[ )]|$)", query))
        assert names, query
        assert names - OF_OTHERS <= series, names


def pod(load: Load, workload: str, number: int) -> Load:
    container = pod_container(workload, 1000 * len(workload) + number * 2 + (workload == "odd"))
    load = replace(load, process=replace(load.process, container=container))
    return named(load, f"{workload}-{number}", workload)


def exported() -> list[dict[str, str]]:
    """What promtool takes as series: those of an agent beside a costly container, growing as the
    windows of one that goes on. And those of others that the page needs."""
    exporter = PrometheusExporter()
    costly = [pod(oversized_load(), "web", number) for number in range(50)]
    exporter.publish(build_window(*costly, *(pod(unreadable_load(), "odd", n) for n in range(6))))
    found = [
        {
            "series": 'kube_daemonset_status_number_unavailable{daemonset="gotax"}',
            "values": f"1x{WINDOWS}",
        },
        {"series": 'up{job="gotax/gotax", instance="n1"}', "values": f"0x{WINDOWS}"},
    ]
    for family in text_string_to_metric_families(exporter.expose().decode()):
        for sample in family.samples:
            labels = sample.labels | {"instance": "n1"}
            text = ", ".join(f"{name}={quoted(value)}" for name, value in labels.items())
            step = sample.value if family.type == "counter" else 0
            found.append(
                {
                    "series": f"{sample.name}{{{text}}}",
                    "values": f"{sample.value!r}+{step!r}x{WINDOWS}",
                }
            )
    return found


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


@pytest.mark.skipif(PROMTOOL is None, reason="promtool not found: ./setup test")
def test_the_queries_answer_on_what_an_agent_exports(tmp_path: Path) -> None:
    """By Prometheus' own evaluation: each has a result where it should, and none with no agent."""
    assert PROMTOOL is not None
    memory = [query for query in QUERIES if "GT016" in query]  # no such finding in this window
    cases = [
        {
            "interval": "15s",
            "input_series": series,
            "promql_expr_test": [
                {
                    "expr": f"count({query})",
                    "eval_time": "15m",
                    "exp_samples": [{"labels": "{}", "value": 1}]
                    if is_there and query not in memory
                    else [],
                }
                for query in QUERIES
            ],
        }
        for series, is_there in ((exported(), True), ([], False))
    ]
    (tmp_path / "rules.yaml").write_text("groups: []\n")
    test = {"rule_files": ["rules.yaml"], "evaluation_interval": "15s", "tests": cases}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [PROMTOOL, "test", "rules", "test.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
