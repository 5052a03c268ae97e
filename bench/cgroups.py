"""Cgroups of the benchmarks: to start processes in, to read what they used, and to remove."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.linux.procfs import read_file

_GONE_WITHIN_S = 20.0
_PSS = re.compile(rb"^Pss:\s*([0-9]+) kB$", re.MULTILINE)


def read_pss_bytes(pid: int) -> int:
    """Proportional set size. The kernel walks all pages for it. Raises ReadError,
    ProcessGoneError."""
    found = _PSS.search(read_file(f"/proc/{pid}/smaps_rollup", 4096))
    return int(found[1]) * 1024 if found else 0


class BenchError(Exception):
    """The benchmark cannot continue; the text is one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Group:
    """The same cgroup path in every relevant tree; without folders where none can be created."""

    path: str
    folders: tuple[Path, ...]

    def join(self) -> None:
        """Puts the process that calls it into the group: for a child between fork and exec."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text("0")

    def pids(self) -> list[int]:
        return [int(pid) for pid in (self.folders[0] / "cgroup.procs").read_text().split()]

    def cpu_s(self) -> float:
        """User and system time of all processes that were ever in it, ended ones included."""
        for folder in self.folders:
            with contextlib.suppress(FileNotFoundError):
                return int((folder / "cpuacct.usage").read_text()) / 1e9  # v1
            with contextlib.suppress(FileNotFoundError):
                line = (folder / "cpu.stat").read_text().splitlines()[0]
                if line.startswith("usage_usec "):  # v2; the file of v1 has no such line
                    return int(line.split()[1]) / 1e6
        raise BenchError(f"no cgroup tree counts the CPU time of {self.path}: mount cgroup2")

    def pss_bytes(self) -> int:
        """The sum of smaps_rollup. (memory.peak would count the pages of files that were read.)"""
        total = 0
        for pid in self.pids():
            with contextlib.suppress(ReadError, ProcessGoneError):
                total += read_pss_bytes(pid)
        return total

    def remove(self) -> None:
        """Ends what is left in it: the readers of an agent that was killed."""
        for folder in self.folders:
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
        for folder in self.folders:
            _remove(folder)


def trees() -> list[Path]:
    """Roots of the trees for limits, accounting and identity, each once; with v1 the last is
    optional.

    A tree mounted read-only is skipped; if it is the one for limits, creating a group fails.
    """
    hierarchies = find_hierarchies("/proc", "/sys/fs/cgroup")
    limiting = hierarchies.of("cpu")
    found = [limiting, hierarchies.of("cpuacct"), hierarchies.unified]
    mounts = dict.fromkeys(Path(tree.mount) for tree in found if tree is not None)
    return [
        mount
        for mount in mounts
        if (limiting is not None and mount == Path(limiting.mount))
        or not os.statvfs(mount).f_flag & os.ST_RDONLY
    ]


def make_group(roots: list[Path], path: str, limit: float | None = None) -> Group:
    """``limit`` in cores. A group that exists is used. Raises BenchError."""
    group = Group(path, tuple(root / path for root in roots))
    for folder in group.folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if limit is not None:
                _set_limit(folder, limit)
        except OSError as error:
            group.remove()
            raise BenchError(
                f"cannot make the cgroup {folder} ({error.strerror}): run as root on the host"
            ) from error
    return group


@contextlib.contextmanager
def grouped(path: str) -> Iterator[Group]:
    """A group for the block. Whatever was started in it must have ended by then."""
    group = make_group(trees(), path)
    try:
        yield group
    finally:
        group.remove()


def container_id(number: int) -> str:
    return hashlib.sha256(f"gotax-bench {number}".encode()).hexdigest()


def pod_path(top: str, number: int) -> tuple[str, str]:
    """The cgroups of a pod and of its container, as kubelet and containerd name them."""
    digits = container_id(number)
    uid = "_".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:32]))
    pod = f"{top}/kubepods-burstable-pod{uid}.slice"
    return pod, f"{pod}/cri-containerd-{digits}.scope"


def _set_limit(folder: Path, cores: float) -> None:
    for name, text in (
        ("cpu.cfs_quota_us", str(int(cores * 100_000))),
        ("cpu.max", f"{int(cores * 100_000)} 100000"),
    ):
        if (folder / name).exists():
            (folder / name).write_text(text)


def _remove(folder: Path) -> None:
    """The kernel returns EBUSY for a moment after the last process of a cgroup ended."""
    end = time.monotonic() + _GONE_WITHIN_S
    while time.monotonic() < end:
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.02)
