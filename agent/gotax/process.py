"""Values about processes, their Go runtime, and their containers."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module from the build info: path and version (``v1.2.3``, ``(devel)``).

    ``replaced_by``: the module or folder that replaces it (a replace line of go.mod).
    """

    path: str
    version: str
    replaced_by: Module | None = None


@dataclass(frozen=True, slots=True)
class GoBuild:
    """The build info of a Go binary. ``version`` is ``go1.26.8``, or "" if missing.

    ``cgo``: built with cgo, by the build settings or, without settings, by the linked functions.
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
    CRIO = "cri-o"  # the variable, set by CRI-O from the CPU request
    AUTOMAXPROCS = "automaxprocs"
    CALL = "call"  # runtime.GOMAXPROCS(n) in the program
    CONTAINER = "container-default"  # Go >= 1.25 read the cgroup limit
    CPU_COUNT = "cpu-count"  # the CPUs the process may run on
    FIXED = "fixed-default"  # 1: the default of Go before 1.5
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
    AFFINITY = "affinity"  # of the process: fewer CPUs than its cpuset, if that is known
    HOST = "host"  # the CPUs of the host


class Automaxprocs(Enum):
    """Whether automaxprocs is linked in."""

    NONE = "none"
    KNOWN = "known"  # a version with known rules
    FORK = "fork"  # replaced by other code with a replace line of go.mod
    UNVERSIONED = "unversioned"  # the build does not say which version it is


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The GOMAXPROCS that the rules give if one condition is changed and the process restarted.

    None: the rules do not say, or the condition does not apply. A call of runtime.GOMAXPROCS in the
    program is not considered. ``unset``: without the variable GOMAXPROCS.
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
    CPUs the process may use; None where the limit could not be read. ``bound_by``: the bounds that
    give this number. ``expected`` is the value that the rules of the Go version and of automaxprocs
    give for this process, None for an unknown version or limit; ``rule`` is the rule that gave it.
    A program that calls runtime.GOMAXPROCS may have another value. ``ignored`` is why the runtime
    would not follow the limit, None if it would. ``updates``: the runtime checks the limit and the
    CPUs again while it runs. ``variable`` is the value of the variable GOMAXPROCS, None if it is
    not set or Go ignores it. ``variable_is_set``: the variable exists, with any value; None: the
    environment was not read.
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


NO_MEMORY_LIMIT = (1 << 63) - 1
"""The value of debug.SetMemoryLimit for no limit."""


@dataclass(frozen=True, slots=True)
class RuntimeState:
    """The state of a Go runtime, as read from the process; None: not read.

    ``idle_ps``: Ps without work, at most GOMAXPROCS. ``gogc``: as debug.SetGCPercent takes it, -1
    for off. ``memory_limit_bytes``: as debug.SetMemoryLimit takes it, 2**63 - 1 for none; None
    before Go 1.19. ``gc_cycles``: completed since the start, modulo 2**32.

    Since Go 1.20, after the first cycle: ``heap_goal_bytes``: the size that the heap might reach in
    the last cycle. ``live_heap_bytes``: what that cycle found in use. ``allocated_bytes``: all that
    was ever allocated. ``non_heap_bytes``: what else counts against the memory limit (stacks, the
    runtime's own data, gaps in the heap). ``root_bytes``: stacks in use and global variables, which
    GOGC counts like live data.
    """

    idle_ps: int | None = None
    gogc: int | None = None
    memory_limit_bytes: int | None = None
    gc_cycles: int | None = None
    heap_goal_bytes: int | None = None
    live_heap_bytes: int | None = None
    allocated_bytes: int | None = None
    non_heap_bytes: int | None = None
    root_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """CPU bandwidth of a cgroup and of all its ancestors.

    ``limit_cores`` is the tightest quota/period on the path, None for no limit, and
    ``limit_cgroup`` the cgroup that sets it. ``leaf_limit_cores`` is that of the leaf: Go and
    automaxprocs read only this one. ``cpuset_cgroup`` is the highest cgroup on the path with the
    same ``cpuset_cpus`` as the leaf, None if the leaf has all CPUs of the host or no cpuset is
    visible. ``shares`` is cgroup v1's cpu.shares, ``weight`` v2's cpu.weight. ``problem`` is why
    the limit could not be read, and the rest is not known then; "" if it was read.
    """

    limit_cores: float | None = None
    limit_cgroup: str | None = None
    leaf_limit_cores: float | None = None
    cpuset_cpus: int | None = None
    shares: int | None = None
    weight: int | None = None
    cpuset_cgroup: str | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of a container's cgroup, in bytes; None for no limit or an unknown number.

    ``limit_bytes`` is the tightest limit of the cgroup and all its ancestors, ``limit_cgroup`` the
    cgroup that sets it. ``own_limit_bytes``: that of the container itself, its ancestors left out.
    ``high_bytes``: v2's memory.high, the tightest one. The rest is of the cgroup that sets the
    own limit, else of the container's: ``working_set_bytes`` is the usage without files that the
    kernel may drop, and the events count since its creation. ``oom_kills`` counts those of the
    pod, if it is in one: a container that was killed gets a new cgroup.
    """

    limit_bytes: int | None = None
    limit_cgroup: str | None = None
    own_limit_bytes: int | None = None
    high_bytes: int | None = None
    usage_bytes: int | None = None
    working_set_bytes: int | None = None
    high_events: int | None = None
    max_events: int | None = None
    oom_kills: int | None = None


@dataclass(frozen=True, slots=True)
class CpuUsage:
    """The kernel's counters of a cgroup, None for a missing one: since the creation of the cgroup,
    or the growth over some time.
    """

    usage_ns: int | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_ns: int | None = None

    def __add__(self, other: CpuUsage) -> CpuUsage:
        """The delta in both times. A counter that only one of them knows is that one's."""
        return CpuUsage(
            _sum(self.usage_ns, other.usage_ns),
            _sum(self.periods, other.periods),
            _sum(self.throttled_periods, other.throttled_periods),
            _sum(self.throttled_ns, other.throttled_ns),
        )

    def __sub__(self, earlier: CpuUsage) -> CpuUsage:
        """The delta since ``earlier``. It is unknown where either is, and never negative."""
        return CpuUsage(
            _delta(self.usage_ns, earlier.usage_ns),
            _delta(self.periods, earlier.periods),
            _delta(self.throttled_periods, earlier.throttled_periods),
            _delta(self.throttled_ns, earlier.throttled_ns),
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return b if a is None else a if b is None else a + b


def _delta(now: int | None, earlier: int | None) -> int | None:
    return None if now is None or earlier is None else max(0, now - earlier)


@dataclass(frozen=True, slots=True)
class Workload:
    """The object behind a pod: ``Deployment/web``, ``CronJob/report``, ``Pod/toolbox``."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class CpuResources:
    """CPU request and limit of one container in Kubernetes; None if not set."""

    request_cores: float | None = None
    limit_cores: float | None = None


@dataclass(frozen=True, slots=True)
class PodContainer:
    """A container with its Kubernetes names.

    ``kind`` is container, init, sidecar (an init container that keeps running) or ephemeral.
    ``desired`` is what the pod's spec asks for, ``current`` what the kubelet has set (they differ
    while an in-place resize is pending). ``suppress`` is the value of the pod's gotax annotation.
    ``ended``: it was replaced, or its pod has ended.
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
    suppress: str = ""
    ended: bool = False

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.pod}/{self.container}"

    @property
    def names(self) -> frozenset[str]:
        """The names that a user can type for it."""
        spaced = (self.pod, self.workload, self.workload.name)
        return frozenset(
            (self.path, self.pod, str(self.workload), *(f"{self.namespace}/{n}" for n in spaced))
        )


@dataclass(frozen=True, slots=True)
class Container:
    """The container, systemd unit or bare cgroup of a group of processes.

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
    pod: PodContainer | None = None  # known once Kubernetes has answered
    nested: str = ""

    def named(self, whole: str, pod: PodContainer | None = None) -> Container:
        """A copy with the name of the whole container or unit, followed by its nested part."""
        name = whole
        if self.nested:
            name += (" \u203a " if self.container_id else "/") + self._short_nested
        return replace(self, name=name, pod=pod)

    @property
    def label(self) -> str:
        """Distinguishes it from others of its pod, else of its node, in one word.
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
        """A short ID that distinguishes it from others of the same name.

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
    parent: int = 0  # the PID when it was read

    @property
    def is_go(self) -> bool:
        return self.build is not None
