"""Symbolize and classify: from addresses to a Stack and its Category, each only once.

Stacks not seen before are handled together, in columns: first the leaves get their callers, then
unknown addresses of a binary are looked up in one batch, then the stacks are put together and
classified.

Of a binary gotax remembers *ranges* of addresses (``ranges.py``).

Without names (a daemon whose metrics alone are scraped) there are categories and no stacks. Then a
binary that goes on showing new functions is read once as a whole, some of it in each drain, as a
map of classes (``golang/classmap.py``): when as much has been spent on questions about it.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gotax.errors import ReadError
from gotax.golang import categories
from gotax.lru import LruCache
from gotax.processes.binaries import Binary
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Category, Frame, FrameKind, Location, Stack, UInt64Array
from gotax.reader.asking import NOT_NOW
from gotax.symbols.classified import TRUNCATED, ClassifiedLocation, beyond, classified_location
from gotax.symbols.kernel import KernelStacks
from gotax.symbols.ranges import KnownBinaries
from gotax.symbols.walks import Leaf, NewStack, Walker, Walks

_STACKS = 8192
_RANGES = 1 << 18  # 24 bytes each
_NAMED_RANGES = 1 << 16  # with a chain of frames, some 600 bytes
_CLASSES = 1 << 16
_QUESTION, _ADDRESS = 150, 2
"""What a question and each of its addresses cost, as so many functions of a class map (10 us)."""
_WHOLE_PAIRS = 1_000_000  # of tables, read for all class maps in one drain: half a second
_RANGES_PER_FUNCTION = 2  # of a class map, as large as that many ranges with a value
_NAMES = 8192
_ASKED_AT_ONCE = 4096  # addresses; and of a class map, pairs: a tenth of a second
_PAIRS_AT_ONCE = 200_000


@dataclass(frozen=True, slots=True)
class Symbolized:
    """A user stack with its category when the CPU was in user mode, and when in the kernel.

    ``truncated``: its outer frames are missing, which its outermost frame says, too.
    """

    stack: Stack
    in_user: Category
    in_kernel: Category
    truncated: bool = False


_NAMELESS = Location("", "", 0, ())
_NOTHING = Symbolized((), Category.UNKNOWN, Category.UNKNOWN)


class Cache(Protocol):
    evictions: int

    def __len__(self) -> int: ...


class Symbolizer:
    """Knows at most 16384 stacks, 65536 address ranges (262144 without names) and 16384 function
    names at a time."""

    def __init__(
        self,
        proc_root: str,
        with_lines: bool,
        with_names: bool = True,
        errors: Counter[str] | None = None,
    ) -> None:
        """``errors`` counts what could not be read, by reason."""
        self._errors: Counter[str] = Counter() if errors is None else errors
        self._late: set[int] = set()  # binaries that there was no time for in this drain
        self._with_lines = with_lines
        self._with_names = with_names
        self._classes: dict[tuple[int, ...], ClassifiedLocation] = {}
        self._stacks: LruCache[tuple[int, int], Symbolized] = LruCache(_STACKS)
        self._composed: LruCache[tuple[ClassifiedLocation, ...], Symbolized] = LruCache(_STACKS)
        self._binaries = KnownBinaries(_NAMED_RANGES if with_names else _RANGES)
        self._codes: LruCache[str, int] = LruCache(_NAMES)
        self._kernel = KernelStacks(proc_root)

    def caches(self) -> dict[str, Cache]:
        return {
            "stacks": self._stacks,
            "distinct-stacks": self._composed,
            "ranges": self._binaries,
            "functions": self._codes,
            "kernel-locations": self._kernel.locations,
            "kernel-stacks": self._kernel.stacks,
        }

    def known(self, tracked: TrackedProcess, stack_hash: int) -> Symbolized | None:
        return self._stacks.get((tracked.serial, stack_hash))

    def learn(self, new: Sequence[NewStack]) -> dict[tuple[int, int], Symbolized]:
        """Symbolize these stacks; by (serial of the process, hash)."""
        by_process: dict[int, list[NewStack]] = {}
        for stack in new:
            by_process.setdefault(stack.tracked.serial, []).append(stack)
        groups = list(by_process.values())
        for group in groups:
            group[0].tracked.space.is_late = False
        walkers = [_walker(group) for group in groups]
        walks = [walker.walks(group) for walker, group in zip(walkers, groups, strict=True)]
        leaves = [walker.frameless(group) for walker, group in zip(walkers, groups, strict=True)]
        self._look_up(walks, leaves)
        hidden = self._hidden_callers(itertools.chain.from_iterable(leaves))
        learnt = {}
        for group, walk, of_group in zip(groups, walks, leaves, strict=True):
            is_late = (
                group[0].tracked.space.is_late
                or group[0].tracked.program.is_pending
                or any(binary.serial in self._late for _, binary in walk.binaries())
            )
            locations = self._locations(walk)
            callers = {leaf.stack: hidden[leaf] for leaf in of_group if leaf in hidden}
            end = 0
            for number, (stack, length) in enumerate(zip(group, walk.lengths, strict=True)):
                start, end = end, end + length
                of_stack = locations[start:end]
                if number in callers:
                    of_stack.insert(1, callers[number])
                key = (stack.tracked.serial, stack.hash)
                learnt[key] = self._compose(of_stack, in_go=stack.tracked.is_go)
                if not is_late:
                    self._stacks.put(key, learnt[key])
        self._binaries.end_drain()
        return learnt

    def _hidden_callers(self, leaves: Iterable[Leaf]) -> dict[Leaf, ClassifiedLocation]:
        """The location of the call, for those leaves that turn out to have no frame."""
        found: dict[Leaf, ClassifiedLocation] = {}
        of_binary: dict[int, list[Leaf]] = {}
        for leaf in leaves:
            of_binary.setdefault(leaf.binary.serial, []).append(leaf)
        for candidates in of_binary.values():
            known = self._binaries.of(candidates[0].binary)
            frameless = known.are_frameless(
                np.array([leaf.address for leaf in candidates], np.uint64)
            )
            locations = known.find(np.array([leaf.caller for leaf in candidates], np.uint64))
            for leaf, is_frameless, classified in zip(
                candidates, frameless, locations, strict=True
            ):
                if is_frameless:
                    found[leaf] = classified
        return found

    def _look_up(self, walks: list[Walks], leaves: list[list[Leaf]]) -> None:
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
        self._late.clear()
        read_whole = 0
        for binary, parts in wanted.values():
            addresses = np.unique(np.concatenate(parts))
            if not self._with_names:
                room = _WHOLE_PAIRS - read_whole
                read_whole += self._learn_whole(binary, len(addresses), room)
                addresses = self._binaries.of(binary).unknown(addresses)
            for low in range(0, len(addresses), _ASKED_AT_ONCE):
                self._learn_ranges(binary, addresses[low : low + _ASKED_AT_ONCE])

    def _learn_whole(self, binary: Binary, unknown: int, room: int) -> int:
        """Go on reading a binary's class map once that pays; returns how much it read.

        ``unknown``: addresses to be asked about otherwise.
        """
        known, table = self._binaries.of(binary), binary.table
        known.spent += _QUESTION + _ADDRESS * unknown
        if room <= 0 or table is None or known.spent < table.function_count or known.is_read:
            return 0
        if not known.expected:
            expected = table.function_count * _RANGES_PER_FUNCTION
            if not self._binaries.has_room(expected):
                return 0
            known.expected = expected
        read = 0
        while read < room and not known.is_read:
            pairs, known.is_read, whole = binary.read_classes(min(_PAIRS_AT_ONCE, room - read))
            read += pairs
            if whole is not None:
                known.learn_whole(whole, [self._class_location(codes) for codes in whole.chains])
        if known.is_read:
            known.expected = 0
        return read

    def _learn_ranges(self, binary: Binary, addresses: UInt64Array) -> None:
        try:
            calls, sizes = binary.calls(addresses, self._with_lines)
        except ReadError as error:
            self._errors[error.reason] += 1
            if error.reason in NOT_NOW:
                self._late.add(binary.serial)
            return
        # By identity of the chain: one for all of its ranges.
        locations: dict[int, ClassifiedLocation] = {}
        for start, chain in zip(calls.starts.tolist(), calls.chains, strict=True):
            if id(chain) not in locations:
                location = Location(binary.module, binary.build_id, start, chain)
                locations[id(chain)] = self._classified(binary, location)
        known = self._binaries.of(binary)
        known.locations.add(
            calls.starts, calls.ends, [locations[id(chain)] for chain in calls.chains]
        )
        frameless = np.flatnonzero(sizes.values == 0)
        known.frameless.add(sizes.starts[frameless], sizes.ends[frameless], [0] * len(frameless))

    def _classified(self, binary: Binary, location: Location) -> ClassifiedLocation:
        codes = tuple([self._code(frame) for frame in location.frames])
        if categories.NATIVE in codes and binary.may_be_go(location.address):
            codes = (categories.UNPLACED,)
        if self._with_names:
            return classified_location(location, codes)
        return self._class_location(tuple([code for code, _ in itertools.groupby(codes)]))

    def _class_location(self, codes: tuple[int, ...]) -> ClassifiedLocation:
        """Without names all locations of a class are the same, and so are most stacks."""
        classified = self._classes.get(codes)
        if classified is None:
            if len(self._classes) >= _CLASSES:
                self._classes.clear()
            classified = self._classes[codes] = classified_location(_NAMELESS, codes)
        return classified

    def _code(self, frame: Frame) -> int:
        if frame.kind is FrameKind.NATIVE:
            return categories.NATIVE
        code = self._codes.get(frame.function)
        if code is None:
            code = categories.function_code(frame.function)
            self._codes.put(frame.function, code)
        return code

    def _locations(self, walk: Walks) -> list[ClassifiedLocation]:
        """The location of every address."""
        locations = walk.without_file[walk.mapping]
        for number, binary in walk.binaries():
            rows = np.flatnonzero(walk.mapping == number)
            locations[rows] = self._binaries.of(binary).find(walk.addresses[rows])
        listed: list[ClassifiedLocation] = locations.tolist()
        return listed

    def _compose(self, locations: list[ClassifiedLocation], in_go: bool) -> Symbolized:
        """The stack of these locations, leaf first.

        A walk in a Go process that did not get to an end broke off: in C code, or because it was
        full.
        """
        if not locations:
            return _NOTHING
        end = next((i for i, classified in enumerate(locations) if classified.is_end), None)
        if end is None:
            key = (*locations, TRUNCATED) if in_go else tuple(locations)
        else:
            key = (*locations[: end + 1], *beyond(locations[end:]))
        known = self._composed.get(key)
        if known is None:
            codes = [code for classified in key for code in classified.codes]
            native_leaf = codes[0] == categories.NATIVE
            known = Symbolized(
                tuple([classified.location for classified in key]) if self._with_names else (),
                categories.classify(codes, in_kernel=False, native_leaf=native_leaf),
                categories.classify(codes, in_kernel=True, native_leaf=native_leaf),
                truncated=in_go and end is None,
            )
            self._composed.put(key, known)
        return known

    def kernel_stack(self, stack_hash: int, ips: UInt64Array) -> Stack:
        """The kernel's part of a stack, leaf first."""
        return self._kernel.stack(stack_hash, ips)


def _walker(group: list[NewStack]) -> Walker:
    """The memory of the group's process, read again if it has mapped more since."""
    walker = Walker(group[0].tracked)
    return walker if walker.covers(group) else Walker(group[0].tracked, again=True)
