"""Which CPUs there are, and which value of a per-CPU map belongs to which."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gotax.profile import Int64Array


def possible_cpus(sys_root: str = "/sys") -> list[int]:
    """The values of a per-CPU map belong to these: the kernel's *possible* CPUs, in order.

    They are not the online ones, and may have gaps: arm64 omits CPUs that cannot be started.
    """
    return sorted(_cpu_list(Path(sys_root, "devices/system/cpu/possible").read_text()))


def online_cpus(sys_root: str = "/sys") -> set[int]:
    return _cpu_list(Path(sys_root, "devices/system/cpu/online").read_text())


def by_number(possible: list[int], values: Int64Array) -> Int64Array:
    """The value of CPU n at index n, 0 for numbers that no CPU has."""
    found = np.zeros(possible[-1] + 1, np.int64)
    found[possible] = values
    return found


def _cpu_list(text: str) -> set[int]:
    """``0-3,7`` as a set (Documentation/admin-guide/cputopology.rst)."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus
