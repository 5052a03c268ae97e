"""Unusual builds, compared with addr2line and the running program, and GOMAXPROCS in them."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from gotax.addr2line import open_binary
from gotax.errors import UserError
from gotax.golang import gomaxprocs
from gotax.golang.gomaxprocs import find_gomaxprocs

from tests import toolchains
from tests.corpus import oracle
from tests.corpus.oracle import Program
from tests.toolchains import PROGRAMS, cache

pytestmark = pytest.mark.toolchain

PCS = 5000
GARBLE = "v0.16.0"  # for Go 1.26
GC_SECTIONS = "-linkmode=external -extldflags=-Wl,--gc-sections"
STATIC_PIE = "-linkmode=external -extldflags=-static-pie"


@dataclass(frozen=True)
class Way:
    """Arguments of ``go build``, its environment, and changes of the binary."""

    name: str
    version: str
    flags: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    after: tuple[str, ...] = ()


CGO = (("CGO_ENABLED", "1"),)
QUICK = (
    Way("trimpath-no-buildid", "1.27.3", ("-trimpath", "-ldflags=-buildid=")),
    Way("debug-not-compressed", "1.27.3", ("-ldflags=-compressdwarf=0",)),
    Way("debug-zlib", "1.24.13", after=("objcopy", "--compress-debug-sections=zlib")),
    Way("debug-zlib-gnu", "1.27.3", after=("objcopy", "--compress-debug-sections=zlib-gnu")),
    Way("debug-separate", "1.27.3", after=("objcopy", "--strip-debug")),
    Way("strip", "1.26.8", after=("strip", "--strip-debug")),
    Way("sections-moved", "1.26.8", after=("objcopy", "--file-alignment=65536")),
    Way("fips", "1.24.13", environment=(("GOFIPS140", "latest"),)),
)
SLOW = (
    Way("not-optimised", "1.27.3", ("-gcflags=all=-N -l",)),
    Way("not-optimised", "1.21.13", ("-gcflags=all=-N -l",)),
    Way("inlined-more", "1.26.8", ("-gcflags=all=-l=4",)),
    Way("no-inlining", "1.27.3", ("-gcflags=all=-l",)),
    Way("race", "1.27.3", ("-race",), CGO),
    Way("race", "1.22.12", ("-race",), CGO),
    Way("asan", "1.26.8", ("-asan",), CGO),
    Way("cover", "1.26.8", ("-cover",)),
    Way("amd64-v3", "1.27.3", environment=(("GOAMD64", "v3"),)),
    Way("amd64-v4", "1.22.12", environment=(("GOAMD64", "v4"),)),
    Way("arm64-v8.1", "1.27.3", environment=(("GOARCH", "arm64"), ("GOARM64", "v8.1,lse"))),
    Way("no-green-tea", "1.26.8", environment=(("GOEXPERIMENT", "nogreenteagc"),)),
    Way("green-tea", "1.25.12", environment=(("GOEXPERIMENT", "greenteagc"),)),
    Way("no-swiss-map", "1.24.13", environment=(("GOEXPERIMENT", "noswissmap,nospinbitmutex"),)),
    Way("range-functions", "1.22.12", environment=(("GOEXPERIMENT", "rangefunc,loopvar"),)),
    Way("no-register-arguments", "1.24.13", environment=(("GOEXPERIMENT", "noregabi"),)),
    Way("cgo-static-pie", "1.27.3", ("-buildmode=pie", f"-ldflags={STATIC_PIE}"), CGO),
    Way("cgo-static-pie", "1.24.13", ("-buildmode=pie", f"-ldflags={STATIC_PIE}"), CGO),
    Way("cgo-static", "1.27.3", ("-ldflags=-linkmode=external -extldflags=-static",), CGO),
    Way("gold-or-bfd", "1.27.3", ("-ldflags=-linkmode=external -extldflags=-Wl,-z,now",), CGO),
    Way("cgo-gc-sections", "1.27.3", (f"-ldflags={GC_SECTIONS}",), CGO),
    Way("boring", "1.24.13", environment=(("GOEXPERIMENT", "boringcrypto"), *CGO)),
)
WAYS = [pytest.param(way, id=f"{way.name}-{way.version}") for way in QUICK] + [
    pytest.param(way, id=f"{way.name}-{way.version}", marks=pytest.mark.slow) for way in SLOW
]


def built(way: Way) -> Path:
    """The program ``symbols``; kept in the cache like other binaries. Raises ToolchainError."""
    digest = hashlib.sha256(repr(way).encode())
    for path in sorted((PROGRAMS / "symbols").iterdir()):
        digest.update(path.read_bytes())
    target = cache() / "binaries" / f"symbols-{way.name}-{way.version}-{digest.hexdigest()[:16]}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    root = toolchains.toolchain(way.version)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        gopath = Path(folder) / "gopath" / "src"
        gopath.mkdir(parents=True)
        shutil.copytree(PROGRAMS / "symbols", gopath / "symbols")
        output = Path(folder) / "symbols"
        environment = {
            "GOROOT": str(root),
            "GOTOOLCHAIN": "local",
            "GOENV": "off",
            "GOFLAGS": "-buildvcs=false",
            "GO111MODULE": "off",
            "GOPATH": str(gopath.parent),
            "GOCACHE": str(cache() / "build" / way.version),
            "CGO_ENABLED": "0",
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            **dict(way.environment),
        }
        command = [str(root / "bin" / "go"), "build", "-o", str(output), *way.flags, "symbols"]
        toolchains._output(command, environment)
        if way.after:
            toolchains._output([*way.after, str(output)], {})
        output.rename(target)
    return target


@pytest.fixture
def program(way: Way) -> Iterator[Program]:
    if way.after and shutil.which(way.after[0]) is None:
        pytest.skip(f"no {way.after[0]}")
    with oracle.opened(built(way), way.version) as program:
        yield program


@pytest.mark.parametrize("way", WAYS)
def test_symbols_and_gomaxprocs_match_go(program: Program) -> None:
    """Names, lines and inlined calls by both judges; GOMAXPROCS by the symbol's address."""
    asked = oracle.questions(program, PCS)
    frames = program.pclntab.frames(asked.pcs)
    by_tool = oracle.by_addr2line(program, asked.pcs, frames)
    assert by_tool.asked
    assert by_tool.unanimous, by_tool.cases
    by_program = oracle.by_runtime(program, asked, frames)
    assert by_program.unanimous, by_program.cases
    symbol = program.elf.symbol("runtime.gomaxprocs")
    found = find_gomaxprocs(program.elf, program.pclntab)
    if symbol is not None:
        assert found.value_address == symbol[0]
    assert program.pclntab.function_ranges(gomaxprocs.FUNCTIONS)


def garbled() -> Path:
    """A program obfuscated by garble; kept like the others. Raises ToolchainError."""
    source = PROGRAMS / "stacks"
    digest = hashlib.sha256(GARBLE.encode())
    for path in sorted(source.iterdir()):
        digest.update(path.read_bytes())
    target = cache() / "binaries" / f"stacks-garbled-{digest.hexdigest()[:16]}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    root = toolchains.toolchain("1.26.8")
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        folder = Path(name)
        shutil.copytree(source, folder / "source")
        environment = {
            "GOROOT": str(root),
            "GOTOOLCHAIN": "local",
            "GOENV": "off",
            "GOFLAGS": "-buildvcs=false",
            "GOCACHE": str(cache() / "build" / "1.26.8"),
            "GOBIN": name,
            "GARBLE_CACHE": str(folder / "cache"),
            "CGO_ENABLED": "0",
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        }
        go, garble = str(root / "bin" / "go"), str(folder / "garble")
        toolchains._output([go, "install", f"mvdan.cc/garble@{GARBLE}"], environment)
        command = [garble, "-seed=Z290YXhnb3Q", "build", "-o", str(folder / "garbled")]
        toolchains._output([*command, "."], environment, cwd=folder / "source")
        (folder / "garbled").rename(target)
    return target


@pytest.mark.slow
def test_a_binary_of_garble_is_refused(tmp_path: Path) -> None:
    """garble changes the table's magic number and hides the entries: gotax does not guess."""
    path = tmp_path / "garbled"
    shutil.copy(garbled(), path)
    with pytest.raises(UserError, match=r"garble.*\(pclntab-magic\)"):
        open_binary(str(path))
    toolchains.wipe_section_headers(path)
    with pytest.raises(UserError, match="pclntab-missing"):
        open_binary(str(path))
