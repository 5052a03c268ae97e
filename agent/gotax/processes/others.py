"""Containers without a Go program: their limits, throttling, threads and settings.

A node has hundreds of them, and most are fine. So a window reads nothing of a container that has
no limit, or uses little of it. Of the others it reads the counters of the cgroup, and only if these
say that the kernel throttles it, its threads and its settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux import procfs
from gotax.linux.cgroups.position import is_below
from gotax.linux.cgroups.tree import Cgroups
from gotax.linux.procfs import DELETED
from gotax.other import OtherUse, Recognised, Throttling
from gotax.process import CpuLimit, CpuUsage
from gotax.processes.containers import ReadBounds
from gotax.processes.counts import ErrorCounts
from gotax.processes.membership import Membership, Memberships
from gotax.processes.thread_counts import Ran, Snapshot, count_threads
from gotax.processes.tracked_process import TrackedProcess
from gotax.recipe import Recipe, any_matches

KEPT_MAX = 1024
"""Containers that are looked at in one window: those with the most samples."""
FIRST_LOOKS = 32
"""Limits read for the first time at one drain."""
LIMIT_EVERY, LIMIT_HOT_EVERY = 8, 4
"""Windows until the limit of a container is read again that had none, or used little of it; and of
one that used much of it and was not throttled. That of a throttled one is read in each window."""
LITTLE = 0.05
"""A container that uses less of its limit cannot be throttled in a tenth of the periods."""
SUSPICIOUS = 0.05
"""Share of throttled periods from which the threads and the settings are looked at."""
THREADS_EACH, THREADS_MAX = 512, 2048
"""Threads read of one container, and in one window."""
PROCESSES_MAX = 64
WORK_S = 0.25
"""CPU time for this in one window. Containers for which there is none are reported without what was
not read, and counted as ``others-put-off``."""
LEAST_S, OLD_S = 0.2, 150.0
"""Ages of earlier counters that say something about this window."""

Load = Callable[[], tuple[Recipe, ...]]


@dataclass(slots=True)
class _Kept:
    """What is known of one container, between the windows."""

    limit: CpuLimit | None = None
    looked: int = -LIMIT_EVERY  # in which window its limit was read
    counters: CpuUsage | None = None
    at_s: float = 0.0  # when they were read
    period_ns: int = 0
    unread: str = ""
    threads: Snapshot | None = None  # as last seen
    subject: tuple[int, int, str] | None = None  # which program was asked about its settings
    asks: int = 0
    recognised: tuple[Recognised, ...] | None = None
    settings_unread: str = ""
    seen: int = 0  # the last window with samples
    samples: dict[int, int] = field(default_factory=dict)  # in this window, by serial
    members: dict[int, TrackedProcess] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.samples.values())

    @property
    def main(self) -> TrackedProcess | None:
        """The one with the most samples of those that live."""
        return next((tracked for tracked in self.ranked() if tracked.alive), None)

    def look_every(self, used: float) -> int:
        """Windows until the limit is read again: at once if it matters."""
        if self.threads is not None:
            return 1
        return LIMIT_HOT_EVERY if self.is_hot(used) else LIMIT_EVERY

    def is_hot(self, used: float) -> bool:
        """``used``, in cores, is enough of its limit to be throttled."""
        limit = self.limit.limit_cores if self.limit is not None else None
        return limit is not None and used >= LITTLE * limit

    def ranked(self) -> list[TrackedProcess]:
        """Its processes with samples, most samples first."""
        order = sorted(self.samples, key=lambda serial: (-self.samples[serial], serial))
        return [self.members[serial] for serial in order]


class Others:
    """``observe`` each drain, and ``measure`` at the end of the window.

    ``load``: reads the recipes, when they are needed for the first time.
    """

    def __init__(
        self,
        proc: str,
        cgroups: Cgroups,
        memberships: Memberships,
        errors: ErrorCounts,
        load: Load,
    ) -> None:
        self._proc = proc
        self._cgroups = cgroups
        self._memberships = memberships
        self._errors = errors
        self._kept: dict[str, _Kept] = {}
        self._go: frozenset[str] = frozenset()  # containers with a Go process
        self._window = 0
        self._threads_left = THREADS_MAX
        self._recipes: tuple[Recipe, ...] | None = None
        self._load = load

    def __len__(self) -> int:
        return len(self._kept)

    def observe(self, owners: Iterable[tuple[TrackedProcess, int]]) -> None:
        """``owners``: the processes of a drain, with their samples."""
        first = []
        for tracked, samples in owners:
            if not samples or tracked.is_go or tracked.membership.position.paths.cpu == "/":
                continue  # in the root cgroup nothing has a limit; kernel threads are there too
            key = tracked.process.container.key
            if key in self._go:
                continue
            kept = self._kept.get(key)
            if kept is None:
                if len(self._kept) >= 2 * KEPT_MAX:
                    self._errors["others-put-off"] += 1
                    continue
                kept = self._kept[key] = _Kept()
            if kept.looked < 0:
                first.append(kept)
            kept.samples[tracked.serial] = kept.samples.get(tracked.serial, 0) + samples
            kept.members[tracked.serial] = tracked
        first.sort(key=lambda kept: -kept.total)
        limits: ReadBounds = {}
        with self._cgroups.each_ancestor_once():
            for kept in first[:FIRST_LOOKS]:
                if kept.looked < 0:
                    self._look(kept, limits)
                    if _may_have_many(kept):
                        self._count_threads(kept)

    def measure(
        self, go: Collection[str], period_ns: int, duration_s: float
    ) -> tuple[OtherUse, ...]:
        """The containers with samples in this window, those with the most first.

        ``go``: keys of containers with a Go process. ``period_ns``: what a sample stands for.
        """
        until_s = time.thread_time() + WORK_S
        self._threads_left = THREADS_MAX
        limits: ReadBounds = {}
        self._go = frozenset(go)
        for key in self._go:
            self._kept.pop(key, None)
        busy = [kept for kept in self._kept.values() if kept.samples]
        busy.sort(key=lambda kept: -kept.total)
        found = []
        with self._cgroups.each_ancestor_once():
            for kept in busy[:KEPT_MAX]:
                kept.seen = self._window
                used = kept.total * period_ns / 1e9 / duration_s if duration_s > 0 else 0.0
                if time.thread_time() < until_s:
                    found.append(self._measured(kept, used, limits))
                else:
                    self._errors["others-put-off"] += 1
                    found.append(_use(kept, None, None))
        for kept in busy:
            kept.samples.clear()
            kept.members.clear()
        self._forget()
        self._window += 1
        return tuple(found)

    def _measured(self, kept: _Kept, used: float, limits: ReadBounds) -> OtherUse:
        throttling = self._throttling(kept, used, limits)
        if throttling is None or not _is_suspicious(throttling):
            kept.threads = None
            return _use(kept, throttling, None)
        ran = self._count_threads(kept)
        self._ask_settings(kept)
        return _use(kept, throttling, ran)

    def _forget(self) -> None:
        old = [k for k, kept in self._kept.items() if self._window - kept.seen > LIMIT_EVERY]
        for key in old:
            del self._kept[key]

    def _look(self, kept: _Kept, limits: ReadBounds) -> None:
        """Read the limit, and the counters if there is one and they are not known."""
        kept.looked = self._window
        kept.unread = ""
        main = kept.main
        if main is None:
            return
        try:
            membership = self._membership(main, limits)
            if membership.container.key != main.process.container.key:
                main.move(membership)  # counts for the other container from now on
                kept.limit = kept.counters = None
                return
            main.membership = membership.without_entries()
            if membership.limit.problem:
                kept.unread, kept.limit, kept.counters = membership.limit.problem, None, None
                return
            if kept.limit != membership.limit:
                kept.limit, kept.counters = membership.limit, None
            if kept.limit.limit_cgroup is None:
                return
            kept.period_ns = self._cgroups.read_period_ns(kept.limit.limit_cgroup)
            if kept.counters is None:
                kept.counters, kept.at_s = self._counters(main, kept.limit), time.monotonic()
        except ProcessGoneError:
            kept.limit = kept.counters = None
        except ReadError as error:
            self._errors.note(error)
            kept.unread, kept.limit, kept.counters = error.reason, None, None

    def _membership(self, main: TrackedProcess, limits: ReadBounds) -> Membership:
        stat = procfs.read_stat(self._proc, main.process.pid)
        if stat.start_ticks != main.process.start_ticks:
            raise ProcessGoneError(f"PID {stat.pid} is another process now")
        return self._memberships.find(stat, main.files, limits)

    def _counters(self, main: TrackedProcess, limit: CpuLimit) -> CpuUsage:
        """Of the cgroup with the limit: the container's own, one below it, or one above."""
        assert limit.limit_cgroup is not None
        if _is_own(main, limit):
            return self._cgroups.read_group_usage(main.membership.position, main.membership.bounds)
        return self._cgroups.read_usage(limit.limit_cgroup)

    def _throttling(self, kept: _Kept, used: float, limits: ReadBounds) -> Throttling | None:
        """Since the counters were last read. ``used``: CPU in cores, by the samples."""
        before_s = kept.at_s
        if self._window - kept.looked >= kept.look_every(used):
            self._look(kept, limits)
        main, before = kept.main, kept.counters
        if main is None or before is None or kept.limit is None or not kept.is_hot(used):
            return None
        try:
            now, now_s = self._counters(main, kept.limit), time.monotonic()
        except ProcessGoneError:
            kept.counters = None
            return None
        except ReadError as error:
            self._errors.note(error)
            kept.counters, kept.unread = None, error.reason
            return None
        usage, passed_s = now - before, now_s - kept.at_s
        if passed_s < LEAST_S:
            return None  # they were read a moment ago
        is_fit = kept.at_s == before_s and passed_s <= OLD_S
        kept.counters, kept.at_s = now, now_s
        if not is_fit or not kept.period_ns:
            return None
        if not _is_own(main, kept.limit) and used * passed_s * 2e9 < (usage.usage_ns or 0):
            return None  # most of what the limit is for is another container's
        return Throttling(usage, passed_s, kept.period_ns)

    def _count_threads(self, kept: _Kept) -> Ran | None:
        """What the threads did since this was last asked; None the first time."""
        before = kept.threads
        most = min(THREADS_EACH, self._threads_left)
        processes = kept.ranked()[:PROCESSES_MAX]
        kept.threads = count_threads(self._proc, processes, before, most, self._errors)
        self._threads_left -= len(kept.threads.threads)
        return None if before is None else kept.threads.since(before)

    def _ask_settings(self, kept: _Kept) -> None:
        """A program may load a library later, so this is asked for the 1st, 2nd, 4th ... time."""
        main = kept.main
        if main is None:
            return
        if kept.subject not in {_subject(tracked) for tracked in kept.members.values()}:
            kept.subject, kept.asks = _subject(main), 0
            kept.recognised, kept.settings_unread = None, ""
        kept.asks += 1
        if kept.asks & (kept.asks - 1):
            return
        if self._recipes is None:
            self._recipes = self._load()
        exe = main.program.link.removesuffix(DELETED).rpartition("/")[2]
        names = kept.threads.names if kept.threads is not None else frozenset()
        recipes = tuple(
            recipe
            for recipe in self._recipes
            if any_matches(recipe.programs, [exe, main.process.command])
            and any_matches(recipe.threads, names)
        )
        try:
            answer = main.files.recognise(recipes)
        except ProcessGoneError:
            return
        except ReadError as error:
            self._errors.note(error)
            kept.settings_unread = error.reason
            return
        kept.settings_unread = answer.unread
        kept.recognised = tuple(
            Recognised(
                recipe := recipes[state.recipe],
                recipe.knobs[state.knob] if state.knob >= 0 else None,
                state.value if state.value >= 0 else None,
            )
            for state in answer.found
        )


def _subject(tracked: TrackedProcess) -> tuple[int, int, str]:
    return tracked.process.pid, tracked.process.start_ticks, tracked.program.link


def _may_have_many(kept: _Kept) -> bool:
    """It has a limit, and more threads than that."""
    limit = kept.limit.limit_cores if kept.limit is not None else None
    return limit is not None and kept.total > 1 and _threads(kept) > limit


def _threads(kept: _Kept) -> int:
    stats = [tracked.life.stat for tracked in kept.members.values()]
    return sum(1 if stat is None else stat.threads for stat in stats)


def _is_suspicious(throttling: Throttling) -> bool:
    throttled, periods = throttling.periods
    return throttled > 0 and throttled >= SUSPICIOUS * periods


def _is_own(main: TrackedProcess, limit: CpuLimit) -> bool:
    """The limit is the container's own, or that of a cgroup below it."""
    top = main.membership.position.tops.cpu
    return limit.limit_cgroup == top or is_below(limit.limit_cgroup, top)


def _use(kept: _Kept, throttling: Throttling | None, ran: Ran | None) -> OtherUse:
    ranked = kept.ranked()
    main = ranked[0]
    is_asked = throttling is not None and _is_suspicious(throttling)
    return OtherUse(
        container=main.process.container,
        samples=kept.total,
        processes=tuple(tracked.process for tracked in ranked[:PROCESSES_MAX]),
        process_samples=tuple(kept.samples[tracked.serial] for tracked in ranked[:PROCESSES_MAX]),
        threads=_threads(kept),
        limit=kept.limit,
        throttling=throttling,
        counted=0 if ran is None else ran.counted,
        ran=None if ran is None else ran.groups,
        runnable=None if ran is None else ran.runnable,
        recognised=kept.recognised if is_asked else None,
        unread=kept.unread or main.problem or (kept.settings_unread if is_asked else ""),
    )
