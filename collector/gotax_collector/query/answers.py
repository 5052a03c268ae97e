"""The results of queries: plain values, independent of their encoding.

Cores are CPU seconds per second over the time of the answer. Shares are of a workload's CPU time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gotax_collector.query.facets import Facets
from gotax_collector.query.steps import Gap, Hour

GROUPS = ("user", "scheduler", "gc", "service", "native", "unknown")
"""What a page can draw. Each category comes with its group from the agent that counted it."""

_NOT_IN_JSON = {"json": False}


def drawn_group(group: str) -> str:
    """``unknown`` for a group of a newer agent."""
    return group if group in GROUPS else "unknown"


@dataclass(frozen=True, slots=True)
class Span:
    """What time the numbers are of, in Unix seconds, and from which table.

    It is the time that was asked for, as far as there are reports: from the first to the end of
    the last, of hourly sums with the whole of the hour in which it begins. Without any it is what
    was asked for. ``covered_s`` is how much of it some agent has reported: averages are over that.
    """

    since: int
    until: int
    table: str
    covered_s: int

    @property
    def seconds(self) -> int:
        return max(1, self.covered_s)


@dataclass(frozen=True, slots=True)
class Consumption:
    """CPU of a group of containers. ``containers`` is how many there were at a time, on average.

    ``saving_cores`` is (low, mid, high) as the agents predicted, None where they predicted nothing.
    """

    containers: float
    cores: float
    runtime_cores: float
    scheduler_share: float
    gc_share: float
    throttled_share: float
    saving_cores: tuple[float, float, float] | None

    @property
    def runtime_share(self) -> float:
        return self.runtime_cores / self.cores if self.cores else 0.0


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """What containers of a workload had in their last window.

    ``state`` is ``current``, or ``silent`` where the agents of all of them have stopped reporting.
    ``title`` and ``remedy`` are those of one of the containers.
    """

    code: str
    severity: str
    state: str
    containers: int
    title: str
    remedy: str
    cause: str


@dataclass(frozen=True, slots=True)
class TopRow:
    """A workload. ``limit_cores`` and ``recommended`` are the largest seen, 0 for none.
    Both are 0 where the limit could not be read: without a limit the CPUs are recommended.

    ``gomaxprocs`` are all values seen, ascending, 0 for unreadable; ``findings`` all codes seen.
    ``open_findings`` are those of the end of the time, warnings first; None where the windows that
    show them are no longer kept. ``earlier_runtime_share``: a day earlier, for a longer time as
    much earlier as it is long; None if the workload was not seen then.
    """

    namespace: str
    kind: str
    workload: str
    consumption: Consumption
    gomaxprocs: tuple[int, ...]
    recommended: int
    target: int
    limit_cores: float
    go: tuple[str, ...]
    findings: tuple[str, ...]
    open_findings: tuple[OpenFinding, ...] | None
    earlier_runtime_share: float | None


@dataclass(frozen=True, slots=True)
class Top:
    """Workloads, those first whose runtime takes most; ``total`` and ``workloads`` are of all.

    ``resolved`` are the newest of ``resolved_count`` findings that ended in the last day.
    ``worst_cores`` are those of the runtime in the ten of all that use most.
    """

    span: Span
    rows: tuple[TopRow, ...]
    workloads: int
    total: Consumption
    facets: Facets = field(metadata=_NOT_IN_JSON)
    worst_cores: float = field(metadata=_NOT_IN_JSON)
    resolved: tuple[Resolved, ...] = field(metadata=_NOT_IN_JSON)
    resolved_count: int = field(metadata=_NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class Contrast:
    """A mean beside another: the second less the first, its 95 % interval, and ``p``.

    ``p`` is Welch's, after Holm where there are several. All None where one side has fewer than
    two samples.
    """

    change: float
    low: float | None
    high: float | None
    p: float | None

    @property
    def is_sure(self) -> bool:
        return self.p is not None and self.p < 0.05


@dataclass(frozen=True, slots=True)
class Side:
    """One group of a comparison: ``label`` is its value (``192``, ``node-7``, ``go1.25.0``).

    Means and standard deviations are over the samples; cores are per container. ``runtime`` and
    ``runtime_cores`` are what it differs by from the reference, None for the reference itself.
    """

    label: str
    samples: int
    nodes: int
    containers: float
    cores: float
    runtime_share: float
    runtime_deviation: float
    scheduler_share: float
    gc_share: float
    runtime_cores: float
    cpu_count: int
    gomaxprocs: tuple[int, ...]
    limit_cores: float
    runtime: Contrast | None
    runtime_cost: Contrast | None


@dataclass(frozen=True, slots=True)
class Compared:
    """``by`` is what the sides differ in; ``unit`` says what one sample is."""

    span: Span
    by: str
    unit: str
    sides: tuple[Side, ...]
    reference: str


@dataclass(frozen=True, slots=True)
class Variant:
    """0 and "" stand for unknown; ``limit_cores`` 0 for none."""

    gomaxprocs: int
    go: str
    image: str
    limit_cores: float


@dataclass(frozen=True, slots=True)
class Changed:
    """A container of a workload of which one variant gave way to another at ``at`` (Unix seconds),
    on nodes of ``cpu_count`` CPUs before and after.

    Samples are hours: CPU per container, and the runtime's share of it. With ``work`` (units a
    second before and after) ``cpu_per_unit`` is in seconds of CPU of these containers.
    """

    namespace: str
    kind: str
    workload: str
    container: str
    cpu_count: int
    at: int
    what: tuple[str, ...]
    before: Variant
    after: Variant
    hours: tuple[int, int]
    cores: tuple[float, float]
    cores_change: Contrast
    runtime_share: tuple[float, float]
    runtime_change: Contrast
    containers: tuple[float, float]
    work: tuple[float, float] | None
    cpu_per_unit: tuple[float, float] | None
    cpu_per_unit_change: Contrast | None


@dataclass(frozen=True, slots=True)
class Uncompared:
    """A Go version or image that gave way to another, and no hours before and after are alike.

    ``cpu_counts`` are the CPUs of the nodes before and after. ``reason`` is ``other-nodes`` or
    ``too-few-samples``.
    """

    namespace: str
    kind: str
    workload: str
    container: str
    at: int
    what: tuple[str, ...]
    before: Variant
    after: Variant
    cpu_counts: tuple[tuple[int, ...], tuple[int, ...]]
    reason: str


@dataclass(frozen=True, slots=True)
class Changes:
    span: Span
    rows: tuple[Changed, ...]
    uncompared: tuple[Uncompared, ...]


@dataclass(frozen=True, slots=True)
class StackTime:
    """``functions`` root first."""

    functions: tuple[str, ...]
    category: str
    cpu_ns: int
    group: str = field(default="unknown", metadata=_NOT_IN_JSON)


@dataclass(frozen=True, slots=True)
class Profile:
    """Stacks with the CPU time that their samples stand for.

    ``rest_ns`` is the time of stacks that were too many to fetch, each with less than those here;
    ``stacks`` is how many there were in all.
    """

    span: Span
    stacks: tuple[StackTime, ...]
    stack_count: int
    rest_ns: int

    @property
    def cpu_ns(self) -> int:
        return sum(stack.cpu_ns for stack in self.stacks) + self.rest_ns


@dataclass(frozen=True, slots=True)
class FunctionTime:
    """``flat_ns``: the function itself; ``cumulative_ns``: and all it called."""

    function: str
    flat_ns: int
    cumulative_ns: int


@dataclass(frozen=True, slots=True)
class Functions:
    span: Span
    rows: tuple[FunctionTime, ...]
    cpu_ns: int


@dataclass(frozen=True, slots=True)
class FunctionDifference:
    """Shares of the CPU time of either selection."""

    function: str
    flat: tuple[float, float]
    cumulative: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Differences:
    """Functions whose own share changed most."""

    spans: tuple[Span, Span]
    rows: tuple[FunctionDifference, ...]
    cpu_ns: tuple[int, int]


@dataclass(frozen=True, slots=True)
class LatestFinding:
    """What was found, and whether it still holds.

    ``state`` is ``current``: in the last window of ``containers`` that run; ``silent``: in the last
    window of ``containers`` whose agents have stopped reporting; ``ended``: no container that runs
    has it, it was last seen at ``until`` (Unix seconds). ``why`` of an ended one is ``mended``
    (containers run without it), ``gone`` (none of the workload runs any more), or
    ``too-few-samples`` (GT014 took its place).

    ``explained`` is of the container that had it last, None where its windows do not say.
    ``fixed``: what it brought, of one that was mended and of which a saving was predicted.
    """

    code: str
    severity: str
    title: str
    remedy: str
    containers: int
    state: str
    until: int
    why: str
    explained: Explained | None = None
    fixed: Fixed | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """One finding of one workload that has ended."""

    namespace: str
    kind: str
    workload: str
    finding: LatestFinding


@dataclass(frozen=True, slots=True)
class Explained:
    """What an agent said of a finding in one window: ``evidence`` are sentences, ``patches`` can be
    applied as they are, the best first. ``at`` is in Unix seconds, ``expected`` and
    ``recommended`` are 0 for unknown."""

    cause: str
    confidence: str
    evidence: tuple[str, ...]
    patches: tuple[str, ...]
    name: str
    node: str
    cpu_count: int
    gomaxprocs: int
    origin: str
    expected: int
    recommended: int
    at: int


@dataclass(frozen=True, slots=True)
class Fixed:
    """Cores of the scheduler and the GC in all containers of the workload that run now.

    ``before`` and ``after`` are of up to an hour on either side; ``predicted`` is the saving that
    agents predicted, of as many containers.
    """

    before: float
    after: float
    predicted: float
    change: Contrast

    @property
    def saved(self) -> float:
        return self.before - self.after


@dataclass(frozen=True, slots=True)
class WorkloadAnswer:
    """One workload: its row of the top list, the time by category, and what was found."""

    row: TopRow
    span: Span
    hours: tuple[Hour, ...]
    gaps: tuple[Gap, ...]
    categories: Mapping[str, float]
    findings: tuple[LatestFinding, ...]
    images: tuple[str, ...]
    groups: Mapping[str, str] = field(default_factory=dict, metadata=_NOT_IN_JSON)

    def group_of(self, category: str) -> str:
        return self.groups.get(category, "unknown")
