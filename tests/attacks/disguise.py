"""A process that names itself and its arguments so that a terminal or a page would obey them, has a
large environment and hides its /proc and its root, and then runs what it is told.

    python disguise.py PROGRAM ARGUMENT...
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys

NAME = "\x1b[2J\u202egnp\n\x07"
MOUNT_CALLS = ("mount -t tmpfs none /proc", "mount -t tmpfs -o mode=0 none /mnt")


def main() -> None:
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 30, resource.RLIM_INFINITY))
    program = sys.argv[1]
    hidden = os.open(program, os.O_RDONLY)
    for call in MOUNT_CALLS:
        subprocess.run(call.split(), check=True)
    ctypes.CDLL(None).prctl(15, NAME.encode()[:15], 0, 0, 0)  # PR_SET_NAME
    filled = {f"FILL{n}": "x" * 100_000 for n in range(20)}
    os.chroot("/mnt")
    print("hidden", flush=True)
    os.execve(hidden, [NAME, *sys.argv[2:]], filled | {"GOMAXPROCS": "64"})


if __name__ == "__main__":
    main()
