"""Go toolchains by version, and programs built with them, kept outside the clone.

The cache directory is $GOTAX_CACHE, by default ~/.cache/gotax. A toolchain comes from the Go
module proxy (golang.org/toolchain has every release back to Go 1.2) through the go command on
PATH; binaries are cached by a hash of the program's sources and of how they are built.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
VERSIONS = ("1.21.13", "1.22.12", "1.24.13", "1.25.12", "1.26.8", "1.27.3")
"""The default releases of the tests. Any other release can be requested."""

OLD_VERSIONS = ("1.5.4", "1.9.7", "1.12.17", "1.16.15", "1.18.10", "1.20.14")
"""One for each older layout of the tables."""

VARIANTS = (
    *("stripped", "pie", "nosections", "arm64", "386", "cgo", "internal"),
    *("c-shared", "c-archive", "plugin"),
)
LIBRARIES = {"c-shared", "c-archive", "plugin"}

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class ToolchainError(Exception):
    """A toolchain could not be downloaded, or a program could not be built with it."""


def cache() -> Path:
    return Path(os.environ.get("GOTAX_CACHE") or Path.home() / ".cache" / "gotax")


def minor(version: str) -> int:
    return int(version.split(".")[1])


@functools.cache
def toolchain(version: str) -> Path:
    """GOROOT of a release; downloaded once (60 to 130 MB)."""
    root = cache() / "sdk" / f"go{version}"
    if (root / "bin" / "go").exists():
        return root
    go = shutil.which("go")
    if go is None:
        raise ToolchainError("no go command on PATH to fetch toolchains with")
    installed = _output([go, "env", "GOVERSION", "GOROOT"], {"GOTOOLCHAIN": "local"}).split()
    if installed[:1] == [f"go{version}"]:
        return Path(installed[1])
    root.parent.mkdir(parents=True, exist_ok=True)
    with _alone(root), tempfile.TemporaryDirectory(dir=root.parent) as folder:
        if (root / "bin" / "go").exists():
            return root
        module = f"v0.0.1-go{version}.linux-{_MACHINES[platform.machine()]}"
        _output(
            [go, "mod", "download", f"golang.org/toolchain@{module}"],
            {"GOMODCACHE": folder, "GOFLAGS": "-modcacherw"},
            cwd=Path(folder),
        )
        unpacked = Path(folder) / "golang.org" / f"toolchain@{module}"
        # A module cannot contain another one's go.mod, nor executable files.
        for path in unpacked.rglob("_go.mod"):
            path.rename(path.with_name("go.mod"))
        for path in [*(unpacked / "bin").iterdir(), *(unpacked / "pkg" / "tool").rglob("*")]:
            path.chmod(0o755)
        unpacked.rename(root)
    return root


def go_binary(program: str, version: str, *variants: str) -> Path:
    """tests/programs/PROGRAM built with a Go release.

    Variants: ``stripped`` (-s -w), ``pie``, ``nosections`` (section headers wiped), ``arm64`` and
    ``386`` (cross-built), ``cgo`` (linked externally), ``internal`` (with cgo, linked by Go's own
    linker), ``c-shared``, ``c-archive``, ``plugin``. A program without go.mod is built in GOPATH
    mode, so that one source serves every release.
    """
    unknown = set(variants) - set(VARIANTS)
    if unknown:
        raise ToolchainError(f"no such variants: {unknown}")
    if platform.machine() == "aarch64" and "386" not in variants:
        variants = tuple({*variants, "arm64"})  # the same file as if another machine had built it
    source = PROGRAMS / program
    digest = hashlib.sha256(repr((program, version, sorted(variants))).encode())
    for path in sorted(p for p in source.rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(source)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    name = "-".join((program, version, *sorted(variants), digest.hexdigest()[:16]))
    target = cache() / "binaries" / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target), tempfile.TemporaryDirectory(dir=target.parent) as folder:
            if target.exists():
                return target
            built = Path(folder) / program
            if "nosections" in variants:
                shutil.copy(go_binary(program, version, *(set(variants) - {"nosections"})), built)
                wipe_section_headers(built)
            else:
                _build(source, version, frozenset(variants), built)
            built.rename(target)
    return target


@contextmanager
def _alone(made: Path) -> Iterator[None]:
    """One process builds it, others wait."""
    locks = cache() / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with (locks / made.name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(source: Path, version: str, target: Path) -> Path:
    """A program in its own folder, with go.mod; not cached."""
    _build(source, version, frozenset(), target)
    return target


def _build(source: Path, version: str, variants: frozenset[str], target: Path) -> None:
    root = toolchain(version)
    environment = {
        "GOROOT": str(root),
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "GOFLAGS": "-buildvcs=false" if minor(version) >= 18 else "",
        "GOCACHE": str(cache() / "build" / version),
        "CGO_ENABLED": "1" if variants & {"cgo", "internal", *LIBRARIES} else "0",
        "GOARCH": next(iter(variants & {"arm64", "386"}), _MACHINES[platform.machine()]),
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
    }
    if environment["GOARCH"] == "arm64" and platform.machine() != "aarch64":
        environment["CC"] = "aarch64-linux-gnu-gcc"
    command = [str(root / "bin" / "go"), "build", "-o", str(target)]
    ldflags = ["-s -w"] if "stripped" in variants else []
    if "internal" in variants:
        ldflags.append("-linkmode=internal")
    if "cgo" in variants and minor(version) < 6:
        # Old releases do not support position-independent executables, which compilers make by
        # default.
        environment["CGO_LDFLAGS"] = "-no-pie"
        ldflags.append("-extldflags=-no-pie")
    for mode in variants & {"pie", *LIBRARIES}:
        command.append(f"-buildmode={mode}")
    if ldflags:
        command.append("-ldflags=" + " ".join(ldflags))
    if (source / "go.mod").exists():
        _output([*command, "."], environment, cwd=source)
        return
    # Compilers write this path into the binary: it must not change from build to build.
    clone = hashlib.sha256(str(PROGRAMS).encode()).hexdigest()[:8]
    gopath = cache() / "gopath" / clone
    (gopath / "src").mkdir(parents=True, exist_ok=True)
    try:
        (gopath / "src" / source.name).symlink_to(source)
    except FileExistsError:
        pass  # from an earlier build; the link's target follows from its path
    environment |= {"GO111MODULE": "off", "GOPATH": str(gopath)}
    _output([*command, source.name], environment)


def wipe_section_headers(path: Path) -> None:
    """Like sstrip: the program runs as before, but tools find nothing."""
    with path.open("r+b") as file:
        file.seek(0x28)  # e_shoff
        file.write(bytes(8))
        file.seek(0x3C)  # e_shnum, e_shstrndx
        file.write(bytes(4))


def _output(command: list[str], environment: dict[str, str], cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise ToolchainError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
