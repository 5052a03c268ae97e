"""The memory of a cgroup: its limits, its use, and what happened when there was not enough."""

from __future__ import annotations

from gotax.errors import AccessError, ParseError
from gotax.linux.cgroups import files
from gotax.linux.cgroups.hierarchies import Hierarchies
from gotax.linux.cgroups.position import CgroupPosition
from gotax.linux.cgroups.tree import upwards
from gotax.process import Memory

_NO_LIMIT = 1 << 60
"""v1 has no word for no limit, but a number of pages just below 2**63 bytes."""
_ANCESTORS_MAX = 4096


def parse_limit(data: bytes) -> int | None:
    """``memory.max`` and ``memory.high`` (``max``), and v1's ``memory.limit_in_bytes``."""
    text = data.strip()
    if text == b"max":
        return None
    if not text.isdigit() or len(text) > 20:
        raise ParseError("cgroup-memory", repr(data[:40]))
    return None if int(text) >= _NO_LIMIT else int(text)


def parse_counts(data: bytes) -> dict[str, int]:
    """Lines of a name and a number: memory.stat, memory.events, v1's memory.oom_control."""
    found = {}
    for line in data.split(b"\n"):
        key, _, value = line.partition(b" ")
        if value.isdigit():
            found[key.decode("ascii", "replace")] = int(value[:20])
    return found


class CgroupMemory:
    """``forget_ancestors`` once a round: within one, the limits of an ancestor are read once.

    A cgroup that is gone raises ``ProcessGoneError``, one outside of what is mounted
    ``AccessError("cgroup-unreachable")``.
    """

    def __init__(self, hierarchies: Hierarchies) -> None:
        self._hierarchies = hierarchies
        self._tree = hierarchies.of("memory")
        self._is_v2 = self._tree is hierarchies.unified
        self._limits: dict[str, tuple[int | None, int | None]] = {}

    def forget_ancestors(self) -> None:
        self._limits.clear()

    def read(self, position: CgroupPosition) -> Memory:
        """Of the container of a process there; nothing where there is no memory controller."""
        path, top = position.paths.memory, position.tops.memory
        directory = self._directory(path)
        if path == "/" or not self._has_controller(directory):
            files.require(directory)
            return Memory()
        limit = own = high = None
        limit_at = own_at = None
        is_own = top != "/"
        for at in upwards(path):
            limits = self._limits_of(at, is_leaf=at == path)
            if limits is None:
                break
            if limits[0] is not None and (limit is None or limits[0] < limit):
                limit, limit_at = limits[0], at
                if is_own:
                    own, own_at = limit, at
            if limits[1] is not None:
                high = limits[1] if high is None else min(high, limits[1])
            is_own = is_own and at != top
        at = own_at or (top if top != "/" else path)
        found = Memory(limit, limit_at, own, high)
        pod = top.rpartition("/")[0] if position.identity.pod_uid is not None else ""
        return self._with_usage(found, at, pod)

    def _has_controller(self, directory: str) -> bool:
        name = "memory.current" if self._is_v2 else "memory.usage_in_bytes"
        return files.inode(f"{directory}/{name}") is not None

    def _directory(self, path: str) -> str:
        tree = self._tree
        directory = tree.directory(path) if tree and self._hierarchies.sees_host else None
        if directory is None:
            raise AccessError("cgroup-unreachable", path)
        return directory

    def _limits_of(self, path: str, is_leaf: bool) -> tuple[int | None, int | None] | None:
        """(limit, high); None outside of what is mounted."""
        if path in self._limits:
            return self._limits[path]
        directory = self._tree.directory(path) if self._tree else None
        if directory is None:
            return None
        names = ("memory.max", "memory.high") if self._is_v2 else ("memory.limit_in_bytes",)
        found = [files.read(f"{directory}/{name}", files.MAX_FILE_BYTES) for name in names]
        limits = [None if data is None else parse_limit(data) for data in found]
        result = limits[0], limits[1] if self._is_v2 else None
        if not is_leaf and len(self._limits) < _ANCESTORS_MAX:
            self._limits[path] = result
        return result

    def _with_usage(self, limits: Memory, path: str, pod: str) -> Memory:
        directory = self._directory(path)
        usage = files.read_int(
            f"{directory}/{'memory.current' if self._is_v2 else 'memory.usage_in_bytes'}"
        )
        stat = self._counts(directory, "memory.stat")
        # v1 counts a cgroup without its children, but for the lines that begin with total_.
        inactive = stat.get("inactive_file" if self._is_v2 else "total_inactive_file")
        working_set = None
        if usage is not None and inactive is not None:
            working_set = max(0, usage - inactive)
        if self._is_v2:
            events = self._counts(directory, "memory.events")
            oom_kills = events.get("oom_kill")
            high_events, max_events = events.get("high"), events.get("max")
        else:
            oom_kills = self._counts(directory, "memory.oom_control").get("oom_kill")
            high_events, max_events = None, files.read_int(f"{directory}/memory.failcnt")
        if pod and self._is_v2:  # v1 counts each cgroup on its own
            above = self._counts(self._directory(pod), "memory.events").get("oom_kill")
            oom_kills = oom_kills if above is None else max(above, oom_kills or 0)
        return Memory(
            *(limits.limit_bytes, limits.limit_cgroup, limits.own_limit_bytes, limits.high_bytes),
            *(usage, working_set, high_events, max_events, oom_kills),
        )

    def _counts(self, directory: str, name: str) -> dict[str, int]:
        return parse_counts(files.read(f"{directory}/{name}", files.MAX_FILE_BYTES) or b"")
