"""How long tests wait for what is sure to come."""

import os

import pytest

PATIENCE_S = float(os.environ.get("GOTAX_PATIENCE_S", "600"))
"""A guard against waiting for ever, and no measure of anything: where 60 programs want the CPU, a
command of two seconds takes minutes. What is promised within a time is tested with the marker
``timing``, on a quiet host. While a test is written, a shorter one shows sooner that it fails."""


def promised(seconds: float) -> pytest.MarkDecorator:
    """Runs the test twice: ``within_s`` is once no measure, and once what is promised (timing)."""
    return pytest.mark.parametrize(
        "within_s",
        [
            pytest.param(PATIENCE_S, id="at-last"),
            pytest.param(seconds, id=f"within-{seconds:g}s", marks=pytest.mark.timing),
        ],
    )
