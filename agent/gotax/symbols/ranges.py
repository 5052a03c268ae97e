"""What is known of binaries, by ranges of addresses.

Without line numbers, which the daemon does not need, a range is a function's code between two
changes of its inlined calls; so after a minute nearly every new stack consists of known ranges, and
no file is opened for it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from gotax.golang.classmap import ClassMap
from gotax.processes.binaries import Binary
from gotax.profile import Int64Array, UInt64Array
from gotax.runs import Runs
from gotax.symbols.classified import NOT_READ_YET, UNREADABLE, ClassifiedLocation

_UNUSED_DRAINS = 20


class KnownRanges:
    """What has been learnt of one binary, by address range: locations, and code without a frame.

    With a ``whole`` map the ranges are only of code that is not Go's.
    """

    def __init__(self, binary: Binary) -> None:
        self.binary = binary
        self.locations = Runs()
        self.frameless = Runs()
        self.whole: ClassMap | None = None
        self.classes = np.empty(0, object)  # the locations of its chains
        self.spent = 0  # on questions about it, as so many functions of a whole map
        self.is_read = False  # as a whole: once, even if it comes to nothing
        self.expected = 0  # ranges, while it is being read
        self.used = 0  # the last drain
        self.is_late = False  # there was no time for the last question about it

    def __len__(self) -> int:
        whole = self.expected if self.whole is None else len(self.whole) // 4  # 6 bytes, not 24
        return len(self.locations) + len(self.frameless) + whole

    def learn_whole(self, whole: ClassMap, locations: list[ClassifiedLocation]) -> None:
        self.locations, self.frameless = Runs(), Runs()
        self.whole = whole
        self.classes = np.empty(len(locations), object)
        self.classes[:] = locations

    def unknown(self, addresses: UInt64Array) -> UInt64Array:
        """Those of the addresses that no location is known of."""
        if self.whole is not None:
            addresses = addresses[~self.whole.contains(addresses)]
        return addresses[self.locations.find(addresses) < 0]

    @property
    def places(self) -> int:
        """How many locations it may have; ``find`` gives numbers below that."""
        return 1 + len(self.classes) + len(self.locations)

    def find(self, addresses: UInt64Array) -> Int64Array:
        """The number of the location of each address; 0: its tables could not be read just now."""
        if self.whole is None:
            return self.locations.find(addresses) + 1
        found = np.zeros(len(addresses), np.int64)
        inside = self.whole.contains(addresses)
        found[inside] = 1 + (self.whole.find(addresses[inside]) >> 1)
        at = self.locations.find(addresses[~inside])
        found[~inside] = np.where(at >= 0, 1 + len(self.classes) + at, 0)
        return found

    def values(self, numbers: Int64Array) -> npt.NDArray[np.object_]:
        """The locations with these numbers, as long as nothing more is learnt."""
        found = np.full(len(numbers), NOT_READ_YET if self.is_late else UNREADABLE, object)
        of_class = (numbers > 0) & (numbers <= len(self.classes))
        found[of_class] = self.classes[numbers[of_class] - 1]
        of_range = numbers > len(self.classes)
        found[of_range] = self.locations.values(numbers[of_range] - 1 - len(self.classes))
        return found

    def are_frameless(self, addresses: UInt64Array) -> npt.NDArray[np.bool_]:
        """Which of these addresses of Go code are known to have no frame."""
        if self.whole is not None:
            found = self.whole.contains(addresses)
            found[found] = self.whole.find(addresses[found]) & 1 > 0
            return found
        return self.frameless.find(addresses) >= 0


class KnownBinaries:
    """What is known of the binaries that were asked for last, ``most`` ranges in all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: dict[int, KnownRanges] = {}  # by serial; the longest unused is the first
        self._drain = 0
        self.evictions = 0

    def __len__(self) -> int:
        return sum(len(known) for known in self._known.values())

    def of(self, binary: Binary) -> KnownRanges:
        known = self._known.pop(binary.serial, None)
        if known is None:  # one without a range yet is false
            known = KnownRanges(binary)
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
