"""What is fuzzed: one function of bytes for each kind of hostile input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from gotax.errors import ParseError
from gotax.golang import gomaxprocs
from gotax.golang.buildinfo import parse_buildinfo, parse_modinfo
from gotax.golang.classmap import ClassMapReader, KnownCodes
from gotax.golang.gomaxprocs import find_custom, find_gomaxprocs, find_value
from gotax.golang.machinecode import Code
from gotax.golang.pclntab import Pclntab, parse_pclntab
from gotax.golang.pcvalue import read_pc_tables
from gotax.linux import kallsyms, mappings, pressure, procfs
from gotax.linux.cgroups import cpu, hierarchies, identity
from gotax.linux.elf import EM_AARCH64, EM_X86_64, Elf, parse_elf

from tests.fuzz.limits import HOLE_BYTES, CountingReader, Target
from tests.fuzz.specimens import LAYOUTS, Function, Specimen, encode, write

_MAX_PC = 1 << 33


def elf(data: bytes) -> None:
    """Headers, sections, symbols, relocations, notes, and all that is looked up in them."""
    _elf(parse_elf(CountingReader(data)))


def _elf(file: Elf) -> None:
    file.build_id()
    for address in (0, file.entry, 1 << 63, (1 << 64) - 1, *_ends(file)):
        file.offset_of(address)
        _refused(lambda at: file.read_va(at, 16), address)
        _refused(lambda at: file.read_words(at, 4), address)
    file.offsets_of(np.array([0, file.entry, (1 << 64) - 1], np.uint64))
    _refused(lambda _: file.relative_relocations, 0)
    _refused(lambda _: file.symbol("runtime.buildVersion"), 0)
    symbols = file.function_symbols()
    if symbols is not None:
        for number in range(0, len(symbols), max(1, len(symbols) // 8)):
            _refused(symbols.lookup, int(symbols.addresses[number]))
        _refused(symbols.lookup, (1 << 64) - 1)


def _ends(file: Elf) -> list[int]:
    found = [s.address for s in file.loads] + [s.address + s.file_size - 1 for s in file.loads]
    return found[:32]


def _refused(ask: Callable[[int], object], argument: int) -> None:
    """Each question by itself may be refused."""
    try:
        ask(argument)
    except ParseError:
        pass


def buildinfo(data: bytes) -> None:
    """Version, modules and settings: in a file, and the text by itself."""
    if data[:4] == b"\x7fELF":
        parse_buildinfo(parse_elf(CountingReader(data)))
    else:
        parse_modinfo("go1.26.0", data)


def pclntab(data: bytes) -> None:
    """A whole binary: everything gotax asks of one."""
    file = parse_elf(CountingReader(data))
    build = parse_buildinfo(file)
    _interrogate(parse_pclntab(file, build.version if build else ""), file)


def holes(data: bytes) -> None:
    """As ``elf`` and ``pclntab``, of a file that has 64 TiB more, all of it holes."""
    _elf(parse_elf(CountingReader(data, HOLE_BYTES)))
    file = parse_elf(CountingReader(data, HOLE_BYTES))
    build = parse_buildinfo(file)
    _interrogate(parse_pclntab(file, build.version if build else ""), file)


def _interrogate(table: Pclntab, file: Elf) -> None:
    _walk(table, 60)
    _walk(table, 2)  # few at a time take another way through the reader
    names = gomaxprocs.FUNCTIONS | {"main.main", "runtime.sigreturn"}
    _ask(lambda: list(table.function_ranges(names)), [])
    _ask(lambda: [find_gomaxprocs(file, table)], [])
    _ask(lambda: [ClassMapReader(table, KnownCodes()).go_on(1 << 32)], [])


def all_functions(data: bytes) -> None:
    """Every byte of code of a sound binary in one batch."""
    file = parse_elf(CountingReader(data))
    table = parse_pclntab(file, "go1.27.3")
    pcs = np.arange(table.text_start, table.text_end, dtype=np.uint64)
    _ask(lambda: table.frames(pcs), [])
    _ask(lambda: [table.calls(pcs)], [])
    _ask(lambda: [ClassMapReader(table, KnownCodes()).go_on(1 << 32)], [])


def _walk(table: Pclntab, count: int) -> None:
    last = max(table.text_start, table.text_end - 1)
    spread = np.linspace(table.text_start, last, count).astype(np.uint64)
    pcs = np.unique(np.concatenate((spread, np.array([0, last + 1, (1 << 64) - 1], np.uint64))))
    assert len(_ask(lambda: table.frames(pcs), list(pcs))) == len(pcs)
    assert len(_ask(lambda: table.frame_sizes(pcs).tolist(), list(pcs))) == len(pcs)
    _ask(lambda: [table.calls(pcs)], [])


def _ask(question: Callable[[], Sequence[object]], otherwise: list[object]) -> Sequence[object]:
    try:
        return question()
    except ParseError:
        return otherwise


def pctables(data: bytes) -> None:
    """Tables by program counter: decoded at once as the runtime reads them step by step."""
    if len(data) < 4:
        return
    quantum = 4 if data[0] & 1 else 1
    count = 1 + data[1] % (60 if data[0] & 2 else 6)
    places = np.frombuffer(data[2 : 2 + 2 * count].ljust(2 * count, b"\0"), "<u2").astype(np.int64)
    content = b"\0" + data[2 + 2 * count :]
    places %= len(content) + 1
    tables = read_pc_tables(CountingReader(content), 0, places, len(content), quantum)
    pcs = np.array([0, 1, 4, 31, 127, 4096, _MAX_PC], np.int64)
    for place in places.tolist():
        numbers = tables.numbers(np.full(len(pcs), place, np.int64))
        found = tables.at(numbers, pcs).tolist()
        expected = [step_by_step(content, place, pc, quantum) for pc in pcs.tolist()]
        assert found == expected, (place, found, expected)
    runs = tables.runs(tables.numbers(places))
    assert ((runs.start >= 0) & (runs.end >= runs.start)).all()
    tables.ends(tables.numbers(places))


def step_by_step(content: bytes, place: int, pc: int, quantum: int) -> int:
    """As runtime/symtab.go reads a table (pcvalue and step), -1 for none; values are 32 bits."""
    if not place:
        return -1
    at, value, reached, first = place, -1, 0, True

    def number() -> int:
        nonlocal at
        result = shift = 0
        while True:
            byte = content[at]
            at += 1
            result |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return result

    while True:
        delta = number()
        if delta == 0 and not first:
            return -1
        value += -(delta + 1 >> 1) if delta & 1 else delta >> 1
        value = (value + (1 << 31)) % (1 << 32) - (1 << 31)
        reached += number() * quantum
        first = False
        if pc < reached:
            return value


def inlines(data: bytes) -> None:
    """Inline trees and the tables that lead into them, in an otherwise sound binary.

    First byte: the layout. Then, for each of three functions: how many bytes its table of
    indices has, the table, how many bytes its tree has, the tree.
    """
    if not data:
        return
    layout = LAYOUTS[data[0] % len(LAYOUTS)]
    at = 1
    functions = []
    for number in range(3):
        parts = []
        for _ in range(2):
            size = data[at] if at < len(data) else 0
            parts.append(data[at + 1 : at + 1 + size])
            at += 1 + size
        table = parts[0].rstrip(b"\0")
        functions.append(
            Function(
                name=b"main.f%d" % number,
                size=64,
                pcsp=encode([(0, 8), (24, 56)], layout.quantum),
                pcfile=encode([(1, 64)], layout.quantum),
                pcln=encode([(10, 16), (12, 48)], layout.quantum),
                pcinline=table + b"\0" if table else b"",
                tree=((parts[1], None),) if parts[1] else (),
                files=(b"", b"/src/main.go"),
                start_line=9,
            )
        )
    file = parse_elf(CountingReader(write(Specimen(layout, tuple(functions)))))
    _walk(parse_pclntab(file, layout.version), 24)


def scanner(data: bytes) -> None:
    """The search for GOMAXPROCS in machine code. First byte: the machine."""
    if not data:
        return
    machine = EM_AARCH64 if data[0] & 1 else EM_X86_64
    code = Code(int.from_bytes(data[1:9], "little") >> 8, data[9:])
    _refused(lambda _: find_value(machine, code, lambda at: at % 3 < 2), 0)
    _refused(lambda _: find_custom(machine, code, lambda at: at % 3 < 2), 0)


_TEXTS: tuple[Callable[[bytes], object], ...] = (
    procfs.parse_stat,
    mappings.parse_maps,
    procfs.parse_cgroups,
    lambda data: procfs.parse_environment(data, frozenset(("GOMAXPROCS", "GODEBUG"))),
    procfs.parse_cpu_list,
    procfs.parse_allowed_cpus,
    pressure.parse_times,
    hierarchies.parse_mountinfo,
    cpu.parse_cpu_max,
    lambda data: cpu.parse_cfs_quota(*data.partition(b"\n")[::2]),
    cpu.parse_cpu_stat,
    lambda data: identity.identify(data.decode("utf-8", "surrogateescape")),
    lambda data: kallsyms.parse_kallsyms((data + b"\n",)),
)


def texts(data: bytes) -> None:
    """What the kernel writes under /proc and /sys, with names that users choose. First: which."""
    if data:
        _TEXTS[data[0] % len(_TEXTS)](data[1:])


TARGETS: dict[str, Target] = {
    "elf": elf,
    "buildinfo": buildinfo,
    "pclntab": pclntab,
    "holes": holes,
    "pctables": pctables,
    "inlines": inlines,
    "scanner": scanner,
    "texts": texts,
}
