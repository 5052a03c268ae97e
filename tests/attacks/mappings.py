"""A process with as many mappings as the kernel allows, every second one of them executable.

    python mappings.py FILE COUNT

Prints a line when they are there, and then spins. It imports nothing of gotax.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys


def main() -> None:
    path, count = sys.argv[1], int(sys.argv[2])
    fd = os.open(path, os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = count * mmap.PAGESIZE
    base = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_PRIVATE, fd, 0)
    if base in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for number in range(0, count, 2):
        at = base + number * mmap.PAGESIZE
        if libc.mprotect(at, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC):
            break  # the kernel's bound (vm.max_map_count)
    print("mapped", flush=True)
    while True:
        pass


if __name__ == "__main__":
    main()
