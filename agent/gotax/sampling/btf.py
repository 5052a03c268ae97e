"""Where this kernel keeps a task's PIDs: offsets from its own type information.

bpf_get_ns_current_pid_tgid() does not do: it refuses every task that is in a namespace below the
one asked for (kernel/bpf/helpers.c), as the containers of a nested node are. BCC does not relocate
either, so the offsets become macros of bpf/profile.c.

The layout of the data is include/uapi/linux/btf.h.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from pathlib import Path

from gotax.errors import AccessError, ParseError

_MAX_BYTES = 64 << 20
_MAX_DEPTH = 8
_HEADER = struct.Struct("<HBBIIIII")
_TYPE = struct.Struct("<III")
_MAGIC = 0xEB9F

_STRUCT, _UNION = 4, 5
# By kind: bytes behind the type, and bytes for each of its members.
_TAILS = {
    **dict.fromkeys((2, 7, 8, 9, 10, 11, 12, 16, 18), (0, 0)),  # pointers, modifiers and the like
    **dict.fromkeys((1, 14, 17), (4, 0)),  # INT, VAR, DECL_TAG
    3: (12, 0),  # ARRAY
    **dict.fromkeys((_STRUCT, _UNION, 15, 19), (0, 12)),  # DATASEC and ENUM64 too
    **dict.fromkeys((6, 13), (0, 8)),  # ENUM, FUNC_PROTO
}

_MEMBERS = {
    "TASK_GROUP_LEADER": ("task_struct", "group_leader"),
    "TASK_THREAD_PID": ("task_struct", "thread_pid"),
    "PID_LEVEL": ("pid", "level"),
    "PID_NUMBERS": ("pid", "numbers"),
    "UPID_NR": ("upid", "nr"),
    "UPID_NS": ("upid", "ns"),
    "NAMESPACE_COMMON": ("pid_namespace", "ns"),
    "COMMON_INUM": ("ns_common", "inum"),
}


def read_pid_layout(sys_root: str = "/sys") -> dict[str, int]:
    """Macros of bpf/profile.c: offsets in bytes, and the size of an upid.

    Raises ParseError where the kernel has no type information or none that says it.
    """
    path = Path(sys_root, "kernel/btf/vmlinux")
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES)
    except OSError as error:
        raise AccessError("btf-missing", f"{path}: {error.strerror}") from error
    return parse_pid_layout(data)


def parse_pid_layout(data: bytes) -> dict[str, int]:
    try:
        types = _Types(data)
        found = {name: types.offset(*member) for name, member in _MEMBERS.items()}
        return {**found, "UPID_SIZE": types.size("upid")}
    except struct.error as error:
        raise ParseError("btf-truncated", str(error)) from error


class _Types:
    def __init__(self, data: bytes) -> None:
        magic, version, _, header, types, types_size, strings, _ = _HEADER.unpack_from(data)
        if magic != _MAGIC or version != 1:
            raise ParseError("btf-magic", f"{magic:#x}, version {version}")
        self._data = data
        self._strings = header + strings
        self._places = array("I", [0])  # of each type by its number; 0 is void
        self._structs: dict[str, list[int]] = {name: [] for name, _ in _MEMBERS.values()}
        names = {name: name.encode() + b"\0" for name in self._structs}
        at, end = header + types, header + types + types_size
        while at < end:
            name, info, _ = _TYPE.unpack_from(data, at)
            kind = info >> 24 & 0x1F
            if kind not in _TAILS:
                raise ParseError("btf-kind", f"{kind} at {at}")
            if kind == _STRUCT and name:
                for text, key in names.items():
                    if data.startswith(key, self._strings + name):
                        self._structs[text].append(at)
            self._places.append(at)
            fixed, each = _TAILS[kind]
            at += _TYPE.size + fixed + each * (info & 0xFFFF)

    def size(self, struct_name: str) -> int:
        for at in self._structs[struct_name]:
            return int(_TYPE.unpack_from(self._data, at)[2])
        raise ParseError("btf-member", f"no struct {struct_name}")

    def offset(self, struct_name: str, member: str) -> int:
        for at in self._structs[struct_name]:
            for name, offset in self._members(at, 0):
                if self._data.startswith(member.encode() + b"\0", self._strings + name):
                    return offset // 8
        raise ParseError("btf-member", f"struct {struct_name} has no {member}")

    def _members(self, at: int, depth: int) -> Iterator[tuple[int, int]]:
        """(name, offset in bits), those of unnamed structs and unions within too."""
        _, info, _ = _TYPE.unpack_from(self._data, at)
        has_bit_fields = info >> 31
        for index in range(info & 0xFFFF):
            name, kind, offset = _TYPE.unpack_from(self._data, at + _TYPE.size * (1 + index))
            offset = offset & 0xFFFFFF if has_bit_fields else offset
            if name:
                yield name, offset
            elif depth < _MAX_DEPTH and 0 < kind < len(self._places):
                inner = self._places[kind]
                if _TYPE.unpack_from(self._data, inner)[1] >> 24 & 0x1F in (_STRUCT, _UNION):
                    for found, within in self._members(inner, depth + 1):
                        yield found, offset + within
