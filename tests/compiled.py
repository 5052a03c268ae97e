"""Compile bpf/profile.c into bpf/compiled/, for both architectures: ``make bpf``.

bcc compiles, as it does on a host without a compiled form; ``gotax.sampling.compiled`` loads the
result. bcc makes maps while it compiles, so this needs root. ``--check`` writes nothing, and says
what differs. With the same bcc and LLVM nothing does.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gotax.sampling import compiled
from gotax.sampling.loader import MAP_NAMES
from gotax.sampling.sampler import MAX_FRAMES

FOLDER = Path(__file__).parents[1] / "bpf"
ARCHITECTURES = {"x86_64": "x86", "aarch64": "arm64"}  # as bcc calls them
CONSTANTS = {"MAX_FRAMES": str(MAX_FRAMES)}
# By these values the places are found that a number has in the instructions and in the maps.
MARKS = {
    "HASH_SEED": 0x5EED0123456789AB,
    "TARGET_CGROUP": 0x7A6E7456789ABCDE,
    "TARGET_CGROUP_LEVEL": 0x1EAF11,
}
SIZES = {"ANNOUNCED_MAX": 5001, "STACKS_MAX": 5003, "STACK_COUNTS_MAX": 5007}
SIZES |= {"MAP_FLAGS": 1, "PAGE_SIZE": os.sysconf("SC_PAGE_SIZE")}
OPTIONAL = {"TARGET_CGROUP": ("TARGET_CGROUP", "TARGET_CGROUP_LEVEL")}
MAP_FD = 1 << 4  # BPF_PSEUDO_MAP_FD, as the source register of a LOAD_WIDE
FDINFO = ("map_type", "key_size", "value_size", "max_entries", "map_flags")


def definition_sets() -> Iterator[dict[str, str]]:
    """One per program. Nothing asks for processes and a cgroup at once."""
    targets: tuple[tuple[str, ...], ...] = ((), ("TARGET_TGIDS",), OPTIONAL["TARGET_CGROUP"])
    for pt_regs, kernel_stacks, target in itertools.product((0, 1), (0, 1), targets):
        names = ["HASH_SEED", *target]
        names += ["HAVE_TASK_PT_REGS"] * pt_regs + ["KERNEL_STACKS"] * kernel_stacks
        numbers = {name: f"{MARKS[name]}ULL" if name in MARKS else "1" for name in names}
        if "TARGET_CGROUP_LEVEL" in numbers:
            numbers["TARGET_CGROUP_LEVEL"] = str(MARKS["TARGET_CGROUP_LEVEL"])
        yield CONSTANTS | {name: str(value) for name, value in SIZES.items()} | numbers


def program(definitions: dict[str, str]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """(the program, the maps) as bpf/compiled/ has them."""
    from bcc import BPF

    cflags = [f"-D{name}={value}" for name, value in definitions.items()]
    bpf = BPF(src_file=str(FOLDER / "profile.c"), cflags=cflags)
    code = bytearray(bpf.dump_func("sample"))
    descriptors = {}
    maps = {}
    for table in ("scratch", *MAP_NAMES, "targets"):
        try:
            fd = bpf[table].map_fd
        except KeyError:
            continue
        descriptors[fd] = table
        maps[table] = map_columns(fd)
    relocated: dict[str, list[int]] = {}
    numbers: dict[str, list[int]] = {}
    place = 0
    while 8 * place < len(code):
        at, is_wide = 8 * place, code[8 * place] == compiled.LOAD_WIDE
        low = int.from_bytes(code[at + 4 : at + 8], "little")
        high = int.from_bytes(code[at + 12 : at + 16], "little") if is_wide else 0
        if is_wide and code[at + 1] & 0xF0 == MAP_FD:
            relocated.setdefault(descriptors[low], []).append(place)
            code[at + 4 : at + 8] = bytes(4)
        for name, mark in MARKS.items():
            if low | high << 32 == mark:
                numbers.setdefault(name, []).append(place)
                code[at + 4 : at + 8] = bytes(4)
                if is_wide:
                    code[at + 12 : at + 16] = bytes(4)
        place += 1 + is_wide
    if missing := {name for name in MARKS if name in definitions} - numbers.keys():
        raise SystemExit(f"not found in the instructions: {missing}")
    text = base64.b64encode(zlib.compress(bytes(code), 9)).decode()
    return {"instructions": text, "maps": relocated, "numbers": numbers}, maps


def map_columns(fd: int) -> list[Any]:
    """Kind, sizes of key and value, entries and flags; a number or the definition that has it."""
    text = Path(f"/proc/self/fdinfo/{fd}").read_text()
    found = [
        int(value, 0) for value in re.findall(rf"^(?:{'|'.join(FDINFO)}):\s+(\S+)$", text, re.M)
    ]
    by_value: dict[int, str] = {value: key for key, value in SIZES.items()}
    *kind, entries, flags = found
    entries_of = by_value.get(entries, entries) if entries > 1 else entries
    return [*kind, entries_of, "MAP_FLAGS" if flags == SIZES["MAP_FLAGS"] else flags]


def compiler() -> str:
    """What compiles: another LLVM chooses other instructions."""
    import bcc

    libraries = Path("/proc/self/maps").read_text()
    return (
        f"bcc {bcc.__version__}, {', '.join(sorted(set(re.findall('libLLVM-[0-9]+', libraries))))}"
    )


def document(architecture: str) -> dict[str, Any]:
    programs: dict[str, Any] = {}
    maps: dict[str, Any] = {}
    for definitions in definition_sets():
        made, its_maps = program(definitions)
        programs[compiled.variant(definitions)] = made
        maps |= its_maps
    return {
        "architecture": architecture,
        "compiler": compiler(),
        "text": compiled.fingerprint(FOLDER),
        "constants": CONSTANTS,
        "maps": maps,
        "programs": programs,
    }


def of_architecture(name: str) -> dict[str, Any]:
    """In a process of its own: bcc reads ARCH once."""
    environment = {**os.environ, "ARCH": ARCHITECTURES[name], "BCC_KERNEL_SOURCE": str(FOLDER)}
    command = [sys.executable, "-m", "tests.compiled", "--architecture", name]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--architecture", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.architecture:
        print(json.dumps(document(options.architecture)))
        return 0
    differences = 0
    for name in ARCHITECTURES:
        path = FOLDER / "compiled" / f"{name}.json"
        found = of_architecture(name)
        if not options.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(found, indent=1) + "\n")
        elif json.loads(path.read_text()) != found:
            print(f"{path.name} differs", file=sys.stderr)
            differences += 1
    return differences


if __name__ == "__main__":
    sys.exit(main())
