"""The agent's cost as deployed, beside other profilers on the same load in the same run.

.venv/bin/python -m bench [--forms scraped,streaming,otlp] [--spans full] [--no-peers] [--json]

Twenty Go processes use 1.25 cores (bench.fleet). The agent runs in three forms, each with pod names
and scraped every 15 s: scraped only, streaming to a collector, and sending OTLP to a receiver. The
peers follow, one after the other. Measured is the whole process tree by its cgroup, from the start:
the compiler's child and the readers included. At the end the agent's BPF program and bcc's walk run
alternately, a few seconds each, because the cost of a sample changes from minute to minute. No two
sample at the same time: if two timers fire when a CPU wakes up, the second finds the caches warm.

README.md explains the columns. The benchmark leaves nothing behind, however it ends.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import json
import os
import platform
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.agent import (
    FORMS,
    SCRAPED,
    STREAMING,
    Agent,
    end,
    follow,
    kubernetes,
    receiving,
    started,
)
from bench.cgroups import BenchError, grouped
from bench.fleet import CGROUP, CORES, PROCESSES, Fleet, build_load, interruptible
from bench.peers import Missing, Peer, environment_of, find_peers
from bench.spans import AFTER_START_S, Reading, Span, cost, memory, parse_spans

_BPF = {"x86_64": 321, "aarch64": 280}  # the system call's number
_BPF_ENABLE_STATS = 32
PEER_GROUP = f"{CGROUP}-peer"
_PEER_SPANS = "0-30,30-60"
_START_WITHIN_S = 60.0
AGENTS_WALK = "gotax agent"
FULL_WALK = "gotax with kernel stacks"
BCCS_WALK = "bcc, two get_stackid"
BARS = {
    (SCRAPED, "0-30 s"): 0.6,
    (SCRAPED, "30-90 s"): 0.15,
    (SCRAPED, "150-210 s"): 0.05,
    (SCRAPED, "pss_mb"): 45.0,
    (SCRAPED, "peak_mb"): 110.0,
    (SCRAPED, "back_s"): 5.0,
    (STREAMING, "0-30 s"): 0.6,
    (STREAMING, "30-90 s"): 0.15,
    (STREAMING, "150-210 s"): 0.08,
    (STREAMING, "pss_mb"): 55.0,
    (STREAMING, "peak_mb"): 110.0,
    (STREAMING, "back_s"): 5.0,
}
KERNEL_RATIO_BAR = 0.95
"""The agent's kernel time per sample, divided by that of bcc's walk."""
_UNITS = {"pss_mb": "PSS after the start, MB", "peak_mb": "highest PSS, MB", "back_s": "peak, s"}


@dataclass(frozen=True, slots=True)
class ProgramStats:
    """The kernel's counters of a process's BPF programs."""

    run_ns: int = 0
    runs: int = 0

    @property
    def us_per_run(self) -> float | None:
        return self.run_ns / self.runs / 1e3 if self.runs else None


@dataclass(frozen=True, slots=True)
class Cost:
    """One profiler. ``cpu_s``: by span, a sum for the first one and a minute's for the others."""

    name: str
    cpu_s: dict[str, float]
    pss_mb: float
    peak_mb: float
    back_s: float
    kernel_us_per_run: float | None
    runs_per_s: float | None


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hz", type=int, default=19, help="of all profilers (19)")
    parser.add_argument(
        "--forms", type=_forms, default=FORMS, help="of the agent (scraped,streaming,otlp)"
    )
    parser.add_argument(
        "--spans",
        type=_spans,
        default=parse_spans("full"),
        help="seconds since the start: full (0-30,30-90,150-210), short (0-30,30-60), or others",
    )
    parser.add_argument("--turns", type=int, default=4, help="of each BPF program; 0 for none (4)")
    parser.add_argument("--turn-seconds", type=float, default=8.0, help="of one turn (8)")
    parser.add_argument("--only", action="append", default=[], help="peers with this in their name")
    parser.add_argument("--no-peers", action="store_true", help="measure the agent alone")
    parser.add_argument("--processes", type=int, default=PROCESSES, help=f"({PROCESSES})")
    parser.add_argument("--cores", type=float, default=CORES, help=f"({CORES:g})")
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


def _forms(text: str) -> tuple[str, ...]:
    forms = tuple(text.split(","))
    if unknown := [form for form in forms if form not in FORMS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(FORMS)}")
    return forms


def _spans(text: str) -> tuple[Span, ...]:
    try:
        return parse_spans(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(options: argparse.Namespace) -> dict[str, Any]:
    say("building the load")
    binaries = build_load()
    costs: list[Cost] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gotax-bench-")))
        spans: Sequence[Span] = options.spans
        peer_spans = parse_spans(_PEER_SPANS)
        stack.enter_context(bpf_stats())
        fleet = stack.enter_context(Fleet(binaries, options.processes, options.cores, True))
        load_s, began = fleet.cpu_s(), time.monotonic()
        for form in options.forms:
            say(f"gotax agent, {form}: {spans[-1].end_s:g} s")
            costs.append(measure_agent(form, options, folder))
        peers = stack.enter_context(find_peers(options.hz, peer_spans[-1].end_s, folder))
        missing = [peer for peer in peers if isinstance(peer, Missing)]
        for peer in peers:
            if isinstance(peer, Missing) or options.no_peers:
                continue
            if options.only and not any(word in peer.name for word in options.only):
                continue
            say(f"{peer.name}: {peer_spans[-1].end_s:g} s")
            try:
                costs.append(measure_peer(peer, peer_spans, folder))
            except BenchError as error:
                missing.append(Missing(peer.name, str(error)))
        walk = next(peer for peer in peers if isinstance(peer, Peer) and peer.is_walk)
        turns = take_turns(walk, options, folder)
        fleet.check()
        load = (fleet.cpu_s() - load_s) / (time.monotonic() - began)
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        },
        "hz": options.hz,
        "spans": [str(span) for span in spans],
        "forms": list(options.forms),
        "load": {"processes": options.processes, "cpu_s_per_minute": load * 60},
        "profilers": [dataclasses.asdict(cost) for cost in costs],
        "turns_us_per_sample": turns,
        "missing": [] if options.no_peers else [dataclasses.asdict(peer) for peer in missing],
    }


def measure_agent(form: str, options: argparse.Namespace, folder: Path) -> Cost:
    with (
        kubernetes(folder, options.processes) as environment,
        receiving(form, folder) as arguments,
        Agent(options.hz, folder / "agent.log", arguments, environment) as agent,
    ):
        readings = agent.follow(options.spans)
        return cost_of(form, readings, options.spans, program_stats(agent.pid))


def cost_of(name: str, readings: list[Reading], spans: Sequence[Span], stats: ProgramStats) -> Cost:
    held = memory(readings)
    return Cost(
        name,
        {str(span): cost(readings, span) for span in spans},
        held.after_start / 1e6,
        held.peak / 1e6,
        held.back_s,
        stats.us_per_run,
        stats.runs / readings[-1].at_s if stats.runs else None,
    )


def take_turns(walk: Peer, options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Kernel time per sample of three programs that run alternately."""
    seconds = options.turn_seconds
    turns: dict[str, list[float]] = {AGENTS_WALK: [], FULL_WALK: [], BCCS_WALK: []}
    for number in range(options.turns):
        say(f"BPF programs in turns: {number + 1} of {options.turns}")
        for name, with_kernel_stacks in ((AGENTS_WALK, False), (FULL_WALK, True)):
            turns[name].append(time_sampler(options.hz, seconds, with_kernel_stacks))
        turns[BCCS_WALK].append(time_walk(walk, seconds, folder))
    return turns


def time_sampler(hz: int, seconds: float, with_kernel_stacks: bool) -> float:
    """Microseconds per sample of the agent's own sampler, drained as in the agent."""
    # Here, because this process would share its pages (numpy, libbcc) with the measured agent.
    from gotax.sampling.sampler import Sampler

    with Sampler(hz, seconds, with_kernel_stacks=with_kernel_stacks) as sampler:
        time.sleep(seconds)
        sampler.drain()
        return program_stats(os.getpid()).us_per_run or 0.0


def time_walk(walk: Peer, seconds: float, folder: Path) -> float:
    """The same of bcc's program, from its first run."""
    log = folder / "walk.log"
    with grouped(PEER_GROUP) as group:
        process = started(walk.command, group, log, environment_of(walk))
        try:
            end_s = time.monotonic() + _START_WITHIN_S
            while not program_stats(process.pid).runs:
                _check(process, log)
                if time.monotonic() > end_s:
                    raise BenchError(f"{walk.name} did not start within {_START_WITHIN_S:g} s")
                time.sleep(0.1)
            time.sleep(seconds)
            return program_stats(process.pid).us_per_run or 0.0
        finally:
            end(process, signal.SIGINT)


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def bpf_stats() -> Iterator[None]:
    """Lets the kernel time every BPF program until the descriptor is closed, even by SIGKILL."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(struct.pack("=I", 0), 4)  # BPF_STATS_RUN_TIME
    fd = libc.syscall(_BPF[platform.machine()], _BPF_ENABLE_STATS, attributes, 4)
    if fd < 0:
        raise BenchError(f"cannot time BPF programs ({os.strerror(ctypes.get_errno())}): be root")
    try:
        yield
    finally:
        os.close(fd)


def program_stats(pid: int) -> ProgramStats:
    """The sum over all BPF programs of which a process has descriptors."""
    run_ns = runs = 0
    seen: set[str] = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(descriptor) != "anon_inode:bpf-prog":
                continue
            text = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
        except FileNotFoundError:
            continue
        facts = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        if facts.get("prog_id") not in seen:
            seen.add(facts["prog_id"])
            run_ns += int(facts.get("run_time_ns", 0))
            runs += int(facts.get("run_cnt", 0))
    return ProgramStats(run_ns, runs)


def measure_peer(peer: Peer, spans: Sequence[Span], folder: Path) -> Cost:
    """Runs a peer from its start; its report, which it makes at its end, is in the last span."""
    log = folder / "peer.log"
    with grouped(PEER_GROUP) as group:
        process = started(peer.command, group, log, environment_of(peer))
        try:
            readings = follow(group, spans, time.monotonic(), partial(_check, process, log))
            stats = program_stats(process.pid) if peer.has_program else ProgramStats()
        finally:
            end(process, signal.SIGINT)
        last = dataclasses.replace(readings[-1], at_s=spans[-1].end_s, cpu_s=group.cpu_s())
    return cost_of(peer.name, [*readings[:-1], last], spans, stats)


def _check(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        last = " ".join(log.read_text(errors="replace").split())[-300:]
        raise BenchError(f"ended with status {process.returncode}: {last}")


# The table.


def table(document: dict[str, Any]) -> str:
    """The table, and whether the bounds are met."""
    profilers, turns = document["profilers"], document["turns_us_per_sample"]
    machine, load = document["machine"], document["load"]
    title = (
        f"{machine['cpus']} CPUs, Linux {machine['kernel']}, {machine['machine']};"
        f" {load['processes']} Go processes using {load['cpu_s_per_minute']:.1f} CPU s/min;"
        f" {document['hz']} Hz"
    )
    spans = list(dict.fromkeys(span for row in profilers for span in row["cpu_s"]))
    spans.sort(key=lambda span: document["spans"].index(span) if span in document["spans"] else 9)
    head = f"{'':26}" + "".join(
        f"{('CPU s' if span.startswith('0-') else 'CPU s/min'):>11}" for span in spans
    )
    second = f"{'':26}" + "".join(f"{span.replace(' s', ''):>11}" for span in spans)
    head += f"{'PSS MB':>9}{'peak':>8}{'back s':>8}{'kernel':>9}{'runs':>8}"
    second += f"{f'at {AFTER_START_S:g} s':>9}{'MB':>8}{'':8}{'us/run':>9}{'a s':>8}"
    lines = [title, "", head, second]
    for row in profilers:
        cells = [f"{_label(row['name'], document):26}"]
        cells += [_cell(row["cpu_s"].get(span), 11, 3) for span in spans]
        cells += [
            _cell(row["pss_mb"], 9, 1),
            _cell(row["peak_mb"], 8, 1),
            _cell(row["back_s"], 8, 1),
            _cell(row["kernel_us_per_run"], 9, 2),
            _cell(row["runs_per_s"], 8, 1),
        ]
        lines.append("".join(cells).rstrip())
    lines += [f"{peer['name']:26}  skipped: {peer['reason']}" for peer in document["missing"]]
    return "\n".join([*lines, "", *_turns(turns), *bars(document)])


def _label(name: str, document: dict[str, Any]) -> str:
    return f"gotax agent, {name}" if name in document["forms"] else name


def _turns(turns: dict[str, list[float]]) -> list[str]:
    if not turns[BCCS_WALK]:
        return []
    bcc = statistics.median(turns[BCCS_WALK])
    head = f"{'kernel us/run, in turns':26}{'median':>11}{'ratio':>8}{'least':>9}{'most':>8}"
    rows = [
        f"{name:26}{statistics.median(values):11.2f}{statistics.median(values) / bcc:8.2f}"
        f"{min(values):9.2f}{max(values):8.2f}"
        for name, values in turns.items()
    ]
    return [head, *rows, ""]


def bars(document: dict[str, Any]) -> list[str]:
    """Whether each bar that was measured holds."""
    turns = document["turns_us_per_sample"]
    checks = []
    for row in document["profilers"]:
        values = {**row, **row["cpu_s"]}
        for (form, what), bar in BARS.items():
            if form == row["name"] and what in values:
                unit = "CPU s" if what == "0-30 s" else "CPU s/min"
                named = _UNITS.get(what, f"{unit} in {what}")
                checks.append((f"{form}: {named}", values[what], bar))
    if turns[BCCS_WALK]:
        ratio = statistics.median(turns[AGENTS_WALK]) / statistics.median(turns[BCCS_WALK])
        checks.append(("kernel time per run / bcc's walk", ratio, KERNEL_RATIO_BAR))
    return [verdict(what, value, bar) for what, value, bar in checks]


def verdict(what: str, value: float, bar: float) -> str:
    return f"{'holds ' if value <= bar else 'MISSED'}  {what}: {value:.3g}, bar {bar:g}"


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-' if value is None else format(value, f'.{digits}f'):>{width}}"


if __name__ == "__main__":
    sys.exit(main())
