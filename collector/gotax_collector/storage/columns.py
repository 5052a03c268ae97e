"""The columns of the tables ``windows`` and ``stacks``, each with its type and its value.

A new column is one line here. The tables (schema.py) and the rows (rows.py) are made from these
lists. Existing stores also need a step in schema.MIGRATIONS. Add a new column at the end: rows in
the journal have no column names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gotax_collector.report import Category, ContainerIdentity, Frame, Observation, Report

COUNT_MAX = (1 << 32) - 1  # the maximum of a UInt32
KINDS = {"go": 0, "kernel": 1, "native": 2}


@dataclass(frozen=True, slots=True)
class Batch:
    """What all rows of one insert share. ``day`` is the partition."""

    day: str
    token: int


@dataclass(frozen=True, slots=True)
class Workload:
    """What a container belongs to: the object that a user applied, else a unit, else a program."""

    namespace: str
    kind: str
    name: str


def workload_of_other(identity: ContainerIdentity) -> Workload:
    """Of a container without Go: one of its own, so that it is not added to the Go containers of
    the same pod."""
    whole = workload_of(identity)
    part = identity.container or identity.command or "not Go"
    return Workload(whole.namespace, whole.kind, f"{whole.name}/{part}")


def workload_of(identity: ContainerIdentity) -> Workload:
    if identity.workload_name:
        return Workload(identity.namespace, identity.workload_kind, identity.workload_name)
    if identity.unit:
        return Workload(identity.namespace, "Unit", identity.unit)
    if program := identity.main_package or identity.main_module:
        return Workload(identity.namespace, "Program", program)
    return Workload(identity.namespace, "Container", identity.name)


@dataclass(frozen=True, slots=True)
class Row:
    """What all rows of a report share. ``ordinal`` 0 is the row of the node."""

    report: Report
    batch: Batch
    ordinal: int
    start_s: int
    received_s: int


@dataclass(frozen=True, slots=True)
class ContainerRow(Row):
    """One container with its samples. ``saving`` is that of the best finding: low, mid, high, and
    the GOMAXPROCS that gives it."""

    observation: Observation
    stacks: list[int]
    stack_samples: list[int]
    identity: ContainerIdentity = field(init=False)
    workload: Workload = field(init=False)
    labels: list[str] = field(init=False)
    costs: list[int] = field(init=False)
    group_ns: dict[str, int] = field(init=False)
    saving: tuple[float, float, float, int] = field(init=False)

    def __post_init__(self) -> None:
        observation, known = self.observation, self.report.categories
        categories = [known[number] for number in observation.category.tolist()]
        costs = observation.category_cpu_ns.tolist()
        group_ns: dict[str, int] = {}
        for category, cost in zip(categories, costs, strict=True):
            group_ns[category.group] = group_ns.get(category.group, 0) + cost
        put = object.__setattr__
        put(self, "identity", observation.identity)
        found = workload_of if observation.is_go else workload_of_other
        put(self, "workload", found(observation.identity))
        put(self, "labels", [category.label for category in categories])
        put(self, "costs", costs)
        put(self, "group_ns", group_ns)
        put(self, "saving", _saving(observation))

    @property
    def program(self) -> str:
        return self.identity.main_package or self.identity.main_module or self.identity.command


def _saving(observation: Observation) -> tuple[float, float, float, int]:
    best = max(
        (
            f
            for f in observation.findings
            if f.saving_mid_cores is not None and f.remedy_gomaxprocs is not None
        ),
        key=lambda f: f.saving_mid_cores or 0.0,
        default=None,
    )
    if best is None:
        return 0.0, 0.0, 0.0, observation.recommended or 0
    return (
        *(best.saving_low_cores or 0.0, best.saving_mid_cores or 0.0),
        *(best.saving_high_cores or 0.0, best.remedy_gomaxprocs or observation.recommended or 0),
    )


@dataclass(frozen=True, slots=True)
class StackRow:
    workload: Workload
    number: int
    category: Category
    frames: tuple[Frame, ...]
    day: str


@dataclass(frozen=True, slots=True)
class WindowColumn:
    """A column of ``windows``. ``definition`` is ClickHouse's type and codec.

    ``node`` is the value in the row of the node; None stands for 0 or empty.
    """

    name: str
    definition: str
    value: Callable[[ContainerRow], object]
    node: Callable[[Row], object] | None = None

    def of_node(self, row: Row) -> object:
        return _zero(self.definition) if self.node is None else self.node(row)


@dataclass(frozen=True, slots=True)
class StackColumn:
    name: str
    definition: str
    value: Callable[[StackRow], object]


def definitions(columns: Iterable[WindowColumn | StackColumn]) -> str:
    """The columns as text for CREATE TABLE."""
    return ",".join(f"\n  {column.name} {column.definition}" for column in columns)


def _both(name: str, definition: str, value: Callable[[Row], object]) -> WindowColumn:
    return WindowColumn(name, definition, value, value)


def _zero(definition: str) -> object:
    if definition.startswith(("Array", "Map")):
        return {} if definition.startswith("Map") else []
    return "" if "String" in definition else 0


_TEXT = "LowCardinality(String)"
_TEXTS = "Array(LowCardinality(String))"
_NAME = "String CODEC(ZSTD(1))"
_UINT32 = "UInt32 CODEC(ZSTD(1))"
_UINT64 = "UInt64 CODEC(ZSTD(1))"
_NUMBERS = "Array(UInt64) CODEC(ZSTD(1))"
_FLOAT = "Float32 CODEC(ZSTD(1))"
_TIME = "DateTime('UTC') CODEC(DoubleDelta, ZSTD(1))"
_COUNTS = "Map(LowCardinality(String), UInt64)"
_LISTS = "Array(Array(String)) CODEC(ZSTD(1))"

EXPLAINED = (
    WindowColumn("finding_cause", _TEXTS, lambda row: [f.cause for f in row.observation.findings]),
    WindowColumn(
        "finding_confidence", _TEXTS, lambda row: [f.confidence for f in row.observation.findings]
    ),
    WindowColumn(
        "finding_evidence", _LISTS, lambda row: [f.evidence for f in row.observation.findings]
    ),
    WindowColumn(
        "finding_patches", _LISTS, lambda row: [f.patches for f in row.observation.findings]
    ),
)
"""Since version 3. A row of an older store has none of them: fewer than it has findings."""

WINDOWS = (
    _both("stored", "Date", lambda row: row.batch.day),
    _both("batch", _UINT64, lambda row: row.batch.token),
    _both("agent", _TEXT, lambda row: row.report.sender.agent),
    _both("epoch", _UINT64, lambda row: row.report.epoch),
    _both("sequence", "UInt64 CODEC(Delta, ZSTD(1))", lambda row: row.report.sequence),
    _both("ordinal", "UInt16 CODEC(ZSTD(1))", lambda row: row.ordinal),
    _both("node", _TEXT, lambda row: row.report.sender.node),
    _both("version", _TEXT, lambda row: row.report.sender.version),
    _both("kernel", _TEXT, lambda row: row.report.sender.kernel),
    _both("architecture", _TEXT, lambda row: row.report.sender.architecture),
    _both("start", _TIME, lambda row: row.start_s),
    _both("received", _TIME, lambda row: row.received_s),
    _both("duration_ns", _UINT64, lambda row: row.report.duration_ns),
    _both("period_ns", _UINT64, lambda row: row.report.period_ns),
    _both("cpu_count", _UINT32, lambda row: row.report.cpu_count),
    WindowColumn("namespace", _TEXT, lambda row: row.workload.namespace),
    WindowColumn("kind", _TEXT, lambda row: row.workload.kind, lambda _: "Node"),
    WindowColumn("workload", _TEXT, lambda row: row.workload.name),
    WindowColumn("pod", _NAME, lambda row: row.identity.pod),
    WindowColumn("container", _TEXT, lambda row: row.identity.container or row.identity.name),
    WindowColumn("container_id", _NAME, lambda row: row.identity.container_id),
    WindowColumn("name", _NAME, lambda row: row.identity.name, lambda row: row.report.sender.node),
    WindowColumn("image", _TEXT, lambda row: row.identity.image),
    WindowColumn("go", _TEXT, lambda row: row.identity.go_version),
    WindowColumn("program", _TEXT, lambda row: row.program),
    WindowColumn("program_version", _TEXT, lambda row: row.identity.main_version),
    WindowColumn("command", _TEXT, lambda row: row.identity.command),
    WindowColumn("process_count", _UINT32, lambda row: row.observation.process_count),
    WindowColumn("gomaxprocs", _UINT32, lambda row: row.observation.gomaxprocs or 0),
    WindowColumn("origin", _TEXT, lambda row: row.observation.origin),
    WindowColumn("expected", _UINT32, lambda row: row.observation.expected or 0),
    WindowColumn("recommended", _UINT32, lambda row: row.observation.recommended or 0),
    WindowColumn("limit_cores", _FLOAT, lambda row: row.observation.limit_cores or 0.0),
    WindowColumn("request_cores", _FLOAT, lambda row: row.observation.request_cores or 0.0),
    WindowColumn("usage_ns", _UINT64, lambda row: row.observation.usage_ns or 0),
    WindowColumn("periods", _UINT32, lambda row: min(row.observation.periods or 0, COUNT_MAX)),
    WindowColumn(
        "throttled_periods",
        _UINT32,
        lambda row: min(row.observation.throttled_periods or 0, COUNT_MAX),
    ),
    WindowColumn("throttled_ns", _UINT64, lambda row: row.observation.throttled_ns or 0),
    WindowColumn(
        "samples",
        _UINT64,
        lambda row: int(row.observation.category_samples.sum()),
        lambda row: row.report.samples_drained,
    ),
    WindowColumn("cpu_ns", _UINT64, lambda row: row.observation.cpu_ns),
    WindowColumn("scheduler_ns", _UINT64, lambda row: row.group_ns.get("scheduler", 0)),
    WindowColumn("gc_ns", _UINT64, lambda row: row.group_ns.get("gc", 0)),
    WindowColumn("service_ns", _UINT64, lambda row: row.group_ns.get("service", 0)),
    WindowColumn("user_ns", _UINT64, lambda row: row.group_ns.get("user", 0)),
    WindowColumn("category", _TEXTS, lambda row: row.labels),
    WindowColumn("category_ns", _NUMBERS, lambda row: row.costs),
    WindowColumn("verdict", _TEXT, lambda row: row.observation.verdict),
    WindowColumn("finding", _TEXTS, lambda row: [f.code for f in row.observation.findings]),
    WindowColumn(
        "finding_severity", _TEXTS, lambda row: [f.severity for f in row.observation.findings]
    ),
    WindowColumn("finding_title", _TEXTS, lambda row: [f.title for f in row.observation.findings]),
    WindowColumn(
        "finding_remedy", _TEXTS, lambda row: [f.remedy for f in row.observation.findings]
    ),
    WindowColumn("saving_low", _FLOAT, lambda row: row.saving[0]),
    WindowColumn("saving_mid", _FLOAT, lambda row: row.saving[1]),
    WindowColumn("saving_high", _FLOAT, lambda row: row.saving[2]),
    WindowColumn("target", _UINT32, lambda row: row.saving[3]),
    WindowColumn("lost", _COUNTS, lambda _: {}, lambda row: dict(row.report.lost)),
    WindowColumn("dropped", _COUNTS, lambda _: {}, lambda row: dict(row.report.dropped)),
    WindowColumn("stack", "Array(UInt64) CODEC(ZSTD(3))", lambda row: row.stacks),
    WindowColumn("stack_samples", _NUMBERS, lambda row: row.stack_samples),
    *EXPLAINED,
)
STACKS = (
    StackColumn("namespace", _TEXT, lambda row: row.workload.namespace),
    StackColumn("kind", _TEXT, lambda row: row.workload.kind),
    StackColumn("workload", _TEXT, lambda row: row.workload.name),
    StackColumn("stack", "UInt64", lambda row: row.number),
    StackColumn("category", _TEXT, lambda row: row.category.label),
    StackColumn("group", _TEXT, lambda row: row.category.group),
    StackColumn(
        "functions",
        "Array(LowCardinality(String)) CODEC(ZSTD(1))",
        lambda row: [f.function for f in row.frames],
    ),
    StackColumn(
        "files",
        "Array(LowCardinality(String)) CODEC(ZSTD(1))",
        lambda row: [f.file for f in row.frames],
    ),
    StackColumn(
        "kinds",
        "Array(UInt8) CODEC(ZSTD(1))",
        lambda row: [KINDS.get(f.kind, 0) for f in row.frames],
    ),
    StackColumn("seen", "Date", lambda row: row.day),
)
