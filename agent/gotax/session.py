"""The sampling loop as an iterator: a Sampler and a Pipeline, and a Window per interval."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from gotax.config import Detail, Roots, Thresholds
from gotax.errors import ReadError, UserError
from gotax.linux import pidnamespace
from gotax.linux.access import require_access
from gotax.linux.pressure import HostTimes, read_host_times
from gotax.names import NO_NAMES, Names
from gotax.pipeline import Pipeline, Span
from gotax.processes.first_look import LookSchedule
from gotax.processes.resolver import Resolver
from gotax.processes.turns import ALWAYS_ON, EACH_WINDOW
from gotax.reader.pool import ROUND_WAIT_S, Pool
from gotax.reader.server import ForkServer
from gotax.recipe import Recipe
from gotax.sampling import preflight
from gotax.sampling.loader import Watch
from gotax.sampling.sampler import EVERYTHING, Sampler, Target
from gotax.scope import CgroupScope, Scope
from gotax.window import Window

_SCAN_INTERVAL_S = 60.0
_WAIT_SHARE, _LEAST_WAIT_S, _WAITS_PER_S = 0.2, 0.4, 0.3
"""A round waits for readers for this share of the time between two drains, or so long; all rounds
together for the last one."""


class Stop(Protocol):
    """Set when it is time to end; ``threading.Event`` is one."""

    def is_set(self) -> bool: ...

    def wait(self, timeout: float, also: int | None = None) -> object:
        """Return after ``timeout`` seconds, as soon as it is set, or as ``also`` is readable."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to sample.

    ``drain_s``: how often the kernel's counts are fetched at least. ``names``: the source of
    the pods of containers. ``server`` forks readers; without it a session starts one, which a
    process with threads must not do. ``recipes``: called once they are needed. ``by_turns``: each
    window reads only some of the processes again.
    """

    hz: int
    drain_s: float
    scope: Scope = Scope()
    roots: Roots = Roots()
    thresholds: Thresholds = Thresholds()
    detail: Detail = Detail()
    host: str = ""
    names: Names = NO_NAMES
    server: ForkServer | None = None
    recipes: Callable[[], tuple[Recipe, ...]] = tuple
    by_turns: bool = False


class Session:
    """A context manager; sampling runs from ``__enter__`` to ``__exit__``."""

    def __init__(self, plan: Plan, watch: Watch = lambda _: None) -> None:
        """``watch`` is called while the BPF program is compiled, and may raise to give up."""
        self._plan = plan
        self._cgroups = CgroupScope(plan.scope.cgroups, plan.roots)
        target = replace(self._target(), pid_namespace=_nested_namespace(plan.roots))
        server = plan.server or ForkServer()
        self._own_server = None if plan.server else server
        wait_s = min(ROUND_WAIT_S, max(_LEAST_WAIT_S, _WAIT_SHARE * plan.drain_s))
        self._readers = Pool(server, wait_s)
        turns = ALWAYS_ON if plan.by_turns else EACH_WINDOW
        self._processes = Resolver(plan.roots, self._readers, plan.recipes, turns)
        self._pipeline = Pipeline(
            self._processes,
            plan.host or socket.gethostname(),
            plan.thresholds,
            plan.detail,
            plan.names,
        )
        self._sampler = Sampler(plan.hz, plan.drain_s, target, plan.detail.kernel_frames, watch)
        self._schedule = LookSchedule()
        self._scanned = 0.0

    def _target(self) -> Target:
        scope = self._plan.scope
        if scope.is_host:
            return EVERYTHING
        for pid in scope.pids:
            if not Path(self._plan.roots.proc, str(pid)).exists():
                raise UserError(f"no process has PID {pid}")
        if not scope.pids and (single := self._cgroups.in_kernel()) is not None:
            return single
        return Target(tgids=scope.pids | self._cgroups.tgids())

    def __enter__(self) -> Self:
        try:
            preflight.require()
            scope = self._plan.scope
            require_access(
                self._plan.roots.proc,
                None if scope.is_host else scope.pids | self._cgroups.tgids(),
            )
            self._sampler.__enter__()
            self._scan()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._sampler.close()
        self._readers.close()
        if self._own_server is not None:
            self._own_server.close()

    def windows(self, window_s: float, stop: Stop, first_s: float = 0.0) -> Iterator[Window]:
        """A window every ``window_s`` seconds, on a fixed schedule; the last one is cut short, and
        the first one has ``first_s`` seconds, if that is not 0.

        Ends once ``stop`` is set: with a last window of what was counted until then.
        """
        self._readers.is_stopping = stop.is_set
        while not stop.is_set() and self._pipeline.read_pending():
            pass
        self._readers.waits_per_s = _WAITS_PER_S
        started = due = time.monotonic()
        started_unix_ns = time.time_ns()
        host_times = self._host_times()
        while not stop.is_set():
            due = max(due + (first_s or window_s), time.monotonic())
            first_s = 0.0
            while not stop.is_set() and (began := time.monotonic()) < due:
                self._watch(stop, min(due, began + self._plan.drain_s))
                self._drain()
                self._schedule.rest()
            now, now_unix_ns = time.monotonic(), time.time_ns()
            if self._plan.scope.is_host and now - self._scanned > _SCAN_INTERVAL_S:
                self._scan()
            before, host_times = host_times, self._host_times()
            busy = host_times.busy_since(before) if before and host_times else None
            span = Span(started_unix_ns, now - started, self._sampler.period_ns, busy)
            started, started_unix_ns = now, now_unix_ns
            yield self._pipeline.window(span)

    def _host_times(self) -> HostTimes | None:
        """Of all CPUs, where the samples do not show what other programs use."""
        return None if self._plan.scope.is_host else read_host_times(self._plan.roots.proc)

    def _watch(self, stop: Stop, until: float) -> None:
        """Read new processes until it is time to drain: by then they may have ended.

        Costs nothing while no process starts.
        """
        schedule = self._schedule
        while not stop.is_set() and (now := time.monotonic()) < until:
            is_listening = now >= schedule.listen_at_s
            wake = min(until, schedule.next_look_s, until if is_listening else schedule.listen_at_s)
            stop.wait(
                max(0.0, wake - now), self._sampler.new_processes_fd if is_listening else None
            )
            now = time.monotonic()
            if now >= schedule.listen_at_s and (new_processes := self._sampler.new_processes()):
                schedule.announced(now)
                schedule.add(self._pipeline.read_new(new_processes), now)
            due = schedule.take_due(now)
            if due:
                running = self._pipeline.read_again(due)
                schedule.drop(due.keys() - running.keys())
                if any(is_go and due[pid] for pid, is_go in running.items()):
                    self._drain(is_early=True)

    def _drain(self, is_early: bool = False) -> None:
        began = time.thread_time()
        drain = self._sampler.drain()
        self._pipeline.absorb(drain, time.thread_time() - began, is_early)
        if self._sampler.follows_tgids and self._plan.scope.cgroups:
            self._sampler.follow(self._plan.scope.pids | self._cgroups.tgids())

    def _scan(self) -> None:
        self._scanned = time.monotonic()
        if self._plan.scope.is_host:
            self._pipeline.scan()
        else:
            tgids = self._plan.scope.pids | self._cgroups.tgids()
            self._pipeline.scan(tgids)


def _nested_namespace(roots: Roots) -> int | None:
    """The PID namespace by which /proc counts; None: by the initial one, as the kernel does.

    Raises UserError where that cannot be known, and where nothing but gotax is in it.
    """
    try:
        found = pidnamespace.read_pid_namespace(roots.proc)
    except ReadError as error:
        raise UserError(
            f"{error}: add the capability SYS_PTRACE, or mount the host's /proc"
        ) from error
    if found == pidnamespace.INITIAL:
        return None
    if not pidnamespace.read_others(roots.proc):
        raise UserError(
            "nothing but gotax runs in its PID namespace: set hostPID: true (docker: --pid=host)"
        )
    return found
