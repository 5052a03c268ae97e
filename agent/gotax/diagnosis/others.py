"""GT020: a container without a Go program is throttled, because too many of its threads run at
once."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace

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
_NAMED_MAX = 3
_UNREADABLE_MAX = 100


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of one container: ``use`` is that of the last window, ``throttling`` that of
    the last minute. ``fits``: how many threads the limit allows at once."""

    use: OtherUse
    throttling: Throttling
    thresholds: Thresholds
    limit: float
    fits: int
    host_cpus: int
    lenient: bool = False

    @property
    def at_once(self) -> float:
        """So many threads at least ran or wanted to at once, by three lower bounds: on average of
        all the time; by the queues that were stopped in the throttled periods; and a quota of L
        CPUs is not used up before the end of a period by L threads.

        The first is too low for a program that works in bursts, the second for short bursts and
        where other programs use the CPUs, the third says nothing of a limit below 1.
        """
        proven = math.floor(self.limit) + 1 if self.limit >= 1 else 0
        counted = self.throttling.cpus_at_once(self.limit) or 0.0
        return max(proven, counted, self.use.runnable or 0.0)

    @property
    def cores(self) -> float:
        """CPU of the cgroup with the limit."""
        used = self.throttling.usage.usage_ns
        return 0.0 if used is None else used / 1e9 / self.throttling.duration_s

    @property
    def is_throttled(self) -> bool:
        throttled, periods = self.throttling.periods
        low, high = interval(throttled, periods)
        share = self.thresholds.throttled_share
        stopped_ns = self.throttling.usage.throttled_ns or 0
        if stopped_ns < NOTABLE_STOP * throttled * self.throttling.period_ns:
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
        least = max(1.0, _BUSY_SHARE * self.use.samples)
        return sum(own >= least for own in self.use.process_samples)

    @property
    def is_full(self) -> bool:
        """It uses all of its limit."""
        return self.cores >= self.thresholds.saturation * self.limit

    def number(self, recognised: Recognised) -> int:
        """What the knob of this recipe should be."""
        if recognised.recipe.is_for_all:
            return self.fits
        return max(1, self.fits // max(1, self.busy_processes))


def find_too_many(case: _Case) -> Finding | None:
    """GT020."""
    if not case.is_throttled or not case.is_too_many:
        return None
    wrong = [
        each
        for each in case.use.recognised or ()
        if each.value is None or each.value > case.number(each)
    ]
    is_set_to_fit = bool(case.use.recognised) and not wrong
    if is_set_to_fit and case.busy_processes <= case.fits:
        return None
    wrong = wrong[:_NAMED_MAX]
    is_certain = not case.is_full and any(
        each.value is not None or not each.recipe.follows_limit for each in wrong
    )
    return Finding(
        code=codes.TOO_MANY_THREADS,
        title=_title(case, wrong),
        severity=Severity.WARNING if is_certain else Severity.INFO,
        confidence=Confidence.HIGH if is_certain else Confidence.MEDIUM,
        evidence=tuple(_evidence(case, wrong, is_set_to_fit)),
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


def _evidence(case: _Case, wrong: list[Recognised], is_set_to_fit: bool) -> list[Evidence]:
    found = [_throttled(case), _at_once(case)]
    if siblings := _siblings(case):
        found.append(siblings)
    found += [_knob(each) for each in wrong]
    if is_set_to_fit:
        names = ", ".join(each.recipe.name for each in case.use.recognised or ())
        found.append(Evidence(f"the settings of {names} fit each process, but there are several"))
    elif not wrong:
        found.append(Evidence(_why_unknown(case.use)))
    found.append(
        Evidence(
            f"it used {case.cores:.2f} cores over {case.throttling.duration_s:.0f} s",
            case.cores,
            "cores",
            None,
            case.throttling.duration_s,
        )
    )
    return found


def _throttled(case: _Case) -> Evidence:
    throttled, periods = case.throttling.periods
    share = throttled / periods if periods else 0.0
    stopped_ns = case.throttling.usage.throttled_ns
    text = f"throttled in {throttled} of {periods} periods"
    return Evidence(
        text if stopped_ns is None else f"{text}, {stopped_ns / 1e9:.1f} s in all on all CPUs",
        share,
        "share",
        interval(throttled, periods),
        case.throttling.duration_s,
    )


def _at_once(case: _Case) -> Evidence:
    limit = case.use.limit
    where = limit.limit_cgroup if limit is not None else None
    text = (
        f"at least {case.at_once:.1f} threads at once ran or waited; a limit of"
        f" {case.limit:g} CPU (cgroup {where}) fits {case.fits}"
    )
    return Evidence(text, case.at_once, "count", None, case.throttling.duration_s)


def _siblings(case: _Case) -> Evidence | None:
    use = case.use
    if use.ran is None:
        return None
    ran = use.threads_ran or 0
    groups = ", ".join(f"{group.count} {_named(group)}" for group in use.ran[:4])
    text = f"{ran} of {use.counted} threads ran" + (f": {groups}" if groups else "")
    if case.busy_processes > 1:
        text += f"; {case.busy_processes} processes were busy"
    return Evidence(text, ran, "count", None, case.throttling.duration_s)


def _named(group: ThreadGroup) -> str:
    return f"named {group.name}" if group.name else "others"


def _knob(each: Recognised) -> Evidence:
    recipe, knob = each.recipe, each.knob
    if knob is None:
        names = [knob.name for knob in recipe.knobs]
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


def _case_of(
    use: OtherUse, throttling: Throttling | None, thresholds: Thresholds, cpus: int
) -> _Case | None:
    limit = use.limit.limit_cores if use.limit is not None else None
    if limit is None or throttling is None or use.limit is None:
        return None
    usable = min(cpus or 1, use.limit.cpuset_cpus or cpus or 1)
    return _Case(use, throttling, thresholds, limit, min(whole(limit), max(1, usable)), cpus)


@dataclass(slots=True)
class _Kept:
    """The history of one container. It restarts with its processes and its limit."""

    members: frozenset[tuple[int, int]] = frozenset()
    limit: float | None = None
    recent: deque[Throttling] = field(default_factory=deque)
    finding: Finding | None = None
    doubt_s: float = 0.0  # for how long it has not been found
    idle: int = 0  # windows without samples

    def restart(self) -> None:
        self.recent.clear()
        self.finding, self.doubt_s = None, 0.0

    def add(self, window: Throttling) -> Throttling:
        """The sum of the last minute."""
        self.recent.append(window)
        total_s = sum(each.duration_s for each in self.recent)
        while len(self.recent) > 1 and total_s - self.recent[0].duration_s >= RECENT_S - 1:
            total_s -= self.recent.popleft().duration_s
        total = self.recent[0]
        for each in list(self.recent)[1:]:
            total += each
        return total


class OtherHistory:
    """Call ``judge`` once per container and window, then ``end_window``."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._kept: dict[str, _Kept] = {}

    def judge(self, use: OtherUse, duration_s: float, cpus: int) -> OtherReport:
        """A finding appears when the last minute proves it, and goes after it has not been there
        for a quarter of an hour. ``cpus``: of the host."""
        key = use.container.key
        limit = use.limit.limit_cores if use.limit is not None else None
        kept = self._kept.get(key)
        if kept is None:
            if use.throttling is None:
                return OtherReport(use)
            kept = self._kept[key] = _Kept()
        kept.idle = 0
        members = frozenset((process.pid, process.start_ticks) for process in use.processes)
        if not members & kept.members or limit != kept.limit:
            kept.restart()
            kept.limit = limit
        kept.members = members
        self._settle(kept, use, duration_s, cpus)
        return OtherReport(use, () if kept.finding is None else (kept.finding,))

    def _settle(self, kept: _Kept, use: OtherUse, duration_s: float, cpus: int) -> None:
        before = kept.finding
        throttling = None if use.throttling is None else kept.add(use.throttling)
        case = _case_of(use, throttling, self._thresholds, cpus)
        found = None if case is None else find_too_many(case)
        if found is None and before is not None and case is not None:
            found = find_too_many(replace(case, lenient=True))
        if found is None and before is not None:
            kept.doubt_s += duration_s
            found = before if kept.doubt_s < DOUBT_S else None
        else:
            kept.doubt_s = 0.0
        held_s = duration_s if before is None else before.held_s + duration_s
        kept.finding = None if found is None else replace(found, held_s=held_s)

    def end_window(self) -> None:
        """Drops the containers without samples for several windows."""
        for key, kept in list(self._kept.items()):
            kept.idle += 1
            if kept.idle > IDLE_MAX:
                del self._kept[key]
