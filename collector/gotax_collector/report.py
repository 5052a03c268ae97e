"""A report as the collector has understood it, and what a store has to do with it.

Everything here is decoded, checked and resolved: texts are valid UTF-8 of bounded length without
control characters, counts are from 0 to 2**62, indices are in range. Texts still come from
strangers: a name may hold HTML, quotes, or anything else that prints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from gotax_collector.errors import CollectorError

Int32Array: TypeAlias = npt.NDArray[np.int32]
Int64Array: TypeAlias = npt.NDArray[np.int64]
UInt64Array: TypeAlias = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Sender:
    """Who streams, as the hello had it."""

    agent: str
    node: str
    version: str
    kernel: str
    architecture: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One function of a stack. ``kind`` is go, kernel or native.

    ``line`` 0 and ``file`` "" mean unknown.
    """

    function: str
    file: str
    line: int
    kind: str


class Stacks(Protocol):
    """The distinct stacks of one report, by a hash of what is in them: the same in all reports of
    all agents. 0 is the stack without frames."""

    @property
    def hashes(self) -> UInt64Array:
        """Of each stack once, ascending."""

    def frames(self, stack_hash: int) -> tuple[Frame, ...]:
        """Root first. KeyError for a hash that is not among ``hashes``.

        Cheap only for few: ask for those that the store does not know yet. May be called from any
        thread, at any time after the report was received.
        """


@dataclass(frozen=True, slots=True)
class ContainerIdentity:
    """Who a container is; "" for what is not known.

    ``name`` is for people and never ""; ``key`` is unique on the node while the container lives.
    ``workload_kind`` and ``workload_name`` are what a user applied (Deployment, web). Values are
    shared between the reports of a stream: compare by ``is`` first, if that helps.
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

    ``cause``, ``title`` and ``remedy`` may be "". Savings are in cores (below 0: it costs), all
    three None where nothing is predicted. ``remedy_gomaxprocs``: the value the remedy leads to.
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


@dataclass(frozen=True, slots=True)
class Observation:
    """One Go container in one window.

    ``category`` indexes ``Report.categories``; with it go ``category_hits`` and
    ``category_cpu_ns``, which adds up to ``cpu_ns`` exactly. ``gomaxprocs`` None: unreadable.
    ``origin`` is environment, automaxprocs, call, container-default, cpu-count, fixed-default or
    unknown. ``verdict`` is oversized, mismatch, fits, unlimited, too-few-samples, unreadable or
    unknown. ``limit_cores`` None: no limit. ``usage_ns`` (of all processes), ``periods``,
    ``throttled_periods`` and ``throttled_ns`` are growth in the window, None where the kernel does
    not count.
    """

    identity: ContainerIdentity
    cpu_ns: int
    category: Int32Array
    category_hits: Int64Array
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


@dataclass(frozen=True, slots=True)
class Category:
    """``label`` scheduler/find-work, ``group`` scheduler (docs/categories.md)."""

    label: str
    group: str


@dataclass(frozen=True, slots=True)
class Samples:
    """All samples of a report, columnar, sorted by container.

    ``container`` indexes ``Report.containers``, ``category`` ``Report.categories``;
    ``stack_hash`` is one of ``Report.stacks.hashes``; ``hits`` is at least 1. No combination of
    the three occurs twice. Samples may be fewer than the categories' hits (the agent cuts off
    stacks of which there are too many).
    """

    container: Int32Array
    category: Int32Array
    stack_hash: UInt64Array
    hits: Int64Array

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True)
class Report:
    """One window of one node. (``sender.agent``, ``epoch``, ``sequence``) is its identity.

    ``start_unix_ns`` is the node's clock, which may be wrong by any amount; ``received_unix_ns`` is
    the collector's. One hit stands for ``period_ns``. ``lost`` has the hits that could not be
    attributed, by reason, ``dropped`` the windows of this epoch that never reached a collector,
    counted since the epoch's start. ``categories`` is the same object in all reports of a stream
    until it grows.
    """

    sender: Sender
    epoch: int
    sequence: int
    received_unix_ns: int
    start_unix_ns: int
    duration_ns: int
    period_ns: int
    cpu_count: int
    hits_drained: int
    hits_attributed: int
    hits_other: int
    lost: tuple[tuple[str, int], ...]
    dropped: tuple[tuple[str, int], ...]
    categories: tuple[Category, ...]
    containers: tuple[Observation, ...]
    samples: Samples
    stacks: Stacks
    wire_bytes: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.sender.agent, self.epoch, self.sequence


class StoreError(CollectorError):
    """The store has not taken a batch, and may take it later. The text is one sentence."""


class Store(Protocol):
    """Where reports are kept. One thread calls it."""

    def insert(self, batch: Sequence[Report]) -> None:
        """Keep the batch for good: on return it survives whatever happens to this process.

        Blocks as long as it takes. Each report is kept wholly or not at all, and once: a report
        whose ``key`` is already there, in the store or earlier in the batch, changes nothing.
        StoreError: none or some of the batch was kept; the same batch will come again.
        """

    def close(self) -> None:
        """Let go of everything held. Idempotent."""
