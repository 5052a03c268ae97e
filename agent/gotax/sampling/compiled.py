"""Load the compiled form of bpf/profile.c, without a compiler.

The program uses only the kernel's ABI: helpers by number, the registers of an interrupt, maps. So
its instructions are the same for every kernel. bpf/compiled/ has them, one file per architecture,
as bcc compiled them (``make bpf``). What differs between two starts is filled in here: the
descriptors of the maps, and a few numbers, such as the seed of the hashes. The kernel's verifier
checks the result as it checks what bcc loads.

Where there is no compiled form, where the text has changed since, and where the kernel refuses it,
``loader.py`` has the text compiled.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import resource
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gotax.sampling import kernel
from gotax.sampling.loader import Program, source_directory

FLAGS = ("HAVE_TASK_PT_REGS", "KERNEL_STACKS", "TARGET_CGROUP", "TARGET_TGIDS")
"""Definitions that select one of the compiled programs, by being there."""
NUMBERS = ("HASH_SEED", "TARGET_CGROUP", "TARGET_CGROUP_LEVEL")
"""Definitions whose values are in the instructions."""
SIZES = ("ANNOUNCED_MAX", "MAP_FLAGS", "PAGE_SIZE", "STACKS_MAX", "STACK_COUNTS_MAX")
"""Definitions that only describe maps."""
LOAD_WIDE = 0x18  # BPF_LD | BPF_IMM | BPF_DW, an instruction of 16 bytes
_LICENCE = "GPL"


def load_compiled(definitions: Mapping[str, str]) -> Program | None:
    """None: compile the text. That also says why, if it is the kernel that refused."""
    found = _read(definitions)
    if found is None:
        return None
    maps: dict[str, int] = {}
    try:
        for name, columns in found["maps"].items():
            if name != "targets" or "TARGET_TGIDS" in definitions:
                maps[name] = _make_map(name, columns, definitions)
        program = found["programs"][variant(definitions)]
        instructions = _filled_in(program, maps, definitions)
        loaded = _with_locked_memory(lambda: kernel.program_load("sample", instructions, _LICENCE))
    except OSError:
        for fd in maps.values():
            os.close(fd)
        return None
    os.close(maps.pop("scratch"))  # the program holds it
    return Program(loaded, maps)


def variant(definitions: Mapping[str, str]) -> str:
    return " ".join(name for name in FLAGS if name in definitions)


def fingerprint(folder: Path) -> str:
    """Of the text that is compiled."""
    digest = hashlib.sha256()
    for path in sorted([folder / "profile.c", *folder.glob("include/**/*.h")]):
        text = path.read_bytes()
        digest.update(f"{path.relative_to(folder)} {len(text)}\n".encode() + text)
    return digest.hexdigest()


def _read(definitions: Mapping[str, str]) -> dict[str, Any] | None:
    with source_directory() as folder:
        try:
            found: dict[str, Any] = json.loads(
                (folder / "compiled" / f"{kernel.MACHINE}.json").read_bytes()
            )
        except OSError:
            return None
        if found["text"] != fingerprint(folder):
            return None
    constants: dict[str, str] = found["constants"]
    free = {*FLAGS, *NUMBERS, *SIZES}
    rest = {name: value for name, value in definitions.items() if name not in free}
    return found if rest == constants and variant(definitions) in found["programs"] else None


def _make_map(name: str, columns: list[Any], definitions: Mapping[str, str]) -> int:
    kind, key_bytes, value_bytes, *sizes = columns
    entries, flags = (int(definitions.get(size, size)) for size in sizes)
    layout = kernel.MapLayout(kind, key_bytes, value_bytes, entries, flags)
    return _with_locked_memory(lambda: kernel.map_create(name, layout))


def _filled_in(
    program: Mapping[str, Any], maps: Mapping[str, int], definitions: Mapping[str, str]
) -> bytes:
    """The instructions with descriptors and numbers at their places."""
    code = bytearray(zlib.decompress(base64.b64decode(program["instructions"])))
    for name, places in program["maps"].items():
        for place in places:
            struct.pack_into("<i", code, 8 * place + 4, maps[name])
    for name, places in program["numbers"].items():
        value = int(definitions[name].rstrip("UL"))
        for place in places:
            struct.pack_into("<I", code, 8 * place + 4, value & 0xFFFFFFFF)
            if code[8 * place] == LOAD_WIDE:
                struct.pack_into("<I", code, 8 * place + 12, value >> 32)
    return bytes(code)


def _with_locked_memory(make: Callable[[], int]) -> int:
    """Until Linux 5.11 programs and maps count as locked memory, of which little is allowed."""
    try:
        return make()
    except PermissionError:
        with contextlib.suppress(ValueError, OSError):
            unlimited = resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_MEMLOCK, (unlimited, unlimited))
        return make()
