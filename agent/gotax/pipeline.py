"""One sample's way, from a drain to a Window; ARCHITECTURE.md follows it.

Knows every stage and owns their state. Only the daemon and the commands know the pipeline.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from gotax.accumulator import Accumulator
from gotax.attribution import find_owners, find_user_stacks
from gotax.config import Detail, Thresholds
from gotax.diagnosis.change import ChangeWatch, Settings
from gotax.diagnosis.reports import Measured, Reports, collected_by
from gotax.diagnosis.waiting import with_cause
from gotax.health import health_of
from gotax.names import NO_NAMES, Names
from gotax.processes.resolver import Resolver
from gotax.processes.tracked_process import TrackedProcess
from gotax.profile import Profile
from gotax.sampling.sampler import Drain, NewProcess
from gotax.symbols.symbolizer import Symbolizer
from gotax.window import ContainerReport, SampleCount, Window


@dataclass(frozen=True, slots=True)
class Span:
    """When the samples of a window were counted, and what one is worth. ``host_busy``: the used
    share of the host's CPU time, if only some processes are sampled."""

    start_unix_ns: int
    duration_s: float
    period_ns: int
    host_busy: float | None = None


class Pipeline:
    """``absorb`` every drain, then take the ``window``."""

    def __init__(
        self,
        processes: Resolver,
        host: str,
        thresholds: Thresholds,
        detail: Detail,
        names: Names = NO_NAMES,
    ) -> None:
        self._processes = processes
        self._names = names
        self._symbolizer = Symbolizer(
            processes.proc_root, detail.lines, detail.names, processes.errors
        )
        self._host = host
        self._detail = detail
        self._reports = Reports(thresholds, detail.functions, processes.errors)
        self._changes = ChangeWatch(Settings.settling(thresholds.settle_s))
        self._accumulator = Accumulator()
        self._pending = 1 << 32

    def scan(self, pids: Collection[int] | None = None) -> None:
        """Read these processes, or all of the host, so that idle Go programs are reported too."""
        self._processes.begin_round()
        self._processes.scan(pids)
        for tracked in self._processes.go_processes():
            key = tracked.process.container.key
            if key not in self._reports.counters:
                self._reports.counters[key] = self._processes.usage(tracked)
                self._reports.collected[key] = collected_by(tracked.process)

    def read_pending(self) -> bool:
        """Go on with what there was no time to read. Whether that helped, and there is more."""
        before = self._pending
        self._processes.begin_round(is_early=True)
        self._pending = self._processes.read_pending()
        return 0 < self._pending < before

    def read_new(self, new_processes: Sequence[NewProcess]) -> list[int]:
        """Read processes sampled for the first time; returns the PIDs of those that run."""
        started = time.thread_time()
        admitted = self._processes.read_new([(n.cgroup_id, n.tgid) for n in new_processes])
        self._accumulator.work_s += time.thread_time() - started
        return admitted

    def read_again(self, pids: Iterable[int]) -> dict[int, bool]:
        """Those of these PIDs that still run, and whether they are Go programs by now."""
        started = time.thread_time()
        running = self._processes.read_again(pids)
        self._accumulator.work_s += time.thread_time() - started
        return running

    def absorb(self, drain: Drain, drain_s: float, is_early: bool = False) -> None:
        """Attribute, symbolize and classify what was drained; ``drain_s`` is the CPU time it took.

        ``is_early``: a drain out of turn, for a process that may end soon.
        """
        started = time.thread_time()
        accumulated, errors = self._accumulator, self._processes.errors
        kernel_stack = self._symbolizer.kernel_stack if self._detail.kernel_frames else None
        self._processes.begin_round(is_early)
        self._processes.read_pending()
        owners = find_owners(drain, self._processes, accumulated.lost)
        self._processes.others.observe(zip(owners.tracked, owners.samples(drain), strict=True))
        native = self._detail.native_frames
        user_stacks = find_user_stacks(drain, owners, self._symbolizer, native)
        truncated = accumulated.add(drain, owners, user_stacks, kernel_stack, is_early)
        if truncated:
            errors["stack-truncated"] += truncated
        if drain.missed:
            errors["timer-restarted"] += drain.restarted
            errors["timer-missed"] += drain.missed
        accumulated.drain_s += drain_s
        accumulated.work_s += time.thread_time() - started

    def window(self, span: Span) -> Window:
        """Everything absorbed since the last window."""
        started = time.thread_time()
        accumulated, self._accumulator = self._accumulator, Accumulator()
        processes = self._processes
        processes.begin_round()
        unread = processes.refresh_due({tracked.serial for tracked in accumulated.tracked})
        self._name([*accumulated.tracked, *processes.go_processes()])
        profile = accumulated.profile()
        measured = self._measure(accumulated, profile, span.period_ns, unread)
        reports = self._reports.of_window(measured, profile, span.duration_s, accumulated.cpus)
        uses = processes.others.measure(
            self._reports.counters.keys(), span.period_ns, span.duration_s
        )
        others = self._reports.of_others(uses, span.duration_s, accumulated.cpus)
        offered_ns = span.duration_s * 1e9 * accumulated.cpus
        sampled = accumulated.drained * span.period_ns / offered_ns if offered_ns else 0.0
        busy = sampled if span.host_busy is None else span.host_busy
        reports = tuple(
            self._with_waiting(report, busy, span.host_busy is not None) for report in reports
        )
        unjudged, judged = accumulated.unjudged(processes.unjudged()), processes.judged()
        processes.end_window()
        work_s = accumulated.work_s + time.thread_time() - started
        attributed = int(profile.samples.sum())
        window = Window(
            host=self._host,
            start_unix_ns=span.start_unix_ns,
            duration_s=span.duration_s,
            period_ns=span.period_ns,
            cpu_count=accumulated.cpus,
            samples=SampleCount(accumulated.drained, attributed, dict(accumulated.lost)),
            processes=tuple(tracked.process for tracked in accumulated.tracked),
            profile=profile,
            reports=reports,
            other_samples=attributed - sum(report.samples for report in reports),
            health=health_of(processes, self._symbolizer, self._names, accumulated.drain_s, work_s),
            unjudged=unjudged,
            judged=judged,
            others=others,
        )
        return replace(window, changes=self._changes.observe(window))

    def _with_waiting(
        self, report: ContainerReport, host_busy: float, is_asked_for: bool
    ) -> ContainerReport:
        """Read only where there is a finding that it may explain, and of the few processes that a
        command was asked about."""
        if not report.findings and not is_asked_for:
            return report
        waiting = self._processes.waiting(report.main_process)
        return with_cause(replace(report, waiting=waiting), host_busy)

    def _name(self, processes: Iterable[TrackedProcess]) -> None:
        """Pods are looked up at the window's end: by then even those are known that started in it,
        and a process that ended in it gets the name as well."""
        find = cache(self._names.find)
        for tracked in processes:
            container_id = tracked.process.container.container_id
            tracked.name(None if container_id is None else find(container_id))

    def _measure(
        self, accumulated: Accumulator, profile: Profile, period_ns: int, unread: Collection[int]
    ) -> Iterator[Measured]:
        """Every container with a Go process, also if it was idle or has ended.

        ``unread``: serials of processes that were not read. The counters of a container of such
        processes only are read with the first of them that is.
        """
        for members in accumulated.containers(self._processes.go_processes()):
            cpu_ns = 0
            for member in members.ranked:
                taken = self._processes.take_cpu_ns(member.tracked, period_ns)
                cpu_ns += member.samples * period_ns if taken is None else taken
            main = members.ranked[0].tracked
            counters = None
            if all(member.tracked.serial in unread for member in members.ranked):
                counters = self._reports.counters.get(main.process.container.key)
            yield Measured(
                processes=tuple(member.process for member in members.ranked),
                process_samples=tuple(member.samples for member in members.ranked),
                rows=profile.rows_of(members.indices),
                drain_samples=accumulated.drain_samples(members.indices),
                cpu_ns=cpu_ns,
                limit=main.limit,
                counters=self._processes.usage(main) if counters is None else counters,
                memory=self._processes.memory(main, any(m.samples for m in members.ranked)),
            )
