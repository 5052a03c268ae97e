"""GOMAXPROCS of a process from outside: where it lies in its memory, and what it is now.

Once per binary ``find_gomaxprocs`` finds the addresses of the runtime's variables in the machine
code, since a stripped binary has no symbols for them; once per process and window
``read_gomaxprocs`` reads them. The code decides, not the version. What the values mean is in
``origin``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gotax.errors import ParseError
from gotax.golang.machinecode import Code, find_references
from gotax.linux.elf import PF_X, Elf, Segment
from gotax.linux.mappings import Mapping
from gotax.linux.procfs import Auxiliary, TaskPath, read_memory_parts

MAX_GOMAXPROCS = 65536
"""No host has more CPUs (the runtime's own arrays for affinity masks end here as well)."""

# runtime.procresize was C code called procresize up to Go 1.4.
_PROCRESIZE = ("runtime.procresize", "procresize")
_GOMAXPROCS = "runtime.GOMAXPROCS"
_OSINIT = "runtime.osinit"
_SCHEDINIT = "runtime.schedinit"
_AUTOMAXPROCS = "go.uber.org/automaxprocs/maxprocs.Set"
FUNCTIONS = frozenset({*_PROCRESIZE, _GOMAXPROCS, _OSINIT, _SCHEDINIT, _AUTOMAXPROCS})

_PAGE_BYTES = 4096
_MAX_CODE_BYTES = 64 * 1024  # procresize has 2 to 4 KiB, twice that with -race or -N


class FunctionRanges(Protocol):
    """What is needed of a pclntab."""

    def function_ranges(self, names: frozenset[str]) -> dict[str, tuple[int, int]]:
        """Link-time [low, high) of those of the functions that exist."""


@dataclass(frozen=True, slots=True)
class GomaxprocsAddresses:
    """Link-time addresses of the runtime's variables.

    ``value_address``: runtime.gomaxprocs, an int32. ``custom_address``: sched.customGOMAXPROCS, a
    byte, 1 once the program or its environment chose the value; None before Go 1.25.
    ``how``: the instruction that gave it away, ``exchange``, ``release-store`` or ``call``.
    ``can_be_called``: runtime.GOMAXPROCS is linked in; without it nothing in the program can
    change the value. ``automaxprocs``: go.uber.org/automaxprocs is linked in.
    ``cpus_address``: runtime.ncpu, numCPUStartup since 1.25, an int32: the CPUs that the process
    might run on when it started; None if not found.
    """

    value_address: int
    custom_address: int | None
    how: str
    can_be_called: bool = True
    automaxprocs: bool = False
    cpus_address: int | None = None


def find_gomaxprocs(elf: Elf, functions: FunctionRanges) -> GomaxprocsAddresses:
    """Of a Go binary for amd64 or arm64, stripped or not.

    ParseError: ``gomaxprocs-machine`` (another architecture), ``gomaxprocs-procresize`` (not in
    the pclntab), ``gomaxprocs-code`` (of an impossible size), ``gomaxprocs-none`` and
    ``gomaxprocs-ambiguous`` (no or several variables look like it), ``gomaxprocs-custom``
    (several look like customGOMAXPROCS), or what reading the file raises.
    """
    ranges = functions.function_ranges(FUNCTIONS)
    procresize = next((ranges[name] for name in _PROCRESIZE if name in ranges), None)
    if procresize is None:
        raise ParseError("gomaxprocs-procresize", "no function of that name")
    is_variable = variables(elf)
    value, how = find_value(elf.machine, read_code(elf, procresize), is_variable)
    setter = ranges.get(_GOMAXPROCS)
    custom = None
    if setter is not None:
        custom = find_custom(elf.machine, read_code(elf, setter), is_variable)
    cpus = None
    if _OSINIT in ranges and _SCHEDINIT in ranges:
        codes = (read_code(elf, ranges[_OSINIT]), read_code(elf, ranges[_SCHEDINIT]))
        cpus = find_cpus(elf.machine, *codes, is_variable)
    return GomaxprocsAddresses(
        value, custom, how, setter is not None, _AUTOMAXPROCS in ranges, cpus
    )


def variables(elf: Elf) -> Callable[[int], bool]:
    """Whether a link-time address is in a writable segment."""
    writable = [
        range(load.address, load.address + load.memory_size) for load in elf.loads if load.writable
    ]
    return lambda address: any(address in segment for segment in writable)


def read_code(elf: Elf, extent: tuple[int, int]) -> Code:
    """ParseError ``gomaxprocs-code`` for an impossible size, or what reading the file raises."""
    low, high = extent
    if not 0 < high - low <= _MAX_CODE_BYTES:
        raise ParseError("gomaxprocs-code", f"{high - low} bytes at {low:#x}")
    return Code(low, elf.read_va(low, high - low))


def find_value(
    machine: int, procresize: Code, is_variable: Callable[[int], bool]
) -> tuple[int, str]:
    """(address, how) of runtime.gomaxprocs: see ``GomaxprocsAddresses``.

    procresize begins with ``old := gomaxprocs`` and ends with ``atomic.Store(&gomaxprocs, n)``
    (runtime/proc.go; proc.c up to Go 1.4). It is the only 32-bit variable there that is both
    read plainly and stored atomically.
    """
    references = find_references(machine, procresize)
    found = {
        address: how
        for address, how in references.published.items()
        if address in references.loaded and address % 4 == 0 and is_variable(address)
    }
    if len(found) != 1:
        reason = "gomaxprocs-ambiguous" if found else "gomaxprocs-none"
        raise ParseError(reason, f"{len(found)} candidates at {procresize.address:#x}")
    return next(iter(found.items()))


def find_custom(machine: int, gomaxprocs: Code, is_variable: Callable[[int], bool]) -> int | None:
    """Address of sched.customGOMAXPROCS, None where the runtime has none (before Go 1.25).

    runtime.GOMAXPROCS sets it, ``sched.customGOMAXPROCS = true``, and no other byte.
    """
    flags = {a for a in find_references(machine, gomaxprocs).flagged if is_variable(a)}
    if len(flags) > 1:
        raise ParseError("gomaxprocs-custom", f"{len(flags)} flags at {gomaxprocs.address:#x}")
    return next(iter(flags), None)


def find_cpus(
    machine: int, osinit: Code, schedinit: Code, is_variable: Callable[[int], bool]
) -> int | None:
    """Address of runtime.ncpu (numCPUStartup since Go 1.25); None if no variable looks like it.

    osinit sets it, ``ncpu = getproccount()`` (runtime/os_linux.go), and schedinit takes it for the
    default, ``procs := ncpu``: the one 32-bit variable that one stores and the other loads.
    """
    found = {
        address
        for address in find_references(machine, osinit).stored
        & find_references(machine, schedinit).loaded
        if address % 4 == 0 and is_variable(address)
    }
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class LiveGomaxprocs:
    """``custom``: the program or its environment chose the value; None: Go does not say (<1.25).

    ``start_cpus``: the CPUs that the process might run on when it started; None if not known.
    """

    value: int
    custom: bool | None
    start_cpus: int | None = None


def load_bias(elf: Elf, mapping: Mapping) -> int | None:
    """Runtime minus link-time address of what is mapped there; None: it is none of its segments.

    That it is this file, the caller knows. A segment may be mapped in several pieces, and the
    whole file once more as data: each has its own bias. A page can hold the end of one segment
    and the beginning of the next, so the one that most of the mapping is of counts.
    """
    end = mapping.offset + mapping.end - mapping.start

    def overlap(load: Segment) -> tuple[bool, int]:
        shared = min(end, load.offset + load.file_size) - max(mapping.offset, load.offset)
        is_code = bool(load.flags & PF_X) and shared > 0
        return is_code and (shared > _PAGE_BYTES or mapping.offset <= load.offset), shared

    best = max(elf.loads, key=overlap, default=None)
    if best is None or overlap(best)[1] <= 0:
        return None
    return mapping.start - mapping.offset - (best.address - best.offset)


def program_bias(elf: Elf, passed: Auxiliary) -> int | None:
    """Runtime minus link-time address of the program, by what the kernel passed to its start.

    No name and no number of a file is asked, which are not the same everywhere. None where it
    was not passed, or where it does not fit this file.
    """
    bias = passed.entry - elf.entry
    if not passed.entry or bias % _PAGE_BYTES or not elf.loads:
        return None
    # Before Linux 5.18 the kernel added the offset of the headers to the first segment's place,
    # whatever segment they are in (fs/binfmt_elf.c load_elf_binary).
    first = elf.loads[0].address - elf.loads[0].offset + elf.program_headers.start
    known = (elf.program_headers_address, first)
    return bias if passed.headers - bias in known else None


def read_gomaxprocs(
    proc_root: str, task: TaskPath, addresses: GomaxprocsAddresses, bias: int
) -> LiveGomaxprocs:
    """What the process runs with now.

    ParseError: ``gomaxprocs-range`` (no value a runtime can have: the process is not yet past its
    start, or another binary than the one looked at), and what ``read_memory`` raises.
    """
    wanted = [(addresses.value_address + bias, 4)]
    if addresses.custom_address is not None:
        wanted.append((addresses.custom_address + bias, 1))
    if addresses.cpus_address is not None:
        wanted.append((addresses.cpus_address + bias, 4))
    parts = iter(read_memory_parts(proc_root, task, wanted))
    value = int.from_bytes(next(parts), "little", signed=True)
    custom = None
    if addresses.custom_address is not None:
        flag = next(parts)[0]
        if flag > 1:
            raise ParseError("gomaxprocs-range", f"customGOMAXPROCS is {flag} in process {task}")
        custom = bool(flag)
    if not 1 <= value <= MAX_GOMAXPROCS:
        raise ParseError("gomaxprocs-range", f"GOMAXPROCS is {value} in process {task}")
    cpus = int.from_bytes(next(parts, b""), "little", signed=True)
    return LiveGomaxprocs(value, custom, cpus if 1 <= cpus <= MAX_GOMAXPROCS else None)
