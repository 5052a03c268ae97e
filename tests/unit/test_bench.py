"""The benchmarks know the code that they measure."""

from __future__ import annotations

from bench.pipeline import STAGES


def test_every_stage_of_the_pipeline_is_a_function() -> None:
    """bench.pipeline replaces these by functions that take the time."""
    missing = [stage for stage, owner, name in STAGES if not callable(getattr(owner, name, None))]
    assert missing == []
