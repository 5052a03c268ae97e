"""Values about processes, what Go says of itself in them, and the containers they run in."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum


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
    """The kernel's own counters of a cgroup, None where it has none: since the creation of the
    cgroup, or by how much they grew in some time.
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
