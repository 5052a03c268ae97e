"""What the agent costs on a busy node, beside other profilers on the same load in the same run.

    .venv/bin/python -m bench [--warm-up 60] [--seconds 60] [--json]

Twenty Go processes use 1.25 cores (bench.fleet). The agent runs with its defaults and is scraped
every 15 s. After the warm-up it is measured alone; then every peer is started beside it and both
are measured. Kernel time per sample is what the kernel itself counts for a BPF program
(BPF_ENABLE_STATS), so the ratio to a peer's is of the same seconds.

README.md says what each column means. Leaves nothing behind, however it ends.
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

from gotax.linux.procfs import read_pss_bytes
from gotax.sampling import kernel

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
BARS = {"cpu_s_per_minute": 0.15, "pss_mb": 90.0, "kernel_ratio": 1.3}


@dataclass(frozen=True, slots=True)
class ProgramStats:
    """What the kernel has counted for a process's BPF programs."""

    run_ns: int = 0
    runs: int = 0

    def since(self, before: ProgramStats) -> ProgramStats:
        return ProgramStats(self.run_ns - before.run_ns, self.runs - before.runs)

    @property
    def ns_per_run(self) -> float | None:
        return self.run_ns / self.runs if self.runs else None


@dataclass(frozen=True, slots=True)
class Cost:
    """One profiler over one phase. ``cpu_s_per_minute`` is its processes', user and system."""

    name: str
    cpu_s_per_minute: float
    start_cpu_s: float
    pss_mb: float
    kernel_us_per_sample: float | None
    samples_per_s: float | None
    gotax_kernel_us_per_sample: float | None = None
    gotax_cpu_s_per_minute: float | None = None

    @property
    def kernel_ratio(self) -> float | None:
        """gotax over this one, in the same seconds."""
        if not self.kernel_us_per_sample or not self.gotax_kernel_us_per_sample:
            return None
        return self.gotax_kernel_us_per_sample / self.kernel_us_per_sample


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hz", type=int, default=19, help="of everybody (19)")
    parser.add_argument("--warm-up", type=float, default=60.0, help="seconds (60)")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each phase (60)")
    parser.add_argument("--rounds", type=int, default=1, help="phases each; medians count (1)")
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


def run(options: argparse.Namespace) -> dict[str, object]:
    say("building the load")
    binaries = build_load()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gotax-bench-")))
        peers = stack.enter_context(find_peers(options.hz, options.seconds, folder))
        stack.enter_context(bpf_stats())
        fleet = stack.enter_context(Fleet(binaries, options.processes, options.cores))
        agent = stack.enter_context(Agent(options.hz, folder / "agent.log"))
        say(f"warming up for {options.warm_up:g} s")
        time.sleep(options.warm_up)
        alone: list[Cost] = []
        costs: list[Cost] = []
        missing = [peer for peer in peers if isinstance(peer, Missing)]
        load_s, began = fleet.cpu_s(), time.monotonic()
        for _ in range(options.rounds):
            say(f"gotax alone, {options.seconds:g} s")
            alone.append(agent.measure(options.seconds))
            for peer in peers:
                if isinstance(peer, Missing) or options.no_peers:
                    continue
                if options.only and not any(word in peer.name for word in options.only):
                    continue
                say(f"{peer.name}, {options.seconds:g} s")
                try:
                    costs.append(measure_peer(peer, agent, options.seconds, folder))
                except BenchError as error:
                    missing.append(Missing(peer.name, str(error)))
                fleet.check()
        load = (fleet.cpu_s() - load_s) / (time.monotonic() - began)
    gotax = median(alone)
    others = [median([c for c in costs if c.name == name]) for name in _names(costs)]
    return {
        "machine": {
            "cpus": os.cpu_count(),
            "kernel": platform.release(),
            "machine": platform.machine(),
            "python": platform.python_version(),
        },
        "hz": options.hz,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "warm_up_s": options.warm_up,
        "load": {"processes": options.processes, "cpu_s_per_minute": load * 60},
        "gotax": dataclasses.asdict(gotax),
        "peers": [{**dataclasses.asdict(c), "kernel_ratio": c.kernel_ratio} for c in others],
        "missing": [dataclasses.asdict(peer) for peer in missing],
    }


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def bpf_stats() -> Iterator[None]:
    """Makes the kernel time every BPF program until the descriptor is closed, even by SIGKILL."""
    libc = ctypes.CDLL(None, use_errno=True)
    attributes = ctypes.create_string_buffer(struct.pack("=I", 0), 4)  # BPF_STATS_RUN_TIME
    fd = libc.syscall(kernel._BPF, _BPF_ENABLE_STATS, attributes, 4)
    if fd < 0:
        raise BenchError(f"cannot time BPF programs ({os.strerror(ctypes.get_errno())}): be root")
    try:
        yield
    finally:
        os.close(fd)


def process_cpu_s(pid: int) -> float:
    """The process's CPU clock (include/linux/posix-timers.h: ~pid << 3 | CPUCLOCK_SCHED)."""
    return time.clock_gettime(~pid << 3 | 2)


def program_stats(pid: int) -> ProgramStats:
    """The sum over all BPF programs that a process has descriptors of."""
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


def watch_pss(pid: int, seconds: float) -> float:
    """The most memory in MB that a process had, looked at once in five seconds."""
    end_at = time.monotonic() + seconds
    most = 0.0
    while (left := end_at - time.monotonic()) > 0:
        time.sleep(min(left, 5.0))
        most = max(most, read_pss_bytes("/proc", pid) / 1e6)
    return most


def measure_peer(peer: Peer, agent: Agent, seconds: float, folder: Path) -> Cost:
    """Run a peer beside the agent: from when it samples until it has ended, report included."""
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
        own, theirs = program_stats(agent.pid), program_stats(process.pid)
        agent_s, began = process_cpu_s(agent.pid), time.monotonic()
        # A little short of a tool that ends by itself, whose programs could not be read any more.
        pss = watch_pss(process.pid, seconds - 3)
        passed = time.monotonic() - began
        own = program_stats(agent.pid).since(own)
        theirs = program_stats(process.pid).since(theirs)
        agent_s = process_cpu_s(agent.pid) - agent_s
    finally:
        end(process, signal.SIGINT)
    total_s = _children_s() - children
    return Cost(
        peer.name,
        (total_s - start_cpu_s) * 60 / passed,
        start_cpu_s,
        pss,
        _us(theirs),
        theirs.runs / passed if theirs.runs else None,
        _us(own),
        agent_s * 60 / passed,
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


def _names(costs: list[Cost]) -> list[str]:
    return list(dict.fromkeys(cost.name for cost in costs))


def median(costs: list[Cost]) -> Cost:
    """Field by field."""
    values: dict[str, object] = {}
    for column in dataclasses.fields(Cost):
        column_values = [getattr(cost, column.name) for cost in costs]
        known = [value for value in column_values if isinstance(value, float)]
        values[column.name] = statistics.median(known) if known else column_values[0]
    return Cost(**values)  # type: ignore[arg-type]


def table(document: dict[str, object]) -> str:
    """The one table, and whether the bars hold."""
    gotax, peers = document["gotax"], document["peers"]
    machine, load = document["machine"], document["load"]
    assert isinstance(gotax, dict)
    assert isinstance(peers, list)
    assert isinstance(machine, dict)
    assert isinstance(load, dict)
    title = (
        f"{machine['cpus']} CPUs, Linux {machine['kernel']}, {machine['machine']};"
        f" {load['processes']} Go processes using {load['cpu_s_per_minute']:.1f} CPU s/min;"
        f" {document['hz']} Hz; ratios are gotax / the other"
    )
    head = (
        f"{'':24}{'CPU s/min':>11}{'ratio':>8}{'PSS MB':>9}{'ratio':>8}"
        f"{'kernel us/sample':>18}{'gotax beside':>14}{'ratio':>8}{'samples/s':>11}"
    )
    lines = [title, "", head]
    for row in (gotax, *peers):
        is_peer = row is not gotax
        cells = [
            f"{row['name']:24}",
            _cell(row["cpu_s_per_minute"], 11, 3),
            _cell(_ratio(gotax, row, "cpu_s_per_minute") if is_peer else None, 8, 2),
            _cell(row["pss_mb"], 9, 1),
            _cell(_ratio(gotax, row, "pss_mb") if is_peer else None, 8, 2),
            _cell(row["kernel_us_per_sample"], 18, 2),
            _cell(row["gotax_kernel_us_per_sample"] if is_peer else None, 14, 2),
            _cell(row["kernel_ratio"] if is_peer else None, 8, 2),
            _cell(row["samples_per_s"], 11, 1),
        ]
        lines.append("".join(cells).rstrip())
    missing = document["missing"]
    assert isinstance(missing, list)
    lines += [f"{peer['name']:24}  skipped: {peer['reason']}" for peer in missing]
    return "\n".join([*lines, "", *_bars(gotax, peers)])


def _bars(gotax: dict[str, float], peers: list[dict[str, float]]) -> list[str]:
    walks = [p["kernel_ratio"] for p in peers if str(p["name"]).startswith("bcc, two")]
    checks = [
        ("CPU seconds a minute", gotax["cpu_s_per_minute"], BARS["cpu_s_per_minute"]),
        ("PSS in MB", gotax["pss_mb"], BARS["pss_mb"]),
        *(
            ("kernel time against bcc's two walks", ratio, BARS["kernel_ratio"])
            for ratio in walks
            if ratio
        ),
    ]
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
