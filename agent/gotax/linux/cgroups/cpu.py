"""The formats of the files of the cpu controller, version 1 and 2."""

from __future__ import annotations

from gotax.errors import ParseError
from gotax.process import CpuUsage


def parse_cpu_max(data: bytes) -> float | None:
    """v2's ``cpu.max`` (``50000 100000``) in cores; None for ``max``."""
    quota, _, period = data.strip().partition(b" ")
    return None if quota == b"max" else _cores(quota, period)


def parse_cfs_quota(quota: bytes, period: bytes) -> float | None:
    """v1's ``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` in cores; None for a quota of -1."""
    return None if quota.strip() == b"-1" else _cores(quota.strip(), period.strip())


def _cores(quota: bytes, period: bytes) -> float:
    if not quota.isdigit() or not period.isdigit() or not int(quota) or not int(period):
        raise ParseError("cgroup-quota", f"{quota[:40]!r} {period[:40]!r}")
    return int(quota) / int(period)


def parse_cpu_stat(data: bytes) -> CpuUsage:
    """``cpu.stat`` of either version; None for what it does not hold.

    v2 counts microseconds (usage_usec, throttled_usec); v1 nanoseconds (throttled_time), and has
    its usage in another file. Without the cpu controller v2 has the usage only.
    """
    values: dict[bytes, int] = {}
    for line in data.split(b"\n"):
        key, _, value = line.partition(b" ")
        if value.isdigit():
            values[key] = int(value[:20])
    usage_us, throttled_us = values.get(b"usage_usec"), values.get(b"throttled_usec")
    return CpuUsage(
        usage_ns=None if usage_us is None else usage_us * 1000,
        periods=values.get(b"nr_periods"),
        throttled_periods=values.get(b"nr_throttled"),
        throttled_ns=(
            values.get(b"throttled_time") if throttled_us is None else throttled_us * 1000
        ),
    )
