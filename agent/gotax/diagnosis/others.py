"""GT020: a container without a Go program is throttled, because too many of its threads run at
once."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import reduce

from gotax.confidence import interval
from gotax.config import Thresholds
from gotax.diagnosis.context import whole
from gotax.diagnosis.patches import Setting, setting_patch
from gotax.diagnosis.rules import codes
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity
from gotax.other import OtherUse, Recognised, ThreadGroup, Throttling
from gotax.window import OtherReport

RECENT_S = 60.0
DOUBT_S = 900.0
IDLE_MAX = 8
"""So many windows without samples end the history of a container."""
PERIODS_LEAST = 20
"""So many enforcement periods, two seconds as a rule, say something."""
NOTABLE_STOP = 0.05
"""Part of a period. One busy thread under a limit of 1 CPU is stopped in many periods, but for a
moment only: the kernel hands out the quota in slices."""
_BUSY_SHARE = 0.05
_NAMED_MAX, _GROUPS_MAX = 3, 4
_UNREADABLE_MAX = 100


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of one container: ``use`` is that of the last window, of ``window_s``;
    ``throttling`` and ``stopped_ns`` are those of the last minute. ``fits``: how many threads the
    limit allows at once. ``lenient``: a finding holds, so less is enough.
    """

    use: OtherUse
    window_s: float
    throttling: Throttling
    thresholds: Thresholds
    limit: float
    limit_cgroup: str | None
    stopped_ns: int
    fits: int
    lenient: bool

    @property
    def at_once(self) -> float:
        """So many threads at least ran or wanted to at once, by three lower bounds: on average of
        all the time; by the queues that were stopped in the throttled periods; and a quota of L
        CPUs is not used up before the end of a period by L threads.

        The first is too low for a program that works in bursts, the second for short bursts and
        where other programs use the CPUs, the third says nothing of a limit below 1.
        """
        proven = math.floor(self.limit) + 1 if self.limit >= 1 else None
        bounds = (proven, self.throttling.cpus_at_once(self.limit), self.use.runnable)
        return max(bound for bound in bounds if bound is not None)

    @property
    def cores(self) -> float | None:
        """CPU of the cgroup with the limit, None if the kernel's number is missing."""
        used = self.throttling.usage.usage_ns
        return None if used is None else used / 1e9 / self.throttling.duration_s

    @property
    def is_throttled(self) -> bool:
        throttled, periods = self.throttling.periods
        low, high = interval(throttled, periods)
        share = self.thresholds.throttled_share
        notable_ns = NOTABLE_STOP * throttled * self.throttling.period_ns
        if not throttled or self.stopped_ns < notable_ns:
            return False
        if self.lenient:
            return high >= share * self.thresholds.release
        return periods >= PERIODS_LEAST and low >= share

    @property
    def is_too_many(self) -> bool:
        ratio = self.thresholds.mismatch_ratio
        if self.lenient:
            ratio = 1 + (ratio - 1) * self.thresholds.release
        return self.at_once >= self.fits * ratio

    @property
    def busy_processes(self) -> int:
        """Those that ran at least a part of what the busiest did. Of the samples of all of them
        each of many workers would have too few. At least 1: something was throttled."""
        samples = self.use.process_samples
        return max(1, sum(own > 0 and own >= _BUSY_SHARE * max(samples) for own in samples))

    @property
    def is_full(self) -> bool | None:
        """It uses all of its limit; None if its use is not known."""
        cores = self.cores
        return None if cores is None else cores >= self.thresholds.saturation * self.limit

    def number(self, recognised: Recognised) -> int:
        """What the knob of this recipe should be."""
        if recognised.recipe.is_for_all:
            return self.fits
        return max(1, self.fits // self.busy_processes)

    def is_proven(self, recognised: Recognised) -> bool:
        """The program has the setting that is wrong, and does not follow the limit without it."""
        if recognised.value is not None:
            return True
        is_known = recognised.knob is not None or not self.use.unread
        return is_known and not recognised.recipe.follows_limit


def find_too_many(case: _Case) -> Finding | None:
    """GT020."""
    if not case.is_throttled or not case.is_too_many:
        return None
    recognised = case.use.recognised or ()
    wrong = [each for each in recognised if each.value is None or each.value > case.number(each)]
    if recognised and not wrong and case.busy_processes <= case.fits:
        return None
    wrong = wrong[:_NAMED_MAX]
    is_certain = case.is_full is False and any(case.is_proven(each) for each in wrong)
    return Finding(
        code=codes.TOO_MANY_THREADS,
        title=_title(case, wrong),
        severity=Severity.WARNING if is_certain else Severity.INFO,
        confidence=Confidence.HIGH if is_certain else Confidence.MEDIUM,
        evidence=tuple(_evidence(case, wrong)),
        remedy=_remedy(case, wrong),
    )


def _title(case: _Case, wrong: list[Recognised]) -> str:
    is_many = case.busy_processes > case.fits and not _has_pool(case)
    what = "processes" if is_many else "threads"
    if wrong:
        what = "processes" if wrong[0].recipe.is_for_all else what
        return f"Throttled: {wrong[0].recipe.name} runs more {what} at once than the limit allows"
    return f"Throttled: more {what} run at once than the CPU limit allows"


def _has_pool(case: _Case) -> bool:
    """Its processes have more than one busy thread each, as far as is known."""
    ran = case.use.threads_ran
    return ran is not None and ran > 2 * case.busy_processes


def _evidence(case: _Case, wrong: list[Recognised]) -> Iterator[Evidence]:
    yield _throttled(case)
    yield _at_once(case)
    if case.use.ran is not None:
        yield _siblings(case, case.use.ran)
    if wrong:
        for each in wrong:
            yield _knob(each, case.use.unread)
    elif case.use.recognised:
        names = ", ".join(each.recipe.name for each in case.use.recognised)
        yield Evidence(f"the settings of {names} fit each process, but there are several")
    else:
        yield Evidence(_why_unknown(case.use))
    if case.cores is not None:
        passed_s = case.throttling.duration_s
        text = f"it used {case.cores:.2f} cores over {passed_s:.0f} s"
        yield Evidence(text, case.cores, "cores", None, passed_s)


def _throttled(case: _Case) -> Evidence:
    throttled, periods = case.throttling.periods
    return Evidence(
        f"throttled in {throttled} of {periods} periods,"
        f" {case.stopped_ns / 1e9:.1f} s in all on all CPUs",
        throttled / periods,
        "share",
        interval(throttled, periods),
        case.throttling.duration_s,
    )


def _at_once(case: _Case) -> Evidence:
    text = (
        f"at least {case.at_once:.1f} threads at once ran or waited; a limit of"
        f" {case.limit:g} CPU (cgroup {case.limit_cgroup}) fits {case.fits}"
    )
    return Evidence(text, case.at_once, "count", None, case.throttling.duration_s)


def _siblings(case: _Case, ran: tuple[ThreadGroup, ...]) -> Evidence:
    count = sum(group.count for group in ran)
    groups = ", ".join(f"{group.count} {_named(group)}" for group in ran[:_GROUPS_MAX])
    text = f"{count} of {case.use.counted} threads ran" + (f": {groups}" if groups else "")
    if case.busy_processes > 1:
        text += f"; {case.busy_processes} processes were busy"
    return Evidence(text, count, "count", None, case.window_s)


def _named(group: ThreadGroup) -> str:
    return f"named {group.name}" if group.name else "others"


def _knob(each: Recognised, unread: str) -> Evidence:
    recipe, knob = each.recipe, each.knob
    if knob is None:
        names = [knob.name for knob in recipe.knobs]
        if unread:
            return Evidence(
                f"{recipe.name}: whether {' or '.join(names)} is set could not be read"
                f" ({unread[:_UNREADABLE_MAX]})"
            )
        if not any(knob.variable for knob in recipe.knobs):
            text = f"its command line, as far as it shows it, has no {' or '.join(names)}"
        elif len(names) == 1:
            text = f"{names[0]} is not set"
        else:
            text = f"none of {', '.join(names)} is set"
        unset = f"; then {recipe.unset}" if recipe.unset else ""
        return Evidence(f"{recipe.name}: {text}{unset}")
    if each.value is None:
        return Evidence(f"{recipe.name}: {knob.name} is set, but not to a number")
    return Evidence(f"{recipe.name}: {knob.name} is {each.value}", each.value, "count")


def _why_unknown(use: OtherUse) -> str:
    name = use.main_process.command
    if use.unread:
        return (
            f"the program ({name}) or its settings could not be read"
            f" ({use.unread[:_UNREADABLE_MAX]}), so it is not known which setting would help"
        )
    if use.recognised is None:
        return (
            f"the settings of the program ({name}) have not been read, so it is not known which"
            " setting would help"
        )
    return f"no recipe knows the program ({name}), so gotax does not know which setting would help"


def _remedy(case: _Case, wrong: list[Recognised]) -> Remedy:
    if wrong:
        texts = [each.recipe.advice.replace("{n}", str(case.number(each))) for each in wrong]
        text = " ".join(dict.fromkeys(texts))
    else:
        text = f"Let it run at most {case.fits} at once: threads, workers or processes."
    if case.limit < case.fits:
        text += (
            f" With a limit of {case.limit:g} CPU expect less throttling, not none. A limit of"
            f" {case.fits} ends it."
        )
    if case.is_full:
        text += (
            " It uses all of its limit: fewer threads end the pauses, and a higher limit gives it"
            " more CPU."
        )
    patches = [
        setting_patch(case.use.container, Setting(each.recipe.patched, str(case.number(each))))
        for each in wrong
        if each.recipe.patched
    ]
    return Remedy(text, patches[0] if patches else "", None, tuple(patches[1:]))


@dataclass(slots=True)
class _Kept:
    """The history of one container. It restarts with its processes and its limit.

    ``recent``: the last minute, each with the time of its end. ``asked``: the last window in which
    the settings were known.
    """

    members: frozenset[tuple[int, int]] = frozenset()
    limit: float | None = None
    recent: deque[tuple[float, Throttling]] = field(default_factory=deque)
    asked: OtherUse | None = None
    finding: Finding | None = None
    doubt_s: float = field(init=False)  # for how long the finding has not been found
    idle: int = field(init=False)  # windows without samples

    def restart(self) -> None:
        self.recent.clear()
        self.asked = self.finding = None

    def add(self, window: Throttling, now_s: float) -> Throttling:
        """The sum of the last minute; a second is for windows that end late."""
        self.recent.append((now_s, window))
        while now_s - self.recent[0][0] >= RECENT_S - 1:
            self.recent.popleft()
        return reduce(Throttling.__add__, (each for _, each in self.recent))

    def with_settings(self, use: OtherUse) -> OtherUse:
        """A window that is hardly throttled does not ask for the settings: they are as before."""
        if use.recognised is not None:
            self.asked = use
        if self.asked is None:
            return use
        return replace(use, recognised=self.asked.recognised, unread=self.asked.unread)


class OtherHistory:
    """Call ``judge`` once per container and window, then ``end_window``."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._kept: dict[str, _Kept] = {}
        self._clock_s = 0.0  # the sum of all windows

    def __len__(self) -> int:
        return len(self._kept)

    def judge(self, use: OtherUse, duration_s: float, cpus: int) -> OtherReport:
        """A finding appears when the last minute proves it, and goes after it has not been there
        for a quarter of an hour. ``cpus``: of the host."""
        key = use.container.key
        kept = self._kept.get(key)
        if kept is None:
            if use.throttling is None:
                return OtherReport(use)
            kept = self._kept[key] = _Kept()
        kept.idle = 0
        members = frozenset((process.pid, process.start_ticks) for process in use.processes)
        limit = kept.limit if use.limit is None else use.limit.limit_cores
        if not members & kept.members or limit != kept.limit:
            kept.restart()
        kept.members, kept.limit = members, limit
        self._settle(kept, use, duration_s, cpus)
        return OtherReport(use, () if kept.finding is None else (kept.finding,))

    def _settle(self, kept: _Kept, use: OtherUse, duration_s: float, cpus: int) -> None:
        before = kept.finding
        case = self._case(kept, use, duration_s, cpus)
        found = None if case is None else find_too_many(case)
        if found is not None:
            kept.doubt_s = 0.0
        elif before is not None:
            kept.doubt_s += duration_s
            found = before if kept.doubt_s < DOUBT_S else None
        held_s = duration_s if before is None else before.held_s + duration_s
        kept.finding = None if found is None else replace(found, held_s=held_s)

    def _case(self, kept: _Kept, use: OtherUse, duration_s: float, cpus: int) -> _Case | None:
        """None if it has no limit, or its throttling is not known."""
        known = kept.with_settings(use)
        recent = (
            None if use.throttling is None else kept.add(use.throttling, self._clock_s + duration_s)
        )
        bound = use.limit
        if bound is None or bound.limit_cores is None or recent is None:
            return None
        stopped_ns = recent.usage.throttled_ns
        if stopped_ns is None:
            return None
        counts = (whole(bound.limit_cores), cpus, bound.cpuset_cpus)
        return _Case(
            use=known,
            window_s=duration_s,
            throttling=recent,
            thresholds=self._thresholds,
            limit=bound.limit_cores,
            limit_cgroup=bound.limit_cgroup,
            stopped_ns=stopped_ns,
            fits=min(count for count in counts if count),
            lenient=kept.finding is not None,
        )

    def end_window(self, duration_s: float) -> None:
        """Drops the containers without samples for several windows."""
        self._clock_s += duration_s
        for key, kept in list(self._kept.items()):
            kept.idle += 1
            if kept.idle > IDLE_MAX:
                del self._kept[key]
