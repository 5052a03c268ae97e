"""``python -m tests.faults --minutes 30``: two agents, one collector, and many kinds of faults.

One agent has recorded windows with known numbers; the other is ``gotax agent`` (omitted on a host
without sampling). While both stream through a network that can be cut: the collector is killed 20
times, the agents too, the network is cut and stalls, the disk under a spool is full, clocks are set
by an hour. At the end all run without faults, and the store is compared with the published windows.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from gotax.errors import UserError
from gotax.sampling.sampler import Sampler

from tests.faults.agent import Task
from tests.faults.proxy import Mode, Proxy
from tests.faults.verdict import gaps, read_ledger, read_store
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
KNOWN, REAL = "known", "real"


@dataclass(frozen=True)
class Course:
    """The duration, and the number of each fault. ``window_s``: of both agents."""

    seconds: float
    collector_kills: int = 20
    agent_kills: int = 4
    cuts: int = 4
    clocks: int = 4
    full_disks: int = 2
    window_s: float = 1.0
    with_kernel: bool = True
    seed: int = 7


def can_sample() -> bool:
    """Whether `gotax agent` can sample on this host."""
    try:
        with Sampler(19, 1.0) as sampler:
            sampler.drain()
    except UserError:
        return False
    return True


def run_for(seconds: float) -> None:
    """Sleeps this long, without the time in which this process was stopped (SIGSTOP, a paused
    machine): its children were stopped too."""
    while seconds > 0:
        at = time.monotonic()
        time.sleep(min(seconds, 0.25))
        seconds -= min(time.monotonic() - at, 0.5)


def wait_for(process: subprocess.Popen[bytes], seconds: float) -> int:
    """Its exit code; -1 if it does not end in that time."""
    while seconds > 0 and process.poll() is None:
        run_for(0.25)
        seconds -= 0.25
    return -1 if process.returncode is None else process.returncode


class World:
    """The processes, and the faults. All files are below ``folder``."""

    def __init__(self, folder: Path, course: Course) -> None:
        self.folder = folder
        self._course = course
        self.port = _free_port()
        self.proxy = Proxy(self.port)
        self.known = folder / KNOWN
        self.known.mkdir()
        self._spools = {name: folder / f"spool-{name}" for name in (KNOWN, REAL)}
        self._mounted = False
        self.done: list[str] = []
        if os.geteuid() == 0:
            self._spools[KNOWN].mkdir()
            mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "none", str(self._spools[KNOWN])]
            self._mounted = subprocess.run(mount, check=False).returncode == 0
        self.collector = self._start_collector()
        self.agents = {KNOWN: self._start_known()}
        if course.with_kernel:
            self.agents[REAL] = self._start_real()

    def note(self, what: str) -> None:
        self.done.append(what)
        print(f"{time.strftime('%H:%M:%S')} {what}", flush=True)

    def kill_collector(self, down_s: float) -> None:
        self.note("collector killed")
        self.collector.kill()
        self.collector.wait()
        run_for(down_s)
        self.collector = self._start_collector()

    def kill_agent(self, name: str) -> None:
        self.note(f"agent {name} killed")
        self.agents[name].kill()
        self.agents[name].wait()
        start = {KNOWN: self._start_known, REAL: self._start_real}
        self.agents[name] = start[name]()

    def cut(self, mode: Mode, for_s: float) -> None:
        self.note(f"network {mode.value} for {for_s:.1f} s")
        self.proxy.set(mode)
        run_for(for_s)
        self.proxy.set(Mode.OPEN)

    def step_clocks(self, seconds: int) -> None:
        self.note(f"clocks off by {seconds} s")
        (self.known / "clock").write_text(str(seconds))
        (self.folder / "faketime").write_text(f"{seconds:+d}s\n")

    def fill_disk(self, for_s: float) -> None:
        """Cuts the network, so that the spool has something to write."""
        if not self._mounted:
            return
        self.note(f"disk full for {for_s:.1f} s")
        filler = self._spools[KNOWN] / "filler"
        self.proxy.set(Mode.CUT)
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
        run_for(for_s)
        filler.unlink()
        self.proxy.set(Mode.OPEN)

    def end(self) -> bool:
        """Waits until everything is stored, then ends all processes properly. False if one did not
        end well."""
        self.proxy.set(Mode.OPEN)
        self.step_clocks(0)
        run_for(5 if self._course.seconds < 120 else 70)  # an agent's longest delay, and a margin
        codes = []
        for process in (*self.agents.values(), self.collector):
            process.send_signal(signal.SIGTERM)
            codes.append(wait_for(process, PATIENCE_S))
        self.unmount()
        print(f"exit codes {codes}")
        return not any(codes)

    def unmount(self) -> None:
        if self._mounted:
            subprocess.run(["umount", "-l", str(self._spools[KNOWN])], check=False)
            self._mounted = False

    def _start_collector(self) -> subprocess.Popen[bytes]:
        return self._start(
            "collector",
            [
                *(sys.executable, "-m", "gotax", "collector", "--plaintext"),
                *("--listen", f"127.0.0.1:{self.port}", "--http", "127.0.0.1:0"),
                *("--store", str(self.folder / "store"), "--max-reports-per-second", "100"),
            ],
        )

    def _start_known(self) -> subprocess.Popen[bytes]:
        address = f"127.0.0.1:{self.proxy.port}"
        spool = str(self._spools[KNOWN])
        task = Task(str(self.known), spool, address, KNOWN, self._course.window_s)
        return self._start(
            KNOWN, [sys.executable, "-m", "tests.faults.agent", json.dumps(asdict(task))]
        )

    def _start_real(self) -> subprocess.Popen[bytes]:
        environment = {}
        if FAKETIME.exists():
            (self.folder / "faketime").touch()
            environment = {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self.folder / "faketime"),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }
        return self._start(
            REAL,
            [
                *(sys.executable, "-m", "gotax", "agent", "--interval", str(self._course.window_s)),
                *("--listen", "127.0.0.1:0", "--collector", f"127.0.0.1:{self.proxy.port}"),
                *("--collector-plaintext", "--collector-name", REAL),
                *("--spool-dir", str(self._spools[REAL])),
            ],
            environment,
        )

    def _start(
        self, name: str, command: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdout=log,
                stderr=log,
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def plan(course: Course, world: World) -> list[tuple[float, Callable[[], None]]]:
    """(second, fault), in order; the last fifth has no faults."""
    random.seed(course.seed)
    span = course.seconds * 0.8
    unit = min(1.0, course.seconds / 1800)

    def spread(count: int, what: Callable[[int], Callable[[], None]]) -> None:
        for number in range(count):
            found.append((span * (number + random.uniform(0.2, 0.8)) / count, what(number)))

    found: list[tuple[float, Callable[[], None]]] = []
    names = list(world.agents)
    spread(course.collector_kills, lambda n: lambda: world.kill_collector((n % 4) * 2 * unit))
    spread(course.agent_kills, lambda n: lambda: world.kill_agent(names[n % len(names)]))
    modes = (Mode.CUT, Mode.BLACK)
    spread(course.cuts, lambda n: lambda: world.cut(modes[n % 2], 3 + 57 * unit))
    offsets = (3600, -3600, 0, 86_400)
    spread(course.clocks, lambda n: lambda: world.step_clocks(offsets[n % 4]))
    spread(course.full_disks, lambda _: lambda: world.fill_disk(3 + 27 * unit))
    return sorted(found, key=lambda pair: pair[0])


def run(course: Course, folder: Path) -> dict[str, object]:
    """The result; ``failures`` is a list of sentences."""
    world = World(folder, course)
    try:
        began = time.monotonic()
        for second, happen in plan(course, world):
            run_for(max(0.0, began + second - time.monotonic()))
            happen()
        run_for(max(0.0, began + course.seconds - time.monotonic()))
        ended_well = world.end()
    finally:
        for process in (world.collector, *world.agents.values()):
            process.kill()
        world.unmount()
    return judge(world, ended_well)


def judge(world: World, ended_well: bool) -> dict[str, object]:
    stored = read_store(world.folder / "store")
    account = read_ledger(world.known / "ledger")
    known = stored.numbers[KNOWN]
    missing = account.missing(known)
    dropped = sum(account.dropped.values())
    failures = [] if ended_well else ["a process did not end well"]
    if stored.doubled:
        failures.append(f"{stored.doubled} rows are there more than once")
    # A killed process may have counted a window as pending that was already in its spool.
    if not len(missing) <= dropped <= len(missing) + account.processes:
        failures.append(f"{len(missing)} windows are missing, and {dropped} were reported dropped")
    if account.waiting:
        failures.append(f"{account.waiting} windows still wait")
    holes = {str(key): gaps(found) for key, found in stored.sequences.items() if gaps(found)}
    if sum(map(len, holes.values())) > dropped:
        failures.append(f"sequence numbers are missing: {holes}")
    return {
        "happened": {what: len([d for d in world.done if d.startswith(what)]) for what in _KINDS},
        "published": len(account.published),
        "stored": len(known),
        "missing": len(missing),
        "dropped": dict(account.dropped),
        "doubled": stored.doubled,
        "windows_of_the_real_agent": sum(
            len(found) for (agent, _), found in stored.sequences.items() if agent == REAL
        ),
        "epochs": len(stored.sequences),
        "failures": failures,
    }


_KINDS = ("collector killed", "agent", "network cut", "network black", "clocks", "disk full")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--window", type=float, default=2, metavar="S", help="of both agents (2)")
    parser.add_argument("--keep", metavar="FOLDER", help="leave logs and store there")
    options = parser.parse_args()
    course = Course(options.minutes * 60, window_s=options.window, with_kernel=can_sample())
    folder = Path(options.keep or tempfile.mkdtemp(prefix="gotax-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = run(course, folder)
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(result, indent=2))
    return 1 if result["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
