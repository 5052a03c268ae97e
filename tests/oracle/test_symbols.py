"""The symbolizer compared with Go's own tools, the program's own runtime, and DWARF.

The same with every release, all builds and a hundred times the addresses: tests/corpus.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.categories import NATIVE, function_code
from gotax.golang.classmap import ClassMapReader, KnownCodes
from gotax.golang.pclntab import parse_pclntab, shortened
from gotax.linux.elf import BytesReader, parse_elf
from gotax.profile import Frame, FrameKind, UInt64Array

from tests import toolchains
from tests.corpus import oracle
from tests.corpus.inventory import Variants, can_build
from tests.corpus.oracle import Program
from tests.toolchains import OLD_VERSIONS, VERSIONS, minor

pytestmark = pytest.mark.toolchain

PCS = 2000
VARIANTS: tuple[Variants, ...] = ((), ("pie",), ("arm64",), ("cgo",), ("cgo", "pie"))
CASES = [
    pytest.param(version, variants, id="-".join((version, *variants)))
    for version in OLD_VERSIONS + VERSIONS
    for variants in VARIANTS
    if can_build(version, variants)
]
every_build = pytest.mark.parametrize(("version", "variants"), CASES)


@pytest.fixture
def program(go_binary: Callable[..., Path], version: str, variants: Variants) -> Iterator[Program]:
    with oracle.opened(go_binary("symbols", version, *variants), version) as program:
        yield program


def sampled_pcs(program: Program) -> UInt64Array:
    """Every function's first byte and some bytes within functions."""
    asked = oracle.questions(program, PCS)
    return asked.pcs[asked.inside]


@every_build
def test_addr2line_agrees(program: Program) -> None:
    """The outermost function, and the innermost file and line, are those of addr2line."""
    pcs = oracle.questions(program, PCS).pcs
    opinion = oracle.by_addr2line(program, pcs, program.pclntab.frames(pcs))
    if not opinion.asked:
        pytest.skip("this release's addr2line does not know PIE files")
    assert opinion.unanimous, opinion.cases


@every_build
def test_the_running_program_agrees(program: Program) -> None:
    """Whole chains of inlined calls are those of the runtime inside the process."""
    asked = oracle.questions(program, PCS)
    opinion = oracle.by_runtime(program, asked, program.pclntab.frames(asked.pcs))
    if not opinion.asked:
        pytest.skip("runs on another machine")
    assert opinion.unanimous, opinion.cases


def test_go_1_2_leaves_no_version(go_binary: Callable[..., Path]) -> None:
    """Up to Go 1.3 a binary has no version: its table is recognised by its records."""
    path = go_binary("symbols", "1.2.2")
    twins = [go_binary("symbols", "1.2.2", *lost) for lost in (("stripped",), ("nosections",))]
    verdict = oracle.judge("go1.2.2", "1.2.2", path, twins, PCS)
    assert verdict.unanimous, list(verdict.cases)
    assert verdict.runtime.asked > PCS


def test_a_wrong_name_is_a_disagreement(go_binary: Callable[..., Path]) -> None:
    """The judges detect another function, line or chain, and a missing one."""
    version = VERSIONS[-1]
    with oracle.opened(go_binary("symbols", version), version) as program:
        asked = oracle.questions(program, PCS)
        frames = program.pclntab.frames(asked.pcs)
        shifted = [*frames[1:], frames[0]]
        by_tool = oracle.by_addr2line(program, asked.pcs, shifted)
        assert by_tool.agreed < by_tool.asked // 2
        inlined = sum(len(chain) > 1 for chain in frames)
        outer = [chain[-1:] for chain in frames]
        by_program = oracle.by_runtime(program, asked, outer)
        assert 0 < by_program.asked - by_program.agreed <= inlined


@every_build
def test_the_class_map_matches_the_symbols(program: Program) -> None:
    """At every address the codes of its frames, and whether there is one."""
    table = program.pclntab
    reader = ClassMapReader(table, KnownCodes())
    reader.go_on(1 << 32)
    whole = reader.take()
    assert whole is not None
    assert (whole.text_start, whole.text_end) == (table.text_start, table.text_end)
    assert (np.diff(whole.starts.astype(np.int64)) > 0).all()
    assert len(set(whole.chains)) == len(whole.chains)
    pcs = sampled_pcs(program)
    values = whole.find(pcs)
    for pc, value, chain in zip(pcs.tolist(), values.tolist(), table.frames(pcs), strict=True):
        codes = [code for code, _ in groupby(map(code_of, chain))]
        assert whole.chains[value >> 1] == tuple(codes), hex(pc)
    assert (values & 1).tolist() == (table.frame_sizes(pcs) == 0).tolist()


def code_of(frame: Frame) -> int:
    """Marks of the linker without code look like C functions."""
    return NATIVE if frame.kind is FrameKind.NATIVE else function_code(frame.function)


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
    # About one in four thousand: DWARF's line at a function's end, or a wrapper that it omits;
    # addr2line and the runtime agree with the table.
    assert len(wrong) <= len(pcs) // 1000, wrong


@functools.cache
def twin_frames(version: str, variants: Variants) -> tuple[list[tuple[Frame, ...]], list[int]]:
    with oracle.opened(toolchains.go_binary("symbols", version, *variants), version) as program:
        table = program.pclntab
        pcs = np.arange(table.text_start, table.text_end, 61).astype(np.uint64)
        return table.frames(pcs), table.frame_sizes(pcs).tolist()


@every_build
@pytest.mark.parametrize("lost", [("stripped",), ("stripped", "nosections")])
def test_a_stripped_twin_gives_the_same_answers(
    version: str, variants: Variants, lost: Variants
) -> None:
    """Neither the symbol table nor the section headers are needed."""
    assert twin_frames(version, (*variants, *lost)) == twin_frames(version, variants)


@pytest.mark.parametrize("version", [v for v in (*OLD_VERSIONS, *VERSIONS) if minor(v) >= 16])
def test_relocations_are_applied(go_binary: Callable[..., Path], version: str) -> None:
    """A PIE whose relocated words are zero in the file, as lld writes them, gives the same
    answers."""
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
