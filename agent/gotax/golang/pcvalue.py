"""The pc-value tables of a Go binary: program counter to stack depth, file, line, inline index.

A table is a sequence of pairs of varints: a zig-zag delta of the value, then a delta of the
program counter in units of the smallest instruction; the value holds up to that counter. A zero
in place of a value delta ends the table, except in the first pair. Values start at -1.
Go: runtime/symtab.go (pcvalue, step); the writer is cmd/internal/obj/pcln.go (funcpctab), which
skips instructions of length zero, so a counter delta is never zero and the first zero byte after
a table's first byte is its end. That lets many tables be decoded at once, without a loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.errors import ParseError
from gotax.linux.elf import FEW, Reader, distinct, spans
from gotax.profile import Int32Array, Int64Array, UInt8Array

_SHORT_TABLE_BYTES = 4096  # of a few tables read one by one
_TAIL_BYTES = 1024  # read this much for the last table of a span, then twice as much, ...
_MAX_TABLE_BYTES = 1 << 20  # a function of some million bytes of code
_MAX_TABLES_BYTES = 8 << 20  # of all that are held decoded at once; a thousand take some 200 KB
_MAX_RUNS = 1 << 19  # of all tables asked for together; 4 MB of code have some 200,000
_MAX_VARINT_BYTES = 5  # 32 bits
_MAX_PC = 0xFFFFFFFF
_CONTINUED = bytes(range(0x80, 0x100))  # the bytes of a number but for the last one


@dataclass(frozen=True, slots=True)
class Runs:
    """Columns: [start, end) from the entry of a function within which a table has ``value``.

    ``of`` is the position of the table in what was asked for.
    """

    of: Int64Array
    start: Int64Array
    end: Int64Array
    value: Int32Array

    def values_at(self, of: Int64Array, pcs: Int64Array, rows: Int64Array) -> Int32Array:
        """As ``PcTables.at``, where the last range that starts at or before each pc is known."""
        if not len(self.of):
            return np.full(len(pcs), -1, np.int32)
        inside = (rows >= 0) & (self.of[rows] == of) & (pcs < self.end[rows])
        return np.where(inside, self.value[rows], np.int32(-1))


@dataclass(frozen=True, slots=True)
class PcTables:
    """Decoded tables, numbered in the order of ``offsets`` (sorted, unique, none zero).

    ``counters`` (in units of ``quantum`` bytes) and ``values`` are running sums over the pairs of
    all tables, with a zero in front; table n has the pairs from ``first[n]`` to ``first[n + 1]``.
    What had been summed before a table is taken off again. Counters never go back, so one search
    finds a pair of any table; values wrap around at 32 bits, as the runtime's do.
    """

    offsets: Int64Array
    first: Int64Array
    counters: Int32Array | Int64Array
    values: Int32Array
    quantum: int

    def numbers(self, offsets: Int64Array) -> Int64Array:
        """Table numbers of tables known to be here; -1 for offset 0, which means no table."""
        return np.where(offsets == 0, -1, np.searchsorted(self.offsets, offsets))

    def at(self, numbers: Int64Array, pcs: Int64Array) -> Int32Array:
        """Values at pcs counted from the function's entry; -1 without a table or beyond it."""
        if not len(self.offsets):
            return np.full(len(pcs), -1, np.int32)
        tables = np.maximum(numbers, 0)
        first = self.first[tables]
        targets = self.counters[first] + np.minimum(pcs, _MAX_PC) // self.quantum
        targets = np.minimum(targets, self.counters[-1]).astype(self.counters.dtype)
        found = self.counters[1:].searchsorted(targets, side="right")
        inside = (found < self.first[tables + 1]) & (numbers >= 0) & (pcs >= 0)
        last = np.minimum(found + 1, len(self.values) - 1)
        return np.where(inside, self.values[last] - self.values[first] - 1, np.int32(-1))

    def ends(self, numbers: Int64Array) -> Int64Array:
        """Where these tables end, from the function's entry; 0 for number -1."""
        return np.append(self._sizes(), 0)[numbers]

    def runs(self, numbers: Int64Array) -> Runs:
        """All pairs of these tables as ranges; none for number -1.

        Raises ParseError("pctab-malformed") if they are too many: functions may share a table, but
        thousands do not share a long one.
        """
        counts = np.append(np.diff(self.first), 0)[numbers]
        if int(counts.sum()) > _MAX_RUNS:
            raise ParseError("pctab-malformed", f"{len(numbers)} tables with {counts.sum()} pairs")
        of = np.repeat(np.arange(len(numbers)), counts)
        first = self.first[numbers][of]
        rows = first + np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
        reached = self.counters[first].astype(np.int64)
        return Runs(
            of,
            (self.counters[rows] - reached) * self.quantum,
            (self.counters[rows + 1] - reached) * self.quantum,
            self.values[rows + 1] - self.values[first] - 1,
        )

    def check(self) -> None:
        if int(self._sizes().max(initial=0)) > _MAX_PC:
            raise ParseError("pctab-malformed", "a counter beyond 32 bits")

    def _sizes(self) -> Int64Array:
        sizes: Int64Array = np.diff(self.counters[self.first]).astype(np.int64) * self.quantum
        return sizes


def read_pc_tables(
    reader: Reader, base: int, offsets: Int64Array, end: int, quantum: int
) -> PcTables:
    """The tables at ``base + offsets``; zeroes among the offsets mean no table.

    ``end`` is the file offset that no table may pass. Raises ParseError("pctab-malformed").
    """
    if (offsets < 0).any():
        raise ParseError("pctab-malformed", f"table at {int(offsets.min())}")
    wanted, _ = distinct(np.sort(offsets[offsets > 0]))
    pairs = [np.zeros(1, np.int64)]  # of each table
    steps = [np.zeros(1, np.uint32)]
    values = [np.zeros(1, np.int32)]
    size = 0
    for tables in _read(reader, base, wanted, end):
        numbers, counts = _decode(tables)
        deltas = numbers[0::2]
        pairs.append(counts)
        steps.append(numbers[1::2].copy())  # a view would keep all of the numbers
        # Zig-zag: the lowest bit is the sign.
        values.append((deltas >> 1).view(np.int32) ^ -(deltas & 1).view(np.int32))
        size += sum(map(len, tables))
        if size > _MAX_TABLES_BYTES:
            raise ParseError("pctab-malformed", f"{len(wanted)} tables have over {size} bytes")
    counters = np.concatenate(steps).cumsum(dtype=np.int64)
    found = PcTables(
        wanted,
        np.cumsum(np.concatenate(pairs)),
        counters if int(counters[-1]) >> 31 else counters.astype(np.int32),
        np.cumsum(np.concatenate(values), dtype=np.int32),
        quantum,
    )
    found.check()
    return found


def _read(reader: Reader, base: int, wanted: Int64Array, end: int) -> Iterator[list[bytes]]:
    """The bytes of each of these tables without the closing zero, some hundred at a time."""
    if len(wanted) <= FEW:
        few = [_read_short(reader, base + offset, end) for offset in wanted.tolist()]
        if all(few):
            sizes = np.array([len(table) for table in few], np.int64)
            if (wanted[:-1] + sizes[:-1] >= wanted[1:]).any():
                raise ParseError("pctab-malformed", f"tables overlap at {base + int(wanted[0]):#x}")
            if few:
                yield few
            return
    reached = 0
    for low, high in spans(wanted):
        first = int(wanted[low])
        if first < reached:
            raise ParseError("pctab-malformed", f"tables overlap at {base + first:#x}")
        starts = wanted[low:high] - first
        data, ends = _read_terminated(reader, base + first, starts, end)
        reached = first + int(ends[-1]) + 1
        yield [data[start:stop] for start, stop in zip(starts.tolist(), ends.tolist(), strict=True)]


def _read_short(reader: Reader, place: int, end: int) -> bytes:
    """The table there; b"" for a long one."""
    if place >= end:
        raise ParseError("pctab-malformed", f"table at file offset {place:#x}")
    data = reader.read(place, min(_SHORT_TABLE_BYTES, end - place))
    return data[: max(0, data.find(b"\0", 1))]


def _read_terminated(
    reader: Reader, place: int, starts: Int64Array, end: int
) -> tuple[bytes, Int64Array]:
    """Bytes from ``place`` on that hold all tables, and where each one's closing zero is."""
    last = int(starts[-1])
    tail = _TAIL_BYTES
    while True:
        length = min(last + tail, end - place)
        if length <= last:
            raise ParseError("pctab-malformed", f"table at file offset {place + last:#x}")
        data = reader.read(place, length)
        zeros = np.flatnonzero(np.frombuffer(data, np.uint8) == 0)
        if len(zeros) and zeros[-1] > last:
            ends = zeros[np.searchsorted(zeros, starts, side="right")]
            if (ends[:-1] >= starts[1:]).any():
                # No toolchain lets tables overlap; allowing it would make decoding quadratic.
                raise ParseError("pctab-malformed", f"tables overlap at {place:#x}")
            return data, ends
        if length == end - place or tail >= _MAX_TABLE_BYTES:
            raise ParseError("pctab-malformed", f"no end of table at {place + last:#x}")
        tail *= 2


def _decode(tables: list[bytes]) -> tuple[npt.NDArray[np.uint32], Int64Array]:
    """(the numbers of all tables, one after the other; how many pairs each has); none is empty."""
    data = b"".join(tables)
    encoded = np.frombuffer(data, np.uint8)
    after = np.fromiter(map(len, tables), np.int64, len(tables)).cumsum()
    more = (encoded >= 0x80).nonzero()[0]  # one byte in eight to twenty
    if (encoded[after - 1] >= 0x80).any():
        raise ParseError("pctab-malformed", "a table ends within a number")
    # By the last byte of each number, which for nearly all is the only one.
    numbers = np.frombuffer(data.translate(None, _CONTINUED), np.uint8).astype(np.uint32)
    _complete(numbers, encoded, more)
    after -= more.searchsorted(after)
    if (after & 1).any():
        raise ParseError("pctab-malformed", "a table ends within a pair")
    return numbers, np.diff(after >> 1, prepend=0)


def _complete(
    numbers: npt.NDArray[np.uint32], encoded: UInt8Array, more: npt.NDArray[np.intp]
) -> None:
    """Put all of their bytes into the numbers that have several; ``more``: all but the last.

    ``81 82 03`` is one number and has two rows here, of 81 and of 82. First both are taken for the
    beginning of a number of two bytes, and assigned in that order, so that 82 03 stays: the two
    most significant bytes. Then the bytes before these two are put in, one of each number a turn.
    """
    of = more - np.arange(len(more))  # the number that a byte belongs to
    low, following = encoded[more] & 0x7F, encoded[more + 1]
    numbers[of] = following.astype(np.uint16) << 7 | low
    rows = (following >= 0x80).nonzero()[0]
    rows = rows[following[rows + 1] < 0x80]
    for count in range(3, _MAX_VARINT_BYTES + 1):
        if not len(rows):
            return
        at = of[rows]
        if count == _MAX_VARINT_BYTES and (numbers[at] >> (32 - 7)).any():
            raise ParseError("pctab-malformed", "a number beyond 32 bits")
        numbers[at] = numbers[at] << 7 | low[rows]
        rows = rows[(rows > 0) & (of[rows - 1] == at)] - 1
    if len(rows):
        raise ParseError("pctab-malformed", f"a number of over {_MAX_VARINT_BYTES} bytes")
