"""Keeps verdicts stable: judges sums of windows, so that findings do not flap.

Each container has two sums. The *recent* sum, of about a minute, makes new findings quickly. The
*long* sum, of about an hour, decides whether a finding stays, so that a varying load does not
change the verdict each time. Both restart when the process, its GOMAXPROCS or the limit changes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from gotax.config import Thresholds
from gotax.diagnosis import rules
from gotax.diagnosis.context import Context
from gotax.diagnosis.findings import verdict_of
from gotax.diagnosis.sums import (
    NO_WINDOWS,
    ProcessKey,
    WindowSum,
    one_window,
    process_key,
    samples_of_processes,
)
from gotax.findings import Finding, Saving, Verdict
from gotax.process import Process
from gotax.window import ContainerReport

RECENT_S = 60.0
LONG_S = 3600.0
DOUBT_S = 900.0
BLOCK_S = 300.0
"""Windows older than ``RECENT_S`` are merged into blocks of this length."""
JUDGE_EVERY_S = 60.0
"""A container is judged in every window of its first minute, and then once a minute, because it is
expensive."""
JUDGE_IDLE_EVERY_S = 300.0
"""One that had no samples since: only that time has passed is new."""

_COSTS = (rules.COSTLY, rules.HARMLESS, rules.TOO_FEW_SAMPLES)
"""Exactly one of these is true of a GOMAXPROCS above what fits."""


@dataclass(slots=True)
class _Kept:
    """The history of one container."""

    subject: tuple[object, ...]
    main: ProcessKey
    limit_cores: float | None
    earlier_limit: float | None = None
    memory_limit: int | None = None  # the container's own, as last read
    earlier_memory: int | None = None
    recent: deque[WindowSum] = field(default_factory=deque)
    older: deque[WindowSum] = field(default_factory=deque)
    holding: dict[str, Finding] = field(default_factory=dict)  # by code, as last reported
    released_s: dict[str, float] = field(default_factory=dict)  # by code, since it ended
    turning_s: dict[str, float] = field(default_factory=dict)  # by code, since it is in doubt
    verdict: Verdict | None = None
    verdict_s: float = 0.0
    total_s: float = 0.0  # of the windows since the last restart
    unjudged_s: float = 0.0
    unjudged_samples: int = 0
    saving: Saving | None = None

    def restart(self) -> None:
        self.recent.clear()
        self.older.clear()
        self.holding.clear()
        self.released_s.clear()
        self.turning_s.clear()
        self.verdict = None
        self.total_s = self.unjudged_s = 0.0

    def note_memory(self, report: ContainerReport) -> None:
        """A resize of the memory restarts the history, as one of the CPU limit does."""
        limit = report.memory.own_limit_bytes if report.memory is not None else None
        if limit is None or limit == self.memory_limit:
            return
        if self.memory_limit is not None:
            self.earlier_memory = self.memory_limit
            self.restart()
        self.memory_limit = limit

    @property
    def is_due(self) -> bool:
        wait_s = JUDGE_EVERY_S if self.unjudged_samples else JUDGE_IDLE_EVERY_S
        return self.verdict is None or self.total_s <= RECENT_S or self.unjudged_s >= wait_s

    def add(self, window: WindowSum) -> None:
        passed_s = window.duration_s
        self.total_s += passed_s
        self.unjudged_s += passed_s
        self.unjudged_samples += window.samples
        self.verdict_s += passed_s
        self.released_s = {code: s + passed_s for code, s in self.released_s.items()}
        for code, finding in self.holding.items():
            self.holding[code] = replace(finding, held_s=finding.held_s + passed_s)
        self.recent.append(window)
        total_s = sum(s.duration_s for s in self.recent)
        while total_s - self.recent[0].duration_s >= RECENT_S - 1:
            oldest = self.recent.popleft()
            total_s -= oldest.duration_s
            if self.older and self.older[-1].duration_s + oldest.duration_s <= BLOCK_S:
                self.older[-1] += oldest
            else:
                self.older.append(oldest)
        while len(self.older) > 1 and sum(s.duration_s for s in self.older) > LONG_S:
            self.older.popleft()


class History:
    """Call ``judge`` once per container and window, then ``end_window``."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._kept: dict[str, _Kept] = {}
        self._seen: set[str] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def judge(self, report: ContainerReport, duration_s: float, cpus: int) -> ContainerReport:
        """The report with its verdict, its findings, and how long they have held.

        ``cpus``: of the host.
        """
        kept = self._keep(report)
        kept.add(one_window(report, duration_s, report.cpu_ns or 0))
        if kept.is_due:
            self._judge(kept, report, duration_s, cpus)
        assert kept.verdict is not None
        return replace(
            report,
            verdict=kept.verdict,
            findings=tuple(kept.holding[code] for code in rules.CODES if code in kept.holding),
            held_s=kept.verdict_s,
            saving=kept.saving,
        )

    def _judge(self, kept: _Kept, report: ContainerReport, duration_s: float, cpus: int) -> None:
        recent = self._context(kept, report, kept.recent, cpus)
        long = recent
        if kept.older:
            long = self._context(kept, report, [*kept.older, *kept.recent], cpus)
        _settle(kept, duration_s, recent, long)
        verdict = verdict_of(tuple(kept.holding.values()), long)
        if verdict is not kept.verdict:
            kept.verdict, kept.verdict_s = verdict, duration_s
        kept.saving = None if long.recommended is None else long.saving(long.recommended)
        kept.unjudged_s, kept.unjudged_samples = 0.0, 0

    def end_window(self) -> None:
        """Drops the containers without a report in this window."""
        for key in self._kept.keys() - self._seen:
            del self._kept[key]
        self._seen.clear()

    def _keep(self, report: ContainerReport) -> _Kept:
        key, limit = report.container.key, report.limit.limit_cores
        self._seen.add(key)
        kept = self._kept.get(key)
        main = _main(report, kept)
        subject = _subject(report, main)
        if kept is None:
            kept = self._kept[key] = _Kept(
                subject, process_key(main), limit, self._limit_before(process_key(main), limit)
            )
        if kept.subject != subject:
            if process_key(main) != kept.main:
                # A new process was made for the new limits.
                kept.earlier_limit = kept.earlier_memory = kept.memory_limit = None
            elif kept.limit_cores != limit:
                kept.earlier_limit = kept.limit_cores
            kept.subject, kept.main, kept.limit_cores = subject, process_key(main), limit
            kept.restart()
        kept.note_memory(report)
        return kept

    def _limit_before(self, main: ProcessKey, limit: float | None) -> float | None:
        """Of a process that was in another group: its cgroup was given a limit, or has lost it."""
        for other in self._kept.values():
            if other.main == main:
                return other.earlier_limit if other.limit_cores == limit else other.limit_cores
        return None

    def _context(
        self, kept: _Kept, report: ContainerReport, sums: Iterable[WindowSum], cpus: int
    ) -> Context:
        total = sum(sums, start=NO_WINDOWS)
        return Context(
            report=_pooled(report, total, kept.main),
            duration_s=total.duration_s,
            host_cpus=cpus,
            thresholds=self._thresholds,
            peak_cores=total.peak_cores,
            live_heap=total.live_heap,
            earlier_limit=kept.earlier_limit,
            earlier_memory=kept.earlier_memory,
        )


def _settle(kept: _Kept, duration_s: float, recent: Context, long: Context) -> None:
    """What holds: newly found in either sum, or found before and not disproved by the long one.

    A finding ends after the long sum has disproved it for ``DOUBT_S`` without interruption. Within
    an hour it comes back only after the long sum has proved it for as long.
    """
    found = {finding.code: finding for finding in rules.find_all(long)}
    found_recently = found
    if recent is not long:
        found_recently = {finding.code: finding for finding in rules.find_all(recent)}
    may_stay = {}
    if kept.holding.keys() - found.keys():
        # Rules with release thresholds, for the findings that hold.
        may_stay = {f.code: f for f in rules.find_each(replace(long, lenient=True))}
    holding: dict[str, Finding] = {}
    turning: dict[str, float] = {}
    for code in rules.CODES:
        before = kept.holding.get(code)
        turning_s = kept.turning_s.get(code, 0.0) + kept.unjudged_s
        proved = found.get(code)
        if before is not None:
            finding = proved or found_recently.get(code) or may_stay.get(code)
            if finding is None and turning_s < DOUBT_S:
                finding, turning[code] = before, turning_s
            elif finding and finding.severity is not before.severity and turning_s < DOUBT_S:
                # A change of severity takes as long as a change of the finding.
                finding, turning[code] = before, turning_s
        elif code in kept.released_s:
            finding = proved if turning_s >= DOUBT_S else None
            if proved is not None and finding is None:
                turning[code] = turning_s
        else:
            finding = proved or found_recently.get(code)
        if finding is not None:
            holding[code] = finding
    if rules.HARMLESS in kept.holding and rules.TOO_FEW_SAMPLES in holding:
        # The low cost was proven earlier and has not been disproved.
        holding[rules.HARMLESS] = kept.holding[rules.HARMLESS]
    if not any(code in holding for code in _COSTS):
        # The previous one has ended: the one that is true now replaces it without a wait.
        holding |= {code: found[code] for code in _COSTS if code in found}
    for code, excluded in rules.EXCLUDES.items():
        if code in holding:
            for weaker in excluded:
                holding.pop(weaker, None)
    kept.turning_s = turning
    kept.released_s = {
        code: passed_s
        for code, passed_s in kept.released_s.items()
        if passed_s < LONG_S and code not in holding
    }
    kept.released_s |= dict.fromkeys(kept.holding.keys() - holding.keys(), 0.0)
    kept.holding = {
        code: replace(
            finding,
            held_s=kept.holding[code].held_s if code in kept.holding else duration_s,
        )
        for code, finding in holding.items()
    }


def _main(report: ContainerReport, kept: _Kept | None) -> Process:
    """The process that the verdict is about: the same as before, if it still runs and has a good
    part of the samples."""
    if kept is None:
        return report.main_process
    samples = samples_of_processes(report)
    for process, own in zip(report.processes, samples, strict=True):
        if process_key(process) == kept.main:
            is_minor = own * 4 < samples[0] and report.samples >= 50
            return report.main_process if is_minor else process
    return report.main_process


def _subject(report: ContainerReport, main: Process) -> tuple[object, ...]:
    """When this changes, earlier windows no longer count."""
    found = main.gomaxprocs
    value = found.value if found else None
    return (*process_key(main), value, report.limit.limit_cores, found and found.recommended)


def _pooled(report: ContainerReport, total: WindowSum, main: ProcessKey) -> ContainerReport:
    """The report with the sums in place of one window's numbers, its main process first."""
    samples = [total.process_samples.get(process_key(process), 0) for process in report.processes]
    ranked = sorted(
        zip(report.processes, samples, strict=True),
        key=lambda pair: (process_key(pair[0]) != main, -pair[1], pair[0].pid),
    )
    return replace(
        report,
        processes=tuple(process for process, _ in ranked),
        process_samples=tuple(own for _, own in ranked),
        category_samples=total.category_samples,
        usage=total.usage,
        collections=total.collections,
        cpu_ns=None if report.cpu_ns is None else total.cpu_ns,
    )
