"""How the agent's cost grows with the node: ``python -m bench.growth [CASE] [--sizes 20,200]``.

Every case runs at several sizes, each with a new agent, scraped every 15 s, with pod names. Its
whole process tree is measured. The sizes of a case are fitted: cost = a + b * n. README.md explains
the cases. Without a case all run one after the other, in about 50 minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from bench.agent import PROGRAM, Agent, kubernetes
from bench.cgroups import BenchError, Group, make_group, pod_path, trees
from bench.fleet import (
    BUILD,
    CGROUP,
    CORES,
    PROCESSES,
    Fleet,
    build_load,
    die_with_parent,
    interruptible,
)
from bench.large import build_large, write_other
from bench.overhead import say, verdict
from bench.spans import Span, cost, cpu_at, fit, memory
from bench.windows import (
    lateness_s,
    longest_work_s,
    parse_scrape,
    windows_until_judged,
)

HZ = 19
WINDOW_S = 15.0
GROUP = f"{CGROUP}-growth"
CONTAINERS = 250
IMAGES = 50
"""Distinct programs among the containers; each container has a file of its own."""
STARTERS = 10
SIMULATED_PROCESSES = 96
RECORDED_S = 60.0
DRAINS = 8
LARGE_CORES = 1.2
CPU_PERCENT = 0.6  # one percent of a core, in CPU seconds a minute


@dataclass(frozen=True, slots=True)
class Beside:
    """What an agent runs beside, and how. ``containers``: of which pods have names."""

    containers: int
    hz: int = HZ
    program: tuple[str, ...] = ("-P", PROGRAM)


@dataclass(frozen=True, slots=True)
class Row:
    """An agent beside ``size`` of something. ``cpu_s``: in all, since its start."""

    size: int
    start_cpu_s: float
    cpu_s_per_minute: float
    cpu_s: float
    pss_mb: float
    peak_mb: float
    work_ms: float
    late_ms: float
    judged_after: int | None
    lost: dict[str, int] = field(default_factory=dict)


Loads = Generator[tuple[int, AbstractContextManager[Beside]], None, None]
"""Each size, one after the other, with what runs beside the agent."""


@dataclass(frozen=True, slots=True)
class Case:
    """``bars``: by the field of a Row, at the largest size. ``unit``: what a size counts."""

    unit: str
    sizes: tuple[int, ...]
    load: Callable[[Sequence[int], Path], Loads]
    bars: dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench.growth",
        description=(__doc__ or "").partition("\n")[0],
        epilog="cases: " + ", ".join(f"{name} ({case.unit})" for name, case in CASES.items()),
    )
    parser.add_argument("case", nargs="*", type=_case, metavar="CASE", help="all, without one")
    parser.add_argument("--sizes", type=_sizes, help="instead of those of the case: 20,200")
    parser.add_argument("--warm-up", type=float, default=60.0, help="seconds (60)")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured after that (60)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.sizes and len(options.case) != 1:
        parser.error("--sizes needs one case")
    interruptible()
    try:
        document = {name: run(name, options) for name in options.case or CASES}
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.json:
        rows = {name: [dataclasses.asdict(row) for row in rows] for name, rows in document.items()}
        print(json.dumps(rows, indent=2))
    else:
        print("\n\n".join(table(CASES[name], rows) for name, rows in document.items()))
    return 0


def _case(text: str) -> str:
    if text not in CASES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(CASES)}")
    return text


def _sizes(text: str) -> tuple[int, ...]:
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 20,200") from None
    if min(sizes) < 0:
        raise argparse.ArgumentTypeError("a size is not negative")
    return sizes


def run(name: str, options: argparse.Namespace) -> list[Row]:
    case = CASES[name]
    sizes = options.sizes or case.sizes
    rows = []
    BUILD.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        # Not in /tmp, which may be memory.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=BUILD, prefix=name)))
        loads = stack.enter_context(contextlib.closing(case.load(sizes, folder)))
        for size, load in loads:
            say(f"{name}: {size} {case.unit}")
            with load as beside:
                rows.append(measure(size, beside, options, folder))
            print(f"{HEAD}\n{text_of(rows[-1])}", file=sys.stderr, flush=True)
    return rows


def measure(size: int, beside: Beside, options: argparse.Namespace, folder: Path) -> Row:
    start, steady = Span(0, 30), Span(options.warm_up, options.warm_up + options.seconds)
    with (
        kubernetes(folder, beside.containers) as environment,
        Agent(beside.hz, folder / "agent.log", (), environment, beside.program) as agent,
    ):
        readings = agent.follow((start, steady))
        scrapes = [parse_scrape(text.decode()) for text in agent.scrapes]
    held = memory(readings)
    last = [reading.pss_bytes for reading in readings if reading.at_s > steady.end_s - 15]
    return Row(
        size,
        cost(readings, start),
        cost(readings, steady),
        cpu_at(readings, steady.end_s),
        max(last) / 1e6,
        held.peak / 1e6,
        longest_work_s(scrapes) * 1e3,
        lateness_s(scrapes, WINDOW_S) * 1e3,
        windows_until_judged(scrapes, beside.containers),
        scrapes[-1].lost if scrapes else {},
    )


# Loads.


def simulated_cpus(sizes: Sequence[int], folder: Path) -> Loads:
    # Here, because no other case needs numpy and libbcc, whose pages the agent then shares.
    from bench import simulated

    with Fleet(build_load(), SIMULATED_PROCESSES, CORES, True) as fleet:
        pids = fleet.pids()
        say(f"recording {RECORDED_S:g} s at {simulated.RECORDING_HZ} Hz")
        recording = simulated.record(pids, RECORDED_S)
        kin = fleet.kin()
        for size in sizes:
            target = folder / f"cpus-{size}"
            target.mkdir()
            stream = simulated.drains(recording, kin, round(size * HZ * WINDOW_S))
            drained = list(itertools.islice(stream, DRAINS))
            stacks = sum(len(drain.stack_counts) for drain in drained) / DRAINS
            say(f"a window of {size} CPUs: {stacks:.0f} distinct stacks of a process")
            simulated.save(target, drained, size)
            program = ("-P", simulated.__file__, str(target))
            yield size, contextlib.nullcontext(Beside(SIMULATED_PROCESSES, HZ, program))
            shutil.rmtree(target)


def frequencies(sizes: Sequence[int], _: Path) -> Loads:
    with Fleet(build_load(), PROCESSES, CORES, True):
        for size in sizes:
            yield size, contextlib.nullcontext(Beside(PROCESSES, size))


def idle_processes(sizes: Sequence[int], folder: Path) -> Loads:
    program = build_idle()
    for size in sizes:
        yield size, _idle(program, size, folder)


@contextlib.contextmanager
def _idle(program: Path, count: int, folder: Path) -> Iterator[Beside]:
    with Pods(min(count, CONTAINERS)) as pods:
        files = []
        for number in range(pods.count):
            files.append(folder / f"idle-{number}")
            write_other(program, number % IMAGES, files[-1])
        for number in range(count):
            pods.start(number % pods.count, [str(files[number % pods.count])])
        yield Beside(pods.count)
        pods.check()


def starts(sizes: Sequence[int], folder: Path) -> Loads:
    program = build_idle()
    for size in sizes:
        yield size, _starting(program, size, folder)


@contextlib.contextmanager
def _starting(program: Path, rate: int, folder: Path) -> Iterator[Beside]:
    with Pods(STARTERS) as pods:
        for number in range(pods.count):
            path = folder / f"starter-{number}"
            write_other(program, number, path)
            pods.start(number, [str(path), "-starts", str(rate / pods.count)])
        yield Beside(pods.count)
        pods.check()


def large_binaries(sizes: Sequence[int], folder: Path) -> Loads:
    say("building a large Go binary")
    large = build_large()
    need, free = max(sizes) * large.stat().st_size, shutil.disk_usage(folder).free
    if need * 1.2 > free:
        raise BenchError(f"{need / 1e9:.0f} GB are needed in {folder}: use smaller --sizes")
    for size in sizes:
        yield size, _large(large, size, folder)


@contextlib.contextmanager
def _large(large: Path, count: int, folder: Path) -> Iterator[Beside]:
    with tempfile.TemporaryDirectory(dir=folder) as name, Pods(count) as pods:
        for number in range(count):
            path = Path(name, f"large-{number}")
            write_other(large, number + 1, path)
            share = LARGE_CORES / max(count, 10)
            pods.start(number, [str(path), "-share", str(share), "-seed", str(number)])
        yield Beside(count)
        pods.check()


def empty_cgroups(sizes: Sequence[int], _: Path) -> Loads:
    with Fleet(build_load(), PROCESSES, CORES, True):
        for size in sizes:
            yield size, _empty(size)


@contextlib.contextmanager
def _empty(count: int) -> Iterator[Beside]:
    """A hundred in each of some: a folder of 20,000 is no node's."""
    with contextlib.ExitStack() as stack:
        roots = trees()
        for number in range(count):
            if number % 100 == 0:
                top = f"{GROUP}-{number // 100}"
                stack.callback(make_group(roots, top).remove)
            stack.callback(make_group(roots, f"{top}/{number}.scope").remove)
        yield Beside(PROCESSES)


class Pods:
    """A context manager: containers with processes that end with it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._stack = contextlib.ExitStack()
        self._containers: list[Group] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Pods:
        try:
            roots = trees()
            self._stack.callback(make_group(roots, GROUP).remove)
            for number in range(self.count):
                pod, container = pod_path(GROUP, number)
                self._stack.callback(make_group(roots, pod).remove)
                group = make_group(roots, container, 1.0 if number % 3 == 0 else None)
                self._stack.callback(group.remove)
                self._containers.append(group)
            self._stack.callback(self._kill)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start(self, number: int, command: Sequence[str]) -> None:
        group = self._containers[number]

        def prepare() -> None:
            die_with_parent()
            group.join()

        self._processes.append(
            subprocess.Popen(
                command,
                env={**os.environ, "GOMAXPROCS": "4"} if number % 5 == 0 else None,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=prepare,
            )
        )

    def check(self) -> None:
        for process in self._processes:
            if process.poll() is not None:
                raise BenchError(f"{process.args!r} ended with status {process.returncode}")

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()
        end_s = time.monotonic() + 5
        while any(group.pids() for group in self._containers) and time.monotonic() < end_s:
            time.sleep(0.05)  # what they started lives for half a second


def build_idle() -> Path:
    go = shutil.which("go")
    if go is None:
        raise BenchError("no go command on PATH: the load is a Go program (`make demo` gets one)")
    target, source = BUILD / "idle", Path(__file__).parent / "idle"
    command = [go, "build", "-trimpath", "-o", str(target), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"go build failed: {done.stderr.strip()[-400:]}")
    return target


CASES = {
    "cpus": Case(
        "busy CPUs, simulated",
        (2, 16, 64, 192),
        simulated_cpus,
        {"cpu_s_per_minute": 1.5 * CPU_PERCENT},
    ),
    "hz": Case("Hz on the CPUs that are there", (19, 199, 999), frequencies, {}),
    "processes": Case(
        "Go processes in 250 containers, mostly idle",
        (20, 200, 1000, 2000),
        idle_processes,
        {"cpu_s_per_minute": CPU_PERCENT, "pss_mb": 90.0},
    ),
    "starts": Case(
        "starts and ends of Go processes a second",
        (0, 10, 50),
        starts,
        {"cpu_s_per_minute": 3 * CPU_PERCENT},
    ),
    "binaries": Case(
        "distinct Go binaries of 200 MB",
        (1, 10, 50),
        large_binaries,
        {"judged_after": 2, "cpu_s": 12.0, "pss_mb": 60.0},
    ),
    "cgroups": Case("empty cgroups", (0, 5000, 20000), empty_cgroups, {}),
}
WORK_BAR_MS = WINDOW_S / 5 * 1e3
_NAMES = {
    "cpu_s_per_minute": "CPU s/min",
    "pss_mb": "PSS MB",
    "judged_after": "windows until all containers have a verdict",
    "cpu_s": "CPU s in all",
}


# The table.


HEAD = (
    f"{'n':>7}{'CPU s/min':>11}{'first 30 s':>12}{'in all':>9}{'PSS MB':>9}{'peak MB':>9}"
    f"{'work ms':>9}{'late ms':>9}{'judged':>8}  lost samples"
)


def text_of(row: Row) -> str:
    lost = ", ".join(f"{name} {count}" for name, count in sorted(row.lost.items()))
    judged = "-" if row.judged_after is None else str(row.judged_after)
    return (
        f"{row.size:7}{row.cpu_s_per_minute:11.3f}{row.start_cpu_s:12.2f}{row.cpu_s:9.2f}"
        f"{row.pss_mb:9.1f}{row.peak_mb:9.1f}{row.work_ms:9.0f}{row.late_ms:9.0f}"
        f"{judged:>8}  {lost or 'none'}"
    )


def table(case: Case, rows: Sequence[Row]) -> str:
    lines = [f"n {case.unit}", HEAD, *map(text_of, rows)]
    return "\n".join([*lines, "", *growth_lines(rows), *bars(case, rows)])


def growth_lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for name, unit in (
        ("cpu_s_per_minute", "CPU s/min"),
        ("cpu_s", "CPU s in all"),
        ("pss_mb", "PSS MB"),
    ):
        line = fit([(row.size, getattr(row, name)) for row in rows])
        lines.append(f"{unit} = {line.base:.3g} + {line.each:.3g} * n")
    return lines


def bars(case: Case, rows: Sequence[Row]) -> list[str]:
    """At the largest size of the case, if that was measured, and for every window."""
    found = []
    for row in rows:
        if row.size == max(case.sizes):
            for name, bar in case.bars.items():
                value = getattr(row, name)
                what = f"{row.size} {case.unit}: {_NAMES[name]}"
                found.append(verdict(what, float("inf") if value is None else value, bar))
    work = max(row.work_ms for row in rows)
    return [*found, verdict("longest work of a window, ms", work, WORK_BAR_MS)]


if __name__ == "__main__":
    sys.exit(main())
