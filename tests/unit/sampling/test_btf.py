"""Offsets from type information, written by hand in the format of include/uapi/linux/btf.h."""

from __future__ import annotations

import struct

import pytest
from gotax.errors import ParseError
from gotax.sampling.btf import parse_pid_layout
from hypothesis import given
from hypothesis import strategies as st

STRUCT, UNION, INT, ARRAY, ENUM, FUNC_PROTO, ENUM64, TYPE_TAG = 4, 5, 1, 3, 6, 13, 19, 18
BIT_FIELDS = 1 << 31


class Btf:
    def __init__(self) -> None:
        self.strings = b"\0"
        self.types = b""

    def name(self, text: str) -> int:
        if not text:
            return 0
        at = len(self.strings)
        self.strings += text.encode() + b"\0"
        return at

    def add(self, kind: int, name: str, size: int, tail: bytes = b"", count: int = 0) -> None:
        info = kind << 24 | count
        self.types += struct.pack("<III", self.name(name), info, size) + tail

    def struct(self, name: str, size: int, *members: tuple[str, int, int], flag: int = 0) -> None:
        """Members: name, number of the type, offset in bits (with the width, as ``flag`` says)."""
        tail = b"".join(struct.pack("<III", self.name(n), kind, at) for n, kind, at in members)
        self.types += struct.pack("<III", self.name(name), STRUCT << 24 | len(members) | flag, size)
        self.types += tail

    def data(self) -> bytes:
        sizes = (0, len(self.types), len(self.types), len(self.strings))
        return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, *sizes) + self.types + self.strings


def kernel() -> Btf:
    """With one of each kind that has a tail, a struct of a like name, and unnamed members."""
    btf = Btf()
    btf.add(INT, "int", 4, bytes(4))  # 1
    btf.struct("", 64, ("thread_pid", 1, 128))  # 2: unnamed, as randomized fields are
    btf.add(ARRAY, "", 0, bytes(12))
    btf.add(ENUM, "pid_type", 4, bytes(16), count=2)
    btf.add(FUNC_PROTO, "", 0, bytes(24), count=3)
    btf.add(ENUM64, "wide", 8, bytes(12), count=1)
    btf.add(TYPE_TAG, "rcu", 1)
    btf.struct("task_struct_of_another", 8, ("group_leader", 1, 0))
    btf.struct(
        "task_struct",
        512,
        ("flags", 1, 5 << 24 | 7),
        ("group_leader", 1, 64),
        ("", 2, 256),
        flag=BIT_FIELDS,
    )
    btf.struct("pid", 96, ("count", 1, 0), ("level", 1, 32), ("numbers", 1, 640))
    btf.struct("upid", 16, ("nr", 1, 0), ("ns", 1, 64))
    btf.struct("pid_namespace", 200, ("ns", 1, 896))
    btf.struct("ns_common", 32, ("inum", 1, 192))
    return btf


def test_offsets_are_found_by_name() -> None:
    """Past every other kind, in unnamed members too, in bytes."""
    assert parse_pid_layout(kernel().data()) == {
        "TASK_GROUP_LEADER": 8,
        "TASK_THREAD_PID": 48,
        "PID_LEVEL": 4,
        "PID_NUMBERS": 80,
        "UPID_NR": 0,
        "UPID_NS": 8,
        "NAMESPACE_COMMON": 112,
        "COMMON_INUM": 24,
        "UPID_SIZE": 16,
    }


def test_a_missing_field_is_an_error() -> None:
    """A kernel that has renamed one of them is refused."""
    renamed = kernel().data().replace(b"\0thread_pid\0", b"\0thread_tid\0")
    with pytest.raises(ParseError, match="struct task_struct has no thread_pid"):
        parse_pid_layout(renamed)
    unknown = Btf()
    unknown.add(25, "later", 0)
    with pytest.raises(ParseError, match="btf-kind"):
        parse_pid_layout(unknown.data())
    with pytest.raises(ParseError, match="btf-magic"):
        parse_pid_layout(bytes(64))


@given(st.integers(0, len(kernel().data())), st.binary(max_size=8))
def test_damaged_data_is_refused_or_read(at: int, noise: bytes) -> None:
    data = kernel().data()
    for damaged in (data[:at], data[:at] + noise + data[at + len(noise) :]):
        try:
            parse_pid_layout(damaged)
        except ParseError:
            continue
