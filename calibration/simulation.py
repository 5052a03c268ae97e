"""A discrete-event model of Go's scheduler under the kernel's bandwidth control.

Goroutines arrive from the network and are readied by others. Ps run them, steal from each other in
random order, spin, wake one another and park, as runtime/proc.go does: at most half of the busy Ps
spin, a spinning thread that finds work wakes the next one, and a thread that finds none looks once
more before it sleeps. Threads share the CPUs of the host in slices of time. The CPU time of a limit
comes in slices of 5 ms per CPU, out of a quota for each 100 ms.

Times are nanoseconds. docs/decisions/0019-no-simulation-of-the-scheduler.md has the result.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

STEAL = 8
"""A look at the queue of one P: the slope of the CPU time of a timer's wake-up over 2 to 512 Ps."""
WAKE, SLEEP, RESUME, SWITCH, POLL = 5_000, 2_000, 1_000, 200, 1_000
"""futex(2) that wakes, futex(2) that sleeps, the way back onto a CPU, a switch of goroutines, and
epoll(2). Two locked threads hand over in 8,000 to 10,000; waking and parking have the proportions
of the fitted runs."""
ROUNDS = 4
TIMESLICE = 3_000_000
PERIOD, QUOTA_SLICE = 100_000_000, 5_000_000
END = 10_000_000_000
KINDS = ("find", "wake", "park", "switch", "work")
Step = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Load:
    """``service``: mean time of a goroutine. ``children``: the share of goroutines that ready
    another one. ``cores``: CPUs that all of them need."""

    service: int
    children: float
    cores: float


@dataclass(frozen=True, slots=True)
class Machine:
    procs: int
    cpus: int
    limit: float | None = None


class Simulation:
    def __init__(self, machine: Machine, load: Load, seed: int = 1) -> None:
        self._machine, self._load = machine, load
        self._random = random.Random(seed)
        self._now = self._done = self._count = 0
        self._events: list[tuple[int, int, str, tuple[int, int, int]]] = []
        self._spent = dict.fromkeys(KINDS, 0)
        # the runtime
        procs = range(machine.procs)
        self._local = [0 for _ in procs]  # goroutines in each queue; they are all alike
        self._arrived = 0
        self._idle = list(reversed(procs))
        self._poller: int | None = 0
        self._is_spinning = [False for _ in procs]
        self._threads = [self._thread(p) for p in procs]
        self._is_asleep = [True for _ in procs]
        self._steps: list[Step] = [("park", 0) for _ in procs]
        # the kernel
        self._runnable: deque[int] = deque()
        self._free = list(range(machine.cpus))
        self._slices = [0] * machine.cpus
        self._quota = self._full_quota()

    def run(self, goroutines: int) -> dict[str, int]:
        """CPU time by kind until so many have run; that of the first tenth does not count."""
        self._at(0, "arrival")
        if self._machine.limit is not None:
            self._at(PERIOD, "period")
        warm_up = goroutines // 10
        while self._done < goroutines and self._now < END:
            self._now, _, kind, detail = heapq.heappop(self._events)
            if kind == "arrival":
                self._arrive()
            elif kind == "ran":
                self._ran(*detail)
            else:
                self._quota = self._full_quota()
                self._at(self._now + PERIOD, "period")
            self._dispatch()
            if warm_up and self._done >= warm_up:
                self._spent, warm_up = dict.fromkeys(KINDS, 0), 0
        return self._spent

    def _at(self, time: int, kind: str, detail: tuple[int, int, int] = (0, 0, 0)) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, kind, detail))

    def _arrive(self) -> None:
        mean = self._load.service / (1 - self._load.children) / self._load.cores
        self._at(self._now + int(self._random.expovariate(1 / mean)) + 1, "arrival")
        self._arrived += 1
        if self._poller is not None:
            p, self._poller = self._poller, None
            self._idle.remove(p)
            self._resume(p)

    def _full_quota(self) -> int:
        limit = self._machine.limit
        return 1 << 62 if limit is None else int(limit * PERIOD)

    def _resume(self, p: int) -> None:
        self._is_asleep[p] = False
        self._steps[p] = ("park", RESUME)
        self._runnable.append(p)

    def _dispatch(self) -> None:
        while self._free and self._runnable:
            cpu = self._free[-1]
            if self._slices[cpu] <= 0:
                more = min(QUOTA_SLICE, self._quota)
                if more <= 0:
                    return  # throttled until the next period
                self._quota -= more
                self._slices[cpu] += more
            self._free.pop()
            p = self._runnable.popleft()
            part = min(self._steps[p][1], TIMESLICE, max(1, self._slices[cpu]))
            self._at(self._now + part, "ran", (p, cpu, part))

    def _ran(self, p: int, cpu: int, part: int) -> None:
        kind, left = self._steps[p]
        self._spent[kind] += part
        self._slices[cpu] -= part
        self._free.append(cpu)
        if left > part:
            self._steps[p] = kind, left - part
            self._runnable.append(p)
            return
        step = next(self._threads[p])
        if not self._is_asleep[p]:
            self._steps[p] = step
            self._runnable.appendleft(p)  # it goes on where it is

    def _thread(self, p: int) -> Iterator[Step]:
        pass_over_all = STEAL * self._machine.procs
        while True:
            found = self._take_own(p)
            if not found:
                busy = self._machine.procs - len(self._idle)
                if 2 * sum(self._is_spinning) < busy:
                    self._is_spinning[p] = True
                for _ in range(ROUNDS if self._is_spinning[p] else 0):
                    yield "find", pass_over_all
                    found = self._take_own(p) or self._steal(p)
                    if found:
                        break
            was_spinning, self._is_spinning[p] = self._is_spinning[p], False
            if not found:
                yield "find", pass_over_all + POLL
                if self._arrived or any(self._local):
                    continue
                self._idle.append(p)
                if self._poller is None:
                    self._poller = p
                self._is_asleep[p] = True
                yield "park", 0
                yield "park", SLEEP  # paid when it wakes
                continue
            if was_spinning and self._may_wake():
                yield "wake", WAKE
                self._wake()
            service = int(self._random.expovariate(1 / self._load.service)) + 1
            yield "work", service // 2
            if self._random.random() < self._load.children:
                self._local[p] += 1
                if self._may_wake():
                    yield "wake", WAKE
                    self._wake()
            yield "work", service - service // 2
            self._done += 1
            yield "switch", SWITCH

    def _take_own(self, p: int) -> bool:
        if self._local[p]:
            self._local[p] -= 1
            return True
        if self._arrived:
            self._local[p] += self._arrived - 1
            self._arrived = 0
            return True
        return False

    def _steal(self, p: int) -> bool:
        others = [q for q, queued in enumerate(self._local) if queued and q != p]
        if not others:
            return False
        other = self._random.choice(others)
        taken = (self._local[other] + 1) // 2
        self._local[other] -= taken
        self._local[p] += taken - 1
        return True

    def _may_wake(self) -> bool:
        return bool(self._idle) and not any(self._is_spinning)

    def _wake(self) -> None:
        if not self._idle:
            return
        p = self._idle.pop()
        if p == self._poller:
            self._poller = None
        self._is_spinning[p] = True
        self._resume(p)
