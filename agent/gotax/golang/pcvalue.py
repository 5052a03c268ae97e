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
from gotax.linux.elf import FEW, Reader, read_array, spans
from gotax.model import Int32Array, Int64Array, UInt8Array

_SHORT_TABLE_BYTES = 4096  # of a few tables read one by one
_TAIL_BYTES = 1024  # read this much for the last table of a span, then twice as much, ...
_MAX_TABLE_BYTES = 4 << 20  # a function of some ten million bytes of code
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
    for low, high in spans(wanted):
        first = int(wanted[low])
        starts = wanted[low:high] - first
        data, ends = _read_terminated(reader, base + first, starts, end)
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
    encoded = np.frombuffer(b"".join(tables), np.uint8)
    limits, values, counts = _decode(encoded, ends - sizes, ends, quantum)
    return PcTables(wanted, (np.repeat(np.arange(len(wanted)), counts) << 32) + limits, values)


def _read_terminated(
    reader: Reader, place: int, starts: Int64Array, end: int
) -> tuple[UInt8Array, Int64Array]:
    """Bytes from ``place`` on that hold all tables, and where each one's closing zero is."""
    last = int(starts[-1])
    tail = _TAIL_BYTES
    while True:
        length = min(last + tail, end - place)
        if length <= last:
            raise ParseError("pctab-malformed", f"table at file offset {place + last:#x}")
        data = read_array(reader, place, length)
        zeros = np.flatnonzero(data == 0)
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
    data: UInt8Array, starts: Int64Array, ends: Int64Array, quantum: int
) -> tuple[Int64Array, Int32Array, Int64Array]:
    """(limits, values, pairs per table) of all tables, one after the other."""
    sizes = ends - starts
    place = np.repeat(starts - (np.cumsum(sizes) - sizes), sizes)
    encoded = data[place + np.arange(len(place))]
    if (encoded[np.cumsum(sizes) - 1] >= 0x80).any():
        raise ParseError("pctab-malformed", "a table ends within a number")
    varint_end = np.flatnonzero(encoded < 0x80)
    varints = _varints(encoded, varint_end)
    per_table = np.searchsorted(varint_end, np.cumsum(sizes))
    per_table[1:] -= per_table[:-1].copy()
    if (per_table & 1).any():
        raise ParseError("pctab-malformed", "a table ends within a pair")
    counts = per_table >> 1
    deltas = varints[0::2]
    values = _cumulated((deltas >> 1) ^ -(deltas & 1), counts) - 1
    limits = _cumulated(varints[1::2] * quantum, counts)
    if int(limits.max()) >> 32 or int(np.abs(values).max()) >> 31:
        raise ParseError("pctab-malformed", "a value beyond 32 bits")
    return limits, values.astype(np.int32), counts


def _varints(encoded: UInt8Array, last: npt.NDArray[np.intp]) -> Int64Array:
    """The varints whose last bytes are at ``last``; all bytes belong to one."""
    first = np.empty_like(last)
    first[0] = 0
    first[1:] = last[:-1] + 1
    sizes = last - first
    longest = int(sizes.max()) + 1
    if longest > _MAX_VARINT_BYTES:
        raise ParseError("pctab-malformed", f"a number of {longest} bytes")
    numbers = (encoded[first] & 0x7F).astype(np.int64)
    for position in range(1, longest):
        long = np.flatnonzero(sizes >= position)
        more = (encoded[first[long] + position] & 0x7F).astype(np.int64)
        numbers[long] |= more << (7 * position)
    return numbers


def _cumulated(steps: Int64Array, counts: Int64Array) -> Int64Array:
    """Running sums that start anew for each table. No table is empty."""
    total = np.cumsum(steps)
    first = np.cumsum(counts) - counts
    before = total[first] - steps[first]
    sums: Int64Array = total - np.repeat(before, counts)
    return sums
