"""The kernel's function names, from /proc/kallsyms, as a few columns.

The table is kept. Going through the file for each batch of new addresses instead was measured: it
takes as long as making the table (most of it is writing and reading 5 MB of text), and new kernel
addresses keep turning up for minutes, while the table holds about 35 bytes a function.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from gotax.profile import UInt8Array, UInt64Array

UInt32Array: TypeAlias = npt.NDArray[np.uint32]

_BLOCK_BYTES = 128 * 1024
_MAX_BYTES = 128 << 20  # a kernel with everything built in writes about 15 MB
_MAX_FUNCTION_BYTES = 1 << 20  # behind the last symbol of a section nothing is known
_LINE_HEAD = 19  # 16 hex digits, space, type, space
_NEWLINE = 10

_IS_TEXT = np.zeros(256, np.bool_)
_IS_TEXT[list(b"tTwW")] = True
_NIBBLE = np.full(256, 255, np.uint8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    _NIBBLE[_digit] = _value
# The padding before a function has a name of its own (__pfx_f, __cfi_f), on x86 for each function:
# half of the file, and never what anybody wants to read.
_PADDING_NAMES = tuple(np.frombuffer(name, np.uint8) for name in (b"__pfx_", b"__cfi_"))


@dataclass(frozen=True, slots=True)
class Kallsyms:
    """Text symbols by address. Empty with a ``reason``:

    kallsyms-hidden: the kernel shows all addresses as 0 (kernel.kptr_restrict without CAP_SYSLOG);
    kallsyms-unreadable: no such file, or no permission; kallsyms-empty: it names no function.
    """

    addresses: UInt64Array = field(default_factory=lambda: np.zeros(0, np.uint64))
    offsets: UInt32Array = field(default_factory=lambda: np.zeros(0, np.uint32))
    names: bytes = b""  # "name\n" or "name\t[module]\n" at each offset
    reason: str = ""

    def __len__(self) -> int:
        return len(self.addresses)

    @property
    def size_bytes(self) -> int:
        return self.addresses.nbytes + self.offsets.nbytes + len(self.names)

    def lookup(self, addresses: UInt64Array) -> list[str]:
        """A name for each address, "name [module]" for a module's; "" where none is known.

        Subtract 1 from return addresses first. kallsyms knows no sizes: an address is taken to
        belong to the nearest symbol below it, if that is within 1 MiB. Functions of modules and
        BPF programs loaded after the table was made are not in it: drop it and read it again.
        """
        if not len(self):
            return [""] * len(addresses)
        found = np.searchsorted(self.addresses, addresses, side="right").astype(np.int64) - 1
        starts = self.addresses[np.maximum(found, 0)]
        known = (found >= 0) & (addresses - starts < _MAX_FUNCTION_BYTES)
        return [
            self._name(index) if is_known else ""
            for index, is_known in zip(found.tolist(), known.tolist(), strict=True)
        ]

    def _name(self, index: int) -> str:
        offset = int(self.offsets[index])
        line = self.names[offset : self.names.index(b"\n", offset)]
        return line.decode("utf-8", "replace").replace("\t", " ")


def parse_kallsyms(blocks: Iterable[bytes]) -> Kallsyms:
    """Understands the file in blocks that end with a line; lines of another form are passed over.

    Of several names for one address (``_text``, ``__memcpy``) the first one that does not begin
    with an underscore counts, else the first.
    """
    parsed = [_parse_block(block) for block in blocks if block]
    addresses = np.concatenate([p[0] for p in parsed] or [np.zeros(0, np.uint64)])
    lengths = np.concatenate([p[1] for p in parsed] or [np.zeros(0, np.uint32)])
    names = b"".join([p[2] for p in parsed])
    if not len(addresses):
        return Kallsyms(reason="kallsyms-empty")
    if not addresses.any():
        return Kallsyms(reason="kallsyms-hidden")
    offsets = np.cumsum(lengths, dtype=np.uint32) - lengths
    underscored = np.frombuffer(names, np.uint8)[offsets] == ord("_")
    order = np.lexsort((underscored, addresses))
    addresses = addresses[order]
    is_first = np.ones(len(addresses), np.bool_)
    is_first[1:] = addresses[1:] != addresses[:-1]
    is_first &= addresses != 0
    return Kallsyms(addresses[is_first], offsets[order][is_first], names)


def _parse_block(block: bytes) -> tuple[UInt64Array, UInt32Array, bytes]:
    """Addresses, lengths of names with their newline, and names of the block's text symbols."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    starts = np.zeros_like(ends)
    starts[1:] = ends[:-1] + 1
    is_line = ends - starts > _LINE_HEAD
    starts, ends = starts[is_line], ends[is_line]
    wanted = _IS_TEXT[data[starts + 17]] & (data[starts + 16] == ord(" "))
    wanted &= ~_is_padding(data, starts + _LINE_HEAD)
    starts, ends = starts[wanted], ends[wanted]
    nibbles = _NIBBLE[data[starts[:, None] + np.arange(16)]]
    octets = np.ascontiguousarray(nibbles[:, ::2] << 4 | nibbles[:, 1::2])
    addresses = octets.view(">u8").ravel().astype(np.uint64)
    addresses[(nibbles > 15).any(axis=1)] = 0  # no number: as good as hidden
    begins, stops = starts + _LINE_HEAD, ends + 1
    # Slicing in a loop is four times as fast as a mask over all bytes: it skips what is not kept.
    names = b"".join([block[i:j] for i, j in zip(begins.tolist(), stops.tolist(), strict=True)])
    return addresses, (stops - begins).astype(np.uint32), names


def _is_padding(data: UInt8Array, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    result = np.zeros(len(starts), np.bool_)
    maybe = np.flatnonzero((data[starts] == ord("_")) & (starts + 6 < len(data)))
    heads = data[starts[maybe, None] + np.arange(6)]
    for name in _PADDING_NAMES:
        result[maybe[(heads == name).all(axis=1)]] = True
    return result


def read_kallsyms(root: str) -> Kallsyms:
    """Reads ``root``/kallsyms. Never raises for a kernel that hides it: see ``Kallsyms.reason``.

    122 000 symbols took 45 ms of CPU, 25 of them in the kernel; the table of the 64 000 functions
    among them holds 2.2 MB.
    """
    try:
        return parse_kallsyms(_blocks(f"{root}/kallsyms"))
    except OSError:
        return Kallsyms(reason="kallsyms-unreadable")


def _blocks(path: str) -> Iterator[bytes]:
    """The file in pieces of whole lines. The kernel hands out a page at a time."""
    fd = os.open(path, os.O_RDONLY)
    try:
        parts: list[bytes] = []
        size, total = 0, 0
        while total < _MAX_BYTES:
            part = os.read(fd, _BLOCK_BYTES)
            if not part:
                break
            parts.append(part)
            size += len(part)
            total += len(part)
            if size >= _BLOCK_BYTES:
                block, _, rest = b"".join(parts).rpartition(b"\n")
                yield block + b"\n"
                parts, size = [rest], len(rest)
        block, newline, _ = b"".join(parts).rpartition(b"\n")
        yield block + newline
    finally:
        os.close(fd)
