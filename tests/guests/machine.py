"""One guest from boot to end, and what it says on its console."""

from __future__ import annotations

import base64
import json
import os
import shlex
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.guests import bytecode, debian
from tests.guests.table import Guest
from tests.toolchains import cache

_ROOT = Path(__file__).parents[2]
RESULT = "GUEST-RESULT "
"""Begins a line with JSON: the outcome of one test, by tests/guests/reporting.py."""


@dataclass(slots=True)
class Outcome:
    """``code``: of the command in the guest; None if the guest did not reach its end.

    ``skipped``: why the guest was not started.
    """

    code: int | None = None
    failure: str = ""
    skipped: str = ""
    seconds: float = 0.0
    results: list[dict[str, Any]] = field(default_factory=list)


def run(guest: Guest, kernel: debian.Kernel, command: str, log: Path) -> Outcome:
    """Boots the guest, runs the command there as root, and waits for its end."""
    outcome = Outcome()
    began = time.monotonic()
    process = subprocess.Popen(
        _qemu(guest, kernel, command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    late = threading.Timer(guest.limit_s, process.kill)
    late.start()
    assert process.stdout
    with log.open("w") as file:
        for raw in process.stdout:
            line = raw.decode(errors="replace").replace("\r", "").rstrip("\n")
            file.write(f"{time.monotonic() - began:7.1f} {line}\n")
            file.flush()
            if line.startswith(RESULT):
                outcome.results.append(json.loads(line.removeprefix(RESULT)))
            elif line.startswith("GUEST-ENDED "):
                outcome.code = int(line.split()[1])
            elif line.startswith("GUEST-FAILED "):
                outcome.failure = line.removeprefix("GUEST-FAILED ")
    process.wait()
    late.cancel()
    outcome.seconds = time.monotonic() - began
    if outcome.code is None and not outcome.failure:
        late_s = f" within {guest.limit_s} s" if outcome.seconds >= guest.limit_s else ""
        outcome.failure = f"did not reach its end{late_s}"
    return outcome


def environment(guest: Guest) -> dict[str, str]:
    """Of a command in the guest."""
    home = os.path.expanduser("~")
    values = {
        "HOME": home,
        "GOTAX_CACHE": str(cache()),
        # Everything takes some twenty times as long as outside.
        "GOTAX_PATIENCE_S": str(guest.limit_s),
        "PYTHONPYCACHEPREFIX": str(bytecode.folder(guest)),
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    }
    if guest.machine == "amd64":
        return values | {"PATH": f"{_ROOT}/.venv/bin:{values['PATH']}"}
    folders = (_ROOT / "agent", _ROOT / "collector", _ROOT, debian.site(guest.machine))
    return values | {"PYTHONPATH": ":".join(map(str, folders))}


def _qemu(guest: Guest, kernel: debian.Kernel, command: str) -> list[str]:
    settings = " ".join(f"{k}={shlex.quote(v)}" for k, v in environment(guest).items())
    script = f"cd {shlex.quote(str(_ROOT))} && export {settings} && {command}"
    cpus = f"{guest.cpus},maxcpus={guest.possible or guest.cpus}"
    arguments = {
        "gotax.root": "/",
        "gotax.run": base64.b64encode(script.encode()).decode(),
        # Stalls are the host's: a CPU of the guest waits for one of the host.
        "rcupdate.rcu_cpu_stall_suppress": "1",
        "nowatchdog": "",
        "mitigations": "off",
        "loglevel": "1",
        "panic": "-1",
    }
    if guest.machine == "amd64":
        emulator = ("qemu-system-x86_64", "-machine", "q35", "-cpu", "max,la57=off")
        arguments["console"] = "ttyS0"
    else:
        emulator = ("qemu-system-aarch64", "-machine", "virt,gic-version=3", "-cpu", "cortex-a72")
        arguments["console"] = "ttyAMA0"
        system, also = debian.system(guest.machine), (_ROOT, cache())
        arguments |= {"gotax.root": str(system), "gotax.also": ",".join(map(str, also))}
    return [
        *emulator,
        *("-accel", "tcg,thread=multi", "-smp", cpus, "-m", str(guest.memory_mb)),
        *("-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
        *("-monitor", "none", "-nic", "none"),
        *("-kernel", str(kernel.vmlinuz), "-initrd", str(kernel.initrd)),
        *("-append", " ".join(f"{k}={v}" if v else k for k, v in arguments.items())),
        *("-virtfs", "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap"),
    ]
