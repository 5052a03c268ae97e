"""Long lists of mappings have a bound for all processes together."""

from __future__ import annotations

from gotax.linux.mappings import Mapping, Maps
from gotax.processes.address_space import AddressSpace
from gotax.processes.binaries import BinaryTable
from gotax.processes.counts import ErrorCounts
from gotax.processes.files import ProcessFiles
from gotax.reader.asking import InProcess

LONGEST = 4096
ALL = 64 * 1024


class Files(ProcessFiles):
    """Of a process with so many executable mappings."""

    def __init__(self, count: int) -> None:
        super().__init__(InProcess(), "/proc", 7)
        self.count = count
        self.reads = 0

    def maps(self) -> Maps:
        self.reads += 1
        found = [Mapping(n << 13, (n << 13) + 4096, 0, 0, 0, "") for n in range(self.count)]
        return Maps(tuple(found), 0)


def spaces(binaries: BinaryTable, *counts: int) -> list[AddressSpace]:
    found = [AddressSpace(Files(count), binaries, ErrorCounts()) for count in counts]
    for space in found:
        space.mappings()
    return found


def kept(of: list[AddressSpace]) -> int:
    return sum(space.holds_mappings for space in of)


def test_the_lists_read_last_are_kept() -> None:
    """250 processes of one container with 4,096 mappings took 250 MB."""
    binaries = BinaryTable(InProcess())
    found = spaces(binaries, *[LONGEST] * 20)
    assert [space.holds_mappings for space in found] == [False] * 4 + [True] * 16
    assert len(binaries.long_lists) == ALL
    assert len(found[0].mappings()) == LONGEST  # read again
    assert [space.holds_mappings for space in found] == [True] + [False] * 4 + [True] * 15


def test_short_lists_are_kept_in_any_case() -> None:
    binaries = BinaryTable(InProcess())
    short = spaces(binaries, *[256] * 300)
    spaces(binaries, *[LONGEST] * 17)
    assert kept(short) == 300


def test_what_ends_or_is_read_again_counts_once() -> None:
    binaries = BinaryTable(InProcess())
    found = spaces(binaries, *[LONGEST] * 16)
    for space in found:
        space.mappings(again=True)
    assert kept(found) == 16
    for space in found[:8]:
        space.drop()
    assert len(binaries.long_lists) == ALL // 2
    found[8].drop_mappings()
    assert len(binaries.long_lists) == ALL // 2 - LONGEST
