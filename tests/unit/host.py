"""A host as a folder: /proc, /sys and cgroup v2 with any number of processes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from gotax.config import Roots

KERNEL_THREAD = 0x00200000
# As Linux 6.18 writes it: pid, command, state, flags, start time.
STAT = (
    "{} ({}) S 1 1 1 0 -1 {} 103 0 0 0 0 0 0 0 20 0 1 0 {} 2998272 415 "
    "18446744073709551615 1 1 {} 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
)


@dataclass(frozen=True)
class Program:
    """``maps`` is a line of /proc/PID/maps with {inode} in it."""

    path: Path
    maps: str

    def maps_line(self) -> str:
        return self.maps.format(inode=self.path.stat().st_ino)


class Host:
    """Roots below ``folder``. Its methods start, change and end processes."""

    def __init__(self, folder: Path, cpus: str = "0-3") -> None:
        self.proc = folder / "proc"
        self.sys = folder / "sys"
        self.cgroups = self.sys / "fs/cgroup"
        self.roots = Roots(str(self.proc), str(self.sys))
        self._mounts = f"31 23 0:27 / {self.cgroups} rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"
        for pid in ("self", "1"):
            (self.proc / pid / "ns").mkdir(parents=True)
            (self.proc / pid / "ns/cgroup").write_bytes(b"")
            (self.proc / pid / "mountinfo").write_text(self._mounts)
            (self.proc / pid / "cgroup").write_text("0::/\n")
        (self.sys / "devices/system/cpu").mkdir(parents=True)
        (self.sys / "devices/system/cpu/online").write_text(f"{cpus}\n")
        self.cgroups.mkdir(parents=True)

    def cgroup(self, path: str, cpu_max: str = "max 100000") -> int:
        """Creates a cgroup; returns its id."""
        folder = self.cgroups / path.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cpu.max").write_text(f"{cpu_max}\n")
        (folder / "cpu.stat").write_text(
            "usage_usec 5\nuser_usec 3\nsystem_usec 2\n"
            "nr_periods 1\nnr_throttled 0\nthrottled_usec 0\n"
        )
        return folder.stat().st_ino

    def start(
        self, pid: int, start_ticks: int, program: Program | None, cgroup: str = "/", stack: int = 1
    ) -> None:
        """Starts a process; without a program, a kernel thread. Also replaces an existing one, as
        exec does. (``stack`` is the address of its stack.)"""
        folder = self.proc / str(pid)
        self.end(pid)
        (folder / "fd").mkdir(parents=True)
        name = program.path.name[:15] if program else "kworker"
        flags = 0 if program else KERNEL_THREAD
        (folder / "stat").write_text(STAT.format(pid, name, flags, start_ticks, stack))
        (folder / "status").write_text(f"Name:\t{name}\nCpus_allowed:\tf\n")
        (folder / "cgroup").write_text(f"0::{cgroup}\n")
        (folder / "environ").write_bytes(b"HOME=/\0")
        (folder / "mountinfo").write_text(self._mounts)
        (folder / "ns").mkdir()
        (folder / "ns/cgroup").hardlink_to(self.proc / "1/ns/cgroup")
        (folder / "maps").write_text(program.maps_line() if program else "")
        if program:
            (folder / "exe").symlink_to(program.path)
            # Memory is a file with a hole, so that every address reads as zeros.
            with (folder / "mem").open("wb") as memory:
                memory.truncate(1 << 32)

    def end(self, pid: int) -> None:
        shutil.rmtree(self.proc / str(pid), ignore_errors=True)

    def spoil(self, pid: int, name: str, data: bytes = b"\xff\0garbage") -> None:
        """Replaces one file of a process by invalid content."""
        self.hide(pid, name)
        path = self.proc / str(pid) / name
        if path.parent.exists():
            path.write_bytes(data)

    def hide(self, pid: int, name: str) -> None:
        """Removes one file of a process, as if it ended while it was read."""
        path = self.proc / str(pid) / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def set_memory(host: Host, pid: int, address: int, data: bytes) -> None:
    with (host.proc / str(pid) / "mem").open("r+b") as memory:
        os.pwrite(memory.fileno(), data, address)
