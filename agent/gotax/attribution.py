"""The process and the user stack of each stack count of a drain, in columns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.category import Category
from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Int64Array, UInt64Array
from gotax.sampling.sampler import Drain, Stacks
from gotax.symbols.symbolizer import Symbolized, Symbolizer
from gotax.symbols.walks import NewStacks

LOST = -1
_NATIVE = Symbolized((), Category.NATIVE, Category.NATIVE)
_UNKNOWN = Symbolized((), Category.UNKNOWN, Category.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Owners:
    """``number`` is the place in ``tracked`` of the owner of each stack count, or ``LOST``."""

    tracked: list[TrackedProcess]
    number: Int64Array

    def of_each(self, values: list[int] | list[bool]) -> npt.NDArray[np.int64]:
        """The value of the owner of each stack count; ``values`` are those of ``tracked``."""
        return np.array([*values, 0], np.int64)[self.number]

    def samples(self, drain: Drain) -> list[int]:
        """How many samples of the drain each one of ``tracked`` has."""
        is_owned = self.number != LOST
        found = np.bincount(self.number[is_owned], drain.samples[is_owned], len(self.tracked))
        samples: list[int] = found.astype(np.int64).tolist()
        return samples


def find_owners(drain: Drain, processes: Resolver, lost: Counter[str]) -> Owners:
    """The owner of every stack count; where there is none, its samples are added to ``lost``."""
    numbers: dict[int, int] = {}  # by serial
    tracked: list[TrackedProcess] = []

    def number_of(owner: TrackedProcess) -> int:
        number = numbers.setdefault(owner.serial, len(tracked))
        if number == len(tracked):
            tracked.append(owner)
        return number

    tgids, first, of_row = np.unique(
        drain.stack_counts["tgid"], return_index=True, return_inverse=True
    )
    of_tgid = np.full(len(tgids), LOST, np.int64)
    reasons: dict[int, str] = {}
    for place in np.argsort(first).tolist():
        owner = processes.resolve(int(tgids[place]))
        if isinstance(owner, str):
            reasons[place] = owner
        else:
            of_tgid[place] = number_of(owner)
    found = of_tgid[of_row]
    cgroups, samples = drain.stack_counts["cgroup_id"], drain.samples
    for row in np.flatnonzero(found == LOST).tolist() if reasons else ():
        reason = reasons[int(of_row[row])]
        stand_in = processes.resolve_by_cgroup(int(cgroups[row]), reason)
        if stand_in is None:
            lost[reason] += int(samples[row])
        else:
            found[row] = number_of(stand_in)
    return Owners(tracked, found)


def find_user_stacks(
    drain: Drain, owners: Owners, symbolizer: Symbolizer, native_frames: bool
) -> npt.NDArray[np.object_]:
    """The user stack of every stack count, with its categories. Only new stacks are symbolized.

    ``native_frames``: of processes that are not Go, too.
    """
    hashes = drain.stack_counts["user_stack"]
    indices = drain.user_stacks.find(hashes)
    is_go = owners.of_each([owner.is_go for owner in owners.tracked]).astype(bool)
    found = np.full(len(hashes), _NATIVE, object)
    found[is_go] = _UNKNOWN
    wanted = (indices >= 0) & (owners.number != LOST)
    rows = np.flatnonzero(wanted if native_frames else wanted & is_go)
    serials = owners.of_each([owner.serial for owner in owners.tracked])[rows]
    known, is_known = symbolizer.known(serials, hashes[rows])
    is_new = ~is_known
    if is_new.any():
        numbers = owners.number[rows[is_new]]
        new = _new_stacks(drain, owners, numbers, hashes[rows[is_new]], indices[rows[is_new]])
        known[is_new] = symbolizer.learn(new.groups)[new.place]
    found[rows] = known
    return found


@dataclass(frozen=True, slots=True)
class _New:
    """The distinct new stacks by process, and for each row the place of its stack among them."""

    groups: list[NewStacks]
    place: Int64Array


def _new_stacks(
    drain: Drain, owners: Owners, numbers: Int64Array, hashes: UInt64Array, indices: Int64Array
) -> _New:
    """``numbers`` of owners, ``hashes``, and ``indices`` in the drain's user stacks, by row."""
    stacks = drain.user_stacks
    _, first, of_row = np.unique(
        numbers * (len(stacks.hashes) + 1) + indices, return_index=True, return_inverse=True
    )
    order = np.lexsort((first, numbers[first]))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first = first[order]
    of_process, starts = np.unique(numbers[first], return_index=True)
    groups = [
        _new_stacks_of(owners.tracked[number], hashes[part], stacks, indices[part])
        for number, part in zip(of_process.tolist(), np.split(first, starts[1:]), strict=True)
    ]
    return _New(groups, place[of_row])


def _new_stacks_of(
    tracked: TrackedProcess, hashes: UInt64Array, stacks: Stacks, indices: Int64Array
) -> NewStacks:
    starts = stacks.offsets[indices]
    lengths = stacks.offsets[indices + 1] - starts
    begins = np.cumsum(lengths) - lengths
    positions = np.arange(int(lengths.sum())) + np.repeat(starts - begins, lengths)
    return NewStacks(tracked, hashes, stacks.callers[indices], lengths, stacks.ips[positions])
