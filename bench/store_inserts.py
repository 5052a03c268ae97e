"""The cost of storing a fleet's reports: decoding, checking, and inserting into the embedded
engine.

python -m bench.store_inserts [--agents 100] [--rounds 20] [--batch 8]

Every agent has 30 Go containers of 0.35 cores, sampled 19 times a second, and reports each minute:
real messages of the wire format with their dictionary, interned per stream. A container's stacks
are drawn from 600 with Zipf's law. 1,000 agents send 16.7 reports a second; their cost is given in
cores, from the CPU time of the whole process, including merges in the background and without the
network.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gotax.wire.v1 import ingest_pb2
from gotax.wire.v1 import report_pb2 as wire
from gotax_collector.ingest.decoding import Decoder, parse_request
from gotax_collector.report import Report, Sender
from gotax_collector.storage.clickhouse import Address, Connections
from gotax_collector.storage.schema import Retention
from gotax_collector.storage.store import ClickHouseStore, prepare

from bench.fleet_queries import sizes

CONTAINERS, WORKLOADS, POOL = 30, 300, 600
SAMPLES = 400  # 0.35 cores at 19 Hz, a minute
FLEET_REPORTS_S = 1000 / 60
WARM_UP = 5
SECOND = 1_000_000_000
CATEGORIES = (
    *(("user", "user"), ("scheduler/find-work", "scheduler"), ("scheduler/wake", "scheduler")),
    *(("scheduler/park", "scheduler"), ("gc/mark-background", "gc"), ("gc/assist", "gc")),
    *(("alloc", "service"), ("chan", "service"), ("syscall", "service"), ("netpoll", "scheduler")),
)
_ROOTS = (
    ("runtime.goexit", "net/http.(*conn).serve", "net/http.serverHandler.ServeHTTP"),
    ("runtime.mcall", "runtime.park_m", "runtime.schedule", "runtime.findRunnable"),
    ("runtime.goexit", "runtime.gcBgMarkWorker", "runtime.systemstack", "runtime.gcDrain"),
)


@dataclass(frozen=True, slots=True)
class Pool:
    """Stacks of one workload: functions root first, and a category each."""

    stacks: tuple[tuple[str, ...], ...]
    categories: tuple[int, ...]
    weights: np.ndarray


def pool_of(workload: int) -> Pool:
    noise = np.random.default_rng(workload)
    stacks, categories = [], []
    for rank in range(POOL):
        category = int(noise.choice(len(CATEGORIES), p=_CATEGORY_WEIGHTS))
        root = _ROOTS[1 if 1 <= category <= 3 else 2 if 4 <= category <= 5 else 0]
        depth = int(noise.integers(3, 20)) if root is _ROOTS[0] else int(noise.integers(0, 4))
        own = tuple(
            f"example.com/service{workload}/internal/part{noise.integers(12)}.(*Worker).Step{d}_"
            f"{noise.integers(4)}"
            for d in range(depth)
        )
        stacks.append((*root, *own, f"runtime.leaf{rank % 90}"))
        categories.append(category)
    weights = 1 / (1 + np.arange(POOL))
    return Pool(tuple(stacks), tuple(categories), weights / weights.sum())


_CATEGORY_WEIGHTS = [0.45, 0.15, 0.05, 0.05, 0.08, 0.03, 0.08, 0.03, 0.06, 0.02]


class Agent:
    """Encodes like the agent: entries that were sent before are referred to by their ids."""

    def __init__(self, number: int, pools: dict[int, Pool]) -> None:
        self.number = number
        self.noise = np.random.default_rng(1000 + number)
        self.sequence = 0
        workloads = [(number * 7 + index * 11) % WORKLOADS for index in range(CONTAINERS)]
        self.workloads = workloads
        self.pools = [pools.setdefault(w, pool_of(w)) for w in workloads]
        self.strings: dict[str, int] = {"": 0}
        self.functions: dict[str, int] = {}
        self.frames: dict[tuple[int, int], int] = {}
        self.stacks: dict[tuple[int, int], int] = {}

    def report(self, start_s: int) -> bytes:
        """A StreamRequest in the wire format."""
        self.sequence += 1
        new = wire.Dictionary(reset=self.sequence == 1)
        if self.sequence == 1:
            self._introduce(new)
        window = wire.Window(
            start_unix_ns=start_s * SECOND,
            duration_ns=60 * SECOND,
            period_ns=SECOND // 19,
            cpu_count=64,
        )
        for index, pool in enumerate(self.pools):
            self._observe(new, window.containers.add(), index, pool)
        attributed = sum(sum(each.category_samples) for each in window.containers)
        window.samples_drained = window.samples_attributed = attributed
        report = wire.Report(epoch=7, sequence=self.sequence, dictionary=new, window=window)
        packed = zlib.compress(report.SerializeToString(), 6)
        return ingest_pb2.StreamRequest(zlib_report=packed).SerializeToString()

    def _introduce(self, new: wire.Dictionary) -> None:
        for label, group in CATEGORIES:
            new.categories.add(label=label, group=group)
        for index, workload in enumerate(self.workloads):
            name = f"service-{workload:03d}"
            pod = f"{name}-{self.number:04x}{index:02x}"
            container = new.containers.add()
            for field, text in (
                *(("name", f"ns-{workload % 20}/{pod}/app"), ("namespace", f"ns-{workload % 20}")),
                *(("pod", pod), ("container", "app"), ("workload_kind", "Deployment")),
                *(("workload_name", name), ("image", f"registry.local/{name}:1")),
                *(("container_id", f"{self.number:032x}{index:032x}"), ("go_version", "go1.25.3")),
                *(("main_module", f"example.com/{name}"), ("cgroup", f"/kubepods/pod{pod}")),
            ):
                setattr(container, field, self._string(new, text))

    def _observe(
        self, new: wire.Dictionary, seen: wire.Observation, index: int, pool: Pool
    ) -> None:
        drawn = self.noise.multinomial(self.noise.poisson(SAMPLES), pool.weights)
        samples: dict[int, int] = {}
        by_category: dict[int, int] = {}
        for rank in np.flatnonzero(drawn).tolist():
            stack = self._stack(new, pool, rank)
            samples[stack] = samples.get(stack, 0) + int(drawn[rank])
            category = pool.categories[rank] + 1
            by_category[category] = by_category.get(category, 0) + int(drawn[rank])
        ids = sorted(samples)
        seen.container = index + 1
        seen.cpu_ns = int(drawn.sum()) * (SECOND // 19)
        seen.category.extend(sorted(by_category))
        seen.category_samples.extend(by_category[category] for category in sorted(by_category))
        seen.stack.extend(np.diff([0, *ids]).tolist())
        seen.stack_samples.extend(samples[stack] for stack in ids)
        seen.process_count = 1
        seen.gomaxprocs.value = 64 if index % 3 == 0 else 2
        seen.gomaxprocs.recommended = 1
        seen.cpu.limit_ucores = 1_000_000
        seen.cpu.periods = 600
        seen.cpu.throttled_periods = int(self.noise.integers(20))
        seen.cpu.usage_ns = seen.cpu_ns
        seen.verdict = wire.VERDICT_OVERSIZED if index % 3 == 0 else wire.VERDICT_FITS
        if index % 3 == 0:
            finding = seen.findings.add(severity=wire.SEVERITY_WARNING)
            finding.code = self._string(new, "GT001")
            finding.title = self._string(new, "GOMAXPROCS is above the CPU limit, and it costs")
            finding.remedy = self._string(new, "start it with GOMAXPROCS=1 in its environment")
            finding.saving.mid_ucores = 50_000

    def _string(self, new: wire.Dictionary, text: str) -> int:
        if text not in self.strings:
            self.strings[text] = len(self.strings)
            new.strings.append(text)
        return self.strings[text]

    def _stack(self, new: wire.Dictionary, pool: Pool, rank: int) -> int:
        parent = 0
        for function in pool.stacks[rank]:
            if function not in self.functions:
                self.functions[function] = len(self.functions) + 1
                new.function_name.append(self._string(new, function))
            key = (parent, self.functions[function])
            if key not in self.frames:
                self.frames[key] = len(self.frames) + 1
                new.frame_parent.append(self.frames[key] - parent)
                new.frame_function.append(key[1])
            parent = self.frames[key]
        leaf = (parent, pool.categories[rank] + 1)
        if leaf not in self.stacks:
            self.stacks[leaf] = len(self.stacks) + 1
            new.stack_frame.append(parent)
            new.stack_category.append(leaf[1])
        return self.stacks[leaf]


def batches(received: Sequence[Report], size: int) -> Iterator[Sequence[Report]]:
    for index in range(0, len(received), size):
        yield received[index : index + size]


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / (1 << 20)


@dataclass(slots=True)
class Spent:
    decode_s: float = 0.0
    insert_s: float = 0.0
    reports: int = 0
    stack_counts: int = 0
    wire_bytes: int = 0
    resident_mib: float = 0.0


def run(agents: Sequence[Agent], rounds: int, batch: int, store: ClickHouseStore) -> Spent:
    """After some rounds that are not counted, in which most stacks are new to the store."""
    decoders = [Decoder(Sender(f"agent-{a.number}", f"node-{a.number}", "0", "6", "amd64"))
                for a in agents]  # fmt: skip
    spent = Spent()
    begin = int(time.time()) - (rounds + WARM_UP) * 60
    for round_ in range(rounds + WARM_UP):
        messages = [agent.report(begin + round_ * 60) for agent in agents]
        before = cpu_s()
        received = []
        for decoder, message in zip(decoders, messages, strict=True):
            report = parse_request(message)
            assert isinstance(report, wire.Report)
            received.append(decoder.decode(report, len(message), time.time_ns()))
        between = cpu_s()
        for part in batches(received, batch):
            store.insert(part)
        after = cpu_s()
        if round_ < WARM_UP:
            continue
        spent.decode_s += between - before
        spent.insert_s += after - between
        spent.reports += len(received)
        spent.stack_counts += sum(len(each.stack_counts) for each in received)
        spent.wire_bytes += sum(len(message) for message in messages)
        spent.resident_mib = max(spent.resident_mib, resident_mib())
    return spent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.store_inserts", description=__doc__)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20, help="reports of each (20)")
    parser.add_argument("--batch", type=int, default=8, help="reports of one insert (8)")
    parser.add_argument("--memory-mib", type=int, default=1024, help="of the engine (1024)")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="gotax-inserts-"))
    try:
        connections = Connections(Address(folder=folder, memory_bytes=options.memory_mib << 20))
        prepare(connections, Retention())
        store = ClickHouseStore(connections, folder)
        pools: dict[int, Pool] = {}
        agents = [Agent(number, pools) for number in range(options.agents)]
        print(f"resident before the first insert {resident_mib():,.0f} MiB")
        spent = run(agents, options.rounds, options.batch, store)
        before = cpu_s()
        for table in ("windows", "hours", "workload_hours", "stack_hours", "ledger", "stacks"):
            connections.command(f"OPTIMIZE TABLE {table} FINAL")
        merge_s = cpu_s() - before
        _tell(spent, merge_s, options.batch)
        for line in sizes(connections):
            print(line)
        store.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _tell(spent: Spent, merge_s: float, batch: int) -> None:
    fleet = FLEET_REPORTS_S / spent.reports
    rows = spent.reports * (CONTAINERS + 1)
    busy = spent.decode_s + spent.insert_s
    print(
        f"{spent.reports} reports, {batch} to a batch: {rows:,} rows,"
        f" {spent.stack_counts:,} stack counts"
    )
    print(
        f"on the wire {spent.wire_bytes / spent.reports / CONTAINERS:,.0f} bytes a container-minute"
    )
    for name, seconds in (
        ("decoding", spent.decode_s),
        ("inserting, with merges meanwhile", spent.insert_s),
        ("merging the rest at the end", merge_s),
    ):
        print(f"{name:<34}{seconds:>7.2f} s of CPU, {seconds * fleet:.3f} cores for 1,000 agents")
    print(f"{'all':<34}{busy + merge_s:>7.2f} s of CPU, {(busy + merge_s) * fleet:.3f} cores")
    print(
        f"one core carries {spent.reports / (busy + merge_s) * 60:,.0f} agents,"
        f" {rows / busy:,.0f} rows a second"
    )
    print(f"resident at most {spent.resident_mib:,.0f} MiB, {len(CATEGORIES)} categories")


if __name__ == "__main__":
    sys.exit(main())
