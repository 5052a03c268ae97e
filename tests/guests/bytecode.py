"""Python's bytecode for a guest, where compiling all imported modules would take minutes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.guests import debian, table
from tests.guests.table import Guest

_ROOT = Path(__file__).parents[2]


def folder(guest: Guest) -> Path:
    """$PYTHONPYCACHEPREFIX of the guest."""
    return debian.folder() / f"bytecode-{guest.machine}"


def compile_for(guest: Guest) -> None:
    """Compiles what the guest's tests and gotax import. What is missing, the guest compiles."""
    prefix = folder(guest)
    libraries = prefix / "usr"
    if libraries.is_symlink():
        libraries.unlink()
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(prefix)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, *arguments], cwd=_ROOT, env=environment, capture_output=True
        )

    run(*table.PYTEST, "--collect-only", *guest.tests)
    run("-m", "compileall", "-q", "agent/gotax")
    if guest.machine == "amd64":
        return
    system, site = debian.system(guest.machine), debian.site(guest.machine)
    run("-m", "compileall", "-q", f"{system}/usr/lib/python3", f"{system}/usr/lib/python3.11")
    run("-m", "compileall", "-q", str(site))
    # The guest sees its system at the root, with the times of its own files.
    shutil.rmtree(libraries, ignore_errors=True)
    libraries.symlink_to(prefix / system.relative_to("/") / "usr")
