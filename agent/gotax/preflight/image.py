"""The images in a tar: of ``docker save``, or an OCI layout."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from gotax.errors import ParseError, ReadError
from gotax.linux.elf import FileReader, Reader
from gotax.preflight.archive import (
    Budget,
    Member,
    Part,
    PlainStream,
    compression_of,
    content,
    inflate_to,
    members,
)
from gotax.preflight.forecast import Program
from gotax.preflight.layers import Found, Tree, Unreadable

_MAX_JSON_BYTES = 4 << 20
_MAX_IMAGES = 64
_MAX_LAYERS = 1024
_MAX_WORDS = 4096
_MAX_INDEXES = 4  # an index in an index, and so on
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # of runtimes


@dataclass(frozen=True, slots=True)
class Image:
    """``name``: a tag, a platform, or "". ``found``: by path. ``start``: the words of what it
    starts. ``entry``: the path of the Go program among them that it starts, "" for none of them.
    """

    name: str
    programs: tuple[Program, ...]
    unreadable: tuple[Unreadable, ...]
    environment: tuple[tuple[str, str], ...]
    start: tuple[str, ...]
    arguments: tuple[str, ...]
    folder: str
    tree: Tree

    @property
    def entry(self) -> str:
        return self.entry_of((*self.start, *self.arguments))

    def started_by(self, command: tuple[str, ...], arguments: tuple[str, ...]) -> str:
        """The entry with Kubernetes' command and args, which replace those of the image."""
        if command:
            return self.entry_of((*command, *arguments))
        return self.entry_of((*self.start, *(arguments or self.arguments)))

    def entry_of(self, words: tuple[str, ...]) -> str:
        """The first word that names a Go program: tini and other wrappers stand before it."""
        known = {*(p.path for p in self.programs), *(u.path for u in self.unreadable)}
        for word in words:
            for path in self._places(word):
                if path in known:
                    return path
        return ""

    def _places(self, word: str) -> Iterator[str]:
        if "/" in word:
            at = word if word.startswith("/") else f"{self.folder}/{word}"
            yield f"/{self.tree.resolved(at)}"
            return
        search = dict(self.environment).get("PATH", _PATH)
        for folder in search.split(":")[:64]:
            yield f"/{self.tree.resolved(f'{folder}/{word}')}"


def read_images(reader: Reader) -> tuple[Image, ...]:
    """Raises ReadError for what is no image, or one that is too large or malformed."""
    with ExitStack() as stack:
        budget = Budget()
        if compression_of(reader):
            file = stack.enter_context(tempfile.TemporaryFile())
            reader = stack.enter_context(inflate_to(file, reader, budget))
        return _Layout(reader, budget).images()


class _Layout:
    def __init__(self, reader: Reader, budget: Budget) -> None:
        self._reader, self._budget = reader, budget
        self._stream = PlainStream(reader)
        self._members: dict[str, Member] = {}
        for member in members(self._stream, budget):
            if member.kind == "link" and member.target in self._members:
                member = replace(self._members[member.target], name=member.name)
            if member.kind in ("file", "symlink"):
                self._members[member.name] = member
        self._trees: dict[tuple[str, ...], Tree] = {}

    def images(self) -> tuple[Image, ...]:
        if "manifest.json" in self._members:
            found = tuple(self._of_docker())
        elif "index.json" in self._members:
            found = tuple(self._of_index("index.json", "", 0))
        else:
            raise ParseError("image-malformed", "the tar has neither manifest.json nor index.json")
        if not found:
            raise ParseError("image-malformed", "the tar has no image")
        return found

    def _of_docker(self) -> Iterator[Image]:
        for entry in _list(self._json("manifest.json"))[:_MAX_IMAGES]:
            tags = [str(tag) for tag in _list(_dict(entry).get("RepoTags"))]
            layers = [str(layer) for layer in _list(_dict(entry).get("Layers"))]
            config = self._json(str(_dict(entry).get("Config")))
            yield self._image(tags[0] if tags else "", _dict(config), layers)

    def _of_index(self, name: str, tag: str, depth: int) -> Iterator[Image]:
        if depth > _MAX_INDEXES:
            raise ParseError("image-malformed", "too many indexes in indexes")
        for entry in _list(_dict(self._json(name)).get("manifests"))[:_MAX_IMAGES]:
            found = _dict(entry)
            notes, platform = _dict(found.get("annotations")), _dict(found.get("platform"))
            if "vnd.docker.reference.type" in notes or platform.get("os") == "unknown":
                continue  # an attestation, not an image
            named = str(
                notes.get("io.containerd.image.name")
                or notes.get("org.opencontainers.image.ref.name")
                or tag
            )
            blob = _blob(found)
            document = _dict(self._json(blob))
            if "manifests" in document:
                yield from self._of_index(blob, named, depth + 1)
            elif "layers" in document:
                layers = [_blob(_dict(layer)) for layer in _list(document["layers"])]
                config = _dict(self._json(_blob(_dict(document.get("config")))))
                if platform.get("architecture"):
                    named = f"{named} {platform.get('os')}/{platform['architecture']}".strip()
                yield self._image(named, config, layers)

    def _image(self, name: str, config: dict[str, Any], layers: list[str]) -> Image:
        if len(layers) > _MAX_LAYERS:
            raise ParseError("image-malformed", f"{len(layers)} layers")
        key = tuple(layers)
        tree = self._trees.get(key)
        if tree is None:
            tree = self._trees[key] = Tree()
            for layer in layers:
                tree.add(self._part(layer), self._budget)
        run = _dict(config.get("config"))
        words = [str(each).partition("=") for each in _list(run.get("Env"))[:_MAX_WORDS]]
        found: list[Found] = [tree.programs[path] for path in sorted(tree.programs)]
        return Image(
            name[:1024],
            tuple(each for each in found if isinstance(each, Program)),
            tuple(each for each in found if isinstance(each, Unreadable)),
            tuple((key, value) for key, _, value in words),
            tuple(str(each) for each in _list(run.get("Entrypoint"))[:_MAX_WORDS]),
            tuple(str(each) for each in _list(run.get("Cmd"))[:_MAX_WORDS]),
            str(run.get("WorkingDir") or "/"),
            tree,
        )

    def _json(self, name: str) -> Any:
        member = self._member(name)
        try:
            return json.loads(content(self._stream, member, _MAX_JSON_BYTES))
        except (ValueError, RecursionError) as error:
            raise ParseError("image-malformed", f"{name[:100]} is no JSON") from error

    def _part(self, name: str) -> Part:
        member = self._member(name)
        return Part(self._reader, member.start, member.size)

    def _member(self, name: str) -> Member:
        """Old releases of docker save link equal layers by symbolic links."""
        member = self._members.get(name)
        for _ in range(4):
            if member is None or member.kind == "file":
                break
            target = f"{name.rpartition('/')[0]}/{member.target}"
            parts: list[str] = []
            for part in target.split("/"):
                parts = parts[:-1] if part == ".." else [*parts, part] if part else parts
            name = "/".join(parts)
            member = self._members.get(name)
        if member is None or member.kind != "file":
            raise ParseError("image-malformed", f"the tar has no {name[:100]}")
        return member


def is_tar(reader: Reader) -> bool:
    """Whether it may be one: compressed, or with a tar's magic."""
    if compression_of(reader):
        return True
    return reader.size >= 512 and reader.read(257, 5) == b"ustar"


def _blob(descriptor: Mapping[str, Any]) -> str:
    algorithm, _, digest = str(descriptor.get("digest")).partition(":")
    return f"blobs/{algorithm}/{digest}"


def _dict(value: object) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ParseError("image-malformed", "an object was expected")
    return value


def _list(value: object) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise ParseError("image-malformed", "a list was expected")
    return value


def open_file(path: str) -> FileReader:
    """Raises ReadError ``file-unreadable``."""
    try:
        return FileReader(path)
    except OSError as error:
        raise ReadError("file-unreadable", error.strerror or "") from error
