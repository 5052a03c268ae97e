"""Values as bytes between the agent and its readers, by the types that both sides agree on.

A reader may have been taken over by what it read. So nothing in a message says what to make of it:
the receiver knows the type, and checks every value against it. A message is JSON with the columns
and bytes behind it. Raises ParseError("reader-malformed") for all that does not fit.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import struct
import types
import typing
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from gotax.errors import ParseError

MAX_BYTES = 48 << 20
"""Of one message. The largest are the ranges of some thousand functions, and a map of classes."""
BUILD_CHARS_MAX = 1 << 16
"""Of what a reader says of a build, which the agent keeps."""
_MAX_TEXT_BYTES = 24 << 20  # of the part that is JSON
_MAX_BUFFERS = 64
_HEAD = struct.Struct("<II")  # bytes of JSON, buffers
_SIZE = struct.Struct("<I")
_LOWEST, _HIGHEST = -(1 << 63), 1 << 64

_Write = Callable[[Any, list[bytes]], Any]
_Read = Callable[[Any, list[memoryview]], Any]


def pack(kind: Any, value: object) -> bytes:
    """``kind`` is a type: of numbers, texts, bytes, numpy columns, tuples, dictionaries,
    dataclasses and named tuples, and unions of them."""
    buffers: list[bytes] = []
    text = json.dumps(_codec(kind)[0](value, buffers), separators=(",", ":")).encode()
    sizes = b"".join(_SIZE.pack(len(buffer)) for buffer in buffers)
    return b"".join((_HEAD.pack(len(text), len(buffers)), sizes, text, *buffers))


def unpack(kind: Any, data: bytes) -> Any:
    try:
        size, count = _HEAD.unpack_from(data)
        if size > _MAX_TEXT_BYTES or count > _MAX_BUFFERS or len(data) > MAX_BYTES:
            raise ValueError("too large")
        at = _HEAD.size + _SIZE.size * count
        sizes = [_SIZE.unpack_from(data, _HEAD.size + _SIZE.size * n)[0] for n in range(count)]
        text = data[at : at + size]
        at += size
        whole = memoryview(data)
        if len(text) != size or at + sum(sizes) != len(data):
            raise ValueError("another length than it says")
        buffers = []
        for length in sizes:
            buffers.append(whole[at : at + length])
            at += length
        return _codec(kind)[1](json.loads(text), buffers)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, struct.error) as error:
        raise ParseError("reader-malformed", str(error)[:200]) from error


@cache
def _codec(kind: Any) -> tuple[_Write, _Read]:
    if kind in (int, float, bool, str):
        return _as_it_is, _SCALARS[kind]
    if kind is None or kind is type(None):
        return _as_it_is, _read_none
    if kind is bytes:
        return _write_buffer, _read_bytes
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return lambda value, _: value.value, lambda value, _: kind(value)
    if getattr(origin, "__module__", "") == "numpy":
        return _column(typing.get_args(parts[1])[0])
    if origin in (typing.Union, types.UnionType):
        return _union(parts)
    if origin in (tuple, list, frozenset):
        return _many(origin, parts)
    if origin is dict:
        return _dictionary(parts)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        return _record(kind)
    raise TypeError(f"no messages of {kind}")


def _as_it_is(value: Any, _buffers: list[bytes]) -> Any:
    return value


def _read_int(value: Any, _buffers: list[memoryview]) -> int:
    if type(value) is not int or not _LOWEST <= value < _HIGHEST:
        raise ValueError("no integer")
    return value


def _read_float(value: Any, _buffers: list[memoryview]) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError("no number")
    return float(value)


def _read_bool(value: Any, _buffers: list[memoryview]) -> bool:
    if type(value) is not bool:
        raise ValueError("no truth value")
    return value


def _read_str(value: Any, _buffers: list[memoryview]) -> str:
    if type(value) is not str:
        raise ValueError("no text")
    return value


def _read_none(value: Any, _buffers: list[memoryview]) -> None:
    if value is not None:
        raise ValueError("not nothing")


_SCALARS: dict[Any, _Read] = {int: _read_int, float: _read_float, bool: _read_bool, str: _read_str}


def _write_buffer(value: bytes, buffers: list[bytes]) -> int:
    buffers.append(value)
    return len(buffers) - 1


def _buffer(value: Any, buffers: list[memoryview]) -> memoryview:
    return buffers[_read_int(value, buffers)]


def _read_bytes(value: Any, buffers: list[memoryview]) -> bytes:
    return bytes(_buffer(value, buffers))


def _column(scalar: Any) -> tuple[_Write, _Read]:
    import numpy as np  # not for messages without columns

    dtype = np.dtype(scalar)

    def write(value: Any, buffers: list[bytes]) -> int:
        return _write_buffer(np.ascontiguousarray(value, dtype).tobytes(), buffers)

    def read(value: Any, buffers: list[memoryview]) -> Any:
        # A copy: a part of the message would keep all of it.
        return np.frombuffer(_buffer(value, buffers), dtype).copy()

    return write, read


def _union(parts: tuple[Any, ...]) -> tuple[_Write, _Read]:
    """Which of the types it is, and the value."""
    kinds = [type(None) if part is None else typing.get_origin(part) or part for part in parts]

    def write(value: Any, buffers: list[bytes]) -> list[Any] | None:
        for number, kind in enumerate(kinds):
            if isinstance(value, kind):
                return [number, _codec(parts[number])[0](value, buffers)]
        raise TypeError(f"{type(value)} is none of {parts}")

    def read(value: Any, buffers: list[memoryview]) -> Any:
        number, inner = value
        if not 0 <= _read_int(number, buffers) < len(parts):
            raise ValueError("no such type")
        return _codec(parts[number])[1](inner, buffers)

    return write, read


def _many(origin: Any, parts: tuple[Any, ...]) -> tuple[_Write, _Read]:
    if origin is tuple and parts[-1] is not Ellipsis:
        return _fixed(parts, lambda values: tuple(values))
    part = parts[0]

    def write(value: Any, buffers: list[bytes]) -> list[Any]:
        if part in _SCALARS:
            return list(value)
        one = _codec(part)[0]
        return [one(each, buffers) for each in value]

    def read(value: Any, buffers: list[memoryview]) -> Any:
        if type(value) is not list:
            raise ValueError("no list")
        one = _codec(part)[1]
        return origin([one(each, buffers) for each in value])

    return write, read


def _dictionary(parts: tuple[Any, ...]) -> tuple[_Write, _Read]:
    write_pairs, read_pairs = _many(tuple, (types.GenericAlias(tuple, parts), ...))
    return (
        lambda value, buffers: write_pairs(value.items(), buffers),
        lambda value, buffers: dict(read_pairs(value, buffers)),
    )


def _record(kind: Any) -> tuple[_Write, _Read]:
    hints = typing.get_type_hints(kind)
    names = getattr(kind, "_fields", None) or [field.name for field in dataclasses.fields(kind)]
    write_values, read = _fixed(tuple(hints[name] for name in names), lambda values: kind(*values))
    return (
        lambda value, buffers: write_values([getattr(value, name) for name in names], buffers),
        read,
    )


def _fixed(parts: tuple[Any, ...], make: Callable[[Iterator[Any]], Any]) -> tuple[_Write, _Read]:
    codecs: list[tuple[_Write, _Read]] = []  # with the first value: a type may contain itself

    def each_codec() -> list[tuple[_Write, _Read]]:
        if not codecs:
            codecs.extend([_codec(part) for part in parts])
        return codecs

    def write(value: Any, buffers: list[bytes]) -> list[Any]:
        pairs = zip(each_codec(), value, strict=True)
        return [each if codec[0] is _as_it_is else codec[0](each, buffers) for codec, each in pairs]

    def read(value: Any, buffers: list[memoryview]) -> Any:
        if type(value) is not list or len(value) != len(parts):
            raise ValueError("another number of values")
        pairs = zip(each_codec(), value, strict=True)
        return make(iter([codec[1](each, buffers) for codec, each in pairs]))

    return write, read
