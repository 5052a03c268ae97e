"""``python -m calibration heaps``: what a memory limit near the live heap costs.

Each *trial* starts one of the programs of heaps/ three times: without a memory limit, to learn what
it keeps; with a GOMEMLIMIT that leaves room for a part of that; and as the remedy of the finding
says. Each *healthy* program is started once. What gotax read is stored, so that the rules of today
judge the runs again.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from gotax.category import Category
from gotax.category import Group as CategoryGroup
from gotax.config import Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.diagnosis.heap import MIB, heap_of, predict_gc_saving
from gotax.findings import Finding, Severity, Verdict
from gotax.linux.cgroups.hierarchies import find_hierarchies
from gotax.process import (
    Container,
    CpuLimit,
    CpuUsage,
    Gomaxprocs,
    Memory,
    Origin,
    Process,
    RuntimeState,
)
from gotax.session import Plan, Session
from gotax.window import Collections, ContainerReport

from calibration.measure import RunError, build, enter, report_of, watch, work_rate
from demo.limit import Group, limited_groups
from tests.patience import PATIENCE_S

SOURCE = Path(__file__).parent / "heaps"
TABLE = Path(__file__).parent / "data" / "heaps.jsonl"
HZ, WARM_UP_S, WATCH_S = 499, 2.0, 6.0
CPUS = 2
_NUMBERS = itertools.count()
"""Each run has a cgroup of its own: gotax does not read the limit of one in each window."""
HEADROOM = 0.97  # of what a memory limit leaves for the heap (runtime/mgcpacer.go)
LOOKED_AT = frozenset({"trees", "blocks", "churn"})
WORTHWHILE = 0.15
"""A saving, as a part of the CPU, that must not be missed."""


@dataclass(frozen=True, slots=True)
class Trial:
    """``room``: what the tight limit leaves, as a part of the live heap; None: there is no limit,
    and GOGC can be raised (GT009). ``container``: the memory limit of its cgroup, as a multiple of
    the live heap and what Go has beside it, None for none."""

    program: str
    live_mib: int
    rate: float
    room: float | None
    version: str
    gogc: str = "100"
    container: float | None = None


TRIALS = (
    Trial("trees", 60, 1000, 0.05, "1.26.8"),
    Trial("trees", 30, 1000, 0.15, "1.22.12", "200", 4.0),
    Trial("blocks", 120, 1500, 0.02, "1.24.13"),
    Trial("blocks", 60, 1500, 0.05, "1.26.8", "off"),
    Trial("churn", 60, 2000, 0.05, "1.26.8", "100", 3.0),
    Trial("churn", 40, 2000, 0.15, "1.24.13"),
    Trial("orders", 60, 500, 0.05, "1.26.8", "100", 4.0),
    Trial("orders", 40, 500, 0.15, "1.24.13", "off"),
    Trial("lru", 60, 8000, 0.05, "1.22.12"),
    Trial("lru", 90, 8000, 0.15, "1.26.8", "200", 3.0),
    Trial("sessions", 60, 1500, 0.05, "1.24.13", "100", 1.4),
    Trial("sessions", 40, 1500, 0.15, "1.26.8", "50"),
    Trial("stacks", 60, 1000, 0.05, "1.26.8"),
    Trial("stacks", 40, 1000, 0.15, "1.24.13", "off", 4.0),
    Trial("words", 60, 1000, 0.05, "1.26.8", "100", 4.0),
    Trial("words", 40, 1000, 0.15, "1.24.13"),
    Trial("documents", 60, 500, 0.05, "1.24.13", "off"),
    Trial("documents", 40, 500, 0.15, "1.26.8", "100", 4.0),
    Trial("windows", 90, 4000, 0.05, "1.26.8"),
    Trial("windows", 60, 4000, 0.15, "1.22.12", "100", 3.0),
    Trial("sessions", 40, 0, 0.05, "1.26.8"),
    Trial("orders", 40, 0, 0.10, "1.22.12", "100", 4.0),
    Trial("trees", 40, 1000, None, "1.26.8", "100", 8.0),
    Trial("sessions", 40, 1500, None, "1.24.13", "50", 6.0),
    Trial("documents", 40, 500, None, "1.26.8", "100", 8.0),
    Trial("documents", 30, 500, None, "1.22.12", "50", 4.0),
    Trial("windows", 60, 4000, None, "1.24.13", "25", 4.0),
)
"""Rate 0: as many units as it can. Then the same CPU does more work."""


@dataclass(frozen=True, slots=True)
class Healthy:
    """``limit`` and ``container``: GOMEMLIMIT and the cgroup's memory limit in MiB."""

    name: str
    program: str
    live_mib: int
    rate: float
    version: str = "1.26.8"
    gogc: str = "100"
    limit: int | None = None
    container: int | None = None
    flags: tuple[str, ...] = ()


HEALTHY = (
    Healthy("defaults, no container limit", "orders", 40, 500),
    Healthy("container limit of six times the live heap", "lru", 60, 2000, container=400),
    Healthy("GOMEMLIMIT of 90 % of the container", "churn", 40, 1500, limit=270, container=300),
    Healthy("GOGC=off with room", "documents", 40, 400, gogc="off", limit=100, container=256),
    Healthy("GOGC=200", "sessions", 40, 1200, version="1.24.13", gogc="200", container=400),
    Healthy("GOGC=50 and a small heap", "words", 10, 800, gogc="50"),
    Healthy("idle, its GOMEMLIMIT near the live heap", "trees", 60, 1, limit=80, container=128),
    Healthy(
        *("bursts", "orders", 40, 400),
        limit=300,
        flags=("-burst", "300ms"),
    ),
    Healthy("large and stable", "blocks", 250, 100, version="1.22.12", limit=360, container=400),
    Healthy(
        *("batch at the start, then little", "orders", 30, 300),
        limit=230,
        container=256,
        flags=("-fill", "8000"),
    ),
    Healthy("many stacks", "stacks", 60, 800, version="1.24.13"),
    Healthy("series, no limit anywhere", "windows", 60, 4000),
)


@dataclass(frozen=True, slots=True)
class Run:
    """One run, with all that the rules know of it. ``part``: before, after, or healthy."""

    name: str
    part: str
    program: str
    version: str
    limit: str  # GOMEMLIMIT as it was set, "" for none
    duration_s: float
    cpu_s: float
    work: float  # units a second
    samples: tuple[int, ...]
    state: RuntimeState
    memory: Memory
    collections: Collections

    @property
    def cores(self) -> float:
        return self.cpu_s / self.duration_s

    def context(self) -> Context:
        """As one window of gotax, of a process whose GOMAXPROCS fits."""
        container = Container("run", "run", "/run")
        found = Gomaxprocs(CPUS, Origin.CPU_COUNT, CPUS)
        process = Process(*(7, 1, self.program, container), gomaxprocs=found, runtime=self.state)
        report = ContainerReport(
            container=container,
            processes=(process,),
            category_samples=np.array(self.samples, np.int64),
            functions=(),
            limit=CpuLimit(),
            usage=CpuUsage(),
            verdict=Verdict.UNREADABLE,
            cpu_ns=round(self.cpu_s * 1e9),
            process_samples=(sum(self.samples),),
            memory=self.memory,
            collections=self.collections,
        )
        return Context(report, self.duration_s, CPUS, Thresholds())

    def findings(self) -> dict[str, Finding]:
        return {finding.code: finding for finding in rules.find_all(self.context())}

    def gc_share(self) -> float:
        mine = sum(self.samples[c] for c in Category if c.group is CategoryGroup.GC)
        return mine / max(1, sum(self.samples))


def run(seconds: float) -> None:
    """Makes the runs that are missing from the table."""
    present = {(each.name, each.part) for each in read()}
    wanted = {(each.name, "healthy") for each in HEALTHY}
    if present >= wanted | {(name_of(each), "before") for each in TRIALS}:
        return
    deadline = time.monotonic() + seconds
    with Session(Plan(hz=HZ, drain_s=1.0)) as session:
        for healthy in HEALTHY:
            if (healthy.name, "healthy") not in present and time.monotonic() < deadline:
                _append(_report([run_healthy(session, healthy)]))
        for trial in TRIALS:
            if (name_of(trial), "before") not in present and time.monotonic() < deadline:
                try:
                    _append(_report(run_trial(session, trial)))
                except RunError as error:
                    print(f"{name_of(trial)}: {error}", file=sys.stderr)


def name_of(trial: Trial) -> str:
    speed = "as fast as it can" if trial.rate == 0 else f"{trial.rate:g} a second"
    container = "" if trial.container is None else f", container of {trial.container:g} times that"
    room = "no GOMEMLIMIT" if trial.room is None else f"room {trial.room:.0%}"
    return f"{trial.program}, {trial.live_mib} MiB, {speed}, {room}, GOGC={trial.gogc}{container}"


def run_healthy(session: Session, healthy: Healthy) -> Run:
    limit = "" if healthy.limit is None else f"{healthy.limit}MiB"
    container = None if healthy.container is None else healthy.container * MIB
    start = Start(
        *(healthy.program, healthy.version, healthy.live_mib, healthy.rate, healthy.gogc, limit),
        *(container, healthy.flags),
    )
    return start.run(session, healthy.name, "healthy")


def run_trial(session: Session, trial: Trial) -> list[Run]:
    """Before, and after the remedy; or without a limit, if there is no finding."""
    start = Start(
        *(trial.program, trial.version, trial.live_mib, trial.rate),
        *("100" if trial.gogc == "off" else trial.gogc, "", None),
    )
    name = name_of(trial)
    state = start.run(session, name, "probe", WATCH_S / 2).state
    if state.live_heap_bytes is None:
        raise RunError("no collection in the first run")
    live, other = state.live_heap_bytes, state.non_heap_bytes or 0
    limit = ""
    if trial.room is not None:
        limit = f"{(live * (1 + trial.room) / HEADROOM + other) // MIB:.0f}MiB"
    container = None if trial.container is None else round((live + other) * trial.container)
    tight = replace(start, gogc=trial.gogc, limit=limit, container=container)
    before = tight.run(session, name, "before")
    if heap_of(before.context()) is None:
        raise RunError("no collection in a run")
    found = before.findings().get(rules.GC_HEAVY if trial.room is None else rules.HELD)
    start = replace(start, container=container)
    if found is not None:
        variable, _, value = found.remedy.setting.partition("=")
        if variable == "GOGC":
            start = replace(start, gogc=value)
        else:
            start = replace(start, limit=value, gogc=trial.gogc)
        if raised := re.search(r"limit of the container to ([\d,]+) MiB", found.remedy.text):
            start = replace(start, container=int(raised[1].replace(",", "")) * MIB)
    after = start.run(session, name, "after")
    # Once more, so that other work on the host falls on both.
    return [before, after, tight.run(session, name, "before"), start.run(session, name, "after")]


@dataclass(frozen=True, slots=True)
class Start:
    """How a program is started."""

    program: str
    version: str
    live_mib: int
    rate: float
    gogc: str
    limit: str
    container: int | None
    flags: tuple[str, ...] = ()

    def run(self, session: Session, name: str, part: str, watch_s: float = WATCH_S) -> Run:
        binary = build(self.version, SOURCE)
        flags = ("-kind", self.program, "-live", str(self.live_mib), "-rate", f"{self.rate:g}")
        env = {"GOGC": self.gogc, "PATH": os.environ["PATH"]}
        if self.limit:
            env["GOMEMLIMIT"] = self.limit
        with (
            limited_groups((f"run-{next(_NUMBERS)}",), None) as (group,),
            memory_of(group, self.container) as join,
            tempfile.NamedTemporaryFile("r") as lines,
        ):
            with open(lines.name, "w") as out:
                process = subprocess.Popen(
                    [str(binary), *flags, *self.flags],
                    env=env,
                    stdout=out,
                    start_new_session=True,
                    preexec_fn=_both(enter(group), join),
                )
            try:
                _wait_for_a_line(process, lines.name)
                watch(session, WARM_UP_S)
                started, before = time.time_ns(), group.read_account()
                window = watch(session, watch_s)
                ended, after = time.time_ns(), group.read_account()
                if process.poll() is not None:
                    raise RunError(f"{self.program} ended with {process.returncode}")
            finally:
                process.kill()
                process.wait()
            work = work_rate(Path(lines.name).read_text(), (started, ended))
        report = report_of(window, process.pid)
        state = report.main_process.runtime
        if state is None:
            raise RunError("gotax did not read the runtime")
        return Run(
            *(name, part, self.program, self.version, self.limit),
            duration_s=(ended - started) / 1e9,
            cpu_s=(after.cpu_ns - before.cpu_ns) / 1e9,
            work=work,
            samples=tuple(int(report.category_samples[c]) for c in Category),
            state=state,
            memory=replace(report.memory or Memory(), limit_cgroup=None),
            collections=report.collections or Collections(),
        )


def _both(first: Any, second: Any) -> Any:
    def prepare() -> None:
        first()
        second()

    return prepare


def _wait_for_a_line(process: subprocess.Popen[bytes], path: str) -> None:
    """The first one comes when the heap is filled."""
    deadline = time.monotonic() + PATIENCE_S
    while not Path(path).stat().st_size:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RunError("the program did not get to work")
        time.sleep(0.05)


@contextmanager
def memory_of(group: Group, limit: int | None) -> Iterator[Any]:
    """A function that moves the calling process into a cgroup with this memory limit."""
    hierarchies = find_hierarchies("/proc", "/sys/fs/cgroup")
    tree = hierarchies.of("memory")
    if limit is None or tree is None:
        yield lambda: None
        return
    folder = Path(tree.mount) / group.path
    if tree is hierarchies.unified:
        for each in (folder.parent.parent, folder.parent):
            (each / "cgroup.subtree_control").write_text("+memory")
        (folder / "memory.max").write_text(str(limit))
        yield lambda: None
        return
    folder.mkdir(parents=True)
    try:
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        yield lambda: (folder / "cgroup.procs").write_text("0")
    finally:
        _remove(folder)
        _remove(folder.parent)


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            folder.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


# The table


def read(path: Path = TABLE) -> list[Run]:
    if not path.exists():
        return []
    return [_run_of(json.loads(line)) for line in path.read_text().splitlines()]


def _run_of(row: dict[str, Any]) -> Run:
    return Run(
        **{
            **row,
            "samples": tuple(row["samples"]),
            "state": RuntimeState(**row["state"]),
            "memory": Memory(**row["memory"]),
            "collections": Collections(**row["collections"]),
        }
    )


def _append(runs: list[Run]) -> None:
    with TABLE.open("a") as file:
        for each in runs:
            file.write(json.dumps(asdict(each)) + "\n")


def _report(runs: list[Run]) -> list[Run]:
    for each in runs:
        codes = ", ".join(each.findings()) or "no finding"
        print(
            f"{each.part:8} {each.name}: {each.cores:.3f} cores, {each.work:.0f} units a second,"
            f" GC {each.gc_share():.0%}, {codes} {each.limit}",
            flush=True,
        )
    return runs


# Judging


@dataclass(frozen=True, slots=True)
class Judged:
    """``saved``: the part of its CPU that the change saved at the same work; ``low``, ``mid`` and
    ``high``: the prediction for that change."""

    before: Run
    after: Run
    found: bool
    is_gone: bool
    saved: float
    low: float
    mid: float
    high: float

    @property
    def is_held_out(self) -> bool:
        return self.before.program not in LOOKED_AT

    @property
    def is_within(self) -> bool:
        return self.low <= self.saved <= self.high

    @property
    def ratio(self) -> float:
        """CPU time per unit of work, before over after."""
        return 1 / (1 - self.saved)


def _cpu_per_unit(runs: list[Run]) -> float:
    return sum(each.cpu_s for each in runs) / sum(each.work * each.duration_s for each in runs)


def judge(runs: list[Run]) -> list[Judged]:
    """Each trial by the rules of today, for the limit that its second run had."""
    found = []
    for name in dict.fromkeys(each.name for each in runs if each.part == "before"):
        of_before, of_after = (
            [each for each in runs if (each.name, each.part) == (name, part)]
            for part in ("before", "after")
        )
        before, other = of_before[0], of_after[0]
        context = before.context()
        heap = heap_of(context)
        if heap is None:
            raise RunError(f"{before.name}: gotax did not read its heap")
        goal = heap.wanted
        if not before.limit:
            goal = heap.goal_by_percent(other.state.gogc or 0)
        elif other.limit:
            goal = heap.goal_by_limit(int(other.limit.removesuffix("MiB")) * MIB)
            if heap.gogc >= 0:
                goal = min(goal, heap.goal_by_percent(heap.gogc))
        code = rules.HELD if before.limit else rules.GC_HEAVY
        saving = predict_gc_saving(context, heap.kept(goal))
        assert saving is not None
        cores = before.cores
        found.append(
            Judged(
                *(before, other, code in before.findings()),
                is_gone=code not in other.findings(),
                saved=1 - _cpu_per_unit(of_after) / _cpu_per_unit(of_before),
                low=saving.low / cores,
                mid=saving.mid / cores,
                high=saving.high / cores,
            )
        )
    return found


def lines(runs: list[Run]) -> Iterator[str]:
    """The tables of docs/saving.md."""
    judged = judge(runs)
    yield "| program and its limits | GC | saved | predicted | in the range | finding afterwards |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for each in sorted(judged, key=lambda one: one.is_held_out):
        mark = "" if each.is_held_out else " (looked at)"
        predicted = f"{each.mid:.0%} ({each.low:.0%} to {each.high:.0%})"
        if not each.found:
            predicted += ", no finding"
        yield (
            f"| {each.before.name}{mark} | {each.before.gc_share():.0%} to"
            f" {each.after.gc_share():.0%} | {each.saved:.0%} | {predicted} |"
            f" {'yes' if each.is_within else 'no'} | {'gone' if each.is_gone else 'stays'} |"
        )
    yield ""
    held_out = [each for each in judged if each.is_held_out]
    told = [each for each in held_out if each.found]
    off = statistics.median(abs(each.mid - each.saved) for each in told) if told else 0.0
    missed = sum(not each.found and each.saved >= WORTHWHILE for each in held_out)
    yield (
        f"Held out: {len({each.before.program for each in held_out})} programs,"
        f" {len(held_out)} trials, {len(told)} with the finding;"
        f" {sum(each.is_within for each in told)} of those in the range,"
        f" {sum(each.is_gone for each in told)} without the finding afterwards,"
        f" {missed} without a finding that save {WORTHWHILE:.0%} and more. The middle is off by"
        f" {off:.0%} of the CPU in the median."
    )
    yield ""
    yield "| healthy program | GOGC | GOMEMLIMIT | live | GC | findings |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for healthy in (each for each in runs if each.part == "healthy"):
        state, live = healthy.state, healthy.state.live_heap_bytes or 0
        codes = [
            code + (" (warning)" if finding.severity is Severity.WARNING else "")
            for code, finding in healthy.findings().items()
        ]
        yield (
            f"| {healthy.name} ({healthy.program}) |"
            f" {'off' if state.gogc == -1 else state.gogc} | {healthy.limit or 'none'} |"
            f" {live / MIB:.0f} MiB | {healthy.gc_share():.0%} | {', '.join(codes) or 'none'} |"
        )


def main(seconds: float) -> int:
    """Makes the runs that are missing from the table, and prints what it shows."""
    run(seconds)
    print("\n".join(lines(read())))
    return 0
