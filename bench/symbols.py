"""The cost of symbols of large Go binaries: time compared with Go's tools, and memory.

.venv/bin/python -m bench.symbols [--rounds 5] [--no-memory] [--json]

Everything uses one generated binary of about 200 MB (large.py). *First stack*: from the start of a
process to twenty addresses with function, file and line, with the file not in the page cache.
*Addresses*: 100,000 distinct ones. Every tool answers the same questions in the same run, one after
the other, each as a new process, including its start. *Memory*: the agent's proportional set size
before and after 50 processes of 50 distinct binaries of that size ran, and again after 50 others.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gotax.addr2line import open_binary

from bench.agent import Agent
from bench.cgroups import BenchError, Group
from bench.fleet import BUILD, die_with_parent, interruptible
from bench.large import build_large, write_other
from bench.overhead import say

ADDRESSES = 100_000
STACK = 20
BINARIES = 50
WAVES = 2
WAVE_S = 25.0
CORES = 0.8
"""All processes of a wave together."""

GOTAX = "gotax addr2line"
FIRST, MANY = "first stack", "100,000 addresses"
BARS = {"ratio": 1.0, "added_pss_mb": 30.0, "flat_pss_mb": 5.0}


@dataclass(frozen=True, slots=True)
class Tool:
    """Reads hexadecimal addresses on standard input and answers on standard output."""

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one tool, medians over the rounds. ``rss_mb``: its highest memory."""

    tool: str
    task: str
    wall_s: float
    cpu_s: float
    rss_mb: float


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="bench.symbols", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binaries", type=int, default=BINARIES, help="of a wave (50)")
    parser.add_argument("--wave-seconds", type=float, default=WAVE_S)
    parser.add_argument("--no-time", action="store_true", help="measure memory only")
    parser.add_argument("--no-memory", action="store_true", help="measure time only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    interruptible()
    try:
        document = run(options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(json.dumps(document, indent=2) if options.json else table(document))
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    say("building a large Go binary and a program with debug/gosym")
    large = build_large()
    document: dict[str, Any] = {"binary_bytes": large.stat().st_size, "costs": [], "pss_mb": []}
    if not options.no_time:
        document["costs"] = [dataclasses.asdict(c) for c in time_tools(large, options.rounds)]
    if not options.no_memory:
        document["pss_mb"] = list(measure_memory(large, options.binaries, options.wave_seconds))
    return document


# Time.


def time_tools(large: Path, rounds: int) -> Iterator[Cost]:
    tools = find_tools(large)
    binary = open_binary(str(large))
    table = binary.pclntab
    assert table is not None
    rng = np.random.default_rng(1)
    drawn = rng.integers(table.text_start, table.text_end, ADDRESSES * 2)
    pcs = rng.permutation(np.unique(drawn))[:ADDRESSES].tolist()
    for task, count in ((FIRST, STACK), (MANY, ADDRESSES)):
        question = "".join(f"{pc:x}\n" for pc in pcs[:count]).encode()
        samples: dict[str, list[tuple[float, float, float]]] = {tool.name: [] for tool in tools}
        for number in range(rounds):
            say(f"{task}: round {number + 1} of {rounds}")
            for tool in tools:
                if task == FIRST:
                    forget(large)
                samples[tool.name].append(time_once(tool, question))
        for name, costs in samples.items():
            wall_s, cpu_s, rss_mb = (
                statistics.median(column) for column in zip(*costs, strict=True)
            )
            yield Cost(name, task, wall_s, cpu_s, rss_mb)


def find_tools(large: Path) -> list[Tool]:
    go = shutil.which("go")
    assert go is not None  # the large binary was built with it
    # Since Go 1.25 the tool is built at its first use, so ask one question before measuring.
    subprocess.run([go, "tool", "addr2line", str(large)], input=b"", check=False)
    found = subprocess.run([go, "tool", "-n", "addr2line"], capture_output=True, text=True)
    tools = [Tool(GOTAX, (sys.executable, "-P", "-m", "gotax", "addr2line", str(large)))]
    if found.returncode == 0 and Path(found.stdout.strip()).is_file():
        tools.append(Tool("go tool addr2line", (found.stdout.strip(), str(large))))
    target = BUILD / "gosym"
    source = Path(__file__).parent / "gosym"
    done = subprocess.run(
        [go, "build", "-o", target, "."], cwd=source, capture_output=True, text=True
    )
    if done.returncode:
        raise BenchError(f"go build failed: {done.stderr.strip()[-400:]}")
    tools.append(Tool("debug/gosym", (str(target), str(large))))
    return tools


def forget(path: Path) -> None:
    """Drop a file from the page cache, unless it is mapped."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def time_once(tool: Tool, question: bytes) -> tuple[float, float, float]:
    """(wall clock seconds, CPU seconds, megabytes) of one process."""
    with tempfile.TemporaryFile() as asked:
        asked.write(question)
        asked.seek(0)
        began = time.monotonic()
        process = subprocess.Popen(
            tool.command,
            stdin=asked,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise BenchError(f"{' '.join(tool.command)} ended with status {process.returncode}")
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3


# Memory.


def measure_memory(large: Path, count: int, seconds: float) -> Iterator[float]:
    """The agent's PSS with one such process, and after each wave of others, in MB."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 2 * count:
        raise BenchError("too few open files are allowed: ulimit -n 1024")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=BUILD)))
        agent = stack.enter_context(Agent(19, folder / "agent.log"))
        agent.wait_ready()
        with wave(large, [0], CORES / count, folder):
            say("memory: beside one large binary")
            time.sleep(seconds)
            yield settled_pss_mb(agent.group)
        for number in range(WAVES):
            say(f"memory: {count} distinct large binaries, {number + 1} of {WAVES}")
            numbers = range(1 + number * count, 1 + (number + 1) * count)
            with wave(large, list(numbers), CORES / count, folder):
                time.sleep(seconds)
                yield settled_pss_mb(agent.group)


def settled_pss_mb(group: Group) -> float:
    """The highest of several readings over the length of a window."""
    looks = []
    for _ in range(4):
        looks.append(group.pss_bytes() / 1e6)
        time.sleep(4)
    return max(looks)


@contextlib.contextmanager
def wave(large: Path, numbers: list[int], share: float, folder: Path) -> Iterator[None]:
    """A process with its own binary for each number; processes and files are removed at the end."""
    processes: list[subprocess.Popen[bytes]] = []
    paths = [folder / f"large-{number}" for number in numbers]
    try:
        for number, path in zip(numbers, paths, strict=True):
            write_other(large, number, path)
            command = [str(path), "-share", str(share), "-seed", str(number)]
            processes.append(
                subprocess.Popen(command, start_new_session=True, preexec_fn=die_with_parent)
            )
        yield
        for process in processes:
            if process.poll() is not None:
                raise BenchError(f"{process.args!r} ended with status {process.returncode}")
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
        for path in paths:
            path.unlink(missing_ok=True)


# The table.


def table(document: dict[str, Any]) -> str:
    lines = [
        f"a Go binary of {document['binary_bytes'] / 1e6:.0f} MB; ratios are gotax / the other"
    ]
    bars: list[tuple[str, float, float]] = []
    for task in (FIRST, MANY):
        rows = [row for row in document["costs"] if row["task"] == task]
        if not rows:
            continue
        head = f"{'wall s':>10}{'ratio':>8}{'CPU s':>10}{'ratio':>8}{'RSS MB':>10}{'ratio':>8}"
        lines += ["", f"{task:26}{head}"]
        gotax = next(row for row in rows if row["tool"] == GOTAX)
        for row in rows:
            cells = f"{row['tool']:26}"
            for column, digits in (("wall_s", 3), ("cpu_s", 3), ("rss_mb", 1)):
                ratio = gotax[column] / row[column]
                shown = "-" if row is gotax else f"{ratio:.2f}"
                cells += f"{row[column]:>10.{digits}f}{shown:>8}"
                if row is not gotax and column != "rss_mb":
                    bars.append((f"{task}, {column} / {row['tool']}", ratio, BARS["ratio"]))
            lines.append(cells)
    pss = document["pss_mb"]
    if pss:
        waves = ", ".join(f"{value:.1f}" for value in pss[1:])
        lines += ["", f"PSS of the agent in MB: {pss[0]:.1f} beside one; after each wave {waves}"]
        bars.append(("PSS added by the first wave, MB", pss[1] - pss[0], BARS["added_pss_mb"]))
        bars.append(("PSS added after it, MB", max(pss[2:]) - pss[1], BARS["flat_pss_mb"]))
    verdicts = [
        f"{'holds ' if value <= bar else 'MISSED'}  {what}: {value:.3g}, bar {bar:g}"
        for what, value, bar in bars
    ]
    return "\n".join([*lines, "", *verdicts])


if __name__ == "__main__":
    sys.exit(main())
