"""Symbolize and classify: from addresses to a Stack and its Category, each only once.

Stacks not seen before are handled together: first the leaves are mended, then every new address of
a binary is looked up in one batch, then the stacks are put together and classified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gotax.binaries import Binary
from gotax.generations import Generations
from gotax.golang import categories, stacks
from gotax.linux import procfs
from gotax.linux.kallsyms import Kallsyms, read_kallsyms
from gotax.model import Category, Frame, FrameKind, Location, Stack, UInt64Array
from gotax.processes import Entry, ProcessTable

_STACKS = 8192
_LOCATIONS = 16384
_NAMES = 8192
_ROOTS = (categories.CUT_GOEXIT, categories.CUT_MSTART, categories.CUT_ENTRY)
_VDSO = "[vdso]"


@dataclass(frozen=True, slots=True)
class NewStack:
    """A user stack that the process has not shown before, as the kernel walked it."""

    entry: Entry
    hash: int
    caller: int
    ips: UInt64Array


@dataclass(frozen=True, slots=True)
class Symbolized:
    """A user stack with its category when the CPU was in user mode, and when in the kernel."""

    stack: Stack
    in_user: Category
    in_kernel: Category


@dataclass(frozen=True, slots=True)
class Place:
    """A location with the class codes of its frames, innermost first."""

    location: Location
    codes: tuple[int, ...]


_NOTHING = Symbolized((), Category.UNKNOWN, Category.UNKNOWN)


class Cache(Protocol):
    evictions: int

    def __len__(self) -> int: ...


class Symbolizer:
    """Knows at most 16384 stacks, 32768 locations and 16384 function names at a time."""

    def __init__(self, processes: ProcessTable) -> None:
        self._processes = processes
        self._stacks: Generations[tuple[int, int], Symbolized] = Generations(_STACKS)
        self._places: Generations[tuple[int, int], Place] = Generations(_LOCATIONS)
        self._codes: Generations[str, int] = Generations(_NAMES)
        self._kernel: Generations[int, Location] = Generations(_LOCATIONS)
        self._kernel_stacks: Generations[int, Stack] = Generations(_STACKS)
        self._kallsyms: Kallsyms | None = None

    def caches(self) -> dict[str, Cache]:
        return {
            "stacks": self._stacks,
            "locations": self._places,
            "functions": self._codes,
            "kernel-locations": self._kernel,
            "kernel-stacks": self._kernel_stacks,
        }

    def known(self, entry: Entry, stack_hash: int) -> Symbolized | None:
        return self._stacks.get((entry.serial, stack_hash))

    def learn(self, new: Sequence[NewStack]) -> dict[tuple[int, int], Symbolized]:
        """Symbolize these stacks; by (serial of the entry, hash)."""
        by_entry: dict[int, list[NewStack]] = {}
        for stack in new:
            by_entry.setdefault(stack.entry.serial, []).append(stack)
        resolved: list[tuple[NewStack, _Walk]] = []
        for group in by_entry.values():
            resolved.extend(zip(group, self._walk(group), strict=True))
        self._look_up([walk for _, walk in resolved])
        learnt = {}
        for stack, walk in resolved:
            key = (stack.entry.serial, stack.hash)
            learnt[key] = self._compose(walk)
            self._stacks.put(key, learnt[key])
        return learnt

    def _walk(self, group: list[NewStack]) -> list[_Walk]:
        """Addresses of one process's stacks, mended, as link-time addresses of binaries."""
        entry = group[0].entry
        space = _Space(self._processes, entry)
        everything = np.unique(np.concatenate([stack.ips for stack in group]))
        if not space.covers(everything):
            space = _Space(self._processes, entry, anew=True)  # it has mapped more since
        leaves = [space.place(int(stack.ips[0])) for stack in group]
        sizes = _frame_sizes(leaves)
        walks = []
        for stack, (binary, _), size in zip(group, leaves, sizes, strict=True):
            in_text = False
            if stack.caller and binary is not None:
                caller_binary, caller = space.place(stack.caller)
                in_text = caller_binary is binary and binary.in_go_text(caller)
            if len(stack.ips) >= stacks.FRAMES_MAX:
                self._processes.errors["stack-truncated"] += 1
            pcs = stacks.restore_leaf_caller(stack.ips, stack.caller, size, in_text)
            sigreturn = space.sigreturn
            calls = stacks.return_addresses_to_calls(pcs, sigreturn)
            calls = stacks.drop_implausible(calls)
            walks.append([space.place(pc) for pc in calls.tolist()])
        return walks

    def _look_up(self, walks: list[_Walk]) -> None:
        """Symbolize every new address of every binary, a batch per binary."""
        wanted: dict[int, tuple[Binary, set[int]]] = {}
        for walk in walks:
            for binary, address in walk:
                if binary is not None and self._places.get((binary.serial, address)) is None:
                    wanted.setdefault(binary.serial, (binary, set()))[1].add(address)
        for binary, addresses in wanted.values():
            ordered = np.array(sorted(addresses), np.uint64)
            for address, frames in zip(ordered.tolist(), binary.frames(ordered), strict=True):
                location = Location(binary.module, binary.build_id, address, frames)
                self._places.put((binary.serial, address), self._place(location))

    def _place(self, location: Location) -> Place:
        return Place(location, tuple(self._code(frame) for frame in location.frames))

    def _code(self, frame: Frame) -> int:
        if frame.kind is FrameKind.NATIVE:
            return categories.NATIVE
        code = self._codes.get(frame.function)
        if code is None:
            code = categories.function_code(frame.function)
            self._codes.put(frame.function, code)
        return code

    def _compose(self, walk: _Walk) -> Symbolized:
        if not walk:
            return _NOTHING
        locations: list[Location] = []
        codes: list[int] = []
        for binary, address in walk:
            place = self._find(binary, address)
            locations.append(place.location)
            codes.extend(place.codes)
            if any(code in _ROOTS for code in place.codes):
                break  # what a walk reports beyond a root was left behind by someone else
        native_leaf = codes[0] == categories.NATIVE
        return Symbolized(
            tuple(locations),
            categories.classify(codes, in_kernel=False, native_leaf=native_leaf),
            categories.classify(codes, in_kernel=True, native_leaf=native_leaf),
        )

    def _find(self, binary: Binary | None, address: int) -> Place:
        serial = binary.serial if binary is not None else 0
        place = self._places.get((serial, address))
        if place is None:
            if binary is not None:  # evicted since, by this very batch
                frames = binary.frames(np.array([address], np.uint64))[0]
                place = self._place(Location(binary.module, binary.build_id, address, frames))
            elif address == _VDSO_ADDRESS:
                frame = Frame(_VDSO, kind=FrameKind.NATIVE)
                place = Place(Location(_VDSO, "", 0, (frame,)), (categories.TRANSPARENT,))
            else:
                frame = Frame("[unknown]", kind=FrameKind.NATIVE)
                place = Place(Location("[unknown]", "", 0, (frame,)), (categories.NATIVE,))
            self._places.put((serial, address), place)
        return place

    def kernel_stack(self, stack_hash: int, ips: UInt64Array) -> Stack:
        """The kernel's part of a stack, leaf first."""
        stack = self._kernel_stacks.get(stack_hash)
        if stack is None:
            addresses = ips - np.uint64(1)
            addresses[0] = ips[0]
            self._name_kernel(addresses)
            stack = tuple(
                self._kernel.get(address) or _kernel_location(address, "")
                for address in addresses.tolist()
            )
            self._kernel_stacks.put(stack_hash, stack)
        return stack

    def _name_kernel(self, addresses: UInt64Array) -> None:
        unnamed = [a for a in addresses.tolist() if self._kernel.get(a) is None]
        if not unnamed:
            return
        if self._kallsyms is None:
            self._kallsyms = read_kallsyms(self._processes.proc_root)
        names = self._kallsyms.lookup(np.array(unnamed, np.uint64))
        for address, name in zip(unnamed, names, strict=True):
            self._kernel.put(address, _kernel_location(address, name))


_VDSO_ADDRESS = -1
_UNKNOWN_ADDRESS = -2
_Walk = list[tuple[Binary | None, int]]
"""One stack, leaf first: (binary, link-time address); binary None for the two addresses above."""


def _kernel_location(address: int, name: str) -> Location:
    frame = Frame(name or f"{address:#x}", kind=FrameKind.KERNEL)
    return Location("[kernel]", "", address, (frame,))


def _frame_sizes(leaves: _Walk) -> list[int]:
    """pcsp of every leaf, a batch per binary; -1 for leaves outside Go code."""
    sizes = [-1] * len(leaves)
    by_binary: dict[int, list[int]] = {}
    for index, (binary, _) in enumerate(leaves):
        if binary is not None and binary.is_go:
            by_binary.setdefault(binary.serial, []).append(index)
    for indices in by_binary.values():
        binary = leaves[indices[0]][0]
        assert binary is not None
        addresses = np.array([leaves[index][1] for index in indices], np.uint64)
        for index, size in zip(indices, binary.frame_sizes(addresses), strict=True):
            sizes[index] = size
    return sizes


class _Space:
    """Which file is mapped where in one process."""

    def __init__(self, processes: ProcessTable, entry: Entry, anew: bool = False) -> None:
        self._processes = processes
        self._entry = entry
        self._mappings = processes.mappings(entry, anew)
        self._starts = np.array([m.start for m in self._mappings], np.uint64)
        self._ends = np.array([m.end for m in self._mappings], np.uint64)
        self._found: dict[int, tuple[Binary | None, int]] = {}

    @property
    def sigreturn(self) -> int:
        """Runtime address of the main binary's sigreturn, 0 for none."""
        binary, exe = self._entry.binary, self._entry.exe
        if binary is None or exe is None or not binary.sigreturn:
            return 0
        bias = self._processes.bias(self._entry, binary, exe.inode)
        return binary.sigreturn + bias if bias is not None else 0

    def covers(self, addresses: UInt64Array) -> bool:
        if not len(self._starts):
            return False
        at = np.searchsorted(self._starts, addresses, side="right").astype(np.int64) - 1
        plausible = stacks.plausible(addresses)
        return bool(((at >= 0) & (addresses < self._ends[np.maximum(at, 0)]))[plausible].all())

    def place(self, address: int) -> tuple[Binary | None, int]:
        found = self._found.get(address)
        if found is None:
            found = self._found[address] = self._place(address)
        return found

    def _place(self, address: int) -> tuple[Binary | None, int]:
        at = int(np.searchsorted(self._starts, np.uint64(address), side="right")) - 1
        if at < 0 or address >= self._mappings[at].end:
            return None, _UNKNOWN_ADDRESS
        mapping = self._mappings[at]
        if mapping.path == _VDSO:
            return None, _VDSO_ADDRESS
        binary, bias = self._binary(mapping)
        if binary is None or bias is None:
            return None, _UNKNOWN_ADDRESS
        return binary, address - bias

    def _binary(self, mapping: procfs.Mapping) -> tuple[Binary | None, int | None]:
        binary = self._processes.mapped_binary(self._entry, mapping)
        if binary is None:
            return None, None
        return binary, self._processes.bias(self._entry, binary, mapping.inode)
