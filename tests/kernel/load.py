"""Programs under load, their cgroups, and the sampling loop one step at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gotax.config import Detail, Roots, Thresholds
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.pipeline import Pipeline, Span
from gotax.processes.resolver import Resolver
from gotax.sampling.sampler import EVERYTHING, Drain, Sampler, Target
from gotax.sampling.sampler import Counter as KernelCounter
from gotax.window import Window

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
GUARD_S = PATIENCE_S
"""How long a test waits for a short operation before it fails."""
SPIN = "while True: pass"


def wait_until(happened: Any, what: str) -> Any:
    """The first true value of ``happened()``; fails after the guard time."""
    deadline = time.monotonic() + GUARD_S
    while not (value := happened()):
        assert time.monotonic() < deadline, f"waited {GUARD_S:g} s for {what}"
        time.sleep(0.01)
    return value


class Group:
    """A cgroup with one name at the top of the trees of cpu, cpuacct and cgroup v2."""

    def __init__(self, name: str) -> None:
        self.name = f"gotax-test-{os.getpid()}-{name}"
        self.path = f"/{self.name}"
        hierarchies = find_hierarchies("/proc", "/sys/fs/cgroup")
        self._is_v2 = hierarchies.of("cpuacct") is None or not hierarchies.legacy
        trees = {hierarchies.of("cpu"), hierarchies.of("cpuacct"), hierarchies.unified}
        self.folders = [Path(tree.mount) / self.name for tree in trees if tree is not None]
        accounting = hierarchies.unified if self._is_v2 else hierarchies.of("cpuacct")
        assert accounting is not None
        self._accounting = Path(accounting.mount) / self.name
        unified = hierarchies.unified
        self.unified = Path(unified.mount) / self.name if unified else None

    def __enter__(self) -> Self:
        for folder in self.folders:
            if self._is_v2:
                (folder.parent / "cgroup.subtree_control").write_text("+cpu")
            folder.mkdir(exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()

    def remove(self) -> None:
        def removed() -> bool:
            for folder in self.folders:
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    continue
                except OSError:  # the kernel still has an ended process in it
                    return False
            return True

        wait_until(removed, f"{self.path} to be empty")

    def limit(self, cores: float) -> None:
        """Its CPU bandwidth, in periods of 100 ms."""
        quota = round(cores * 100_000)
        for folder in self.folders:
            if (folder / "cpu.max").exists():
                (folder / "cpu.max").write_text(f"{quota} 100000")
            elif (folder / "cpu.cfs_quota_us").exists():
                (folder / "cpu.cfs_quota_us").write_text(str(quota))

    def favour(self) -> None:
        """Gives it priority on a busy host, so that it gets the CPU it asks for."""
        for folder in self.folders:
            if (folder / "cpu.weight").exists():
                (folder / "cpu.weight").write_text("10000")
            elif (folder / "cpu.shares").exists():
                (folder / "cpu.shares").write_text("262144")

    def usage_ns(self) -> int:
        """The CPU time in the kernel's counter."""
        if not self._is_v2:
            return int((self._accounting / "cpuacct.usage").read_text())
        line = (self._accounting / "cpu.stat").read_text().splitlines()[0]
        return int(line.removeprefix("usage_usec ")) * 1000


def cpu_ns(pid: int) -> int:
    """CPU time of a process so far: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime_ns(~pid << 3 | 2)  # CPUCLOCK_SCHED, linux/posix-timers.h


def wait_for_work(pid: int, cpu_s: float) -> None:
    """Waits until the process has used this much CPU time from now on."""
    enough_ns = cpu_ns(pid) + int(cpu_s * 1e9)
    wait_until(lambda: cpu_ns(pid) >= enough_ns, f"PID {pid} to get {cpu_s:g} s of CPU")


class Load:
    """A running program. It enters its group before it is executed."""

    def __init__(
        self, *command: str | Path, group: Group | None = None, env: dict[str, str] | None = None
    ) -> None:
        folders = group.folders if group else []
        enter = "".join(f"echo 0 > {folder}/cgroup.procs; " for folder in folders)
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", f'{enter}exec "$@"', "sh", *map(str, command)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def report(self) -> dict[str, Any]:
        """The next JSON line of a program of tests/programs."""
        found: dict[str, Any] = json.loads(self.line())
        return found

    def end(self) -> None:
        """Asks it to end, and waits for its end."""
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=GUARD_S)

    def cpu_ns(self) -> int:
        """CPU time of the process so far."""
        return cpu_ns(self.pid)

    def wait_for_work(self, cpu_s: float) -> None:
        """Waits until it has used this much CPU time from now on."""
        wait_for_work(self.pid, cpu_s)

    def start_ticks(self) -> int:
        return int(Path(f"/proc/{self.pid}/stat").read_text().rpartition(") ")[2].split()[19])


class Walk:
    """A Session without a clock: the test decides when to drain. Keeps every drain."""

    def __init__(
        self, hz: int, *, target: Target = EVERYTHING, detail: Detail | None = None
    ) -> None:
        self.sampler = Sampler(hz, 2.0, target)
        self.processes = Resolver(Roots())
        self.pipeline = Pipeline(
            self.processes, "host", Thresholds(), detail or Detail(functions=50)
        )
        self.drains: list[Drain] = []
        self._started_s = time.monotonic()

    def __enter__(self) -> Self:
        self.sampler.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.sampler.close()

    def drain(self) -> Drain:
        drain = self.sampler.drain()
        self.drains.append(drain)
        self.pipeline.absorb(drain, 0.0)
        return drain

    def drain_for(self, seconds: float, *programs: Load) -> None:
        """Drains once at the end, when each program has had a quarter of the time on a CPU. On a
        busy host this takes longer."""
        began = {program: program.cpu_ns() for program in programs}
        time.sleep(seconds)
        for program, cpu_ns in began.items():
            program.wait_for_work(seconds / 4 - (program.cpu_ns() - cpu_ns) / 1e9)
        self.drain()

    def window(self) -> Window:
        now = time.monotonic()
        span = Span(time.time_ns(), now - self._started_s, self.sampler.period_ns)
        self._started_s = now
        window = self.pipeline.window(span)
        check_books(window)
        return window

    def counted(self, counter: KernelCounter) -> int:
        return sum(drain.counters[counter] for drain in self.drains)

    def samples(self) -> int:
        return sum(int(drain.samples.sum()) for drain in self.drains)


def check_books(window: Window) -> None:
    samples = window.samples
    assert samples.drained == samples.attributed + sum(samples.lost.values())
    assert samples.attributed == int(window.profile.samples.sum())
    assert samples.attributed == sum(r.samples for r in window.reports) + window.other_samples


def samples_by_process(window: Window) -> Counter[tuple[int, int]]:
    """Samples by (PID, start time)."""
    counted = Counter[tuple[int, int]]()
    profile = window.profile
    for index, samples in zip(profile.process.tolist(), profile.samples.tolist(), strict=True):
        process = window.processes[index]
        counted[process.pid, process.start_ticks] += samples
    return counted


def functions(window: Window, pid: int) -> Counter[str]:
    """Cumulative samples by function of one process."""
    counted = Counter[str]()
    profile = window.profile
    for process, stack, samples in zip(
        profile.process.tolist(), profile.stack.tolist(), profile.samples.tolist(), strict=True
    ):
        if window.processes[process].pid == pid:
            names = {f.function for location in profile.stacks[stack] for f in location.frames}
            counted.update(dict.fromkeys(names, samples))
    return counted


# The command, which waits for its readers as long as a busy host needs: what they answer too late
# is no part of a short window.
COMPILING = """
import sys
from gotax.cli import main
from gotax.sampling import sampler
sampler.load_compiled = lambda _: None
sys.exit(main())
"""
PATIENT = f"""
import sys
from gotax import session
from gotax.cli import main
from gotax.reader import pool
pool.WAIT_S = session.ROUND_WAIT_S = session._LEAST_WAIT_S = {PATIENCE_S}
sys.exit(main(sys.argv[1:]))
"""
# The command, which stops itself (SIGSTOP) as soon as it samples.
STOPPING = """
import os, signal, sys
from gotax.cli import main
from gotax.sampling.sampler import Sampler
start = Sampler.__enter__
def start_and_stop(self):
    started = start(self)
    os.kill(os.getpid(), signal.SIGSTOP)
    return started
Sampler.__enter__ = start_and_stop
sys.exit(main(sys.argv[1:]))
"""


@contextmanager
def gotax_stopped(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command, which samples and is stopped until SIGCONT: so it cannot end too early."""
    with _running(sys.executable, "-c", STOPPING, *arguments) as process:
        wait_until(lambda: state(process.pid) == "T", "it to sample")
        yield process


def state(pid: int) -> str:
    """By proc(5): T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


@contextmanager
def gotax(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The running command; killed if the test has not waited for its end."""
    with _running(sys.executable, "-c", PATIENT, *arguments) as process:
        yield process


@contextmanager
def gotax_compiling(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The running command where there is no compiled form of the BPF program."""
    with _running(sys.executable, "-c", COMPILING, *arguments) as process:
        yield process


@contextmanager
def _running(*command: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def check_json(*arguments: str) -> dict[str, Any]:
    """The output of `gotax check --json`; fails on any output on standard error."""
    with gotax("check", "--json", *arguments) as process:
        output, errors = process.communicate(timeout=GUARD_S)
    assert errors == "", errors
    assert process.returncode in (0, 1)
    found: dict[str, Any] = json.loads(output)
    return found
