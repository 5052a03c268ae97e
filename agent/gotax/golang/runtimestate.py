"""Where a Go runtime keeps its number of idle Ps, its GC settings, its heap and its GC cycles.

As ``gomaxprocs`` does it: once per binary, from machine code. ``live`` reads the values. Each
variable is found by two things that must agree, and is left out otherwise; a binary without any of
them is no error.
"""

from __future__ import annotations

from collections.abc import Callable

from gotax.golang.gomaxprocs import FunctionRanges, read_code, variables
from gotax.golang.live import StateAddresses
from gotax.golang.machinecode import Code, References, find_references, loads_from_argument
from gotax.linux.elf import Elf

_IDLE = ("runtime.pidleput", "runtime.pidleget")
_MARK_TERMINATION = "runtime.gcMarkTermination"
_READ_LIMIT = "runtime.readGOMEMLIMIT"
_GC_COMMIT = "runtime.gcControllerCommit"
_COMMIT = "runtime.(*gcControllerState).commit"
_RECEIVERS = (  # (caller, method): gcController is the method's receiver
    ("runtime.gcinit", "runtime.(*gcControllerState).init"),
    ("runtime.gcinit", "runtime.(*gcControllerState).setGCPercent"),
    (_GC_COMMIT, _COMMIT),
)
FUNCTIONS = frozenset(
    {*_IDLE, _MARK_TERMINATION, _READ_LIMIT}.union(*(set(pair) for pair in _RECEIVERS))
)

_Test = Callable[[int], bool]


def find_state(elf: Elf, functions: FunctionRanges) -> StateAddresses:
    """Of a Go binary for amd64 or arm64, stripped or not.

    ParseError: another architecture, a function of an impossible size, or what reading the file
    raises.
    """
    ranges = functions.function_ranges(FUNCTIONS)
    codes = {name: read_code(elf, extent) for name, extent in ranges.items()}
    is_variable = variables(elf)
    controller = find_controller(elf.machine, codes, is_variable)
    return StateAddresses(
        idle_ps=find_idle_ps(elf.machine, codes, is_variable),
        gogc=controller,
        memory_limit=find_memory_limit(elf.machine, codes, controller),
        gc_cycles=find_gc_cycles(elf.machine, codes, is_variable),
        heap_goal=find_heap_goal(elf.machine, codes, controller),
    )


def find_idle_ps(machine: int, codes: dict[str, Code], is_variable: _Test) -> int | None:
    """sched.npidle: pidleput adds 1 to it, pidleget -1, atomically (runtime/proc.go).

    The masks of idle Ps that they also change are no single variables.
    """
    if any(name not in codes for name in _IDLE):
        return None
    put, get = (find_references(machine, codes[name]).added for name in _IDLE)
    return _only(put & get, is_variable, 4)


def find_gc_cycles(machine: int, codes: dict[str, Code], is_variable: _Test) -> int | None:
    """memstats.numgc: gcMarkTermination counts it up, and prints it for GODEBUG=gctrace=1.

    It also counts numforcedgc up, but does not read it (runtime/mgc.go).
    """
    code = codes.get(_MARK_TERMINATION)
    if code is None:
        return None
    references = find_references(machine, code)
    return _only(references.incremented & references.loaded, is_variable, 4)


def find_controller(machine: int, codes: dict[str, Code], is_variable: _Test) -> int | None:
    """gcController, and with it gcPercent, its first field (runtime/mgcpacer.go).

    It is the receiver of its methods where they are called; commit reads gcPercent, 32 bits at
    the very place that its receiver points to.
    """
    if _COMMIT not in codes or not loads_from_argument(machine, codes[_COMMIT]):
        return None
    passed: set[int] = set()
    for caller, method in _RECEIVERS:
        if caller in codes and method in codes:
            references = find_references(machine, codes[caller])
            passed |= references.passed.get(codes[method].address, set())
    return _only(passed, is_variable, 8)


def find_memory_limit(machine: int, codes: dict[str, Code], controller: int | None) -> int | None:
    """gcController.memoryLimit, the second field, 64 bits.

    gcControllerCommit reads it for the scavenger (gcPaceScavenger). Before there was
    readGOMEMLIMIT, the field at that place was another.
    """
    if controller is None or _READ_LIMIT not in codes or _GC_COMMIT not in codes:
        return None
    references: References = find_references(machine, codes[_GC_COMMIT])
    return controller + 8 if controller + 8 in references.loaded_wide else None


_HEAP_GOALS = (72, 96)
"""lastHeapGoal's distance from gcController: in Go 1.20, and since 1.21. 1.19 had other fields."""


def find_heap_goal(machine: int, codes: dict[str, Code], controller: int | None) -> int | None:
    """gcController.lastHeapGoal, 64 bits: the goal of the last cycle.

    gcControllerCommit reads it for the scavenger, and of the controller nothing else but
    memoryLimit. So its place says which layout the controller has.
    """
    if controller is None or find_memory_limit(machine, codes, controller) is None:
        return None
    loaded = find_references(machine, codes[_GC_COMMIT]).loaded_wide
    found = [at for at in _HEAP_GOALS if controller + at in loaded]
    return controller + found[0] if len(found) == 1 else None


def _only(addresses: set[int], is_variable: _Test, alignment: int) -> int | None:
    found = [a for a in addresses if a % alignment == 0 and is_variable(a)]
    return found[0] if len(found) == 1 else None
