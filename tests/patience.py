"""How long tests wait for what is sure to come."""

import pytest

PATIENCE_S = 600.0
"""A guard against waiting for ever, and no measure of anything: where 60 programs want the CPU, a
command of two seconds takes minutes. What is promised within a time is tested with the marker
``timing``, on a quiet host."""


def promised(seconds: float) -> pytest.MarkDecorator:
    """Runs the test twice: ``within_s`` is once no measure, and once what is promised (timing)."""
    return pytest.mark.parametrize(
        "within_s",
        [
            pytest.param(PATIENCE_S, id="at-last"),
            pytest.param(seconds, id=f"within-{seconds:g}s", marks=pytest.mark.timing),
        ],
    )
