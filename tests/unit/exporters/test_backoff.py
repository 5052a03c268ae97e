from __future__ import annotations

import pytest
from gotax.exporters.backoff import BackOff


def test_delays_double_to_a_maximum_and_restart_after_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half of each delay is random, and one success resets the failures."""
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    monkeypatch.setattr("random.uniform", uniform)
    back_off = BackOff(0.5, 3.0)
    for _ in range(5):
        back_off.fail()
        assert back_off.delay_s() == drawn[-1][0]
    assert drawn == [(0.25, 0.5), (0.5, 1.0), (1.0, 2.0), (1.5, 3.0), (1.5, 3.0)]
    back_off.succeed()
    back_off.fail()
    back_off.delay_s()
    assert drawn[-1] == (0.25, 0.5)


def test_the_delay_stays_at_its_maximum_after_many_failures() -> None:
    """The power of two does not overflow."""
    back_off = BackOff(0.5, 60.0)
    for _ in range(5000):
        back_off.fail()
    assert 30.0 <= back_off.delay_s() <= 60.0
