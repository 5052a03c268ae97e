"""One sample's way, from a drain to a Window; ARCHITECTURE.md follows it.

Knows every stage and owns their state; nobody knows the pipeline but the daemon and the commands.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gotax.config import Detail, Silence, Thresholds
from gotax.containers import ReadBounds
from gotax.diagnosis.change import ChangeWatch, Settings
from gotax.diagnosis.history import History
from gotax.diagnosis.silence import parse_annotation, silenced
from gotax.diagnosis.totals import category_hits, top_functions
from gotax.errors import ParseError
from gotax.findings import Verdict
from gotax.names import NOBODY, Names
from gotax.process import Container, CpuUsage, PodContainer, Process
from gotax.processes import Entry, ProcessTable
from gotax.profile import CATEGORY_COUNT, Category, Int64Array, Profile, Stack
from gotax.sampling.sampler import Counter as KernelCounter
from gotax.sampling.sampler import Drain, Newcomer
from gotax.symbols import NewStack, Symbolized, Symbolizer
from gotax.window import OUTSIDE_NAMESPACE, ContainerReport, Health, HitCount, Unjudged, Window

_BLOCKS_MAX = 512
_LOST_IN_KERNEL = {
    KernelCounter.SAMPLES_FULL: "samples-full",
    KernelCounter.OUTSIDE: OUTSIDE_NAMESPACE,
}
_NATIVE = Symbolized((), Category.NATIVE, Category.NATIVE)
_UNKNOWN = Symbolized((), Category.UNKNOWN, Category.UNKNOWN)


@dataclass(frozen=True, slots=True)
class Span:
    """When the hits of a window were counted, and what one is worth."""

    start_unix_ns: int
    duration_s: float
    period_ns: int


@dataclass(slots=True)
class _Blocks:
    """Hits by index of the process, in stretches of as many drains each."""

    hits: list[Counter[int]] = field(default_factory=list)
    stride: int = 1
    filled: int = 0  # drains in the last block

    def next_drain(self, is_early: bool) -> Counter[int]:
        """Where the hits of a new drain are counted: those of an early one with the next."""
        if not self.hits or self.filled == self.stride:
            if len(self.hits) == _BLOCKS_MAX:
                self.hits = [a + b for a, b in zip(self.hits[::2], self.hits[1::2], strict=True)]
                self.stride *= 2
            self.hits.append(Counter())
            self.filled = 0
        self.filled += not is_early
        return self.hits[-1]


@dataclass(slots=True)
class _Gathered:
    """What the drains of the current window have given so far."""

    hits: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    """By (index of the process, index of the stack, category)."""
    entries: list[Entry] = field(default_factory=list)
    index_of_entry: dict[int, int] = field(default_factory=dict)  # by serial
    stacks: list[Stack] = field(default_factory=list)
    index_of_stack: dict[tuple[int, int, int], int] = field(default_factory=dict)
    lost: Counter[str] = field(default_factory=Counter)
    blocks: _Blocks = field(default_factory=lambda: _Blocks())
    drained: int = 0
    cpus: int = 0
    drain_s: float = 0.0
    work_s: float = 0.0

    def index(self, entry: Entry) -> int:
        index = self.index_of_entry.setdefault(entry.serial, len(self.entries))
        if index == len(self.entries):
            self.entries.append(entry)
        return index


class Pipeline:
    """``absorb`` every drain, then take the ``window``."""

    def __init__(
        self,
        processes: ProcessTable,
        host: str,
        thresholds: Thresholds,
        detail: Detail,
        names: Names = NOBODY,
    ) -> None:
        self._processes = processes
        self._names = names
        self._symbolizer = Symbolizer(processes, detail.lines, detail.names)
        self._host = host
        self._thresholds = thresholds
        self._detail = detail
        self._usage: dict[str, CpuUsage] = {}
        self._history = History(thresholds)
        self._changes = ChangeWatch(Settings.settling(thresholds.settle_s))
        self._gathered = _Gathered()

    def scan(self, pids: Collection[int] | None = None) -> None:
        """Meet these processes, or all of the host, so that idle Go programs are reported too."""
        self._processes.begin_tick()
        self._processes.scan(pids)
        for entry in self._processes.go_entries():
            key = entry.process.container.key
            if key not in self._usage:
                self._usage[key] = self._processes.usage(entry)
        self._processes.end_tick()

    def meet(self, newcomers: Sequence[Newcomer]) -> list[int]:
        """Look at who has just been sampled for the first time; the PIDs of those that run."""
        started = time.thread_time()
        met = self._processes.meet([(n.cgroup_id, n.tgid) for n in newcomers])
        self._gathered.work_s += time.thread_time() - started
        return met

    def look_again(self, pids: Iterable[int]) -> dict[int, bool]:
        """Those of these newcomers that still run, and whether they are Go programs by now."""
        started = time.thread_time()
        running = self._processes.look_again(pids)
        self._gathered.work_s += time.thread_time() - started
        return running

    def absorb(self, drain: Drain, drain_s: float, is_early: bool = False) -> None:
        """Attribute, symbolize and classify what was drained; ``drain_s`` is what it cost.

        ``is_early``: it came out of turn, for the sake of somebody who may soon be gone.
        """
        started = time.thread_time()
        self._processes.begin_tick(is_early)
        owners = self._resolve(drain)
        self._gather(drain, owners, self._symbolize(drain, owners), is_early)
        self._processes.end_tick()
        self._gathered.cpus = drain.cpus
        if drain.missed:
            self._processes.errors["timer-restarted"] += drain.restarted
            self._processes.errors["timer-missed"] += drain.missed
        self._gathered.drain_s += drain_s
        self._gathered.work_s += time.thread_time() - started

    def window(self, span: Span) -> Window:
        """Everything absorbed since the last window."""
        started = time.thread_time()
        gathered, self._gathered = self._gathered, _Gathered()
        self._processes.begin_tick()
        self._refresh_go()
        self._name([*gathered.entries, *self._processes.go_entries()])
        profile = _profile(gathered)
        attributed = int(profile.hits.sum())
        window = Window(
            host=self._host,
            start_unix_ns=span.start_unix_ns,
            duration_s=span.duration_s,
            period_ns=span.period_ns,
            cpu_count=gathered.cpus,
            hits=HitCount(gathered.drained, attributed, dict(gathered.lost)),
            processes=tuple(entry.process for entry in gathered.entries),
            profile=profile,
            reports=(),
            other_hits=0,
        )
        reports = self._report(window, gathered)
        window = replace(
            window,
            unjudged=_unjudged(self._processes.unjudged(), gathered),
            judged=self._processes.judged(),
        )
        self._processes.end_window()
        self._processes.end_tick()
        work_s = gathered.work_s + time.thread_time() - started
        window = replace(
            window,
            reports=reports,
            other_hits=attributed - sum(report.hits for report in reports),
            health=self._health(gathered.drain_s, work_s),
        )
        return replace(window, changes=self._changes.observe(window))

    def _resolve(self, drain: Drain) -> list[Entry | None]:
        """The owner of every sample; None where there is none, and its hits count as lost."""
        by_tgid: dict[int, Entry | str] = {}
        owners: list[Entry | None] = []
        lost = self._gathered.lost
        rows = zip(
            drain.samples["tgid"].tolist(),
            drain.samples["cgroup_id"].tolist(),
            drain.hits.tolist(),
            strict=True,
        )
        for tgid, cgroup_id, hits in rows:
            owner = by_tgid.get(tgid)
            if owner is None:
                owner = by_tgid[tgid] = self._processes.resolve(tgid)
            if isinstance(owner, str):
                reason, owner = owner, self._processes.resolve_by_cgroup(cgroup_id, owner)
                if owner is None:
                    lost[reason] += hits
            owners.append(owner)
        return owners

    def _symbolize(self, drain: Drain, owners: list[Entry | None]) -> list[Symbolized]:
        """The user stack of every sample."""
        found: list[Symbolized | None] = []
        new: dict[tuple[int, int], NewStack] = {}
        hashes = drain.samples["user_stack"]
        indices = drain.user_stacks.find(hashes).tolist()
        for owner, stack_hash, index in zip(owners, hashes.tolist(), indices, strict=True):
            if owner is None or not (owner.is_go or self._detail.native_frames):
                found.append(_NATIVE)
            elif index < 0:
                found.append(_UNKNOWN if owner.is_go else _NATIVE)
            else:
                known = self._symbolizer.known(owner, stack_hash)
                found.append(known)
                if known is None and (owner.serial, stack_hash) not in new:
                    new[owner.serial, stack_hash] = NewStack(
                        owner,
                        stack_hash,
                        int(drain.user_stacks.callers[index]),
                        drain.user_stacks.addresses(index),
                    )
        learnt = self._symbolizer.learn(list(new.values())) if new else {}
        return [
            stack or learnt[owner.serial, stack_hash]  # type: ignore[union-attr]
            for stack, owner, stack_hash in zip(found, owners, hashes.tolist(), strict=True)
        ]

    def _gather(
        self,
        drain: Drain,
        owners: list[Entry | None],
        symbolized: list[Symbolized],
        is_early: bool,
    ) -> None:
        """Add the attributed samples to the window's."""
        gathered = self._gathered
        kernel_hashes = drain.samples["kernel_stack"]
        kernel_indices = drain.kernel_stacks.find(kernel_hashes).tolist()
        of_process = gathered.blocks.next_drain(is_early)
        for owner, user, user_hash, kernel_hash, kernel_index, hits in zip(
            owners,
            symbolized,
            drain.samples["user_stack"].tolist(),
            kernel_hashes.tolist(),
            kernel_indices,
            drain.hits.tolist(),
            strict=True,
        ):
            if owner is None:
                continue
            named = kernel_index >= 0 and self._detail.kernel_frames
            serial = owner.serial if user.stack else 0  # all samples without a stack share one
            key = (serial, user_hash, kernel_hash if named else 0) if serial or named else (0, 0, 0)
            number = gathered.index_of_stack.get(key)
            if number is None:
                number = gathered.index_of_stack[key] = len(gathered.stacks)
                stack = user.stack
                if named:
                    addresses = drain.kernel_stacks.addresses(kernel_index)
                    stack = self._symbolizer.kernel_stack(kernel_hash, addresses) + stack
                gathered.stacks.append(stack)
            category = Category.NATIVE
            if owner.problem or owner.is_blind:
                category = Category.UNKNOWN
            elif owner.is_go:
                category = user.in_kernel if kernel_hash else user.in_user
            index = gathered.index(owner)
            gathered.hits[index, number, int(category)] += hits
            if user.truncated:
                self._processes.errors["stack-truncated"] += hits
            of_process[index] += hits
            if not owner.alive:
                owner.last_hits += hits
        gathered.drained += int(drain.hits.sum())
        for counter, reason in _LOST_IN_KERNEL.items():
            if hits := drain.counters.get(counter, 0):
                gathered.lost[reason] += hits
                gathered.drained += hits

    def _refresh_go(self) -> None:
        limits: ReadBounds = {}
        for entry in self._processes.go_entries():
            self._processes.refresh_go(entry, limits)

    def _name(self, entries: Iterable[Entry]) -> None:
        """Pods are looked up at the window's end: by then even those are known that started in it,
        and who ended in it gets the name as well."""
        named: dict[str, PodContainer | None] = {}
        for entry in entries:
            container = entry.process.container
            container_id = container.container_id
            if container_id is None:
                continue
            if container_id not in named:
                named[container_id] = self._names.find(container_id)
            pod = named[container_id]
            if pod is not None and pod is not container.pod:
                container = container.named(pod.path, pod)
                entry.process = replace(entry.process, container=container)

    def _silences(self, container: Container) -> tuple[Silence, ...]:
        """Those of the flags, and what the pod's author does not want to hear."""
        text = container.pod.silence if container.pod is not None else ""
        if not text:
            return self._thresholds.silences
        try:
            return (*self._thresholds.silences, *parse_annotation(text))
        except ParseError as error:
            self._processes.errors[error.reason] += 1
            return self._thresholds.silences

    def _report(self, window: Window, gathered: _Gathered) -> tuple[ContainerReport, ...]:
        """One report per container with a Go process, also if it was idle or has ended."""
        profile = window.profile
        per_process = np.zeros((len(window.processes), CATEGORY_COUNT), np.int64)
        np.add.at(per_process, (profile.process, profile.category), profile.hits)
        members: defaultdict[str, list[tuple[int, Process]]] = defaultdict(list)
        seen = set()
        for index, process in enumerate(window.processes):
            if process.is_go:
                hits = int(per_process[index].sum())
                members[process.container.key].append((hits, process))
                seen.add((process.pid, process.start_ticks))
        sampled = [entry for entry in gathered.entries if entry.is_go]
        entries = [*sampled, *self._processes.go_entries()]
        entry_of = {(e.process.pid, e.process.start_ticks): e for e in entries}
        for identity, entry in entry_of.items():
            if identity not in seen:
                members[entry.process.container.key].append((0, entry.process))
        usage_now: dict[str, CpuUsage] = {}
        reports = []
        for key, weighted in members.items():
            weighted.sort(key=lambda pair: (-pair[0], pair[1].pid))
            processes = tuple(process for _, process in weighted)
            cpu_ns = 0
            for hits, process in weighted:
                entry = entry_of[process.pid, process.start_ticks]
                taken = self._processes.take_cpu_ns(entry, window.period_ns)
                cpu_ns += hits * window.period_ns if taken is None else taken
            main = entry_of[processes[0].pid, processes[0].start_ticks]
            usage_now[key] = self._processes.usage(main)
            rows = _rows(window, key)
            report = ContainerReport(
                container=processes[0].container,
                processes=processes,
                category_hits=category_hits(profile.category[rows], profile.hits[rows]),
                functions=top_functions(profile, rows, self._detail.functions)
                if self._detail.functions
                else (),
                limit=main.limit,
                usage=usage_now[key] - self._usage.get(key, CpuUsage()),
                verdict=Verdict.UNREADABLE,
                cpu_ns=cpu_ns,
                drain_hits=_drain_hits(window, gathered, key),
                process_hits=tuple(hits for hits, _ in weighted),
            )
            judged = self._history.judge(report, window.duration_s, window.cpu_count)
            reports.append(silenced(judged, self._silences(report.container)))
        self._history.end_window()
        self._usage = usage_now
        return tuple(sorted(reports, key=lambda report: (-report.hits, report.container.name)))

    def _health(self, drain_s: float, tick_s: float) -> Health:
        caches = self._symbolizer.caches()
        entries = {name: len(cache) for name, cache in caches.items()}
        evictions = {name: cache.evictions for name, cache in caches.items()}
        binaries = self._processes.binaries
        return Health(
            drain_s=drain_s,
            tick_s=tick_s,
            cache_entries={
                **entries,
                "processes": len(self._processes),
                "binaries": len(binaries),
                "cgroup-ids": len(self._processes.cgroups),
                "pod-containers": len(self._names),
            },
            cache_evictions={
                **evictions,
                "binaries": binaries.evictions,
                "cgroup-ids": self._processes.cgroups.evictions,
            },
            errors={**self._processes.errors, **self._names.counts},
        )


def _unjudged(processes: Counter[str], gathered: _Gathered) -> tuple[Unjudged, ...]:
    hits = Counter[str]()
    for (index, _, _), number in gathered.hits.items():
        hits[gathered.entries[index].problem] += number
    del hits[""]
    reasons = processes.keys() | hits.keys()
    found = (Unjudged(reason, processes[reason], hits[reason]) for reason in reasons)
    return tuple(sorted(found, key=lambda each: (-each.processes, each.reason)))


def _profile(gathered: _Gathered) -> Profile:
    keys = np.array(list(gathered.hits), np.int64).reshape(-1, 3)
    return Profile(
        process=keys[:, 0].astype(np.int32),
        stack=keys[:, 1].astype(np.int32),
        category=keys[:, 2].astype(np.uint8),
        hits=np.array(list(gathered.hits.values()), np.int64),
        stacks=tuple(gathered.stacks),
    )


def _drain_hits(window: Window, gathered: _Gathered, key: str) -> tuple[int, ...]:
    """Of the Go processes of one container, without the last block: it may be a shorter one."""
    members = [
        index
        for index, process in enumerate(window.processes)
        if process.is_go and process.container.key == key
    ]
    return tuple(sum(block[index] for index in members) for block in gathered.blocks.hits[:-1])


def _rows(window: Window, key: str) -> Int64Array:
    """Rows of the profile of the Go processes of one container."""
    of_container = np.array(
        [process.is_go and process.container.key == key for process in window.processes], bool
    )
    if not len(of_container):
        return np.zeros(0, np.int64)
    return np.flatnonzero(of_container[window.profile.process]).astype(np.int64)
