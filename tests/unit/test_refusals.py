"""Unreadable processes: on a host made of files, all kinds at once."""

from __future__ import annotations

import gc
import os
import shutil
import struct
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import (
    AsyncGeneratorType,
    BuiltinFunctionType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    ModuleType,
    TracebackType,
)

import pytest
from gotax.category import Category
from gotax.config import Thresholds
from gotax.findings import Verdict
from gotax.linux.elf import FileReader, parse_elf
from gotax.pipeline import Pipeline
from gotax.processes.resolver import Resolver
from gotax.window import Window

from tests.toolchains import VERSIONS
from tests.unit.host import Host, Program, set_memory
from tests.unit.test_pipeline import (
    EVERYTHING,
    SPAN,
    Known,
    StackCount,
    check_books,
    drain,
    host,  # noqa: F401
    known,  # noqa: F401
    names,
)

pytestmark = pytest.mark.toolchain
GoBinary = Callable[..., Path]


# ---------------------------------------------------------------------------------------------
# Field cases: file and mapping have different numbers
# ---------------------------------------------------------------------------------------------

FURTHER = 6
"""Before Linux 6.8, for a file that was copied up on an overlayfs, stat gave inode 6 and maps inode
12 of another device: those of the lower file."""


def of_another_file_system(program: Program, path: str) -> Program:
    """The same mapping with the numbers that an overlayfs before Linux 6.8 gives in maps."""
    place, _, _ = program.maps.partition(" 00:00 ")
    inode = program.path.stat().st_ino + FURTHER
    return Program(program.path, f"{place} 00:1b {inode} {path}\n")


def auxv_of(path: Path, bias: int = 0) -> bytes:
    with FileReader(path) as reader:
        elf = parse_elf(reader)
        headers = elf.program_headers_address
    assert headers is not None
    pairs = (3, headers + bias), (9, elf.entry + bias), (0, 0)
    return b"".join(struct.pack("<QQ", *pair) for pair in pairs)


def one_window(host: Host, known: Known) -> Window:  # noqa: F811
    set_memory(host, 7, known.gomaxprocs, b"\x04")
    walk = Pipeline(Resolver(host.roots), "host", Thresholds(), EVERYTHING)
    walk.absorb(drain([StackCount(7, 20, stack=1)], {1: [known.main]}), 0.0)
    return walk.window(SPAN)


@pytest.mark.parametrize("how", ["auxv", "path"])
def test_a_program_on_an_overlayfs_before_linux_6_8(
    host: Host,  # noqa: F811
    known: Known,  # noqa: F811
    how: str,
) -> None:
    """Stat and maps have other inodes and devices. The program is found by the address that the
    kernel gives for its code, or by its path; either alone is enough."""
    path = str(known.program.path) if how == "path" else "/seen/from/elsewhere"
    host.start(7, 100, of_another_file_system(known.program, path))
    if how == "auxv":
        (host.proc / "7/auxv").write_bytes(auxv_of(known.program.path))
    window = one_window(host, known)
    (report,) = window.reports
    assert report.verdict is not Verdict.UNREADABLE
    found = report.main_process.gomaxprocs
    assert found is not None
    assert found.value == 4
    assert "main.main" in names(window)
    assert report.share(Category.USER) == 1.0


def test_another_file_of_the_same_inode_number(
    host: Host,  # noqa: F811
    known: Known,  # noqa: F811
) -> None:
    """A mapping of another device with the program's inode number precedes the program's own: it is
    not the program."""
    other = f"00200000-00300000 r-xp 00001000 00:2a {{inode}} /other\n{known.program.maps}"
    host.start(7, 100, Program(known.program.path, other))
    window = one_window(host, known)
    found = window.reports[0].main_process.gomaxprocs
    assert found is not None
    assert found.value == 4
    assert "main.main" in names(window)


# ---------------------------------------------------------------------------------------------
# Every refusal
# ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A damaged process. ``reason``: of its row, or, with ``is_open``, of the unjudged program."""

    name: str
    reason: str
    is_open: bool = False


CASES = (
    Case("unmapped", "gomaxprocs-unmapped"),
    Case("range", "gomaxprocs-range"),
    Case("short-memory", "memory-unmapped"),
    Case("no-memory", "procfs-unreadable"),
    Case("no-maps", "procfs-unreadable"),
    Case("no-environment", "gomaxprocs-range"),
    Case("no-cgroup", "gomaxprocs-range"),
    Case("no-mounts", "gomaxprocs-range"),
    Case("tables", "pclntab-malformed"),
    Case("32-bit", "elf-unsupported"),
    Case("gccgo", "compiler-gccgo"),
    Case("library", "library-unreadable"),
    Case("packed-go", "elf-packed"),
    Case("packed", "elf-packed", is_open=True),
    Case("big-endian", "elf-unsupported", is_open=True),
    Case("cut", "elf-truncated", is_open=True),
    Case("no-elf", "elf-magic", is_open=True),
    Case("no-program", "procfs-unreadable", is_open=True),
    Case("no-stat", "procfs-stat", is_open=True),
)
FIRST_PID = 100
LIBRARY_AT, UNPACKED_AT = 0x7F00000, 0x400000


class DamagedProcesses:
    """Writes the processes of CASES to a host, with PIDs from FIRST_PID on."""

    def __init__(self, host: Host, known: Known, folder: Path, small: Path) -> None:  # noqa: F811
        self._host, self._known, self._folder, self._small = host, known, folder, small

    def start(self) -> None:
        for pid, case in enumerate(CASES, FIRST_PID):
            self._host.start(pid, 100, self._program(case.name))
            self._spoil(pid, case.name)

    def _program(self, name: str) -> Program:
        line = self._known.program.maps
        if name == "unmapped":
            return Program(self._known.program.path, "")
        if name == "32-bit":
            return Program(self._small, line)
        path = self._folder / name
        content = self._known.program.path.read_bytes()
        if name == "tables":
            with FileReader(self._known.program.path) as reader:
                table = parse_elf(reader).sections[".gopclntab"]
            blank = bytes(table.size)
            content = content[: table.offset] + blank + content[table.offset + table.size :]
        elif name == "gccgo":
            content = minimal_elf(b".go_export")
        elif name.startswith("packed"):
            line = f"{UNPACKED_AT:x}-{UNPACKED_AT + 0x2000:x} r-xp 00000000 00:00 0 \n"
            content = minimal_elf()  # without its sections
            content = content[:0x28] + bytes(8) + content[0x30:0x78] + b"\0\0\0\0UPX!" + bytes(64)
        elif name == "big-endian":
            content = content[:5] + b"\x02" + content[6:]
        elif name == "cut":
            content = content[:50]
        elif name == "no-elf":
            content = b"MZ" + content[2:100]
        elif name == "library":
            content = minimal_elf()
            line = f"{LIBRARY_AT:x}-{LIBRARY_AT + 0x2000:x} r-xp 00000000 08:01 77 /gone.so\n"
        else:
            return self._known.program
        path.write_bytes(content)
        return Program(path, line)

    def _spoil(self, pid: int, name: str) -> None:
        folder = self._host.proc / str(pid)
        file = {
            "no-memory": "mem",
            "no-maps": "maps",
            "no-environment": "environ",
            "no-mounts": "mountinfo",
        }
        if name in file:  # EISDIR, as an example of any error
            self._host.hide(pid, file[name])
            (folder / file[name]).mkdir()
        elif name == "short-memory":
            os.truncate(folder / "mem", self._known.gomaxprocs + 2)
        elif name == "no-cgroup":
            self._host.spoil(pid, "cgroup", b"garbage\n")
        elif name == "no-program":
            self._host.hide(pid, "exe")
            (folder / "exe").symlink_to(folder / "exe")
        elif name == "no-stat":
            self._host.spoil(pid, "stat")
        elif name in ("library", "packed-go"):
            at = LIBRARY_AT if name == "library" else UNPACKED_AT
            set_memory(self._host, pid, at, self._known.program.path.read_bytes()[:4096])


def minimal_elf(section: bytes = b".text") -> bytes:
    """A C program with only its headers."""
    names_of = b"\0" + section + b"\0"
    start = 64 + 56 + len(names_of)
    head = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        *("<HHIQQQIHHHHHH", 2, 62, 1, 0x400000, 64, start, 0, 64, 56, 1, 64, 3, 2)
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 64, 64, 4096)
    sections = (
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 1, 6, 0x400000, 0, 64, 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 120, len(names_of), 0, 0, 1, 0),
    )
    return head + load + names_of + b"".join(sections)


@pytest.fixture
def spoilt(
    host: Host,  # noqa: F811
    known: Known,  # noqa: F811
    go_binary: GoBinary,
    tmp_path: Path,
) -> Host:
    folder = tmp_path / "programs"
    folder.mkdir()
    small = folder / "small"
    shutil.copy(go_binary("gomaxprocs", VERSIONS[-1], "386"), small)
    DamagedProcesses(host, known, folder, small).start()
    return host


def samples() -> list[StackCount]:
    return [StackCount(pid, 3, stack=1) for pid in range(FIRST_PID, FIRST_PID + len(CASES))]


def walked(walk: Pipeline, known: Known) -> Window:  # noqa: F811
    walk.absorb(drain(samples(), {1: [known.main]}), 0.0)
    return walk.window(SPAN)


def test_every_refusal_has_a_row_or_is_counted_with_its_reason(
    spoilt: Host,
    known: Known,  # noqa: F811
) -> None:
    """None is "not a Go program", and code without a name is not C code."""
    spoilt.cgroup("/")
    walk = Pipeline(Resolver(spoilt.roots), "host", Thresholds(), EVERYTHING)
    walk.scan()
    window = walked(walk, known)
    check_books(window, 3 * len(CASES))
    reasons = {}
    for report in window.reports:
        found = report.main_process.gomaxprocs
        assert found is not None
        assert found.value is None
        assert report.verdict is Verdict.UNREADABLE
        assert [f.code for f in report.findings] == ["GT015"]
        reasons[report.main_process.pid] = found.reason
        assert report.share(Category.CGO, Category.NATIVE) == 0
    rows = {pid: case.reason for pid, case in enumerate(CASES, FIRST_PID) if not case.is_open}
    assert reasons == rows
    open_cases: dict[str, int] = {}
    for case in CASES:
        if case.is_open:
            open_cases[case.reason] = open_cases.get(case.reason, 0) + 1
    assert {found.reason: found.processes for found in window.unjudged} == open_cases
    assert sum(found.samples for found in window.unjudged) == 3 * (sum(open_cases.values()) - 1)
    assert window.samples.lost == {"procfs-stat": 3}
    assert window.native_samples == 0


WINDOWS = 5000
WARM_UP = 300  # until the caches are full


def test_memory_stays_constant_in_five_thousand_windows_of_refusals(
    spoilt: Host,
    known: Known,  # noqa: F811
) -> None:
    """Python's allocated memory blocks, before and after: the same within 2 %."""
    table = Resolver(spoilt.roots)
    walk = Pipeline(table, "host", Thresholds(), EVERYTHING)
    walk.scan()
    walked(walk, known)

    def windows(count: int) -> int:
        for _ in range(count):
            table.begin_round()
            for tracked in table.go_processes():
                table.refresh_go(tracked, {})
            table.end_window()
        for _ in range(count // 25):  # and the complete read, which is slower
            walked(walk, known)
        gc.collect()
        return sys.getallocatedblocks()

    before = windows(WARM_UP)
    assert windows(WINDOWS) < before * 1.02
    running = {CASES[tracked.process.pid - FIRST_PID] for tracked in table.go_processes()}
    assert running == {case for case in CASES if not case.is_open}


KEPT_ALIVE = (
    *(BaseException, FrameType, TracebackType),
    *(GeneratorType, CoroutineType, AsyncGeneratorType),
)


def reachable(root: object) -> Iterator[object]:
    """The objects that an object keeps alive, without those of every program."""
    seen: set[int] = set()
    waiting: list[object] = [root]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, ModuleType | type | BuiltinFunctionType):
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, FunctionType):  # not its globals
            waiting += [found.__closure__, found.__defaults__]
        else:
            waiting += gc.get_referents(found)


def test_no_exception_frame_or_generator_is_kept(
    spoilt: Host,
    known: Known,  # noqa: F811
) -> None:
    """They keep the stack of their origin, and grow with every raise."""
    walk = Pipeline(Resolver(spoilt.roots), "host", Thresholds(), EVERYTHING)
    walk.scan()
    for _ in range(3):
        walked(walk, known)
    kept = list(reachable(walk))
    assert any(isinstance(each, Resolver) for each in kept)
    assert len(kept) > 1000
    assert [each for each in kept if isinstance(each, KEPT_ALIVE)] == []
