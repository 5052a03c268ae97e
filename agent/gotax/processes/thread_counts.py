"""What the threads of some processes did between two looks at them."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.pressure import ThreadTimes, read_thread_name, read_times
from gotax.other import ThreadGroup
from gotax.processes.counts import ErrorCounts
from gotax.processes.tracked_process import TrackedProcess

GROUPS_MAX = 8
_NUMBER = re.compile(r"(?<![.0-9])[0-9]+$")
_NEW = ThreadTimes(0, 0)
_Key = tuple[int, int, int]  # PID, start of the process, TID


@dataclass(frozen=True, slots=True)
class Ran:
    """Of ``counted`` threads, those that ran, and how many ran or wanted to on average."""

    groups: tuple[ThreadGroup, ...]
    counted: int
    runnable: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """``threads``: their times since their start, and their names."""

    at_s: float
    threads: dict[_Key, tuple[ThreadTimes, str]]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for _, name in self.threads.values())

    def since(self, before: Snapshot) -> Ran | None:
        """None if no thread could be read. A thread that is new has all its time since then."""
        if not self.threads or self.at_s <= before.at_s:
            return None
        names: Counter[str] = Counter()
        wanted_ns = 0
        for key, (now, name) in self.threads.items():
            then = before.threads.get(key, (_NEW, ""))[0]
            names[name] += now.run_ns > then.run_ns
            wanted_ns += max(0, now.run_ns - then.run_ns) + max(0, now.wait_ns - then.wait_ns)
        passed_s = self.at_s - before.at_s
        return Ran(grouped(+names), len(self.threads), wanted_ns / 1e9 / passed_s)


def count_threads(
    proc: str,
    processes: Iterable[TrackedProcess],
    before: Snapshot | None,
    most: int,
    errors: ErrorCounts,
) -> Snapshot:
    """Of these processes, as far as they live; at most ``most`` threads. Names are read once."""
    known = {} if before is None else before.threads
    found: dict[_Key, tuple[ThreadTimes, str]] = {}
    at_s = time.monotonic()
    for tracked in processes:
        process = tracked.process
        if len(found) >= most or not tracked.alive:
            continue
        try:
            times = read_times(proc, process.pid, most - len(found))
        except ProcessGoneError:
            continue
        except ReadError as error:
            errors.note(error)
            continue
        for number, passed in times.items():
            key = process.pid, process.start_ticks, number
            name = known[key][1] if key in known else _name(proc, process.pid, number)
            found[key] = passed, name
    return Snapshot(at_s, found)


def _name(proc: str, pid: int, thread: int) -> str:
    try:
        return read_thread_name(proc, pid, thread)
    except (ProcessGoneError, ReadError):
        return ""


def grouped(names: Counter[str]) -> tuple[ThreadGroup, ...]:
    """By name without the number at its end. The last group may have no name: it has the rest."""
    forms: dict[str, list[str]] = {}
    for name in names:
        forms.setdefault(_NUMBER.sub("*", name), []).append(name)
    every = [
        ThreadGroup(form if len(of_form) > 1 else of_form[0], sum(names[name] for name in of_form))
        for form, of_form in forms.items()
    ]
    every.sort(key=lambda group: (-group.count, group.name))
    rest = sum(group.count for group in every[GROUPS_MAX:])
    return (*every[:GROUPS_MAX], ThreadGroup("", rest)) if rest else tuple(every)
