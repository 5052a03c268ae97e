"""A decoded and checked report, and the interface of a store.

Texts are valid UTF-8 of bounded length without control characters. Counts are from 0 to 2**62, and
indices are in range. Texts are still untrusted: a name may contain HTML, quotes, or any other
printable character.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gotax_collector.errors import CollectorError

Int32Array: TypeAlias = npt.NDArray[np.int32]
Int64Array: TypeAlias = npt.NDArray[np.int64]
UInt64Array: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Sender:
    """The agent that sent a report, as it described itself in its hello."""

    agent: str
    node: str
    version: str
    kernel: str
    architecture: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One function call of a stack. ``kind`` is go, kernel or native.

    ``line`` 0 and ``file`` "" mean unknown.
    """

    function: str
    file: str
    line: int
    kind: str


class Stacks(Protocol):
    """The distinct stacks of one report, each with a hash of its frames.

    A stack has the same hash in all reports of all agents. Hash 0 is the stack without frames.
    """

    @property
    def hashes(self) -> UInt64Array:
        """The hash of each stack once, ascending."""

    def frames(self, stack_hash: int) -> tuple[Frame, ...]:
        """The frames of one stack, root first. KeyError for a hash that is not in ``hashes``.

        This is slow: call it only for stacks that the store does not have yet. Any thread may call
        it, at any time after the report was received.
        """


@dataclass(frozen=True, slots=True)
class ContainerIdentity:
    """The names of a container. "" means unknown.

    ``name`` is the name to show and never "". ``key`` is unique on the node while the container
    lives. ``workload_kind`` and ``workload_name`` are what a user applied (Deployment, web). The
    reports of one stream share these objects.
    """

    name: str
    cgroup: str = ""
    namespace: str = ""
    pod: str = ""
    container: str = ""
    pod_uid: str = ""
    workload_kind: str = ""
    workload_name: str = ""
    container_id: str = ""
    image: str = ""
    unit: str = ""
    go_version: str = ""
    main_module: str = ""
    main_version: str = ""
    main_package: str = ""
    command: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """``severity``: info, warning, unknown. ``confidence``: low, medium, high, unknown.

    ``cause``, ``title`` and ``remedy`` may be "". Savings are in cores; a negative one is a cost.
    All three are None if there is no prediction. ``remedy_gomaxprocs`` is the GOMAXPROCS after the
    remedy. ``evidence`` are sentences. ``patches`` may have line feeds.
    """

    code: str
    severity: str
    confidence: str
    cause: str = ""
    title: str = ""
    remedy: str = ""
    remedy_gomaxprocs: int | None = None
    saving_low_cores: float | None = None
    saving_mid_cores: float | None = None
    saving_high_cores: float | None = None
    held_s: float = 0.0
    evidence: tuple[str, ...] = ()
    patches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Observation:
    """One Go container in one window, or one without Go that has findings.

    ``category`` indexes ``Report.categories``. ``category_samples`` and ``category_cpu_ns`` have an
    entry for each category. ``category_cpu_ns`` adds up to ``cpu_ns`` exactly. ``gomaxprocs`` None:
    unreadable.
    ``origin`` is environment, cri-o, automaxprocs, call, container-default, cpu-count,
    fixed-default or unknown. ``verdict`` is oversized, mismatch, fits, unlimited, too-few-samples,
    unreadable or unknown. ``limit_cores`` None: no limit. ``usage_ns`` (of all processes),
    ``periods``, ``throttled_periods`` and ``throttled_ns`` are the increase within the window. None
    means that the kernel does not count it. One without Go has the verdict not-go, no categories,
    and no ``cpu_ns``: its CPU time is none of the fleet's Go.
    """

    identity: ContainerIdentity
    cpu_ns: int
    category: Int32Array
    category_samples: Int64Array
    category_cpu_ns: Int64Array
    process_count: int
    gomaxprocs: int | None
    origin: str
    expected: int | None
    recommended: int | None
    verdict: str
    limit_cores: float | None
    request_cores: float | None
    usage_ns: int | None
    periods: int | None
    throttled_periods: int | None
    throttled_ns: int | None
    findings: tuple[Finding, ...]
    is_go: bool = True


@dataclass(frozen=True, slots=True)
class Category:
    """For example ``label`` scheduler/find-work, ``group`` scheduler (docs/categories.md)."""

    label: str
    group: str


@dataclass(frozen=True, slots=True)
class StackCounts:
    """The stack counts of a report as columns, sorted by container.

    ``container`` indexes ``Report.containers``. ``category`` indexes ``Report.categories``.
    ``stack_hash`` is one of ``Report.stacks.hashes``. ``samples`` is at least 1. No combination of
    the three occurs twice. There may be fewer samples here than in the categories, because the
    agent omits stacks if there are too many.
    """

    container: Int32Array
    category: Int32Array
    stack_hash: UInt64Array
    samples: Int64Array

    def __len__(self) -> int:
        return len(self.samples)


AHEAD_MAX_NS = 60 * 10**9
"""A window that began later than this after its arrival is of a clock that is ahead."""

AGE_MAX_NS = 31 * 86_400 * 10**9
"""A window that began longer ago is of a clock that is behind: by default a spool keeps a day. So
all rows of a batch are of three months at most, which are three partitions of a table."""


class Clock(StrEnum):
    """Of a node, by the collector's own. Less than these bounds cannot be told from a delay."""

    RIGHT = "right"
    AHEAD = "ahead"
    BEHIND = "behind"


@dataclass(frozen=True, slots=True)
class Report:
    """One window of one node, decoded. (``sender.agent``, ``epoch``, ``sequence``) identifies it.

    ``start_unix_ns`` is the node's clock, which may be wrong by any amount. ``received_unix_ns`` is
    the collector's. One sample stands for ``period_ns``. ``lost`` counts the samples that could not
    be attributed, by reason. ``dropped`` counts the windows since the start of the epoch that never
    reached a collector. The reports of a stream share ``categories`` until it grows.

    ``rows_bytes`` is an upper bound of its rows in the table ``windows``, ``stacks_bytes`` of those
    in ``stacks``.
    """

    sender: Sender
    epoch: int
    sequence: int
    received_unix_ns: int
    start_unix_ns: int
    duration_ns: int
    period_ns: int
    cpu_count: int
    samples_drained: int
    samples_attributed: int
    samples_other: int
    lost: tuple[tuple[str, int], ...]
    dropped: tuple[tuple[str, int], ...]
    categories: tuple[Category, ...]
    containers: tuple[Observation, ...]
    stack_counts: StackCounts
    stacks: Stacks
    wire_bytes: int
    others: tuple[Observation, ...] = ()  # without Go
    rows_bytes: int = 0
    stacks_bytes: int = 0

    @property
    def key(self) -> tuple[str, int, int]:
        return self.sender.agent, self.epoch, self.sequence

    @property
    def clock(self) -> Clock:
        ahead_ns = self.start_unix_ns - self.received_unix_ns
        if ahead_ns > AHEAD_MAX_NS:
            return Clock.AHEAD
        return Clock.BEHIND if -ahead_ns > AGE_MAX_NS else Clock.RIGHT

    @property
    def began_unix_ns(self) -> int:
        """When the window began, never after its arrival. If the node's clock is wrong, the window
        counts as the one before its arrival: any other time would be a guess too, and rows of
        other years would be where no question looks."""
        if self.clock is Clock.RIGHT:
            return min(self.start_unix_ns, self.received_unix_ns)
        return max(0, self.received_unix_ns - self.duration_ns)


class StoreError(CollectorError):
    """The store failed to take a batch and may take it later. The text is one sentence."""


class Store(Protocol):
    """A store of reports. Only one thread calls it."""

    @property
    def quarantined(self) -> int:
        """Batches that it could not use, and has set aside."""

    def insert(self, batch: Sequence[Report]) -> None:
        """Store the batch. After the return it survives the end of this process.

        Blocks until it is done. Each report is stored as a whole or not at all, and only once: a
        report whose ``key`` is already in the store, or earlier in the batch, changes nothing.
        StoreError: none or some of the batch was stored. The caller inserts the same batch again.
        """

    def close(self) -> None:
        """Release all resources. Idempotent."""
