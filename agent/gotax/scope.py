"""What to sample: the host, some processes, or the processes of some cgroups."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gotax.config import Roots
from gotax.errors import UserError
from gotax.linux import pidnamespace
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.linux.procfs import list_pids
from gotax.sampling.sampler import Target

_CGROUP_DIRECTORIES_MAX = 4096


@dataclass(frozen=True, slots=True)
class Scope:
    """What to sample: all of the host, or these processes, or the processes of these cgroups.

    ``cgroups`` are paths below the cgroup mount (``/kubepods/pod…``), subtrees included.
    """

    pids: frozenset[int] = frozenset()
    cgroups: tuple[str, ...] = ()

    @property
    def is_host(self) -> bool:
        return not self.pids and not self.cgroups


class CgroupScope:
    """The processes below some cgroups."""

    def __init__(self, paths: tuple[str, ...], roots: Roots) -> None:
        self._hierarchies = find_hierarchies(roots.proc, f"{roots.sys}/fs/cgroup")
        self._proc = roots.proc
        self._paths = paths
        if paths and not pidnamespace.shares_ours(roots.proc):
            raise UserError(  # cgroup.procs has the PIDs of the reader's namespace
                f"--cgroup takes the {roots.proc} of gotax's own PID namespace:"
                " set hostPID: true (docker: --pid=host)"
            )
        for path in paths:
            if not self._directories(path):
                raise UserError(f"no cgroup has the path {path} (see /proc/PID/cgroup)")

    def _directories(self, path: str) -> list[str]:
        of = self._hierarchies.of
        trees = {of("cpu"), of("cpuset"), self._hierarchies.unified}
        found = [tree.directory(path) for tree in trees if tree is not None]
        return [directory for directory in found if directory and os.path.isdir(directory)]

    def in_kernel(self) -> Target | None:
        """The scope as something the kernel can test: one subtree, on a host with v2 only.

        Elsewhere a process may be in the cgroup of one tree and not of the other.
        """
        if len(self._paths) != 1 or self._hierarchies.version != "v2":
            return None
        directory = self._directories(self._paths[0])[0]
        level = len([part for part in self._paths[0].split("/") if part])
        return Target(cgroup_id=os.stat(directory).st_ino, cgroup_level=level)

    def tgids(self) -> frozenset[int]:
        """PIDs of all processes in the subtrees, now; bounded by the host's own PIDs."""
        if not self._paths:
            return frozenset()
        found: set[int] = set()
        for path in self._paths:
            for top in self._directories(path):
                for count, (directory, _, _) in enumerate(os.walk(top)):
                    if count >= _CGROUP_DIRECTORIES_MAX:
                        break
                    try:
                        text = Path(directory, "cgroup.procs").read_text()
                    except OSError:
                        continue  # gone, or a threaded cgroup
                    found.update(int(line) for line in text.split())
        return frozenset(found & set(list_pids(self._proc)))
