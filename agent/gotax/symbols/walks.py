"""User stacks of one process as the kernel walked them: from return addresses to addresses of calls
in files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gotax.golang import stacks
from gotax.processes.binaries import Binary
from gotax.processes.layout import Layout, numbers_of
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Int64Array, UInt64Array
from gotax.reader.asking import NOT_NOW
from gotax.symbols.classified import (
    NOT_READ_YET,
    UNMAPPED,
    UNREADABLE,
    WITHOUT_FILE,
    ClassifiedLocation,
)


@dataclass(frozen=True, slots=True)
class NewStacks:
    """User stacks that a process has not shown before, as the kernel walked them: one after the
    other in ``ips``, leaves first."""

    tracked: TrackedProcess
    hashes: UInt64Array
    callers: UInt64Array
    lengths: Int64Array
    ips: UInt64Array

    def __len__(self) -> int:
        return len(self.hashes)


@dataclass(frozen=True, slots=True)
class Leaves:
    """Leaves that may have lost their callers: of stack number ``stack`` of a process.

    ``caller`` is the address of the call if it has. Both are in image number ``image``.
    """

    stack: Int64Array
    image: Int64Array
    address: UInt64Array
    caller: UInt64Array


@dataclass(frozen=True, slots=True)
class Walks:
    """The stacks of one process, one after the other, leaves first; ``lengths`` are theirs.

    ``addresses`` are link-time addresses, ``mapping`` says of what: a number in ``images``, or
    ``STRANGE``, or ``NO_MAPPING``. ``without_file`` has a location for each number
    without an image.
    """

    lengths: Int64Array
    addresses: UInt64Array
    mapping: Int64Array
    images: list[Binary | None]
    without_file: list[ClassifiedLocation]
    leaves: Leaves

    def binaries(self) -> list[Binary]:
        """The images that the addresses are in."""
        found = [self.images[number] for number in numbers_of(self.mapping)]
        return [binary for binary in found if binary is not None]


class Walker:
    """The memory of one process, for stacks to be walked in."""

    def __init__(self, tracked: TrackedProcess, again: bool = False) -> None:
        """``again``: read the mappings again."""
        self._layout = Layout(tracked.space, again)
        self._space = tracked.space
        self._program = tracked.program

    def covers(self, new: NewStacks) -> bool:
        """Whether every address of these stacks that can be code is in a mapping."""
        return self._layout.covers(new.ips)

    def _sigreturns(self) -> UInt64Array:
        """Runtime addresses of the sigreturn of every Go runtime in the process."""
        found = []
        for binary, bias in self._program.located_runtimes():
            if binary.sigreturn and 0 <= binary.sigreturn + bias < 1 << 64:
                found.append(binary.sigreturn + bias)
        return np.array(found, np.uint64)

    def walks(self, new: NewStacks) -> Walks:
        """Stacks as addresses of calls, without what cannot be code."""
        has_frames = new.lengths > 0
        begins = (np.cumsum(new.lengths) - new.lengths)[has_frames]
        sigreturns = self._sigreturns()
        calls = stacks.return_addresses_to_calls(new.ips, sigreturns, begins)
        good = stacks.plausible(calls)
        mapping, addresses = self._layout.translate(calls[good])
        kept = np.zeros(len(new), np.int64)
        if len(begins):
            kept[has_frames] = np.add.reduceat(good, begins, dtype=np.int64)
        leaves = self._leaves(new, sigreturns)
        images, backings = self._layout.images, self._layout.backings
        is_late = self._space.is_late or self._space.refused in NOT_NOW
        unreadable = NOT_READ_YET if is_late else UNREADABLE
        nowhere = unreadable if self._space.refused else UNMAPPED
        without_file = [unreadable] * len(images) + [unreadable, nowhere]  # STRANGE, NO_MAPPING
        for number in numbers_of(mapping):
            location = WITHOUT_FILE[backings[number]]
            without_file[number] = unreadable if location is UNREADABLE else location
        return Walks(kept, addresses, mapping, images, without_file, leaves)

    def _leaves(self, new: NewStacks, sigreturns: UInt64Array) -> Leaves:
        """The leaves whose caller word lies in the Go text of their own binary.

        If such a leaf has no frame, that word is its caller (stacks.lost_callers).
        """
        found = np.flatnonzero(stacks.lost_callers(new.ips, new.lengths, new.callers))
        words = new.callers[found]
        if not len(found):
            return Leaves(found, found, words, words)
        begins = (np.cumsum(new.lengths) - new.lengths)[found]
        mapping, addresses = self._layout.translate(np.concatenate((new.ips[begins], words)))
        # By its first mapping: a file may have several.
        images = self._layout.images
        first: dict[int, int] = {}
        of_mapping = np.array(
            [
                *(
                    -1 if binary is None else first.setdefault(binary.serial, number)
                    for number, binary in enumerate(images)
                ),
                -1,
                -1,
            ],
            np.int64,
        )
        image, of_caller = np.split(of_mapping[mapping], 2)
        address, caller = np.split(addresses, 2)
        same = (image >= 0) & (image == of_caller)
        for number in set(image[same].tolist()):
            binary = images[number]
            assert binary is not None
            own = image == number
            same[own] &= binary.are_in_go_text(caller[own])
        # The word of a signal handler's first instruction is the kernel's, and no call's.
        caller = caller - ~stacks.are_among(words, sigreturns)
        return Leaves(found[same], image[same], address[same], caller[same])
