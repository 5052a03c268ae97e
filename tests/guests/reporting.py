"""A plugin of pytest in a guest: each outcome as one line on the console."""

from __future__ import annotations

import json

import pytest

from tests.guests.machine import RESULT


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when != "call" and report.passed:
        return
    said = ""
    if report.skipped and isinstance(report.longrepr, tuple):
        said = report.longrepr[2].removeprefix("Skipped: ")
    elif report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = " ".join(crash.message.split()) if crash else report.longreprtext[-300:]
    line = {
        "test": report.nodeid,
        "outcome": report.outcome,
        "seconds": round(report.duration, 1),
        "said": said[:3000],
    }
    print(f"\n{RESULT}{json.dumps(line)}", flush=True)
