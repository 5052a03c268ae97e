"""What ``make soak`` reports as growth."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.soak import Reading, judge


@pytest.mark.parametrize(
    ("megabytes", "descriptors", "holds"),
    [
        (lambda _: 40.0, lambda _: 30, True),
        # It may grow until it has settled.
        (lambda at_s: min(at_s, 300) / 10, lambda _: 30, True),
        (lambda at_s: 40 + at_s / 1800 * 8, lambda _: 30, False),
        (lambda _: 40.0, lambda at_s: 30 + int(at_s) // 60, False),
        # A single moment is no growth.
        (lambda at_s: 90.0 if at_s == 1500 else 40.0, lambda _: 30, True),
    ],
)
def test_growth_is_detected(
    megabytes: Callable[[int], float], descriptors: Callable[[int], int], holds: bool
) -> None:
    """Memory by five percent, descriptors by more than are open temporarily."""
    readings = [Reading(s, int(megabytes(s) * 1e6), descriptors(s)) for s in range(0, 1800, 5)]
    assert judge(readings)[1] is holds
