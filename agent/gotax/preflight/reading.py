"""Reads what a Go binary says about itself, by the parts of it that say so."""

from __future__ import annotations

from gotax.errors import ParseError, ReadError
from gotax.golang.buildinfo import parse_buildinfo
from gotax.golang.gomaxprocs import find_gomaxprocs
from gotax.golang.live import GomaxprocsAddresses
from gotax.golang.pclntab import parse_pclntab
from gotax.linux.elf import Elf, Reader, parse_elf
from gotax.preflight.forecast import Program
from gotax.process import GoBuild

ELF_MAGIC = b"\x7fELF"


def read_program(reader: Reader, path: str) -> Program | None:
    """None if it is not a Go program. Raises ReadError if the file cannot be read."""
    elf = parse_elf(reader)
    build = parse_buildinfo(elf)
    if build is None:
        if elf.is_packed:
            raise ParseError("elf-packed", "packed by UPX: unpack it with upx -d")
        return None
    if build.setting("-compiler") == "gccgo":
        raise ParseError("compiler-gccgo", "gccgo has a runtime of its own")
    return Program(path, build, _code(elf, build), reader.size)


def _code(elf: Elf, build: GoBuild) -> GomaxprocsAddresses | None:
    """What the machine code says, for a build that has no list of modules, as Bazel's."""
    if build.main.path or build.dependencies or elf.bits != 64:
        return None
    try:
        return find_gomaxprocs(elf, parse_pclntab(elf, build.version))
    except ReadError:
        return None  # the version alone has to do
