"""Finds where GOMAXPROCS lies in the memory of a process. ``live`` reads its value.

Once per binary ``find_gomaxprocs`` finds the addresses of the runtime's variables in the machine
code, since a stripped binary has no symbols for them. The code decides, not the version.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gotax.errors import ParseError
from gotax.golang.live import GomaxprocsAddresses
from gotax.golang.machinecode import Code, find_references
from gotax.linux.elf import Elf

# runtime.procresize was C code called procresize up to Go 1.4.
_PROCRESIZE = ("runtime.procresize", "procresize")
_GOMAXPROCS = "runtime.GOMAXPROCS"
_OSINIT = "runtime.osinit"
_SCHEDINIT = "runtime.schedinit"
_AUTOMAXPROCS = "go.uber.org/automaxprocs/maxprocs.Set"
FUNCTIONS = frozenset({*_PROCRESIZE, _GOMAXPROCS, _OSINIT, _SCHEDINIT, _AUTOMAXPROCS})

_MAX_CODE_BYTES = 64 * 1024  # procresize has 2 to 4 KiB, twice that with -race or -N


class FunctionRanges(Protocol):
    """What is needed of a pclntab."""

    def function_ranges(self, names: frozenset[str]) -> dict[str, tuple[int, int]]:
        """Link-time [low, high) of those of the functions that exist."""


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
