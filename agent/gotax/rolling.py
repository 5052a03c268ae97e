"""The last minute of a live display: several windows as one."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gotax.category import CATEGORY_COUNT
from gotax.process import CpuUsage, Process
from gotax.profile import FunctionShare, Profile
from gotax.window import ContainerReport, SampleCount, Unjudged, Window

MINUTE_S = 60.0
_SLACK_S = 0.5  # windows are a little longer than asked for
_GONE = "process-gone"
_NO_PROFILE = Profile(
    np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.uint8), np.zeros(0, np.int64), ()
)


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """A process with its samples in the last minute."""

    process: Process
    samples: int


@dataclass(frozen=True, slots=True)
class _Part:
    """A window without its profile. ``samples`` are those of its processes, in their order."""

    window: Window
    samples: tuple[int, ...]
    reports: dict[str, ContainerReport]


@dataclass(frozen=True, slots=True)
class Minute:
    """``window`` has the sums of up to a minute, for the containers of the newest window. Verdicts,
    findings, limits and processes are those of the newest."""

    window: Window
    _parts: tuple[_Part, ...]

    def trend(self, key: str) -> tuple[float | None, ...]:
        """CPU cores of a container in each window, the oldest first. None: it was not there."""
        return tuple(
            part.window.cores_of(report) if (report := part.reports.get(key)) else None
            for part in self._parts
        )

    def explained(self, report: ContainerReport) -> ContainerReport:
        """The report of ``window`` with its functions, which are the sums of those of the parts."""
        flat: Counter[str] = Counter()
        cumulative: Counter[str] = Counter()
        for earlier in self._reports_of(report.container.key):
            for share in earlier.functions:
                flat[share.function] += share.flat_samples
                cumulative[share.function] += share.cumulative_samples
        ranked = sorted(cumulative, key=lambda name: (-cumulative[name], -flat[name], name))
        functions = tuple(FunctionShare(name, flat[name], cumulative[name]) for name in ranked)
        return replace(report, functions=functions)

    def processes_of(self, report: ContainerReport) -> tuple[ProcessUse, ...]:
        """The processes of a container, Go or not, the busiest first."""
        key = report.container.key
        found = {_identity(process): process for process in report.processes}
        samples = Counter(dict.fromkeys(found, 0))
        for part in self._parts:
            for process, own in zip(part.window.processes, part.samples, strict=True):
                if process.container.key == key:
                    found.setdefault(_identity(process), process)
                    samples[_identity(process)] += own
        ranked = sorted(samples, key=lambda each: (-samples[each], each))
        return tuple(ProcessUse(found[each], samples[each]) for each in ranked)

    def _reports_of(self, key: str) -> list[ContainerReport]:
        return [part.reports[key] for part in self._parts if key in part.reports]


class Rolling:
    """``add`` each window; the result is the last minute."""

    def __init__(self) -> None:
        self._parts: deque[_Part] = deque()

    def add(self, window: Window) -> Minute:
        samples = np.bincount(
            window.profile.process, window.profile.samples, len(window.processes)
        ).astype(np.int64)
        self._parts.append(
            _Part(
                replace(window, profile=_NO_PROFILE),
                tuple(samples.tolist()),
                {report.container.key: report for report in window.reports},
            )
        )
        while len(self._parts) > 1 and self._is_oldest_too_old():
            self._parts.popleft()
        return _minute(tuple(self._parts))

    def _is_oldest_too_old(self) -> bool:
        """A window of more than a minute is one in which gotax was stopped."""
        oldest_s = self._parts[0].window.duration_s
        rest_s = sum(part.window.duration_s for part in self._parts) - oldest_s
        return oldest_s > MINUTE_S or rest_s > MINUTE_S - _SLACK_S


def _minute(parts: tuple[_Part, ...]) -> Minute:
    windows = [part.window for part in parts]
    newest = windows[-1]
    reports = [
        _summed(report, [p.reports[key] for p in parts if key in p.reports], windows)
        for key, report in parts[-1].reports.items()
    ]
    lost: Counter[str] = Counter()
    for window in windows:
        lost.update(window.samples.lost)
    window = replace(
        newest,
        start_unix_ns=windows[0].start_unix_ns,
        duration_s=sum(window.duration_s for window in windows),
        samples=SampleCount(
            sum(window.samples.drained for window in windows),
            sum(window.samples.attributed for window in windows),
            dict(lost),
        ),
        reports=tuple(sorted(reports, key=lambda r: (-r.samples, r.container.name))),
        other_samples=sum(window.other_samples for window in windows),
        unjudged=_unjudged(windows),
    )
    return Minute(window, parts)


def _summed(
    newest: ContainerReport, reports: Sequence[ContainerReport], windows: Sequence[Window]
) -> ContainerReport:
    """``newest`` with the sums of all ``reports`` of this container."""
    period_ns = windows[-1].period_ns
    usage = CpuUsage()
    categories = np.zeros(CATEGORY_COUNT, np.int64)
    cpu_ns = 0
    for report in reports:
        usage += report.usage
        categories += report.category_samples
        cpu_ns += report.samples * period_ns if report.cpu_ns is None else report.cpu_ns
    return replace(newest, category_samples=categories, usage=usage, cpu_ns=cpu_ns, functions=())


def _unjudged(windows: Iterable[Window]) -> tuple[Unjudged, ...]:
    """Programs that ended are other ones in each window; those that run are the same ones."""
    found: dict[str, Unjudged] = {}
    for window in windows:
        for each in window.unjudged:
            before = found.get(each.reason, Unjudged(each.reason, 0, 0))
            processes = (
                each.processes + before.processes if each.reason == _GONE else each.processes
            )
            found[each.reason] = Unjudged(each.reason, processes, before.samples + each.samples)
    return tuple(sorted(found.values(), key=lambda each: (-each.processes, each.reason)))


def _identity(process: Process) -> tuple[int, int]:
    return process.pid, process.start_ticks
