"""Idle Ps, GC settings and the CPUs at the start, found in real machine code and read."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from gotax.errors import AccessError, ProcessGoneError
from gotax.golang.gomaxprocs import find_cpus
from gotax.golang.live import (
    GomaxprocsAddresses,
    LiveGomaxprocs,
    StateAddresses,
    read_gomaxprocs,
    read_state,
)
from gotax.golang.machinecode import Code, find_references
from gotax.golang.runtimestate import (
    find_controller,
    find_gc_cycles,
    find_heap_goal,
    find_idle_ps,
    find_memory_limit,
)
from gotax.linux.elf import EM_AARCH64, EM_X86_64
from gotax.process import RuntimeState
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(frozen=True)
class Captured:
    """Functions of a real binary; the addresses lie in the variables of its symbols."""

    name: str
    machine: int
    codes: dict[str, Code]
    state: StateAddresses
    cpus: int
    writable: tuple[tuple[int, int], ...]

    def is_variable(self, address: int) -> bool:
        return any(low <= address < high for low, high in self.writable)

    def found(self, codes: dict[str, Code]) -> StateAddresses:
        controller = find_controller(self.machine, codes, self.is_variable)
        return StateAddresses(
            find_idle_ps(self.machine, codes, self.is_variable),
            controller,
            find_memory_limit(self.machine, codes, controller),
            find_gc_cycles(self.machine, codes, self.is_variable),
            find_heap_goal(self.machine, codes, controller),
        )


def _heap_goal(version: str, controller: int) -> int | None:
    """By gcControllerState in runtime/mgcpacer.go: lastConsMark has four values since 1.21."""
    minor = int(version.split(".")[1])
    return None if minor < 20 else controller + (72 if minor == 20 else 96)


def _captured() -> list[Captured]:
    return [
        Captured(
            f"{row['go']}-{row['arch']}",
            EM_X86_64 if row["arch"] == "amd64" else EM_AARCH64,
            {n: Code(at, bytes.fromhex(code)) for n, (at, code) in row["functions"].items()},
            replace(
                StateAddresses(*(row[k] for k in ("idle_ps", "gogc", "memory_limit", "gc_cycles"))),
                heap_goal=_heap_goal(row["go"], row["gogc"]),
            ),
            row["cpus"],
            tuple((low, high) for low, high in row["writable"]),
        )
        for row in json.loads((FIXTURES / "runtimestate_code.json").read_text())
    ]


captured_codes = pytest.mark.parametrize("captured", _captured(), ids=lambda c: c.name)


@captured_codes
def test_the_addresses_found_are_those_of_the_symbols(captured: Captured) -> None:
    """Go 1.18 has no memory limit; another field is at its place."""
    assert captured.found(captured.codes) == captured.state
    assert (captured.state.memory_limit is None) == captured.name.startswith("1.18")


@captured_codes
def test_the_cpus_at_the_start_are_found_in_osinit_and_schedinit(
    captured: Captured,
) -> None:
    machine, osinit = captured.machine, captured.codes["runtime.osinit"]
    schedinit = captured.codes["runtime.schedinit"]
    assert find_cpus(machine, osinit, schedinit, captured.is_variable) == captured.cpus
    assert find_cpus(machine, osinit, schedinit, lambda _: False) is None
    empty = Code(schedinit.address, b"")
    assert find_cpus(machine, osinit, empty, captured.is_variable) is None


@captured_codes
def test_without_one_of_its_functions_a_variable_is_omitted(captured: Captured) -> None:
    """Each needs two functions; with one of them missing there is no address."""
    method = "runtime.(*gcControllerState).commit"
    for missing, lost in (
        ("runtime.pidleput", {"idle_ps"}),
        ("runtime.pidleget", {"idle_ps"}),
        ("runtime.gcMarkTermination", {"gc_cycles"}),
        (method, {"gogc", "memory_limit", "heap_goal"}),
        ("runtime.readGOMEMLIMIT", {"memory_limit", "heap_goal"}),
        ("runtime.gcControllerCommit", {"memory_limit", "heap_goal"}),
    ):
        codes = {name: code for name, code in captured.codes.items() if name != missing}
        found = captured.found(codes)
        for key in ("idle_ps", "gogc", "memory_limit", "gc_cycles", "heap_goal"):
            wanted = None if key in lost else getattr(captured.state, key)
            assert getattr(found, key) == wanted, (missing, key)


@captured_codes
def test_two_candidates_give_no_address(captured: Captured) -> None:
    """If another variable is passed to the same method, the controller is uncertain."""
    commit = captured.codes["runtime.(*gcControllerState).commit"].address
    caller = captured.codes["runtime.gcinit"]
    other = captured.writable[0][0] + 64 & ~7
    if captured.machine == EM_X86_64:
        take = b"\x48\x8d\x05" + struct.pack("<i", other - caller.address - 7)
        data = take + b"\xe8" + struct.pack("<i", commit - caller.address - 12)
    else:
        pages = (other >> 12) - (caller.address >> 12)
        words = (
            0x90000000 | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5,  # adrp x0
            0x91000000 | (other & 0xFFF) << 10,  # add x0, x0, #
            0x94000000 | (commit - caller.address - 8 >> 2) & 0x3FFFFFF,  # bl
        )
        data = struct.pack("<3I", *words)
    moved = Code(caller.address, data)
    assert find_references(captured.machine, moved).passed == {commit: {other}}
    codes = captured.codes | {"runtime.gcControllerCommit": moved}
    if "runtime.gcControllerCommit" in captured.codes:
        assert captured.found(codes).gogc is None


@given(
    machine=st.sampled_from([EM_X86_64, EM_AARCH64]),
    data=st.binary(max_size=256),
    address=st.integers(0, 2**64 - 1),
)
def test_any_bytes_have_references(machine: int, data: bytes, address: int) -> None:
    """No bytes make it raise, and arm64 calls go to whole instructions."""
    found = find_references(machine, Code(address & ~3, data))
    if machine == EM_AARCH64:
        assert all(callee % 4 == 0 for callee in found.passed)
    assert all(how in ("exchange", "release-store", "call") for how in found.published.values())


# Reading


def _process(folder: Path, memory: bytes) -> str:
    (folder / "1").mkdir()
    (folder / "1" / "mem").write_bytes(memory)
    return str(folder)


MEMORY = struct.pack("<iiqI", 3, -1, 2**63 - 1, 2**32 - 1)
ALL = StateAddresses(0x1000, 0x1004, 0x1008, 0x1010)


def test_values_are_read_from_their_places(tmp_path: Path) -> None:
    root = _process(tmp_path, MEMORY)
    assert read_state(root, 1, ALL, -0x1000) == RuntimeState(3, -1, 2**63 - 1, 2**32 - 1)
    assert read_state(root, 1, StateAddresses(gogc=4), 0) == RuntimeState(gogc=-1)
    assert read_state(root, 1, StateAddresses(), 0) == RuntimeState()


def test_impossible_values_are_omitted(tmp_path: Path) -> None:
    """A negative count or limit is invalid; GOGC goes down to -1."""
    root = _process(tmp_path, struct.pack("<iiqI", -1, -2, -1, 0))
    assert read_state(root, 1, ALL, -0x1000) == RuntimeState(gc_cycles=0)


MIB = 1 << 20


def _heap(**fields: int) -> bytes:
    """gcController from lastHeapGoal to mappedReady, in 64-bit words."""
    given = {"goal": 200 * MIB, "live": 100 * MIB, "allocated": 900 * MIB, "freed": 780 * MIB}
    given |= {"free": 10 * MIB, "mapped": 150 * MIB, "stacks": 3, "globals": 4} | fields
    words = [0xDEAD] * 28
    places = {"goal": 0, "live": 7, "free": 24, "allocated": 25, "freed": 26, "mapped": 27}
    places |= {"stacks": 4, "globals": 6}
    for name, place in places.items():
        words[place] = given[name]
    return struct.pack("<28Q", *words)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (200 * MIB, 100 * MIB, 900 * MIB, 20 * MIB, 7)),
        ({"goal": 2**64 - 1}, (None, 100 * MIB, 900 * MIB, 20 * MIB, 7)),  # GOGC=off
        ({"goal": 1 << 48}, (None, 100 * MIB, 900 * MIB, 20 * MIB, 7)),
        ({"goal": (1 << 48) - 1}, ((1 << 48) - 1, 100 * MIB, 900 * MIB, 20 * MIB, 7)),
        ({"mapped": 100 * MIB}, (200 * MIB, 100 * MIB, 900 * MIB, 0, 7)),  # read at different times
        ({"mapped": 1 << 48}, (200 * MIB, 100 * MIB, 900 * MIB, None, 7)),
        ({"live": 0}, (None, None, None, None, None)),  # no cycle yet
        ({"live": 900 * MIB}, (200 * MIB, 900 * MIB, 900 * MIB, 20 * MIB, 7)),
        ({"live": 900 * MIB + 1}, (None, None, None, None, None)),  # more than was ever allocated
        ({"live": 1 << 48, "allocated": 1 << 50}, (None, None, None, None, None)),
        ({"goal": 0}, (None, None, None, None, None)),
        ({"stacks": (1 << 48) - 5}, (200 * MIB, 100 * MIB, 900 * MIB, 20 * MIB, (1 << 48) - 1)),
        ({"stacks": (1 << 48) - 4}, (200 * MIB, 100 * MIB, 900 * MIB, 20 * MIB, None)),
        ({"allocated": 1 << 63}, (None, None, None, None, None)),
    ],
)
def test_the_heap_is_read_from_the_controller(
    tmp_path: Path, fields: dict[str, int], expected: tuple[int | None, ...]
) -> None:
    root = _process(tmp_path, struct.pack("<iiq", 100, 0, 7) + _heap(**fields))
    addresses = StateAddresses(gogc=0, memory_limit=8, heap_goal=16)
    assert read_state(root, 1, addresses, 0) == RuntimeState(None, 100, 7, None, *expected)


def test_missing_memory_is_an_error(tmp_path: Path) -> None:
    root = _process(tmp_path, MEMORY[:18])
    with pytest.raises(AccessError) as error:
        read_state(root, 1, ALL, -0x1000)
    assert error.value.reason == "memory-unmapped"
    with pytest.raises(ProcessGoneError):
        read_state(root, 2, ALL, -0x1000)


@pytest.mark.parametrize(("stored", "read"), [(2, 2), (0, None), (-1, None), (65537, None)])
def test_an_impossible_number_of_cpus_is_unknown(
    tmp_path: Path, stored: int, read: int | None
) -> None:
    root = _process(tmp_path, struct.pack("<ii", 4, stored))
    addresses = GomaxprocsAddresses(0, None, "exchange", cpus_address=4)
    assert read_gomaxprocs(root, 1, addresses, 0) == LiveGomaxprocs(4, None, read)
