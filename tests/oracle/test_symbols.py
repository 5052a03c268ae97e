"""Go's own tools, the program's own runtime, and DWARF as judges of the symbolizer."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.pclntab import Pclntab, parse_pclntab, shortened
from gotax.linux.elf import EM_AARCH64, BytesReader, Elf, FileReader, parse_elf
from gotax.model import Frame, UInt64Array

from tests import toolchains
from tests.toolchains import OLD_VERSIONS, VERSIONS, cache, minor

pytestmark = pytest.mark.toolchain

Variants = tuple[str, ...]
VARIANTS: tuple[Variants, ...] = ((), ("pie",), ("arm64",), ("cgo",), ("cgo", "pie"))


def can_build(version: str, variants: Variants) -> bool:
    """What the old releases cannot link on a present-day system."""
    if minor(version) < 9 and {"pie", "cgo"} & set(variants):
        return False
    return minor(version) >= 16 or not {"arm64", "pie"} <= set(variants)


CASES = [
    pytest.param(version, variants, id="-".join((version, *variants)))
    for version in OLD_VERSIONS + VERSIONS
    for variants in VARIANTS
    if can_build(version, variants)
]
every_build = pytest.mark.parametrize(("version", "variants"), CASES)


@dataclass(frozen=True)
class Program:
    path: Path
    version: str
    elf: Elf
    pclntab: Pclntab


@pytest.fixture
def program(go_binary: Callable[..., Path], version: str, variants: Variants) -> Program:
    return open_program(go_binary("symbols", version, *variants), version)


def open_program(path: Path, version: str) -> Program:
    elf = parse_elf(FileReader(path))
    build = parse_buildinfo(elf)
    assert build is not None
    assert build.version == f"go{version}"
    return Program(path, version, elf, parse_pclntab(elf, build.version))


def sampled_pcs(program: Program, count: int = 2000) -> UInt64Array:
    """Every function's first byte and some bytes within functions, by the ELF symbol table."""
    symbols = program.elf.function_symbols()
    assert symbols is not None
    inside = program.pclntab.contains(symbols.addresses) & (symbols.sizes > 0)
    starts, sizes = symbols.addresses[inside], symbols.sizes[inside]
    assert len(starts) > 1000
    rng = np.random.default_rng(20)
    chosen = rng.integers(0, len(starts), count)
    within = starts[chosen] + (rng.random(count) * sizes[chosen]).astype(np.uint64)
    # The runtime takes return addresses, and one at a function's start for that function's.
    return np.concatenate((starts, within[~np.isin(within + np.uint64(1), starts)]))


def addr2line(version: str, path: Path, pcs: UInt64Array) -> list[tuple[str, str, str]]:
    """(outermost function, innermost file, innermost line) by the release's own addr2line."""
    root = toolchains.toolchain(version)
    done = subprocess.run(
        [str(root / "bin" / "go"), "tool", "addr2line", str(path)],
        input="".join(f"{pc:x}\n" for pc in pcs.tolist()),
        env={
            **os.environ,
            "GOROOT": str(root),
            "GOTOOLCHAIN": "local",
            "GOENV": "off",
            "GOFLAGS": "",
            "GOCACHE": str(cache() / "build" / version),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    places = [line.rpartition(":") for line in lines[1::2]]
    return [
        (function, file, line)
        for function, (file, _, line) in zip(lines[0::2], places, strict=True)
    ]


@every_build
def test_addr2line_agrees(program: Program) -> None:
    """The outermost function, and the innermost file and line, are what addr2line says."""
    if minor(program.version) <= 18 and "pie" in program.path.name:
        pytest.skip("this release's addr2line does not know PIE files")
    pcs = sampled_pcs(program)
    answers = addr2line(program.version, program.path, pcs)
    for pc, frames, (function, file, line) in zip(
        pcs.tolist(), program.pclntab.frames(pcs), answers, strict=True
    ):
        assert frames[-1].function == short(function, program), hex(pc)
        if file in ("", "?"):
            continue  # no answer (up to Go 1.5 also when a file is the last of the table)
        assert (frames[0].file, frames[0].line) == (file, int(line)), hex(pc)


def short(name: str, program: Program) -> str:
    return shortened(name) if program.pclntab.format.whole_names else name


def runtime_answers(program: Program, pcs: UInt64Array) -> list[str]:
    """The lines the running program answers for these link-time addresses."""
    extent = program.pclntab.function_range("main.anchor")
    assert extent is not None
    with subprocess.Popen(
        [program.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdout is not None
        bias = int(process.stdout.readline(), 16) - extent[0]
        question = "".join(f"{pc + bias:x}\n" for pc in pcs.tolist())
        answer, _ = process.communicate(question.encode(), timeout=60)
    return answer.decode().splitlines()


@every_build
def test_the_running_program_agrees(program: Program) -> None:
    """The innermost function, file and line are what the runtime says inside the process."""
    if program.elf.machine == EM_AARCH64:
        pytest.skip("runs on another machine")
    pcs = sampled_pcs(program)
    answers = runtime_answers(program, pcs)
    for pc, frames, answer in zip(pcs.tolist(), program.pclntab.frames(pcs), answers, strict=True):
        function, file, line = answer.split("\t")
        mine = frames[-1] if minor(program.version) < 7 else frames[0]
        if function:  # the runtime takes the name at offset 0 for none
            assert mine.function == short(function, program), hex(pc)
        if file not in ("", "?"):
            assert (frames[0].file, frames[0].line) == (file, int(line)), hex(pc)


def dwarf_chains(path: Path, pcs: UInt64Array) -> list[list[tuple[str, int]]]:
    """Inline chains, innermost first, as (function, line) by llvm-symbolizer."""
    done = subprocess.run(
        ["llvm-symbolizer", "--inlines", "--output-style=LLVM", "-e", str(path)],
        input="".join(f"{pc:#x}\n" for pc in pcs.tolist()),
        capture_output=True,
        text=True,
        check=True,
    )
    chains = []
    for block in done.stdout.strip("\n").split("\n\n"):
        lines = block.splitlines()
        chains.append(
            [
                (shortened(function.removesuffix(".abi0")), int(place.split(":")[-2]))
                for function, place in zip(lines[0::2], lines[1::2], strict=True)
            ]
        )
    return chains


@every_build
def test_dwarf_agrees_on_inlined_calls(program: Program) -> None:
    """Whole chains of inlined calls, each with its line, are those of the debug information."""
    if shutil.which("llvm-symbolizer") is None:
        pytest.skip("no llvm-symbolizer")
    if minor(program.version) < 16:
        pytest.skip("debug information of inlined calls is not dependable yet")
    pcs = sampled_pcs(program)
    wrong: list[object] = []
    deep = 0
    for pc, frames, chain in zip(
        pcs, program.pclntab.frames(pcs), dwarf_chains(program.path, pcs), strict=True
    ):
        mine = [(shortened(frame.function).replace("·", "."), frame.line) for frame in frames]
        if frames[0].file == "<autogenerated>":
            chain = [(name, line or 1) for name, line in chain]  # DWARF has no line there
        deep += len(chain) > 1
        if mine != chain:
            wrong.append((hex(pc), mine, chain))
    assert deep > 100
    # About one in four thousand: DWARF's line at a function's end, or a wrapper it leaves out,
    # where addr2line and the runtime side with the table.
    assert len(wrong) <= len(pcs) // 1000, wrong


@functools.cache
def twin_frames(version: str, variants: Variants) -> tuple[list[tuple[Frame, ...]], list[int]]:
    program = open_program(toolchains.go_binary("symbols", version, *variants), version)
    with closing(program.elf.reader):  # type: ignore[type-var]
        table = program.pclntab
        pcs = np.arange(table.text_start, table.text_end, 61).astype(np.uint64)
        return table.frames(pcs), table.frame_sizes(pcs).tolist()


@every_build
@pytest.mark.parametrize("lost", [("stripped",), ("stripped", "nosections")])
def test_a_stripped_twin_answers_alike(version: str, variants: Variants, lost: Variants) -> None:
    """Neither the symbol table nor the section headers are needed."""
    assert twin_frames(version, (*variants, *lost)) == twin_frames(version, variants)


@pytest.mark.parametrize("version", [v for v in (*OLD_VERSIONS, *VERSIONS) if minor(v) >= 16])
def test_relocations_are_applied(go_binary: Callable[..., Path], version: str) -> None:
    """A PIE whose relocated words are zero in the file, as lld leaves them, answers alike."""
    path = go_binary("symbols", version, "pie", "stripped")
    data = bytearray(path.read_bytes())
    elf = parse_elf(BytesReader(bytes(data)))
    where, _ = elf.relative_relocations
    assert len(where) > 1000
    for place in elf.offsets_of(where).tolist():
        data[place : place + 8] = bytes(8)
    zeroed = parse_elf(BytesReader(bytes(data)))
    build = parse_buildinfo(zeroed)
    assert build == parse_buildinfo(elf)
    assert build is not None
    table, twin = parse_pclntab(elf, build.version), parse_pclntab(zeroed, build.version)
    pcs = np.arange(table.text_start, table.text_end, 1009).astype(np.uint64)
    assert twin.frames(pcs) == table.frames(pcs)
