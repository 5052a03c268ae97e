"""Counters of a cgroup that are added and subtracted, where some are not known."""

from __future__ import annotations

from gotax.process import CpuUsage

earlier = CpuUsage(1000, 10, 2, 300)
now = CpuUsage(1500, 14, 3, 900)


def test_growth_and_sum_undo_each_other() -> None:
    """Each counter for itself, in its place."""
    assert now - earlier == CpuUsage(500, 4, 1, 600)
    assert earlier + (now - earlier) == now


def test_growth_is_unknown_where_either_is() -> None:
    """A counter that is new, or gone, has no growth; 0 would be a claim."""
    assert now - CpuUsage() == CpuUsage()
    assert CpuUsage() - earlier == CpuUsage()
    assert now - CpuUsage(1000, None, 2, None) == CpuUsage(500, None, 1, None)


def test_growth_is_never_negative() -> None:
    """A cgroup of the same name that was made again counts from zero."""
    assert earlier - now == CpuUsage(0, 0, 0, 0)


def test_a_sum_takes_what_one_of_them_knows() -> None:
    """The first window of a container has no growth, and does not spoil those that follow."""
    assert CpuUsage() + now == now + CpuUsage() == now
    assert CpuUsage() + CpuUsage() == CpuUsage()
    assert CpuUsage(0, None, 0, None) + CpuUsage(None, 4, 5, None) == CpuUsage(0, 4, 5, None)
