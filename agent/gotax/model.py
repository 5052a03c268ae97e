"""The values that travel: plain, frozen, and ignorant of how they are encoded.

Glossary. A *hit* is one timer interrupt that found a thread on a CPU; it stands for
``Window.period_ns`` of CPU time. A *sample* is a distinct (process, user stack, kernel stack)
with its number of hits. A *frame* is one function activation, inlined or not; a *location* is one
machine address with its chain of frames. A *window* is everything learned in one tick. A *loss*
is a hit that could not be attributed, under a named reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Int64Array: TypeAlias = npt.NDArray[np.int64]
Int32Array: TypeAlias = npt.NDArray[np.int32]
UInt64Array: TypeAlias = npt.NDArray[np.uint64]
UInt8Array: TypeAlias = npt.NDArray[np.uint8]


class Group(Enum):
    """What a category counts as in the one-line answer."""

    USER = "user"
    SCHEDULER = "scheduler"
    GC = "gc"
    SERVICE = "service"  # runtime work done at the program's request: allocation, channels, ...
    NATIVE = "native"
    UNKNOWN = "unknown"


class Category(IntEnum):
    """Where one hit's CPU time went. Each hit has exactly one.

    The values index columns and never leave the process; ``label`` is the stable public name.
    docs/categories.md lists what falls into each and its source in Go's runtime.
    """

    label: str
    group: Group

    def __new__(cls, value: int, label: str, group: Group) -> Category:
        member = int.__new__(cls, value)
        member._value_ = value
        member.label = label
        member.group = group
        return member

    USER = 0, "user", Group.USER
    SCHED_FIND_WORK = 1, "scheduler/find-work", Group.SCHEDULER  # idle spinning, work stealing
    SCHED_WAKE = 2, "scheduler/wake", Group.SCHEDULER  # making another thread run
    SCHED_PARK = 3, "scheduler/park", Group.SCHEDULER  # putting this thread to sleep
    SCHED_SWITCH = 4, "scheduler/switch", Group.SCHEDULER  # goroutine switches, creation, exit
    SCHED_PREEMPT = 5, "scheduler/preempt", Group.SCHEDULER
    SCHED_SYSMON = 6, "scheduler/sysmon", Group.SCHEDULER
    GC_MARK_DEDICATED = 7, "gc/mark-dedicated", Group.GC
    GC_MARK_FRACTIONAL = 8, "gc/mark-fractional", Group.GC
    GC_MARK_IDLE = 9, "gc/mark-idle", Group.GC
    GC_MARK_BACKGROUND = 10, "gc/mark-background", Group.GC  # a worker whose mode is not visible
    GC_ASSIST = 11, "gc/assist", Group.GC
    GC_WRITE_BARRIER = 12, "gc/write-barrier", Group.GC
    GC_SWEEP = 13, "gc/sweep", Group.GC
    GC_SCAVENGE = 14, "gc/scavenge", Group.GC
    GC_STW = 15, "gc/stop-the-world", Group.GC  # and the coordination of a cycle
    GC_FINALIZERS = 16, "gc/finalizers", Group.GC
    NETPOLL = 17, "netpoll", Group.SCHEDULER
    TIMERS = 18, "timers", Group.SCHEDULER
    ALLOC = 19, "alloc", Group.SERVICE
    CHAN = 20, "chan", Group.SERVICE
    LOCKS = 21, "locks", Group.SERVICE
    SYSCALL = 22, "syscall", Group.SERVICE  # and kernel work done for user code
    STACK_GROWTH = 23, "stack-growth", Group.SERVICE
    CGO = 24, "cgo", Group.NATIVE
    RUNTIME_OTHER = 25, "runtime-other", Group.SERVICE
    NATIVE = 26, "native", Group.NATIVE  # a process that is not Go
    UNKNOWN = 27, "unknown", Group.UNKNOWN


CATEGORY_COUNT = len(Category)
RUNTIME_GROUPS = frozenset({Group.SCHEDULER, Group.GC})
"""What ``runtime_share`` adds up: work the Go runtime does on its own account."""


class FrameKind(Enum):
    GO = "go"
    KERNEL = "kernel"
    NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Frame:
    """One function activation. ``line`` 0 and ``file`` "" mean unknown."""

    function: str
    file: str = ""
    line: int = 0
    start_line: int = 0
    kind: FrameKind = FrameKind.GO
    inlined: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """One address of one module. ``frames`` is the inline chain, innermost first, never empty.

    ``address`` is the module's link-time address (for the kernel: the runtime address).
    """

    module: str
    build_id: str
    address: int
    frames: tuple[Frame, ...]


Stack: TypeAlias = tuple[Location, ...]
"""Leaf first; kernel locations, if any, come before the user locations that caused them."""


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module from the build info: path and version (``v1.2.3``, ``(devel)``).

    ``replaced_by``: the module or folder whose code is there instead (a replace line of go.mod).
    """

    path: str
    version: str
    replaced_by: Module | None = None


@dataclass(frozen=True, slots=True)
class GoBuild:
    """What a Go binary says of itself. ``version`` is ``go1.26.8``; "" when it does not say.

    ``cgo``: it was built with cgo, by its settings or, where it has none, by what is linked.
    """

    version: str
    main: Module = Module("", "")
    package: str = ""
    dependencies: tuple[Module, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    cgo: bool = False

    def setting(self, key: str) -> str:
        """A ``build`` line of the build info (``DefaultGODEBUG``, ``-race``), or ""."""
        return next((v for k, v in self.settings if k == key), "")

    def dependency(self, path: str) -> Module | None:
        return next((m for m in self.dependencies if m.path == path), None)


class Origin(Enum):
    """Where a process's GOMAXPROCS came from."""

    ENVIRONMENT = "environment"
    AUTOMAXPROCS = "automaxprocs"
    CALL = "call"  # runtime.GOMAXPROCS(n) in the program
    CONTAINER = "container-default"  # Go >= 1.25 read the cgroup limit
    CPU_COUNT = "cpu-count"  # the CPUs the process may run on
    FIXED = "fixed-default"  # 1: what Go before 1.5 starts with
    UNKNOWN = "unknown"


class Ignored(Enum):
    """Why Go's runtime does not follow the CPU limit of its cgroup."""

    OLD_GO = "go-before-1.25"
    GO_MOD = "go.mod-before-1.25"
    GODEBUG = "godebug"  # of the environment
    DEBUG_LINE = "go-debug-line"  # built in
    HIDDEN = "cgroup-hidden"


class Binding(Enum):
    """What bounds the number of CPUs that a process can use."""

    QUOTA = "quota"  # the CPU limit of a cgroup
    CPUSET = "cpuset"  # of its cgroup
    AFFINITY = "affinity"  # of the process: fewer CPUs than its cpuset has, as far as that is known
    HOST = "host"  # the CPUs there are


class Automaxprocs(Enum):
    """Whether automaxprocs is linked in."""

    NONE = "none"
    KNOWN = "known"  # of a version whose rules are known
    FORK = "fork"  # other code in its place, by a replace line of go.mod
    UNVERSIONED = "unversioned"  # the build does not say which version it is


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What a process started here would have if one thing were another, by the rules.

    None: the rules do not say, or the thing is not there to be changed. A call of
    runtime.GOMAXPROCS in the program comes on top. ``unset``: without the variable GOMAXPROCS.
    ``no_godebug``: without containermaxprocs in the variable GODEBUG. ``godebug``: with
    containermaxprocs=1 in it. ``go_line``: built with the same Go and a go line of 1.25 in go.mod.
    ``go_1_25``, ``go_1_26``: built with that Go and that line. ``own_limit``: with the limit on its
    own cgroup.
    """

    unset: int | None = None
    no_godebug: int | None = None
    godebug: int | None = None
    go_line: int | None = None
    go_1_25: int | None = None
    go_1_26: int | None = None
    own_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Gomaxprocs:
    """``value`` as read from the process (None: unreadable, ``reason`` says why).

    ``recommended`` is what fits the container: the CPU limit rounded up, at least 1, at most the
    CPUs the process may use. ``bound_by`` is what gives that number, several where they give the
    same. ``expected`` is what a process started like this one has here by the
    rules of its Go version and of automaxprocs, None for an unknown version; ``rule`` says which
    rule gave it. A program that calls runtime.GOMAXPROCS itself may have another value.
    ``ignored`` is why the runtime by itself would not follow the limit, None if it would.
    ``updates``: the runtime looks again at the limit and the CPUs while it runs.
    ``variable`` is what the variable GOMAXPROCS asks for, None if it is not set or Go ignores it;
    ``variable_is_set``: it is there, whatever it holds; None: the environment was not read.
    """

    value: int | None
    origin: Origin
    recommended: int | None
    expected: int | None = None
    rule: str = ""
    reason: str = ""
    ignored: Ignored | None = None
    automaxprocs: Automaxprocs = Automaxprocs.NONE
    bound_by: tuple[Binding, ...] = ()
    updates: bool = False
    variable: int | None = None
    variable_is_set: bool | None = False
    otherwise: Otherwise = Otherwise()


@dataclass(frozen=True, slots=True)
class RuntimeState:
    """What a Go runtime says of itself, as read from the process; None: not read.

    ``idle_ps``: Ps without work, at most GOMAXPROCS. ``gogc``: as debug.SetGCPercent takes it, -1
    for off. ``memory_limit_bytes``: as debug.SetMemoryLimit takes it, 2**63 - 1 for none; None
    before Go 1.19. ``gc_cycles``: completed since the start, modulo 2**32.
    """

    idle_ps: int | None = None
    gogc: int | None = None
    memory_limit_bytes: int | None = None
    gc_cycles: int | None = None


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """CPU bandwidth of a cgroup and of all its ancestors.

    ``limit_cores`` is the tightest quota/period on the path, None for no limit, and
    ``limit_cgroup`` the cgroup that sets it. ``leaf_limit_cores`` is the leaf's own: all that Go
    and automaxprocs look at. ``cpuset_cgroup`` is the highest cgroup on the path with the same
    ``cpuset_cpus`` as the leaf, None where the leaf has all CPUs of the host or no cpuset is to be
    seen. ``shares`` is cgroup v1's cpu.shares, ``weight`` v2's cpu.weight.
    """

    limit_cores: float | None = None
    limit_cgroup: str | None = None
    leaf_limit_cores: float | None = None
    cpuset_cpus: int | None = None
    shares: int | None = None
    weight: int | None = None
    cpuset_cgroup: str | None = None


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """The kernel's own counters of a cgroup since its creation; None where it has none."""

    usage_ns: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """What a user applied to get a pod: ``Deployment/web``, ``CronJob/report``, ``Pod/toolbox``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class CpuResources:
    """CPU of one container as Kubernetes has it; None where it says nothing."""

    request_cores: float | None = None
    limit_cores: float | None = None


@dataclass(frozen=True, slots=True)
class PodContainer:
    """A container as people name it.

    ``kind`` is container, init, sidecar (an init container that keeps running) or ephemeral.
    ``desired`` is what the pod's spec asks for, ``current`` what the kubelet has set (they differ
    while an in-place resize is pending). ``silence`` is the value of the pod's gotax annotation.
    ``ended``: another container has taken its place, or none will.
    """

    namespace: str
    pod: str
    container: str
    pod_uid: str
    node: str
    image: str
    kind: str
    workload: Workload
    desired: CpuResources = CpuResources()
    current: CpuResources = CpuResources()
    silence: str = ""
    ended: bool = False

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.pod}/{self.container}"

    @property
    def names(self) -> frozenset[str]:
        """What people may call it by."""
        spaced = (self.pod, self.workload, self.workload.name)
        return frozenset(
            (self.path, self.pod, str(self.workload), *(f"{self.namespace}/{n}" for n in spaced))
        )


@dataclass(frozen=True, slots=True)
class Container:
    """Who a group of processes is: a container, a systemd unit, or a bare cgroup.

    ``key`` is unique on the node and stable while the container lives; ``name`` is for people.
    ``nested`` is for a part of one that has a CPU limit of its own (a Docker container in a pod, a
    step of Slurm's): the path of its cgroup below that of the container or unit, else "".
    """

    key: str
    name: str
    cgroup: str
    container_id: str | None = None
    pod_uid: str | None = None
    runtime: str | None = None
    unit: str | None = None
    pod: PodContainer | None = None  # once Kubernetes has told
    nested: str = ""

    def named(self, whole: str, pod: PodContainer | None = None) -> Container:
        """Under the name of the whole container or unit, followed by the part that this is."""
        name = whole
        if self.nested:
            name += (" \u203a " if self.container_id else "/") + self._short_nested
        return replace(self, name=name, pod=pod)

    @property
    def label(self) -> str:
        """What tells it from others of its pod, else from others of its node, in one word.

        ``app:docker:0123456789ab`` for a part of the pod's container ``app``: Kubernetes' names
        have no colon, and every backend takes one.
        """
        if self.pod is None:
            return self.name
        if not self.nested:
            return self.pod.container
        part = re.sub(r"[^A-Za-z0-9._:-]", "_", self._short_nested.replace("/", ":"))
        return f"{self.pod.container}:{part}"

    @property
    def _short_nested(self) -> str:
        return re.sub(r"[0-9a-f]{64}", lambda found: found[0][:12], self.nested)

    @property
    def short_id(self) -> str:
        """Tells it from others of the same name, as long as people like to see it.

        In the root cgroup, which is no group, each process is a container of its own. The key of
        a unit is its cgroup; its processes may be in several below.
        """
        if self.container_id:
            return self.container_id[:12]
        return self.key if self.cgroup == "/" or self.key.startswith("/") else self.cgroup


@dataclass(frozen=True, slots=True)
class Process:
    """(``pid``, ``start_ticks``) is the identity: a reused PID has another start time."""

    pid: int
    start_ticks: int
    command: str
    container: Container
    build: GoBuild | None = None
    gomaxprocs: Gomaxprocs | None = None
    runtime: RuntimeState | None = None

    @property
    def is_go(self) -> bool:
        return self.build is not None


OUTSIDE_NAMESPACE = "outside-namespace"


@dataclass(frozen=True, slots=True)
class HitCount:
    """Conservation: ``drained == attributed + sum(lost.values())``."""

    drained: int
    attributed: int
    lost: dict[str, int]

    @property
    def outside(self) -> int:
        """Of programs that this PID namespace does not show."""
        return self.lost.get(OUTSIDE_NAMESPACE, 0)


@dataclass(frozen=True, slots=True)
class Profile:
    """The samples of a window, columnar; all arrays have one entry per sample.

    ``process`` and ``stack`` index ``Window.processes`` and ``stacks``; ``category`` holds
    ``Category`` values; ``hits`` is at least 1.
    """

    process: Int32Array
    stack: Int32Array
    category: UInt8Array
    hits: Int64Array
    stacks: tuple[Stack, ...]

    def __len__(self) -> int:
        return len(self.hits)


@dataclass(frozen=True, slots=True)
class FunctionShare:
    """``flat_hits``: the function was the leaf; ``cumulative_hits``: it was on the stack."""

    function: str
    flat_hits: int
    cumulative_hits: int


class Severity(Enum):
    INFO = "info"
    WARNING = "warning"


class Verdict(Enum):
    """The one word for a container."""

    OVERSIZED = "oversized"  # GOMAXPROCS over the limit, and the profile shows the cost
    MISMATCH = "mismatch"  # GOMAXPROCS over the limit, cost below the threshold
    FITS = "fits"
    UNLIMITED = "unlimited"  # no CPU limit to compare with
    TOO_FEW_SAMPLES = "too-few-samples"
    UNREADABLE = "unreadable"  # GOMAXPROCS could not be read


class Confidence(Enum):
    """``HIGH``: read or proven by a 95 % interval. ``MEDIUM``: rests on a model or on a guess at
    the cause. ``LOW``: a hint to look at."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class Cause(Enum):
    """Why GOMAXPROCS is above what fits."""

    OLD_GO = "go-before-1.25"  # it does not look at CPU limits
    GO_MOD = "go.mod-before-1.25"  # a newer toolchain keeps the old defaults for such modules
    GODEBUG = "godebug"  # containermaxprocs=0 in the environment
    DEBUG_LINE = "go-debug-line"  # the same, built in by a //go:debug line or go.mod's godebug
    ENVIRONMENT = "environment"
    CALL = "call"
    AUTOMAXPROCS = "automaxprocs"  # linked in, and it did not find the limit or the CPUs
    ANCESTOR = "ancestor-limit"  # the tightest limit is above the cgroup that Go reads
    RESIZE = "resize"  # fitted an earlier limit, and stayed
    FEWER_CPUS = "fewer-cpus"  # fitted the CPUs it had when it started, and stayed
    HIDDEN = "cgroup-hidden"  # Go would follow the limit, but does not find its cgroup's files
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measurement behind a finding: a sentence, and the number in it.

    ``value`` is in ``unit`` (``share``, ``cores``, ``s``, ``count``), with its 95 % interval where
    there is one. ``window_s`` is the time it was measured over, None for what was just read.
    """

    text: str
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    window_s: float | None = None


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do. ``patch`` is ready to be applied (YAML, a systemd drop-in, a line), or "".

    ``gomaxprocs`` is the value it leads to, None where it is not about that.
    """

    text: str
    patch: str = ""
    gomaxprocs: int | None = None


@dataclass(frozen=True, slots=True)
class SavingSource:
    """One part of a predicted saving: ``name`` for people, ``cores`` below 0 where it costs."""

    name: str
    cores: float


@dataclass(frozen=True, slots=True)
class Saving:
    """What a change of GOMAXPROCS would save, in CPU cores at the same work.

    The saving lies between ``low`` and ``high`` in nine cases of ten and most likely near ``mid``;
    below 0 the change costs CPU. ``sources`` add up to ``mid``, largest first. ``cautions`` are
    sentences: where the change could cost latency or throughput, and how to check.
    """

    low: float
    mid: float
    high: float
    sources: tuple[SavingSource, ...] = ()
    cautions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """``code`` is stable, docs/findings.md explains it.

    ``cause`` only where GOMAXPROCS is too high.
    ``held_s``: for how long it has been found without a break.
    """

    code: str
    title: str
    severity: Severity
    confidence: Confidence
    evidence: tuple[Evidence, ...]
    remedy: Remedy
    saving: Saving | None = None
    cause: Cause | None = None
    held_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ContainerReport:
    """One Go container in one window. ``category_hits`` has ``CATEGORY_COUNT`` entries.

    ``process_hits`` goes with ``processes``. The verdict and the findings rest on this window and
    on those before it, back to the last change of the container; ``held_s`` is how long the
    verdict has been this one.
    """

    container: Container
    processes: tuple[Process, ...]
    category_hits: Int64Array
    functions: tuple[FunctionShare, ...]
    limit: CpuLimit
    usage: CpuUsage  # growth of the kernel's counters in this window
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    cpu_ns: int | None = None  # of its Go processes, by the kernel's account
    process_hits: tuple[int, ...] = ()
    held_s: float = 0.0
    drain_hits: tuple[int, ...] = ()  # in order, each of about the same time: how even the load was
    silenced: tuple[str, ...] = ()  # codes of findings that were asked not to be told
    saving: Saving | None = None  # of the recommended GOMAXPROCS, with or without a finding

    @property
    def hits(self) -> int:
        return int(self.category_hits.sum())

    @property
    def main_process(self) -> Process:
        """The Go process with the most hits: ``processes`` is sorted that way."""
        return self.processes[0]

    def share(self, *categories: Category) -> float:
        total = self.hits
        return sum(int(self.category_hits[c]) for c in categories) / total if total else 0.0

    def group_share(self, *groups: Group) -> float:
        return self.share(*(c for c in Category if c.group in groups))

    @property
    def runtime_share(self) -> float:
        return self.group_share(*RUNTIME_GROUPS)


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of one workload over some time, in one window or in several added up.

    ``duration_s`` is profiled time, of several containers the sum of theirs; ``cpu_ns`` is of its
    Go processes; ``category_hits`` has ``CATEGORY_COUNT`` entries. ``periods``,
    ``throttled_periods`` and ``throttled_ns`` are growth, None where the kernel does not count.
    The time falls into ``blocks`` of about the same length; ``cores_variance`` is the variance of
    their mean CPU, 0 for fewer than two.
    """

    duration_s: float
    cpu_ns: int
    category_hits: tuple[int, ...]
    usage: CpuUsage = CpuUsage()
    limit_cores: float | None = None
    gomaxprocs: int | None = None
    recommended: int | None = None
    go_version: str = ""
    blocks: int = 1
    cores_variance: float = 0.0

    @property
    def hits(self) -> int:
        return sum(self.category_hits)

    @property
    def cores(self) -> float:
        return self.cpu_ns / 1e9 / self.duration_s if self.duration_s > 0 else 0.0

    def hits_of(self, *groups: Group) -> int:
        return sum(self.category_hits[c] for c in Category if c.group in groups)

    @property
    def runtime_share(self) -> float:
        return self.hits_of(*RUNTIME_GROUPS) / self.hits if self.hits else 0.0

    @property
    def throttled_share(self) -> float | None:
        """Of the enforcement periods; None where there were none."""
        usage = self.usage
        if not usage.periods or usage.throttled_periods is None:
            return None
        return min(1.0, usage.throttled_periods / usage.periods)


@dataclass(frozen=True, slots=True)
class Growth:
    """A number before and after. ``low`` and ``high`` are the 95 % interval of ``change``, both
    None where nothing says how sure it is.
    """

    before: float
    after: float
    low: float | None = None
    high: float | None = None

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def is_sure(self) -> bool:
        """The interval does not hold 0."""
        return self.low is not None and self.high is not None and self.low * self.high > 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its 95 % interval; both ends None where nothing says how sure it is."""

    value: float
    low: float | None = None
    high: float | None = None


class Outcome(Enum):
    """What became of a predicted saving."""

    WITHIN = "within"
    BELOW = "below"  # saved less than the low end
    ABOVE = "above"  # saved more than the high end
    NOT_APPLIED = "not-applied"  # GOMAXPROCS is not what the prediction was for
    NOT_PREDICTED = "not-predicted"


@dataclass(frozen=True, slots=True)
class Work:
    """Units of work (requests, messages) a second, before and after."""

    before: float
    after: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One workload before and after a change.

    ``shares`` has a ``Growth`` for every group and ``categories`` for every category with hits,
    of shares of the hits. ``cpu_per_unit`` is in seconds. ``saving`` is what was saved, in cores:
    at the work of before where ``work`` is known, else as measured; ``predicted`` is what the
    findings of before had foretold. ``caveats`` say what the numbers do not show.
    """

    name: str
    matched_by: str
    before: Observation
    after: Observation
    cores: Growth
    runtime: Growth
    shares: tuple[tuple[Group, Growth], ...]
    categories: tuple[tuple[Category, Growth], ...]
    work: Work | None
    cpu_per_unit: Growth | None
    saving: Estimate
    predicted: Saving | None
    outcome: Outcome
    caveats: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """A workload whose GOMAXPROCS has changed, and what came of it.

    ``container`` is who it is now; ``unix_ns`` is when the comparison was made.
    """

    container: Container
    unix_ns: int
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Health:
    """gotax's own well-being. ``losses`` and ``drained`` count since the start."""

    drain_s: float = 0.0
    tick_s: float = 0.0
    cache_entries: dict[str, int] = field(default_factory=dict)
    cache_evictions: dict[str, int] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unjudged:
    """Programs of which it is not known whether they are Go: ``reason`` is why.

    ``hits`` are theirs. Of what ended before it was looked at (``process-gone``) ``processes``
    counts those with hits in the window.
    """

    reason: str
    processes: int
    hits: int


@dataclass(frozen=True, slots=True)
class Window:
    """Everything learned in one tick. ``start_unix_ns`` is wall time, ``duration_s`` monotonic."""

    host: str
    start_unix_ns: int
    duration_s: float
    period_ns: int
    cpu_count: int
    hits: HitCount
    processes: tuple[Process, ...]
    profile: Profile
    reports: tuple[ContainerReport, ...]  # Go containers, most hits first
    other_hits: int  # hits of processes that are not Go, as far as that is known
    health: Health = Health()
    changes: tuple[Change, ...] = ()  # of GOMAXPROCS, made in the last hour, newest first
    unjudged: tuple[Unjudged, ...] = ()  # most processes first; their hits are in other_hits, too
    judged: int = 0  # programs that were read, Go or not

    @property
    def native_hits(self) -> int:
        """Of programs that are known not to be Go."""
        return self.other_hits - sum(found.hits for found in self.unjudged)

    @property
    def hz(self) -> float:
        return 1e9 / self.period_ns

    def cpu_ns_of(self, report: ContainerReport) -> int:
        """CPU time of a container's Go processes: the kernel's account, else what hits stand for.

        Hits say what the time was spent on. How much it was, the kernel knows better: timer
        interrupts come a little late, and miss the ends of short runs.
        """
        return report.hits * self.period_ns if report.cpu_ns is None else report.cpu_ns

    def cores_of(self, report: ContainerReport) -> float:
        return self.cpu_ns_of(report) / 1e9 / self.duration_s if self.duration_s else 0.0

    def cpu_s(self, hits: int) -> float:
        return hits * self.period_ns / 1e9

    def cpu_cores(self, hits: int) -> float:
        return self.cpu_s(hits) / self.duration_s if self.duration_s else 0.0
