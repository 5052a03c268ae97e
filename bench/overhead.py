"""The agent's cost on a busy node, compared with other profilers on the same load in the same run.

.venv/bin/python -m bench [--warm-up 120] [--seconds 60] [--json]

Twenty Go processes use 1.25 cores (bench.fleet). First the agent runs with its defaults, scraped
every 15 s, and is measured after the warm-up. Then the peers follow, one after the other. At the
end the agent's BPF program and bcc's walk run alternately, a few seconds each, because the cost of
a sample changes from minute to minute. No two sample at the same time: if two timers fire when a
CPU wakes up, the second finds the caches warm.

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
import resource
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.procfs import read_pss_bytes
from gotax.sampling import kernel
from gotax.sampling.sampler import Sampler

from bench.fleet import (
    CORES,
    PROCESSES,
    BenchError,
    Fleet,
    build_load,
    die_with_parent,
    interruptible,
)
from bench.peers import Missing, Peer, environment_of, find_peers

_BPF_ENABLE_STATS = 32
_SCRAPE_INTERVAL_S = 15.0
_START_WITHIN_S = 60.0
_END_WITHIN_S = 60.0
AGENTS_WALK = "gotax agent"
FULL_WALK = "gotax with kernel stacks"
BCCS_WALK = "bcc, two get_stackid"
BARS = {"cpu_s_per_minute": 0.15, "pss_mb": 90.0, "kernel_ratio": 1.3}


@dataclass(frozen=True, slots=True)
class ProgramStats:
    """The kernel's counters of a process's BPF programs."""

    run_ns: int = 0
    runs: int = 0

    def since(self, before: ProgramStats) -> ProgramStats:
        return ProgramStats(self.run_ns - before.run_ns, self.runs - before.runs)

    @property
    def ns_per_run(self) -> float | None:
        return self.run_ns / self.runs if self.runs else None


@dataclass(frozen=True, slots=True)
class Cost:
    """One profiler in one phase. ``cpu_s_per_minute`` is its processes', user and system."""

    name: str
    cpu_s_per_minute: float
    start_cpu_s: float
    pss_mb: float
    kernel_us_per_sample: float | None
    samples_per_s: float | None


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hz", type=int, default=19, help="of all profilers (19)")
    parser.add_argument("--warm-up", type=float, default=120.0, help="seconds (120)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each profiler (60)")
    parser.add_argument("--turns", type=int, default=6, help="of each BPF program; 0 for none (6)")
    parser.add_argument("--turn-seconds", type=float, default=10.0, help="of one turn (10)")
    parser.add_argument("--only", action="append", default=[], help="peers with this in their name")
    parser.add_argument("--no-peers", action="store_true", help="measure the agent alone")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--cores", type=float, default=CORES)
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
    say("building the load")
    binaries = build_load()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gotax-bench-")))
        peers = stack.enter_context(find_peers(options.hz, options.seconds, folder))
        stack.enter_context(bpf_stats())
        fleet = stack.enter_context(Fleet(binaries, options.processes, options.cores))
        load_s, began = fleet.cpu_s(), time.monotonic()
        with Agent(options.hz, folder / "agent.log") as agent:
            say(f"gotax agent: warming up for {options.warm_up:g} s")
            time.sleep(options.warm_up)
            say(f"gotax agent: {options.seconds:g} s")
            costs = [agent.measure(options.seconds)]
        missing = [peer for peer in peers if isinstance(peer, Missing)]
        for peer in peers:
            if isinstance(peer, Missing) or options.no_peers:
                continue
            if options.only and not any(word in peer.name for word in options.only):
                continue
            say(f"{peer.name}: {options.seconds:g} s")
            try:
                costs.append(measure_peer(peer, options.seconds, folder))
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
        "seconds": options.seconds,
        "warm_up_s": options.warm_up,
        "load": {"processes": options.processes, "cpu_s_per_minute": load * 60},
        "profilers": [dataclasses.asdict(cost) for cost in costs],
        "turns_us_per_sample": turns,
        "missing": [dataclasses.asdict(peer) for peer in missing],
    }


def take_turns(walk: Peer, options: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Kernel time per sample of three programs that run alternately."""
    seconds = options.turn_seconds
    turns: dict[str, list[float]] = {AGENTS_WALK: [], FULL_WALK: [], BCCS_WALK: []}
    for number in range(options.turns):
        say(f"BPF programs in turns: {number + 1} of {options.turns}")
        for name, with_kernel_stacks in ((AGENTS_WALK, False), (FULL_WALK, True)):
            turns[name].append(time_sampler(options.hz, seconds, with_kernel_stacks))
        cost = measure_peer(walk, seconds, folder)
        turns[BCCS_WALK].append(cost.kernel_us_per_sample or 0.0)
    return turns


def time_sampler(hz: int, seconds: float, with_kernel_stacks: bool) -> float:
    """Microseconds per sample of the agent's own sampler, drained as in the agent."""
    with Sampler(hz, seconds, with_kernel_stacks=with_kernel_stacks) as sampler:
        time.sleep(seconds)
        sampler.drain()
        stats = program_stats(os.getpid())
    return stats.run_ns / max(1, stats.runs) / 1e3


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def bpf_stats() -> Iterator[None]:
    """Lets the kernel time every BPF program until the descriptor is closed, even by SIGKILL."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(struct.pack("=I", 0), 4)  # BPF_STATS_RUN_TIME
    fd = libc.syscall(kernel._BPF, _BPF_ENABLE_STATS, attributes, 4)
    if fd < 0:
        raise BenchError(f"cannot time BPF programs ({os.strerror(ctypes.get_errno())}): be root")
    try:
        yield
    finally:
        os.close(fd)


def family(pid: int) -> list[int]:
    """A process and its descendants: the agent's readers are its cost, too."""
    pids = [pid]
    for each in pids:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
    return pids


def process_cpu_s(pid: int) -> float:
    """The CPU clock (include/linux/posix-timers.h: ~pid << 3 | CPUCLOCK_SCHED) of a process and of
    those that it started and that live."""
    total_s = 0.0
    for each in family(pid):
        with contextlib.suppress(OSError):
            total_s += time.clock_gettime(~each << 3 | 2)
    return total_s


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


class Agent:
    """``gotax agent`` with its defaults, scraped as Prometheus would."""

    def __init__(self, hz: int, log: Path) -> None:
        self._hz = hz
        self._log = log
        self._stop = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Agent:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        arguments = ["agent", "--hz", str(self._hz), "--listen", f"127.0.0.1:{self._port}"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gotax", *arguments],
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        end = time.monotonic() + _START_WITHIN_S
        while not self._scrape():
            if self._process.poll() is not None or time.monotonic() > end:
                self.close()
                raise BenchError(f"the agent did not start: {self._log.read_text()[-400:]}")
            time.sleep(0.2)
        threading.Thread(target=self._keep_scraping, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stop.set()
        if self._process is not None:
            end(self._process, signal.SIGTERM)

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def _scrape(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as r:
                return bool(r.read())
        except (urllib.error.URLError, OSError):
            return False

    def _keep_scraping(self) -> None:
        while not self._stop.wait(_SCRAPE_INTERVAL_S):
            self._scrape()

    def measure(self, seconds: float) -> Cost:
        cpu_s, stats, began = process_cpu_s(self.pid), program_stats(self.pid), time.monotonic()
        pss = watch_pss(self.pid, seconds)
        passed = time.monotonic() - began
        growth = program_stats(self.pid).since(stats)
        return Cost(
            "gotax agent",
            (process_cpu_s(self.pid) - cpu_s) * 60 / passed,
            0.0,
            pss,
            _us(growth),
            growth.runs / passed,
        )


def _us(stats: ProgramStats) -> float | None:
    return None if stats.ns_per_run is None else stats.ns_per_run / 1e3


def family_pss_bytes(pid: int) -> int:
    total = 0
    for each in family(pid):
        with contextlib.suppress(ReadError, ProcessGoneError):
            total += read_pss_bytes("/proc", each)
    return total


def watch_pss(pid: int, seconds: float) -> float:
    """The highest memory in MB of a process and its descendants, read every five seconds."""
    end_at = time.monotonic() + seconds
    most = 0.0
    while (left := end_at - time.monotonic()) > 0:
        time.sleep(min(left, 5.0))
        most = max(most, family_pss_bytes(pid) / 1e6)
    return most


def measure_peer(peer: Peer, seconds: float, folder: Path) -> Cost:
    """Runs a peer: from its first sample to its end, including its report."""
    log = folder / "peer.log"
    children = _children_s()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            peer.command,
            env=environment_of(peer),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=folder,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    try:
        _wait_until_sampling(peer, process, log)
        start_cpu_s = process_cpu_s(process.pid)
        stats, began = program_stats(process.pid), time.monotonic()
        # Shortly before a tool ends by itself, because its programs could not be read afterwards.
        pss = watch_pss(process.pid, seconds - 3)
        passed = time.monotonic() - began
        stats = program_stats(process.pid).since(stats)
    finally:
        end(process, signal.SIGINT)
    total_s = _children_s() - children
    return Cost(
        peer.name,
        (total_s - start_cpu_s) * 60 / passed,
        start_cpu_s,
        pss,
        _us(stats),
        stats.runs / passed if stats.runs else None,
    )


def _children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _wait_until_sampling(peer: Peer, process: subprocess.Popen[bytes], log: Path) -> None:
    end_at = time.monotonic() + _START_WITHIN_S
    while process.poll() is None and time.monotonic() < end_at:
        if not peer.has_program:
            time.sleep(2)
            break
        if program_stats(process.pid).runs:
            return
        time.sleep(0.1)
    if process.poll() is not None:
        last = " ".join(log.read_text(errors="replace").split())[-300:]
        raise BenchError(f"ended with status {process.returncode}: {last}")


def end(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(_END_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()


def table(document: dict[str, Any]) -> str:
    """The table, and whether the bounds are met."""
    profilers, turns = document["profilers"], document["turns_us_per_sample"]
    machine, load = document["machine"], document["load"]
    title = (
        f"{machine['cpus']} CPUs, Linux {machine['kernel']}, {machine['machine']};"
        f" {load['processes']} Go processes using {load['cpu_s_per_minute']:.1f} CPU s/min;"
        f" {document['hz']} Hz; ratios are gotax / the other"
    )
    head = (
        f"{'':26}{'CPU s/min':>11}{'ratio':>8}{'PSS MB':>9}{'ratio':>8}"
        f"{'kernel us/sample':>18}{'samples/s':>11}{'start CPU s':>13}"
    )
    gotax = profilers[0]
    lines = [title, "", head]
    for row in profilers:
        is_peer = row is not gotax
        cells = [
            f"{row['name']:26}",
            _cell(row["cpu_s_per_minute"], 11, 3),
            _cell(_ratio(gotax, row, "cpu_s_per_minute") if is_peer else None, 8, 2),
            _cell(row["pss_mb"], 9, 1),
            _cell(_ratio(gotax, row, "pss_mb") if is_peer else None, 8, 2),
            _cell(row["kernel_us_per_sample"], 18, 2),
            _cell(row["samples_per_s"], 11, 1),
            _cell(row["start_cpu_s"], 13, 2),
        ]
        lines.append("".join(cells).rstrip())
    lines += [f"{peer['name']:26}  skipped: {peer['reason']}" for peer in document["missing"]]
    return "\n".join([*lines, "", *_turns(turns), "", *_bars(gotax, turns)])


def _turns(turns: dict[str, list[float]]) -> list[str]:
    if not turns[BCCS_WALK]:
        return []
    bcc = statistics.median(turns[BCCS_WALK])
    head = f"{'kernel us/sample, in turns':26}{'median':>11}{'ratio':>8}{'least':>9}{'most':>8}"
    return [head] + [
        f"{name:26}{statistics.median(values):11.2f}{statistics.median(values) / bcc:8.2f}"
        f"{min(values):9.2f}{max(values):8.2f}"
        for name, values in turns.items()
    ]


def _bars(gotax: dict[str, float], turns: dict[str, list[float]]) -> list[str]:
    checks = [
        ("CPU seconds a minute", gotax["cpu_s_per_minute"], BARS["cpu_s_per_minute"]),
        ("PSS in MB", gotax["pss_mb"], BARS["pss_mb"]),
    ]
    if turns[BCCS_WALK]:
        ratio = statistics.median(turns[AGENTS_WALK]) / statistics.median(turns[BCCS_WALK])
        checks.append(("kernel time per sample / bcc's walk", ratio, BARS["kernel_ratio"]))
    return [
        f"{'holds ' if value <= bar else 'MISSED'}  {what}: {value:.3g}, bar {bar:g}"
        for what, value, bar in checks
    ]


def _ratio(gotax: dict[str, float], peer: dict[str, float], column: str) -> float | None:
    return gotax[column] / peer[column] if peer[column] else None


def _cell(value: float | None, width: int, digits: int) -> str:
    return f"{'-' if value is None else format(value, f'.{digits}f'):>{width}}"


if __name__ == "__main__":
    sys.exit(main())
