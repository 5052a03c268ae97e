"""Which file lies where in the memory of a process, where names and numbers of files do not say.

A path may lead to another file later, inode numbers are unique on one file system only, and what
/proc/PID/maps shows is not always what stat does. What is the same everywhere is what the kernel
passed to the program's start, and the bytes in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gotax.errors import AccessError, ProcessGoneError, ReadError
from gotax.golang.bias import load_bias, program_bias
from gotax.golang.buildinfo import has_go_note
from gotax.linux.elf import BytesReader, Elf, parse_elf
from gotax.linux.mappings import UNLISTED, FileId, MappedFile, Mapping
from gotax.processes.binaries import Binary, BinaryTable
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.reader.asking import NOT_NOW

_HEAD_BYTES = 4096  # a page: ELF header, program headers and, of what linkers make, the notes
_MAX_HEADS = 64  # of one process, that are looked at in memory
_FREELY_READ_BYTES = 256 * 1024
"""A list of mappings may be read again in each drain if it is shorter; a longer one (a database
with 60,000 mappings, 3 MB, 35 ms) in each twelfth if it is twelve times as long."""

FileKey = tuple[int, int, str]
"""Device, inode and path of a mapping."""


def file_key(mapping: Mapping) -> FileKey:
    return mapping.device, mapping.inode, mapping.path


class AddressSpace:
    """Which file is mapped where in one process.

    ``program`` is the executable; its reader says so. ``refused`` is why the mappings
    could not be read, "" where they could. ``is_late``: there was no time for something that was
    asked since it was last False.
    """

    __slots__ = (
        *("_bias", "_binaries", "_errors", "_files", "_first", "_mappings", "_proofs"),
        "_unread_drains",
        *("is_late", "program", "refused"),
    )

    def __init__(self, files: ProcessFiles, binaries: BinaryTable, errors: ErrorCounts) -> None:
        self._files = files
        self._binaries = binaries
        self._errors = errors
        self._mappings: tuple[Mapping, ...] | None = None
        self._unread_drains = 0  # in which a long list of mappings is not read again
        self._bias: int | None = None  # of the program, once found
        self._proofs: dict[FileKey, bool] = {}  # whether a path leads to what is mapped
        self._first: dict[FileKey, int] | None = None
        self.program: Binary | None = None
        self.refused = ""
        self.is_late = False

    @property
    def is_unreadable(self) -> bool:
        """The mappings were asked for, and there are none to be had."""
        return self._mappings == ()

    @property
    def holds_mappings(self) -> bool:
        return self._mappings is not None

    def drop_mappings(self) -> None:
        self._binaries.long_lists.forget(self)
        self._mappings = self._first = None

    def drop(self) -> None:
        """Keep nothing that only symbolizing needs."""
        self.drop_mappings()
        self.program, self._proofs = None, {}

    def mappings(self, again: bool = False) -> tuple[Mapping, ...]:
        """The executable mappings; () when they cannot be read any more."""
        if again and self._unread_drains and self._mappings is not None:
            self._unread_drains -= 1
            return self._mappings
        if self._mappings is None or again:
            try:
                self._mappings, length = self._files.maps()
                self.refused = ""
                self._unread_drains = length // _FREELY_READ_BYTES
                if self._mappings and self._mappings[-1].path == UNLISTED:
                    self._errors["maps-too-long"] += 1
            except (ReadError, ProcessGoneError) as error:
                self._errors.note(error)
                self._mappings = self._mappings or ()
                self.refused = error.reason if isinstance(error, ReadError) else ""
                self.is_late |= self.refused in NOT_NOW
            self._proofs.clear()
            self._first = None
            self._binaries.long_lists.keep(self, len(self._mappings))
        return self._mappings

    def binary(self, mapping: Mapping) -> Binary | None:
        """The file behind a mapping; None when there is none or it cannot be opened."""
        if self.is_program(mapping):
            assert self.program is not None
            if not self._files.has_ended:
                self.program.lend(self._files.exe_path())
            return self.program
        if not mapping.inode:
            return None
        try:
            binary = self._find(mapping, self._files.find_mapped((mapping,))[0], self._binaries.get)
        except ReadError as error:
            self._errors.note(error)
            self.is_late |= error.reason in NOT_NOW
            return None
        self.is_late |= binary is not None and binary.is_pending
        return binary

    def find_files(self, some: tuple[Mapping, ...]) -> tuple[MappedFile | None, ...]:
        """The files of these mappings, for ``go_binary``. Raises ReadError, ProcessGoneError."""
        return self._files.find_mapped(some)

    def go_binary(self, mapping: Mapping, found: MappedFile | None) -> Binary | None:
        """The Go file behind a mapping; ReadError: there is a file that cannot be had or read."""
        return self._find(mapping, found, self._binaries.get_go)

    def _find(
        self,
        mapping: Mapping,
        found: MappedFile | None,
        get: Callable[[FileId, str, str, Callable[[], str]], Binary | None],
    ) -> Binary | None:
        if found is None:
            raise AccessError("library-unreadable", mapping.path)
        key = file_key(mapping)
        if key not in self._proofs:
            self._proofs[key] = found.is_proven or self._is_mapped(mapping, found)
        if not self._proofs[key]:  # another file has that name now
            raise AccessError("library-unreadable", mapping.path)
        return get(found.id, found.path, self._files.group, lambda: mapping.path)

    def _is_mapped(self, mapping: Mapping, found: MappedFile) -> bool:
        """Whether a file that has the path of what is mapped is what is mapped, by its first page.

        ReadError: memory or file cannot be read.
        """
        address = self.first_addresses().get(file_key(mapping))
        if address is None:
            return False
        length = min(_HEAD_BYTES, found.id.size)
        return length > 0 and self._files.head(found.path, length) == self._files.memory(
            address, length
        )

    def first_addresses(self) -> dict[FileKey, int]:
        """Where the first byte of each mapped file lies. Read once with the mappings: the list of
        all can be long, and is asked for each file. Raises ReadError, ProcessGoneError."""
        if self._first is None:
            self._first = self._files.first_addresses()
        return self._first

    def is_program(self, mapping: Mapping) -> bool:
        """By its place in memory: what lies where the program's segment lies is that segment."""
        if self.program is None or not mapping.inode:
            return False
        bias = self.program.bias(mapping)
        return bias is not None and bias == self.program_bias()

    def program_bias(self) -> int | None:
        """Does not change until the next exec, which makes another address space."""
        program = self.program
        if self._bias is None and not self._files.has_ended and program and program.elf:
            self._bias = find_program_bias(self._files, program.elf, self.mappings())
        return self._bias


def find_program_bias(files: ProcessFiles, elf: Elf, mappings: Iterable[Mapping]) -> int | None:
    """Runtime minus link-time addresses of the executable.

    By what the kernel passed to its start; where that cannot be read, or does not fit, by the
    mapping that has its name or its numbers.
    """
    try:
        bias = program_bias(elf, files.auxiliary())
    except (ReadError, ProcessGoneError):
        bias = None
    if bias is not None:
        return bias
    try:
        path, numbers = files.exe_link(), files.exe_id()[:2]
    except (ReadError, ProcessGoneError):
        return None
    for mapping in mappings:
        if mapping.inode and (mapping.path == path or (mapping.device, mapping.inode) == numbers):
            bias = load_bias(elf, mapping)
            if bias is not None:
                return bias
    return None


def is_go_in_memory(files: ProcessFiles, addresses: Iterable[int]) -> bool:
    """Whether a file whose first byte lies at one of these addresses has the mark of Go's linker.

    For files that cannot be read. Of the first 64 addresses. ReadError: nor can the memory.
    """
    for address in list(addresses)[:_MAX_HEADS]:
        try:
            head = parse_elf(_Head(files.memory(address, _HEAD_BYTES)))
        except ReadError as error:
            if error.reason.startswith("procfs-"):
                raise
            continue
        if has_go_note(head):
            return True
    return False


class _Head(BytesReader):
    """The beginning of a file whose length is not known."""

    @property
    def size(self) -> int:
        return 1 << 62
