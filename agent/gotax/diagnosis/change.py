"""Detects changes of a workload's GOMAXPROCS, GOGC or GOMEMLIMIT, and compares before and after.

A container keeps its cgroup if its program restarts, if the program changes GOMAXPROCS by a call,
or if its limit is resized. A rollout replaces the container by another one with the same program.
The last minutes with one value are kept as a sum. After the next value has held for a while, the
two sums are compared.

Of GOGC and GOMEMLIMIT a process counts with the first values that were read: programs that tune
them all the time would never hold one. A remedy sets them at the start.

The clock is the profiled time. A window in which the value changed, or in which the container
appeared, belongs to neither side: it is mixed, or the program warms up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from gotax.comparison import Change, Observation
from gotax.diagnosis.comparison import Pair, Subject, Tuned, compare, tuned_of
from gotax.diagnosis.sums import NO_WINDOWS, WindowSum, one_window
from gotax.findings import Saving
from gotax.process import Container, Process
from gotax.window import ContainerReport, Window

CONTAINERS_MAX = 1000
"""With more containers, those not seen for the longest time are dropped."""
CHANGES_MAX = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """``settle_s``: how long a value has to hold before it is compared. ``memory_s``: the longest
    time with one value that is kept. It is at least twice ``settle_s``, because at times only half
    of it is kept. ``patience_s``: how long a comparison waits for enough samples, or for the old
    containers of a rollout to end, and how long an ended container is remembered. ``show_s``: how
    long a finished comparison stays in the windows. ``min_samples``: needed on each side.
    """

    settle_s: float = 90.0
    memory_s: float = 300.0
    patience_s: float = 900.0
    show_s: float = 3600.0
    min_samples: int = 50

    @staticmethod
    def settling(settle_s: float) -> Settings:
        """The default settings with this ``settle_s``, and longer other times if needed."""
        usual = Settings()
        return Settings(
            settle_s=settle_s,
            memory_s=max(usual.memory_s, 2 * settle_s),
            patience_s=max(usual.patience_s, 4 * settle_s),
        )


@dataclass(frozen=True, slots=True)
class _Values:
    """``gogc`` and ``memory_limit``: as in ``RuntimeState``, None where not (yet) read."""

    gomaxprocs: int
    gogc: int | None = None
    memory_limit: int | None = None

    def is_same(self, other: _Values) -> bool:
        return self.gomaxprocs == other.gomaxprocs and all(
            a is None or b is None or a == b
            for a, b in ((self.gogc, other.gogc), (self.memory_limit, other.memory_limit))
        )

    def or_else(self, other: _Values) -> _Values:
        """With what is known of the other where nothing is known here."""
        return _Values(
            self.gomaxprocs,
            other.gogc if self.gogc is None else self.gogc,
            other.memory_limit if self.memory_limit is None else self.memory_limit,
        )


@dataclass(slots=True)
class _Period:
    """The time with one set of values: the current half of the memory and the one before."""

    value: _Values
    recent: WindowSum = NO_WINDOWS
    earlier: WindowSum = NO_WINDOWS
    report: ContainerReport | None = None
    saving: Saving | None = None  # the last prediction
    tuned: Tuned | None = None

    def add(self, report: ContainerReport, window: Window, memory_s: float) -> None:
        if self.recent.duration_s >= memory_s / 2:
            self.earlier, self.recent = self.recent, NO_WINDOWS
        self.recent += one_window(report, window.duration_s, window.cpu_ns_of(report))
        self.report = report
        predicted = [f.saving for f in report.findings if f.saving and f.remedy.gomaxprocs]
        self.saving = max(predicted, key=lambda saving: saving.mid, default=self.saving)
        others = ((f.remedy.setting, f.saving) for f in report.findings)
        self.tuned = tuned_of(others) or self.tuned

    def total(self) -> WindowSum:
        return self.earlier + self.recent

    def is_enough(self, settings: Settings) -> bool:
        total = self.total()
        return total.duration_s >= settings.settle_s and total.samples >= settings.min_samples


@dataclass(slots=True)
class _Past:
    """The history of one container. ``old`` is set while a comparison is due."""

    container: Container
    program: str
    workload: str
    born_s: float
    seen_s: float
    now: _Period
    main: tuple[int, int]  # PID and start time, last seen
    process: _Values  # of that process
    old: _Period | None = None
    changed_s: float = 0.0
    is_fresh: bool = True  # the program may still warm up in the next window
    is_successor: bool = False  # may replace ended containers of its workload


class ChangeWatch:
    """Call ``observe`` with every window, in order."""

    def __init__(self, settings: Settings = Settings()) -> None:
        self._settings = settings
        self._pasts: dict[tuple[str, str], _Past] = {}
        self._changes: list[tuple[float, Change]] = []
        self._clock_s = 0.0

    def __len__(self) -> int:
        return len(self._pasts)

    def observe(self, window: Window) -> tuple[Change, ...]:
        """The comparisons of the last hour including this window, newest first."""
        self._clock_s += window.duration_s
        seen = [self._follow(report, window) for report in window.reports]
        present = [past for past in seen if past is not None]
        for past in present:
            found = self._compare_in_place(past) or self._compare_with_predecessors(past)
            if found is not None:
                before, after, matched_by = found
                change = Change(
                    container=past.container,
                    unix_ns=window.start_unix_ns + round(window.duration_s * 1e9),
                    comparison=compare(Pair(before, after, matched_by)),
                )
                self._changes.insert(0, (self._clock_s, change))
        self._forget()
        return tuple(change for _, change in self._changes)

    def _follow(self, report: ContainerReport, window: Window) -> _Past | None:
        """Adds the window to the history of the container; None if GOMAXPROCS is unknown."""
        main = report.main_process
        value = _values_of(main)
        if value is None:
            return None
        program = program_of(main)
        key = report.container.key, program
        identity = main.pid, main.start_ticks
        past = self._pasts.pop(key, None) or self._moved(report, program)
        if past is None:
            past = _Past(
                container=report.container,
                program=program,
                workload=_workload(report.container, program),
                born_s=self._clock_s,
                seen_s=self._clock_s,
                now=_Period(value),
                main=identity,
                process=value,
                is_successor=report.container.container_id is not None,
            )
        self._pasts[key] = past  # keeps the dictionary in the order of last seen
        if identity == past.main:
            known = past.process
            value = _Values(value.gomaxprocs, known.gogc, known.memory_limit).or_else(value)
        past.seen_s, past.main, past.process = self._clock_s, identity, value
        if past.now.value.is_same(value):
            past.now.value = value.or_else(past.now.value)
        if not past.now.value.is_same(value):
            self._turn(past, value)
        elif _is_mixed(report, value.gomaxprocs):
            past.is_fresh = True
        elif past.is_fresh:
            past.is_fresh = False
        else:
            past.now.add(report, window, self._settings.memory_s)
        return past

    def _moved(self, report: ContainerReport, program: str) -> _Past | None:
        """The history of a process that moved to another part of its container, because its cgroup
        got or lost a limit."""
        main, container = report.main_process, report.container
        wanted = main.pid, main.start_ticks, container.container_id, container.unit
        for key, past in self._pasts.items():
            known = past.container
            if (
                (*past.main, known.container_id, known.unit) == wanted
                and known.nested != container.nested
                and past.program == program
                and past.seen_s < self._clock_s
            ):
                del self._pasts[key]
                past.container = container
                return past
        return None

    def _turn(self, past: _Past, value: _Values) -> None:
        """A value differs from the window before."""
        past.is_fresh = True
        if past.old is not None and past.old.value.is_same(value):
            past.now, past.old = past.old, None  # back before it had settled
            return
        if past.now.is_enough(self._settings):
            past.old, past.changed_s = past.now, self._clock_s
            past.is_successor = False
        past.now = _Period(value)

    def _compare_in_place(self, past: _Past) -> tuple[Subject, Subject, str] | None:
        """Before and after of a container in the same cgroup, if both sides have enough data."""
        old = past.old
        if old is None:
            return None
        if self._clock_s - past.changed_s > self._settings.patience_s:
            past.old = None
            return None
        if not past.now.is_enough(self._settings):
            return None
        past.old = None
        return _subject([(past, old)]), _subject([(past, past.now)]), "cgroup"

    def _compare_with_predecessors(self, past: _Past) -> tuple[Subject, Subject, str] | None:
        """Before and after of a container that replaced ended containers of its workload.

        None while a running container still has the old value: the rollout has not finished.
        """
        if not past.is_successor or not past.now.is_enough(self._settings):
            return None
        if self._clock_s - past.born_s > self._settings.patience_s:
            return None
        related = [other for other in self._pasts.values() if other.workload == past.workload]
        running = [other for other in related if other.seen_s == self._clock_s]
        gone = [
            other
            for other in related
            if other.seen_s < self._clock_s
            and other.born_s < past.born_s
            and other.container.container_id is not None
            and other.now.is_enough(self._settings)
        ]
        if not gone:
            return None
        value = max(gone, key=lambda other: other.seen_s).now.value
        if any(other.now.value.is_same(value) for other in running):
            past.is_successor = not value.is_same(past.now.value)
            return None
        before = [other for other in gone if other.now.value.is_same(value)]
        after = [
            other
            for other in running
            if other.now.value.is_same(past.now.value) and other.now.is_enough(self._settings)
        ]
        for other in after:
            other.is_successor = False
        for other in before:
            del self._pasts[other.container.key, other.program]
        return (
            _subject([(other, other.now) for other in before]),
            _subject([(other, other.now) for other in after]),
            "workload" if past.container.pod else "program",
        )

    def _forget(self) -> None:
        oldest_s = self._clock_s - self._settings.patience_s
        # The container not seen for the longest time comes first: ``_follow`` keeps this order.
        for key, past in list(self._pasts.items()):
            if past.seen_s >= oldest_s and len(self._pasts) <= CONTAINERS_MAX:
                break
            del self._pasts[key]
        shown_s = self._clock_s - self._settings.show_s
        self._changes = [each for each in self._changes if each[0] >= shown_s][:CHANGES_MAX]


def _values_of(process: Process) -> _Values | None:
    """None if GOMAXPROCS is unknown."""
    value = process.gomaxprocs.value if process.gomaxprocs else None
    if value is None:
        return None
    state = process.runtime
    if state is None:
        return _Values(value)
    return _Values(value, state.gogc, state.memory_limit_bytes)


def _workload(container: Container, program: str) -> str:
    """The key that a rollout does not change: names of Kubernetes if known, else the program."""
    pod = container.pod
    return f"{pod.namespace}/{pod.workload}/{pod.container} {program}" if pod else program


def program_of(process: Process) -> str:
    """The main package's path, else the main module's, else the command."""
    build = process.build
    return (build and (build.package or build.main.path)) or process.command


def _is_mixed(report: ContainerReport, value: int) -> bool:
    """Another process of the program has another value: it restarted within the window."""
    program = program_of(report.main_process)
    return any(
        process.gomaxprocs is not None
        and process.gomaxprocs.value not in (None, value)
        and program_of(process) == program
        for process in report.processes
    )


def _subject(periods: Iterable[tuple[_Past, _Period]]) -> Subject:
    """The mean of one or several containers, as one subject."""
    periods = list(periods)
    total = sum((period.total() for _, period in periods), start=NO_WINDOWS)
    past, period = periods[-1]
    report = period.report
    assert report is not None  # a period with enough data has windows
    main = report.main_process
    savings = list(_savings(periods))
    return Subject(
        name=past.container.name,
        cgroup=past.container.cgroup,
        observation=Observation(
            duration_s=total.duration_s,
            cpu_ns=total.cpu_ns,
            category_samples=tuple(total.category_samples.tolist()),
            usage=replace(total.usage, usage_ns=None),  # not used in Observation
            limit_cores=report.limit.limit_cores,
            gomaxprocs=period.value.gomaxprocs,
            recommended=main.gomaxprocs.recommended if main.gomaxprocs else None,
            go_version=main.build.version if main.build else "",
            blocks=total.windows,
            cores_variance=total.cores_variance,
            gogc=period.value.gogc,
            memory_limit_bytes=period.value.memory_limit,
        ),
        container_id=past.container.container_id,
        unit=past.container.unit,
        program=past.program,
        version=main.build.main.version if main.build else "",
        predicted=savings[-1] if savings else None,
        tuned=next((each.tuned for _, each in reversed(periods) if each.tuned), None),
    )


def _savings(periods: Iterable[tuple[_Past, _Period]]) -> Iterator[Saving]:
    return (period.saving for _, period in periods if period.saving is not None)
