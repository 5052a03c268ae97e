"""The dictionary of one stream, decoded: texts, functions, frames, stacks and containers by id.

Entries are only appended. A reset makes a new dictionary, so that earlier reports keep theirs.
Functions and frames are arrays of numbers, about 20 bytes each. Texts are shared between all
streams, because a thousand agents have many.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from gotax.wire.v1 import report_pb2 as wire

from gotax_collector.ingest import bounds
from gotax_collector.ingest.dictionary_pool import DictionaryPool
from gotax_collector.ingest.expansion import FRAME_BYTES, encoded_bytes, identity_bytes
from gotax_collector.refusal import Reason, RefusedError
from gotax_collector.report import Category, ContainerIdentity, Frame, Int64Array, UInt64Array

STRING_BYTES_MAX = 32 << 20
TEXT_BYTES_MAX = 4096
LABEL_BYTES_MAX = 64
DEPTH_MAX = 1024
_LINE_MAX = 1 << 30
_CONTAINER_BYTES = 256  # estimated size of a ContainerIdentity without its texts

_CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
"""Invisible characters, and those that reorder what is around them on a page. An agent escapes
them, and all that Python cannot print; which these are depends on the version of Unicode."""
_KUBERNETES = re.compile(r"[A-Za-z0-9._:-]*\Z")
_KUBERNETES_NAMES = ("namespace", "pod", "container", "pod_uid", "workload_kind", "workload_name")
_CONTAINER_TEXTS = tuple(field.name for field in wire.Container.DESCRIPTOR.fields)
_KIND_NAMES = {wire.FRAME_KIND_KERNEL: "kernel", wire.FRAME_KIND_NATIVE: "native"}


class GrowingArray:
    """An array that grows at its end. A view from ``values`` does not change when it grows."""

    def __init__(self, kind: npt.DTypeLike, first: Sequence[int] = (0,)) -> None:
        self._room = np.zeros(max(64, len(first)), kind)
        self._room[: len(first)] = first
        self._used = len(first)

    def __len__(self) -> int:
        return self._used

    @property
    def values(self) -> npt.NDArray[Any]:
        return self._room[: self._used]

    @property
    def nbytes(self) -> int:
        return self._room.nbytes

    def extend(self, numbers: npt.NDArray[Any]) -> None:
        end = self._used + len(numbers)
        if end > len(self._room):
            room = np.zeros(max(end, len(self._room) * 5 // 4), self._room.dtype)
            room[: self._used] = self.values
            self._room = room
        self._room[self._used : end] = numbers
        self._used = end


class DecodedDictionary:
    """What an agent has introduced on one stream. Index 0 of each array is the wire's id 0."""

    def __init__(self, pool: DictionaryPool | None = None) -> None:
        self._memory = (pool or DictionaryPool()).register(self)
        self.strings: list[str] = [""]
        self.containers: list[ContainerIdentity | None] = [None]
        self.categories: tuple[Category, ...] = ()
        self._string_bytes = 0
        self._text_bytes = GrowingArray(np.uint32, (encoded_bytes(""),))
        self._container_bytes = GrowingArray(np.uint32)
        self._category_bytes = [0]
        self._function_name = GrowingArray(np.uint32)
        self._function_file = GrowingArray(np.uint32)
        self._function_kind = GrowingArray(np.int32)
        self._function_hash = GrowingArray(np.uint64)
        self._frame_parent = GrowingArray(np.uint32)
        self._frame_function = GrowingArray(np.uint32)
        self._frame_depth = GrowingArray(np.uint16)
        self._frame_hash = GrowingArray(np.uint64)
        self._frame_bytes = GrowingArray(np.uint32)  # of the names on the path to the root
        self._frame_line: GrowingArray | None = None
        self.stack_frame = GrowingArray(np.uint32)
        self.stack_category = GrowingArray(np.int16, (-1,))

    @property
    def held_bytes(self) -> int:
        """Estimated memory, without texts that another dictionary added first."""
        return self._memory.held_bytes

    def extend(self, new: wire.Dictionary) -> None:
        """Append new entries. After RefusedError this dictionary must not be used any more."""
        self._add_strings(new.strings)
        self._add_functions(new)
        self._add_frames(new)
        self._add_categories(new.categories)
        self._add_stacks(new)
        self._add_containers(new.containers)
        self._memory.resize(self._own_bytes())

    def text(self, number: int) -> str:
        if number >= len(self.strings):
            raise RefusedError(Reason.REFERENCE, "a string that was not introduced")
        return self.strings[number]

    def text_bytes(self, number: int) -> int:
        """As it is in a row of the store. So are the next two."""
        if number >= len(self._text_bytes):
            raise RefusedError(Reason.REFERENCE, "a string that was not introduced")
        return int(self._text_bytes.values[number])

    def container_bytes(self, number: int) -> int:
        if not 1 <= number < len(self._container_bytes):
            raise RefusedError(Reason.REFERENCE, "a container that was not introduced")
        return int(self._container_bytes.values[number])

    def category_bytes(self, number: int) -> int:
        if not 1 <= number < len(self._category_bytes):
            raise RefusedError(Reason.REFERENCE, "a category that was not introduced")
        return self._category_bytes[number]

    def stack_bytes(self, stacks: Int64Array) -> Int64Array:
        """The sizes of stacks in rows of the store. The ids must be in range."""
        found: Int64Array = self._frame_bytes.values[self.stack_frame.values[stacks]].astype(
            np.int64
        )
        return found

    def hashes(self, stacks: Int64Array) -> UInt64Array:
        """The hashes of stacks. The ids must be in range."""
        found: UInt64Array = self._frame_hash.values[self.stack_frame.values[stacks]]
        return found

    def _own_bytes(self) -> int:
        columns = (
            *(self._function_name, self._function_file, self._function_kind, self._function_hash),
            *(self._frame_parent, self._frame_function, self._frame_depth, self._frame_hash),
            *(self._frame_bytes, self._text_bytes, self._container_bytes),
            *(self.stack_frame, self.stack_category),
        )
        lines = self._frame_line.nbytes if self._frame_line else 0
        texts = 16 * len(self.strings)  # a reference here and one in DictionaryMemory
        containers = _CONTAINER_BYTES * len(self.containers)
        return sum(column.nbytes for column in columns) + lines + texts + containers

    def frames(self, frame: int) -> tuple[Frame, ...]:
        """The stack that ends with a frame, root first."""
        path = []
        parents, functions = self._frame_parent.values, self._frame_function.values
        names, files = self._function_name.values, self._function_file.values
        kinds = self._function_kind.values
        while frame:
            function = functions[frame]
            name, file = self.strings[names[function]], self.strings[files[function]]
            line = int(self._frame_line.values[frame]) if self._frame_line else 0
            path.append(Frame(name, file, line, _KIND_NAMES.get(kinds[function], "go")))
            frame = int(parents[frame])
        return tuple(reversed(path))

    def _add_strings(self, new: Sequence[str]) -> None:
        _bound(len(self.strings) + len(new), bounds.STRINGS)
        for text in new:
            self._string_bytes += check_text(text, TEXT_BYTES_MAX)
        if self._string_bytes > STRING_BYTES_MAX:
            raise RefusedError(Reason.DICTIONARY, "the strings of this stream are too long in all")
        self.strings += self._memory.share(new)
        self._text_bytes.extend(np.array([encoded_bytes(text) for text in new], np.uint32))

    def _add_functions(self, new: wire.Dictionary) -> None:
        names = new.function_name
        _bound(len(self._function_name) + len(names), bounds.FUNCTIONS)
        files = _column(new.function_file, len(names))
        kinds = _column(new.function_kind, len(names))
        if not names:
            return
        hashes = []
        for name, file, kind in zip(names, files, kinds, strict=True):
            parts = (self.text(name), self.text(file), str(kind))
            digest = blake2b("\0".join(parts).encode(), digest_size=8).digest()
            hashes.append(int.from_bytes(digest, "little"))
        self._function_name.extend(np.array(names, np.uint32))
        self._function_file.extend(np.array(files, np.uint32))
        self._function_kind.extend(np.array(kinds, np.int32))
        self._function_hash.extend(np.array(hashes, np.uint64))

    def _add_frames(self, new: wire.Dictionary) -> None:
        count = len(new.frame_parent)
        if len(new.frame_function) != count:
            raise _uneven()
        if not count:
            return
        first = len(self._frame_parent)
        _bound(first + count, bounds.FRAMES)
        functions = np.array(new.frame_function, np.int64)
        if int(functions.max()) >= len(self._function_name) or int(functions.min()) < 1:
            raise RefusedError(Reason.REFERENCE, "a function that was not introduced")
        distances = np.array(new.frame_parent, np.int64)
        parents = np.arange(first, first + count) - distances
        if int(distances.min()) < 1 or int(parents.min()) < 0:
            raise RefusedError(Reason.REFERENCE, "a frame that was not introduced")
        lines = _column(new.frame_line, count)
        if new.frame_line:
            if max(lines) > _LINE_MAX:
                raise RefusedError(Reason.COUNT, "a line number that is too high")
            if self._frame_line is None:
                self._frame_line = GrowingArray(np.uint32, [0] * first)
        if self._frame_line is not None:
            self._frame_line.extend(np.array(lines, np.uint32))
        self._hash_frames(parents, self._function_hash.values[functions].tolist(), lines)
        self._frame_parent.extend(parents)
        self._frame_function.extend(functions)
        self._add_paths(parents, functions)

    def _hash_frames(
        self, parents: Int64Array, functions: Sequence[int], lines: Sequence[int]
    ) -> None:
        """Hash each frame with its parent's hash, so that it covers the path to the root.

        ``functions`` are the hashes of the frames' functions.
        """
        first = len(self._frame_hash)
        old = parents[parents < first]
        known = dict(zip(old.tolist(), self._frame_hash.values[old].tolist(), strict=True))
        fresh: list[int] = []
        for parent, function, line in zip(parents.tolist(), functions, lines, strict=True):
            above = known[parent] if parent < first else fresh[parent - first]
            data = above.to_bytes(8, "little") + function.to_bytes(8, "little")
            if line:
                data += line.to_bytes(4, "little")
            digest = blake2b(data, digest_size=8).digest()
            fresh.append(int.from_bytes(digest, "little") or 1)
        self._frame_hash.extend(np.array(fresh, np.uint64))

    def _add_paths(self, parents: Int64Array, functions: Int64Array) -> None:
        """The depth of each frame, and the size of its path to the root."""
        first = len(self._frame_depth)
        known = np.minimum(parents, first - 1)
        # Of the frames' parents so far as they are old, and then of the frames themselves.
        depths = self._frame_depth.values[known].tolist()
        sizes = self._frame_bytes.values[known].tolist()
        names, files = self._function_name.values, self._function_file.values
        texts = self._text_bytes.values
        own = (texts[names[functions]] + texts[files[functions]] + FRAME_BYTES).tolist()
        for index, parent in enumerate((parents - first).tolist()):
            above = parent if parent >= 0 else index
            depths[index] = depths[above] + 1
            sizes[index] = sizes[above] + own[index]
            if depths[index] > DEPTH_MAX:
                raise RefusedError(Reason.COUNT, "a stack that is too deep")
        self._frame_depth.extend(np.array(depths, np.uint16))
        self._frame_bytes.extend(np.array(sizes, np.uint32))

    def _add_categories(self, new: Sequence[wire.Category]) -> None:
        _bound(len(self.categories) + len(new), bounds.CATEGORIES)
        for category in new:
            check_text(category.label, LABEL_BYTES_MAX)
            check_text(category.group, LABEL_BYTES_MAX)
            if not category.label:
                raise RefusedError(Reason.TEXT, "a category without a label")
        if new:
            labels = self._memory.share(category.label for category in new)
            groups = self._memory.share(category.group for category in new)
            self.categories += tuple(map(Category, labels, groups))
            self._category_bytes += map(encoded_bytes, labels)

    def _add_stacks(self, new: wire.Dictionary) -> None:
        frames = np.array(new.stack_frame, np.int64)
        categories = np.array(new.stack_category, np.int64)
        if len(frames) != len(categories):
            raise _uneven()
        if not len(frames):
            return
        _bound(len(self.stack_frame) + len(frames), bounds.STACKS)
        if int(frames.max()) >= len(self._frame_parent):
            raise RefusedError(Reason.REFERENCE, "a frame that was not introduced")
        if int(categories.max()) > len(self.categories) or int(categories.min()) < 1:
            raise RefusedError(Reason.REFERENCE, "a category that was not introduced")
        self.stack_frame.extend(frames)
        self.stack_category.extend(categories - 1)

    def _add_containers(self, new: Sequence[wire.Container]) -> None:
        _bound(len(self.containers) + len(new), bounds.CONTAINERS)
        sizes = []
        for container in new:
            identity = self._identity(container)
            self.containers.append(identity)
            texts = (getattr(identity, name) for name in _CONTAINER_TEXTS)
            sizes.append(identity_bytes(identity, texts))
        self._container_bytes.extend(np.array(sizes, np.uint32))

    def _identity(self, container: wire.Container) -> ContainerIdentity:
        texts = {name: self.text(getattr(container, name)) for name in _CONTAINER_TEXTS}
        if not texts["name"]:
            raise RefusedError(Reason.TEXT, "a container without a name")
        if not all(_KUBERNETES.match(texts[name]) for name in _KUBERNETES_NAMES):
            raise RefusedError(Reason.TEXT, "a Kubernetes name that Kubernetes does not allow")
        return ContainerIdentity(**texts)


def check_text(text: str, bytes_max: int) -> int:
    """The length in bytes. RefusedError: TEXT."""
    size = len(text) if text.isascii() else len(text.encode())
    if size > bytes_max:
        raise RefusedError(Reason.TEXT, "a text that is too long")
    if not text.isprintable() and _CONTROL.search(text):
        raise RefusedError(Reason.TEXT, "a text with control characters")
    return size


def _column(values: Sequence[int], count: int) -> Sequence[int]:
    """Zeros for a column that was not sent."""
    if not values:
        return [0] * count
    if len(values) != count:
        raise _uneven()
    return values


def _uneven() -> RefusedError:
    return RefusedError(Reason.COUNT, "columns of different lengths")


def _bound(count: int, most: int) -> None:
    if count > most + 1:
        raise RefusedError(Reason.DICTIONARY, "more entries than one stream may have")
