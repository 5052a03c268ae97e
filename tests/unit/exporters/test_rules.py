"""The alert rules use existing metrics, and, if promtool is installed, fire as intended."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gotax.diagnosis.rules import CODES

from .metrics import METRICS

ROOT = Path(__file__).parents[3]
RULES = ROOT / "helm" / "gotax" / "rules" / "gotax.rules.yaml"
PROMTOOL = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
CASES = ROOT / "tests" / "fixtures" / "rules" / "gotax.rules.test.yaml"


def test_rules_use_existing_metrics_and_codes() -> None:
    """After a renaming an alert would be silently off."""
    text = RULES.read_text()
    page = (ROOT / "docs" / "collector.md").read_text()
    series = {metric.series for metric in METRICS} | set(
        re.findall(r"^\| `(gotax_collector_\w+)` \|", page, re.MULTILINE)
    )
    used = set(re.findall(r"\bgotax_[a-z_]+", text))
    assert used
    assert used <= series, used - series
    assert set(re.findall(r"GT\d+", text)) <= set(CODES)


def test_every_alert_has_a_test() -> None:
    """Each has at least one case in the test file."""
    alerts = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    assert alerts == set(re.findall(r"alertname: (\w+)", CASES.read_text()))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool not found: ./setup test")
def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    """Prometheus' own evaluation of the rules on made-up series."""
    assert PROMTOOL is not None
    for path in (RULES, CASES):
        shutil.copy(path, tmp_path)
    for command in (["check", "rules", RULES.name], ["test", "rules", CASES.name]):
        done = subprocess.run(
            [PROMTOOL, *command], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
