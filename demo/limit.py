"""Cgroups with a CPU limit, created on this host and removed again.

Cgroup v1 has one tree per controller; the limit is in ``cpu`` and the counters in ``cpuacct``. A
hybrid host also has the unified tree, without these controllers; a group is created there too,
because a process's cgroup id comes from it. Cgroup v2 has one tree for everything.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PREFIX = "gotax-demo-"  # and the PID
_PERIOD_US = 100_000
_GONE_WITHIN_S = 3.0


class LimitError(Exception):
    """No cgroup with a CPU limit can be created here. The text is one sentence."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """The paths of the trees. Either ``cpu`` and ``cpuacct`` (v1), or only ``unified`` (v2)."""

    cpu: Path | None = None
    cpuacct: Path | None = None
    unified: Path | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """The kernel's counters of a group since its creation."""

    cpu_ns: int
    throttled_ns: int


def parse_mounts(mountinfo: str) -> Mounts:
    """Parses /proc/self/mountinfo (proc(5)); the first mount of each tree counts."""
    found: dict[str, Path] = {}
    for line in mountinfo.splitlines():
        fields = line.split()
        if "-" not in fields or len(fields) < fields.index("-") + 4:
            continue
        dash = fields.index("-")
        kind, options = fields[dash + 1], fields[dash + 3].split(",")
        # Mount points are written with \040 for a space and the like.
        point = Path(fields[4].encode("latin-1", "replace").decode("unicode_escape"))
        if kind == "cgroup2":
            found.setdefault("unified", point)
        elif kind == "cgroup":
            for controller in {"cpu", "cpuacct"}.intersection(options):
                found.setdefault(controller, point)
    return Mounts(found.get("cpu"), found.get("cpuacct"), found.get("unified"))


@dataclass(frozen=True, slots=True)
class Group:
    """One limited cgroup: the same path in every relevant tree."""

    mounts: Mounts
    path: str

    def folders(self) -> list[Path]:
        trees = (self.mounts.cpu, self.mounts.cpuacct, self.mounts.unified)
        # v1 usually mounts cpu and cpuacct together: one folder, not two.
        return list(dict.fromkeys(tree / self.path for tree in trees if tree is not None))

    def join(self) -> None:
        """Moves the calling process in. Safe between fork and exec."""
        for folder in self.folders():
            (folder / "cgroup.procs").write_text("0")

    def read_account(self) -> Account:
        if self.mounts.cpu is not None and self.mounts.cpuacct is not None:
            stat = _read_pairs(self.mounts.cpu / self.path / "cpu.stat")
            used = int((self.mounts.cpuacct / self.path / "cpuacct.usage").read_text())
            return Account(used, stat["throttled_time"])
        assert self.mounts.unified is not None
        stat = _read_pairs(self.mounts.unified / self.path / "cpu.stat")
        return Account(stat["usage_usec"] * 1000, stat["throttled_usec"] * 1000)


@contextmanager
def limited_groups(names: tuple[str, ...], cores: float | None) -> Iterator[list[Group]]:
    """Sibling cgroups, each limited to ``cores`` (None: no limit); removed at the end.

    Raises LimitError if the host has no CPU controller, or if it must not be used.
    """
    parent = f"{_PREFIX}{os.getpid()}"
    mounts = parse_mounts(Path("/proc/self/mountinfo").read_text())
    if mounts.cpu is None and mounts.unified is None:
        raise LimitError("no cgroup file system is mounted: the demo needs one for its CPU limit")
    if mounts.cpu is None and mounts.unified is not None:
        controllers = (mounts.unified / "cgroup.controllers").read_text().split()
        if "cpu" not in controllers:
            raise LimitError("the cgroups mounted here have no cpu controller: run it on the host")
    if mounts.cpu is not None and mounts.cpuacct is None:
        raise LimitError("cgroup v1 without its cpuacct controller: mount it, the demo reads it")
    groups = [Group(mounts, f"{parent}/{name}") for name in names]
    for folder in Group(mounts, "").folders():
        _remove_orphans(folder)
    try:
        try:
            for folder in Group(mounts, parent).folders():
                folder.mkdir()
            if mounts.cpu is None and mounts.unified is not None:
                _enable_cpu(mounts.unified)
                _enable_cpu(mounts.unified / parent)
            for group in groups:
                _make(group, cores)
        except OSError as error:
            raise LimitError(
                f"cannot make a cgroup with a CPU limit ({error.filename}: {error.strerror}): run"
                " the demo on the host itself, where the cgroup file system may be written"
            ) from error
        yield groups
    finally:
        for group in [*groups, Group(mounts, parent)]:
            for folder in group.folders():
                _remove(folder)


def _enable_cpu(folder: Path) -> None:
    """Allows CPU limits for the children of a v2 cgroup; no effect if they are allowed already."""
    control = folder / "cgroup.subtree_control"
    if "cpu" not in control.read_text().split():
        control.write_text("+cpu")


def _make(group: Group, cores: float | None) -> None:
    for folder in group.folders():
        folder.mkdir()
    if cores is None:
        return
    quota = round(cores * _PERIOD_US)
    if group.mounts.cpu is not None:
        folder = group.mounts.cpu / group.path
        (folder / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (folder / "cpu.cfs_quota_us").write_text(str(quota))
    elif group.mounts.unified is not None:
        (group.mounts.unified / group.path / "cpu.max").write_text(f"{quota} {_PERIOD_US}")


def _remove_orphans(tree: Path) -> None:
    """Removes the groups of an earlier run that was killed (SIGKILL)."""
    for folder in tree.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX)
        if pid.isdecimal() and not Path("/proc", pid).exists():
            for child in (*(c for c in folder.iterdir() if c.is_dir()), folder):
                _remove(child)


def _remove(folder: Path) -> None:
    """Removes an empty cgroup; the kernel returns EBUSY for a moment after its last process
    ended."""
    if not folder.exists():
        return
    deadline = time.monotonic() + _GONE_WITHIN_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return  # another process has removed it
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                reason = os.strerror(error.errno or 0)
                print(f"demo: {folder} is left behind: {reason}", file=sys.stderr)
                return
            time.sleep(0.02)
        else:
            return


def _read_pairs(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in path.read_text().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
