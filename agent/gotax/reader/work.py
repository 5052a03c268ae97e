"""What a reader can be asked: one method per question, its annotations are the messages.

Every argument comes from the agent, every file and all memory from a container. The methods raise
ReadError and ProcessGoneError. Between two questions no file is open.
"""

from __future__ import annotations

import types
import typing
from functools import cache
from typing import Any

from gotax.errors import ParseError
from gotax.golang.cgroupview import CgroupView, read_cgroup_view
from gotax.golang.gomaxprocs import GomaxprocsAddresses, LiveGomaxprocs, read_gomaxprocs
from gotax.golang.runtimestate import StateAddresses, read_state
from gotax.linux import mappings, procfs
from gotax.linux.mappings import FileId, MappedFile, Mapping
from gotax.linux.procfs import Auxiliary
from gotax.lru import LruCache
from gotax.process import RuntimeState
from gotax.profile import UInt64Array
from gotax.reader.binary import ParsedBinary
from gotax.reader.facts import (
    BinaryFacts,
    BinaryPlace,
    CallColumns,
    ClassPart,
    MapColumns,
    of_binary,
    of_calls,
    of_maps,
)
from gotax.reader.opened import BorrowedFile, read_head

_BINARIES = 128
_NOT_GO = 8  # quickly parsed again, and seldom asked for
FirstAddresses = dict[tuple[int, int, str], int]


class Work:
    """``proc`` is the path of /proc, ``place`` where below it a process is read."""

    def __init__(self) -> None:
        self._binaries: LruCache[FileId, ParsedBinary] = LruCache(_BINARIES)
        self._not_go: LruCache[FileId, ParsedBinary] = LruCache(_NOT_GO)

    # Of processes.

    def exe_id(self, proc: str, place: str) -> FileId:
        return mappings.read_exe_id(proc, place)

    def maps(self, proc: str, place: str) -> MapColumns:
        return of_maps(mappings.read_maps(proc, place))

    def first_addresses(self, proc: str, place: str) -> FirstAddresses:
        return mappings.read_first_addresses(proc, place)

    def find_mapped(self, proc: str, place: str, mapping: Mapping) -> MappedFile | None:
        return mappings.find_mapped_file(proc, place, mapping)

    def head(self, path: str, length: int) -> bytes:
        return read_head(path, length)

    def auxiliary(self, proc: str, place: str) -> Auxiliary:
        return procfs.read_auxv(proc, place)

    def memory(self, proc: str, place: str, address: int, length: int) -> bytes:
        return procfs.read_memory(proc, place, address, length)

    def environment(self, proc: str, place: str, names: frozenset[str]) -> dict[str, str]:
        return procfs.read_environment(proc, place, names)

    def cgroup_fds(self, proc: str, place: str) -> tuple[str, ...]:
        return procfs.read_cgroup_fds(proc, place)

    def cgroup_view(self, proc: str, place: str) -> CgroupView:
        return read_cgroup_view(proc, place)

    def gomaxprocs(
        self, proc: str, place: str, addresses: GomaxprocsAddresses, bias: int
    ) -> LiveGomaxprocs:
        return read_gomaxprocs(proc, place, addresses, bias)

    def runtime_state(
        self, proc: str, place: str, addresses: StateAddresses, bias: int
    ) -> RuntimeState:
        return read_state(proc, place, addresses, bias)

    # Of binaries.

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


@cache
def signature(question: str) -> tuple[Any, Any]:
    """The type of all arguments of a question, and of its answer."""
    hints = typing.get_type_hints(getattr(Work, question))
    answer = hints.pop("return")
    return types.GenericAlias(tuple, tuple(hints.values())), answer


QUESTIONS = frozenset(name for name in vars(Work) if not name.startswith("_"))


def ask(work: Work, question: str, arguments: tuple[Any, ...]) -> Any:
    if question not in QUESTIONS:
        raise ParseError("reader-malformed", question[:80])
    return getattr(work, question)(*arguments)
