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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, TypeAlias

from gotax.errors import AccessError, ParseError, ProcessGoneError, ReadError

_PF_KTHREAD = 0x00200000  # include/linux/sched.h
_MAX_SMALL_BYTES = 64 * 1024
_MAX_MAPS_BYTES = 16 << 20
"""Some 300,000 mappings; the kernel takes half a microsecond to write one. By default it allows a
process 65,530 (vm.max_map_count)."""
_MAX_ENVIRONMENT_BYTES = 1 << 20
_MAX_MEMORY_BYTES = 1 << 20
_MAX_MAPPINGS = 4096
_MAX_PATHS_BYTES = 256 * 1024  # of the mappings of one process; of a database 10 KB
_MAX_FDS = 64
_MAX_THREADS = 256  # looked at for one that lives; ended ones vanish by themselves
_MAX_AUXV_BYTES = 4096
_MAX_CPUS = 1 << 16
_READ_BYTES = 64 * 1024
_GONE = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})
_DENIED = frozenset({errno.EACCES, errno.EPERM})
_DEAD = ("Z", "X", "x")
_DELETED = " (deleted)"  # appended by the kernel to the path of an unlinked file
UNLISTED = "[mapping not listed]"
"""Stands for all that is behind the bound of what is read of a list of mappings."""
_BANDWIDTH_FILES = ("/cpu.max", "/cpu.cfs_quota_us")

# fs/proc/task_mmu.c show_map_vma: start-end perms offset major:minor inode, padding, path.
_EXECUTABLE_MAPPING = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ..x. ([0-9a-f]{1,16})"
    rb" ([0-9a-f]{1,7}):([0-9a-f]{1,7}) ([0-9]{1,20}) *([^\n]*)"
)
_MAYBE_EXECUTABLE = re.compile(rb"x[ps] ")  # addresses have no x: most lines are passed at once
_RANGE = re.compile(rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ")
_FIRST_MAPPING = re.compile(
    rb"^([0-9a-f]{1,16})-([0-9a-f]{1,16}) r... (0{1,16})"
    rb" ([0-9a-f]{1,7}):([0-9a-f]{1,7}) ([0-9]{1,20}) *(.*)$",
    re.MULTILINE,
)
_ALLOWED = re.compile(rb"^Cpus_allowed:\s*([0-9a-f,]+)$", re.MULTILINE)
_PSS = re.compile(rb"^Pss:\s*([0-9]{1,15}) kB$", re.MULTILINE)

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

    @property
    def place(self) -> TaskPath:
        return f"{self.pid}/task/{self.thread}" if self.thread else self.pid

    @property
    def has_ended(self) -> bool:
        """All its threads have; its parent has not read its exit code yet."""
        return self.state in _DEAD and not self.thread


@dataclass(frozen=True, slots=True)
class Mapping:
    """One executable mapping. ``device`` is ``os.makedev``'s number, ``inode`` 0 for no file.

    ``path`` is as the process sees it: "" for anonymous memory, "[vdso]" and the like for the
    kernel's own. ``deleted``: the file was unlinked or replaced since.
    """

    start: int
    end: int
    offset: int
    device: int
    inode: int
    path: str
    deleted: bool = False


class FileId(NamedTuple):
    """Identity of a file's content, good as a cache key."""

    device: int
    inode: int
    mtime_ns: int
    size: int


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
        raise _translated(error, root) from error


def parse_stat(data: bytes) -> Stat:
    """The command may hold spaces, parentheses and newlines: it ends at the last parenthesis."""
    head, _, rest = data.partition(b" (")
    command, closing, tail = rest.rpartition(b") ")
    fields = tail.split()
    try:
        if not closing:
            raise ValueError("no command")
        # proc(5) counts from 1 with the PID; state is field 3, flags 9, utime 14, stime 15,
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
        )
    except (ValueError, IndexError) as error:
        raise ParseError("procfs-stat", repr(data[:80])) from error


def read_stat(root: str, pid: int) -> Stat:
    """Of the process, with the ``place`` to read the rest of it at."""
    stat = parse_stat(_read(f"{root}/{pid}/stat", _MAX_SMALL_BYTES))
    if stat.state not in _DEAD or stat.threads < 2:
        return stat
    for thread in _read_threads(root, pid):
        try:
            alive = parse_stat(_read(f"{root}/{pid}/task/{thread}/stat", _MAX_SMALL_BYTES))
        except ProcessGoneError:
            continue
        if alive.state not in _DEAD:
            return replace(stat, thread=thread, start_stack=alive.start_stack)
    return stat


def _read_threads(root: str, pid: int) -> list[int]:
    path = f"{root}/{pid}/task"
    try:
        with os.scandir(path) as entries:
            return [int(e.name) for e in islice(entries, _MAX_THREADS) if e.name.isdecimal()]
    except OSError as error:
        raise _translated(error, path) from error


def read_status_line(root: str, process: str, name: str) -> str:
    """What stands behind ``name`` in /proc/PROCESS/status, a PID or ``self``; "" if unreadable."""
    try:
        text = _read(f"{root}/{process}/status", _MAX_SMALL_BYTES)
    except (ProcessGoneError, ReadError):
        return ""
    for line in text.decode("utf-8", "replace").splitlines():
        if line.startswith(name):
            return line.removeprefix(name).strip()
    return ""


def parse_maps(data: bytes) -> tuple[Mapping, ...]:
    """The executable mappings in address order, at most 4096 of them; other lines are passed.

    If there are more, or their paths are too long, the last one is ``UNLISTED``: from there to the
    end of all addresses.
    """
    found: list[Mapping] = []
    paths: dict[str, str] = {}
    size = 0
    for match in _executable(data):
        mapping = _mapping(match)
        if mapping.path not in paths:
            paths[mapping.path] = mapping.path
            size += len(mapping.path)
        if len(found) == _MAX_MAPPINGS or size > _MAX_PATHS_BYTES:
            found.append(_unlisted(mapping.start))
            break
        path = paths[mapping.path]
        found.append(mapping if path is mapping.path else replace(mapping, path=path))
    return tuple(found)


def _executable(data: bytes) -> Iterator[re.Match[bytes]]:
    """The lines of executable mappings."""
    at = 0
    while (hint := _MAYBE_EXECUTABLE.search(data, at)) is not None:
        match = _EXECUTABLE_MAPPING.match(data, data.rfind(b"\n", at, hint.start()) + 1 or at)
        if match is not None:
            yield match
        at = data.find(b"\n", hint.end()) + 1
        if not at:
            return


def _unlisted(start: int) -> Mapping:
    return Mapping(start, (1 << 64) - 1, 0, 0, 0, UNLISTED)


def _mapping(match: re.Match[bytes]) -> Mapping:
    start, end, offset, major, minor, inode, name = match.groups()
    # Only newlines are escaped (seq_file_path(m, file, "\n")), so this is exact but for a file
    # that really has "\012" in its name.
    path = name.replace(b"\\012", b"\n").decode("utf-8", "surrogateescape")
    deleted = path.endswith(_DELETED)
    return Mapping(
        start=int(start, 16),
        end=int(end, 16),
        offset=int(offset, 16),
        device=os.makedev(int(major, 16), int(minor, 16)),
        inode=int(inode),
        path=path.removesuffix(_DELETED) if deleted else path,
        deleted=deleted,
    )


class Maps(NamedTuple):
    """``length`` is the list's in bytes, which says what it costs to read it again."""

    mappings: tuple[Mapping, ...]
    length: int


def read_maps(root: str, task: TaskPath) -> Maps:
    """As ``parse_maps``, of the first 16 MiB of the list; none for a kernel thread."""
    data = _read(f"{root}/{task}/maps", _MAX_MAPS_BYTES)
    if len(data) < _MAX_MAPS_BYTES:
        return Maps(parse_maps(data), len(data))
    data = data[: data.rfind(b"\n") + 1]
    found = parse_maps(data)
    last = _RANGE.match(data, data.rfind(b"\n", 0, -1) + 1)
    if last is not None and not (found and found[-1].path == UNLISTED):
        found = (*found, _unlisted(int(last[2], 16)))
    return Maps(found, len(data))


def read_first_addresses(root: str, task: TaskPath) -> dict[tuple[int, int, str], int]:
    """Where the first byte of each mapped file lies, by (device, inode, path) as maps has them.

    Of a file mapped several times the lowest; of the first 4096 files.
    """
    data = _read(f"{root}/{task}/maps", _MAX_MAPS_BYTES)
    found: dict[tuple[int, int, str], int] = {}
    for mapping in map(_mapping, islice(_FIRST_MAPPING.finditer(data), _MAX_MAPPINGS)):
        if mapping.inode:
            found.setdefault((mapping.device, mapping.inode, mapping.path), mapping.start)
    return found


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
    return parse_auxv(_read(f"{root}/{task}/auxv", _MAX_AUXV_BYTES))


def read_exe_id(root: str, task: TaskPath) -> FileId:
    path = exe_path(root, task)
    try:
        return _file_id(path)
    except OSError as error:
        raise _translated(error, path) from error


def read_exe_link(root: str, task: TaskPath) -> str:
    """The executable's path as the process sees it, also when it has been unlinked since."""
    path = exe_path(root, task)
    try:
        return os.readlink(path).removesuffix(_DELETED)
    except OSError as error:
        raise _translated(error, path) from error


def exe_path(root: str, task: TaskPath) -> str:
    """What to open to read the executable: works across mount namespaces and after unlink."""
    return f"{root}/{task}/exe"


@dataclass(frozen=True, slots=True)
class MappedFile:
    """``path`` is what to open. ``is_proven``: it is the mapped file itself; else a file that has
    its path now."""

    path: str
    id: FileId
    is_proven: bool


def find_mapped_file(root: str, task: TaskPath, mapping: Mapping) -> MappedFile | None:
    """map_files is the mapped file itself, but needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN. Else
    the path seen through the process's root, which may be another file since. None: there is no
    file, or it was deleted and cannot be reached.

    The numbers in maps are proof if they are those of the file, and no proof against it if they
    are not: before Linux 6.8 maps has those of the file below an overlayfs, on btrfs the device is
    never that of stat.
    """
    if not mapping.inode:
        return None
    # Only processes have map_files; a thread can be asked for as if it was one, unlisted.
    pid = str(task).rpartition("/")[2]
    direct = f"{root}/{pid}/map_files/{mapping.start:x}-{mapping.end:x}"
    try:
        return MappedFile(direct, _file_id(direct), True)
    except OSError:
        pass
    if mapping.deleted or not mapping.path.startswith("/"):
        return None
    path = f"{root}/{task}/root{mapping.path}"
    try:
        found = _file_id(path)
    except (OSError, ValueError):
        return None
    numbers = (mapping.device, mapping.inode)
    return MappedFile(path, found, numbers == (found.device, found.inode))


def _file_id(path: str) -> FileId:
    stat = os.stat(path)
    return FileId(stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size)


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
        entries.append(CgroupEntry(int(hierarchy), names, path.removesuffix(_DELETED)))
    return tuple(entries)


def read_cgroups(root: str, task: TaskPath) -> tuple[CgroupEntry, ...]:
    """Paths are relative to the reader's cgroup namespace: see ``cgroup.Cgroups.read_entries``."""
    return parse_cgroups(_read(f"{root}/{task}/cgroup", _MAX_SMALL_BYTES))


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
    """The asked variables as the process was started with; looks at the first MiB only.

    Environments hold secrets: nothing but the asked values outlives the call.
    """
    return parse_environment(_read(f"{root}/{task}/environ", _MAX_ENVIRONMENT_BYTES), names)


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
    return parse_cpu_list(_read(f"{sys_root}/devices/system/cpu/online", _MAX_SMALL_BYTES))


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
    allowed = parse_allowed_cpus(_read(f"{root}/{task}/status", _MAX_SMALL_BYTES))
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
        raise _translated(error, path) from error
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
        raise _translated(error, path) from error
    return tuple(found)


def parse_pss(data: bytes) -> int:
    match = _PSS.search(data)
    if match is None:
        raise ParseError("procfs-smaps-rollup", "no Pss")
    return int(match[1]) * 1024


def read_pss_bytes(root: str, pid: int) -> int:
    """Proportional set size. The kernel walks all pages for it: not for every window."""
    return parse_pss(_read(f"{root}/{pid}/smaps_rollup", _MAX_SMALL_BYTES))


def _read(path: str, limit: int) -> bytes:
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
        raise _translated(error, path) from error
    return b"".join(chunks)


def _translated(error: OSError, path: str) -> ProcessGoneError | ReadError:
    if error.errno in _GONE:
        return ProcessGoneError(path)
    if error.errno in _DENIED:
        return AccessError("procfs-denied", path)
    return AccessError("procfs-unreadable", f"{path}: {error.strerror}")
