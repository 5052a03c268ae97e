"""Which reports the store already has, by (agent, epoch, sequence).

A cache of the store's table ``ledger``, for the agents that stream to this collector.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence

EPOCHS_MAX = 20_000
"""How many (agent, epoch) are in memory. The least recently used is evicted."""
RANGES_MAX = 1024
"""Maximum per (agent, epoch). A normal agent has few ranges. An agent that makes gaps on purpose
has many, and is not cached."""


class Ranges:
    """A set of integers, mostly consecutive, stored as ranges."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """``ranges`` are (first, last), ascending, with gaps between them."""
        pairs = list(ranges)
        self._starts = [first for first, _ in pairs]
        self._ends = [last for _, last in pairs]

    @staticmethod
    def of(numbers: Iterable[int]) -> Ranges:
        found = Ranges()
        for number in sorted(numbers):
            found.add(number)
        return found

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number <= self._ends[index]

    def __len__(self) -> int:
        return sum(last - first + 1 for first, last in self.pairs)

    @property
    def pairs(self) -> Sequence[tuple[int, int]]:
        return tuple(zip(self._starts, self._ends, strict=True))

    @property
    def count(self) -> int:
        """How many ranges, not numbers."""
        return len(self._starts)

    def add(self, number: int) -> None:
        index = bisect_right(self._starts, number)
        joins_left = index > 0 and self._ends[index - 1] >= number - 1
        joins_right = index < len(self._starts) and self._starts[index] == number + 1
        if joins_left and joins_right:
            self._ends[index - 1] = self._ends[index]
            del self._starts[index], self._ends[index]
        elif joins_left:
            self._ends[index - 1] = max(self._ends[index - 1], number)
        elif joins_right:
            self._starts[index] = number
        else:
            self._starts.insert(index, number)
            self._ends.insert(index, number)


class StoredReports:
    """Keys of stored reports. ``source`` is the agent's stream for which they were loaded.

    They must be loaded again for a new stream: the agent may have streamed to another replica in
    between, which has stored further reports.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], tuple[object, Ranges]] = OrderedDict()

    def is_loaded(self, agent: str, epoch: int, source: object) -> bool:
        known = self._known.get((agent, epoch))
        return known is not None and known[0] is source

    def load(self, agent: str, epoch: int, source: object, stored: Ranges) -> None:
        self._known[agent, epoch] = (source, stored)
        self._known.move_to_end((agent, epoch))
        while len(self._known) > EPOCHS_MAX:
            self._known.popitem(last=False)

    def has(self, key: tuple[str, int, int]) -> bool:
        """Whether the report is stored. KeyError for an (agent, epoch) that was not loaded."""
        agent, epoch, sequence = key
        self._known.move_to_end((agent, epoch))
        return sequence in self._known[agent, epoch][1]

    def add(self, key: tuple[str, int, int]) -> None:
        agent, epoch, sequence = key
        if known := self._known.get((agent, epoch)):
            known[1].add(sequence)
            if known[1].count > RANGES_MAX:
                del self._known[agent, epoch]

    def clear(self) -> None:
        """Forget everything, after an insert with an unknown result."""
        self._known.clear()
