"""The one way to what a container's processes own: their memory and their files below /proc.

All of it may be written by an attacker, and may be gone or not answer at any time. So a reader
looks at it. What the kernel itself says of a process, without a file system or memory of the
process, is read here: the link of its executable, and its status.
"""

from __future__ import annotations

import itertools
from typing import Any

from gotax.errors import ParseError
from gotax.golang.cgroupview import CgroupView
from gotax.golang.live import GomaxprocsAddresses, RuntimeValues, StateAddresses
from gotax.linux import mappings, procfs
from gotax.linux.mappings import FileId, MappedFile, Mapping, Maps
from gotax.linux.procfs import TaskPath
from gotax.reader.asking import MALFORMED, Reader, Subject
from gotax.recipe import VALUE_MAX, Recipe, Recognition

_numbers = itertools.count()


class ProcessFiles:
    """The files and the memory of one process.

    ``place`` is where below /proc it is read; the process table says so, and when it has ended.
    Every method raises ReadError for what cannot be read, and ProcessGoneError.
    """

    __slots__ = ("_proc", "_reader", "_subject", "has_ended", "place")

    def __init__(self, reader: Reader, proc: str, place: TaskPath, has_ended: bool = False) -> None:
        self._reader = reader
        self._proc = proc
        self._subject = Subject(f"process {next(_numbers)}", "")
        self.place = place
        self.has_ended = has_ended

    def _ask(self, question: str, *arguments: Any) -> Any:
        return self._reader.ask(self._subject, question, self._proc, str(self.place), *arguments)

    @property
    def group(self) -> str:
        """The pod or the container; "" before it is known."""
        return self._subject.group

    @group.setter
    def group(self, key: str) -> None:
        self._subject = self._subject._replace(group=key)

    def exe_path(self) -> str:
        """What to open to read the executable; never raises."""
        return mappings.exe_path(self._proc, self.place)

    def exe_id(self) -> FileId:
        found: FileId = self._ask("exe_id")
        return found

    def exe_link(self) -> str:
        """The path of the executable, as the process sees it."""
        return mappings.read_exe_link(self._proc, self.place)

    def maps(self) -> Maps:
        found: Maps = self._ask("maps").parse()
        return found

    def first_addresses(self) -> dict[tuple[int, int, str], int]:
        """Where the first byte of each mapped file lies, by device, inode and path."""
        found: dict[tuple[int, int, str], int] = self._ask("first_addresses")
        return found

    def find_mapped(self, some: tuple[Mapping, ...]) -> tuple[MappedFile | None, ...]:
        """The files of these mappings, one for each."""
        found: tuple[MappedFile | None, ...] = self._ask("find_mapped", some)
        if len(found) != len(some):
            raise ParseError(MALFORMED, "mapped files")
        return found

    def head(self, path: str, length: int) -> bytes:
        """The first bytes of a file that it has mapped, at a path of ``find_mapped``."""
        found: bytes = self._reader.ask(self._subject, "head", path, length)
        return found

    def auxiliary(self) -> procfs.Auxiliary:
        found: procfs.Auxiliary = self._ask("auxiliary")
        return found

    def memory(self, address: int, length: int) -> bytes:
        found: bytes = self._ask("memory", address, length)
        return found

    def environment(self, names: frozenset[str]) -> dict[str, str]:
        found: dict[str, str] = self._ask("environment", names)
        return found

    def recognise(self, recipes: tuple[Recipe, ...]) -> Recognition:
        """Which of these recipes fit it, and their numbers."""
        found: Recognition = self._ask("recognise", recipes)
        for state in found.found:
            if not (
                0 <= state.recipe < len(recipes)
                and -1 <= state.knob < len(recipes[state.recipe].knobs)
                and -1 <= state.value <= VALUE_MAX
            ):
                raise ParseError(MALFORMED, "a recipe that was not asked about")
        return found

    def cgroup_fds(self) -> tuple[str, ...]:
        """Open files of cgroups that say a limit."""
        found: tuple[str, ...] = self._ask("cgroup_fds")
        return found

    def cgroup_view(self) -> CgroupView:
        """What its cgroup mount shows the process."""
        found: CgroupView = self._ask("cgroup_view")
        return found

    def allowed_cpus(self, online: frozenset[int]) -> int:
        return procfs.read_allowed_cpus(self._proc, self.place, online)

    def runtime_values(
        self, addresses: GomaxprocsAddresses, state: StateAddresses, bias: int
    ) -> RuntimeValues:
        found: RuntimeValues = self._ask("runtime_values", addresses, state, bias)
        return found
