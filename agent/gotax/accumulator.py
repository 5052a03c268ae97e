"""The samples of one window, added up drain by drain.

Knows what a sample counts for: its process, its stack and its category.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gotax.process import Process
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Category, Profile, Stack, UInt64Array
from gotax.sampling.sampler import Counter as KernelCounter
from gotax.sampling.sampler import Drain
from gotax.symbols.symbolizer import Symbolized
from gotax.window import OUTSIDE_NAMESPACE, Unjudged, go_processes

_BLOCKS_MAX = 512
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


@dataclass(slots=True)
class Accumulator:
    """``add`` every drain; then the other methods answer for all of them."""

    samples: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    """By (index of the process, index of the stack, category)."""
    tracked: list[TrackedProcess] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    drained: int = 0
    cpus: int = 0
    drain_s: float = 0.0
    work_s: float = 0.0
    _index_of: dict[int, int] = field(default_factory=dict)  # by serial
    _stacks: list[Stack] = field(default_factory=list)
    _index_of_stack: dict[tuple[int, int, int], int] = field(default_factory=dict)
    _blocks: _Blocks = field(default_factory=_Blocks)

    def add(
        self,
        drain: Drain,
        owners: Sequence[TrackedProcess | None],
        user_stacks: Sequence[Symbolized],
        kernel_stack: Callable[[int, UInt64Array], Stack] | None,
        is_early: bool,
    ) -> int:
        """How many samples have a stack that was cut off. ``kernel_stack`` None: without them."""
        truncated = 0
        kernel_hashes = drain.stack_counts["kernel_stack"]
        kernel_indices = drain.kernel_stacks.find(kernel_hashes).tolist()
        of_process = self._blocks.next_drain(is_early)
        for owner, user, user_hash, kernel_hash, kernel_index, samples in zip(
            owners,
            user_stacks,
            drain.stack_counts["user_stack"].tolist(),
            kernel_hashes.tolist(),
            kernel_indices,
            drain.samples.tolist(),
            strict=True,
        ):
            if owner is None:
                continue
            named = kernel_index >= 0 and kernel_stack is not None
            serial = owner.serial if user.stack else 0  # all samples without a stack share one
            key = (serial, user_hash, kernel_hash if named else 0) if serial or named else (0, 0, 0)
            number = self._index_of_stack.get(key)
            if number is None:
                number = self._index_of_stack[key] = len(self._stacks)
                stack = user.stack
                if named and kernel_stack is not None:
                    addresses = drain.kernel_stacks.addresses(kernel_index)
                    stack = kernel_stack(kernel_hash, addresses) + stack
                self._stacks.append(stack)
            index = self._index(owner)
            self.samples[index, number, int(_classify(owner, user, kernel_hash))] += samples
            of_process[index] += samples
            if user.truncated:
                truncated += samples
            if not owner.alive:
                owner.cpu.add_late(samples)
        self.cpus = drain.cpus
        self.drained += int(drain.samples.sum())
        for counter, reason in _LOST_IN_KERNEL.items():
            if samples := drain.counters.get(counter, 0):
                self.lost[reason] += samples
                self.drained += samples
        return truncated

    def _index(self, tracked: TrackedProcess) -> int:
        index = self._index_of.setdefault(tracked.serial, len(self.tracked))
        if index == len(self.tracked):
            self.tracked.append(tracked)
        return index

    def profile(self) -> Profile:
        keys = np.array(list(self.samples), np.int64).reshape(-1, 3)
        return Profile(
            process=keys[:, 0].astype(np.int32),
            stack=keys[:, 1].astype(np.int32),
            category=keys[:, 2].astype(np.uint8),
            samples=np.array(list(self.samples.values()), np.int64),
            stacks=tuple(self._stacks),
        )

    def containers(self, alive: Iterable[TrackedProcess]) -> list[Members]:
        """The containers with a Go process that had a sample, or is one of those ``alive``."""
        own = Counter[int]()
        for (index, _, _), samples in self.samples.items():
            own[index] += samples
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
        for (index, _, _), number in self.samples.items():
            samples[self.tracked[index].problem] += number
        del samples[""]
        reasons = processes.keys() | samples.keys()
        found = (Unjudged(reason, processes[reason], samples[reason]) for reason in reasons)
        return tuple(sorted(found, key=lambda each: (-each.processes, each.reason)))


def _classify(owner: TrackedProcess, user: Symbolized, kernel_hash: int) -> Category:
    """The category of a sample. The stacks of Go processes are classified already."""
    if owner.problem or owner.is_blind:
        return Category.UNKNOWN
    if not owner.is_go:
        return Category.NATIVE
    return user.in_kernel if kernel_hash else user.in_user
