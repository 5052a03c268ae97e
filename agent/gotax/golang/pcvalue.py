"""The pc-value tables of a Go binary: program counter to stack depth, file, line, inline index.

A table is a sequence of pairs of varints: a zig-zag delta of the value, then a delta of the
program counter in units of the smallest instruction; the value holds up to that counter. A zero
in place of a value delta ends the table, except in the first pair. Values start at -1.
Go: runtime/symtab.go (pcvalue, step); the writer is cmd/internal/obj/pcln.go (funcpctab), which
skips instructions of length zero, so a counter delta is never zero and the first zero byte after
a table's first byte is its end. That lets many tables be decoded at once, without a loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gotax.errors import ParseError
from gotax.linux.elf import FEW, Reader, spans
from gotax.model import Int32Array, Int64Array, UInt8Array

_SHORT_TABLE_BYTES = 4096  # of a few tables read one by one
_TAIL_BYTES = 1024  # read this much for the last table of a span, then twice as much, ...
_MAX_TABLE_BYTES = 1 << 20  # a function of some million bytes of code
_MAX_TABLES_BYTES = 8 << 20  # of all that are held decoded at once; a thousand take some 200 KB
_MAX_VARINT_BYTES = 5  # 32 bits
_MAX_PC = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Runs:
    """Columns: [start, end) from the entry of a function within which a table has ``value``.

    ``of`` is the position of the table in what was asked for.
    """

    of: Int64Array
    start: Int64Array
    end: Int64Array
    value: Int32Array


@dataclass(frozen=True, slots=True)
class PcTables:
    """Decoded tables, numbered in the order of ``offsets`` (sorted, unique, none zero)."""

    offsets: Int64Array
    keys: Int64Array  # table number << 32 | first pc, from the function's entry, beyond the value
    values: Int32Array

    def numbers(self, offsets: Int64Array) -> Int64Array:
        """Table numbers of tables known to be here; -1 for offset 0, which means no table."""
        return np.where(offsets == 0, -1, np.searchsorted(self.offsets, offsets))

    def at(self, numbers: Int64Array, pcs: Int64Array) -> Int32Array:
        """Values at pcs counted from the function's entry; -1 without a table or beyond it."""
        found = np.searchsorted(self.keys, (numbers << 32) + pcs, side="right")
        inside = found < len(self.keys)
        found[~inside] = 0
        if not len(self.keys):
            return np.full(len(pcs), -1, np.int32)
        inside &= (self.keys[found] >> 32 == numbers) & (pcs >= 0)
        return np.where(inside, self.values[found], np.int32(-1))

    def ends(self, numbers: Int64Array) -> Int64Array:
        """Where these tables end, from the function's entry; 0 for number -1."""
        last = np.searchsorted(self.keys, (numbers + 1) << 32, side="right") - 1
        ends = np.append(self.keys, 0)[last] & _MAX_PC
        return np.where(numbers < 0, 0, ends)

    def runs(self, numbers: Int64Array) -> Runs:
        """All pairs of these tables as ranges; none for number -1."""
        low = np.searchsorted(self.keys, numbers << 32, side="right")
        high = np.searchsorted(self.keys, (numbers + 1) << 32, side="right")
        counts = np.where(numbers < 0, 0, high - low)
        total = int(counts.sum())
        first = np.cumsum(counts) - counts
        rows = np.arange(total) + np.repeat(low - first, counts)
        ends = self.keys[rows] & _MAX_PC
        starts = np.zeros(total, np.int64)
        starts[1:] = ends[:-1]
        starts[first[counts > 0]] = 0
        return Runs(np.repeat(np.arange(len(numbers)), counts), starts, ends, self.values[rows])


def read_pc_tables(
    reader: Reader, base: int, offsets: Int64Array, end: int, quantum: int
) -> PcTables:
    """The tables at ``base + offsets``; zeroes among the offsets mean no table.

    ``end`` is the file offset that no table may pass. Raises ParseError("pctab-malformed").
    """
    wanted = np.unique(offsets)
    wanted = wanted[wanted > 0]
    if 0 < len(wanted) <= FEW and (few := _read_few(reader, base, wanted, end, quantum)):
        return few
    keys: list[Int64Array] = [np.empty(0, np.int64)]
    values: list[Int32Array] = [np.empty(0, np.int32)]
    size = 0
    for low, high in spans(wanted):
        first = int(wanted[low])
        starts = wanted[low:high] - first
        data, ends = _read_terminated(reader, base + first, starts, end)
        size += int((ends - starts).sum())
        if size > _MAX_TABLES_BYTES:
            raise ParseError("pctab-malformed", f"{high} tables have {size} bytes")
        limits, found, counts = _decode(data, starts, ends, quantum)
        keys.append((np.repeat(np.arange(low, high), counts) << 32) + limits)
        values.append(found)
    return PcTables(wanted, np.concatenate(keys), np.concatenate(values))


def _read_few(
    reader: Reader, base: int, wanted: Int64Array, end: int, quantum: int
) -> PcTables | None:
    """The tables read one by one and decoded together; None if one is too long for that."""
    tables = []
    for offset in wanted.tolist():
        place = base + offset
        if place >= end:
            raise ParseError("pctab-malformed", f"table at file offset {place:#x}")
        data = reader.read(place, min(_SHORT_TABLE_BYTES, end - place))
        size = data.find(b"\0", 1)
        if size < 0:
            return None
        tables.append(data[:size])
    sizes = np.array([len(table) for table in tables])
    if (wanted[:-1] + sizes[:-1] >= wanted[1:]).any():
        raise ParseError("pctab-malformed", f"tables overlap at {base + int(wanted[0]):#x}")
    ends = np.cumsum(sizes)
    limits, values, counts = _decode(b"".join(tables), ends - sizes, ends, quantum)
    return PcTables(wanted, (np.repeat(np.arange(len(wanted)), counts) << 32) + limits, values)


@dataclass(frozen=True, slots=True)
class Pctab:
    """Where tables are: file offsets of the first byte and of what no table may pass."""

    reader: Reader
    start: int
    end: int
    quantum: int


def read_values(pctab: Pctab, offsets: Int64Array, pcs: Int64Array) -> Int32Array:
    """The value of the table at each offset for a pc, counted from its function's entry.

    -1 for offset 0, which means no table, and beyond a table's end. Of many values no more is in
    memory than the tables in 128 KiB of the file. Raises ParseError("pctab-malformed").
    """
    values = np.full(len(offsets), -1, np.int32)
    asked = np.flatnonzero((offsets > 0) & (pcs >= 0))
    asked = asked[np.argsort(offsets[asked], kind="stable")]
    if not len(asked):
        return values
    of = offsets[asked]
    first = np.flatnonzero(np.concatenate(([True], of[1:] != of[:-1])))  # question of each table
    wanted = of[first]
    bounds = np.append(first, len(asked))
    for low, high in spans(wanted):
        part = asked[bounds[low] : bounds[high]]
        tables = np.repeat(np.arange(high - low), np.diff(bounds[low : high + 1]))
        base = pctab.start + int(wanted[low])
        starts = wanted[low:high] - wanted[low]
        data, ends = _read_terminated(pctab.reader, base, starts, pctab.end)
        values[part] = _decode_pairs(data, starts, ends).at(tables, pcs[part] // pctab.quantum)
    return values


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Tables one after the other, as running sums over all of them, with a zero in front.

    ``first`` is the number of each table's first pair, ``last`` that of the next one's. Counters
    never go back, so one search in the sums finds a pair in any table.
    """

    counters: Int64Array
    values: Int64Array
    first: Int64Array
    last: Int64Array

    def at(self, tables: Int64Array, counters: Int64Array) -> Int32Array:
        """Values at counters in units of the smallest instruction, -1 beyond the end."""
        first = self.first[tables]
        targets = self.counters[first] + np.minimum(counters, _MAX_PC)
        found = self.counters[1:].searchsorted(targets, side="right")
        inside = found < self.last[tables]
        last = np.minimum(found, len(self.values) - 2) + 1
        values: Int64Array = self.values[last] - self.values[first] - 1
        values[~inside] = -1
        if int(np.abs(values).max()) >> 31:
            raise ParseError("pctab-malformed", "a value beyond 32 bits")
        narrow: Int32Array = values.astype(np.int32)
        return narrow


def _decode_pairs(data: bytes, starts: Int64Array, ends: Int64Array) -> _Pairs:
    """All tables between these places in the data; none is empty."""
    parts = [data[low:high] for low, high in zip(starts.tolist(), ends.tolist(), strict=True)]
    encoded = np.frombuffer(b"".join(parts), np.uint8)
    after = np.cumsum(ends - starts)
    if (encoded[after - 1] >= 0x80).any():
        raise ParseError("pctab-malformed", "a table ends within a number")
    numbers = encoded.astype(np.uint32)
    more = np.flatnonzero(encoded >= 0x80)  # one byte in ten to twenty
    if len(more):
        at, long = _long_numbers(encoded, more)
        numbers[at] = long
        numbers = numbers[encoded < 0x80]
        after -= np.searchsorted(more, after)
    if (after & 1).any():
        raise ParseError("pctab-malformed", "a table ends within a pair")
    last = after >> 1
    deltas = numbers[0::2]
    # Zig-zag: the lowest bit is the sign.
    signed = (deltas >> 1).view(np.int32) ^ -(deltas & 1).view(np.int32)
    first = np.concatenate((last[:1] * 0, last[:-1]))
    return _Pairs(_sums(numbers[1::2]), _sums(signed), first, last)


def _sums(steps: npt.NDArray[np.integer]) -> Int64Array:
    sums = np.zeros(len(steps) + 1, np.int64)
    np.cumsum(steps, out=sums[1:])
    return sums


def _long_numbers(
    encoded: UInt8Array, more: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], Int64Array]:
    """(place of the last byte, value) of the varints of several bytes; ``more``: all but these."""
    last = more[encoded[more + 1] < 0x80] + 1
    values = encoded[last].astype(np.int64)
    rows, at = np.arange(len(last)), last
    for _ in range(_MAX_VARINT_BYTES - 1):
        at = at - 1
        values[rows] = values[rows] << 7 | (encoded[at] & 0x7F)
        longer = (at > 0) & (encoded[at - 1] >= 0x80)
        rows, at = rows[longer], at[longer]
        if not len(rows):
            break
    else:
        raise ParseError("pctab-malformed", f"a number of over {_MAX_VARINT_BYTES} bytes")
    if int(values.max()) >> 32:
        raise ParseError("pctab-malformed", "a number beyond 32 bits")
    return last, values


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


def _decode(
    data: bytes, starts: Int64Array, ends: Int64Array, quantum: int
) -> tuple[Int64Array, Int32Array, Int64Array]:
    """(limits, values, pairs per table) of all tables, one after the other."""
    pairs = _decode_pairs(data, starts, ends)
    counts = pairs.last - pairs.first
    limits = (pairs.counters[1:] - np.repeat(pairs.counters[pairs.first], counts)) * quantum
    values = pairs.values[1:] - np.repeat(pairs.values[pairs.first], counts) - 1
    if int(limits.max()) >> 32 or int(np.abs(values).max()) >> 31:
        raise ParseError("pctab-malformed", "a value beyond 32 bits")
    return limits, values.astype(np.int32), counts
