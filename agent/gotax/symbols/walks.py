"""User stacks of one process as the kernel walked them: from return addresses to addresses of calls
in files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.golang import stacks
from gotax.processes.binaries import Binary
from gotax.processes.layout import NO_MAPPING, Layout
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Int64Array, UInt64Array
from gotax.symbols.classified import UNMAPPED, UNREADABLE, WITHOUT_FILE


@dataclass(frozen=True, slots=True)
class NewStack:
    """A user stack that the process has not shown before, as the kernel walked it."""

    tracked: TrackedProcess
    hash: int
    caller: int
    ips: UInt64Array


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf that may have lost its caller: of stack number ``stack`` of a group.

    ``caller`` is the address of the call if it has. Both are in ``binary``.
    """

    stack: int
    binary: Binary
    address: int
    caller: int


@dataclass(frozen=True, slots=True)
class Walks:
    """The stacks of one process, one after the other, leaves first; ``lengths`` are theirs.

    ``addresses`` are link-time addresses, ``mapping`` says of what: a number in ``images``, or
    ``STRANGE``, or ``NO_MAPPING``. ``without_file`` has a location for each number
    without an image.
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


class Walker:
    """The memory of one process, for stacks to be walked in."""

    def __init__(self, tracked: TrackedProcess, again: bool = False) -> None:
        """``again``: read the mappings again."""
        self._layout = Layout(tracked.space, again)
        self._program = tracked.program

    def covers(self, group: list[NewStack]) -> bool:
        """Whether every address of these stacks that can be code is in a mapping."""
        return self._layout.covers(np.concatenate([stack.ips for stack in group]))

    def _sigreturns(self) -> UInt64Array:
        """Runtime addresses of the sigreturn of every Go runtime in the process."""
        found = []
        for binary, bias in self._program.located_runtimes():
            if binary.sigreturn and 0 <= binary.sigreturn + bias < 1 << 64:
                found.append(binary.sigreturn + bias)
        return np.array(found, np.uint64)

    def walks(self, group: list[NewStack]) -> Walks:
        """Stacks as addresses of calls, without what cannot be code."""
        stacks_ips = [stack.ips for stack in group]
        lengths = np.array([len(ips) for ips in stacks_ips])
        leaves = np.cumsum(lengths) - lengths
        calls = stacks.return_addresses_to_calls(
            np.concatenate(stacks_ips), self._sigreturns(), leaves
        )
        good = stacks.plausible(calls)
        mapping, addresses = self._layout.translate(calls[good])
        kept = np.add.reduceat(good, leaves, dtype=np.int64)
        images, backings = self._layout.images, self._layout.backings
        without_file = np.full(len(images) + 2, UNREADABLE, object)
        without_file[NO_MAPPING] = UNMAPPED
        for number in set(mapping.tolist()):
            if number >= 0:
                without_file[number] = WITHOUT_FILE[backings[number]]
        return Walks(kept.tolist(), addresses, mapping, images, without_file)

    def frameless(self, group: list[NewStack]) -> list[Leaf]:
        """The leaves whose caller word lies in the Go text of their own binary.

        If such a leaf has no frame, that word is its caller (stacks.lost_caller).
        """
        numbers = [
            number
            for number, stack in enumerate(group)
            if stacks.lost_caller(stack.ips, stack.caller)
        ]
        if not numbers:
            return []
        words = [int(group[n].ips[0]) for n in numbers] + [group[n].caller for n in numbers]
        located = self._layout.locate(np.array(words, np.uint64))
        # The word of a signal handler's first instruction is the kernel's, and no call's.
        signals = set(self._sigreturns().tolist())
        candidates = []
        for number, leaf, caller in zip(
            numbers, located[: len(numbers)], located[len(numbers) :], strict=True
        ):
            binary, address = leaf
            if binary is not None and caller[0] is binary and binary.in_go_text(caller[1]):
                called = group[number].caller not in signals
                candidates.append(Leaf(number, binary, address, caller[1] - called))
        return candidates
