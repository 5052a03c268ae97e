"""Third-party receivers, built from the registries and kept outside the clone.

``otelcol`` is an OpenTelemetry Collector of that project's own releases (Go module proxy).
``pyroscope`` serves with Pyroscope's published API module (Go module proxy), ``parca`` with the
types that Parca publishes for its web page (npm): no registry has the servers themselves. Building
them takes five minutes of two cores, once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.toolchains import ToolchainError, cache

HERE = Path(__file__).parent
RECEIVERS = ("otelcol", "pyroscope", "parca")


def path_of(name: str) -> Path:
    """Its path, also before it is built."""
    digest = hashlib.sha256()
    for source in sorted(path for path in (HERE / name).iterdir() if path.is_file()):
        digest.update(f"{source.name}\0{source.stat().st_size}\0".encode() + source.read_bytes())
    return cache() / "backends" / f"{name}-{digest.hexdigest()[:16]}"


def is_built(name: str) -> bool:
    return path_of(name).exists()


def built(name: str) -> Path:
    """The program; raises ToolchainError if it cannot be built."""
    target = path_of(name)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            work = Path(folder) / name
            shutil.copytree(HERE / name, work)
            if (work / "go.mod").exists():
                _go(work, "build", "-trimpath", "-ldflags=-s -w", "-o", "made", ".")
            else:
                _run(work, {}, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
                bundle = ("--bundle", "--platform=node", "--format=cjs", "--log-level=warning")
                _run(work, {}, "npx", "esbuild", "main.js", *bundle, "--outfile=made")
            (work / "made").replace(target)
    return target


def command(name: str) -> list[str]:
    target = built(name)
    return [str(target)] if (HERE / name / "go.mod").exists() else ["node", str(target)]


def _go(work: Path, *arguments: str) -> None:
    environment = {
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-buildvcs=false -mod=mod",
        "CGO_ENABLED": "0",
        "GOCACHE": str(cache() / "backends" / "go-build"),
        "GOMODCACHE": str(cache() / "backends" / "modules"),
    }
    _run(work, environment, "go", *arguments)


def _run(work: Path, environment: dict[str, str], *command: str) -> None:
    if shutil.which(command[0]) is None:
        raise ToolchainError(f"no {command[0]} command on PATH")
    done = subprocess.run(
        command, cwd=work, env={**os.environ, **environment}, capture_output=True, text=True
    )
    if done.returncode:
        raise ToolchainError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")


class Listener:
    """A receiver that first prints its address on standard error, and then a line for each
    profile."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            command(name), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr
        assert self.process.stdout
        self.address = self.process.stderr.readline().strip()
        self.lines: list[str] = []
        self._threads = [
            threading.Thread(target=self.lines.extend, args=(self.process.stdout,)),
            threading.Thread(target=self.process.stderr.read),  # otherwise it would block
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> list[str]:
        """All data it has received."""
        self.process.terminate()
        self.process.wait()
        for thread in self._threads:
            thread.join()
        return self.lines


@contextmanager
def listening(name: str) -> Iterator[Listener]:
    listener = Listener(name)
    try:
        yield listener
    finally:
        listener.stop()
