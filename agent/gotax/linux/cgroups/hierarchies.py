"""Where the hierarchies are mounted, and how the agent's own cgroup namespace shows them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import Literal

from gotax.errors import AccessError, ParseError
from gotax.linux.cgroups import files
from gotax.linux.cgroups.identity import containers_of
from gotax.linux.procfs import CgroupEntry, parse_cgroups


@dataclass(frozen=True, slots=True)
class CgroupMount:
    """A cgroup line of mountinfo. ``controllers`` is () for v2; ``root`` is what is mounted.

    ``root`` is relative to the reader's cgroup namespace: "/" in the initial one, "/../.." for
    the real root seen from a namespace two levels down (cgroup_namespaces(7)).
    """

    controllers: tuple[str, ...]
    mount: str
    root: str


def parse_mountinfo(data: bytes) -> tuple[CgroupMount, ...]:
    """The cgroup and cgroup2 mounts in their order; all other lines are passed over."""
    found = []
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        # proc_pid_mountinfo(5): id parent dev root mount options [tags...] - type source options
        left, _, right = line.partition(" - ")
        fields, kinds = left.split(" "), right.split(" ")
        if kinds[0] not in ("cgroup", "cgroup2"):
            continue
        if len(fields) < 6 or len(kinds) < 3:
            raise ParseError("cgroup-mountinfo", repr(line[:120]))
        # v1's super options: rw, the controllers or name=x; release_agent=/x and xattr do no harm.
        options = kinds[2].split(",") if kinds[0] == "cgroup" else ()
        controllers = tuple(option for option in options if option not in ("rw", "ro"))
        found.append(CgroupMount(controllers, _unescaped(fields[4]), _unescaped(fields[3])))
    return tuple(found)


def _unescaped(text: str) -> str:
    # fs/proc_namespace.c mangles space, tab, newline, backslash and # as three octal digits.
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), text)


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One cgroup tree. ``mount`` shows the host path ``root`` and what is below it.

    ``base`` is the host path of the agent's cgroup namespace root, "/" without a namespace.
    """

    controllers: tuple[str, ...]
    mount: str
    root: str = "/"
    base: str = "/"

    def directory(self, path: str) -> str | None:
        """Where a host path is in the file system; None: not below what is mounted."""
        if self.root == "/":
            return self.mount + path.rstrip("/")
        if path != self.root and not path.startswith(self.root + "/"):
            return None
        return self.mount + path[len(self.root) :]


def _resolved(path: str, base: str) -> str:
    """``path`` seen from ``base``: "/../x" from "/a/b" is "/a/x"."""
    parts = [part for part in path.split("/") if part]
    above = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    kept = [part for part in base.split("/") if part]
    kept = kept[: len(kept) - above] if above < len(kept) else []
    return "/" + "/".join(kept + parts[above:])


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """``sees_host`` is False when only the agent's own cgroups are mounted, or its own place in the
    host's tree was not found: paths still distinguish the containers, but no limit or usage can be
    read. ``node``: ids of the containers that PID 1 is in, so that all of this node is in them.
    """

    version: Literal["v1", "v2", "hybrid"]
    unified: Hierarchy | None
    legacy: tuple[Hierarchy, ...]
    sees_host: bool = True
    node: frozenset[str] = frozenset()

    def of(self, controller: str) -> Hierarchy | None:
        """The tree that has the controller: v1's if there is one, else the unified one."""
        return next((h for h in self.legacy if controller in h.controllers), self.unified)

    def of_entry(self, entry: CgroupEntry) -> Hierarchy | None:
        if entry.hierarchy == 0:
            return self.unified
        return next((h for h in self.legacy if set(entry.controllers) & set(h.controllers)), None)

    def host_entries(self, entries: tuple[CgroupEntry, ...]) -> tuple[CgroupEntry, ...]:
        """Undoes the agent's cgroup namespace. Once only: host paths must not come back in here.

        Where the agent's own place is unknown, "/../../x" becomes "/x", which still
        distinguishes the container.
        """
        result = []
        for entry in entries:
            tree = self.of_entry(entry)
            base = tree.base if tree else "/"
            foreign = base != "/" or entry.path.startswith("/..")
            result.append(replace(entry, path=_resolved(entry.path, base)) if foreign else entry)
        return tuple(result)


def find_hierarchies(proc_root: str, sys_root: str) -> Hierarchies:
    """Reads where cgroups are mounted for this process, at or below ``sys_root``.

    ``sys_root`` is /sys/fs/cgroup, or where a container has the host's mounted. Mounts elsewhere
    (a container's own) do not count. When the agent sits in a private cgroup namespace, its own
    place is searched for in the host's tree, by its PID in cgroup.procs, once.
    AccessError("cgroup-not-mounted"): there is none.
    """
    data = files.read(f"{proc_root}/self/mountinfo", files.MAX_MOUNTINFO_BYTES)
    if data is None:
        raise ParseError("cgroup-mountinfo", f"{proc_root}/self/mountinfo cannot be read")
    best: dict[tuple[str, ...], CgroupMount] = {}
    for mount in parse_mountinfo(data):
        if mount.mount != sys_root and not mount.mount.startswith(sys_root + "/"):
            continue
        known = best.get(mount.controllers)
        if known is None or _width(mount) >= _width(known):  # a later mount hides an earlier one
            best[mount.controllers] = mount
    if not best:
        raise AccessError("cgroup-not-mounted", f"no cgroup file system at {sys_root}")
    from_inside = any(mount.root.startswith("/..") for mount in best.values())
    own = _entries_of(proc_root, "self") if from_inside else ()
    trees = {controllers: _hierarchy(mount, own) for controllers, mount in best.items()}
    # PID 1 outside of our cgroup namespace, but no mount that shows anything outside of it.
    first = _entries_of(proc_root, "1")
    outside = any(entry.path.startswith("/..") for entry in first)
    lost = any(
        tree.base == "/" and best[controllers].root.startswith("/..")
        for controllers, tree in trees.items()
    )
    sees_host = not lost and (from_inside or not outside)
    unified = trees.pop((), None)
    legacy = tuple(trees.values())
    version: Literal["v1", "v2", "hybrid"] = (
        "v1" if unified is None else "hybrid" if legacy else "v2"
    )
    found = Hierarchies(version, unified, legacy, sees_host)
    return replace(found, node=containers_of(found.host_entries(first)))


def _width(mount: CgroupMount) -> tuple[int, int]:
    """How much of the hierarchy a mount shows: the higher its root, the more."""
    parts = [part for part in mount.root.split("/") if part]
    above = parts.count("..")
    return above, above - len(parts)


def _hierarchy(mount: CgroupMount, own: tuple[CgroupEntry, ...]) -> Hierarchy:
    parts = [part for part in mount.root.split("/") if part]
    if not parts or set(parts) != {".."}:
        return Hierarchy(mount.controllers, mount.mount, _resolved(mount.root, "/"))
    entry = next(
        (
            e
            for e in own
            if (not mount.controllers and e.hierarchy == 0)
            or set(e.controllers) & set(mount.controllers)
        ),
        None,
    )
    base = _find_own(mount.mount, entry.path) if entry else None
    # The depth is known from the mount; a path of another depth is not our namespace's root.
    if base is None or base.count("/") != len(parts):
        base = "/"
    return Hierarchy(mount.controllers, mount.mount, "/", base)


def _find_own(mount: str, inner: str) -> str | None:
    """The host path of our cgroup namespace's root: where this PID is, less the path inside."""
    pid = str(os.getpid()).encode()
    for directory, _ in files.walk(mount):
        listed = files.read(f"{directory}/cgroup.procs", files.MAX_MOUNTINFO_BYTES) or b""
        if pid in listed.split():
            path = directory[len(mount) :]
            inside = inner.rstrip("/")
            return path.removesuffix(inside) if path.endswith(inside) else None
    return None


def _entries_of(proc_root: str, pid: str) -> tuple[CgroupEntry, ...]:
    return parse_cgroups(files.read(f"{proc_root}/{pid}/cgroup", files.MAX_FILE_BYTES) or b"")
