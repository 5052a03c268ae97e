"""Program counters by the toolchain and the running program, compared with gotax.

Three judges. ``go tool addr2line`` of the release that built the binary: the outermost function,
the innermost file and line. The program's own runtime (runtime.CallersFrames, with which
runtime/pprof expands inlined calls): the whole chain. The twin without symbols: gotax itself.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.pclntab import Pclntab, parse_pclntab, shortened
from gotax.linux.elf import EM_AARCH64, ET_DYN, Elf, FileReader, gather, parse_elf
from gotax.profile import Frame, UInt64Array

from tests import toolchains
from tests.toolchains import cache, minor

PCS = 200_000
PT_INTERP = 3
_BATCH = 32768
_SHOWN = 5
_ANSWER_SECONDS = 600
_MARKS = frozenset({"go:textfipsstart", "go:textfipsend"})
"""The linker's, without code or tables. debug/gosym reads a table at offset 0, which means none
(runtime/symtab.go: pcvalue), and may find the next function's."""

Chain = list[tuple[str, str, int]]
"""Function, file and line of every activation, innermost first; [] for no Go function."""


@dataclass(frozen=True)
class Program:
    path: Path
    version: str
    elf: Elf
    pclntab: Pclntab


@contextmanager
def opened(path: Path, version: str) -> Iterator[Program]:
    with closing(FileReader(path)) as reader:
        elf = parse_elf(reader)
        build = parse_buildinfo(elf)
        assert build is not None
        # Before Go 1.4 the version was a constant, which leaves nothing in a binary. What follows
        # it are experiments: "go1.25.12 X:greenteagc", since Go 1.26 "go1.26.8-X:nogreenteagc".
        release = re.split("[ -]X:", build.version)[0]
        assert release == (f"go{version}" if minor(version) >= 4 else "")
        yield Program(path, version, elf, parse_pclntab(elf, build.version))


@dataclass(frozen=True)
class Questions:
    """Program counters, sorted, and which of them are in a function, not in a gap."""

    pcs: UInt64Array
    inside: npt.NDArray[np.bool_]
    functions: int


def questions(program: Program, count: int = PCS) -> Questions:
    """Every function's first byte and ``count`` others of the text (all, if it has less).

    Functions are those of the ELF symbol table, not of the table under test.
    """
    symbols = program.elf.function_symbols()
    assert symbols is not None
    known = program.pclntab.contains(symbols.addresses)
    starts, sizes = symbols.addresses[known], symbols.sizes[known]
    assert len(starts) > 1000
    low, high = program.pclntab.text_start, program.pclntab.text_end
    rng = np.random.default_rng(20)
    if high - low <= 2 * count:
        drawn = low + rng.permutation(high - low)[:count]
    else:
        drawn = np.unique(rng.integers(low, high, count + count // 8))
        drawn = rng.permutation(drawn)[:count]
    pcs = np.unique(np.concatenate((starts, drawn.astype(np.uint64))))
    at = np.searchsorted(starts, pcs, side="right") - 1
    within = pcs - starts[np.maximum(at, 0)] < sizes[np.maximum(at, 0)]
    return Questions(pcs, (at >= 0) & within, len(np.unique(starts)))


@dataclass(frozen=True)
class Opinion:
    """The result of one judge: how often asked (``asked`` 0: it is not available) and agreed."""

    asked: int
    agreed: int
    cases: tuple[str, ...] = ()

    @property
    def unanimous(self) -> bool:
        return self.agreed == self.asked


SILENT = Opinion(0, 0)


@dataclass(frozen=True)
class Verdict:
    name: str
    functions: int
    pcs: int
    addr2line: Opinion
    runtime: Opinion
    twins: Opinion

    @property
    def unanimous(self) -> bool:
        return self.addr2line.unanimous and self.runtime.unanimous and self.twins.unanimous

    @property
    def cases(self) -> Iterator[str]:
        for judge in ("addr2line", "runtime", "twins"):
            for case in getattr(self, judge).cases:
                yield f"{self.name}: {judge}: {case}"


def judge(name: str, version: str, path: Path, twins: Sequence[Path], count: int = PCS) -> Verdict:
    """All judges on one binary; ``twins`` are the same program without symbols."""
    with opened(path, version) as program:
        asked = questions(program, count)
        frames = program.pclntab.frames(asked.pcs)
        return Verdict(
            name,
            asked.functions,
            len(asked.pcs),
            by_addr2line(program, asked.pcs, frames),
            by_runtime(program, asked, frames),
            by_twins(program, asked.pcs, frames, twins),
        )


def by_addr2line(
    program: Program, pcs: UInt64Array, frames: Sequence[tuple[Frame, ...]]
) -> Opinion:
    if program.elf.type == ET_DYN and minor(program.version) <= 19:
        return SILENT  # a PIE: this release's addr2line confuses addresses, or knows none
    right = 0
    wrong = []
    answers = addr2line(program.version, program.path, pcs)
    for pc, chain, (function, file, line) in zip(pcs.tolist(), frames, answers, strict=True):
        # No file: in a gap between functions, or up to Go 1.15 the table's last one.
        last = minor(program.version) < 16 and line in ("0", str(chain[0].line))
        silent = file in ("", "?", "??") and (not chain[0].file or last)
        same = chain[-1].function == short(function, program) and (
            silent or function in _MARKS or (chain[0].file, chain[0].line) == (file, int(line))
        )
        right += same
        if not same:
            wrong.append(f"{pc:#x}: {function} {file}:{line}, not {_shown(chain)}")
    return Opinion(len(pcs), right, tuple(wrong[:_SHOWN]))


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


def by_runtime(program: Program, asked: Questions, frames: Sequence[tuple[Frame, ...]]) -> Opinion:
    # It takes return addresses: one at a function's start belongs to the previous function. And it
    # fails for a byte without an instruction.
    numbers = np.flatnonzero(asked.inside)
    numbers = numbers[numbers + 1 < len(asked.inside)]
    last = ~np.isin(asked.pcs[numbers] + np.uint64(1), asked.pcs[_starts(program, asked)])
    numbers = numbers[last]
    # And it never returns from a tree with a cycle: gotax has no line at its end.
    endless = np.array([len(chain) > 1 and not chain[-1].file for chain in frames])
    numbers = numbers[~endless[numbers]]
    answers = runtime_answers(program, asked.pcs[numbers])
    if answers is None:
        return SILENT
    right = 0
    wrong = []
    wrappers = in_wrappers(program, asked.pcs[numbers]).tolist()
    for number, answer, wrapper in zip(numbers.tolist(), answers, wrappers, strict=True):
        same = agrees_with_runtime(program, frames[number], answer, wrapper=wrapper)
        right += same
        if not same:
            shown = " < ".join(f"{name} {file}:{line}" for name, file, line in answer)
            wrong.append(f"{int(asked.pcs[number]):#x}: {shown}, not {_shown(frames[number])}")
    return Opinion(len(numbers), right, tuple(wrong[:_SHOWN]))


def _starts(program: Program, asked: Questions) -> npt.NDArray[np.bool_]:
    symbols = program.elf.function_symbols()
    assert symbols is not None
    return np.isin(asked.pcs, symbols.addresses)


def agrees_with_runtime(
    program: Program, chain: tuple[Frame, ...], answer: Chain, *, wrapper: bool
) -> bool:
    """Whether the runtime's chain is that of gotax.

    The runtime omits the outermost function of inlined calls if that is a wrapper which the
    compiler made, as in its tracebacks. It has no name for the function whose name is the table's
    first, and no file between functions.
    """
    mine = [(frame.function, frame.file, frame.line) for frame in chain]
    if minor(program.version) < 7:
        mine = [(chain[-1].function, chain[0].file, chain[0].line)]
    theirs = [(short(name, program), file, line) for name, file, line in answer]
    if wrapper and len(mine) == len(theirs) + 1:
        del mine[-1]
    return len(mine) == len(theirs) and all(
        (not theirs_name or name == theirs_name)
        and (theirs_file in ("", "?") or (file, line) == (theirs_file, theirs_line))
        for (name, file, line), (theirs_name, theirs_file, theirs_line) in zip(
            mine, theirs, strict=True
        )
    )


def in_wrappers(program: Program, pcs: UInt64Array) -> npt.NDArray[np.bool_]:
    """Which pcs are in functions that tracebacks omit, from the records alone.

    Those have the funcID of runtime.deferreturn (cmd/internal/objabi/funcid.go); since Go 1.14, the
    first release with such functions.
    """
    if minor(program.version) < 14:
        return np.zeros(len(pcs), np.bool_)
    header, layout = program.pclntab.header, program.pclntab.format
    word = np.dtype(f"<u{layout.word_bytes}")
    data = program.elf.reader.read(header.functab, 2 * header.function_count * word.itemsize)
    rows = np.frombuffer(data, word).astype(np.int64)
    base = program.pclntab.text_start - int(rows[0])  # text_start is the first function's
    places = header.functions + rows[1::2] + layout.function.funcdata_count - 3
    ids = gather(program.elf.reader, places, 1)[:, 0]
    known = program.pclntab.function_range("runtime.deferreturn")
    assert known is not None
    starts = rows[0::2] + base
    wrapper = ids[np.searchsorted(starts, known[0])]
    of = np.searchsorted(starts, pcs.astype(np.int64), side="right") - 1
    found: npt.NDArray[np.bool_] = ids[of] == wrapper
    return found


def runtime_answers(program: Program, pcs: UInt64Array) -> list[Chain] | None:
    """The running program's data about link-time addresses; None if it does not run here."""
    command = [str(program.path)]
    if program.elf.machine == EM_AARCH64:
        emulator = shutil.which("qemu-aarch64")
        interpreted = any(segment.type == PT_INTERP for segment in program.elf.segments)
        if emulator is None or interpreted or minor(program.version) < 9:
            return None  # it needs a dynamic linker that is missing; older runtimes do not start
        command.insert(0, emulator)
    extent = program.pclntab.function_range("main.gotaxAnchor")
    assert extent is not None
    environment = {**os.environ, "GOTAX_ANSWERS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, env=environment
    ) as process:
        assert process.stdout is not None
        bias = int(process.stdout.readline(), 16) - extent[0]
        question = "".join(f"{pc + bias:x}\n" for pc in pcs.tolist())
        output, _ = process.communicate(question.encode(), timeout=_ANSWER_SECONDS)
    assert process.returncode == 0
    return [_parse_chain(line) for line in output.decode().splitlines()]


def _parse_chain(line: str) -> Chain:
    fields = line.split("\t")
    return [
        (function, file, int(number))
        for function, file, number in zip(fields[0::3], fields[1::3], fields[2::3], strict=False)
    ]


def by_twins(
    program: Program,
    pcs: UInt64Array,
    frames: Sequence[tuple[Frame, ...]],
    twins: Sequence[Path],
) -> Opinion:
    right = 0
    wrong = []
    sizes = program.pclntab.frame_sizes(pcs)
    for path in twins:
        with opened(path, program.version) as twin:
            answers = twin.pclntab.frames(pcs)
            same = twin.pclntab.frame_sizes(pcs) == sizes
        for pc, mine, theirs, size in zip(
            pcs.tolist(), frames, answers, same.tolist(), strict=True
        ):
            right += size and mine == theirs
            if not size or mine != theirs:
                wrong.append(f"{pc:#x}: {_shown(theirs)}, not {_shown(mine)}")
    return Opinion(len(twins) * len(pcs), right, tuple(wrong[:_SHOWN]))


def short(name: str, program: Program) -> str:
    return shortened(name) if program.pclntab.format.whole_names else name


def _shown(chain: tuple[Frame, ...]) -> str:
    return " < ".join(f"{frame.function} {frame.file}:{frame.line}" for frame in chain)
