"""Counts what is in a serialized report before it is parsed.

Parsing turns a message of two bytes into an object of more than a hundred. So the size of a report
does not limit the memory that parsing takes: 16 MiB can be eight million empty containers. This
module reads the encoded fields (https://protobuf.dev/programming-guides/encoding/) and counts the
repeated ones.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from gotax_collector.refusal import Reason, RefusedError

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIELDS_MAX = 1024
"""Maximum per message of other fields: unknown or not repeated."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Limits of a message, by field number. ``repeated``: how often a field with a length may be.
    ``packed``: how many numbers a packed field may have. ``within``: the shapes of submessages."""

    repeated: dict[int, int] = field(default_factory=dict)
    packed: dict[int, int] = field(default_factory=dict)
    within: dict[int, Shape] = field(default_factory=dict)


STRINGS, FUNCTIONS, FRAMES, STACKS = 1 << 18, 1 << 18, 1 << 20, 1 << 19
CATEGORIES, CONTAINERS = 255, 1 << 17
OBSERVATIONS, OTHERS, FINDINGS, LOSSES, CAPABILITIES = 4096, 1024, 64, 64, 64
EVIDENCE, PATCHES = 16, 8

_OBSERVATION = Shape(
    repeated={9: FINDINGS},
    packed={3: CATEGORIES, 4: CATEGORIES, 10: STACKS, 11: STACKS},
    within={9: Shape(repeated={10: EVIDENCE, 11: PATCHES})},
)
_WINDOW = Shape(
    repeated={7: LOSSES, 9: OBSERVATIONS, 10: LOSSES, 11: OTHERS},
    within={9: _OBSERVATION, 11: _OBSERVATION},
)
_DICTIONARY = Shape(
    repeated={2: STRINGS, 9: CATEGORIES, 12: CONTAINERS},
    packed={
        3: FUNCTIONS,
        4: FUNCTIONS,
        5: FUNCTIONS,
        6: FRAMES,
        7: FRAMES,
        8: FRAMES,
        10: STACKS,
        11: STACKS,
    },
)
REPORT = Shape(within={3: _DICTIONARY, 4: _WINDOW})
_HELLO = Shape(repeated={7: CAPABILITIES})
REQUEST = Shape(within={1: _HELLO, 2: REPORT})


def check_bounds(data: bytes, shape: Shape) -> None:
    """RefusedError: SYNTAX (not a message), DICTIONARY or COUNT (more than ``shape`` allows)."""
    _Walk(data).message(0, len(data), shape)


class _Walk:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._numbers = np.frombuffer(data, np.uint8)

    def message(self, at: int, end: int, shape: Shape) -> None:
        data = self._data
        seen: Counter[int] = Counter()
        others = 0
        while at < end:
            key = data[at]
            at += 1
            if key > 0x7F:
                key, at = self._varint(at - 1, end)
            number, kind = key >> 3, key & 7
            if kind == _LENGTH:
                if at < end and data[at] < 0x80:
                    length, at = data[at], at + 1
                else:
                    length, at = self._varint(at, end)
                if length > end - at:
                    raise RefusedError(Reason.SYNTAX, "a field is cut off")
                if number in shape.repeated:
                    seen[number] += 1
                    if seen[number] > shape.repeated[number]:
                        raise _too_many(shape)
                elif number in shape.packed:
                    seen[number] += self._count(at, length)
                    if seen[number] > shape.packed[number]:
                        raise _too_many(shape)
                    others += 1
                else:
                    others += 1
                if number in shape.within:
                    if number not in shape.repeated:
                        seen[number] += 1  # parsers merge them into one
                        if seen[number] > 1:
                            raise RefusedError(Reason.SYNTAX, "a field that comes twice")
                    self.message(at, at + length, shape.within[number])
                at += length
            else:
                others += 1
                if kind == _VARINT:
                    _, at = self._varint(at, end)
                elif kind == _FIXED64:
                    at += 8
                elif kind == _FIXED32:
                    at += 4
                else:
                    raise RefusedError(Reason.SYNTAX, "a field of a kind that does not exist")
            if others > _FIELDS_MAX:
                raise _too_many(shape)
        if at != end:
            raise RefusedError(Reason.SYNTAX, "a field is cut off")

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = shift = 0
        while at < end and shift < 64:
            byte = self._data[at]
            value |= (byte & 0x7F) << shift
            at += 1
            if byte < 0x80:
                return value, at
            shift += 7
        raise RefusedError(Reason.SYNTAX, "a number is cut off")

    def _count(self, at: int, length: int) -> int:
        """How many numbers a packed field has. The last byte of each is below 0x80."""
        return int(np.count_nonzero(self._numbers[at : at + length] < 0x80))


def _too_many(shape: Shape) -> RefusedError:
    if shape is _DICTIONARY:
        return RefusedError(Reason.DICTIONARY, "more entries than one report may have")
    return RefusedError(Reason.COUNT, "more of something than one report may have")
