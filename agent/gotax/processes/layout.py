"""The mappings of one process as columns: many runtime addresses at once become those of files."""

from __future__ import annotations

import enum

import numpy as np

from gotax.golang import stacks
from gotax.linux.mappings import UNLISTED, Mapping
from gotax.processes.address_space import AddressSpace
from gotax.processes.binaries import Binary
from gotax.profile import Int64Array, UInt64Array

STRANGE = -2
"""Stands for the number of a mapping: the address is in a file that does not put it there."""
NO_MAPPING = -1


class Backing(enum.Enum):
    """What is behind a mapping that has no file, or none that can be read."""

    UNREADABLE = enum.auto()
    UNLISTED = enum.auto()
    GENERATED = enum.auto()  # memory that the program itself made executable
    VDSO = enum.auto()  # code of the kernel's that runs for its caller
    UPROBES = enum.auto()


class Layout:
    """A file is opened when the first address in it is asked for."""

    def __init__(self, space: AddressSpace, again: bool = False) -> None:
        self._space = space
        self._mappings = mappings = space.mappings(again)
        self._starts = np.array([m.start for m in mappings], np.uint64)
        self._ends = np.array([m.end for m in mappings], np.uint64)
        self._biases = np.zeros(len(mappings) + 1, np.int64)  # the last is for mapping -1
        self._resolved = np.zeros(len(mappings), bool)
        self.images: list[Binary | None] = [None] * len(mappings)
        self.backings = [Backing.UNREADABLE] * len(mappings)
        """Of the mappings without an image."""

    def covers(self, addresses: UInt64Array) -> bool:
        """Whether every address that can be code is in a mapping."""
        outside = self._mapping(addresses) < 0
        return not stacks.plausible(addresses[outside]).any()

    def translate(self, addresses: UInt64Array) -> tuple[Int64Array, UInt64Array]:
        """(mapping, link-time address) of each; (NO_MAPPING, 0) outside of all mappings, and
        (STRANGE, 0) in one of a file that its own headers do not put there."""
        mapping = self._mapping(addresses)
        for number in numbers_of(mapping):
            if not self._resolved[number]:
                self._resolve(number)
        link_time = addresses.astype(np.int64) - self._biases[mapping]
        strange = (mapping >= 0) & (link_time < 0)  # below the file's first byte
        nowhere = strange | (mapping < 0)
        link_time = np.where(nowhere, 0, link_time)
        return np.where(strange, STRANGE, mapping), link_time.astype(np.uint64)

    def _mapping(self, addresses: UInt64Array) -> Int64Array:
        """The number of the mapping of each address, NO_MAPPING for none."""
        if not len(self._starts):
            return np.full(len(addresses), NO_MAPPING, np.int64)
        at = self._starts.searchsorted(addresses, side="right").astype(np.int64) - 1
        at[addresses >= self._ends[at]] = NO_MAPPING  # at -1 this asks the last one, and stays -1
        return at

    def _resolve(self, number: int) -> None:
        self._resolved[number] = True
        mapping = self._mappings[number]
        if not mapping.inode:
            self.backings[number] = _backing(mapping)
            return
        binary = self._space.binary(mapping)
        if binary.problem == "elf-magic" if binary else _is_memory(mapping):
            self.backings[number] = Backing.GENERATED
        bias = binary.bias(mapping) if binary else None
        if bias is not None and abs(bias) < 1 << 62:
            self.images[number] = binary
            self._biases[number] = bias


def numbers_of(mapping: Int64Array) -> list[int]:
    """The numbers of mappings among these, each once, in order."""
    found: list[int] = np.flatnonzero(np.bincount(mapping[mapping >= 0])).tolist()
    return found


def _backing(mapping: Mapping) -> Backing:
    """Of a mapping that is no file's. Memory that a program made executable has code that it made
    itself (WebAssembly, regular expressions, JSON): C libraries do so, too."""
    if mapping.path == UNLISTED:
        return Backing.UNLISTED
    if mapping.path == "[vdso]":
        return Backing.VDSO
    return Backing.UPROBES if mapping.path == "[uprobes]" else Backing.GENERATED


def _is_memory(mapping: Mapping) -> bool:
    """Memory that the kernel lists with an inode and a name that no file has: shared by a fork or
    by its key, or of huge pages (mm/shmem.c shmem_zero_setup, ipc/shm.c, mm/hugetlb.c)."""
    return mapping.deleted and mapping.path.startswith(("/dev/zero", "/SYSV", "/anon_hugepage"))
