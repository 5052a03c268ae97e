"""Files and folders of a cgroup tree, as far as they exist."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from gotax.errors import AccessError, ProcessGoneError

MAX_MOUNTINFO_BYTES = 8 << 20
MAX_FILE_BYTES = 64 * 1024
MAX_CGROUPS = 16384  # directories of one walk, and ids kept
# EOPNOTSUPP: cgroup.procs of a threaded cgroup. ENODEV: the cgroup was removed while it was open.
_ABSENT = frozenset({errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.EOPNOTSUPP})


def read(path: str, limit: int) -> bytes | None:
    """At most ``limit`` bytes; None: there is no such file (any more), or it has no such data."""
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            chunks = [os.read(fd, min(65536, limit))]
            size = len(chunks[0])
            while chunks[-1] and size < limit:
                chunks.append(os.read(fd, min(65536, limit - size)))
                size += len(chunks[-1])
        finally:
            os.close(fd)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise AccessError("cgroup-unreadable", f"{path}: {error.strerror}") from error
    return b"".join(chunks)


def read_int(path: str) -> int | None:
    data = (read(path, MAX_FILE_BYTES) or b"").strip()
    return int(data[:20]) if data.isdigit() else None


def inode(path: str) -> int | None:
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def require(directory: str) -> None:
    if not os.path.isdir(directory):
        raise ProcessGoneError(directory)


def walk(top: str) -> Iterator[tuple[str, int]]:
    """(directory, inode) of each cgroup, parents first, at most 16384; what vanishes is left out.

    A cgroup directory's link count is 2 + its children (fs/kernfs/inode.c), so a stat saves
    listing the fifty files of a leaf. Not every file system that a test may use keeps it: 1 is
    no answer.
    """
    try:
        inode = os.stat(top).st_ino
    except OSError:
        return
    yield top, inode
    queue, count = [top], 1
    for directory in queue:
        try:
            with os.scandir(directory) as listing:
                children = [entry for entry in listing if entry.is_dir(follow_symlinks=False)]
        except OSError:
            continue
        for child in children:
            try:
                stat = child.stat(follow_symlinks=False)
            except OSError:
                continue
            count += 1
            if count > MAX_CGROUPS:
                return
            yield child.path, stat.st_ino
            if stat.st_nlink != 2:
                queue.append(child.path)
