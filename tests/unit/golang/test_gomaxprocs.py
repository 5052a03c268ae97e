"""Rules against 85 real runs, the scanner against real machine code, and what must be refused."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from gotax.errors import ParseError, ProcessGoneError, Refusal
from gotax.golang.cgroupview import CgroupLayout, CgroupView, view_cgroup
from gotax.golang.gomaxprocs import (
    GomaxprocsAddresses,
    LiveGomaxprocs,
    find_custom,
    find_gomaxprocs,
    find_value,
    load_bias,
    program_bias,
    read_gomaxprocs,
)
from gotax.golang.machinecode import Code
from gotax.golang.origin import judge, origin
from gotax.golang.prediction import predict, recommend
from gotax.golang.startup import Facts, environment_value, godebug_value
from gotax.linux.cgroups.hierarchies import CgroupMount
from gotax.linux.elf import EM_AARCH64, EM_X86_64, PF_X, PT_LOAD, BytesReader, Elf, Segment
from gotax.linux.procfs import Auxiliary, CgroupEntry, Mapping
from gotax.process import (
    Automaxprocs,
    Binding,
    GoBuild,
    Gomaxprocs,
    Ignored,
    Module,
    Origin,
    Otherwise,
)
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parents[2] / "fixtures"

# ---------------------------------------------------------------------------------------------
# Machine code
# ---------------------------------------------------------------------------------------------


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
def test_the_code_of_procresize_gives_the_address_the_symbol_has(captured: Captured) -> None:
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
    """The address comes from two roles: with the second half of the code gone, there is none."""
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
def test_the_largest_code_of_nothing_but_openings_ends(machine: int, unit: bytes) -> None:
    """The work is linear in the code, which has at most 64 KiB."""
    code = Code(0x401000, (unit * 65536)[: 64 * 1024])
    with pytest.raises(ParseError):
        find_value(machine, code, lambda _: False)


@pytest.mark.parametrize("register", [r for r in range(16) if r != 4])  # 4 is rsp
def test_amd64_exchange_is_seen_through_every_register(register: int) -> None:
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
    """A file of nothing but the captured code, with the segments of the real one."""
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


def test_another_architecture_is_refused_by_name() -> None:
    elf, functions = _elf_of(CAPTURED[-1], machine=243)  # RISC-V
    with pytest.raises(ParseError) as error:
        find_gomaxprocs(elf, functions)
    assert error.value.reason == "gomaxprocs-machine"


# ---------------------------------------------------------------------------------------------
# Reading
# ---------------------------------------------------------------------------------------------


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
    # In pieces, as mprotect leaves them; the last has less of the code than of what follows.
    assert load_bias(elf, _mapping(base + 0x2000, base + 0x4000, 0x1000)) == base
    assert load_bias(elf, _mapping(base + 0x4000, base + 0x5000, 0x3000)) == base
    # The data, which is executable where a program asks for an executable stack.
    data = Segment(PT_LOAD, 6, 0x3700, 0x5700, 0x3100, 0x9000)
    elf = Elf(BytesReader(b""), (3, EM_X86_64, 0), (*segments[:2], data), ())
    assert load_bias(elf, _mapping(base + 0x5000, base + 0x9000, 0x3000)) == base


def _headed(segments: tuple[Segment, ...], entry: int) -> Elf:
    elf = Elf(BytesReader(b""), (3, EM_X86_64, entry), segments, ())
    elf.program_headers = range(0x40, 0x40 + 56 * len(segments))
    return elf


def test_the_bias_of_a_program_by_what_the_kernel_told_it() -> None:
    """Entry and program headers must both fit the file; kernels before 5.18 told another place of
    the headers where they are not in the first segment."""
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
def test_only_possible_values_are_believed(
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


def test_without_a_flag_nobody_is_said_to_have_chosen(tmp_path: Path) -> None:
    root = _process(tmp_path, struct.pack("<i", 12))
    addresses = GomaxprocsAddresses(0, None, "call")
    assert read_gomaxprocs(root, 1, addresses, 0) == LiveGomaxprocs(12, None)


def test_a_process_without_memory_is_gone(tmp_path: Path) -> None:
    addresses = GomaxprocsAddresses(0, None, "call")
    with pytest.raises(ProcessGoneError):
        read_gomaxprocs(_process(tmp_path, b""), 1, addresses, 0)
    with pytest.raises(ProcessGoneError):
        read_gomaxprocs(str(tmp_path), 2, addresses, 0)


# ---------------------------------------------------------------------------------------------
# Rules
# ---------------------------------------------------------------------------------------------

VECTORS: list[dict[str, Any]] = json.loads((FIXTURES / "gomaxprocs_vectors.json").read_text())
AUTOMAXPROCS = "go.uber.org/automaxprocs"


def _minor(text: str) -> int:
    return int(text.split(".")[1])


def _build(row: dict[str, Any]) -> GoBuild:
    """The build info the go command writes for such a module."""
    godebug = []
    if _minor(row["go"]) >= 25 and _minor(row["go_line"]) < 25:
        godebug += ["containermaxprocs=0", "updatemaxprocs=0"]
    if row["directive"]:
        godebug.append(row["directive"])
    version = row["automaxprocs"]
    return GoBuild(
        f"go{row['go']}",
        dependencies=(Module(AUTOMAXPROCS, version),) if version else (),
        settings=(("DefaultGODEBUG", ",".join(godebug)),) if godebug else (),
    )


def _facts(row: dict[str, Any]) -> Facts:
    layouts = {"host": "host", "nsv2": "namespace", "bind": "bind"}
    quota = row["quota_us"]
    return Facts(
        build=_build(row),
        allowed_cpus=row["affinity_cpus"] or row["host_cpus"],
        environment=row["env_GOMAXPROCS"],
        godebug=row["env_GODEBUG"],
        leaf_limit_cores=quota / row["period_us"] if quota else None,
        cgroup=CgroupView(row["cgroup_version"], CgroupLayout(layouts[row["layout"]])),
        online_cpus=row["host_cpus"],
    )


def _live(row: dict[str, Any], facts: Facts) -> LiveGomaxprocs:
    """What would be read from the process: its flag is set by the variable or by a call."""
    chosen = predict(facts).origin in (Origin.ENVIRONMENT, Origin.AUTOMAXPROCS)
    return LiveGomaxprocs(row["observed"], chosen if _minor(row["go"]) >= 25 else None)


vectors = pytest.mark.parametrize("row", VECTORS, ids=lambda row: row["id"])


def test_the_vectors_are_all_there() -> None:
    assert len(VECTORS) == 85
    assert all(row["verified"] and row["observed"] == row["expected"] for row in VECTORS)


@vectors
def test_prediction_is_what_a_real_process_got(row: dict[str, Any]) -> None:
    assert predict(_facts(row)).value == row["observed"]


@vectors
def test_the_origin_of_a_predicted_value_is_the_rule_that_predicted_it(
    row: dict[str, Any],
) -> None:
    facts = _facts(row)
    assert origin(_live(row, facts), facts) is predict(facts).origin


@pytest.mark.parametrize(
    "row", [r for r in VECTORS if r["scenario"] == "resize"], ids=lambda row: row["id"]
)
def test_updates_follow_the_limit_unless_somebody_chose(row: dict[str, Any]) -> None:
    """Quota 4, 2.5, none: seen by the runtime's default, not after a variable or automaxprocs."""
    start = _facts(row)
    settled = predict(start).origin in (Origin.ENVIRONMENT, Origin.AUTOMAXPROCS)
    values = [value for _, value in row["observed_timeline"]]
    if settled:
        assert values == [predict(start).value]
        return
    limits = (4.0, 2.5, None) if row["quota_us"] else (None, 2.5, None)
    build = replace(start.build, dependencies=())  # automaxprocs ran, saw no limit, and is over
    now = [replace(start, build=build, leaf_limit_cores=limit) for limit in limits]
    assert values == [predict(facts).value for facts in now]
    for value, facts in zip(values, now, strict=True):
        live = LiveGomaxprocs(value, False)
        wanted = Origin.CPU_COUNT if facts.leaf_limit_cores is None else Origin.CONTAINER
        assert origin(live, facts) is wanted


@pytest.mark.parametrize(
    ("limit", "cpus", "fits"),
    [
        (None, 64, 64),
        (0.25, 64, 1),
        (1.0, 64, 1),
        (1.001, 64, 2),
        (2.5, 64, 3),
        (3.0, 64, 3),
        (100.0, 64, 64),
        (4.0, 2, 2),
        (None, 0, 1),
    ],
)
def test_what_fits_is_the_limit_rounded_up_within_the_cpus(
    limit: float | None, cpus: int, fits: int
) -> None:
    assert recommend(limit, cpus) == fits


@given(st.floats(0.001, 10_000) | st.none(), st.integers(1, 1024))
def test_what_fits_is_never_more_than_the_cpus_nor_less_than_one(
    limit: float | None, cpus: int
) -> None:
    fits = recommend(limit, cpus)
    assert 1 <= fits <= cpus
    assert limit is None or fits == cpus or fits >= limit


@pytest.mark.parametrize(
    ("text", "minor", "value"),
    [
        ("4", 27, 4),
        ("+4", 26, 4),
        ("+4", 25, None),
        ("+4", 7, None),
        ("4abc", 7, 4),
        ("4abc", 8, None),
        ("4 ", 27, None),
        ("4\n", 27, None),
        ("", 27, None),
        ("0", 27, None),
        ("-3", 27, None),
        ("2147483647", 27, 2147483647),
        ("2147483648", 27, None),
        ("300", 8, 256),
        ("300", 9, 300),
        ("2000", 9, 1024),
        ("2000", 10, 2000),
        ("١٢", 27, None),
        ("9" * 5000, 27, None),
        (None, 27, None),
    ],
)
def test_the_variable_is_read_as_that_version_reads_it(
    text: str | None, minor: int, value: int | None
) -> None:
    assert environment_value(text, minor) == value


PLAIN = Facts(GoBuild("go1.26.8"), allowed_cpus=8, leaf_limit_cores=4.0)


@pytest.mark.parametrize(
    ("built_in", "variable", "value"),
    [
        ("", None, 1),
        ("containermaxprocs=0", None, 0),
        ("containermaxprocs=0", "containermaxprocs=1", 1),
        ("", "containermaxprocs=0,containermaxprocs=1", 1),
        ("", "containermaxprocs=off", 1),
        ("", "xcontainermaxprocs=0", 1),
        ("", "containermaxprocs", 1),
        ("panicnil=1,containermaxprocs=0,tls10server=1", "madvdontneed=1", 0),
    ],
)
def test_the_last_valid_godebug_setting_counts(
    built_in: str, variable: str | None, value: int
) -> None:
    build = GoBuild("go1.26.8", settings=(("DefaultGODEBUG", built_in),))
    facts = replace(PLAIN, build=build, godebug=variable)
    assert godebug_value(facts, "containermaxprocs", 1) == value
    assert predict(facts).value == (4 if value else 8)


def test_an_open_limit_file_outweighs_what_is_inferred() -> None:
    """The runtime keeps the file open exactly when it follows the limit."""
    hidden = replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.HIDDEN))
    assert predict(hidden).value == 8
    assert predict(replace(hidden, follows_limit=True)).value == 4
    assert predict(replace(PLAIN, follows_limit=False)).value == 8


@pytest.mark.parametrize(
    ("version", "value", "by"),
    [
        ("go1.4.3", 1, Origin.FIXED),
        ("go1.5.4", 8, Origin.CPU_COUNT),
        ("devel go1.28-0123abc Mon Jan 1", 4, Origin.CONTAINER),
        ("go1.26rc1", 4, Origin.CONTAINER),
        ("go1.24.13 X:nocoverageredesign", 8, Origin.CPU_COUNT),
        ("", None, Origin.UNKNOWN),
        ("devel +deadbeef", None, Origin.UNKNOWN),
    ],
)
def test_the_default_is_that_of_the_version(version: str, value: int | None, by: Origin) -> None:
    prediction = predict(replace(PLAIN, build=GoBuild(version)))
    assert (prediction.value, prediction.origin) == (value, by)


def test_more_cpus_than_an_old_runtime_knows_are_capped() -> None:
    for version, value in (("go1.8.7", 256), ("go1.9.7", 1024), ("go1.10.8", 2000)):
        facts = replace(PLAIN, build=GoBuild(version), allowed_cpus=2000)
        assert predict(facts).value == value


def _automatic(version: str, **changes: Any) -> Facts:
    build = GoBuild("go1.22.12", dependencies=(Module(AUTOMAXPROCS, version),))
    return replace(PLAIN, build=build, **changes)


@pytest.mark.parametrize(
    ("version", "limit", "value"),
    [
        ("v1.0.0", 0.5, 2),
        ("v1.1.0", 0.5, 1),
        ("v1.1.0", 2.5, 3),
        ("v1.2.0", 2.5, 2),
        ("v1.6.0", 0.5, 1),
        ("v1.6.0", 20.0, 20),
        ("(devel)", 2.5, None),  # as a go.work builds it: of which version is not known
    ],
)
def test_automaxprocs_rounds_as_its_version_does(
    version: str, limit: float, value: int | None
) -> None:
    facts = _automatic(version, leaf_limit_cores=limit, cgroup=CgroupView(1))
    prediction = predict(facts)
    assert (prediction.value, prediction.origin) == (value, Origin.AUTOMAXPROCS)


@pytest.mark.parametrize(
    ("version", "layout", "sees"),
    [
        ("v1.4.0", CgroupLayout.NAMESPACE, False),
        ("v1.5.0", CgroupLayout.NAMESPACE, False),
        ("v1.5.1", CgroupLayout.NAMESPACE, True),
        ("v1.5.1", CgroupLayout.BIND, True),
        ("v1.5.1", CgroupLayout.HOST, False),
        ("v1.5.2", CgroupLayout.HOST, True),
        ("v1.6.0", CgroupLayout.BIND, False),
        ("v1.6.0", CgroupLayout.HIDDEN, False),
    ],
)
def test_automaxprocs_finds_cgroup_v2_as_its_version_does(
    version: str, layout: CgroupLayout, sees: bool
) -> None:
    prediction = predict(_automatic(version, cgroup=CgroupView(2, layout)))
    assert (prediction.origin is Origin.AUTOMAXPROCS) is sees


def test_automaxprocs_wants_cgroup_v2_at_its_usual_place() -> None:
    view = CgroupView(2, CgroupLayout.HOST, usual_mount=False)
    assert predict(_automatic("v1.6.0", cgroup=view)).origin is Origin.CPU_COUNT


def test_automaxprocs_is_silenced_by_an_empty_variable() -> None:
    assert predict(_automatic("v1.6.0", environment="")).origin is Origin.CPU_COUNT


def test_automaxprocs_in_the_code_counts_without_build_info() -> None:
    """Bazel and GOPATH builds list no dependencies."""
    code = GomaxprocsAddresses(0, None, "exchange", automaxprocs=True)
    facts = replace(PLAIN, build=GoBuild("go1.22.12"), code=code)
    assert predict(facts).origin is Origin.AUTOMAXPROCS


OLD = replace(PLAIN, build=GoBuild("go1.22.12"), online_cpus=16)
NO_FLAG = GomaxprocsAddresses(0, None, "release-store")
EARLY = GomaxprocsAddresses(0, None, "call")
NO_CALLS = GomaxprocsAddresses(0, None, "exchange", can_be_called=False)


@pytest.mark.parametrize(
    ("facts", "live", "source"),
    [
        (OLD, (8, None), Origin.CPU_COUNT),
        (OLD, (16, None), Origin.CPU_COUNT),
        (OLD, (5, None), Origin.CALL),
        (replace(OLD, code=NO_CALLS), (5, None), Origin.CPU_COUNT),
        (replace(OLD, environment="5"), (5, None), Origin.ENVIRONMENT),
        (replace(OLD, environment="5"), (6, None), Origin.CALL),
        (replace(OLD, environment="x"), (8, None), Origin.CPU_COUNT),
        (_automatic("v1.6.0"), (4, None), Origin.AUTOMAXPROCS),
        (_automatic("v1.6.0"), (3, None), Origin.CALL),
        (_automatic("v1.6.0", environment=""), (4, None), Origin.CALL),
        (_automatic("v1.6.0", leaf_limit_cores=8.0), (8, None), Origin.AUTOMAXPROCS),
        (PLAIN, (4, False), Origin.CONTAINER),
        (PLAIN, (6, False), Origin.CONTAINER),  # the limit was 6 when the process last ran
        (PLAIN, (8, False), Origin.CPU_COUNT),
        (PLAIN, (4, True), Origin.CALL),  # GOMAXPROCS(n) sets the flag, even if n is no change
        (replace(PLAIN, environment="4"), (4, True), Origin.ENVIRONMENT),
        (replace(PLAIN, environment="4"), (3, True), Origin.CALL),
        (replace(PLAIN, environment="4"), (4, False), Origin.CONTAINER),  # SetDefaultGOMAXPROCS
        (replace(PLAIN, leaf_limit_cores=None), (6, False), Origin.UNKNOWN),
        (replace(PLAIN, godebug="containermaxprocs=0"), (6, False), Origin.CPU_COUNT),
        (replace(PLAIN, code=NO_CALLS), (4, None), Origin.CONTAINER),
        (replace(PLAIN, build=GoBuild("")), (5, None), Origin.UNKNOWN),
        (replace(PLAIN, build=GoBuild("")), (5, True), Origin.CALL),
        (replace(PLAIN, build=GoBuild(""), code=NO_FLAG), (5, None), Origin.CALL),
        (replace(PLAIN, build=GoBuild(""), code=NO_FLAG), (8, None), Origin.CPU_COUNT),
        (replace(PLAIN, build=GoBuild(""), code=EARLY), (5, None), Origin.UNKNOWN),
        (replace(PLAIN, build=GoBuild("go1.4.3")), (1, None), Origin.FIXED),
        (replace(PLAIN, build=GoBuild("go1.4.3")), (2, None), Origin.CALL),
    ],
)
def test_origin(facts: Facts, live: tuple[int, bool | None], source: Origin) -> None:
    """The flag decides where there is one, then the variable, automaxprocs, the default."""
    assert origin(LiveGomaxprocs(*live), facts) is source


@pytest.mark.parametrize(
    ("facts", "live", "source"),
    [
        (OLD, LiveGomaxprocs(3, None, 3), Origin.CPU_COUNT),  # 8 are allowed by now
        (OLD, LiveGomaxprocs(8, None, 3), Origin.CALL),
        (OLD, LiveGomaxprocs(16, None, 3), Origin.CALL),
        (replace(OLD, build=GoBuild("go1.8.7")), LiveGomaxprocs(256, None, 300), Origin.CPU_COUNT),
        (replace(PLAIN, build=GoBuild("go1.4.3")), LiveGomaxprocs(1, None, 8), Origin.FIXED),
        (PLAIN, LiveGomaxprocs(12, False, 12), Origin.CPU_COUNT),
        (replace(PLAIN, leaf_limit_cores=None), LiveGomaxprocs(6, False, 6), Origin.CPU_COUNT),
        (PLAIN, LiveGomaxprocs(6, False, 12), Origin.CONTAINER),
    ],
)
def test_the_cpus_at_the_start_are_the_default_of_then(
    facts: Facts, live: LiveGomaxprocs, source: Origin
) -> None:
    """They tell the default from a call when the CPUs allowed have changed since."""
    assert origin(live, facts) is source


@pytest.mark.parametrize(
    ("facts", "live", "before", "source"),
    [
        (_automatic("v1.6.0"), (3, None), (3, Origin.AUTOMAXPROCS), Origin.AUTOMAXPROCS),
        (_automatic("v1.6.0"), (3, None), (2, Origin.AUTOMAXPROCS), Origin.CALL),
        (_automatic("v1.6.0"), (3, None), (3, Origin.CPU_COUNT), Origin.CALL),
        (_automatic("v1.6.0"), (4, None), (4, Origin.CPU_COUNT), Origin.AUTOMAXPROCS),
        (
            replace(PLAIN, leaf_limit_cores=None),
            (6, False),
            (6, Origin.CONTAINER),
            Origin.CONTAINER,
        ),
        (PLAIN, (4, True), (4, Origin.CONTAINER), Origin.CALL),
    ],
)
def test_a_value_that_stays_keeps_its_origin(
    facts: Facts, live: tuple[int, bool | None], before: tuple[int, Origin], source: Origin
) -> None:
    """automaxprocs looks once, and the limit of then is not known later; the window before was."""
    earlier = Gomaxprocs(*before, recommended=1)
    assert judge(LiveGomaxprocs(*live), facts, 1.0, earlier).origin is source


def test_rules_count_one_as_one() -> None:
    facts = replace(PLAIN, allowed_cpus=1, leaf_limit_cores=1.0)
    assert predict(facts).rule == (
        "the 1 CPU the process may run on: no more than its limit, 1 core rounded up, at least 2"
    )


def test_judgement_compares_with_the_limit_the_kernel_enforces() -> None:
    """The runtime looks at the leaf's 4 cores; an ancestor allows 1.5."""
    verdict = judge(LiveGomaxprocs(4, False), PLAIN, 1.5)
    assert (verdict.value, verdict.expected, verdict.recommended) == (4, 4, 2)
    assert verdict.origin is Origin.CONTAINER
    assert verdict.reason == ""
    assert "rounded up" in verdict.rule


def built_with(defaults: str, version: str = "go1.26.8") -> Facts:
    settings = (("DefaultGODEBUG", defaults),) if defaults else ()
    return replace(PLAIN, build=GoBuild(version, settings=settings))


OLD_GO_LINE = "containermaxprocs=0,decoratemappings=0,updatemaxprocs=0"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (PLAIN, None),
        (replace(PLAIN, build=GoBuild("go1.24.3")), Ignored.OLD_GO),
        (built_with(OLD_GO_LINE), Ignored.GO_MOD),
        (built_with("containermaxprocs=0"), Ignored.DEBUG_LINE),
        (replace(PLAIN, godebug="containermaxprocs=0"), Ignored.GODEBUG),
        (replace(built_with(OLD_GO_LINE), godebug="containermaxprocs=1"), None),
        (replace(PLAIN, cgroup=CgroupView(2, CgroupLayout.HIDDEN)), Ignored.HIDDEN),
        (replace(PLAIN, follows_limit=False), Ignored.HIDDEN),
        (replace(built_with(OLD_GO_LINE), follows_limit=True), None),  # its open files prove it
        (built_with("", version=""), None),
    ],
)
def test_why_a_limit_is_ignored(facts: Facts, reason: Ignored | None) -> None:
    """Before 1.25 always; later by go.mod, by GODEBUG, or because the cgroup is not to be seen."""
    assert judge(LiveGomaxprocs(8, False), facts, 1.0).ignored is reason


def test_an_unreadable_value_keeps_what_is_known() -> None:
    verdict = judge(Refusal("memory-unmapped"), PLAIN, 2.0)
    assert (verdict.value, verdict.origin) == (None, Origin.UNKNOWN)
    assert (verdict.expected, verdict.recommended) == (4, 2)
    assert verdict.reason == "memory-unmapped"


# ---------------------------------------------------------------------------------------------
# The cgroup as the process sees it
# ---------------------------------------------------------------------------------------------

POD = "/kubepods/pod1/c1"


def _v2(path: str) -> tuple[CgroupEntry, ...]:
    return (CgroupEntry(0, (), path),)


def _v1(path: str) -> tuple[CgroupEntry, ...]:
    return (CgroupEntry(0, (), "/"), CgroupEntry(4, ("cpu", "cpuacct"), path))


def _mounted(root: str, *controllers: str) -> tuple[CgroupMount, ...]:
    place = "/sys/fs/cgroup/cpu,cpuacct" if controllers else "/sys/fs/cgroup"
    return (CgroupMount(controllers, place, root),)


@pytest.mark.parametrize(
    ("entries", "mounts", "private", "view"),
    [
        (_v2("/x.service"), _mounted("/"), False, CgroupView(2, CgroupLayout.HOST)),
        (_v2(POD), _mounted(POD), True, CgroupView(2, CgroupLayout.NAMESPACE)),
        (_v2(POD + "/init"), _mounted(POD), True, CgroupView(2, CgroupLayout.NAMESPACE)),
        (_v2(POD), _mounted(POD), False, CgroupView(2, CgroupLayout.BIND)),
        (_v2(POD), _mounted(POD + "2"), False, CgroupView(2, CgroupLayout.HIDDEN)),
        (_v2(POD), _mounted("/"), True, CgroupView(2, CgroupLayout.HIDDEN)),
        (_v2(POD), (), True, CgroupView(2, CgroupLayout.HIDDEN, False)),
        (_v1(POD), _mounted(POD, "cpu", "cpuacct"), False, CgroupView(1, CgroupLayout.BIND, False)),
        (_v1(POD), _mounted("/", "cpu"), False, CgroupView(1, CgroupLayout.HOST, False)),
        (_v1(POD), _mounted(POD), False, CgroupView(1, CgroupLayout.HIDDEN, False)),
        (_v2("/../c2"), _mounted("/../c2"), True, CgroupView(2, CgroupLayout.NAMESPACE)),
        (_v2("/../../x"), _mounted("/../.."), False, CgroupView(2, CgroupLayout.HOST)),
        ((), _mounted("/"), False, CgroupView(None, CgroupLayout.HIDDEN, False)),
    ],
)
def test_how_a_process_sees_its_cgroup(
    entries: tuple[CgroupEntry, ...],
    mounts: tuple[CgroupMount, ...],
    private: bool,
    view: CgroupView,
) -> None:
    """The cpu controller's tree counts; the mount's root tells a bind mount from the host's."""
    assert view_cgroup(entries, mounts, private) == view


def replaced(by: Module) -> Facts:
    """Go 1.22 under a limit of 2.5 with something in the place of automaxprocs 1.6.0."""
    facts = _automatic("v1.6.0", leaf_limit_cores=2.5, cgroup=CgroupView(1))
    (module,) = facts.build.dependencies
    return replace(
        facts,
        build=replace(facts.build, dependencies=(replace(module, replaced_by=by),)),
        online_cpus=8,
    )


@pytest.mark.parametrize(
    ("by", "kind", "expected"),
    [
        (Module("example.com/fork", "v0.1.0"), Automaxprocs.FORK, None),
        (Module("example.com/fork", "v1.6.0"), Automaxprocs.FORK, None),
        (Module("../automaxprocs", ""), Automaxprocs.FORK, None),
        (Module(AUTOMAXPROCS, "v1.1.0"), Automaxprocs.KNOWN, 3),  # rounds up: 1.6.0 would give 2
    ],
)
def test_a_fork_has_no_version_of_automaxprocs(
    by: Module, kind: Automaxprocs, expected: int | None
) -> None:
    """v0.1.0 of a fork is not automaxprocs before 1.1; its own code of another version is."""
    seen = judge(LiveGomaxprocs(8, None, 8), replaced(by), 2.5)
    assert (seen.automaxprocs, seen.expected) == (kind, expected)
    assert seen.origin is Origin.CPU_COUNT


@pytest.mark.parametrize(
    ("value", "source"),
    [(2, Origin.AUTOMAXPROCS), (3, Origin.AUTOMAXPROCS), (5, Origin.CALL)],
)
def test_a_fork_may_round_either_way(value: int, source: Origin) -> None:
    """What neither rounding gives was set by another call."""
    facts = replaced(Module("example.com/fork", "v0.1.0"))
    assert origin(LiveGomaxprocs(value, None, 8), facts) is source


def test_an_environment_that_could_not_be_read_is_not_an_empty_one() -> None:
    """Nothing is expected, no call is blamed; that nothing was chosen the flag still says."""
    unread = replace(PLAIN, environment_read=False)
    chosen = judge(LiveGomaxprocs(64, True), unread, 4.0)
    assert (chosen.origin, chosen.expected) == (Origin.UNKNOWN, None)
    assert chosen.variable_is_set is None
    assert chosen.otherwise == Otherwise()
    assert judge(LiveGomaxprocs(8, False), unread, 4.0).origin is Origin.CPU_COUNT
    old = replace(OLD, environment_read=False)
    assert judge(LiveGomaxprocs(5, None), old, 4.0).origin is Origin.UNKNOWN


@pytest.mark.parametrize(
    ("limit", "allowed", "cpuset", "bound"),
    [
        (1.0, 8, 8, (Binding.QUOTA,)),
        (4.0, 1, 1, (Binding.CPUSET,)),
        (4.0, 1, 8, (Binding.AFFINITY,)),
        (4.0, 1, None, (Binding.AFFINITY,)),
        (4.0, 1, 4, (Binding.AFFINITY,)),
        (None, 8, 8, (Binding.HOST,)),
        (None, 2, 2, (Binding.CPUSET,)),
        (16.0, 8, 8, (Binding.HOST,)),
        (1.5, 2, 2, (Binding.QUOTA, Binding.CPUSET)),
        (2.0, 2, 4, (Binding.QUOTA, Binding.AFFINITY)),
        (8.0, 8, 8, (Binding.QUOTA, Binding.HOST)),
        (0.1, 1, 1, (Binding.QUOTA, Binding.CPUSET)),
    ],
)
def test_what_binds_is_what_gives_the_number(
    limit: float | None, allowed: int, cpuset: int | None, bound: tuple[Binding, ...]
) -> None:
    """On a host of 8 CPUs; two where two give the same."""
    facts = replace(PLAIN, allowed_cpus=allowed, cpuset_cpus=cpuset, online_cpus=8)
    assert judge(LiveGomaxprocs(64, True), facts, limit).bound_by == bound


@pytest.mark.parametrize(
    ("facts", "limit", "expected"),
    [
        (replace(PLAIN, environment="64"), 4.0, Otherwise(unset=4)),
        (replace(OLD, leaf_limit_cores=4.0), 4.0, Otherwise(go_1_25=4, go_1_26=4)),
        # Go 1.25 does not find a bind-mounted cgroup, 1.26 does.
        (
            replace(OLD, leaf_limit_cores=4.0, cgroup=CgroupView(2, CgroupLayout.BIND)),
            4.0,
            Otherwise(go_1_26=4),
        ),
        (
            replace(PLAIN, build=GoBuild("go1.25.3"), cgroup=CgroupView(2, CgroupLayout.BIND)),
            4.0,
            Otherwise(go_1_26=4),
        ),
        # It looked where the limit is and did not find it (Landlock): a newer Go will not either.
        (replace(PLAIN, follows_limit=False), 4.0, Otherwise()),
        (replace(PLAIN, build=GoBuild("go1.25.3"), follows_limit=False), 4.0, Otherwise()),
        (built_with(OLD_GO_LINE), 4.0, Otherwise(godebug=4, go_line=4)),
        (
            replace(built_with(OLD_GO_LINE), godebug="containermaxprocs=0"),
            4.0,
            Otherwise(godebug=4),
        ),
        (replace(PLAIN, godebug="containermaxprocs=0"), 4.0, Otherwise(no_godebug=4, godebug=4)),
        # The limit is above its own cgroup: only moving it would help, and only where it is read.
        (replace(PLAIN, leaf_limit_cores=None), 4.0, Otherwise(own_limit=4)),
        (replace(OLD, leaf_limit_cores=None), 4.0, Otherwise()),
    ],
)
def test_a_way_is_offered_only_where_the_rules_say_that_it_helps(
    facts: Facts, limit: float, expected: Otherwise
) -> None:
    """Each for a process of 64 on 8 CPUs."""
    assert judge(LiveGomaxprocs(64, None), facts, limit).otherwise == expected
