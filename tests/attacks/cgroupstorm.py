"""A process that makes, renames and removes cgroups below its own without end, and runs in them.

    python cgroupstorm.py STANDING FOLDER...

FOLDERs are its cgroup in each tree. It first makes STANDING of them, which stay until SIGTERM, and
prints a line.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

SPIN_S = 0.003


def main() -> None:
    standing = int(sys.argv[1])
    paths = map(Path, sys.argv[2:])
    # Two controllers may have one tree.
    folders = list({(s.st_dev, s.st_ino): path for path in paths for s in [path.stat()]}.values())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    me = str(os.getpid())
    made = [folder / f"standing{n % 97}" / f"n{n}" for folder in folders for n in range(standing)]
    number = 0
    try:
        for path in made:
            path.mkdir(parents=True)
        print("made", flush=True)
        while True:
            number += 1
            now = [folder / f"passing{number}" for folder in folders]
            for path in now:
                path.mkdir()
                (path / "cgroup.procs").write_text(me)
            end = time.monotonic() + SPIN_S
            while time.monotonic() < end:
                pass
            for folder, path in zip(folders, now, strict=True):
                other = path.with_name(f"renamed{number}")
                with contextlib.suppress(OSError):  # v2 refuses
                    path = path.rename(other)
                (folder / "cgroup.procs").write_text(me)
                path.rmdir()
    finally:
        for folder in folders:
            (folder / "cgroup.procs").write_text(me)
            for inner, _, _ in os.walk(folder, topdown=False):
                if Path(inner) != folder:
                    with contextlib.suppress(OSError):
                        os.rmdir(inner)


if __name__ == "__main__":
    main()
