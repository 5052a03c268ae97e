"""The scanner with real machine code, and code that it must refuse."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from gotax.errors import ParseError, ProcessGoneError
from gotax.golang.bias import load_bias, program_bias
from gotax.golang.gomaxprocs import find_custom, find_gomaxprocs, find_value
from gotax.golang.live import GomaxprocsAddresses, LiveGomaxprocs, read_gomaxprocs
from gotax.golang.machinecode import Code
from gotax.linux.elf import EM_AARCH64, EM_X86_64, PF_X, PT_LOAD, BytesReader, Elf, Segment
from gotax.linux.mappings import Mapping
from gotax.linux.procfs import Auxiliary
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(frozen=True)
class Captured:
    """runtime.procresize and runtime.GOMAXPROCS of a real binary; addresses from its symbols."""

    name: str
    machine: int
    value: int
    custom: int | None
    writable: tuple[tuple[int, int], ...]
    procresize: Code
    gomaxprocs: Code | None

    def is_variable(self, address: int) -> bool:
        return any(low <= address < high for low, high in self.writable)


def _code(row: list[Any] | None) -> Code | None:
    return None if row is None else Code(row[0], bytes.fromhex(row[1]))


def _captured() -> list[Captured]:
    found = []
    for row in json.loads((FIXTURES / "gomaxprocs_code.json").read_text()):
        procresize = _code(row["procresize"])
        assert procresize is not None
        machine = EM_X86_64 if row["arch"] == "amd64" else EM_AARCH64
        writable = tuple((low, high) for low, high in row["writable"])
        name = f"{row['go']}-{row['arch']}"
        gomaxprocs = _code(row["GOMAXPROCS"])
        value, custom = row["value"], row["custom"]
        found.append(Captured(name, machine, value, custom, writable, procresize, gomaxprocs))
    return found


CAPTURED = _captured()
captured_codes = pytest.mark.parametrize("captured", CAPTURED, ids=lambda c: c.name)
relative_codes = pytest.mark.parametrize(
    "captured", [c for c in CAPTURED if c.name != "1.2.2-amd64"], ids=lambda c: c.name
)


@captured_codes
def test_the_address_found_is_that_of_the_symbol(captured: Captured) -> None:
    address, how = find_value(captured.machine, captured.procresize, captured.is_variable)
    assert address == captured.value
    assert how in ("exchange", "release-store", "call")


@captured_codes
def test_the_custom_flag_exists_since_go_1_25_only(captured: Captured) -> None:
    if captured.gomaxprocs is not None:
        found = find_custom(captured.machine, captured.gomaxprocs, captured.is_variable)
        assert found == captured.custom


@relative_codes
def test_moved_code_gives_the_moved_address(captured: Captured) -> None:
    """All references but Go 1.2's are relative, so moving code and data moves the answer."""
    shift = 0x5555_0000_0000
    moved = Code(captured.procresize.address + shift, captured.procresize.data)
    found = find_value(captured.machine, moved, lambda a: captured.is_variable(a - shift))
    assert found[0] == captured.value + shift


@captured_codes
def test_code_without_the_store_is_refused(captured: Captured) -> None:
    """The address needs two functions: with the second half of the code gone, there is none."""
    data = captured.procresize.data[:64]
    with pytest.raises(ParseError) as error:
        find_value(captured.machine, Code(0x401000, data), lambda _: True)
    assert error.value.reason == "gomaxprocs-none"


@relative_codes
def test_code_repeated_at_another_place_is_ambiguous(captured: Captured) -> None:
    code = captured.procresize
    aligned = code.data + bytes(-len(code.data) % 4)
    pages = (len(aligned) + 4095) // 4096 * 4096  # arm64 counts from the page of the instruction
    twice = Code(code.address, aligned.ljust(pages, b"\0") + code.data)
    with pytest.raises(ParseError) as error:
        find_value(
            captured.machine,
            twice,
            lambda a: captured.is_variable(a) or captured.is_variable(a - pages),
        )
    assert error.value.reason == "gomaxprocs-ambiguous"


@captured_codes
def test_an_address_that_is_no_variable_is_no_candidate(captured: Captured) -> None:
    with pytest.raises(ParseError) as error:
        find_value(captured.machine, captured.procresize, lambda _: False)
    assert error.value.reason == "gomaxprocs-none"


@given(
    machine=st.sampled_from([EM_X86_64, EM_AARCH64]),
    data=st.binary(max_size=512),
    address=st.integers(0, 2**64 - 1),
)
def test_any_bytes_give_an_address_or_a_parse_error(
    machine: int, data: bytes, address: int
) -> None:
    code = Code(address, data)
    try:
        found, _ = find_value(machine, code, lambda _: True)
    except ParseError as error:
        found, reason = 0, error.reason
    else:
        reason = "gomaxprocs-none"
    assert found % 4 == 0
    assert reason in ("gomaxprocs-none", "gomaxprocs-ambiguous")


@pytest.mark.parametrize("machine", [EM_X86_64, EM_AARCH64])
@pytest.mark.parametrize(
    "unit",
    [b"\x48\x8d\x05\0\0\0\0", b"\xb8", b"\x8b\x05", b"\x00\x00\x00\x90", b"\xe0\x07\x00\xf9"],
    ids=["lea", "mov", "load", "adrp", "str"],
)
def test_the_largest_code_of_only_openings_ends(machine: int, unit: bytes) -> None:
    """The work is linear in the code, which has at most 64 KiB."""
    code = Code(0x401000, (unit * 65536)[: 64 * 1024])
    with pytest.raises(ParseError):
        find_value(machine, code, lambda _: False)


@pytest.mark.parametrize("register", [r for r in range(16) if r != 4])  # 4 is rsp
def test_amd64_exchange_is_recognised_with_every_register(register: int) -> None:
    """mov eax, [rip+a]; lea register, [rip+a]; xchg [register], ecx, as an assembler writes it."""
    low, high = register & 7, register >> 3
    exchange = (bytes([0x41]) if high else b"") + b"\x87"
    if low == 5:
        exchange += bytes([0x48 | low, 0])
    else:
        exchange += bytes([0x08 | low]) + (b"\x24" if low == 4 else b"")
    start, variable = 0x401000, 0x500000
    load = b"\x8b\x05" + struct.pack("<i", variable - start - 6)
    take = bytes([0x48 | high << 2, 0x8D, low << 3 | 5])
    take += struct.pack("<i", variable - start - 6 - 7)
    code = Code(start, load + take + exchange)
    assert find_value(EM_X86_64, code, lambda a: a == variable) == (variable, "exchange")


def test_a_64_bit_exchange_is_not_gomaxprocs() -> None:
    """atomic.Store64 of a variable that is also read as 32 bits is another variable."""
    load = b"\x8b\x05" + struct.pack("<i", 0x1000 - 6)
    take = b"\x48\x8d\x05" + struct.pack("<i", 0x1000 - 13)
    with pytest.raises(ParseError) as error:
        find_value(EM_X86_64, Code(0, load + take + b"\x48\x87\x08"), lambda _: True)
    assert error.value.reason == "gomaxprocs-none"


def test_arm64_addresses_relaxed_to_adr_are_understood() -> None:
    """lld turns adrp+add into nop+adr when the variable is within a megabyte."""
    variable = 0x41000
    start = 0x40000
    adr = [0x10000000 | (variable - start - 4 * i) >> 2 << 5 | 1 for i in range(4)]
    words = (adr[0], 0xB9400020, adr[2], 0x889FFC20)  # ldr w0, [x1]; stlr w0, [x1]
    code = Code(start, struct.pack("<4I", *words))
    assert find_value(EM_AARCH64, code, lambda _: True) == (variable, "release-store")


def test_two_flags_are_refused() -> None:
    flags = b"\xc6\x05\x00\x10\x00\x00\x01" + b"\xc6\x05\x00\x20\x00\x00\x01"
    with pytest.raises(ParseError) as error:
        find_custom(EM_X86_64, Code(0, flags), lambda _: True)
    assert error.value.reason == "gomaxprocs-custom"


class _Functions:
    def __init__(self, ranges: dict[str, tuple[int, int]]) -> None:
        self._ranges = ranges

    def function_ranges(self, names: frozenset[str]) -> dict[str, tuple[int, int]]:
        return {name: extent for name, extent in self._ranges.items() if name in names}


def _elf_of(captured: Captured, machine: int | None = None) -> tuple[Elf, _Functions]:
    """A file with only the captured code, with the segments of the real one."""
    codes = [captured.procresize]
    names = ["runtime.procresize" if captured.name != "1.2.2-amd64" else "procresize"]
    if captured.gomaxprocs is not None:
        codes.append(captured.gomaxprocs)
        names.append("runtime.GOMAXPROCS")
    data = b"".join(code.data for code in codes)
    offsets = [0, len(codes[0].data)]
    segments = [
        Segment(PT_LOAD, PF_X | 4, offset, code.address, len(code.data), len(code.data))
        for offset, code in zip(offsets, codes, strict=False)
    ]
    segments += [Segment(PT_LOAD, 6, 0, low, 0, high - low) for low, high in captured.writable]
    elf = Elf(BytesReader(data), (2, machine or captured.machine, 0), tuple(segments), ())
    ranges = {
        name: (code.address, code.address + len(code.data))
        for name, code in zip(names, codes, strict=True)
    }
    return elf, _Functions(ranges)


@captured_codes
def test_a_file_gives_all_addresses_at_once(captured: Captured) -> None:
    addresses = find_gomaxprocs(*_elf_of(captured))
    assert addresses.value_address == captured.value
    assert addresses.custom_address == captured.custom
    assert addresses.can_be_called is (captured.gomaxprocs is not None)
    assert not addresses.automaxprocs


@pytest.mark.parametrize(
    ("ranges", "reason"),
    [
        ({}, "gomaxprocs-procresize"),
        ({"runtime.GOMAXPROCS": (0x401000, 0x401100)}, "gomaxprocs-procresize"),
        ({"runtime.procresize": (0x401000, 0x401000)}, "gomaxprocs-code"),
        ({"runtime.procresize": (0x402000, 0x401000)}, "gomaxprocs-code"),
        ({"runtime.procresize": (0, 1 << 62)}, "gomaxprocs-code"),
        ({"runtime.procresize": (0x10, 0x1000)}, "elf-unmapped"),
    ],
)
def test_impossible_functions_are_refused(ranges: dict[str, tuple[int, int]], reason: str) -> None:
    elf, _ = _elf_of(CAPTURED[-1])
    with pytest.raises(ParseError) as error:
        find_gomaxprocs(elf, _Functions(ranges))
    assert error.value.reason == reason


def test_another_architecture_is_refused_with_a_reason() -> None:
    elf, functions = _elf_of(CAPTURED[-1], machine=243)  # RISC-V
    with pytest.raises(ParseError) as error:
        find_gomaxprocs(elf, functions)
    assert error.value.reason == "gomaxprocs-machine"


def _mapping(start: int, end: int, offset: int) -> Mapping:
    return Mapping(start, end, offset, 0, 7, "/app")


def test_the_bias_of_a_moved_program_is_the_same_for_all_its_code() -> None:
    """A segment that starts inside a page (GNU ld, lld) is mapped from the page's start."""
    segments = (
        Segment(PT_LOAD, 4, 0, 0, 0x700, 0x700),
        Segment(PT_LOAD, 5, 0x700, 0x1700, 0x3000, 0x3000),
        Segment(PT_LOAD, 6, 0x3700, 0x5700, 0x100, 0x9000),
    )
    elf = Elf(BytesReader(b""), (3, EM_X86_64, 0), segments, ())
    base = 0x5555_5555_4000
    assert load_bias(elf, _mapping(base + 0x1000, base + 0x5000, 0)) == base
    assert load_bias(elf, _mapping(base, base + 0x1000, 0x8000)) is None
    # In pieces, as mprotect leaves them; the last one has less of the code than of the data after
    # it.
    assert load_bias(elf, _mapping(base + 0x2000, base + 0x4000, 0x1000)) == base
    assert load_bias(elf, _mapping(base + 0x4000, base + 0x5000, 0x3000)) == base
    # The data, which is executable if a program requests an executable stack.
    data = Segment(PT_LOAD, 6, 0x3700, 0x5700, 0x3100, 0x9000)
    elf = Elf(BytesReader(b""), (3, EM_X86_64, 0), (*segments[:2], data), ())
    assert load_bias(elf, _mapping(base + 0x5000, base + 0x9000, 0x3000)) == base


def _headed(segments: tuple[Segment, ...], entry: int) -> Elf:
    elf = Elf(BytesReader(b""), (3, EM_X86_64, entry), segments, ())
    elf.program_headers = range(0x40, 0x40 + 56 * len(segments))
    return elf


def test_the_bias_from_the_auxiliary_vector() -> None:
    """Entry and program headers must both match the file; kernels before 5.18 gave another address
    of the headers if they are not in the first segment."""
    base = 0x5555_5555_4000
    usual = _headed((Segment(PT_LOAD, 5, 0, 0, 0x3000, 0x3000),), 0x1234)
    assert program_bias(usual, Auxiliary(base + 0x1234, base + 0x40)) == base
    assert program_bias(usual, Auxiliary(base + 0x1234, base + 0x41)) is None
    assert program_bias(usual, Auxiliary(base + 0x1235, base + 0x40)) is None
    assert program_bias(usual, Auxiliary(0, 0)) is None
    late = _headed(
        (
            Segment(PT_LOAD, 5, 0x1000, 0x401000, 0x3000, 0x3000),
            Segment(PT_LOAD, 4, 0, 0x500000, 0x1000, 0x1000),
        ),
        0x401234,
    )
    assert program_bias(late, Auxiliary(0x401234, 0x500040)) == 0
    assert program_bias(late, Auxiliary(0x401234, 0x400040)) == 0
    assert program_bias(late, Auxiliary(0x401234, 0x401040)) is None


def _process(tmp_path: Path, memory: bytes) -> str:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "mem").write_bytes(memory)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("value", "flag", "read"),
    [
        (1, 0, LiveGomaxprocs(1, False)),
        (65536, 1, LiveGomaxprocs(65536, True)),
        (0, 0, None),
        (-1, 0, None),
        (65537, 0, None),
        (4, 2, None),
    ],
)
def test_only_possible_values_are_accepted(
    tmp_path: Path, value: int, flag: int, read: LiveGomaxprocs | None
) -> None:
    root = _process(tmp_path, struct.pack("<4xiB", value, flag))
    addresses = GomaxprocsAddresses(0x1004, 0x1008, "exchange")
    if read is not None:
        assert read_gomaxprocs(root, 1, addresses, -0x1000) == read
        return
    with pytest.raises(ParseError) as error:
        read_gomaxprocs(root, 1, addresses, -0x1000)
    assert error.value.reason == "gomaxprocs-range"


def test_without_a_flag_it_is_unknown_if_the_value_was_set(tmp_path: Path) -> None:
    root = _process(tmp_path, struct.pack("<i", 12))
    addresses = GomaxprocsAddresses(0, None, "call")
    assert read_gomaxprocs(root, 1, addresses, 0) == LiveGomaxprocs(12, None)


def test_a_process_without_memory_is_gone(tmp_path: Path) -> None:
    addresses = GomaxprocsAddresses(0, None, "call")
    with pytest.raises(ProcessGoneError):
        read_gomaxprocs(_process(tmp_path, b""), 1, addresses, 0)
    with pytest.raises(ProcessGoneError):
        read_gomaxprocs(str(tmp_path), 2, addresses, 0)
