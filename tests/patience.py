"""How long tests wait for something that is certain to happen."""

import pytest

PATIENCE_S = 600.0
"""A guard against waiting forever, and not a measurement: on a host with 60 busy programs, a
command of two seconds takes minutes. Time limits are tested with the marker ``timing``, on a quiet
host."""


def promised(seconds: float) -> pytest.MarkDecorator:
    """Runs the test twice: with ``within_s`` as a mere guard, and as the promised time (timing)."""
    return pytest.mark.parametrize(
        "within_s",
        [
            pytest.param(PATIENCE_S, id="at-last"),
            pytest.param(seconds, id=f"within-{seconds:g}s", marks=pytest.mark.timing),
        ],
    )
