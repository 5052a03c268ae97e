"""Waiting for CPU: of threads (schedstat) and of cgroups (pressure stall information)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gotax.errors import ProcessGoneError
from gotax.linux.cgroups import files
from gotax.linux.procfs import TaskPath, list_threads, read_file
from gotax.waiting import Pressure

THREADS_MAX = 64
_FILE_BYTES = 4096
_MINUTE = re.compile(rb"^(some|full) avg10=[0-9.]{1,6} avg60=(\d{1,3})\.(\d{2}) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ThreadTimes:
    """How long a thread ran, and how long it could have run and waited for a CPU."""

    run_ns: int
    wait_ns: int

    def since(self, earlier: ThreadTimes) -> ThreadTimes:
        return ThreadTimes(
            max(0, self.run_ns - earlier.run_ns), max(0, self.wait_ns - earlier.wait_ns)
        )


def parse_times(data: bytes) -> ThreadTimes | None:
    """/proc/PID/task/TID/schedstat: nanoseconds that it ran and that it waited, and how often."""
    fields = data.split()
    if len(fields) != 3 or not all(field.isdigit() and len(field) <= 20 for field in fields):
        return None
    return ThreadTimes(int(fields[0]), int(fields[1]))


def read_times(root: str, place: TaskPath, most: int = THREADS_MAX) -> dict[int, ThreadTimes]:
    """Of at most ``most`` threads of a process, by TID; {} if the kernel does not count them.

    Raises what reading /proc raises.
    """
    found = {}
    pid = int(str(place).partition("/")[0])
    for thread in list_threads(root, pid, most):
        try:
            data = read_file(f"{root}/{pid}/task/{thread}/schedstat", _FILE_BYTES)
        except ProcessGoneError:
            continue  # the thread has ended, or the kernel has no such file
        times = parse_times(data)
        if times is not None:
            found[thread] = times
    return found


def read_thread_name(root: str, pid: int, thread: int) -> str:
    """At most 15 bytes, of the program's choice."""
    data = read_file(f"{root}/{pid}/task/{thread}/comm", _FILE_BYTES)
    return data.decode("utf-8", "replace").removesuffix("\n")


def parse_pressure(data: bytes) -> Pressure | None:
    """cpu.pressure or memory.pressure: shares of the last minute (Documentation/accounting/psi)."""
    found = {kind: int(whole + part) / 10_000 for kind, whole, part in _MINUTE.findall(data)}
    if b"some" not in found:
        return None
    return Pressure(found[b"some"], found.get(b"full", 0.0))


def read_pressure(directory: str, name: str) -> Pressure | None:
    """None where the kernel has none: cgroup v1, or psi=0."""
    data = files.read(f"{directory}/{name}", _FILE_BYTES)
    return None if data is None else parse_pressure(data)


@dataclass(frozen=True, slots=True)
class HostTimes:
    """Of all CPUs since boot, in clock ticks."""

    busy: int
    idle: int

    def busy_since(self, before: HostTimes) -> float:
        """The used share of the time in between."""
        busy, idle = self.busy - before.busy, self.idle - before.idle
        return max(0.0, min(1.0, busy / max(1, busy + idle)))


def read_host_times(root: str) -> HostTimes | None:
    """The first line of /proc/stat; None if it has another form."""
    fields = read_file(f"{root}/stat", _FILE_BYTES).partition(b"\n")[0].split()
    if fields[:1] != [b"cpu"] or len(fields) < 8 or not all(f.isdigit() for f in fields[1:8]):
        return None
    # proc_stat(5): user nice system idle iowait irq softirq
    ticks = [int(field) for field in fields[1:8]]
    idle = ticks[3] + ticks[4]
    return HostTimes(sum(ticks) - idle, idle)
