"""What a reader gives up before it reads: rights, memory, and whatever it does not need."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import struct

_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_NO_NEW_PRIVS = 1, 15, 38  # include/uapi/linux/prctl.h
_CAPABILITY_VERSION = 0x20080522  # include/uapi/linux/capability.h, of 64 bits
_DAC_OVERRIDE, _DAC_READ_SEARCH, _SYS_PTRACE, _SYS_ADMIN, _CHECKPOINT_RESTORE = 1, 2, 19, 21, 40
MEMORY_BYTES = 160 << 20
"""More than it has at its start. A binary of 100 MB takes some 20, its symbols 40."""
_OPEN_FILES = 64


def name_process(name: str) -> None:
    """As ps shows it."""
    _prctl(_PR_SET_NAME, ctypes.c_char_p(name.encode()[:15]))


def die_with_parent(parent: int) -> None:
    """Be killed when the parent ends, and end now if it has."""
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(0)


def confine() -> None:
    """Limits that hold for this process and its children, and rights that none of them gets back.

    What fails is left out: a limit may be lower already.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1))
    limits = [
        (resource.RLIMIT_CORE, 0),  # memory of others would be in it
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_AS, _address_space_bytes() + MEMORY_BYTES),
    ]
    for which, most in limits:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (most, most))
    _keep_capabilities()


def be_the_first_to_die() -> None:
    """Where memory is short the kernel takes the reader, not the agent."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def limit_cpu(seconds: int) -> None:
    """From now on. The kernel ends a process that takes more."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    most = int(spent.ru_utime + spent.ru_stime) + 1 + seconds
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (most, hard))


def resident_bytes() -> int:
    return _statm()[1]


def _address_space_bytes() -> int:
    return _statm()[0]


def _statm() -> list[int]:
    with open("/proc/self/statm", "rb") as file:
        return [int(field) * resource.getpagesize() for field in file.read().split()]


def _keep_capabilities() -> None:
    """Those by which files and memory of others are read, as far as held.

    Without SYS_PTRACE all stay: then a process may be read only by one that has its capabilities.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    header = ctypes.create_string_buffer(struct.pack("<II", _CAPABILITY_VERSION, 0))
    sets = ctypes.create_string_buffer(24)  # effective, permitted, inheritable; twice 32 bits
    if libc.capget(header, sets):
        return
    low_effective, low_permitted, _, high_effective, high_permitted, _ = struct.unpack(
        "<6I", sets.raw[:24]
    )
    held = low_permitted | high_permitted << 32
    if not held >> _SYS_PTRACE & 1:
        return
    wanted = 1 << _SYS_PTRACE
    wanted |= 1 << (_DAC_READ_SEARCH if held >> _DAC_READ_SEARCH & 1 else _DAC_OVERRIDE)
    wanted |= 1 << (_CHECKPOINT_RESTORE if held >> _CHECKPOINT_RESTORE & 1 else _SYS_ADMIN)
    permitted = held & wanted
    effective = (low_effective | high_effective << 32) & permitted
    sets.raw = struct.pack(
        "<6I",
        *(effective & 0xFFFFFFFF, permitted & 0xFFFFFFFF, 0),
        *(effective >> 32, permitted >> 32, 0),
    )
    libc.capset(header, sets)


def _prctl(option: int, argument: ctypes.c_char_p | ctypes.c_ulong) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    libc.prctl(ctypes.c_int(option), argument, zero, zero, zero)
