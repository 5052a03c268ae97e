"""The files that a process runs and maps: /proc/PID/maps, exe and map_files.

Errors and paths are as in procfs.py.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from gotax.linux.procfs import DELETED, TaskPath, read_file, translated

_MAX_MAPS_BYTES = 16 << 20
"""Some 300,000 mappings; the kernel takes half a microsecond to write one. By default it allows a
process 65,530 (vm.max_map_count)."""
_MAX_MAPPINGS = 4096
_MAX_PATHS_BYTES = 256 * 1024  # of the mappings of one process; of a database 10 KB
UNLISTED = "[mapping not listed]"
LONG_PATH = "[path too long]"
"""Stands for all that is behind the bound of what is read of a list of mappings."""
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


class FileId(NamedTuple):
    """Identity of a file's content, good as a cache key."""

    device: int
    inode: int
    mtime_ns: int
    size: int


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


class Maps(NamedTuple):
    """``length`` is the list's in bytes, which says what it costs to read it again."""

    mappings: tuple[Mapping, ...]
    length: int


@dataclass(frozen=True, slots=True)
class MappedFile:
    """``path`` is what to open. ``is_proven``: it is the mapped file itself; else a file that has
    its path now."""

    path: str
    id: FileId
    is_proven: bool


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
    deleted = path.endswith(DELETED)
    return Mapping(
        start=int(start, 16),
        end=int(end, 16),
        offset=int(offset, 16),
        device=os.makedev(int(major, 16), int(minor, 16)),
        inode=int(inode),
        path=path.removesuffix(DELETED) if deleted else path,
        deleted=deleted,
    )


def read_maps(root: str, task: TaskPath) -> Maps:
    """As ``parse_maps``, of the first 16 MiB of the list; none for a kernel thread."""
    data = read_file(f"{root}/{task}/maps", _MAX_MAPS_BYTES)
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
    data = read_file(f"{root}/{task}/maps", _MAX_MAPS_BYTES)
    found: dict[tuple[int, int, str], int] = {}
    for mapping in map(_mapping, islice(_FIRST_MAPPING.finditer(data), _MAX_MAPPINGS)):
        if mapping.inode:
            found.setdefault((mapping.device, mapping.inode, mapping.path), mapping.start)
    return found


def read_exe_id(root: str, task: TaskPath) -> FileId:
    path = exe_path(root, task)
    try:
        return _file_id(path)
    except OSError as error:
        raise translated(error, path) from error


def read_exe_link(root: str, task: TaskPath) -> str:
    """The executable's path as the process sees it, also when it has been unlinked since.

    ``LONG_PATH`` if it has more than PATH_MAX bytes: the kernel does not name it, but opens it.
    """
    path = exe_path(root, task)
    try:
        return os.readlink(path).removesuffix(DELETED)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return LONG_PATH
        raise translated(error, path) from error


def exe_path(root: str, task: TaskPath) -> str:
    """What to open to read the executable: works across mount namespaces and after unlink."""
    return f"{root}/{task}/exe"


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
