"""The metrics of gotax's own process."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from pathlib import Path

import gotax
from gotax.exporters.metrics.family import Family, Metric

OWN_CPU = Metric("gotax_own_cpu_seconds", "counter", "CPU time of gotax itself and of its readers.")
MEMORY = Metric("gotax_resident_memory_bytes", "gauge", "Resident memory of gotax itself.")
BUILD_INFO = Metric("gotax_build_info", "gauge", "Always 1; version of gotax.", ("version",))

METRICS = (
    OWN_CPU,
    MEMORY,
    BUILD_INFO,
)
"""In the order in which they are exposed."""


def families(reader_cpu_s: float) -> Iterator[Family]:
    """``reader_cpu_s``: what its readers have taken so far."""
    yield Family(OWN_CPU, [((), time.process_time() + reader_cpu_s)])
    yield Family(MEMORY, [((), read_resident_bytes())])
    yield Family(BUILD_INFO, [((gotax.__version__,), 1)])


def read_resident_bytes(proc: Path = Path("/proc")) -> int:
    """Resident memory of this process; 0 if /proc/self/statm cannot be read."""
    try:
        pages = (proc / "self" / "statm").read_bytes().split()[1]
        return int(pages) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0
