"""Values about containers that wait for the CPU or for memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pressure:
    """Shares of the last minute in which some, or all, of a cgroup's tasks that had work waited."""

    some: float
    full: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether a container gets the CPU and the memory that it asks for.

    ``run_ns`` and ``wait_ns`` (throttled time, too) are of ``threads`` threads of its main process:
    since they began, or since they were last read. ``cpu`` and ``memory``: of its cgroup, if v2.
    """

    run_ns: int
    wait_ns: int
    threads: int
    is_since_start: bool = True
    cpu: Pressure | None = None
    memory: Pressure | None = None

    @property
    def share(self) -> float:
        """Of the time in which its threads could run, the part in which they waited."""
        return self.wait_ns / max(1, self.run_ns + self.wait_ns)
