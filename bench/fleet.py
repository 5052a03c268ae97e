"""A busy node: 20 Go processes of 12 binaries, each in its own cgroup, 1.25 cores in total.

Every process paces itself by its own CPU clock (load/main.go), so the load does not depend on other
processes. A third of the processes has a CPU limit and a third a GOMAXPROCS that is too high.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
from pathlib import Path

from bench.cgroups import BenchError, Group, make_group, pod_path, trees

SOURCE = Path(__file__).parent / "load"
BUILD = Path(__file__).parent.parent / "build" / "bench"
KINDS = ("json", "text", "allocate", "channels", "storage", "locks")
VARIANTS = {"plain": ("", ()), "stripped": ("-s -w ", ("-trimpath",))}
PROCESSES = 20
CORES = 1.25
GOMAXPROCS = (None, "2", "16")
CGROUP = f"gotax-bench-{os.getpid()}"  # several benchmarks may run at a time
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_libc = ctypes.CDLL(None)


def build_load(folder: Path = BUILD) -> list[Path]:
    """One binary per kind of work and variant; quick when Go's own cache has them."""
    go = shutil.which("go")
    if go is None:
        raise BenchError("no go command on PATH: the load is a Go program (`make demo` gets one)")
    folder.mkdir(parents=True, exist_ok=True)
    binaries = []
    for kind in KINDS:
        for variant, (flags, more) in VARIANTS.items():
            output = folder / f"load-{kind}-{variant}"
            link = f"{flags}-X main.kind={kind}"
            command = [go, "build", *more, "-ldflags", link, "-o", str(output), "."]
            done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchError(f"go build failed: {done.stderr.strip()[-400:]}")
            binaries.append(output)
    return binaries


def die_with_parent() -> None:
    """Between fork and exec, so that even a killed benchmark leaves no process behind."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Fleet:
    """A context manager: the processes run inside it. ``in_pods``: in cgroups with the names of
    pods, so that gotax looks up their names in Kubernetes."""

    def __init__(
        self,
        binaries: list[Path],
        count: int = PROCESSES,
        cores: float = CORES,
        in_pods: bool = False,
    ) -> None:
        self._binaries = binaries
        self._in_pods = in_pods
        self._count = count
        self._share = cores / count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._groups: list[Group] = []

    def __enter__(self) -> Fleet:
        try:
            roots = trees()
            self._make_group(roots, CGROUP)
            for number in range(self._count):
                limit = 2.0 if number % 3 == 0 else None
                path = f"{CGROUP}/{number:02}"
                if self._in_pods:
                    pod, path = pod_path(CGROUP, number)
                    self._make_group(roots, pod)
                self._start(number, self._make_group(roots, path, limit))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, number: int, group: Group) -> None:
        environment = dict(os.environ)
        wanted = GOMAXPROCS[number % len(GOMAXPROCS)]
        if wanted:
            environment["GOMAXPROCS"] = wanted

        def prepare() -> None:
            die_with_parent()
            group.join()

        binary = self._binaries[number % len(self._binaries)]
        command = [str(binary), "-share", str(self._share)]
        self._processes.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=prepare,
            )
        )

    def _make_group(self, roots: list[Path], path: str, limit: float | None = None) -> Group:
        group = make_group(roots, path, limit)
        self._groups.append(group)
        return group

    def cpu_s(self) -> float:
        """CPU seconds used by all of them so far."""
        return sum(process_cpu_s(process.pid) for process in self._processes)

    def pids(self) -> list[int]:
        return [process.pid for process in self._processes]

    def kin(self) -> list[list[int]]:
        """The processes of each binary."""
        count = len(self._binaries)
        return [self.pids()[number::count] for number in range(count)]

    def check(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                raise BenchError(f"{process.args!r} ended with status {process.returncode}")

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        self._processes.clear()
        for group in reversed(self._groups):
            group.remove()
        self._groups.clear()


def process_cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, including ended ones."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def interruptible() -> None:
    """Signals as exceptions, so that everything is removed on the way out; the first one counts."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def stop(number: int, _: object) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    for number in numbers:
        signal.signal(number, stop)
