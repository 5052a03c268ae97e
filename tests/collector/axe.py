"""axe-core, which finds what people who see little or use no mouse cannot read or reach.

./setup test takes it from a wheel of PyPI, by its hash (locks/axe.txt).
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from tests.collector.browser import Browser

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FILE = _CACHE / "gotax" / "axe-core-4.12.1.min.js"

_RUN = """
return axe.run(document, {resultTypes: ['violations'], ...arguments[0]}).then((found) =>
  found.violations.flatMap((rule) => rule.nodes.map((node) => [
    rule.id, node.target.join(' '), ...node.failureSummary.split('\\n').slice(1)].join(': '))));
"""


def needed() -> None:
    """As browser.needed."""
    if not FILE.exists():
        reason = "no axe-core: ./setup test"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


@cache
def _source() -> str:
    return FILE.read_text()


def violations(window: Browser, *rules: str) -> list[str]:
    """Of the page as it is now: one line for each element at fault. All rules, or only these."""
    if not window.run("return 'axe' in window"):
        window.run(_source())
    return list(window.run(_RUN, {"runOnly": list(rules)} if rules else {}))
