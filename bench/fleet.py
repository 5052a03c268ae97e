"""A busy node: 20 Go processes of 12 binaries, each in its own cgroup, 1.25 cores in total.

Every process paces itself by its own CPU clock (load/main.go), so the load does not depend on other
processes. A third of the processes has a CPU limit and a third a GOMAXPROCS that is too high.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from gotax.linux.cgroups.hierarchies import Hierarchies, find_hierarchies

SOURCE = Path(__file__).parent / "load"
BUILD = Path(__file__).parent.parent / "build" / "bench"
KINDS = ("json", "text", "allocate", "channels", "storage", "locks")
VARIANTS = {"plain": ("", ()), "stripped": ("-s -w ", ("-trimpath",))}
PROCESSES = 20
CORES = 1.25
GOMAXPROCS = (None, "2", "16")
CGROUP = "gotax-bench"
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_GONE_WITHIN_S = 3.0
_libc = ctypes.CDLL(None)


class BenchError(Exception):
    """The benchmark cannot continue; the text is one sentence with the remedy."""


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


@dataclass(frozen=True, slots=True)
class _Group:
    """The same cgroup path in every relevant tree; without folders where none can be created."""

    folders: tuple[Path, ...]

    def join(self) -> None:
        for folder in self.folders:
            (folder / "cgroup.procs").write_text("0")


class Fleet:
    """A context manager: the processes run inside it."""

    def __init__(self, binaries: list[Path], count: int = PROCESSES, cores: float = CORES) -> None:
        self._binaries = binaries
        self._count = count
        self._share = cores / count
        self._processes: list[subprocess.Popen[bytes]] = []
        self._groups: list[_Group] = []

    def __enter__(self) -> Fleet:
        try:
            trees = _trees(find_hierarchies("/proc", "/sys/fs/cgroup"))
            self._make_group(trees, CGROUP, None)
            for number in range(self._count):
                limit = 2.0 if number % 3 == 0 else None
                group = self._make_group(trees, f"{CGROUP}/{number:02}", limit)
                self._start(number, group)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self, number: int, group: _Group) -> None:
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

    def _make_group(self, trees: list[Path], path: str, limit: float | None) -> _Group:
        group = _Group(tuple(tree / path for tree in trees))
        self._groups.append(group)
        for folder in group.folders:
            try:
                folder.mkdir(exist_ok=True)
                if limit is not None:
                    _set_limit(folder, limit)
            except OSError as error:
                raise BenchError(
                    f"cannot make the cgroup {folder} ({error.strerror}): run as root on the host"
                ) from error
        return group

    def cpu_s(self) -> float:
        """CPU seconds used by all of them so far."""
        return sum(process_cpu_s(process.pid) for process in self._processes)

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
            for folder in group.folders:
                _remove(folder)
        self._groups.clear()


def process_cpu_s(pid: int) -> float:
    """User and system time of a process with all its threads, including ended ones."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _trees(hierarchies: Hierarchies) -> list[Path]:
    """Roots of the trees for limits, accounting and identity, each once; with v1 the last is
    optional.

    A tree mounted read-only is skipped; if it is the one for limits, creating a group fails.
    """
    limiting = hierarchies.of("cpu")
    found = [limiting, hierarchies.of("cpuacct"), hierarchies.unified]
    mounts = dict.fromkeys(Path(tree.mount) for tree in found if tree is not None)
    return [
        mount
        for mount in mounts
        if (limiting is not None and mount == Path(limiting.mount))
        or not os.statvfs(mount).f_flag & os.ST_RDONLY
    ]


def _set_limit(folder: Path, cores: float) -> None:
    for name, text in (
        ("cpu.cfs_quota_us", str(int(cores * 100_000))),
        ("cpu.max", f"{int(cores * 100_000)} 100000"),
    ):
        if (folder / name).exists():
            (folder / name).write_text(text)


def _remove(folder: Path) -> None:
    """The kernel returns EBUSY for a moment after the last process of a cgroup ended."""
    end = time.monotonic() + _GONE_WITHIN_S
    while time.monotonic() < end:
        try:
            with contextlib.suppress(FileNotFoundError):
                folder.rmdir()
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                return
            time.sleep(0.02)


def interruptible() -> None:
    """SIGTERM and SIGHUP as an exception, so that everything is removed on the way out."""

    def stop(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
