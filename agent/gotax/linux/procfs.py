"""What /proc says of one process. Knows nothing of Go or of cgroup layouts.

Every ``read_`` function takes the path of /proc as ``root`` and raises ``ProcessGoneError`` for a
process that ended (also for a kernel thread asked for its executable: the kernel answers both with
ENOENT) and ``AccessError("procfs-denied")`` where the agent lacks a capability. Reads are bounded;
what a ``parse_`` function gets may be cut off at the bound.

The main thread of a process may end before the others (pthread_exit in main). The kernel then has
nothing to show at /proc/PID but the stat, though the process lives: memory, files and namespaces
are to be had at /proc/PID/task/TID of a thread that lives. So what is read of a process is read at
its ``TaskPath``, which ``read_stat`` finds.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import TypeAlias

from gotax.errors import AccessError, ParseError, ProcessGoneError, ReadError

_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_MAX_SMALL_BYTES = 64 * 1024
_MAX_ENVIRONMENT_BYTES = 8 << 20  # exec takes 6 MiB of it and the arguments (_STK_LIM / 4 * 3)
_ENVIRONMENT_PART_BYTES = 256 << 10
_MAX_ARGUMENTS_BYTES = 256 << 10
_MAX_VARIABLE_BYTES = 1 << 20  # of exec: 128 KiB (MAX_ARG_STRLEN)
_MAX_MEMORY_BYTES = 1 << 20
_MAX_FDS = 64
_MAX_THREADS = 256  # looked at for one that lives; ended ones vanish by themselves
_MAX_AUXV_BYTES = 4096
_MAX_CPUS = 1 << 16
_READ_BYTES = 64 * 1024
_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_DEAD = ("Z", "X", "x")
DELETED = " (deleted)"
"""Appended by the kernel to the path of a file or cgroup that is gone."""
_BANDWIDTH_FILES = ("/cpu.max", "/cpu.cfs_quota_us")

_ALLOWED = re.compile(rb"^Cpus_allowed:\s*([0-9a-f,]+)$", re.MULTILINE)

TaskPath: TypeAlias = int | str
"""Where below /proc a process is read: its PID, or ``PID/task/TID``."""


@dataclass(frozen=True, slots=True)
class Stat:
    """``start_ticks`` (since boot) distinguishes two processes with the same PID.

    ``start_stack`` (random) distinguishes the programs of one process: exec makes a new stack. 0:
    the reader may not know (it takes the right to trace), or the process has no memory.

    ``cpu_ticks`` is the CPU time of all its threads, ended ones too, in units of 1/100 s: what the
    scheduler measured, not what it sampled (kernel/sched/cputime.c cputime_adjust).

    ``thread``: one that lives, where the main thread has ended; 0 where that one lives, or none.
    """

    pid: int
    command: str
    state: str
    start_ticks: int
    is_kernel_thread: bool
    start_stack: int = 0
    cpu_ticks: int = 0
    threads: int = 1
    thread: int = 0
    parent: int = 0

    @property
    def place(self) -> TaskPath:
        return f"{self.pid}/task/{self.thread}" if self.thread else self.pid

    @property
    def has_ended(self) -> bool:
        """All its threads have; its parent has not read its exit code yet."""
        return self.state in _DEAD and not self.thread


@dataclass(frozen=True, slots=True)
class CgroupEntry:
    """One line of /proc/PID/cgroup. Hierarchy 0 with no controllers is cgroup v2's.

    A v1 hierarchy lists its controllers (``("cpu", "cpuacct")``) or a name (``name=systemd``).
    """

    hierarchy: int
    controllers: tuple[str, ...]
    path: str


def list_pids(root: str) -> list[int]:
    """The processes (not threads) there are now, unordered."""
    try:
        return [int(name) for name in os.listdir(root) if name.isdecimal()]
    except OSError as error:
        raise translated(error, root) from error


def parse_stat(data: bytes) -> Stat:
    """The command may hold spaces, parentheses and newlines: it ends at the last parenthesis."""
    head, _, rest = data.partition(b" (")
    command, closing, tail = rest.rpartition(b") ")
    fields = tail.split()
    try:
        if not closing:
            raise ValueError("no command")
        # proc(5) counts from 1 with the PID; state is field 3, ppid 4, flags 9, utime 14, stime 15,
        # num_threads 20, starttime 22, startstack 28.
        return Stat(
            pid=int(head),
            command=command.decode("utf-8", "replace"),
            state=fields[0].decode("ascii", "replace"),
            start_ticks=int(fields[19]),
            is_kernel_thread=bool(int(fields[6]) & _PF_KTHREAD),
            start_stack=int(fields[25]),
            cpu_ticks=int(fields[11]) + int(fields[12]),
            threads=int(fields[17]),
            parent=int(fields[1]),
        )
    except (ValueError, IndexError) as error:
        raise ParseError("procfs-stat", repr(data[:80])) from error


def read_stat(root: str, pid: int) -> Stat:
    """Of the process, with the ``place`` to read the rest of it at."""
    stat = parse_stat(read_file(f"{root}/{pid}/stat", _MAX_SMALL_BYTES))
    if stat.state not in _DEAD or stat.threads < 2:
        return stat
    for thread in list_threads(root, pid):
        try:
            alive = parse_stat(read_file(f"{root}/{pid}/task/{thread}/stat", _MAX_SMALL_BYTES))
        except ProcessGoneError:
            continue
        if alive.state not in _DEAD:
            return replace(stat, thread=thread, start_stack=alive.start_stack)
    return stat


def list_threads(root: str, pid: int, most: int = _MAX_THREADS) -> list[int]:
    """TIDs, unordered; of more than ``most`` only so many."""
    path = f"{root}/{pid}/task"
    try:
        with os.scandir(path) as entries:
            return [int(e.name) for e in islice(entries, most) if e.name.isdecimal()]
    except OSError as error:
        raise translated(error, path) from error


def read_status_line(root: str, process: str, name: str) -> str:
    """What stands behind ``name`` in /proc/PROCESS/status, a PID or ``self``; "" if unreadable."""
    try:
        text = read_file(f"{root}/{process}/status", _MAX_SMALL_BYTES)
    except (ProcessGoneError, ReadError):
        return ""
    for line in text.decode("utf-8", "replace").splitlines():
        if line.startswith(name):
            return line.removeprefix(name).strip()
    return ""


@dataclass(frozen=True, slots=True)
class Auxiliary:
    """What the kernel passed to the program's start: the addresses of its entry point and its
    program headers; 0 where it did not."""

    entry: int
    headers: int


_AT_PHDR, _AT_ENTRY = 3, 9  # include/uapi/linux/auxvec.h


def parse_auxv(data: bytes) -> Auxiliary:
    """Of a 64-bit process."""
    pairs = dict(struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]))
    return Auxiliary(pairs.get(_AT_ENTRY, 0), pairs.get(_AT_PHDR, 0))


def read_auxv(root: str, task: TaskPath) -> Auxiliary:
    """Needs the right to trace, as maps does. Nothing for a process without memory."""
    return parse_auxv(read_file(f"{root}/{task}/auxv", _MAX_AUXV_BYTES))


@lru_cache(1024)  # the same few texts at every window
def parse_cgroups(data: bytes) -> tuple[CgroupEntry, ...]:
    """The lines of /proc/PID/cgroup in their order.

    A removed v2 cgroup has " (deleted)" behind its path; it is cut off.
    """
    entries = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        if not line:
            continue
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not hierarchy.isdecimal() or not path.startswith("/"):
            raise ParseError("procfs-cgroup", repr(line[:80]))
        names = tuple(controllers.split(",")) if controllers else ()
        entries.append(CgroupEntry(int(hierarchy), names, path.removesuffix(DELETED)))
    return tuple(entries)


def read_cgroups(root: str, task: TaskPath) -> tuple[CgroupEntry, ...]:
    """Paths are relative to the reader's cgroup namespace: see ``cgroup.Cgroups.read_entries``."""
    return parse_cgroups(read_file(f"{root}/{task}/cgroup", _MAX_SMALL_BYTES))


def parse_environment(data: bytes, names: frozenset[str]) -> dict[str, str]:
    """The asked variables of ``NAME=value\\0...``; those that are not set are left out.

    Of a name set twice the first counts, as it does for Go (runtime.gogetenv). No other value is
    copied out of ``data``. A value that is cut off (no NUL behind it) is left out.
    """
    found = {}
    for name in names:
        marker = name.encode() + b"="
        start = 0 if data.startswith(marker) else data.find(b"\0" + marker) + 1
        end = data.find(b"\0", start)
        if end >= 0 and data.startswith(marker, start):
            found[name] = data[start + len(marker) : end].decode("utf-8", "replace")
    return found


def read_environment(root: str, task: TaskPath, names: frozenset[str]) -> dict[str, str]:
    """The asked variables as the process was started with.

    Environments hold secrets: nothing but the asked values outlives the call.
    ParseError("environment-too-large"): more than an exec takes (PR_SET_MM_MAP can say so). What is
    behind the bound would otherwise count as not set.
    """
    path = f"{root}/{task}/environ"
    found: dict[str, str] = {}
    rest, size = b"", 0
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            while part := os.read(fd, _ENVIRONMENT_PART_BYTES):
                size += len(part)
                whole, end, rest = (rest + part).rpartition(b"\0")
                if size > _MAX_ENVIRONMENT_BYTES or len(rest) > _MAX_VARIABLE_BYTES:
                    raise ParseError("environment-too-large", f"{path}: over {size} bytes")
                found = parse_environment(whole + end, names) | found  # the first one counts
        finally:
            os.close(fd)
    except OSError as error:
        raise translated(error, path) from error
    return found


def read_arguments(root: str, task: TaskPath) -> tuple[str, ...]:
    """The command line, as the process has it in its memory; of a very long one the beginning.

    Command lines may hold secrets: only a reader keeps them, and only while it answers.
    """
    data = read_file(f"{root}/{task}/cmdline", _MAX_ARGUMENTS_BYTES)
    return tuple(data.decode("utf-8", "replace").removesuffix("\0").split("\0")) if data else ()


def parse_cpu_list(data: bytes) -> frozenset[int]:
    """``0-3,7`` as a set; an empty list is an empty set."""
    cpus: set[int] = set()
    for part in data.strip().split(b","):
        first, dash, last = part.partition(b"-")
        if not part:
            continue
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ParseError("cpu-list", repr(data[:80]))
        low, high = int(first[:8]), int((last or first)[:8])
        if not low <= high < _MAX_CPUS:
            raise ParseError("cpu-list", repr(data[:80]))
        cpus.update(range(low, high + 1))
    return frozenset(cpus)


def read_online_cpus(sys_root: str) -> frozenset[int]:
    """``sys_root`` is /sys."""
    return parse_cpu_list(read_file(f"{sys_root}/devices/system/cpu/online", _MAX_SMALL_BYTES))


def parse_allowed_cpus(data: bytes) -> frozenset[int]:
    """The affinity mask in /proc/PID/status. It may name CPUs that are not there."""
    match = _ALLOWED.search(data)
    if match is None or len(match[1]) > _MAX_CPUS // 2:
        raise ParseError("procfs-status", "no Cpus_allowed")
    mask = int(match[1].replace(b",", b"") or b"0", 16)
    return frozenset(cpu for cpu in range(mask.bit_length()) if mask >> cpu & 1)


def read_allowed_cpus(root: str, task: TaskPath, online: frozenset[int]) -> int:
    """How many CPUs the process may run on, at least 1: what Go's runtime takes for NumCPU.

    The mask of an unrestricted process covers every CPU the kernel was built or booted for;
    sched_getaffinity(2) leaves out those that are not online, and so does this.
    """
    allowed = parse_allowed_cpus(read_file(f"{root}/{task}/status", _MAX_SMALL_BYTES))
    return max(1, len(allowed & online))


def read_memory(root: str, task: TaskPath, address: int, length: int) -> bytes:
    """Exactly ``length`` bytes (at most 1 MiB) of the process's memory.

    AccessError("memory-unmapped"): not all of it is mapped. Needs CAP_SYS_PTRACE.
    """
    return read_memory_parts(root, task, [(address, length)])[0]


def read_memory_parts(root: str, task: TaskPath, parts: Iterable[tuple[int, int]]) -> list[bytes]:
    """As ``read_memory``, of several (address, length) at once: opening costs most of it."""
    path = f"{root}/{task}/mem"
    wanted = list(parts)
    for address, length in wanted:
        if not 0 < length <= _MAX_MEMORY_BYTES or not 0 <= address < 1 << 63:
            raise ParseError("memory-range", f"{length} bytes at {address:#x}")
    address = 0
    found = []
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            for address, length in wanted:
                data = os.pread(fd, length, address)
                if not data:  # mem_rw: an exited process has no address space left
                    raise ProcessGoneError(path)
                if len(data) < length:
                    raise AccessError("memory-unmapped", f"{path} at {address + len(data):#x}")
                found.append(data)
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno == errno.EIO:
            raise AccessError("memory-unmapped", f"{path} at {address:#x}") from error
        raise translated(error, path) from error
    return found


def read_cgroup_fds(root: str, task: TaskPath) -> tuple[str, ...]:
    """Which CPU limit files the process keeps open: cpu.max or cpu.cfs_quota_us, as it sees them.

    Go >= 1.25 does so exactly when its runtime follows the container's limit
    (internal/runtime/cgroup OpenCPU). Only the 64 lowest file descriptors are looked at: the
    runtime opens its own before the program opens any.
    """
    path = f"{root}/{task}/fd"
    found = []
    try:
        with os.scandir(path) as entries:
            for entry in islice(entries, _MAX_FDS):
                try:
                    target = os.readlink(entry.path)
                except FileNotFoundError:
                    continue  # closed since
                if target.endswith(_BANDWIDTH_FILES):
                    found.append(target)
    except OSError as error:
        raise translated(error, path) from error
    return tuple(found)


def read_file(path: str, limit: int) -> bytes:
    """At most ``limit`` bytes. Plain descriptors: half the cost of a file object."""
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            # seq files hand out about a page at a time, so a short read is not the end.
            chunks = [os.read(fd, min(_READ_BYTES, limit))]
            size = len(chunks[0])
            while chunks[-1] and size < limit:
                chunks.append(os.read(fd, min(_READ_BYTES, limit - size)))
                size += len(chunks[-1])
        finally:
            os.close(fd)
    except OSError as error:
        raise translated(error, path) from error
    return b"".join(chunks)


def translated(error: OSError, path: str) -> ProcessGoneError | ReadError:
    if error.errno in _GONE:
        return ProcessGoneError(path)
    if error.errno in _DENIED:
        return AccessError("procfs-denied", path)
    return AccessError("procfs-unreadable", f"{path}: {error.strerror}")
