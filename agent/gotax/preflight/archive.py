"""Reads a tar as a stream, also a compressed one, within bounds on everything.

A tar is as hostile as its author: nothing is written by the names in it, headers and counts are
bounded, and a stream only goes forwards.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from gotax import extras
from gotax.errors import ParseError
from gotax.linux.elf import FileReader, Reader

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_STEP = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
"""Of one member, with its long names and attributes. Real ones have a few KiB."""
_WINDOW_LOG_MAX = 27  # 128 MiB, the most that zstd itself accepts without being asked


@dataclass
class Budget:
    """What may still be read of one image."""

    inflated_bytes: int = 16 << 30
    members: int = 1_000_000
    kept_bytes: int = 8 << 30
    spent: dict[str, int] = field(default_factory=dict)

    def take(self, what: str, amount: int) -> None:
        self.spent[what] = self.spent.get(what, 0) + amount
        if self.spent[what] > getattr(self, what):
            raise ParseError("image-too-large", f"over {getattr(self, what)} {what}")


class Part:
    """A part of a file, as a reader of its own."""

    def __init__(self, reader: Reader, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > reader.size:
            raise ParseError("tar-truncated", f"{size} bytes at {offset:#x}")
        self._reader, self._offset, self._size = reader, offset, size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        if offset < 0 or length < 0 or offset + length > self._size:
            raise ParseError("elf-truncated", f"{length} bytes at {offset:#x}")
        return self._reader.read(self._offset + offset, length)

    def extents(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        length = max(0, min(length, self._size - offset))
        for low, high in self._reader.extents(self._offset + offset, length):
            yield low - self._offset, high - self._offset


class _File(io.RawIOBase):
    """A reader as a file object, for decompressors."""

    def __init__(self, reader: Reader) -> None:
        self._reader, self._at = reader, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._reader.size - self._at, _STEP)
        buffer[:length] = self._reader.read(self._at, length)
        self._at += length
        return length


class _Source(Protocol):
    def read(self, length: int, /) -> bytes: ...


class Stream(Protocol):
    """What tarfile reads. ``part`` gives a member without copying it, where that is possible."""

    def read(self, length: int) -> bytes: ...
    def seek(self, offset: int) -> int: ...
    def tell(self) -> int: ...
    def part(self, member: Member) -> Reader | None: ...


class _Bounded:
    """Counts what is read of a header, and refuses to go back."""

    def __init__(self) -> None:
        self.at = 0
        self.header_bytes = 0

    def tell(self) -> int:
        return self.at

    def count(self, length: int) -> None:
        self.header_bytes += length
        if length < 0 or self.header_bytes > _MAX_HEADER_BYTES:
            raise ParseError("tar-malformed", "a header of more than 1 MiB")

    def forwards(self, offset: int) -> None:
        if offset < self.at:
            raise ParseError("tar-malformed", f"from {self.at:#x} back to {offset:#x}")


class PlainStream(_Bounded):
    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self._reader = reader

    def read(self, length: int) -> bytes:
        self.count(length)
        left = max(0, self._reader.size - self.at)
        data = self._reader.read(self.at, min(length, left)) if left else b""
        self.at += len(data)
        return data

    def seek(self, offset: int) -> int:
        self.forwards(offset)
        self.at = offset
        return offset

    def part(self, member: Member) -> Reader | None:
        return Part(self._reader, member.start, member.size)


class InflatedStream(_Bounded):
    def __init__(self, source: _Source, budget: Budget) -> None:
        super().__init__()
        self._source, self._budget = source, budget

    def read(self, length: int) -> bytes:
        self.count(length)
        return b"".join(self.chunks(length))

    def seek(self, offset: int) -> int:
        self.forwards(offset)
        for _ in self.chunks(offset - self.at):
            pass
        return self.at

    def part(self, _: Member) -> Reader | None:
        return None

    def chunks(self, length: int) -> Iterator[bytes]:
        """Up to so many of the next bytes."""
        while length > 0:
            data = self._source.read(min(length, _STEP))
            if not data:
                return
            self._budget.take("inflated_bytes", len(data))
            self.at += len(data)
            length -= len(data)
            yield data


def opened(reader: Reader, budget: Budget) -> Stream:
    """The tar in a file: plain, gzip or zstd."""
    compression = compression_of(reader)
    if compression == GZIP:
        return InflatedStream(gzip.GzipFile(fileobj=_File(reader)), budget)
    if compression == ZSTD:
        return InflatedStream(_zstd(reader), budget)
    return PlainStream(reader)


def compression_of(reader: Reader) -> bytes:
    """Its magic number, b"" for none."""
    head = reader.read(0, min(4, reader.size))
    return GZIP if head[:2] == GZIP else ZSTD if head == ZSTD else b""


def _zstd(reader: Reader) -> _Source:
    try:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        with extras.needed_by("a layer compressed by zstd", "image"):
            from backports import zstd
    options = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
    return _Zstd(zstd.ZstdFile(_File(reader), "r", options=options), zstd.ZstdError)


class _Zstd:
    """Errors of the library as those of zlib, which is always there."""

    def __init__(self, source: IO[bytes], broken: type[Exception]) -> None:
        self._source, self._broken = source, broken

    def read(self, length: int) -> bytes:
        try:
            return self._source.read(length)
        except self._broken as error:
            raise zlib.error(str(error)) from error


def inflate_to(file: IO[bytes], reader: Reader, budget: Budget) -> FileReader:
    """A compressed file in a temporary one, which has no name."""
    stream = opened(reader, budget)
    assert isinstance(stream, InflatedStream)
    with readable():
        for data in stream.chunks(budget.inflated_bytes):
            file.write(data)
    file.flush()
    return FileReader(file.fileno())


_BROKEN = (
    *(tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile),
    *(ValueError, OverflowError, ArithmeticError),
)


@contextmanager
def readable() -> Iterator[None]:
    """What a hostile archive makes the libraries raise becomes a ParseError."""
    try:
        yield
    except _BROKEN as error:
        raise ParseError("tar-malformed", str(error)) from error


@dataclass(frozen=True, slots=True)
class Member:
    """``name`` without "./" and leading slashes, "" for the root; ``start``: of its data."""

    name: str
    kind: str  # file, directory, link (hard), symlink, other
    target: str
    start: int
    size: int


def members(stream: Stream, budget: Budget) -> Iterator[Member]:
    """All members in order. Read what you want of a member before you ask for the next one."""
    bounded: Any = stream
    with readable():
        tar: Any = tarfile.TarFile(fileobj=bounded)
    while True:
        budget.take("members", 1)
        bounded.header_bytes = 0
        with readable():
            info = tar.next()
        if info is None:
            return
        tar.members.clear()  # it would keep them all
        if info.size < 0 or info.offset_data < 0:
            raise ParseError("tar-malformed", f"a member of {info.size} bytes")
        name = normal(info.name)
        if name is not None:
            target = normal(info.linkname) if info.islnk() else info.linkname
            bounded.header_bytes = 0
            yield Member(name, _kind(info), target or "", info.offset_data, info.size)


def _kind(info: tarfile.TarInfo) -> str:
    if info.isreg():
        return "other" if info.issparse() else "file"
    if info.isdir():
        return "directory"
    return "link" if info.islnk() else "symlink" if info.issym() else "other"


def normal(name: str) -> str | None:
    """Without ".", empty parts and what is above the root; None for a name that is too long."""
    if len(name) > 4096:
        return None
    parts: list[str] = []
    for part in name.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def content(stream: Stream, member: Member, most: int) -> bytes:
    """A small file whole; ParseError if it has more than ``most`` bytes."""
    if member.size > most:
        raise ParseError("image-malformed", f"{member.name[:100]} has {member.size} bytes")
    part = stream.part(member)
    if part is not None:
        return part.read(0, member.size)
    with readable():
        stream.seek(member.start)
        assert isinstance(stream, InflatedStream)
        return b"".join(stream.chunks(member.size))
