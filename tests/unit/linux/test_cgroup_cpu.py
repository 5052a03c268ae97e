"""Limits and counters in the files of both versions."""

from __future__ import annotations

import pytest
from gotax.errors import ParseError
from gotax.linux.cgroups.cpu import parse_cfs_quota, parse_cpu_max, parse_cpu_stat
from gotax.process import CpuUsage


@pytest.mark.parametrize(
    ("text", "cores"),
    [(b"max 100000\n", None), (b"50000 100000\n", 0.5), (b"1200000 100000\n", 12.0)],
)
def test_cpu_max(text: bytes, cores: float | None) -> None:
    """cpu.max is quota and period; max is no limit."""
    assert parse_cpu_max(text) == cores


@pytest.mark.parametrize("text", [b"", b"50000", b"1 0", b"0 1", b"-1 1", b"a b"])
def test_malformed_quota_is_refused(text: bytes) -> None:
    """Anything else raises: it is not "no limit"."""
    with pytest.raises(ParseError, match="cgroup-quota"):
        parse_cpu_max(text)


def test_cfs_quota() -> None:
    """v1 writes -1 for no limit."""
    assert parse_cfs_quota(b"-1\n", b"100000\n") is None
    assert parse_cfs_quota(b"150000\n", b"100000\n") == 1.5
    with pytest.raises(ParseError, match="cgroup-quota"):
        parse_cfs_quota(b"0\n", b"100000\n")


def test_cpu_stat_of_both_versions() -> None:
    """v2 counts microseconds, v1 nanoseconds; missing counters are None."""
    v2 = b"usage_usec 7\nuser_usec 5\nnr_periods 3\nnr_throttled 2\nthrottled_usec 9\nnew x y\n"
    assert parse_cpu_stat(v2) == CpuUsage(7000, 3, 2, 9000)
    v1 = b"nr_periods 3\nnr_throttled 2\nthrottled_time 9\nwait_sum 1\n"
    assert parse_cpu_stat(v1) == CpuUsage(None, 3, 2, 9)
    assert parse_cpu_stat(b"usage_usec 7\nuser_usec 5\n") == CpuUsage(7000)
    assert parse_cpu_stat(b"") == CpuUsage()
