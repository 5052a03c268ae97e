"""The program of one process, and the Go runtimes in it: its own or those of libraries."""

from __future__ import annotations

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.mappings import FileId, Mapping
from gotax.processes.address_space import AddressSpace, FileKey, file_key, is_go_in_memory
from gotax.processes.binaries import Binary, BinaryTable
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.reader.asking import NOT_NOW

_MAX_LIBRARIES = 512  # of one process that are looked into for a Go runtime
_ASKED_AT_ONCE = 16  # libraries

Runtimes = tuple[tuple[Binary, int | None], ...]
"""Go runtimes with the biases of their files; that of the program is the address space's."""


class Program:
    """``exe`` is None for a kernel thread, and where the executable cannot be seen.

    ``problem`` is why it is not known whether this is a Go program, "" where it is known.
    """

    __slots__ = (
        *("_binaries", "_command", "_errors", "_files", "_has_pending_library", "_looks", "_space"),
        *("exe", "link", "problem", "runtimes"),
    )

    def __init__(
        self,
        command: str,
        files: ProcessFiles,
        space: AddressSpace,
        binaries: BinaryTable,
        errors: ErrorCounts,
    ) -> None:
        self._command = command
        self._files = files
        self._space = space
        self._binaries = binaries
        self._errors = errors
        self._has_pending_library = False
        self._looks = 0  # asked for, while no Go is found in it
        self.exe: FileId | None = None
        self.link = ""  # the path of the executable
        self.problem = ""
        self.runtimes: Runtimes = ()

    @property
    def has_go_executable(self) -> bool:
        return self._space.program is not None and self._space.program.is_go

    @property
    def is_blind(self) -> bool:
        """It is unknown what this Go process spent its CPU time on."""
        tables = [binary.table for binary, _ in self.runtimes]
        return bool(tables) and (not any(tables) or self._space.is_unreadable)

    def bias(self, binary: Binary, bias: int | None) -> int | None:
        """Of one of ``runtimes``."""
        return self._space.program_bias() if binary is self._space.program else bias

    def located_runtimes(self) -> list[tuple[Binary, int]]:
        """The Go runtimes with their biases, as far as those are known."""
        found = [(binary, self.bias(binary, bias)) for binary, bias in self.runtimes]
        return [(binary, bias) for binary, bias in found if bias is not None]

    @property
    def is_pending(self) -> bool:
        """There was no time to read all that says whether it is Go."""
        return self.problem in NOT_NOW or self._has_pending_library

    def refuse(self, reason: str) -> None:
        """It cannot be read."""
        self.problem = reason

    def drop(self) -> None:
        self.runtimes = ()

    def read(self) -> bool:
        """Look which program this is; returns whether it is found to be Go."""
        self.problem = ""
        try:
            self.link = link = self._files.exe_link()
            self.exe = self._files.exe_id()
            binary = self._binaries.get(
                self.exe, self._files.exe_path(), self._files.group, lambda: link
            )
        except ReadError as error:
            self._errors.note(error)
            self.problem = error.reason
            return False
        except ProcessGoneError as error:
            self._errors.note(error)
            return False
        self._space.program = binary
        if binary.refused:
            self._errors[binary.refused] += 1
        if binary.build is not None:
            self.runtimes = ((binary, None),)
            return True
        if not binary.refused:
            return False
        self.problem = binary.refused
        return not binary.is_pending and self._is_go_in_memory()

    def _is_go_in_memory(self) -> bool:
        """A program that looks like Go in memory is a Go process, if only an unreadable one."""
        try:
            is_go = is_go_in_memory(self._files, self._heads())
        except (ReadError, ProcessGoneError) as error:
            self._errors.note(error)
            return False
        if is_go:
            self.runtimes = ((self._binaries.unread_go(self._command, self.problem), None),)
            self.problem = ""
        return is_go

    def _heads(self) -> list[int]:
        """Where the program may begin in memory: the file, or what a packer made of it."""
        mappings = self._space.mappings()
        unpacked = [m.start for m in mappings if not m.inode and not m.path]
        try:
            path = self._files.exe_link()
            first = self._space.first_addresses()
        except (ReadError, ProcessGoneError):
            return unpacked
        return [at for (_, _, name), at in first.items() if name == path] + unpacked

    def is_due(self) -> bool:
        """Whether to look again, at the 2nd, 4th, 8th ... time that this is asked.

        A program that is not Go may load a Go library (-buildmode=c-shared) at any time, and one
        that could not be read may be readable later: often enough for what comes at the start,
        and seldom for a program that lives long.
        """
        if self.has_go_executable or (self.exe is None and not self.problem):  # a kernel thread
            return False
        if self.is_pending:
            return True
        self._looks += 1
        return not self._looks & (self._looks - 1)

    def may_load_go(self) -> bool:
        """Whether Go can be found in its libraries."""
        return not self.problem and not self.is_blind and not self.has_go_executable

    def search_libraries(self) -> bool:
        """Find the Go runtimes that a program which is not Go has loaded; returns whether they are
        others than before."""
        first: dict[FileKey, Mapping] = {}
        places: list[tuple[FileKey, Mapping]] = []
        for mapping in self._space.mappings(again=True):
            if mapping.inode and not self._space.is_program(mapping):
                key = file_key(mapping)
                places.append((key, mapping))
                if len(first) < _MAX_LIBRARIES:
                    first.setdefault(key, mapping)
        known, refused = self._read_libraries(first)
        runtimes: list[tuple[Binary, int | None]] = []
        for key, mapping in places:
            binary = known.get(key)
            if binary is not None and (binary, binary.bias(mapping)) not in runtimes:
                runtimes.append((binary, binary.bias(mapping)))
        pending = {key for key, reason in refused.items() if reason in NOT_NOW}
        self._has_pending_library = bool(pending)
        runtimes += self._unread_libraries(
            {key: reason for key, reason in refused.items() if key not in pending}
        )
        if not runtimes:
            self._space.drop_mappings()  # of hundreds of processes; nothing else needs them
            return False
        is_new = tuple(runtimes) != self.runtimes
        if is_new:
            self.runtimes = tuple(runtimes)
        return is_new

    def _read_libraries(
        self, libraries: dict[FileKey, Mapping]
    ) -> tuple[dict[FileKey, Binary], dict[FileKey, str]]:
        """Those that are Go, and why others could not be read."""
        known: dict[FileKey, Binary] = {}
        refused: dict[FileKey, str] = {}
        # One by one where there was no time for some together.
        at_once = 1 if self._has_pending_library else _ASKED_AT_ONCE
        every = list(libraries.items())
        for low in range(0, len(every), at_once):
            some = every[low : low + at_once]
            try:
                files = self._space.find_files(tuple([mapping for _, mapping in some]))
            except ReadError as error:
                refused |= dict.fromkeys([key for key, _ in some], error.reason)
                continue
            for (key, mapping), found in zip(some, files, strict=True):
                try:
                    binary = self._space.go_binary(mapping, found)
                except ReadError as error:
                    refused[key] = error.reason
                else:
                    if binary is not None:
                        known[key] = binary
        return known, refused

    def _unread_libraries(self, refused: dict[FileKey, str]) -> Runtimes:
        """Those that are Go, by their beginnings in memory, of libraries that cannot be read."""
        known = {binary.module: binary for binary, bias in self.runtimes if bias is None}
        found: list[tuple[Binary, int | None]] = []
        try:
            first = self._space.first_addresses() if refused else {}
            for key, reason in refused.items():
                self._errors[reason] += 1
                if key in first and is_go_in_memory(self._files, [first[key]]):
                    binary = known.get(key[2]) or self._binaries.unread_go(key[2], reason)
                    found.append((binary, None))
        except (ReadError, ProcessGoneError) as error:
            self._errors.note(error)
        return tuple(found)
