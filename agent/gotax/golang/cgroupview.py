"""How a process sees its cgroup: whether its Go runtime can find its CPU limit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum

from gotax.errors import AccessError, ProcessGoneError
from gotax.linux.cgroups.hierarchies import CgroupMount, parse_mountinfo
from gotax.linux.procfs import CgroupEntry, TaskPath, read_cgroups

_MAX_MOUNTINFO_BYTES = 1 << 20


class CgroupLayout(Enum):
    """How a process sees the cgroup that limits its CPU time."""

    HOST = "host"  # the whole tree is mounted
    NAMESPACE = "namespace"  # a cgroup namespace: its own cgroup seems to be the root
    BIND = "bind"  # its own cgroup is mounted, but /proc/self/cgroup shows the host's path
    HIDDEN = "hidden"  # no cgroup file system, or none that shows its cgroup


@dataclass(frozen=True, slots=True)
class CgroupView:
    """``version`` is that of the tree with the cpu controller, None for a process in none.

    ``usual_mount``: for version 2, whether it is mounted at /sys/fs/cgroup.
    """

    version: int | None = 2
    layout: CgroupLayout = CgroupLayout.HOST
    usual_mount: bool = True


def view_cgroup(
    entries: tuple[CgroupEntry, ...], mounts: tuple[CgroupMount, ...], private: bool
) -> CgroupView:
    """From the process's /proc/PID/cgroup and mountinfo, both as the reader sees them.

    ``private``: the process has another cgroup namespace than the host's first process. Paths and
    roots are relative to the reader's namespace, so they compare from anywhere, and the host's
    root is "/" or, from inside a namespace, nothing but "..".
    """
    limiting = next((e for e in entries if "cpu" in e.controllers), None)
    if limiting is None:
        limiting = next((e for e in entries if e.hierarchy == 0), None)
    if limiting is None:
        return CgroupView(None, CgroupLayout.HIDDEN, False)
    version = 1 if limiting.controllers else 2
    shown = [m for m in mounts if ("cpu" in m.controllers if version == 1 else not m.controllers)]
    layouts = [_layout(limiting.path, mount.root, private) for mount in shown]
    return CgroupView(
        version,
        next(
            (layout for layout in layouts if layout is not CgroupLayout.HIDDEN), CgroupLayout.HIDDEN
        ),
        any(mount.mount == "/sys/fs/cgroup" for mount in shown),
    )


def _layout(path: str, root: str, private: bool) -> CgroupLayout:
    is_whole_tree = not root.replace("..", "").strip("/")
    if is_whole_tree:
        # Seen from inside a namespace that lies deeper, it is "/../..": neither Go nor
        # automaxprocs finds the way.
        return CgroupLayout.HIDDEN if private else CgroupLayout.HOST
    if path != root and not path.startswith(root + "/"):
        return CgroupLayout.HIDDEN
    return CgroupLayout.NAMESPACE if private else CgroupLayout.BIND


def read_cgroup_view(proc_root: str, task: TaskPath) -> CgroupView:
    """Raises ProcessGoneError, and ParseError where files cannot be read or understood.

    The namespace of the host's first process needs CAP_SYS_PTRACE to be seen; without it the
    reader is taken to be in the host's.
    """
    entries = read_cgroups(proc_root, task)
    try:
        with open(f"{proc_root}/{task}/mountinfo", "rb") as file:
            mounts = parse_mountinfo(file.read(_MAX_MOUNTINFO_BYTES))
        own = _cgroup_namespace(proc_root, str(task))
        try:
            first = _cgroup_namespace(proc_root, "1")
        except PermissionError:
            first = _cgroup_namespace(proc_root, "self")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessGoneError(f"{proc_root}/{task}") from error
    except OSError as error:
        raise AccessError("gomaxprocs-cgroup", str(error)) from error
    return view_cgroup(entries, mounts, private=own != first)


def _cgroup_namespace(proc_root: str, pid: str) -> int:
    return os.stat(f"{proc_root}/{pid}/ns/cgroup").st_ino
