"""Welch's test and what it stands on, against published values and exact formulas."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("gotax_collector.query.significance", reason="[collector] is not installed")

from gotax_collector.query.significance import Sample, difference, holm, quantile, two_sided


def exactly(t: float, freedom: int) -> float:
    """Of Student's t with few degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    within = {
        1: 2 * angle / math.pi,
        2: math.sin(angle),
        3: 2 / math.pi * (angle + math.sin(angle) * cosine),
        4: math.sin(angle) * (1 + cosine**2 / 2),
        5: 2 / math.pi * (angle + math.sin(angle) * (cosine + 2 / 3 * cosine**3)),
    }[freedom]
    return 1 - within


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("t", [0.01, 0.5, 1.0, 2.0, 4.5, 30.0])
def test_the_tails_of_student_are_exact(t: float, freedom: int) -> None:
    assert two_sided(t, freedom) == pytest.approx(exactly(t, freedom), rel=1e-9, abs=1e-12)
    assert two_sided(-t, freedom) == two_sided(t, freedom)


@pytest.mark.parametrize(
    ("freedom", "t"),
    # The table of critical values, two-sided 5 %: NIST/SEMATECH e-Handbook, 1.3.6.7.2.
    [(1, 12.706), (2, 4.303), (5, 2.571), (9, 2.262), (17, 2.110), (30, 2.042), (100, 1.984)],
)
def test_critical_values_are_those_of_the_table(freedom: int, t: float) -> None:
    assert quantile(freedom) == pytest.approx(t, abs=5e-4)


def test_many_degrees_of_freedom_are_the_normal_distribution() -> None:
    assert two_sided(1.96, 1e7) == pytest.approx(math.erfc(1.96 / math.sqrt(2)), rel=1e-5)
    assert quantile(1e7) == pytest.approx(1.959964, abs=1e-5)


def of(values: list[float]) -> Sample:
    return Sample.of(len(values), sum(values), sum(value * value for value in values))


def test_students_sleep() -> None:
    """Student's own data (Biometrika 6, 1908), as t.test(extra ~ group, sleep) of R has it."""
    first = of([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = of([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = difference(first, second)
    assert (first.mean, second.mean) == pytest.approx((0.75, 2.33))
    assert first.variance == pytest.approx(3.200556, abs=1e-6)
    assert found.change == pytest.approx(1.58)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert found.low == pytest.approx(-0.2054832, abs=5e-7)
    assert found.high == pytest.approx(3.3654832, abs=5e-7)
    assert not found.is_sure


def test_by_hand() -> None:
    """Means 2 and 6, variances 1 and 4, three values each: t = 4 / sqrt(5/3), and
    (5/3)**2 / (1/9/2 + 16/9/2) = 50/17 degrees of freedom."""
    found = difference(of([1.0, 2.0, 3.0]), of([4.0, 6.0, 8.0]))
    t, freedom = 4 / math.sqrt(5 / 3), 50 / 17
    assert found.change == 4
    assert found.p == pytest.approx(two_sided(t, freedom), rel=1e-12)
    assert found.p is not None
    assert exactly(t, 3) < found.p < exactly(t, 2)
    assert found.high is not None
    assert found.high - 4 == pytest.approx(quantile(freedom) * math.sqrt(5 / 3))


def test_one_value_says_nothing_of_the_next() -> None:
    found = difference(of([1.0]), of([5.0, 6.0]))
    assert (found.change, found.low, found.high, found.p) == (4.5, None, None, None)
    assert not found.is_sure


def test_values_that_do_not_vary() -> None:
    same, other = of([2.0] * 4), of([3.0] * 4)
    assert difference(same, same).p == 1
    found = difference(same, other)
    assert (found.low, found.high, found.p) == (1, 1, 0)


def test_rounding_makes_no_negative_variance() -> None:
    """Sums of large values that differ little."""
    value = 1e8 + 0.1
    assert Sample.of(3, 3 * value, 3 * value * value * (1 - 1e-16)).variance == 0


def test_several_probabilities_are_corrected_in_their_order() -> None:
    """By hand: 4 * 0.005, then 3 * 0.01, then 2 * 0.03, and not less than that for the last."""
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx((0.03, 0.06, None, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()
