"""Well-known programs from the Go module proxy, with an oracle inside.

A module's source is copied and built as its own main module, at the versions in its go.mod. Files
of the program ``symbols`` join its main package: with GOTAX_ANSWERS set it prints what its own
runtime knows about program counters; otherwise the program is unchanged.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import tempfile
from dataclasses import astuple
from pathlib import Path
from typing import Any

from tests import toolchains
from tests.corpus.inventory import Application
from tests.toolchains import PROGRAMS, ToolchainError, cache

ANSWERS = ("answers.go", "frames.go", "expand.go")
_BUILD_SECONDS = 3600
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def application(wanted: Application, *, stripped: bool = False) -> Path:
    """The built program; its twin without symbols is a second link, from the same cache."""
    target = _folder() / f"{wanted.name}{'-stripped' if stripped else ''}-{_digest(wanted)}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    source = _source(wanted)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        built = Path(folder) / wanted.name
        command = ["build", "-trimpath", "-o", str(built)]
        if stripped:
            command.append("-ldflags=-s -w")
        if wanted.tags:
            command.append(f"-tags={wanted.tags}")
        _go(wanted, [*command, f"./{wanted.package}"], source)
        built.rename(target)
    return target


def is_built(wanted: Application, *, stripped: bool = False) -> bool:
    name = f"{wanted.name}{'-stripped' if stripped else ''}-{_digest(wanted)}"
    return (_folder() / name).exists()


def _folder() -> Path:
    return cache() / "corpus"


def _digest(wanted: Application) -> str:
    digest = hashlib.sha256(repr(astuple(wanted)).encode())
    for name in ANSWERS:
        digest.update((PROGRAMS / "symbols" / name).read_bytes())
    return digest.hexdigest()[:16]


def _source(wanted: Application) -> Path:
    """The module's source with these files, writable."""
    target = _folder() / "source" / f"{wanted.name}-{_digest(wanted)}"
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        copy = Path(folder) / "source"
        described = _go(wanted, ["mod", "download", "-json", wanted.module], Path(folder))
        shutil.copytree(json.loads(described)["Dir"], copy, symlinks=True)
        package = copy / wanted.package
        package.mkdir(parents=True, exist_ok=True)
        if wanted.main:
            (package / "main.go").write_text(wanted.main)
        for name in ANSWERS:
            shutil.copy(PROGRAMS / "symbols" / name, package / f"gotax_{name}")
        for path in _replaced_by_folders(wanted, copy):
            _go(wanted, ["mod", "edit", f"-dropreplace={path}"], copy)
        copy.rename(target)
    return target


def _replaced_by_folders(wanted: Application, source: Path) -> list[str]:
    """Modules of the same repository, which are not part of a module's source."""
    described: dict[str, Any] = json.loads(_go(wanted, ["mod", "edit", "-json"], source))
    return [
        replace["Old"]["Path"]
        for replace in described.get("Replace") or []
        if replace["New"]["Path"].startswith(".") and not (source / replace["New"]["Path"]).exists()
    ]


def _go(wanted: Application, arguments: list[str], folder: Path) -> str:
    """Standard output of the release's go command. Raises ToolchainError."""
    root = toolchains.toolchain(wanted.version)
    environment = {
        **os.environ,
        "GOROOT": str(root),
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod -modcacherw -buildvcs=false",
        "GOWORK": "off",
        "GOCACHE": str(_folder() / "build" / wanted.version),
        "GOMODCACHE": str(_folder() / "modules"),
        "CGO_ENABLED": "0",
        "GOARCH": "arm64" if "arm64" in wanted.variants else _MACHINES[platform.machine()],
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
    }
    command = [str(root / "bin" / "go"), *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_BUILD_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        text = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise ToolchainError(f"{wanted.name}: go {' '.join(arguments)}: {text}")
    return done.stdout
