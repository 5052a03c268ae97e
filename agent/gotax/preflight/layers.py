"""The Go programs in the layers of an image, as the layers lie on each other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field

from gotax.errors import ReadError
from gotax.linux.elf import FileReader, Reader
from gotax.preflight.archive import (
    Budget,
    InflatedStream,
    Member,
    Stream,
    members,
    opened,
    readable,
)
from gotax.preflight.forecast import Program
from gotax.preflight.reading import ELF_MAGIC, read_program

_LEAST_ELF_BYTES = 16 * 1024  # the smallest Go program has some 300 KiB
_MAX_ELF_BYTES = 4 << 30
_MAX_HOPS = 40  # as the kernel follows symbolic links
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Unreadable:
    path: str
    reason: str
    text: str


Found = Program | Unreadable


@dataclass
class _Layer:
    """What one layer adds, and what it removes from those below."""

    added: dict[str, Found | None] = field(default_factory=dict)  # None: something else
    folders: set[str] = field(default_factory=set)
    symlinks: dict[str, str] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    opaque: set[str] = field(default_factory=set)


@dataclass
class Tree:
    """What is of interest in the file system of an image."""

    programs: dict[str, Found] = field(default_factory=dict)
    symlinks: dict[str, str] = field(default_factory=dict)

    def add(self, layer: Reader, budget: Budget) -> None:
        """Lays another layer on top. Raises ReadError."""
        self._lay(self._read(opened(layer, budget), budget))

    def _read(self, stream: Stream, budget: Budget) -> _Layer:
        layer = _Layer()
        for member in members(stream, budget):
            folder, _, base = member.name.rpartition("/")
            if base == _OPAQUE:
                layer.opaque.add(folder)
            elif base.startswith(_WHITEOUT):
                layer.removed.add(f"{folder}/{base.removeprefix(_WHITEOUT)}".lstrip("/"))
            elif member.kind == "directory":
                layer.folders.add(member.name)
                layer.added.pop(member.name, None)
            else:
                layer.symlinks.pop(member.name, None)
                if member.kind == "symlink":
                    layer.symlinks[member.name] = member.target[:4096]
                layer.added[member.name] = self._content(stream, member, layer, budget)
        return layer

    def _content(
        self, stream: Stream, member: Member, layer: _Layer, budget: Budget
    ) -> Found | None:
        if member.kind == "link":
            if member.target in layer.added:
                return _renamed(layer.added[member.target], f"/{member.name}")
            return _renamed(self.programs.get(member.target), f"/{member.name}")
        if member.kind != "file" or not _LEAST_ELF_BYTES <= member.size <= _MAX_ELF_BYTES:
            return None
        try:
            return _inspected(stream, member, budget)
        except ReadError as error:
            if error.reason.startswith(("image-", "tar-")):
                raise
            return Unreadable(f"/{member.name}", error.reason, str(error))

    def _lay(self, layer: _Layer) -> None:
        gone = layer.removed | (layer.added.keys() - layer.folders)
        for state in (self.programs, self.symlinks):
            for path in [p for p in state if _is_hidden(p, gone, layer)]:
                del state[path]
        self.symlinks.update(layer.symlinks)
        for path, found in layer.added.items():
            if found is not None:
                self.programs[path] = found

    def resolved(self, path: str) -> str:
        """Without symbolic links, as far as they are known."""
        parts, hops = path.split("/")[::-1], 0
        done: list[str] = []
        while parts:
            part = parts.pop()
            if part in ("", "."):
                continue
            if part == "..":
                del done[-1:]
                continue
            target = self.symlinks.get("/".join((*done, part)))
            if target is None:
                done.append(part)
                continue
            hops += 1
            if hops > _MAX_HOPS:
                return ""
            if target.startswith("/"):
                done = []
            parts += target.split("/")[::-1]
        return "/".join(done)


def _is_hidden(path: str, gone: set[str], layer: _Layer) -> bool:
    """By a removal, or by what has taken the place of it or of a folder above it."""
    if path in gone or path in layer.folders:
        return True
    return any(folder in gone or folder in layer.opaque for folder in _above(path))


def _above(path: str) -> Iterator[str]:
    while path:
        path = path.rpartition("/")[0]
        yield path


def _renamed(found: Found | None, path: str) -> Found | None:
    if isinstance(found, Program):
        return Program(path, found.build, found.code, found.size)
    return None if found is None else Unreadable(path, found.reason, found.text)


def _inspected(stream: Stream, member: Member, budget: Budget) -> Found | None:
    part = stream.part(member)
    if part is not None:
        return read_program(part, f"/{member.name}") if part.read(0, 4) == ELF_MAGIC else None
    assert isinstance(stream, InflatedStream)
    with readable():
        stream.seek(member.start)
        chunks = stream.chunks(member.size)
        first = b""
        while len(first) < 4:
            more = next(chunks, b"")
            if not more:
                return None
            first += more
        if first[:4] != ELF_MAGIC:
            return None
        budget.take("kept_bytes", member.size)
        with tempfile.TemporaryFile() as file:
            file.write(first)
            for data in chunks:
                file.write(data)
            file.flush()
            with FileReader(file.fileno()) as reader:
                return read_program(reader, f"/{member.name}")
