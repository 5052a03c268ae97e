from __future__ import annotations

import sys

import pytest
from gotax.errors import ParseError
from gotax.golang.buildinfo import parse_buildinfo, parse_modinfo
from gotax.golang.pclntab import parse_pclntab, shortened
from gotax.linux.elf import FileReader, parse_elf
from gotax.process import Module

# As `go version -m` prints it, without its indentation; the sums are cut short.
MODINFO = b"""\
path\tgithub.com/example/service/cmd/server
mod\tgithub.com/example/service\tv0.0.0-20250102030405-0123456789ab\th1:abc=
dep\tgithub.com/KimMachineGun/automemlimit\tv0.7.0\th1:def=
dep\tgo.uber.org/automaxprocs\tv1.6.0
=>\tgithub.com/fork/automaxprocs\tv1.6.1-fork\th1:ghi=
dep\tgolang.org/x/sys\tv0.30.0
=>\t../sys\t
build\t-buildmode=pie
build\t-ldflags="-s -w -X main.version=\\"1.2\\""
build\tDefaultGODEBUG=containermaxprocs=0,updatemaxprocs=0
build\tCGO_ENABLED=0
build\tvcs.modified=true
some\tfuture\tline
"""


@pytest.mark.parametrize("sentinel", [b"", bytes(range(0x80, 0x90))], ids=["bare", "wrapped"])
def test_the_text_of_the_go_command(sentinel: bytes) -> None:
    """Modules, replacements and quoted settings; unknown lines are ignored."""
    build = parse_modinfo("go1.25.12", sentinel + MODINFO + sentinel)
    assert build.version == "go1.25.12"
    assert build.package == "github.com/example/service/cmd/server"
    assert build.main == Module("github.com/example/service", "v0.0.0-20250102030405-0123456789ab")
    assert build.dependencies == (
        Module("github.com/KimMachineGun/automemlimit", "v0.7.0"),
        Module(
            "go.uber.org/automaxprocs",
            "v1.6.0",
            Module("github.com/fork/automaxprocs", "v1.6.1-fork"),
        ),
        Module("golang.org/x/sys", "v0.30.0", Module("../sys", "")),
    )
    assert build.setting("-ldflags") == '-s -w -X main.version="1.2"'
    assert build.setting("DefaultGODEBUG") == "containermaxprocs=0,updatemaxprocs=0"
    assert build.setting("vcs.modified") == "true"
    assert build.setting("-trimpath") == ""


def test_no_text_is_no_modules() -> None:
    """Binaries of Bazel and of GOPATH mode have a version alone."""
    build = parse_modinfo("go1.22.1", b"")
    assert (build.version, build.dependencies, build.settings) == ("go1.22.1", (), ())


def test_a_program_in_c_is_not_go() -> None:
    """No build info, and a named reason for the missing table."""
    with FileReader(sys.executable) as reader:
        elf = parse_elf(reader)
        assert parse_buildinfo(elf) is None
        with pytest.raises(ParseError) as refusal:
            parse_pclntab(elf, "")
    assert refusal.value.reason == "pclntab-missing"


@pytest.mark.parametrize(
    ("whole", "short"),
    [
        ("main.sum[go.shape.int]", "main.sum[...]"),
        ("main.(*list[go.shape.[]string]).push", "main.(*list[...]).push"),
        ("sync.(*Map[int,go.shape.map[string]int]).Load.func1", "sync.(*Map[...]).Load.func1"),
        ("main.main", "main.main"),
        ("odd]name[", "odd]name["),
    ],
)
def test_type_arguments_are_shortened(whole: str, short: str) -> None:
    """From the first bracket to the last, as the runtime prints names."""
    assert shortened(whole) == short
