"""Reports as the receiver hands them to the store, made up."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gotax_collector.report import (
    Category,
    ContainerIdentity,
    Finding,
    Frame,
    Observation,
    Report,
    Sender,
    StackCounts,
    UInt64Array,
)

SECOND = 1_000_000_000
CATEGORIES = (
    Category("user", "user"),
    Category("scheduler/find-work", "scheduler"),
    Category("gc/mark-idle", "gc"),
    Category("alloc", "service"),
)
NOW = int(time.time()) // 3600 * 3600 - 3600
"""The beginning of the last full hour: all of a test's windows are in one."""


@dataclass(frozen=True, slots=True)
class Known:
    """``Stacks`` of plain tuples."""

    by_hash: dict[int, tuple[Frame, ...]]

    @property
    def hashes(self) -> UInt64Array:
        return np.array(sorted(self.by_hash), np.uint64)

    def frames(self, stack_hash: int) -> tuple[Frame, ...]:
        return self.by_hash[stack_hash]


@dataclass(frozen=True, slots=True)
class Sampled:
    """``stack`` is root first, names with ; between; samples of ``category``, an index."""

    stack: str
    category: int
    samples: int


@dataclass(frozen=True, slots=True)
class Seen:
    """A container of a report, as far as tests care."""

    identity: ContainerIdentity
    stack_counts: tuple[Sampled, ...]
    gomaxprocs: int | None = 4
    recommended: int | None = 1
    limit_cores: float | None = 1.0
    cpu_ns: int | None = None
    verdict: str = "fits"
    findings: tuple[Finding, ...] = ()


def web(name: str = "web", node: str = "n1", **more: str) -> ContainerIdentity:
    return ContainerIdentity(
        name=f"shop/{name}-{node}/app",
        namespace="shop",
        pod=f"{name}-{node}",
        container="app",
        workload_kind="Deployment",
        workload_name=name,
        image=more.get("image", f"registry/{name}:1"),
        go_version=more.get("go", "go1.24.1"),
        main_package=f"example.com/{name}",
    )


OVERSIZED = Finding(
    code="GT001",
    severity="warning",
    confidence="high",
    cause="environment",
    title="GOMAXPROCS is above the CPU limit, and this costs CPU for it",
    remedy="start it with GOMAXPROCS=1 in its environment",
    remedy_gomaxprocs=1,
    saving_low_cores=0.1,
    saving_mid_cores=0.2,
    saving_high_cores=0.3,
    evidence=(
        "GOMAXPROCS is 192, the number of CPUs, Go's default; the CPU limit is 1.0 (1 fits)",
        "scheduler and GC take 36.0 % of its CPU time (95 % interval 30 % to 42 %, 900 samples)",
    ),
    patches=(
        "# kubectl -n shop patch deployment web --patch-file FILE\nspec:\n  template: {}\n",
        "go 1.25.0\n",
    ),
)


def sender(agent: str = "a1", node: str = "n1") -> Sender:
    return Sender(agent, node, "0.1.0", "6.1.0", "amd64")


def report(
    source: Sender,
    sequence: int,
    seen: Sequence[Seen],
    start_s: int = NOW,
    epoch: int = 7,
    duration_s: int = 60,
    cpu_count: int = 8,
) -> Report:
    """A minute, or another time, received right after it."""
    period = SECOND // 19
    known: dict[int, tuple[Frame, ...]] = {}
    containers, columns = [], []
    for index, one in enumerate(seen):
        for sampled in sorted(one.stack_counts, key=lambda s: s.stack):
            number = stack_hash(sampled.stack)
            known[number] = frames(sampled.stack)
            columns.append((index, sampled.category, number, sampled.samples))
        containers.append(_observation(one, period))
    stack_counts = StackCounts(
        np.array([c[0] for c in columns], np.int32),
        np.array([c[1] for c in columns], np.int32),
        np.array([c[2] for c in columns], np.uint64),
        np.array([c[3] for c in columns], np.int64),
    )
    samples = int(stack_counts.samples.sum())
    return Report(
        sender=source,
        epoch=epoch,
        sequence=sequence,
        received_unix_ns=(start_s + duration_s) * SECOND,
        start_unix_ns=start_s * SECOND,
        duration_ns=duration_s * SECOND,
        period_ns=period,
        cpu_count=cpu_count,
        samples_drained=samples + 3,
        samples_attributed=samples,
        samples_other=0,
        lost=(("process-gone", 3),),
        dropped=(),
        categories=CATEGORIES,
        containers=tuple(containers),
        stack_counts=stack_counts,
        stacks=Known(known),
        wire_bytes=1000,
    )


def _observation(one: Seen, period: int) -> Observation:
    by_category = [0] * len(CATEGORIES)
    for sampled in one.stack_counts:
        by_category[sampled.category] += sampled.samples
    total = sum(by_category)
    cpu_ns = total * period if one.cpu_ns is None else one.cpu_ns
    present = [index for index, samples in enumerate(by_category) if samples]
    costs = [by_category[index] * cpu_ns // total for index in present]
    if costs:
        costs[0] += cpu_ns - sum(costs)
    return Observation(
        identity=one.identity,
        cpu_ns=cpu_ns,
        category=np.array(present, np.int32),
        category_samples=np.array([by_category[index] for index in present], np.int64),
        category_cpu_ns=np.array(costs, np.int64),
        process_count=1,
        gomaxprocs=one.gomaxprocs,
        origin="cpu-count",
        expected=None,
        recommended=one.recommended,
        verdict=one.verdict,
        limit_cores=one.limit_cores,
        request_cores=None,
        usage_ns=cpu_ns,
        periods=600,
        throttled_periods=6,
        throttled_ns=SECOND,
        findings=one.findings,
    )


def frames(stack: str) -> tuple[Frame, ...]:
    return tuple(Frame(name, "", 0, "go") for name in stack.split(";") if name)


def stack_hash(stack: str) -> int:
    digest = hashlib.blake2b(stack.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") if stack else 0
