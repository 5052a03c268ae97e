"""Reads what a Go runtime has in its memory now. ``origin`` says what the values mean.

A reader does this for as long as the agent runs, so nothing here needs numpy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gotax.errors import ParseError, ReadError
from gotax.linux.procfs import TaskPath, read_memory_parts
from gotax.process import RuntimeState

MAX_GOMAXPROCS = 65536
"""No host has more CPUs (the runtime's own arrays for affinity masks end here as well)."""


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


@dataclass(frozen=True, slots=True)
class LiveGomaxprocs:
    """``custom``: the program or its environment chose the value; None: Go does not say (<1.25).

    ``start_cpus``: the CPUs that the process might run on when it started; None if not known.
    """

    value: int
    custom: bool | None
    start_cpus: int | None = None


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


@dataclass(frozen=True, slots=True)
class StateAddresses:
    """Link-time addresses; None where not found.

    ``idle_ps``: sched.npidle, 32 bits. ``gogc``: gcController.gcPercent, an int32, -1 for off
    (since Go 1.18; in 1.17 and before nothing here). ``memory_limit``: gcController.memoryLimit,
    an int64, the largest one for none (since 1.19). ``gc_cycles``: memstats.numgc, a uint32.
    ``heap_goal``: gcController.lastHeapGoal, a uint64, in the layout of Go 1.20 and newer.
    """

    idle_ps: int | None = None
    gogc: int | None = None
    memory_limit: int | None = None
    gc_cycles: int | None = None
    heap_goal: int | None = None


# Fields of gcController (runtime/mgcpacer.go), all 64 bits, by their distance from lastHeapGoal.
# It is the same from Go 1.20 to 1.27 and on both machines.
_STACK_SCAN, _GLOBALS_SCAN, _HEAP_MARKED = 32, 48, 56
_HEAP_FREE, _TOTAL_ALLOC, _TOTAL_FREE, _MAPPED_READY = 192, 200, 208, 216
_HEAP_BYTES = _MAPPED_READY + 8
_MAX_HEAP_BYTES = 1 << 48
"""No process has a larger address space for its heap (runtime/malloc.go)."""


def read_state(
    proc_root: str, task: TaskPath, addresses: StateAddresses, bias: int
) -> RuntimeState:
    """What the process has now; a value that no runtime can have is left out.

    Raises what ``read_memory`` raises.
    """
    wanted = {
        "idle_ps": (addresses.idle_ps, 4),
        "gogc": (addresses.gogc, 4),
        "memory_limit": (addresses.memory_limit, 8),
        "gc_cycles": (addresses.gc_cycles, 4),
        "heap": (addresses.heap_goal, _HEAP_BYTES),
    }
    places = {key: (at + bias, size) for key, (at, size) in wanted.items() if at is not None}
    if not places:
        return RuntimeState()
    parts = read_memory_parts(proc_root, task, places.values())
    found = dict(zip(places, parts, strict=True))
    heap = found.pop("heap", None)
    values = {
        key: int.from_bytes(part, "little", signed=key != "gc_cycles")
        for key, part in found.items()
    }
    state = RuntimeState(
        idle_ps=_at_least(values.get("idle_ps"), 0),
        gogc=_at_least(values.get("gogc"), -1),
        memory_limit_bytes=_at_least(values.get("memory_limit"), 0),
        gc_cycles=values.get("gc_cycles"),
    )
    return state if heap is None else _with_heap(state, heap)


def _with_heap(state: RuntimeState, heap: bytes) -> RuntimeState:
    """Without the heap's numbers before the first collection, and where one is impossible."""
    goal, live, free, allocated, freed, mapped, *roots = (
        int.from_bytes(heap[at : at + 8], "little")
        for at in (
            *(0, _HEAP_MARKED, _HEAP_FREE, _TOTAL_ALLOC, _TOTAL_FREE, _MAPPED_READY),
            *(_STACK_SCAN, _GLOBALS_SCAN),
        )
    )
    if not 0 < live < _MAX_HEAP_BYTES or not goal > 0 or not live <= allocated < 1 << 63:
        return state
    # The fields were not read at one moment, and the runtime changes each on its own.
    other = mapped - free - (allocated - freed)
    return replace(
        state,
        heap_goal_bytes=goal if goal < _MAX_HEAP_BYTES else None,
        live_heap_bytes=live,
        allocated_bytes=allocated,
        non_heap_bytes=max(0, other) if mapped < _MAX_HEAP_BYTES else None,
        root_bytes=sum(roots) if sum(roots) < _MAX_HEAP_BYTES else None,
    )


@dataclass(frozen=True, slots=True)
class RuntimeValues:
    """``problem`` is why there is no ``state``, "" where there is one."""

    gomaxprocs: LiveGomaxprocs
    state: RuntimeState | None
    problem: str = ""


def read_values(
    proc_root: str, task: TaskPath, addresses: GomaxprocsAddresses, state: StateAddresses, bias: int
) -> RuntimeValues:
    """Raises what ``read_gomaxprocs`` raises."""
    found = read_gomaxprocs(proc_root, task, addresses, bias)
    try:
        return RuntimeValues(found, read_state(proc_root, task, state, bias))
    except ReadError as error:
        return RuntimeValues(found, None, error.reason)


def _at_least(value: int | None, least: int) -> int | None:
    return None if value is None or value < least else value
