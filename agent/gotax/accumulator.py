"""The samples of one window, added up drain by drain.

Knows what a sample counts for: its process, its stack and its category.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from gotax.attribution import LOST, Owners
from gotax.category import CATEGORY_COUNT, Category
from gotax.process import Process
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Int64Array, Profile, Stack, UInt64Array
from gotax.sampling.sampler import Counter as KernelCounter
from gotax.sampling.sampler import Drain
from gotax.symbols.known_stacks import key_of
from gotax.symbols.symbolizer import Symbolized
from gotax.window import OUTSIDE_NAMESPACE, Unjudged, go_processes

_BLOCKS_MAX = 512
_WIDTH = 3
_PARTS_MAX, _WAITING_MAX = 16, 1 << 16
_BY_STACK = -1
_LOST_IN_KERNEL = {
    KernelCounter.STACK_COUNTS_FULL: "stack-counts-full",
    KernelCounter.OUTSIDE: OUTSIDE_NAMESPACE,
}


@dataclass(slots=True)
class _Blocks:
    """Samples by index of the process, in blocks of equally many drains."""

    samples: list[Counter[int]] = field(default_factory=list)
    stride: int = 1
    filled: int = 0  # drains in the last block

    def next_drain(self, is_early: bool) -> Counter[int]:
        """Where the samples of a new drain are counted: those of an early one with the next."""
        if not self.samples or self.filled == self.stride:
            if len(self.samples) == _BLOCKS_MAX:
                self.samples = [
                    a + b for a, b in zip(self.samples[::2], self.samples[1::2], strict=True)
                ]
                self.stride *= 2
            self.samples.append(Counter())
            self.filled = 0
        self.filled += not is_early
        return self.samples[-1]


@dataclass(frozen=True, slots=True)
class Member:
    """A Go process of a container. ``tracked`` is its present state, also after an exec."""

    process: Process
    samples: int
    tracked: TrackedProcess


@dataclass(frozen=True, slots=True)
class Members:
    """The Go processes of a container: most samples first, and their indices in the profile."""

    ranked: tuple[Member, ...]
    indices: tuple[int, ...]


class _Columns:
    """Stack counts of several drains, added up: rows of ``_WIDTH`` numbers, and their samples.

    Rows are in the order in which they first came.
    """

    def __init__(self) -> None:
        self._keys: list[Int64Array] = []
        self._samples: list[Int64Array] = []
        self._waiting = 0  # rows that are not added up yet

    def add(self, keys: Int64Array, samples: Int64Array) -> None:
        """``keys``: one row per column."""
        self._keys.append(keys)
        self._samples.append(samples)
        self._waiting += len(samples)
        if len(self._keys) > _PARTS_MAX and self._waiting > _WAITING_MAX:
            self.take()

    def take(self) -> tuple[Int64Array, Int64Array]:
        """All of them, each row once."""
        if not self._keys:
            return np.empty((_WIDTH, 0), np.int64), np.empty(0, np.int64)
        keys, samples = np.concatenate(self._keys, axis=1), np.concatenate(self._samples)
        if len(self._keys) > 1:
            keys, samples = _added_up(keys, samples)
            self._keys, self._samples, self._waiting = [keys], [samples], 0
        return keys, samples


def _added_up(keys: Int64Array, samples: Int64Array) -> tuple[Int64Array, Int64Array]:
    process, stack, category = keys
    stacks = int(stack.max(initial=0)) + 1
    _, first, of_row = np.unique(
        (process * stacks + stack) * CATEGORY_COUNT + category,
        return_index=True,
        return_inverse=True,
    )
    sums = np.bincount(of_row, samples, len(first)).astype(np.int64)
    order = np.argsort(first)
    return keys[:, first[order]], sums[order]


@dataclass(slots=True)
class Accumulator:
    """``add`` every drain; then the other methods answer for all of them."""

    tracked: list[TrackedProcess] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    drained: int = 0
    cpus: int = 0
    drain_s: float = 0.0
    work_s: float = 0.0
    _columns: _Columns = field(default_factory=_Columns)
    """By index of the process, index of the stack, category."""
    _index_of: dict[int, int] = field(default_factory=dict)  # by serial
    _stacks: list[Stack] = field(default_factory=list)
    _index_of_stack: dict[int, int] = field(default_factory=dict)
    _blocks: _Blocks = field(default_factory=_Blocks)

    def add(
        self,
        drain: Drain,
        owners: Owners,
        user_stacks: npt.NDArray[np.object_],
        kernel_stack: Callable[[int, UInt64Array], Stack] | None,
        is_early: bool,
    ) -> int:
        """How many samples have a stack that was cut off. ``kernel_stack`` None: without them."""
        rows = np.flatnonzero(owners.number != LOST)
        samples, number = drain.samples[rows], owners.number[rows]
        kernel_hashes = drain.stack_counts["kernel_stack"][rows]
        users, of_row = _distinct(user_stacks[rows].tolist())
        index = self._indices(owners.tracked, number)[number]
        category = np.where(
            kernel_hashes != 0,
            np.array([int(user.in_kernel) for user in users], np.int64)[of_row],
            np.array([int(user.in_user) for user in users], np.int64)[of_row],
        )
        fixed = np.array([_category_of(owner) for owner in owners.tracked], np.int64)[number]
        category = np.where(fixed == _BY_STACK, category, fixed)
        has_user = np.array([bool(user.stack) for user in users], bool)[of_row]
        serials = np.array([owner.serial for owner in owners.tracked], np.int64)[number]
        serials[~has_user] = 0  # all samples without a stack share one
        keys = key_of(serials, drain.stack_counts["user_stack"][rows])
        kernel_indices = np.full(len(rows), -1, np.int64)
        if kernel_stack is not None:
            kernel_indices = drain.kernel_stacks.find(kernel_hashes)
        named = kernel_indices >= 0
        keys[named] = key_of(keys[named].view(np.int64), kernel_hashes[named])
        keys[~(has_user | named)] = 0
        distinct, first, of_key = np.unique(keys, return_index=True, return_inverse=True)
        numbers = np.empty(len(distinct), np.int64)
        for place in np.argsort(first).tolist():
            key, row = int(distinct[place]), int(first[place])
            known = self._index_of_stack.get(key)
            if known is None:
                known = self._index_of_stack[key] = len(self._stacks)
                stack: Stack = users[of_row[row]].stack
                if named[row] and kernel_stack is not None:
                    addresses = drain.kernel_stacks.addresses(int(kernel_indices[row]))
                    stack = kernel_stack(int(kernel_hashes[row]), addresses) + stack
                self._stacks.append(stack)
            numbers[place] = known
        self._columns.add(*_added_up(np.array((index, numbers[of_key], category)), samples))
        self._count(drain, owners.tracked, number, samples, is_early)
        return int(samples[np.array([user.truncated for user in users], bool)[of_row]].sum())

    def _count(
        self,
        drain: Drain,
        tracked: list[TrackedProcess],
        number: Int64Array,
        samples: Int64Array,
        is_early: bool,
    ) -> None:
        """``number``: of the owner in ``tracked``, by row, as are its ``samples``."""
        of_process = self._blocks.next_drain(is_early)
        own = np.bincount(number, samples, len(tracked)).astype(np.int64).tolist()
        for owner, count in zip(tracked, own, strict=True):
            of_process[self._index_of[owner.serial]] += count
            if not owner.alive:
                owner.cpu.add_late(count)
        self.cpus = drain.cpus
        self.drained += int(drain.samples.sum())
        for counter, reason in _LOST_IN_KERNEL.items():
            if lost := drain.counters.get(counter, 0):
                self.lost[reason] += lost
                self.drained += lost

    def _indices(self, tracked: list[TrackedProcess], number: Int64Array) -> Int64Array:
        """The index of each, by its number; those that are new in the order of their rows."""
        numbers, first = np.unique(number, return_index=True)
        found = np.zeros(len(tracked), np.int64)
        for each in numbers[np.argsort(first)].tolist():
            owner = tracked[each]
            index = found[each] = self._index_of.setdefault(owner.serial, len(self.tracked))
            if index == len(self.tracked):
                self.tracked.append(owner)
        return found

    def profile(self) -> Profile:
        keys, samples = self._columns.take()
        return Profile(
            process=keys[0].astype(np.int32),
            stack=keys[1].astype(np.int32),
            category=keys[2].astype(np.uint8),
            samples=samples,
            stacks=tuple(self._stacks),
        )

    def _samples_of_processes(self) -> list[int]:
        keys, samples = self._columns.take()
        own: list[int] = np.bincount(keys[0], samples, len(self.tracked)).astype(np.int64).tolist()
        return own

    def containers(self, alive: Iterable[TrackedProcess]) -> list[Members]:
        """The containers with a Go process that had a sample, or is one of those ``alive``."""
        own = self._samples_of_processes()
        sampled = [tracked for tracked in self.tracked if tracked.is_go]
        latest = {(e.process.pid, e.process.start_ticks): e for e in (*sampled, *alive)}
        processes = [tracked.process for tracked in self.tracked]
        indices = go_processes(processes)
        members: dict[str, list[Member]] = {}
        seen = set()
        for key, of_container in indices.items():
            members[key] = []
            for index in of_container:
                process = processes[index]
                seen.add(identity := (process.pid, process.start_ticks))
                members[key].append(Member(process, own[index], latest[identity]))
        for identity, tracked in latest.items():
            if identity not in seen:
                idle = Member(tracked.process, 0, tracked)
                members.setdefault(tracked.process.container.key, []).append(idle)
        for ranked in members.values():
            ranked.sort(key=lambda member: (-member.samples, member.process.pid))
        return [Members(tuple(r), tuple(indices.get(key, ()))) for key, r in members.items()]

    def drain_samples(self, indices: Sequence[int]) -> tuple[int, ...]:
        """Of these processes, without the last block, which may be shorter."""
        return tuple(sum(block[i] for i in indices) for block in self._blocks.samples[:-1])

    def unjudged(self, processes: Counter[str]) -> tuple[Unjudged, ...]:
        """``processes``: how many there are, by why it is unknown whether they are Go."""
        samples = Counter[str]()
        for tracked, own in zip(self.tracked, self._samples_of_processes(), strict=True):
            samples[tracked.problem] += own
        del samples[""]
        reasons = processes.keys() | samples.keys()
        found = (Unjudged(reason, processes[reason], samples[reason]) for reason in reasons)
        return tuple(sorted(found, key=lambda each: (-each.processes, each.reason)))


def _distinct(users: list[Symbolized]) -> tuple[list[Symbolized], Int64Array]:
    """Each object once, and the place of each of ``users`` among them."""
    _, first, of_row = np.unique(
        np.fromiter(map(id, users), np.int64, len(users)), return_index=True, return_inverse=True
    )
    return [users[row] for row in first.tolist()], of_row.astype(np.int64)


def _category_of(owner: TrackedProcess) -> int:
    """The category of all samples of a process, or ``_BY_STACK``: those of Go processes are
    classified already."""
    if owner.problem or owner.is_blind:
        return Category.UNKNOWN
    return _BY_STACK if owner.is_go else Category.NATIVE
