"""Sums and differences of a cgroup's counters, if some are unknown."""

from __future__ import annotations

from gotax.process import CpuUsage

earlier = CpuUsage(1000, 10, 2, 300)
now = CpuUsage(1500, 14, 3, 900)


def test_difference_and_sum_are_inverse() -> None:
    """Each counter separately."""
    assert now - earlier == CpuUsage(500, 4, 1, 600)
    assert earlier + (now - earlier) == now


def test_the_difference_is_unknown_if_either_is() -> None:
    """A new or missing counter has no difference; 0 would be wrong."""
    assert now - CpuUsage() == CpuUsage()
    assert CpuUsage() - earlier == CpuUsage()
    assert now - CpuUsage(1000, None, 2, None) == CpuUsage(500, None, 1, None)


def test_the_difference_is_never_negative() -> None:
    """A recreated cgroup with the same name counts from zero."""
    assert earlier - now == CpuUsage(0, 0, 0, 0)


def test_a_sum_ignores_unknown_values() -> None:
    """The first window of a container has no difference, and must not make later sums unknown."""
    assert CpuUsage() + now == now + CpuUsage() == now
    assert CpuUsage() + CpuUsage() == CpuUsage()
    assert CpuUsage(0, None, 0, None) + CpuUsage(None, 4, 5, None) == CpuUsage(0, 4, 5, None)
