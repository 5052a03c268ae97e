"""What a Go binary says about how it was built: version, modules, settings.

Go: debug/buildinfo/buildinfo.go (the blob), runtime/debug/mod.go (the text in it).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from gotax.errors import ParseError, ReadError
from gotax.golang.pclntab import has_pclntab
from gotax.linux.elf import Elf, Segment
from gotax.process import GoBuild, Module

_MAGIC = b"\xff Go buildinf:"
_MAGIC_WORD = int.from_bytes(_MAGIC[:8], "little")
_ALIGNMENT = 16
_HEADER_BYTES = 32
_INLINE_STRINGS = 2  # flag, Go 1.18 and later
_MAX_VERSION_BYTES = 256
_MAX_MODINFO_BYTES = 1 << 20  # Kubernetes has 30 KB
_MAX_LINES = 8192
_MAX_SETTINGS = 256
_MAX_FIELDS = 4
_MAX_FIELD_CHARS = 1024
_MAX_VERSION_WORDS = 1 << 16
_SENTINEL_BYTES = 16  # cmd/go/internal/modload: infoStart, infoEnd
_MAX_VERSION_TEXTS = 4096
_MAX_BLOBS = 16  # one is real; more would be bait
_VERSION = re.compile(rb"go1(?:\.\d+)*(?:(?:rc|beta)\d+)?")


def parse_buildinfo(elf: Elf) -> GoBuild | None:
    """None when this is not a Go binary.

    ``version`` is "" when the binary does not say; modules and settings need Go 1.13 and 1.18.
    Raises ParseError when the file cannot be read.
    """
    for place in islice(_blob_places(elf), _MAX_BLOBS):
        try:
            return _parse_blob(elf, place)
        except ReadError as error:
            if error.reason not in ("buildinfo-malformed", "elf-unmapped"):
                raise
    if not _looks_like_go(elf):
        return GoBuild("", settings=(("-compiler", "gccgo"),)) if _is_by_gccgo(elf) else None
    if elf.bits != 64:
        return GoBuild("")
    return GoBuild(_version_of_symbol(elf) or _version_in_data(elf))


def has_go_note(elf: Elf) -> bool:
    """Of the linker of Go 1.5 and later; it is in the first page of what is loaded."""
    return any(note.name == b"Go\0\0" and note.type == 4 for note in elf.notes)


def _is_by_gccgo(elf: Elf) -> bool:
    """GCC's Go compiler keeps what a package exports in a section of this name, which is not
    stripped (gcc/go/go-backend.cc), and its runtime is libgo, unless that is linked in."""
    return ".go_export" in elf.sections or elf.needs(b"libgo.so")


def _looks_like_go(elf: Elf) -> bool:
    """By the linker's note, its sections, or without any the table itself."""
    if has_go_note(elf):
        return True
    if elf.sections:
        return ".gopclntab" in elf.sections or ".data.rel.ro.gopclntab" in elf.sections
    return has_pclntab(elf)


def _blob_places(elf: Elf) -> Iterator[int]:
    """File offsets of the blob's magic: in its section, else in writable segments."""
    section = elf.sections.get(".go.buildinfo")
    if section is not None and section.size >= _HEADER_BYTES:
        if elf.reader.read(section.offset, len(_MAGIC)) == _MAGIC:
            yield section.offset
    elif elf.sections and not _looks_like_go(elf):
        return  # spares reading every byte of every C program's data
    for segment in elf.loads:
        if segment.writable:
            yield from _scan(elf, segment)


def _scan(elf: Elf, segment: Segment) -> Iterator[int]:
    size = segment.file_size // _ALIGNMENT * _ALIGNMENT
    for low, length in elf.scan(segment.offset, size):
        data = elf.reader.read(segment.offset + low, length)
        alike = np.frombuffer(data, "<u8")[::2] == np.uint64(_MAGIC_WORD)
        for place in np.flatnonzero(alike).tolist():
            at = place * _ALIGNMENT
            if data[at : at + len(_MAGIC)] == _MAGIC:
                yield segment.offset + low + at


def _parse_blob(elf: Elf, place: int) -> GoBuild:
    head = elf.reader.read(place, _HEADER_BYTES)
    pointer_bytes, flags = head[14], head[15]
    if flags & _INLINE_STRINGS:
        version, after = _inline_string(elf, place + _HEADER_BYTES, _MAX_VERSION_BYTES)
        modinfo, _ = _inline_string(elf, after, _MAX_MODINFO_BYTES)
    elif pointer_bytes == 8 and not flags & 1:
        version = _string_at(elf, place + 16, _MAX_VERSION_BYTES)
        modinfo = _string_at(elf, place + 24, _MAX_MODINFO_BYTES)
    else:
        raise ParseError("buildinfo-malformed", f"pointers of {pointer_bytes} bytes, flags {flags}")
    if not version:
        raise ParseError("buildinfo-malformed", "no version")
    return parse_modinfo(version.decode("utf-8", "replace"), modinfo)


def _inline_string(elf: Elf, place: int, limit: int) -> tuple[bytes, int]:
    """A string after its length as a varint, and the offset behind it."""
    size = shift = 0
    data = elf.reader.read(place, min(10, elf.reader.size - place))
    for used, byte in enumerate(data, 1):
        size |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if size > limit:
                break
            return elf.reader.read(place + used, size), place + used + size
    raise ParseError("buildinfo-malformed", f"a string of {size} bytes")


def _string_at(elf: Elf, place: int, limit: int) -> bytes:
    """The Go string whose header the pointer at a file offset points to; empty for none."""
    for segment in elf.loads:
        if segment.offset <= place < segment.offset + segment.file_size:
            pointer = int(elf.read_words(segment.address + place - segment.offset, 1)[0])
            return _string_variable(elf, pointer, limit)
    raise ParseError("buildinfo-malformed", f"file offset {place:#x} is not mapped")


def _string_variable(elf: Elf, address: int, limit: int) -> bytes:
    """The initial value of a string variable; empty when that is in .bss."""
    if elf.offset_of(address) is None:
        return b""
    data, size = (int(word) for word in elf.read_words(address, 2))
    if size > limit:
        raise ParseError("buildinfo-malformed", f"a string of {size} bytes")
    return elf.read_va(data, size) if size else b""


def parse_modinfo(version: str, modinfo: bytes) -> GoBuild:
    """The text the go command embeds: tab-separated lines, unknown ones ignored.

    A replaced dependency keeps the path it is imported by, beside what has taken its place.
    """
    if len(modinfo) >= 2 * _SENTINEL_BYTES + 1 and modinfo[-_SENTINEL_BYTES - 1 :][:1] == b"\n":
        modinfo = modinfo[_SENTINEL_BYTES:-_SENTINEL_BYTES]
    package = ""
    main = Module("", "")
    dependencies: list[Module] = []
    settings: list[tuple[str, str]] = []
    for line in modinfo.decode("utf-8", "replace").split("\n", _MAX_LINES)[:_MAX_LINES]:
        kind, *fields = [field[:_MAX_FIELD_CHARS] for field in line.split("\t", _MAX_FIELDS)]
        match kind, fields:
            case "path", [path]:
                package = path
            case "mod", [path, module_version, *_]:
                main = Module(path, module_version)
            case "dep", [path, module_version, *_]:
                dependencies.append(Module(path, module_version))
            case "=>", [path, module_version, *_] if dependencies:
                replaced = Module(path, module_version)
                dependencies[-1] = replace(dependencies[-1], replaced_by=replaced)
            case "build", [setting] if len(settings) < _MAX_SETTINGS:
                key, _, value = setting.partition("=")
                settings.append((_unquoted(key), _unquoted(value)))
            case _:
                pass
    return GoBuild(version, main, package, tuple(dependencies), tuple(settings))


def _unquoted(text: str) -> str:
    """strconv.Quote undone; what JSON does not know stays quoted."""
    if text[:1] != '"':
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def _version_of_symbol(elf: Elf) -> str:
    """The variable runtime.buildVersion, "" without symbols."""
    symbol = elf.symbol("runtime.buildVersion")
    if symbol is None:
        return ""
    return _string_variable(elf, symbol[0], _MAX_VERSION_BYTES).decode("utf-8", "replace")


def _version_in_data(elf: Elf) -> str:
    """The string variable whose value is a version (up to Go 1.12, stripped), "" for none.

    Strings of a Go program lie side by side without separators and may be parts of others, so a
    text counts only where a variable says that it starts and ends there.
    """
    places = chain.from_iterable(_version_texts(elf, segment) for segment in elf.loads)
    texts = np.unique(np.fromiter(islice(places, _MAX_VERSION_TEXTS), np.uint64))
    if not len(texts):
        return ""
    tried = 0
    for segment in elf.loads:
        if not segment.writable:
            continue
        size = segment.file_size // 8 * 8
        for low, length in elf.scan(segment.offset, size, overlap=8):
            words = elf.read_words(segment.address + low, length // 8)
            alike = np.isin(words[:-1], texts) & (words[1:] <= np.uint64(_MAX_VERSION_BYTES))
            for at in np.flatnonzero(alike).tolist():
                tried += 1
                if tried > _MAX_VERSION_WORDS:
                    return ""
                text = elf.read_va(int(words[at]), int(words[at + 1]))
                if _VERSION.fullmatch(text):
                    return text.decode()
    return ""


def _version_texts(elf: Elf, segment: Segment) -> Iterator[int]:
    """Addresses of what starts like a version."""
    for low, length in elf.scan(segment.offset, segment.file_size, overlap=8):
        data = elf.reader.read(segment.offset + low, length)
        for match in _VERSION.finditer(data):
            yield segment.address + low + match.start()
