"""How long tests wait for what is sure to come."""

import math
import os
import select
from typing import Any

import pytest

PATIENCE_S = float(os.environ.get("GOTAX_PATIENCE_S", "600"))
"""A guard against waiting for ever, and no measure of anything: where 60 programs want the CPU, a
command of two seconds takes minutes. What is promised within a time is tested with the marker
``timing``, on a quiet host. While a test is written, a shorter one shows sooner that it fails."""


def is_readable(file: Any, within_s: float) -> bool:
    """By poll: select ends at descriptor 1,023, and the embedded ClickHouse leaves some open."""
    poll = select.poll()
    poll.register(file, select.POLLIN)
    return bool(poll.poll(math.ceil(within_s * 1000)))


def promised(seconds: float) -> pytest.MarkDecorator:
    """Runs the test twice: ``within_s`` is once no measure, and once what is promised (timing)."""
    return pytest.mark.parametrize(
        "within_s",
        [
            pytest.param(PATIENCE_S, id="at-last"),
            pytest.param(seconds, id=f"within-{seconds:g}s", marks=pytest.mark.timing),
        ],
    )
