"""The threads of a process: their names, and how long they ran and waited.

The kernel answers without the memory and the files of the process. Errors are as in procfs.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from gotax.errors import ParseError, ProcessGoneError
from gotax.linux.procfs import list_threads, read_file

_MAX_BYTES = 4096


@dataclass(frozen=True, slots=True)
class ThreadTime:
    """Of one thread since its start: on a CPU, and waiting for one, or for the quota of its
    cgroup."""

    run_ns: int
    wait_ns: int


def parse_schedstat(data: bytes) -> ThreadTime:
    """Three numbers: the third is how often it ran (kernel's Documentation/scheduler/
    sched-stats.rst)."""
    fields = data.split()
    if len(fields) != 3 or not all(field.isdigit() for field in fields):
        raise ParseError("procfs-schedstat", repr(data[:80]))
    return ThreadTime(int(fields[0][:20]), int(fields[1][:20]))


def read_thread_times(root: str, pid: int, most: int) -> dict[int, ThreadTime]:
    """Of the threads that live, by TID; of more than ``most`` only so many.

    Nothing on a kernel without CONFIG_SCHED_INFO.
    """
    found = {}
    for thread in list_threads(root, pid, most):
        try:
            data = read_file(f"{root}/{pid}/task/{thread}/schedstat", _MAX_BYTES)
        except ProcessGoneError:
            continue
        found[thread] = parse_schedstat(data)
    return found


def read_thread_name(root: str, pid: int, thread: int) -> str:
    """At most 15 bytes, of the program's choice."""
    data = read_file(f"{root}/{pid}/task/{thread}/comm", _MAX_BYTES)
    return data.decode("utf-8", "replace").removesuffix("\n")
