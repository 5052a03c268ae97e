"""The four system calls that Python does not have: bpf, perf_event_open, membarrier, ioctl on it.

Numbers and layouts are ABI: include/uapi/linux/{bpf,perf_event,membarrier}.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import struct
import time
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

_NUMBERS = {  # bpf, perf_event_open, membarrier
    "x86_64": (321, 298, 324),
    "aarch64": (280, 241, 283),
}
MACHINE = platform.machine()
_BPF, _PERF_EVENT_OPEN, _MEMBARRIER = _NUMBERS.get(MACHINE, (-1, -1, -1))

_BPF_MAP_CREATE = 0
_BPF_MAP_LOOKUP_ELEM = 1
_BPF_MAP_UPDATE_ELEM = 2
_BPF_MAP_DELETE_ELEM = 3
_BPF_PROG_LOAD = 5
_BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25

_BPF_PROG_TYPE_PERF_EVENT = 7
_BPF_OBJ_NAME_LEN = 16

_PERF_TYPE_SOFTWARE = 1
_PERF_COUNT_SW_CPU_CLOCK = 0
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_EVENT_IOC_ENABLE = 0x2400
_PERF_EVENT_IOC_SET_BPF = 0x40042408
_PERF_ATTR_SIZE_VER1 = 72

_MEMBARRIER_CMD_GLOBAL = 1
_GRACE_S = 0.05


def _syscall(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, len(attributes))
    return _syscall(_BPF, ctypes.c_int(command), buffer, ctypes.c_uint(len(attributes)))


class MapLayout(NamedTuple):
    kind: int
    key_bytes: int
    value_bytes: int
    max_entries: int
    flags: int


def map_create(name: str, layout: MapLayout) -> int:
    """A descriptor. Raises OSError."""
    sizes = layout.key_bytes, layout.value_bytes, layout.max_entries
    return _bpf(
        _BPF_MAP_CREATE,
        struct.pack("=IIIIIII16s", layout.kind, *sizes, layout.flags, 0, 0, _short(name)),
    )


def program_load(name: str, instructions: bytes, licence: str) -> int:
    """The descriptor of a program for perf events, once the verifier has taken it.

    Raises OSError.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    terms = ctypes.create_string_buffer(licence.encode())
    return _bpf(
        _BPF_PROG_LOAD,
        struct.pack(
            "=IIQQIIQII16s",
            _BPF_PROG_TYPE_PERF_EVENT,
            len(instructions) // 8,
            ctypes.addressof(code),
            ctypes.addressof(terms),
            *(0, 0, 0),  # no log: the compiler's child repeats a refusal, with it
            *(0, 0),
            _short(name),
        ),
    )


def _short(name: str) -> bytes:
    return name.encode()[: _BPF_OBJ_NAME_LEN - 1]


def map_read(fd: int, key: bytes, value_bytes: int) -> bytes:
    """One value; for a per-CPU map the values of all possible CPUs, 8-aligned. Raises OSError."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(value_bytes)
    _bpf(
        _BPF_MAP_LOOKUP_ELEM,
        struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key_buffer), ctypes.addressof(value), 0),
    )
    return value.raw


def map_write(fd: int, key: bytes, value: bytes) -> None:
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value_buffer = ctypes.create_string_buffer(value, len(value))
    addresses = ctypes.addressof(key_buffer), ctypes.addressof(value_buffer)
    _bpf(_BPF_MAP_UPDATE_ELEM, struct.pack("=IIQQQ", fd, 0, *addresses, 0))


def map_delete(fd: int, key: bytes) -> None:
    key_buffer = ctypes.create_string_buffer(key, len(key))
    attributes = struct.pack("=IIQQQ", fd, 0, ctypes.addressof(key_buffer), 0, 0)
    _bpf(_BPF_MAP_DELETE_ELEM, attributes)


class Batch:
    """Reads and empties a hash map through one reused pair of numpy buffers."""

    def __init__(self, keys: npt.NDArray[np.void], values: npt.NDArray[np.void]) -> None:
        self.keys = keys
        self.values = values
        self._cursors = ctypes.create_string_buffer(16)  # opaque u32 positions: in, out

    def take(self, fd: int, first: bool) -> tuple[int, bool]:
        """Move up to ``len(keys)`` entries into the buffers: (entries, the map is empty now).

        ENOENT says that the end was reached. ENOSPC (one hash bucket alone has more entries than
        the buffers: bcc#5273) cannot come with hundreds of slots. Raises OSError.
        """
        position = ctypes.addressof(self._cursors)
        attributes = ctypes.create_string_buffer(
            struct.pack(
                "=QQQQIIQQ",
                0 if first else position,
                position + 8,
                self.keys.ctypes.data,
                self.values.ctypes.data,
                len(self.keys),
                fd,
                0,
                0,
            )
        )
        done = False
        try:
            _syscall(
                _BPF,
                ctypes.c_int(_BPF_MAP_LOOKUP_AND_DELETE_BATCH),
                attributes,
                ctypes.c_uint(56),
            )
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            done = True
        ctypes.memmove(position, position + 8, 8)
        return int(struct.unpack_from("=I", attributes, 32)[0]), done


class Ring:
    """Reads what a program has written to a BPF_MAP_TYPE_RINGBUF; ``fd`` polls readable then.

    kernel/bpf/ringbuf.c: a page with the consumer's position, which only we write; a page with the
    producer's; the data, mapped twice in a row so that a record is never cut at the end. Before
    each record stands its length (with BPF_RINGBUF_BUSY_BIT while it is being written, and
    BPF_RINGBUF_DISCARD_BIT if it does not count) and a word that is not for us; records are padded
    to 8 bytes.
    """

    _BUSY, _DISCARDED, _HEADER = 1 << 31, 1 << 30, 8

    def __init__(self, fd: int, data_bytes: int) -> None:
        self.fd = fd
        self._size = data_bytes
        self._consumer = mmap.mmap(fd, mmap.PAGESIZE)
        self._producer = mmap.mmap(
            fd, mmap.PAGESIZE + 2 * data_bytes, prot=mmap.PROT_READ, offset=mmap.PAGESIZE
        )

    def take(self) -> list[bytes]:
        """The records since the last call."""
        (position,) = struct.unpack_from("=Q", self._consumer)
        (end,) = struct.unpack_from("=Q", self._producer)
        records = []
        while position < end:
            at = mmap.PAGESIZE + position % self._size
            (length,) = struct.unpack_from("=I", self._producer, at)
            if length & self._BUSY:
                break
            start, size = at + self._HEADER, length & ~self._DISCARDED
            if size == length:
                records.append(self._producer[start : start + size])
            position += self._HEADER + (size + 7) // 8 * 8
        struct.pack_into("=Q", self._consumer, 0, position)
        return records

    def close(self) -> None:
        self._consumer.close()
        self._producer.close()


def open_cpu_clock(cpu: int, period_ns: int) -> int:
    """A disabled timer event on ``cpu`` that fires every ``period_ns``. Raises OSError."""
    disabled = 1
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "=IIQQQQQIIQQ",
            _PERF_TYPE_SOFTWARE,
            _PERF_ATTR_SIZE_VER1,
            _PERF_COUNT_SW_CPU_CLOCK,
            period_ns,
            0,
            0,
            disabled,
            0,
            0,
            0,
            0,
        ),
        _PERF_ATTR_SIZE_VER1,
    )
    return _syscall(
        _PERF_EVENT_OPEN,
        attributes,
        ctypes.c_int(-1),
        ctypes.c_int(cpu),
        ctypes.c_int(-1),
        ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC),
    )


def attach(event_fd: int, program_fd: int) -> None:
    """Run the program at every overflow of the event, from now on. Raises OSError."""
    fcntl.ioctl(event_fd, _PERF_EVENT_IOC_SET_BPF, program_fd)
    fcntl.ioctl(event_fd, _PERF_EVENT_IOC_ENABLE, 0)


def is_stopped(event_fd: int) -> bool:
    """The event will not fire again: its CPU has been offline since (perf_event_exit_cpu).

    The count of a cpu-clock event is time, read from the CPU it is on: it stands still only then.
    """
    try:
        first = os.read(event_fd, 8)
        return first == os.read(event_fd, 8)
    except OSError:
        return True


def wait_for_running_programs() -> None:
    """Return when every BPF program that runs now has ended.

    MEMBARRIER_CMD_GLOBAL is synchronize_rcu(), and BPF programs run under rcu_read_lock()
    (kernel/sched/membarrier.c, kernel/events/core.c:bpf_overflow_handler). With nohz_full the
    command is refused; a program runs for microseconds, so a pause does.
    """
    try:
        _syscall(_MEMBARRIER, ctypes.c_int(_MEMBARRIER_CMD_GLOBAL), ctypes.c_uint(0))
    except OSError:
        time.sleep(_GRACE_S)
