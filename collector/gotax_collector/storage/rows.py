"""A report as rows of the tables ``windows`` and ``stacks`` (schema.py), in JSONCompactEachRow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gotax_collector.report import (
    Category,
    Identity,
    Observation,
    Received,
    UInt64Array,
)

WINDOW_COLUMNS = (
    *("stored", "batch", "agent", "epoch", "sequence", "ordinal"),
    *("node", "version", "kernel", "architecture"),
    *("start", "received", "duration_ns", "period_ns", "cpu_count"),
    *("namespace", "kind", "workload", "pod", "container", "container_id", "name", "image"),
    *("go", "program", "program_version", "command", "process_count"),
    *("gomaxprocs", "origin", "expected", "recommended", "limit_cores", "request_cores"),
    *("usage_ns", "periods", "throttled_periods", "throttled_ns"),
    *("hits", "cpu_ns", "scheduler_ns", "gc_ns", "service_ns", "user_ns"),
    *("category", "category_ns", "verdict"),
    *("finding", "finding_severity", "finding_title", "finding_remedy"),
    *("saving_low", "saving_mid", "saving_high", "target"),
    *("lost", "dropped", "stack", "stack_hits"),
)
STACK_COLUMNS = (
    *("namespace", "kind", "workload", "stack", "category", "group"),
    *("functions", "files", "kinds", "seen"),
)
KINDS = {"go": 0, "kernel": 1, "native": 2}
_GROUPS = ("scheduler", "gc", "service", "user")
_COUNT_MAX = (1 << 32) - 1  # of columns that are UInt32

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Batch:
    """What the rows of one insert have in common. ``day`` is the store's partition."""

    day: str
    token: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What a fleet counts together: what a user applied, else a unit, else a program."""

    namespace: str
    kind: str
    name: str


def workload_of(identity: Identity) -> Workload:
    if identity.workload_name:
        return Workload(identity.namespace, identity.workload_kind, identity.workload_name)
    if identity.unit:
        return Workload(identity.namespace, "Unit", identity.unit)
    if program := identity.main_package or identity.main_module:
        return Workload(identity.namespace, "Program", program)
    return Workload(identity.namespace, "Container", identity.name)


def window_lines(report: Received, batch: Batch) -> Iterator[str]:
    """A line for the node, and one for each container."""
    sender = report.sender
    received = _seconds(report.received_unix_ns)
    shared = (
        *(sender.node, sender.version, sender.kernel, sender.architecture),
        # A clock that is ahead would put the window where no question looks.
        *(min(_seconds(report.start_unix_ns), received), received),
        *(report.duration_ns, report.period_ns, report.cpu_count),
    )
    key = (sender.agent, report.epoch, report.sequence)
    yield _encode((batch.day, batch.token, *key, 0, *shared, *_node_columns(report)))
    stacks = stack_ids(report)
    bounds = np.searchsorted(report.samples.container, np.arange(len(report.containers) + 1))
    groups = [category.group for category in report.categories]
    labels = [category.label for category in report.categories]
    for index, observation in enumerate(report.containers):
        part = slice(bounds[index], bounds[index + 1])
        columns = _container_columns(observation, labels, groups)
        yield _encode(
            (
                *(batch.day, batch.token, *key, index + 1, *shared, *columns, {}, {}),
                *(stacks[part].tolist(), report.samples.hits[part].tolist()),
            )
        )


def stack_ids(report: Received) -> UInt64Array:
    """Of each sample: the stack's hash and what the time there counts as, in one number."""
    if not len(report.samples):
        return np.zeros(0, np.uint64)
    salts = np.array([_salt(category.label) for category in report.categories], np.uint64)
    ids: UInt64Array = report.samples.stack_hash ^ salts[report.samples.category]
    return ids


def stack_line(
    report: Received, workload: Workload, stack: tuple[int, int, Category], day: str
) -> str:
    """``stack`` is (id, hash, category)."""
    number, stack_hash, category = stack
    frames = report.stacks.frames(stack_hash)
    return _encode(
        (
            *(workload.namespace, workload.kind, workload.name, number),
            *(category.label, category.group),
            *([f.function for f in frames], [f.file for f in frames]),
            *([KINDS.get(f.kind, 0) for f in frames], day),
        )
    )


class KnownStacks:
    """Which (workload, stack) the store has been told lately, in a fixed piece of memory.

    A table without chains: what meets another in its place takes it. To forget is harmless, the
    store is told once more.
    """

    _SIZE = 1 << 21  # 16 MiB

    def __init__(self) -> None:
        self._table = np.zeros(self._SIZE, np.uint64)

    def unknown(self, keys: UInt64Array) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self._table[keys & np.uint64(self._SIZE - 1)] != keys
        return found

    def add(self, keys: UInt64Array) -> None:
        self._table[keys & np.uint64(self._SIZE - 1)] = keys


def workload_salt(workload: Workload, period: int) -> int:
    """Makes a stack of two workloads two keys; ``period`` makes it a new one now and then."""
    return _salt(f"{workload.namespace}\0{workload.kind}\0{workload.name}\0{period}")


@lru_cache(maxsize=8192)
def _salt(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _node_columns(report: Received) -> tuple[object, ...]:
    """From ``namespace`` on. ``hits`` are all that were drained."""
    return (
        *("", "Node", "", "", "", "", report.sender.node, ""),
        *("", "", "", "", 0),
        *(0, "", 0, 0, 0, 0),
        *(0, 0, 0, 0),
        *(report.hits_drained, 0, 0, 0, 0, 0),
        *([], [], ""),
        *([], [], [], []),
        *(0, 0, 0, 0),
        *(dict(report.lost), dict(report.dropped), [], []),
    )


def _container_columns(
    seen: Observation, labels: Sequence[str], groups: Sequence[str]
) -> tuple[object, ...]:
    """From ``namespace`` to ``target``."""
    who, workload = seen.identity, workload_of(seen.identity)
    categories = seen.category.tolist()
    costs = seen.category_cpu_ns.tolist()
    by_group = dict.fromkeys(_GROUPS, 0)
    for category, cost in zip(categories, costs, strict=True):
        if groups[category] in by_group:
            by_group[groups[category]] += cost
    best = max(
        (f for f in seen.findings if f.saving_mid_cores is not None),
        key=lambda f: f.saving_mid_cores or 0.0,
        default=None,
    )
    saving = (0.0, 0.0, 0.0, seen.recommended or 0)
    if best is not None:
        saving = (
            *(best.saving_low_cores or 0.0, best.saving_mid_cores or 0.0),
            *(best.saving_high_cores or 0.0, best.remedy_gomaxprocs or seen.recommended or 0),
        )
    return (
        *(workload.namespace, workload.kind, workload.name, who.pod, who.container or who.name),
        *(who.container_id, who.name, who.image, who.go_version),
        *(who.main_package or who.main_module or who.command, who.main_version, who.command),
        *(seen.process_count, seen.gomaxprocs or 0, seen.origin, seen.expected or 0),
        *(seen.recommended or 0, seen.limit_cores or 0.0, seen.request_cores or 0.0),
        *(seen.usage_ns or 0, min(seen.periods or 0, _COUNT_MAX)),
        *(min(seen.throttled_periods or 0, _COUNT_MAX), seen.throttled_ns or 0),
        *(int(seen.category_hits.sum()), seen.cpu_ns, *by_group.values()),
        *([labels[category] for category in categories], costs, seen.verdict),
        [f.code for f in seen.findings],
        [f.severity for f in seen.findings],
        [f.title for f in seen.findings],
        [f.remedy for f in seen.findings],
        *saving,
    )


def _seconds(unix_ns: int) -> int:
    """As a DateTime holds it: from 1970 to 2106."""
    return max(0, min(unix_ns // 1_000_000_000, _COUNT_MAX))
