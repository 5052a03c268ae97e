from __future__ import annotations

import pytest
from gotax.exporters.backoff import BackOff


def test_delays_double_up_to_the_last_and_begin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of each is drawn at random, and one success forgets all failures."""
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


def test_a_service_that_is_away_for_years_has_the_last_delay() -> None:
    """No power of two overflows."""
    back_off = BackOff(0.5, 60.0)
    for _ in range(5000):
        back_off.fail()
    assert 30.0 <= back_off.delay_s() <= 60.0
