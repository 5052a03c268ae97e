"""Symbolize and classify: from addresses to a Stack and its Category, each only once.

Stacks not seen before are handled together, in columns: first the leaves are mended, then what is
not known of a binary is looked up in one batch, then the stacks are put together and classified.

Of a binary gotax remembers *ranges* of addresses. Without line numbers, which the daemon does not
need, a range is a function's code between two changes of its inlined calls; so after a minute
nearly every new stack consists of known ranges, and no file is opened for it.

Who does not need names either, as the daemon that only has its metrics scraped, gets categories
without stacks. Then a binary that goes on showing new functions is read once as a whole, some of it
in each drain, as a map of classes (``golang/classmap.py``).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gotax.binaries import Binary
from gotax.generations import Generations
from gotax.golang import categories, stacks
from gotax.golang.classmap import ClassMap, ClassMapReader
from gotax.linux.kallsyms import Kallsyms, read_kallsyms
from gotax.linux.procfs import UNLISTED, Mapping
from gotax.processes import Entry, ProcessTable
from gotax.profile import Category, Frame, FrameKind, Int64Array, Location, Stack, UInt64Array
from gotax.runs import Runs

_STACKS = 8192
_RANGES = 1 << 18  # 24 bytes each
_NAMED_RANGES = 1 << 16  # with a chain of frames, some 600 bytes
_CLASSES = 1 << 16
_WHOLE_AFTER = 3  # drains with something new: a process that ends soon is not worth it
_WHOLE_PAIRS = 1_000_000  # of tables, read for all class maps in one drain: half a second
_RANGES_PER_FUNCTION = 2  # of a class map, as large as that many ranges with a value
_UNUSED_DRAINS = 20
_KERNEL_LOCATIONS = 16384
_NAMES = 8192
_ROOTS = (categories.CUT_GOEXIT, categories.CUT_MSTART, categories.CUT_ENTRY)
_STRANGE = -2  # a mapping's number
_ENDS = (*_ROOTS, categories.CUT_MCALL, categories.CUT_MORESTACK)
_KERNELS_PAGES = ("[vdso]", "[uprobes]")  # code of the kernel's that runs for its caller


@dataclass(frozen=True, slots=True)
class NewStack:
    """A user stack that the process has not shown before, as the kernel walked it."""

    entry: Entry
    hash: int
    caller: int
    ips: UInt64Array


@dataclass(frozen=True, slots=True)
class Symbolized:
    """A user stack with its category when the CPU was in user mode, and when in the kernel.

    ``truncated``: its outer frames are missing, which its outermost frame says, too.
    """

    stack: Stack
    in_user: Category
    in_kernel: Category
    truncated: bool = False


@dataclass(frozen=True, slots=True, eq=False)  # by identity: there is one per range
class Place:
    """A location with the class codes of its frames, innermost first.

    Beyond a root there is nothing. A stack may also end where the thread's own stack begins
    (stacks.py), and is complete if it gets there.
    """

    location: Location
    codes: tuple[int, ...]
    is_root: bool = False
    is_end: bool = False


def _native_place(name: str, code: int) -> Place:
    return Place(Location(name, "", 0, (Frame(name, kind=FrameKind.NATIVE),)), (code,))


def _place_of(location: Location, codes: tuple[int, ...]) -> Place:
    is_end = any(code in _ENDS for code in codes)
    return Place(location, codes, is_end and any(code in _ROOTS for code in codes), is_end)


_TRUNCATED_PLACE = _native_place("[truncated]", categories.TRANSPARENT)
_KERNELS_PLACES = {name: _native_place(name, categories.TRANSPARENT) for name in _KERNELS_PAGES}
# Only a file that was read makes C code of an address. These are known for less.
_GENERATED = _native_place("[generated code]", categories.GENERATED)
_UNMAPPED = _native_place("[unmapped]", categories.UNPLACED)
_UNLISTED = _native_place(UNLISTED, categories.UNPLACED)
_UNREADABLE = _native_place("[unreadable module]", categories.UNPLACED)
_NOWHERE = (_UNMAPPED, _UNLISTED, _UNREADABLE)
_NAMELESS = Location("", "", 0, ())
_NOTHING = Symbolized((), Category.UNKNOWN, Category.UNKNOWN)


class Cache(Protocol):
    evictions: int

    def __len__(self) -> int: ...


class _Known:
    """What has been learnt of one binary, by address range: places, and code without a frame.

    With a ``whole`` map the ranges are only of code that is not Go's.
    """

    def __init__(self, binary: Binary) -> None:
        self.binary = binary
        self.places = Runs()
        self.frameless = Runs()
        self.whole: ClassMap | None = None
        self.classes = np.empty(0, object)  # the places of its chains
        self.drains = 0  # that had something new
        self.reader: ClassMapReader | None = None  # of the whole: once, even if it comes to nothing
        self.expected = 0  # ranges, while it is being read
        self.used = 0  # the last drain

    def __len__(self) -> int:
        whole = self.expected if self.whole is None else len(self.whole) // 4  # 6 bytes, not 24
        return len(self.places) + len(self.frameless) + whole

    def learn_whole(self, whole: ClassMap, places: list[Place]) -> None:
        self.places, self.frameless = Runs(), Runs()
        self.whole = whole
        self.classes = np.empty(len(places), object)
        self.classes[:] = places

    def unknown(self, addresses: UInt64Array) -> UInt64Array:
        """Those of the addresses that no place is known of."""
        if self.whole is not None:
            addresses = addresses[~self.whole.contains(addresses)]
        return addresses[self.places.find(addresses) < 0]

    def find(self, addresses: UInt64Array) -> npt.NDArray[np.object_]:
        """The place of each address."""
        places = np.full(len(addresses), _UNREADABLE, object)  # its tables, just now
        rest = np.arange(len(addresses))
        if self.whole is not None:
            inside = self.whole.contains(addresses)
            places[inside] = self.classes[self.whole.find(addresses[inside]) >> 1]
            rest = np.flatnonzero(~inside)
        found = self.places.find(addresses[rest])
        places[rest[found >= 0]] = self.places.values(found[found >= 0])
        return places

    def are_frameless(self, addresses: UInt64Array) -> npt.NDArray[np.bool_]:
        """Which of these addresses of Go code are known to have no frame."""
        if self.whole is not None:
            return self.whole.find(addresses) & 1 > 0
        return self.frameless.find(addresses) >= 0


class Binaries:
    """What is known of the binaries that were asked for last, ``most`` ranges in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[int, _Known] = {}  # by serial; the longest unused is the first
        self._drain = 0
        self.evictions = 0

    def __len__(self) -> int:
        return sum(len(known) for known in self._known.values())

    def of(self, binary: Binary) -> _Known:
        known = self._known.pop(binary.serial, None) or _Known(binary)
        known.used = self._drain
        self._known[binary.serial] = known
        return known

    def has_room(self, ranges: int) -> bool:
        """For so many more, without losing what is in use. Drops what is not, if that helps."""
        while ranges > self._most - len(self) and self._known:
            oldest = next(iter(self._known.values()))
            if self._drain - oldest.used < _UNUSED_DRAINS:
                return False
            self._drop()
        return ranges <= self._most

    def end_drain(self) -> None:
        self._drain += 1
        size = len(self)
        while size > self._most:
            size -= self._drop()

    def _drop(self) -> int:
        dropped = len(self._known.pop(next(iter(self._known))))
        self.evictions += dropped
        return dropped


class Symbolizer:
    """Knows at most 16384 stacks, 65536 address ranges (262144 without names) and 16384 function
    names at a time."""

    def __init__(self, processes: ProcessTable, with_lines: bool, with_names: bool = True) -> None:
        self._processes = processes
        self._with_lines = with_lines
        self._with_names = with_names
        self._classes: dict[tuple[int, ...], Place] = {}
        self._stacks: Generations[tuple[int, int], Symbolized] = Generations(_STACKS)
        self._composed: Generations[tuple[Place, ...], Symbolized] = Generations(_STACKS)
        self._binaries = Binaries(_NAMED_RANGES if with_names else _RANGES)
        self._codes: Generations[str, int] = Generations(_NAMES)
        self._kernel: Generations[int, Location] = Generations(_KERNEL_LOCATIONS)
        self._kernel_stacks: Generations[int, Stack] = Generations(_STACKS)
        self._kallsyms: Kallsyms | None = None

    def caches(self) -> dict[str, Cache]:
        return {
            "stacks": self._stacks,
            "distinct-stacks": self._composed,
            "ranges": self._binaries,
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
        groups = list(by_entry.values())
        spaces = [self._space(group) for group in groups]
        walks = [space.walks(group) for space, group in zip(spaces, groups, strict=True)]
        leaves = [_frameless(group, space) for space, group in zip(spaces, groups, strict=True)]
        self._look_up(walks, leaves)
        hidden = self._hidden_callers(itertools.chain.from_iterable(leaves))
        learnt = {}
        for group, walk, of_group in zip(groups, walks, leaves, strict=True):
            places = self._places(walk)
            callers = {leaf.stack: hidden[leaf] for leaf in of_group if leaf in hidden}
            end = 0
            for number, (stack, length) in enumerate(zip(group, walk.lengths, strict=True)):
                start, end = end, end + length
                of_stack = places[start:end]
                if number in callers:
                    of_stack.insert(1, callers[number])
                key = (stack.entry.serial, stack.hash)
                learnt[key] = self._compose(of_stack, in_go=stack.entry.is_go)
                self._stacks.put(key, learnt[key])
        self._binaries.end_drain()
        return learnt

    def _hidden_callers(self, leaves: Iterable[_Leaf]) -> dict[_Leaf, Place]:
        """The place of the call, for those leaves that turn out to have no frame."""
        found: dict[_Leaf, Place] = {}
        of_binary: dict[int, list[_Leaf]] = {}
        for leaf in leaves:
            of_binary.setdefault(leaf.binary.serial, []).append(leaf)
        for candidates in of_binary.values():
            known = self._binaries.of(candidates[0].binary)
            frameless = known.are_frameless(
                np.array([leaf.address for leaf in candidates], np.uint64)
            )
            places = known.find(np.array([leaf.caller for leaf in candidates], np.uint64))
            for leaf, is_frameless, place in zip(candidates, frameless, places, strict=True):
                if is_frameless:
                    found[leaf] = place
        return found

    def _space(self, group: list[NewStack]) -> _Space:
        """The address space of the group's process, read again if it has mapped more since."""
        entry = group[0].entry
        space = _Space(self._processes, entry)
        if space.covers(np.concatenate([stack.ips for stack in group])):
            return space
        return _Space(self._processes, entry, anew=True)

    def _look_up(self, walks: list[_Walks], leaves: list[list[_Leaf]]) -> None:
        """Symbolize every address that is in no known range, in a batch per binary."""
        wanted: dict[int, tuple[Binary, list[UInt64Array]]] = {}

        def ask(binary: Binary, addresses: UInt64Array) -> None:
            unknown = self._binaries.of(binary).unknown(addresses)
            if len(unknown):
                wanted.setdefault(binary.serial, (binary, []))[1].append(unknown)

        for walk in walks:
            for number, binary in walk.binaries():
                ask(binary, walk.addresses[walk.mapping == number])
        for leaf in itertools.chain.from_iterable(leaves):
            ask(leaf.binary, np.array([leaf.caller], np.uint64))
        read_whole = 0
        for binary, parts in wanted.values():
            addresses = np.concatenate(parts)
            if not self._with_names:
                read_whole += self._learn_whole(binary, _WHOLE_PAIRS - read_whole)
                addresses = self._binaries.of(binary).unknown(addresses)
            if len(addresses):
                self._learn_ranges(binary, np.unique(addresses))
            binary.release()  # of fifty binaries at once, what was read is not kept fifty times

    def _learn_whole(self, binary: Binary, room: int) -> int:
        """Go on reading a binary's class map if that pays by now; returns how much that took."""
        known, table = self._binaries.of(binary), binary.pclntab
        known.drains += 1
        if known.drains < _WHOLE_AFTER or room <= 0 or table is None:
            return 0
        if known.reader is None:
            expected = table.function_count * _RANGES_PER_FUNCTION
            if not self._binaries.has_room(expected):
                return 0
            known.expected = expected
            known.reader = ClassMapReader(table, categories.function_code)
        elif known.reader.is_done:
            return 0
        read = binary.read_classes(known.reader, room)
        if known.reader.is_done:
            known.expected = 0
            whole = known.reader.take()
            if whole is not None:
                known.learn_whole(whole, [self._class_place(codes) for codes in whole.chains])
        return read

    def _learn_ranges(self, binary: Binary, addresses: UInt64Array) -> None:
        calls, sizes = binary.calls(addresses, self._with_lines)
        places: dict[int, Place] = {}  # by identity of the chain: one for all of its ranges
        for start, chain in zip(calls.starts.tolist(), calls.chains, strict=True):
            if id(chain) not in places:
                location = Location(binary.module, binary.build_id, start, chain)
                places[id(chain)] = self._place(binary, location)
        known = self._binaries.of(binary)
        known.places.add(calls.starts, calls.ends, [places[id(chain)] for chain in calls.chains])
        frameless = np.flatnonzero(sizes.values == 0)
        known.frameless.add(sizes.starts[frameless], sizes.ends[frameless], [0] * len(frameless))

    def _place(self, binary: Binary, location: Location) -> Place:
        codes = tuple([self._code(frame) for frame in location.frames])
        if categories.NATIVE in codes and binary.may_be_go(location.address):
            codes = (categories.UNPLACED,)
        if self._with_names:
            return _place_of(location, codes)
        return self._class_place(tuple([code for code, _ in itertools.groupby(codes)]))

    def _class_place(self, codes: tuple[int, ...]) -> Place:
        """Without names all places of a class are the same, and so are most stacks."""
        place = self._classes.get(codes)
        if place is None:
            if len(self._classes) >= _CLASSES:
                self._classes.clear()
            place = self._classes[codes] = _place_of(_NAMELESS, codes)
        return place

    def _code(self, frame: Frame) -> int:
        if frame.kind is FrameKind.NATIVE:
            return categories.NATIVE
        code = self._codes.get(frame.function)
        if code is None:
            code = categories.function_code(frame.function)
            self._codes.put(frame.function, code)
        return code

    def _places(self, walk: _Walks) -> list[Place]:
        """The place of every address."""
        places = walk.without_file[walk.mapping]
        for number, binary in walk.binaries():
            rows = np.flatnonzero(walk.mapping == number)
            places[rows] = self._binaries.of(binary).find(walk.addresses[rows])
        listed: list[Place] = places.tolist()
        return listed

    def _compose(self, places: list[Place], in_go: bool) -> Symbolized:
        """The stack of these places, leaf first.

        A walk in a Go process that did not get to an end broke off: in C code, or because it was
        full.
        """
        if not places:
            return _NOTHING
        end = next((i for i, place in enumerate(places) if place.is_end), None)
        if end is None:
            key = (*places, _TRUNCATED_PLACE) if in_go else tuple(places)
        else:
            key = (*places[: end + 1], *_beyond(places[end:]))
        known = self._composed.get(key)
        if known is None:
            codes = [code for place in key for code in place.codes]
            native_leaf = codes[0] == categories.NATIVE
            known = Symbolized(
                tuple([place.location for place in key]) if self._with_names else (),
                categories.classify(codes, in_kernel=False, native_leaf=native_leaf),
                categories.classify(codes, in_kernel=True, native_leaf=native_leaf),
                truncated=in_go and end is None,
            )
            self._composed.put(key, known)
        return known

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


def _beyond(places: list[Place]) -> Iterator[Place]:
    """What a stack still has behind its end, which is the first of these: the parked goroutine.

    Nothing behind a root, and nothing behind the first address that is nowhere: leftovers.
    """
    for place, following in itertools.pairwise(places):
        if place.is_root or following in _NOWHERE:
            return
        yield following


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A leaf that may have lost its caller: of stack number ``stack`` of a group.

    ``caller`` is the address of the call if it has. Both are in ``binary``.
    """

    stack: int
    binary: Binary
    address: int
    caller: int


@dataclass(frozen=True, slots=True)
class _Walks:
    """The stacks of one process, one after the other, leaves first; ``lengths`` are theirs.

    ``addresses`` are link-time addresses, ``mapping`` says of what: a number in ``images``, or
    ``_STRANGE``, or -1. ``without_file`` has a place for each of these numbers that has no image.
    """

    lengths: list[int]
    addresses: UInt64Array
    mapping: Int64Array
    images: list[Binary | None]
    without_file: npt.NDArray[np.object_]

    def binaries(self) -> list[tuple[int, Binary]]:
        """The images that the addresses are in, with their numbers."""
        numbers = set(self.mapping.tolist())
        found = [(number, self.images[number]) for number in numbers if number >= 0]
        return [(number, binary) for number, binary in found if binary is not None]


def _kernel_location(address: int, name: str) -> Location:
    frame = Frame(name or f"{address:#x}", kind=FrameKind.KERNEL)
    return Location("[kernel]", "", address, (frame,))


def _frameless(group: list[NewStack], space: _Space) -> list[_Leaf]:
    """The leaves whose caller word lies in the Go text of their own binary, and is not known yet.

    If such a leaf has no frame, that word is its caller (stacks.lost_caller).
    """
    numbers = [
        number for number, stack in enumerate(group) if stacks.lost_caller(stack.ips, stack.caller)
    ]
    if not numbers:
        return []
    words = [int(group[n].ips[0]) for n in numbers] + [group[n].caller for n in numbers]
    located = space.locate(np.array(words, np.uint64))
    # The word of a signal handler's first instruction is the kernel's, and no call's.
    signals = set(space.sigreturns.tolist())
    candidates = []
    for number, leaf, caller in zip(
        numbers, located[: len(numbers)], located[len(numbers) :], strict=True
    ):
        binary, address = leaf
        if binary is not None and caller[0] is binary and binary.in_go_text(caller[1]):
            called = group[number].caller not in signals
            candidates.append(_Leaf(number, binary, address, caller[1] - called))
    return candidates


def _place_without_file(mapping: Mapping) -> Place:
    """Of a mapping that is no file's. Memory that a program made executable has code that it made
    itself (WebAssembly, regular expressions, JSON): C libraries do so, too."""
    if mapping.path == UNLISTED:
        return _UNLISTED
    return _KERNELS_PLACES.get(mapping.path, _GENERATED)


def _is_memory(mapping: Mapping) -> bool:
    """Memory that the kernel lists with an inode and a name that no file has: shared by a fork or
    by its key, or of huge pages (mm/shmem.c shmem_zero_setup, ipc/shm.c, mm/hugetlb.c)."""
    return mapping.deleted and mapping.path.startswith(("/dev/zero", "/SYSV", "/anon_hugepage"))


class _Space:
    """Which file is mapped where in one process."""

    def __init__(self, processes: ProcessTable, entry: Entry, anew: bool = False) -> None:
        self._processes = processes
        self._entry = entry
        self._mappings = mappings = processes.mappings(entry, anew)
        self._starts = np.array([m.start for m in mappings], np.uint64)
        self._ends = np.array([m.end for m in mappings], np.uint64)
        self._images: list[Binary | None] = [None] * len(mappings)
        self._biases = np.zeros(len(mappings) + 1, np.int64)  # the last is for mapping -1
        self._resolved = np.zeros(len(mappings), bool)
        self._without_file = np.full(len(mappings) + 2, _UNREADABLE, object)
        self._without_file[-1] = _UNMAPPED

    @property
    def sigreturns(self) -> UInt64Array:
        """Runtime addresses of the sigreturn of every Go runtime in the process."""
        found = []
        for binary, bias in self._processes.runtimes(self._entry):
            if binary.sigreturn and 0 <= binary.sigreturn + bias < 1 << 64:
                found.append(binary.sigreturn + bias)
        return np.array(found, np.uint64)

    def _mapping(self, addresses: UInt64Array) -> Int64Array:
        """The number of the mapping of each address, -1 for none."""
        if not len(self._starts):
            return np.full(len(addresses), -1, np.int64)
        at = self._starts.searchsorted(addresses, side="right").astype(np.int64) - 1
        at[addresses >= self._ends[at]] = -1  # at -1 this asks the last mapping, and stays -1
        return at

    def covers(self, addresses: UInt64Array) -> bool:
        """Whether every address that can be code is in a mapping."""
        outside = self._mapping(addresses) < 0
        return not stacks.plausible(addresses[outside]).any()

    def _translate(self, addresses: UInt64Array) -> tuple[Int64Array, UInt64Array]:
        """(mapping, link-time address) of each; (-1, 0) outside of all mappings, and
        (_STRANGE, 0) in one of a file that its own headers do not put there."""
        mapping = self._mapping(addresses)
        for number in set(mapping.tolist()):
            if number >= 0 and not self._resolved[number]:
                self._resolve(number)
        link_time = addresses.astype(np.int64) - self._biases[mapping]
        strange = (mapping >= 0) & (link_time < 0)  # below the file's first byte
        nowhere = strange | (mapping < 0)
        link_time = np.where(nowhere, 0, link_time)
        return np.where(strange, _STRANGE, mapping), link_time.astype(np.uint64)

    def _resolve(self, number: int) -> None:
        self._resolved[number] = True
        mapping = self._mappings[number]
        if not mapping.inode:
            self._without_file[number] = _place_without_file(mapping)
            return
        binary = self._processes.mapped_binary(self._entry, mapping)
        if binary.problem == "elf-magic" if binary else _is_memory(mapping):
            self._without_file[number] = _GENERATED
        bias = binary.bias(mapping) if binary else None
        if bias is not None and abs(bias) < 1 << 62:
            self._images[number] = binary
            self._biases[number] = bias

    def locate(self, addresses: UInt64Array) -> list[tuple[Binary | None, int]]:
        """(binary, link-time address) of each; no binary where there is no file."""
        mapping, link_time = self._translate(addresses)
        return [
            (self._images[number] if number >= 0 else None, address)
            for number, address in zip(mapping.tolist(), link_time.tolist(), strict=True)
        ]

    def walks(self, group: list[NewStack]) -> _Walks:
        """Stacks as addresses of calls, without what cannot be code."""
        stacks_ips = [stack.ips for stack in group]
        lengths = np.array([len(ips) for ips in stacks_ips])
        leaves = np.cumsum(lengths) - lengths
        calls = stacks.return_addresses_to_calls(
            np.concatenate(stacks_ips), self.sigreturns, leaves
        )
        good = stacks.plausible(calls)
        mapping, addresses = self._translate(calls[good])
        kept = np.add.reduceat(good, leaves, dtype=np.int64)
        return _Walks(kept.tolist(), addresses, mapping, self._images, self._without_file)
