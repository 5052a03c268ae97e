"""The new stacks of all processes of one drain, in columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gotax.processes.binaries import Binary
from gotax.profile import Int64Array, UInt64Array
from gotax.symbols.classified import UNREADABLE, ClassifiedLocation
from gotax.symbols.ranges import KnownRanges
from gotax.symbols.walks import Leaves, Walks


class Batch:
    """The stacks of ``walks``, one after the other.

    ``image`` says of each address which of ``binaries`` it is in, or, below 0, which of
    ``_without_file``. ``leaves`` counts stacks and images in the same way.
    """

    def __init__(self, walks: Sequence[Walks]) -> None:
        self.binaries: list[Binary] = []
        self._number_of: dict[int, int] = {}  # by serial
        self._without_file: list[ClassifiedLocation] = []
        images, leaves, stacks = [], [], 0
        for walk in walks:
            numbers = self._numbers(walk)
            images.append(numbers[walk.mapping])
            leaves.append((walk.leaves.stack + stacks, numbers[walk.leaves.image]))
            stacks += len(walk.lengths)
        self.lengths = np.concatenate([walk.lengths for walk in walks])
        self.image: Int64Array = np.concatenate(images)
        self.address: UInt64Array = np.concatenate([walk.addresses for walk in walks])
        self.leaves = Leaves(
            np.concatenate([stack for stack, _ in leaves]),
            np.concatenate([image for _, image in leaves]),
            np.concatenate([walk.leaves.address for walk in walks]),
            np.concatenate([walk.leaves.caller for walk in walks]),
        )

    def _numbers(self, walk: Walks) -> Int64Array:
        """By the number of a mapping, also of those below 0."""
        found = []
        for binary, location in zip([*walk.images, None, None], walk.without_file, strict=True):
            if binary is None:
                if location not in self._without_file:
                    self._without_file.append(location)
                found.append(-1 - self._without_file.index(location))
            else:
                number = self._number_of.setdefault(binary.serial, len(self.binaries))
                if number == len(self.binaries):
                    self.binaries.append(binary)
                found.append(number)
        return np.array(found, np.int64)

    def rows_of(self, images: Int64Array) -> Iterator[tuple[int, Int64Array]]:
        """Each binary that there is in ``images``, and where."""
        if not len(images):
            return
        few = len(self.binaries) < 1 << 15  # sorts by counting, not by comparing
        rows = np.argsort(images.astype(np.int16) if few else images, kind="stable")
        numbers, starts = np.unique(images[rows], return_index=True)
        for number, part in zip(numbers.tolist(), np.split(rows, starts[1:]), strict=True):
            if number >= 0:
                yield number, part

    def insert(self, stacks: Int64Array, images: Int64Array, addresses: UInt64Array) -> None:
        """Insert an address behind the leaf of each of these stacks."""
        if not len(stacks):
            return
        behind = (np.cumsum(self.lengths) - self.lengths)[stacks] + 1
        self.image = np.insert(self.image, behind, images)
        self.address = np.insert(self.address, behind, addresses)
        self.lengths[stacks] += 1

    def number(
        self, known_of: Callable[[Binary], KnownRanges]
    ) -> tuple[Int64Array, list[ClassifiedLocation]]:
        """The location of every address, as a place in the list."""
        found = np.zeros(len(self.image), np.int64)
        locations: list[ClassifiedLocation] = list(self._without_file)
        outside = self.image < 0
        found[outside] = -1 - self.image[outside]
        for number, rows in self.rows_of(self.image):
            known = known_of(self.binaries[number])
            own = known.find(self.address[rows])
            used = np.flatnonzero(np.bincount(own, minlength=known.places))
            place = np.zeros(known.places, np.int64)
            place[used] = np.arange(len(used)) + len(locations)
            found[rows] = place[own]
            locations.extend(known.values(used).tolist())
        return found, locations or [UNREADABLE]
