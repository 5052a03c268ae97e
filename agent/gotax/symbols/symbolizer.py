"""Symbolize and classify: from addresses to a Stack and its Category, each only once.

Stacks not seen before are handled together, in columns: first the leaves get their callers, then
unknown addresses of a binary are looked up in one batch, then the stacks are put together and
classified.

Of a binary gotax remembers *ranges* of addresses (``ranges.py``).

Without names (a daemon whose metrics alone are scraped) there are categories and no stacks. Then a
binary that goes on showing new functions is read once as a whole, some of it in each drain, as a
map of classes (``golang/classmap.py``): when questions about it have cost a quarter as much, since
a program that shows new functions mostly goes on to do so.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gotax.category import Category
from gotax.errors import ReadError
from gotax.golang import categories
from gotax.lru import LruCache
from gotax.processes.binaries import Binary
from gotax.profile import Frame, FrameKind, Int64Array, Location, Stack, UInt64Array
from gotax.reader.asking import NOT_NOW
from gotax.symbols.batch import Batch
from gotax.symbols.classified import TRUNCATED, ClassifiedLocation, classified_location
from gotax.symbols.kernel import KernelStacks
from gotax.symbols.known_stacks import KnownStacks, key_of
from gotax.symbols.ranges import KnownBinaries
from gotax.symbols.sequences import cut
from gotax.symbols.walks import NewStacks, Walker, Walks

_STACKS = 8192
_RANGES = 1 << 18  # 24 bytes each
_NAMED_RANGES = 1 << 16  # with a chain of frames, some 600 bytes
_CLASSES = 1 << 16
_QUESTION, _ADDRESS = 500, 12
"""What a question and each of its addresses cost, as so many functions of a class map (3.5 us)."""
_EARLY = 4
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
        self._stacks = KnownStacks(_STACKS)
        self._composed: LruCache[int, Symbolized] = LruCache(_STACKS)
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

    def known(
        self, serials: Int64Array, hashes: UInt64Array
    ) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_]]:
        """The stacks of these hashes in the processes with these serials, and which are known."""
        return self._stacks.find(key_of(serials, hashes))

    def learn(self, groups: Sequence[NewStacks]) -> npt.NDArray[np.object_]:
        """Symbolize these stacks, one after the other. ``groups`` are of a process each."""
        for group in groups:
            group.tracked.space.is_late = False
        walks = [_walker(group).walks(group) for group in groups]
        batch = Batch(walks)
        self._look_up(batch)
        batch.insert(*self._hidden_callers(batch))
        sizes = np.array([len(group) for group in groups], np.int64)
        in_go = np.repeat(np.array([group.tracked.is_go for group in groups], bool), sizes)
        learnt = self._compose(batch, in_go)
        settled = ~np.repeat(
            np.array([self._is_late(*pair) for pair in zip(groups, walks, strict=True)], bool),
            sizes,
        )
        keys = np.concatenate([_keys(group) for group in groups])
        self._stacks.put(keys[settled], learnt[settled])
        self._binaries.end_drain()
        return learnt

    def _is_late(self, group: NewStacks, walks: Walks) -> bool:
        """There was no time for something that these stacks need."""
        tracked = group.tracked
        return (
            tracked.space.is_late
            or tracked.program.is_pending
            or (bool(self._late) and any(b.serial in self._late for b in walks.binaries()))
        )

    def _hidden_callers(self, batch: Batch) -> tuple[Int64Array, Int64Array, UInt64Array]:
        """The stacks whose leaf turns out to have no frame, and the binary and the address of the
        call that the walk has missed."""
        leaves = batch.leaves
        hidden = np.zeros(len(leaves.stack), bool)
        for number, rows in batch.rows_of(leaves.image):
            known = self._binaries.of(batch.binaries[number])
            hidden[rows] = known.are_frameless(leaves.address[rows])
        return leaves.stack[hidden], leaves.image[hidden], leaves.caller[hidden]

    def _look_up(self, batch: Batch) -> None:
        """Symbolize every address that is in no known range, in a batch per binary."""
        wanted: dict[int, list[UInt64Array]] = {}
        for images, addresses in (
            (batch.image, batch.address),
            (batch.leaves.image, batch.leaves.caller),
        ):
            for number, rows in batch.rows_of(images):
                unknown = self._binaries.of(batch.binaries[number]).unknown(addresses[rows])
                if len(unknown):
                    wanted.setdefault(number, []).append(unknown)
        self._late.clear()
        read_whole = 0
        for number, parts in wanted.items():
            binary, addresses = batch.binaries[number], np.unique(np.concatenate(parts))
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
        if room <= 0 or table is None or known.is_read:
            return 0
        if known.spent < table.function_count // _EARLY:
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
            self._binaries.of(binary).is_late = error.reason in NOT_NOW
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

    def _compose(self, batch: Batch, in_go: npt.NDArray[np.bool_]) -> npt.NDArray[np.object_]:
        """The stack of each walk; ``in_go``: of a Go process."""
        found = np.full(len(batch.lengths), _NOTHING, object)
        numbers, locations = batch.number(self._binaries.of)
        full = np.flatnonzero(batch.lengths)
        if not len(full):
            return found
        stacks = cut(
            numbers, batch.lengths[full], in_go[full], locations, each_once=not self._with_names
        )
        keys, first, of_stack = np.unique(stacks.keys, return_index=True, return_inverse=True)
        composed = np.empty(len(keys), object)
        for place, (key, stack) in enumerate(zip(keys.tolist(), first.tolist(), strict=True)):
            known = self._composed.get(key)
            if known is None:
                of_it = stacks.numbers[stacks.starts[stack] : stacks.ends[stack]].tolist()
                known = self._symbolized(
                    [locations[number] for number in of_it], bool(stacks.broke_off[stack])
                )
                self._composed.put(key, known)
            composed[place] = known
        found[full] = composed[of_stack]
        return found

    def _symbolized(self, locations: list[ClassifiedLocation], broke_off: bool) -> Symbolized:
        """The stack of these locations, leaf first."""
        if broke_off:
            locations.append(TRUNCATED)
        codes = [code for classified in locations for code in classified.codes]
        native_leaf = codes[0] == categories.NATIVE
        return Symbolized(
            tuple([classified.location for classified in locations]) if self._with_names else (),
            categories.classify(codes, in_kernel=False, native_leaf=native_leaf),
            categories.classify(codes, in_kernel=True, native_leaf=native_leaf),
            truncated=broke_off,
        )

    def kernel_stack(self, stack_hash: int, ips: UInt64Array) -> Stack:
        """The kernel's part of a stack, leaf first."""
        return self._kernel.stack(stack_hash, ips)


def _keys(group: NewStacks) -> UInt64Array:
    return key_of(np.full(len(group), group.tracked.serial), group.hashes)


def _walker(group: NewStacks) -> Walker:
    """The memory of the group's process, read again if it has mapped more since."""
    walker = Walker(group.tracked)
    return walker if walker.covers(group) else Walker(group.tracked, again=True)
