"""One run: a workload in a cgroup with a limit, sampled by gotax; one row of the table."""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gotax.category import Category
from gotax.cli.stopping import StopSignal
from gotax.session import Session
from gotax.window import ContainerReport, Window

from calibration.grid import Cell
from demo.limit import Group, limited_groups
from tests.toolchains import cache, toolchain

SOURCE = Path(__file__).parent / "workloads"
HZ = 499
WARM_UP_S = 1.0
WATCH_S = 3.0
PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h
_libc = ctypes.CDLL(None)


class RunError(Exception):
    """A run gave no row. The text has the reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One run as a row of the table. ``cpu_s`` is the kernel's CPU time of the cgroup."""

    workload: str
    version: str
    limit_cores: float | None
    load: float
    fits: int
    procs: int
    duration_s: float
    cpu_s: float
    process_cpu_s: float  # from the report of gotax
    work: float  # units a second
    periods: int
    throttled_periods: int
    throttled_s: float
    neighbours_s: float  # CPU of other processes, by their samples
    samples: tuple[int, ...]  # by category


@functools.cache
def build(version: str, source: Path = SOURCE) -> Path:
    """The workloads, built with a Go release; quick when Go has them in its cache."""
    kind = "calibration" if source == SOURCE else f"calibration-{source.name}"
    target = cache() / "binaries" / f"{kind}-{version}"
    target.parent.mkdir(parents=True, exist_ok=True)
    root = toolchain(version)
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("GO")},
        "GOTOOLCHAIN": "local",
        "GOENV": "off",
        "GOFLAGS": "-buildvcs=false",
        "GOCACHE": str(cache() / "build" / version),
        "CGO_ENABLED": "0",
    }
    command = [str(root / "bin" / "go"), "build", "-o", str(target), "."]
    subprocess.run(command, cwd=source, env=environment, check=True)
    return target


def measure(session: Session, cell: Cell, procs: int) -> Row:
    """Starts the cell's workload with GOMAXPROCS = ``procs``, samples it and ends it."""
    with limited_groups(("run",), cell.limit_cores) as (group,), tempfile.TemporaryFile() as lines:
        process = subprocess.Popen(
            [str(build(cell.version)), "-kind", cell.workload, "-rate", str(cell.rate)],
            env={"GOMAXPROCS": str(procs), "PATH": os.environ["PATH"]},
            stdout=lines,
            start_new_session=True,
            preexec_fn=enter(group),
        )
        try:
            watch(session, WARM_UP_S)
            started, before = time.time_ns(), group.read_account()
            window = watch(session, WATCH_S)
            ended, after = time.time_ns(), group.read_account()
            if process.poll() is not None:
                raise RunError(f"{cell.workload} ended with {process.returncode}")
        finally:
            process.kill()
            process.wait()
        lines.seek(0)
        work = work_rate(lines.read().decode(), (started, ended))
    report = report_of(window, process.pid)
    value = report.main_process.gomaxprocs
    if value is None or value.value != procs or value.recommended != cell.fits:
        raise RunError(f"gotax read {value} where GOMAXPROCS={procs} fits {cell.fits}")
    usage = report.usage
    return Row(
        workload=cell.workload,
        version=cell.version,
        limit_cores=cell.limit_cores,
        load=cell.load,
        fits=cell.fits,
        procs=procs,
        duration_s=(ended - started) / 1e9,
        cpu_s=(after.cpu_ns - before.cpu_ns) / 1e9,
        process_cpu_s=window.cpu_ns_of(report) / 1e9,
        work=work,
        periods=usage.periods or 0,
        throttled_periods=usage.throttled_periods or 0,
        throttled_s=(after.throttled_ns - before.throttled_ns) / 1e9,
        neighbours_s=window.cpu_s(window.samples.attributed - report.samples),
        samples=tuple(int(report.category_samples[c]) for c in Category),
    )


def enter(group: Group) -> Callable[[], None]:
    """Between fork and exec: enters the cgroup, and ends with the parent."""

    def prepare() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        group.join()

    return prepare


def watch(session: Session, seconds: float) -> Window:
    return next(session.windows(seconds, StopSignal()))


def report_of(window: Window, pid: int) -> ContainerReport:
    for report in window.reports:
        if any(process.pid == pid for process in report.processes):
            return report
    raise RunError("gotax did not see the process")


def work_rate(lines: str, span: tuple[int, int]) -> float:
    """Units a second between the first and the last line of the sampled time."""
    points = [tuple(map(int, line.split())) for line in lines.splitlines(keepends=True)[:-1]]
    inside = [point for point in points if span[0] <= point[0] <= span[1]]
    if len(inside) < 2:
        raise RunError("the workload wrote too few lines")
    (first, before), (last, after) = inside[0], inside[-1]
    return (after - before) / ((last - first) / 1e9)
