"""What a reader can be asked about a binary, as ``work.py`` has it for processes.

Only here a reader needs numpy and the parsers of Go's tables: half a tenth of a second and 11 MB.
"""

from __future__ import annotations

from gotax.linux.mappings import FileId
from gotax.lru import LruCache
from gotax.profile import UInt64Array
from gotax.reader.binary import ParsedBinary
from gotax.reader.facts import (
    BinaryFacts,
    BinaryPlace,
    CallColumns,
    ClassPart,
    of_binary,
    of_calls,
)
from gotax.reader.opened import BorrowedFile

_BINARIES = 512  # of 17 kB; a reader that is asked about none leaves
_NOT_GO = 8  # quickly parsed again, and seldom asked for


class BinaryWork:
    def __init__(self) -> None:
        self._binaries: LruCache[FileId, ParsedBinary] = LruCache(_BINARIES)
        self._not_go: LruCache[FileId, ParsedBinary] = LruCache(_NOT_GO)

    def describe(self, where: BinaryPlace) -> BinaryFacts:
        return of_binary(self._parsed(where))

    def calls(self, where: BinaryPlace, addresses: UInt64Array, with_lines: bool) -> CallColumns:
        binary = self._parsed(where)
        try:
            calls, sizes = binary.calls(addresses, with_lines)
            return of_calls(calls, sizes, binary.problem)
        finally:
            binary.release()

    def classes(self, where: BinaryPlace, pairs: int) -> ClassPart:
        binary = self._parsed(where)
        if binary.pclntab is None:
            return ClassPart(pairs, True, None, binary.problem)
        try:
            read = binary.read_classes(pairs)
        finally:
            binary.release()
        reader = binary.classes
        assert reader is not None
        whole = None
        if reader.is_done:
            whole, binary.classes = reader.take(), None
        return ClassPart(read, reader.is_done, whole, binary.problem)

    def _parsed(self, where: BinaryPlace) -> ParsedBinary:
        binary = self._binaries.get(where.id) or self._not_go.get(where.id)
        if binary is None or not binary.is_settled:
            binary = ParsedBinary(BorrowedFile(where.id, where.path), where.module)
            (self._not_go if binary.build is None else self._binaries).put(where.id, binary)
        else:
            binary.file.lend(where.path)
            binary.problem = binary.refused
        return binary
