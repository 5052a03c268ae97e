"""sdist and wheel, built as a stranger would and run in an environment of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tests.release.versions import ROOT

_BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, "build_" + sys.argv[1])(sys.argv[2]))
"""


class ReleaseError(Exception):
    """A step of the release does not work; the text says which and why."""


def build(target: Path) -> list[Path]:
    """sdist, and the wheel made of the sdist: what is missing in one is missing in both."""
    target = target.absolute()
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = work / "source"
        copy_tracked(source)
        python = environment(work / "build")
        pip(python, "--require-hashes", "-r", str(ROOT / "locks" / "build.txt"))
        sdist = run(python, "-c", _BUILD, "sdist", str(target), at=source).splitlines()[-1]
        unpacked = work / "unpacked"
        with tarfile.open(target / sdist) as archive:
            archive.extractall(unpacked)  # our own, made a moment ago
        (inner,) = unpacked.iterdir()
        wheel = run(python, "-c", _BUILD, "wheel", str(target), at=inner).splitlines()[-1]
        missing = set(wanted()) - set(zipfile.ZipFile(target / wheel).namelist())
        if missing:
            raise ReleaseError(f"{wheel} lacks {', '.join(sorted(missing))}")
        require_runs(target / wheel, work / "installed")
    return [target / sdist, target / wheel]


def copy_tracked(target: Path) -> None:
    """The files that git knows, as they are now, and no others."""
    listed = run("git", "ls-files", "-z", at=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name, follow_symlinks=False)


def wanted() -> Iterator[str]:
    """Files of a wheel that are not Python: the BPF program, pages, styles, scripts."""
    for path in (ROOT / "bpf").rglob("*"):
        if path.suffix in (".c", ".h", ".json"):
            yield f"gotax/bpf/{path.relative_to(ROOT / 'bpf')}"
    for package in (ROOT / "agent" / "gotax", ROOT / "collector" / "gotax_collector"):
        for path in package.rglob("*"):
            if path.suffix in (".html", ".css", ".js", ".svg") or path.name == "py.typed":
                yield path.relative_to(package.parent).as_posix()


def require_runs(wheel: Path, folder: Path) -> None:
    """With the libraries that locks/run.txt names, and nothing else."""
    python = environment(folder)
    pip(python, "--require-hashes", "-r", str(ROOT / "locks" / "run.txt"))
    pip(python, "--no-deps", "--no-index", str(wheel))
    command = str(folder / "bin" / "gotax")
    version = run(command, "--version", at=folder).strip()
    if version != f"gotax {wheel.name.split('-')[1]}":
        raise ReleaseError(f"{wheel.name} says that it is {version!r}")
    if "check" not in run(command, "--help", at=folder):
        raise ReleaseError("gotax --help does not list its commands")
    run(command, "inspect", sys.executable, "--cpus", "4", at=folder, codes=(0, 1, 2))


def environment(folder: Path) -> str:
    run(sys.executable, "-m", "venv", str(folder), at=ROOT)
    return str(folder / "bin" / "python")


def pip(python: str, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-warn-script-location")
    run(python, "-m", "pip", "install", *quiet, *arguments, at=ROOT)


def run(*command: str, at: Path, codes: tuple[int, ...] = (0,)) -> str:
    """Standard output. ReleaseError with the last lines if it fails."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=at, env=clean, capture_output=True, text=True, check=False)
    if done.returncode not in codes:
        said = (done.stdout + done.stderr).strip()[-2000:]
        raise ReleaseError(f"{' '.join(command[:4])} ended with {done.returncode}: {said}")
    return done.stdout
