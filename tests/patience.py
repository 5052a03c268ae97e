"""How long tests wait for something that is certain to happen."""

import pytest

PATIENCE_S = 600.0
"""A guard against waiting forever, and not a measurement: on a host with 60 busy programs, a
command of two seconds takes minutes. Time limits are tested with the marker ``timing``, on a quiet
host."""


def promised(seconds: float) -> pytest.MarkDecorator:
    """Runs the test twice: ``within_s`` is once no measure, and once what is promised (timing)."""
    return pytest.mark.parametrize(
        "within_s",
        [
            pytest.param(PATIENCE_S, id="at-last"),
            pytest.param(seconds, id=f"within-{seconds:g}s", marks=pytest.mark.timing),
        ],
    )
