"""The seeds of fuzzing: specimens of every layout, and real code and texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gotax.linux.elf import EM_AARCH64

from tests.fuzz.specimens import LAYOUTS, Function, Specimen, cut, encode, write
from tests.toolchains import go_binary

FIXTURES = Path(__file__).parents[1] / "fixtures"


def seeds(target: str) -> Iterator[bytes]:
    match target:
        case "elf" | "buildinfo" | "pclntab" | "holes":
            yield from by_hand()
            yield from from_binaries()
        case "inlines":
            yield from _inlines()
        case "pctables":
            yield from _pctables()
        case "scanner":
            yield from _codes()
        case _:
            yield from _texts()
    if target == "buildinfo":
        yield b'path\tmain\nmod\tm\tv1\th1:x=\ndep\td\tv0\n=>\te\tv2\nbuild\t"a=b"=`c`\n'


def by_hand() -> Iterator[bytes]:
    """A specimen of one function for each layout."""
    for layout in LAYOUTS:
        function = Function(
            name=b"main.main",
            size=64,
            pcsp=encode([(0, 8), (24, 56)], layout.quantum),
            pcfile=encode([(1, 64)], layout.quantum),
            pcln=encode([(10, 16), (12, 48)], layout.quantum),
            pcinline=b"",
            tree=(),
            files=(b"", b"/src/main.go"),
            start_line=9,
        )
        yield write(Specimen(layout, (function,)))


def from_binaries() -> Iterator[bytes]:
    """A specimen cut out of a real binary for each layout."""
    for layout in LAYOUTS:
        variants = ("arm64",) if layout.machine == EM_AARCH64 else ()
        path = go_binary("symbols", layout.built_with, *variants)
        yield write(replace(cut(path, layout), layout=layout))


def _inlines() -> Iterator[bytes]:
    for number, layout in enumerate(LAYOUTS):
        table = encode([(-1, 8), (0, 8), (1, 16), (-1, 32)], layout.quantum)[:-1]
        form = layout.format.inline
        size = form.entry_bytes if form else 16
        tree = bytearray(2 * size)
        if form and form.parent_pc is not None:
            tree[form.parent_pc] = 8
            tree[size + form.parent_pc] = 12
        part = bytes((len(table),)) + table + bytes((len(tree),)) + tree
        yield bytes((number,)) + part * 3


def _pctables() -> Iterator[bytes]:
    for quantum in (1, 4):
        table = encode([(0, 8), (24, 64), (-1, 4), (1000, 40000)], quantum)
        places = b"\x01\0" + (1 + len(table)).to_bytes(2, "little")
        yield bytes((quantum >> 2, 1)) + places + table + table
        yield bytes((quantum >> 2 | 2, 1)) + places + table + table


def _codes() -> Iterator[bytes]:
    for row in json.loads((FIXTURES / "gomaxprocs_code.json").read_text()):
        machine = bytes((row["arch"] == "arm64",))
        for code in (row["procresize"], row["GOMAXPROCS"]):
            if code is not None:
                yield machine + (code[0] << 8).to_bytes(8, "little") + bytes.fromhex(code[1])


def _texts() -> Iterator[bytes]:
    pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice"
    path = f"{pod}/cri-containerd-{'a' * 64}.scope"
    examples = (
        f"1 (a b) S {' '.join(map(str, range(1, 50)))}",
        "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a b (deleted)\n",
        f"12:cpu,cpuacct:/a\n0::{path}\n",
        "A=1\0GOMAXPROCS=4\0GODEBUG=x=1\0",
        "0-3,8\n",
        "Name:\tx\nCpus_allowed:\tff,ffffffff\n",
        "123456789 98765 43\n",
        "36 35 98:0 /mnt1 /mnt\\0402 rw master:1 - cgroup2 /dev/root rw,errors=continue\n",
        "150000 100000\n",
        "-1\n100000\n",
        "usage_usec 1\nuser_usec 2\nnr_periods 3\nnr_throttled 4\nthrottled_usec 5\n",
        path,
        "ffffffff81000000 T _text\nffffffff81000000 t start\t[mod]\n",
    )
    for number, text in enumerate(examples):
        yield bytes((number,)) + text.encode()
