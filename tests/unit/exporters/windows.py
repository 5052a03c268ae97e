"""Small windows for the exporters' tests, consistent by construction.

A test states which process ran which stack how often; totals, shares and columns follow from it.
The pipeline does the same, but tests of exporters must not need it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from gotax.category import CATEGORY_COUNT, Category
from gotax.findings import (
    Cause,
    Confidence,
    Evidence,
    Finding,
    Remedy,
    Saving,
    SavingSource,
    Severity,
    Verdict,
    WaitCause,
)
from gotax.other import OtherUse, Recognised, ThreadGroup, Throttling
from gotax.process import (
    Binding,
    Container,
    CpuLimit,
    CpuUsage,
    GoBuild,
    Gomaxprocs,
    Memory,
    Module,
    Origin,
    PodContainer,
    Process,
    RuntimeState,
    Workload,
)
from gotax.profile import Frame, FrameKind, FunctionShare, Location, Profile, Stack
from gotax.recipe import Knob, Recipe
from gotax.waiting import Pressure, Waiting
from gotax.window import (
    Collections,
    ContainerReport,
    Health,
    OtherReport,
    SampleCount,
    Window,
)

PERIOD_NS = 52_631_578  # 19 Hz
ROOT = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod"
NO_LIMIT, NO_USAGE, NO_HEALTH = CpuLimit(), CpuUsage(), Health()
CPU_RULE = "the 192 CPUs the process may run on"
CONTAINER_RULE = "Go's container default: 1 cores rounded up, at least 2"
ENVIRONMENT_RULE = "GOMAXPROCS is set in the environment"
SRC = "/usr/local/go/src/runtime/"


@dataclass(frozen=True)
class Run:
    """One process ran one stack in one category this often."""

    stack: Stack
    category: Category
    samples: int


@dataclass(frozen=True)
class Load:
    """One process and its container's verdict; several loads may share a container."""

    process: Process
    runs: tuple[Run, ...]
    limit: CpuLimit = NO_LIMIT
    usage: CpuUsage = NO_USAGE
    verdict: Verdict = Verdict.UNLIMITED
    findings: tuple[Finding, ...] = ()
    held_s: float = 0.0
    suppressed: tuple[str, ...] = ()
    drain_samples: tuple[int, ...] = ()
    memory: Memory | None = None
    collections: Collections | None = None
    waiting: Waiting | None = None
    waits_for: WaitCause | None = None

    @property
    def samples(self) -> int:
        return sum(run.samples for run in self.runs)


@dataclass(frozen=True)
class Setting:
    host: str = "node-17"
    lost: dict[str, int] = field(default_factory=dict)
    duration_s: float = 15.0
    period_ns: int = PERIOD_NS
    start_unix_ns: int = 1_764_000_000_000_000_000
    cpu_count: int = 8
    health: Health = NO_HEALTH


def build_window(*loads: Load, setting: Setting | None = None) -> Window:
    setting = setting or Setting()
    stacks: dict[Stack, int] = {}
    rows = [
        (number, stacks.setdefault(run.stack, len(stacks)), run.category, run.samples)
        for number, load in enumerate(loads)
        for run in load.runs
    ]
    process, stack, category, samples = zip(*rows, strict=True) if rows else ((), (), (), ())
    attributed = sum(samples)
    go: dict[str, list[Load]] = {}
    for load in loads:
        if load.process.is_go:
            go.setdefault(load.process.container.key, []).append(load)
    reports = sorted((build_report(group) for group in go.values()), key=lambda r: -r.samples)
    return Window(
        host=setting.host,
        start_unix_ns=setting.start_unix_ns,
        duration_s=setting.duration_s,
        period_ns=setting.period_ns,
        cpu_count=setting.cpu_count,
        samples=SampleCount(attributed + sum(setting.lost.values()), attributed, setting.lost),
        processes=tuple(load.process for load in loads),
        profile=Profile(
            process=np.array(process, dtype=np.int32),
            stack=np.array(stack, dtype=np.int32),
            category=np.array(category, dtype=np.uint8),
            samples=np.array(samples, dtype=np.int64),
            stacks=tuple(stacks),
        ),
        reports=tuple(reports),
        other_samples=sum(load.samples for load in loads if not load.process.is_go),
        health=setting.health,
    )


def build_report(loads: list[Load]) -> ContainerReport:
    loads = sorted(loads, key=lambda load: -load.samples)
    category_samples = np.zeros(CATEGORY_COUNT, dtype=np.int64)
    flat: Counter[str] = Counter()
    cumulative: Counter[str] = Counter()
    for load in loads:
        for run in load.runs:
            category_samples[run.category] += run.samples
            names = [frame.function for location in run.stack for frame in location.frames]
            flat.update(dict.fromkeys(names[:1], run.samples))
            cumulative.update(dict.fromkeys(set(names), run.samples))
    functions = sorted(
        (FunctionShare(name, flat[name], samples) for name, samples in cumulative.items()),
        key=lambda share: (-share.cumulative_samples, share.function),
    )
    first = loads[0]
    return ContainerReport(
        container=first.process.container,
        processes=tuple(load.process for load in loads),
        category_samples=category_samples,
        functions=tuple(functions),
        limit=first.limit,
        usage=first.usage,
        verdict=first.verdict,
        findings=first.findings,
        held_s=first.held_s,
        suppressed=first.suppressed,
        saving=next((f.saving for f in first.findings if f.saving), None),
        drain_samples=first.drain_samples,
        memory=first.memory,
        collections=first.collections,
        waiting=first.waiting,
        waits_for=first.waits_for,
    )


def go_location(*functions: str, module: str = "/app/server", address: int = 0) -> Location:
    """One machine address; the first function is the innermost inlined one."""
    frames = tuple(
        Frame(
            function=name,
            file=(SRC + "proc.go" if name.startswith("runtime.") else "/src/app/main.go"),
            line=40 + len(name),
            start_line=40,
            inlined=position < len(functions) - 1,
        )
        for position, name in enumerate(functions)
    )
    place = address or 0x400000 + sum(map(ord, "".join(functions))) * 16
    return Location(module, "9f3c2a", place, frames)


def kernel_location(function: str) -> Location:
    frame = Frame(function, kind=FrameKind.KERNEL)
    return Location("[kernel.kallsyms]", "", 0xFFFF_FFFF_8100_0000 + len(function) * 64, (frame,))


FIND_WORK: Stack = (
    kernel_location("futex_wake"),
    kernel_location("do_syscall_64"),
    go_location("runtime.futexwakeup"),
    go_location("runtime.wakep"),
    go_location("runtime.findRunnable"),
    go_location("runtime.schedule"),
    go_location("runtime.mcall"),
)
STEAL: Stack = (
    go_location("runtime.runqgrab"),
    go_location("runtime.runqsteal", "runtime.stealWork"),
    go_location("runtime.findRunnable"),
    go_location("runtime.schedule"),
    go_location("runtime.mcall"),
)
MARK: Stack = (
    go_location("runtime.scanobject"),
    go_location("runtime.gcDrain"),
    go_location("runtime.gcBgMarkWorker"),
)
PARSE: Stack = (
    go_location("encoding/json.(*decodeState).object"),
    go_location("encoding/json.Unmarshal", "main.parse"),
    go_location("main.(*pool).work", "main.(*pool).work.func1"),
    go_location("runtime.goexit"),
)
MALLOC: Stack = (go_location("runtime.nextFreeFast", "runtime.mallocgc"), *PARSE[1:])
SEND: Stack = (go_location("runtime.chansend"), *PARSE[2:])
NATIVE: Stack = (
    Location(
        "/usr/bin/postgres",
        "",
        0x1234,
        (Frame("hash_search", kind=FrameKind.NATIVE),),
    ),
)


def pod_container(name: str, number: int) -> Container:
    uid = f"1c0ffee0_{number:04d}_4b1d_9c58_0123456789ab"
    container_id = f"{number:064x}"
    cgroup = f"{ROOT}{uid}.slice/cri-containerd-{container_id}.scope"
    return Container(
        key=cgroup,
        name=name,
        cgroup=cgroup,
        container_id=container_id,
        pod_uid=uid.replace("_", "-"),
        runtime="containerd",
    )


def named(load: Load, pod: str, workload: str = "payments", **facts: Any) -> Load:
    """The load's container with the names from Kubernetes, after its name outside."""
    container = load.process.container
    known = PodContainer(
        namespace="shop",
        pod=pod,
        container="app",
        pod_uid=container.pod_uid or "",
        node="node-17",
        image="shop/payments:1",
        workload=Workload("Deployment", workload),
        **{"kind": "container", **facts},
    )
    container = replace(container, name=known.path, pod=known)
    return replace(load, process=replace(load.process, container=container))


def go_process(
    container: Container, pid: int, version: str, gomaxprocs: Gomaxprocs, command: str = "server"
) -> Process:
    build = GoBuild(version, Module("example.com/" + command, "v1.4.2"), "example.com/" + command)
    state = None
    if gomaxprocs.value is not None:
        state = RuntimeState(0, 100, 2**63 - 1, 1234, 64 << 20, 32 << 20, 9 << 30, 5 << 20, 1 << 20)
    return Process(pid, pid * 100, command, container, build, gomaxprocs, state)


PATCH = """\
spec:
  template:
    spec:
      containers:
      - name: api
        env:
        - name: GOMAXPROCS
          valueFrom:
            resourceFieldRef:
              resource: limits.cpu
              divisor: "1"
"""

OVERSIZED_FINDING = Finding(
    code="GT001",
    title="GOMAXPROCS is above the CPU limit, and this costs CPU for it",
    severity=Severity.WARNING,
    confidence=Confidence.HIGH,
    evidence=(
        Evidence("GOMAXPROCS is 192, the number of CPUs; a limit of 1 CPU fits 1", 192, "count"),
        Evidence("Go before 1.25 takes the number of CPUs and ignores CPU limits"),
        Evidence("scheduler and GC take 48.1% of its CPU time", 0.481, "share", (0.42, 0.54), 15.0),
        Evidence("throttled in 121 of 150 periods, 3.2 s in all", 0.807, "share", None, 15.0),
    ),
    remedy=Remedy("Set GOMAXPROCS to 1 in the environment, from the limit.", PATCH, 1),
    saving=Saving(
        0.31,
        0.44,
        0.52,
        (
            SavingSource("idle Ps that look for work", 0.2),
            SavingSource("GC workers on idle and dedicated Ps", 0.15),
            SavingSource("waking threads", 0.08),
            SavingSource("channels and locks", 0.01),
        ),
        ("Watch the 99th percentile of latency.",),
    ),
    cause=Cause.OLD_GO,
    held_s=300.0,
)
MISMATCH_FINDING = Finding(
    code="GT002",
    title="GOMAXPROCS is above the CPU limit, at little cost under this load",
    severity=Severity.INFO,
    confidence=Confidence.MEDIUM,
    evidence=(Evidence("scheduler and GC take 9 % of its CPU time", 0.09, "share"),),
    remedy=Remedy("Nothing has to be done now. Set the variable GOMAXPROCS to 3."),
    cause=Cause.ENVIRONMENT,
)


def oversized_load() -> Load:
    container = pod_container("payments-api", 1)
    return Load(
        process=go_process(
            container,
            4242,
            "go1.22.5",
            Gomaxprocs(192, Origin.CPU_COUNT, 1, 192, CPU_RULE, bound_by=(Binding.QUOTA,)),
        ),
        runs=(
            Run(FIND_WORK, Category.SCHED_WAKE, 40),
            Run(STEAL, Category.SCHED_FIND_WORK, 46),
            Run(MARK, Category.GC_MARK_IDLE, 51),
            Run(PARSE, Category.USER, 96),
            Run(MALLOC, Category.ALLOC, 30),
            Run(SEND, Category.CHAN, 22),
        ),
        limit=CpuLimit(1.0, container.cgroup, 1.0, 192, None, 39),
        usage=CpuUsage(14_900_000_000, 150, 121, 3_200_000_000),
        memory=Memory(
            *(256 << 20, "/kubepods", 512 << 20, 200 << 20, 150 << 20, 120 << 20, 3, 2, 1)
        ),
        collections=Collections(17, 500 << 20),
        waiting=Waiting(
            *(2_850_000_000, 1_340_000_000, 12, False), Pressure(0.31, 0.12), Pressure(0.0, 0.0)
        ),
        waits_for=WaitCause.OWN_LIMIT,
        verdict=Verdict.OVERSIZED,
        findings=(OVERSIZED_FINDING,),
        held_s=300.0,
        suppressed=("GT010",),
        drain_samples=(90, 100, 95),
    )


def fitting_load() -> Load:
    container = pod_container("payments-api-v2", 2)
    return Load(
        process=go_process(
            container,
            4300,
            "go1.26.8",
            Gomaxprocs(2, Origin.CONTAINER, 1, 2, CONTAINER_RULE),
        ),
        runs=(
            Run(STEAL, Category.SCHED_FIND_WORK, 4),
            Run(MARK, Category.GC_MARK_DEDICATED, 5),
            Run(PARSE, Category.USER, 120),
            Run(MALLOC, Category.ALLOC, 21),
        ),
        limit=CpuLimit(1.0, container.cgroup, 1.0, 192, None, 39),
        usage=CpuUsage(7_890_000_000, 150, 0, 0),
        verdict=Verdict.FITS,
    )


def mismatch_load() -> Load:
    container = pod_container("ledger", 3)
    pod = container.cgroup.rsplit("/", 1)[0]
    return Load(
        process=go_process(
            container, 5100, "go1.24.1", Gomaxprocs(8, Origin.ENVIRONMENT, 3, 8, ENVIRONMENT_RULE)
        ),
        runs=(
            Run(STEAL, Category.SCHED_FIND_WORK, 20),
            Run(MARK, Category.GC_MARK_BACKGROUND, 16),
            Run(PARSE, Category.USER, 360),
        ),
        limit=CpuLimit(2.5, pod, None, 192, None, 98),
        usage=CpuUsage(20_800_000_000, 150, 2, 12_000_000),
        verdict=Verdict.MISMATCH,
        findings=(MISMATCH_FINDING,),
    )


def service_load() -> Load:
    container = Container(
        key="/system.slice/containerd.service",
        name="containerd.service",
        cgroup="/system.slice/containerd.service",
        unit="containerd.service",
    )
    return Load(
        process=go_process(
            container, 812, "go1.23.7", Gomaxprocs(8, Origin.CPU_COUNT, 8, 8, CPU_RULE)
        ),
        runs=(Run(PARSE, Category.USER, 31), Run(SEND, Category.SYSCALL, 12)),
        usage=CpuUsage(2_263_000_000),
    )


def sparse_load() -> Load:
    container = pod_container("cron-reporter", 5)
    return Load(
        process=go_process(
            container, 6001, "go1.20.14", Gomaxprocs(64, Origin.CALL, 2, 192, CPU_RULE)
        ),
        runs=(Run(PARSE, Category.USER, 3),),
        limit=CpuLimit(2.0, container.cgroup, 2.0, 192, None, 79),
        usage=CpuUsage(150_000_000, 12, 0, 0),
        verdict=Verdict.TOO_FEW_SAMPLES,
    )


def unreadable_load() -> Load:
    container = pod_container("legacy-gateway", 6)
    return Load(
        process=go_process(
            container,
            7001,
            "go1.11.4",
            Gomaxprocs(None, Origin.UNKNOWN, 4, reason="gomaxprocs-no-write-found"),
        ),
        runs=(Run(PARSE, Category.USER, 44), Run(MARK, Category.GC_ASSIST, 9)),
        limit=CpuLimit(4.0, container.cgroup, 4.0, 192, None, 157),
        usage=CpuUsage(2_800_000_000, 150, 0, 0),
        verdict=Verdict.UNREADABLE,
    )


def native_load() -> Load:
    container = Container(
        key="/system.slice/postgresql.service",
        name="postgresql.service",
        cgroup="/system.slice/postgresql.service",
        unit="postgresql.service",
    )
    return Load(Process(900, 1, "postgres", container), (Run(NATIVE, Category.NATIVE, 318),))


def hostile_load() -> Load:
    """Names that an attacker may choose: escapes, line breaks, right-to-left marks, great
    length."""
    load = service_load()
    container = replace(
        load.process.container,
        key="/evil",
        name="\x1b[31mred\x1b[0m\nroot ok \u202egnp.exe \udcff " + "x" * 300,
        cgroup='/evil"}\n\\\u05d0',
    )
    return replace(load, process=replace(load.process, container=container))


def other_report() -> OtherReport:
    """A container without Go that is throttled: GT020."""
    recipe = Recipe("OpenBLAS", (Knob("OPENBLAS_NUM_THREADS"),), "Set it to {n}.")
    container = pod_container("numbers", 77)
    use = OtherUse(
        container=container,
        samples=30,
        processes=(Process(77, 5, "python", container),),
        process_samples=(30,),
        threads=65,
        limit=CpuLimit(1.0, container.cgroup),
        throttling=Throttling(CpuUsage(9_000_000_000, 150, 120, 60_000_000_000), 15.0, 100_000_000),
        counted=65,
        ran=(ThreadGroup("python", 60), ThreadGroup("", 4)),
        runnable=40.5,
        recognised=(Recognised(recipe, recipe.knobs[0], 64),),
    )
    return OtherReport(
        use,
        (
            Finding(
                code="GT020",
                title="Throttled: OpenBLAS runs more threads at once than the limit allows",
                severity=Severity.WARNING,
                confidence=Confidence.HIGH,
                evidence=(Evidence("throttled in 120 of 150 periods", 0.8, "share"),),
                remedy=Remedy("Set it to 1.", "OPENBLAS_NUM_THREADS=1\n"),
                held_s=15.0,
            ),
        ),
    )


def story_window() -> Window:
    """Every verdict once, a program that is not Go, and one lost sample."""
    return build_window(
        oversized_load(),
        fitting_load(),
        mismatch_load(),
        service_load(),
        sparse_load(),
        unreadable_load(),
        native_load(),
        setting=Setting(
            lost={"no-process": 1},
            health=Health(
                drain_s=0.0031,
                work_s=0.021,
                cache_entries={"binaries": 6, "frames": 1840},
                cache_evictions={"frames": 12},
                errors={"elf-truncated": 1},
            ),
        ),
    )
