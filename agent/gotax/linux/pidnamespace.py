"""Which PIDs a /proc shows: those of the PID namespace it was mounted in.

That is not always the initial one, by whose PIDs the kernel counts: the node of kind, minikube and
k3d is a container. Nor is it always the reader's own: /proc of the host may be mounted elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice

from gotax.errors import AccessError, ProcessGoneError, ReadError
from gotax.linux.procfs import list_pids, read_status_line

INITIAL = 0xEFFFFFFC
"""Inode of the initial PID namespace: include/linux/proc_ns.h PROC_PID_INIT_INO."""

READER = "gotax-reader"
"""What processes are called that read for gotax."""
_LINK = re.compile(r"pid:\[([0-9]{1,10})\]")
_TRIES_MAX = 4096


def read_pid_namespace(root: str) -> int:
    """Inode of the namespace whose PIDs the /proc at ``root`` shows.

    Raises AccessError where none of its processes can be read.
    """
    if os.path.isdir(f"{root}/self/ns") and not os.path.lexists(f"{root}/self/ns/pid"):
        return INITIAL  # a kernel without CONFIG_PID_NS
    for process in islice(_processes(root), _TRIES_MAX):
        # As seen from the namespace of this /proc: one PID, if the process is in no deeper one.
        if len(_pids_inwards(root, process)) != 1:
            continue
        try:
            link = _LINK.fullmatch(os.readlink(f"{root}/{process}/ns/pid"))
        except OSError:
            continue
        if link:
            return int(link[1])
    raise AccessError("pid-namespace", f"no process in {root} shows its PID namespace")


def read_own_pid(root: str) -> int | None:
    """Ours by the /proc at ``root``; None where we are not in it."""
    try:
        return int(os.readlink(f"{root}/self"))
    except (OSError, ValueError):
        return None


def shares_ours(root: str) -> bool:
    """The /proc at ``root`` is of the namespace that we are in ourselves."""
    return len(_pids_inwards(root, "self")) == 1


def read_others(root: str) -> list[int]:
    """Processes that are neither we nor started us, nor our readers."""
    found = set(list_pids(root))
    pid = own = read_own_pid(root)
    while pid:
        found.discard(pid)
        parent = _read_parent(root, pid)
        pid = parent if parent in found else None
    ours = {own}
    for pid in sorted(found):  # a child has a higher number, unless numbers have started over
        if _read_parent(root, pid) in ours and read_status_line(root, str(pid), "Name:") == READER:
            ours.add(pid)
    return sorted(found - ours)


def _read_parent(root: str, pid: int) -> int | None:
    line = read_status_line(root, str(pid), "PPid:")
    return int(line) if line.isdecimal() else None


def _processes(root: str) -> Iterator[str]:
    yield "self"
    try:
        yield from map(str, sorted(list_pids(root)))
    except (ReadError, ProcessGoneError):
        return


def _pids_inwards(root: str, process: str) -> list[str]:
    return read_status_line(root, process, "NSpid:").split()
