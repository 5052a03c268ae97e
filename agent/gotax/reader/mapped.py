"""What a reader says of the mappings of a process, without numpy.

``of_maps`` makes the message, ``MapColumns.parse`` checks it.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass

from gotax.errors import ParseError
from gotax.linux.mappings import Mapping, Maps

_WORD = "Q"  # 64 bits


@dataclass(frozen=True, slots=True)
class MapColumns:
    """``Maps``. The columns of numbers are 64-bit words, one after the other."""

    starts: bytes
    ends: bytes
    offsets: bytes
    devices: bytes
    inodes: bytes
    deleted: bytes  # a byte each
    paths: tuple[str, ...]
    length: int

    def parse(self) -> Maps:
        """Raises ParseError."""
        words = (self.starts, self.ends, self.offsets, self.devices, self.inodes)
        count = len(self.paths)
        if (
            any(len(column) != array(_WORD).itemsize * count for column in words)
            or len(self.deleted) != count
            or self.length < 0
        ):
            raise ParseError("reader-malformed", "mappings")
        numbers = (array(_WORD, column) for column in words)
        paths = map(sys.intern, self.paths)  # thousands of processes have the same few
        rows = zip(*numbers, paths, map(bool, self.deleted), strict=True)
        return Maps(tuple([Mapping(*row) for row in rows]), self.length)


def of_maps(maps: Maps) -> MapColumns:
    rows = maps.mappings
    return MapColumns(
        starts=array(_WORD, [row.start for row in rows]).tobytes(),
        ends=array(_WORD, [row.end for row in rows]).tobytes(),
        offsets=array(_WORD, [row.offset for row in rows]).tobytes(),
        devices=array(_WORD, [row.device for row in rows]).tobytes(),
        inodes=array(_WORD, [row.inode for row in rows]).tobytes(),
        deleted=bytes([row.deleted for row in rows]),
        paths=tuple([row.path for row in rows]),
        length=maps.length,
    )
