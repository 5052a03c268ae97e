"""The category of an address outside Go code: it depends only on the mapping."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gotax.category import Category
from gotax.config import Detail, Thresholds
from gotax.golang import categories
from gotax.golang.classmap import ClassMapReader, KnownCodes
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import PF_X, FileReader, parse_elf
from gotax.pipeline import Pipeline
from gotax.processes.resolver import Resolver
from gotax.profile import FrameKind, Stack
from gotax.window import Window

from tests.toolchains import VERSIONS
from tests.unit.host import Host, Program
from tests.unit.test_pipeline import SPAN, StackCount, drain

pytestmark = pytest.mark.toolchain

AT = 0x7F0000001000
WORDS = b"\x55\x48\x89\xe5\xc3" * 900  # machine code without an ELF header


@dataclass(frozen=True)
class Go:
    """A Go program, with return addresses in functions of its own."""

    path: Path
    line: str
    callers: dict[str, int]
    text: tuple[int, int]
    table: int  # where its pclntab is in the file


@pytest.fixture(scope="module")
def go(go_binary: Callable[..., Path]) -> Go:
    path = go_binary("gomaxprocs", VERSIONS[-1])
    with FileReader(path) as reader:
        elf = parse_elf(reader)
        table = parse_pclntab(elf, f"go{VERSIONS[-1]}")
        names = ("main.main", "runtime.goexit", "runtime.memmove", "runtime.mallocgc")
        ranges = table.function_ranges(frozenset(names))
        text = next(load for load in elf.loads if load.flags & PF_X)
        line = f"{text.address:x}-{text.address + text.file_size:x} r-xp {text.offset:x} 00:00"
        return Go(
            path,
            f"{line} {{inode}} {path}\n",
            {name: ranges[name][0] + 1 for name in names},
            (table.text_start, table.text_end),
            table.header.offset,
        )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def window_of(
    host: Host, go: Go, line: str, leaf: int = AT, above: tuple[str, ...] = ("main.main",)
) -> Window:
    """Categories of 100 samples of a stack with this leaf, below Go functions and goexit."""
    host.start(7, 100, Program(go.path, go.line + line))
    return sampled(host, [leaf, *(go.callers[name] for name in (*above, "runtime.goexit"))])


def sampled(host: Host, stack: list[int]) -> Window:
    walk = Pipeline(Resolver(host.roots), "host", Thresholds(), Detail(functions=5))
    walk.absorb(drain([StackCount(7, 100, 1)], {1: stack}), 0.0)
    return walk.window(SPAN)


def category(window: Window) -> Category:
    (report,) = window.reports
    (number,) = report.category_samples.nonzero()[0]
    return tuple(Category)[number]


def frames(window: Window) -> list[str]:
    stack: Stack
    (stack,) = window.profile.stacks
    return [frame.function for place in stack for frame in place.frames]


def mapped(host: Host, name: str, data: bytes) -> str:
    """A file at this path in the process's root; returns its device and inode as in maps."""
    path = host.proc / "7/root" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    status = path.stat()
    device = status.st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x} {status.st_ino}"


PLACES = {
    "anonymous": ("r-xp 0 00:00 0", "[generated code]", Category.USER),
    "named": ("rwxp 0 00:00 0 [anon:wasm code]", "[generated code]", Category.USER),
    "heap": ("rwxp 0 00:00 0 [heap]", "[generated code]", Category.USER),
    "stack": ("rwxp 0 00:00 0 [stack]", "[generated code]", Category.USER),
    "shared": ("r-xs 0 00:01 9 /dev/zero (deleted)", "[generated code]", Category.USER),
    "shm": ("r-xs 0 00:01 9 /SYSV00000000 (deleted)", "[generated code]", Category.USER),
    "huge": ("r-xp 0 00:0f 9 /anon_hugepage (deleted)", "[generated code]", Category.USER),
    "vdso": ("r-xp 0 00:00 0 [vdso]", "[vdso]", Category.USER),
    "uprobes": ("--xp 0 00:00 0 [uprobes]", "[uprobes]", Category.USER),
    "gone": ("r-xp 0 00:05 9 /lib/x.so (deleted)", "[unreadable module]", Category.UNKNOWN),
    "absent": ("r-xp 0 00:05 9 /lib/x.so", "[unreadable module]", Category.UNKNOWN),
    "memfd": ("r-xs 0 00:01 9 /memfd:c (deleted)", "[unreadable module]", Category.UNKNOWN),
    "like zero": ("r-xp 0 00:05 9 /dev/zero", "[unreadable module]", Category.UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("name", PLACES)
def test_an_address_without_a_file(host: Host, go: Go, name: str) -> None:
    """It is not C code: the Go frames that called it stay."""
    line, called, expected = PLACES[name]
    window = window_of(host, go, f"{AT:x}-{AT + 0x1000:x} {line}\n")
    assert (frames(window), category(window)) == ([called, "main.main", "runtime.goexit"], expected)


def test_an_address_in_no_mapping_is_unknown(host: Host, go: Go) -> None:
    window = window_of(host, go, "")
    assert frames(window) == ["[unmapped]", "main.main", "runtime.goexit"]
    assert category(window) == Category.UNKNOWN


def test_an_address_beyond_the_listed_mappings_is_unknown(host: Host, go: Go) -> None:
    """Mappings before the bound are used."""
    lines = [f"{AT + (i << 13):x}-{AT + (i << 13) + 4096:x} r-xp 0 00:00 0\n" for i in range(5000)]
    window = window_of(host, go, "".join(lines), leaf=AT + (4999 << 13))
    assert frames(window) == ["[mapping not listed]", "main.main", "runtime.goexit"]
    assert category(window) == Category.UNKNOWN
    assert window.health.errors["maps-too-long"] == 1
    window = window_of(host, go, "".join(lines))
    assert frames(window)[0] == "[generated code]"


def test_a_file_that_is_no_elf_file_is_generated_code(host: Host, go: Go) -> None:
    host.start(7, 100, Program(go.path, ""))
    numbers = mapped(host, "tmp/code", WORDS)
    host.spoil(7, "maps", maps(go, f"{AT:x}-{AT + 0x1000:x} r-xs 0 {numbers} /tmp/code\n"))
    window = sampled(host, [AT, go.callers["main.main"], go.callers["runtime.goexit"]])
    assert frames(window) == ["[generated code]", "main.main", "runtime.goexit"]
    assert category(window) == Category.USER


def maps(go: Go, line: str) -> bytes:
    return (go.line.format(inode=go.path.stat().st_ino) + line).encode()


@pytest.mark.parametrize("data", [b"\x7fELF", b"\x7fELF" + bytes(4096)])
def test_a_damaged_module_is_unreadable(host: Host, go: Go, data: bytes) -> None:
    host.start(7, 100, Program(go.path, ""))
    numbers = mapped(host, "lib/x.so", data)
    host.spoil(7, "maps", maps(go, f"{AT:x}-{AT + 0x1000:x} r-xp 0 {numbers} /lib/x.so\n"))
    window = sampled(host, [AT, go.callers["main.main"], go.callers["runtime.goexit"]])
    assert frames(window)[0] == "[unreadable module]"
    assert category(window) == Category.UNKNOWN


def test_a_library_that_was_read_is_c_code(host: Host, go: Go) -> None:
    """Also in a program without cgo that loads the library by itself."""
    library = Path(shutil.which("true") or "/bin/true").resolve()
    with FileReader(library) as reader:
        text = next(load for load in parse_elf(reader).loads if load.flags & PF_X)
    host.start(7, 100, Program(go.path, ""))
    numbers = mapped(host, "lib/x.so", library.read_bytes())
    line = f"{AT:x}-{AT + 0x4000:x} r-xp {text.offset:x} {numbers} /lib/x.so\n"
    host.spoil(7, "maps", maps(go, line))
    stack = [AT + 0x123, go.callers["main.main"], go.callers["runtime.goexit"]]
    window = sampled(host, stack)
    assert frames(window)[1:] == ["main.main", "runtime.goexit"]
    assert category(window) == Category.CGO


@pytest.mark.parametrize(
    ("middle", "expected"),
    [(0x7F00DEAD0000, Category.UNKNOWN), (AT, Category.USER)],
    ids=["unmapped", "generated"],
)
def test_a_leaf_that_belongs_to_its_caller(
    host: Host, go: Go, middle: int, expected: Category
) -> None:
    """memmove is the caller's work; for an allocation the caller does not matter."""
    host.start(7, 100, Program(go.path, go.line + f"{AT:x}-{AT + 0x1000:x} r-xp 0 00:00 0\n"))
    end = [middle + 1, go.callers["main.main"], go.callers["runtime.goexit"]]
    assert category(sampled(host, [go.callers["runtime.memmove"], *end])) == expected
    assert category(sampled(host, [go.callers["runtime.mallocgc"], *end])) == Category.ALLOC


def test_go_code_with_an_unreadable_table_is_unknown(host: Host, go: Go, tmp_path: Path) -> None:
    """An obfuscated program was 100 % C code."""
    path = tmp_path / "obfuscated"
    shutil.copy(go.path, path)
    with path.open("r+b") as file:
        file.seek(go.table)
        file.write(b"\x12\x34\x56\x78")
    host.start(7, 100, Program(path, go.line))
    window = sampled(host, [go.callers["main.main"], go.callers["runtime.goexit"]])
    assert category(window) == Category.UNKNOWN
    assert window.health.errors["pclntab-magic"]


def test_c_functions_in_the_pclntab_are_c_code(go_binary: Callable[..., Path]) -> None:
    """Looked up one by one and in the whole map; a Go function without a package stays Go."""
    path = go_binary("findings", VERSIONS[-1], "internal")
    with FileReader(path) as reader:
        table = parse_pclntab(parse_elf(reader), f"go{VERSIONS[-1]}")
        names = frozenset({"spend", "main.main", "gogo"})
        at = {name: low for name, (low, _) in table.function_ranges(names).items()}
        pcs = np.array([at["spend"], at["main.main"], at["gogo"]], np.uint64)
        kinds = [chain[-1].kind for chain in table.frames(pcs)]
        assert kinds == [FrameKind.NATIVE, FrameKind.GO, FrameKind.GO]
        whole = ClassMapReader(table, KnownCodes())
        while not whole.is_done:
            whole.go_on(1 << 20)
        found = whole.take()
    assert found is not None
    codes = [found.chains[value >> 1] for value in found.find(pcs).tolist()]
    assert codes == [(categories.NATIVE,), (Category.USER,), (categories.TRANSPARENT,)]
