"""A process that maps what it is told, and then runs in it.

    python attacker.py TASK

TASK is JSON: {"maps": [[PATH, OFFSET, SIZE, AT, EXECUTABLE]], "entry": AT, "environ": PATH}.
Places are counted from one base. ``environ``, if not empty, is a file whose pages replace those of
the environment. It prints a line when all is mapped, and imports nothing of gotax: it is what a
container could run.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys
from pathlib import Path

_FIXED = 0x10  # MAP_FIXED
_NONE = 0  # PROT_NONE
_NO_FILE = -1


def map_(address: int | None, size: int, protection: int, flags: int, fd: int, at: int) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    found = libc.mmap(address, size, protection, flags | mmap.MAP_PRIVATE, fd, at)
    if found in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(found)


def environment() -> tuple[int, int]:
    """The whole pages of it."""
    fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
    start, end = int(fields[47]), int(fields[48])
    return -(-start // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE


def main() -> None:
    task = json.loads(sys.argv[1])
    whole = max(at + size for _, _, size, at, _ in task["maps"])
    base = map_(None, whole + mmap.PAGESIZE, _NONE, mmap.MAP_ANONYMOUS, _NO_FILE, 0)
    for path, offset, size, at, executable in task["maps"]:
        fd = os.open(path, os.O_RDONLY)
        protection = mmap.PROT_READ | (mmap.PROT_EXEC if executable else 0)
        map_(base + at, size, protection, _FIXED, fd, offset)
        os.close(fd)
    run = ctypes.CFUNCTYPE(None)(base + task["entry"])
    if task["environ"]:
        start, end = environment()
        fd = os.open(task["environ"], os.O_RDONLY)
        map_(start, end - start, mmap.PROT_READ | mmap.PROT_WRITE, _FIXED, fd, 0)
    print("mapped", flush=True)
    run()


if __name__ == "__main__":
    main()
