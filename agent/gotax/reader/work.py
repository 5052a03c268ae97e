"""What a reader can be asked: one method per question, its annotations are the messages.

Every argument comes from the agent, every file and all memory from a container. The methods raise
ReadError and ProcessGoneError. Between two questions no file is open.

Questions about processes are here, and need no numpy: a reader is asked them for as long as the
agent runs. Those about binaries are in ``binarywork.py``, which the first one imports.
"""

from __future__ import annotations

import os
import types
import typing
from functools import cache
from typing import TYPE_CHECKING, Any

from gotax.errors import AccessError, ParseError, ReadError
from gotax.golang.cgroupview import CgroupView, read_cgroup_view
from gotax.golang.live import (
    GomaxprocsAddresses,
    RuntimeValues,
    StateAddresses,
    read_values,
)
from gotax.linux import mappings, procfs
from gotax.linux.mappings import FileId, MappedFile, Mapping
from gotax.linux.procfs import Auxiliary
from gotax.reader.mapped import MapColumns, of_maps
from gotax.recipe import Recipe, Recognition, Traits, recognise

if TYPE_CHECKING:
    from gotax.reader.binarywork import BinaryWork

FirstAddresses = dict[tuple[int, int, str], int]


class Work:
    """``proc`` is the path of /proc, ``place`` where below it a process is read."""

    def __init__(self) -> None:
        self._binaries: BinaryWork | None = None

    def exe_id(self, proc: str, place: str) -> FileId:
        return mappings.read_exe_id(proc, place)

    def maps(self, proc: str, place: str) -> MapColumns:
        return of_maps(mappings.read_maps(proc, place))

    def first_addresses(self, proc: str, place: str) -> FirstAddresses:
        return mappings.read_first_addresses(proc, place)

    def find_mapped(
        self, proc: str, place: str, some: tuple[Mapping, ...]
    ) -> tuple[MappedFile | None, ...]:
        return tuple([mappings.find_mapped_file(proc, place, mapping) for mapping in some])

    def head(self, path: str, length: int) -> bytes:
        return _read_head(path, length)

    def auxiliary(self, proc: str, place: str) -> Auxiliary:
        return procfs.read_auxv(proc, place)

    def memory(self, proc: str, place: str, address: int, length: int) -> bytes:
        return procfs.read_memory(proc, place, address, length)

    def environment(self, proc: str, place: str, names: frozenset[str]) -> dict[str, str]:
        return procfs.read_environment(proc, place, names)

    def recognise(self, proc: str, place: str, recipes: tuple[Recipe, ...]) -> Recognition:
        return read_recognition(proc, place, recipes)

    def cgroup_fds(self, proc: str, place: str) -> tuple[str, ...]:
        return procfs.read_cgroup_fds(proc, place)

    def cgroup_view(self, proc: str, place: str) -> CgroupView:
        return read_cgroup_view(proc, place)

    def runtime_values(
        self,
        proc: str,
        place: str,
        addresses: GomaxprocsAddresses,
        state: StateAddresses,
        bias: int,
    ) -> RuntimeValues:
        return read_values(proc, place, addresses, state, bias)

    def _about_binaries(self) -> BinaryWork:
        if self._binaries is None:
            self._binaries = load_binary_work()()
        return self._binaries


def _read_head(path: str, length: int) -> bytes:
    """AccessError ``library-unreadable``."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.pread(fd, length, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise AccessError("library-unreadable", f"{path}: {error.strerror}") from error


def read_recognition(proc: str, place: str, recipes: tuple[Recipe, ...]) -> Recognition:
    """Nothing that was read leaves but which recipes fit, and their numbers."""
    unread = ""
    libraries: frozenset[str] | None = frozenset()
    arguments: tuple[str, ...] | None = ()
    environment: dict[str, str] | None = {}
    if any(recipe.libraries for recipe in recipes):
        try:
            paths = [mapping.path for mapping in mappings.read_maps(proc, place).mappings]
            libraries = frozenset(path.rpartition("/")[2] for path in paths)
        except ReadError as error:
            libraries, unread = None, error.reason
    if any(recipe.reads_arguments for recipe in recipes):
        try:
            arguments = procfs.read_arguments(proc, place)
        except ReadError as error:
            arguments, unread = None, error.reason
    if asked := frozenset[str]().union(*(recipe.asked for recipe in recipes)):
        try:
            environment = procfs.read_environment(proc, place, asked)
        except ReadError as error:
            environment, unread = None, error.reason
    return Recognition(recognise(recipes, Traits(libraries, arguments, environment)), unread)


def load_binary_work() -> type[BinaryWork]:
    from gotax.reader.binarywork import BinaryWork

    return BinaryWork


@cache
def signature(question: str) -> tuple[Any, Any]:
    """The type of all arguments of a question, and of its answer."""
    asked = load_binary_work() if question in OF_BINARIES else Work
    hints = typing.get_type_hints(getattr(asked, question))
    answer = hints.pop("return")
    return types.GenericAlias(tuple, tuple(hints.values())), answer


OF_BINARIES = frozenset({"describe", "calls", "classes"})
QUESTIONS = frozenset(name for name in vars(Work) if not name.startswith("_")) | OF_BINARIES


def ask(work: Work, question: str, arguments: tuple[Any, ...]) -> Any:
    if question not in QUESTIONS:
        raise ParseError("reader-malformed", question[:80])
    asked = work._about_binaries() if question in OF_BINARIES else work
    return getattr(asked, question)(*arguments)
