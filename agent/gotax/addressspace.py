"""Which file lies where in the memory of a process, where names and numbers of files do not say.

A path may lead to another file by now, inode numbers are unique on one file system only, and what
/proc/PID/maps shows is not always what stat does. What is the same everywhere is what the kernel
told the program's start, and the bytes in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from gotax.errors import ParseError, ProcessGoneError
from gotax.golang.buildinfo import has_go_note
from gotax.golang.gomaxprocs import load_bias, program_bias
from gotax.linux import procfs
from gotax.linux.elf import BytesReader, Elf, parse_elf

_HEAD_BYTES = 4096  # a page: ELF header, program headers and, of what linkers make, the notes
_MAX_HEADS = 64  # of one process, that are looked at in memory


def find_program_bias(
    proc: str, place: procfs.TaskPath, elf: Elf, mappings: Iterable[procfs.Mapping]
) -> int | None:
    """Runtime minus link-time addresses of the executable.

    By what the kernel told its start; where that cannot be read, or does not fit, by the mapping
    that has its name or its numbers.
    """
    try:
        bias = program_bias(elf, procfs.read_auxv(proc, place))
    except (ParseError, ProcessGoneError):
        bias = None
    if bias is not None:
        return bias
    try:
        path, numbers = procfs.read_exe_link(proc, place), procfs.read_exe_id(proc, place)[:2]
    except (ParseError, ProcessGoneError):
        return None
    for mapping in mappings:
        if mapping.inode and (mapping.path == path or (mapping.device, mapping.inode) == numbers):
            bias = load_bias(elf, mapping)
            if bias is not None:
                return bias
    return None


def is_mapped_file(
    proc: str, place: procfs.TaskPath, mapping: procfs.Mapping, found: procfs.MappedFile
) -> bool:
    """Whether a file that has the path of what is mapped is what is mapped.

    If the numbers do not say so, by its first page. ParseError: memory or file cannot be read.
    """
    if found.is_proven:
        return True
    key = (mapping.device, mapping.inode, mapping.path)
    address = procfs.read_first_addresses(proc, place).get(key)
    if address is None:
        return False
    length = min(_HEAD_BYTES, found.id.size)
    return length > 0 and _first_bytes(found.path, length) == procfs.read_memory(
        proc, place, address, length
    )


def _first_bytes(path: str, length: int) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.pread(fd, length, 0)
        finally:
            os.close(fd)
    except OSError as error:
        raise ParseError("library-unreadable", f"{path}: {error.strerror}") from error


def is_go_in_memory(proc: str, place: procfs.TaskPath, addresses: Iterable[int]) -> bool:
    """Whether a file whose first byte lies at one of these addresses has the mark of Go's linker.

    For files that cannot be read. Of the first 64 addresses. ParseError: nor can the memory.
    """
    for address in list(addresses)[:_MAX_HEADS]:
        try:
            head = parse_elf(_Head(procfs.read_memory(proc, place, address, _HEAD_BYTES)))
        except ParseError as error:
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
