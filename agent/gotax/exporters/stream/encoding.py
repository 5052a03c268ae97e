"""A window as a report of the wire format, complete in itself; proto/gotax/wire/v1/report.proto
describes it.

Stacks become paths of functions. Addresses are omitted, and stacks that differ only by them become
one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from gotax.category import CATEGORY_COUNT, Category
from gotax.exporters.text import bounded, printable
from gotax.findings import Confidence as ModelConfidence
from gotax.findings import Finding, Saving, Severity, Verdict
from gotax.process import Container, CpuLimit, CpuUsage, Origin, PodContainer, Process
from gotax.profile import Frame, FrameKind, Int32Array, Int64Array, Location, Stack
from gotax.window import ContainerReport, OtherReport, Window
from gotax.wire.v1 import report_pb2 as wire

TEXT_MAX = 1024
"""In characters; so a text has at most the 4096 bytes of the wire format."""
DEPTH_MAX = 1024
STACK_COUNTS_MAX = 50_000
"""Per report. Beyond that, those with the fewest samples lose their stacks and are only counted."""
CONTAINERS_MAX = 4096
OTHERS_MAX = 1024
FINDINGS_MAX = 64
EVIDENCE_MAX, PATCHES_MAX = 16, 8
LOSSES_MAX = 64
COUNT_MAX = 1 << 40
TIME_MAX_NS = UCORES_MAX = 1 << 60
DURATION_MAX_NS = 86_400 * 10**9
NUMBER_MAX = (1 << 32) - 1
LINE_MAX = 1 << 30

_USAGE = {
    "usage_ns": TIME_MAX_NS,
    "periods": COUNT_MAX,
    "throttled_periods": COUNT_MAX,
    "throttled_ns": TIME_MAX_NS,
}
_KUBERNETES = re.compile(r"[A-Za-z0-9._:-]*\Z")

_KINDS = {
    FrameKind.GO: wire.FRAME_KIND_UNSPECIFIED,
    FrameKind.KERNEL: wire.FRAME_KIND_KERNEL,
    FrameKind.NATIVE: wire.FRAME_KIND_NATIVE,
}
_ORIGINS = {
    Origin.ENVIRONMENT: wire.ORIGIN_ENVIRONMENT,
    Origin.CRIO: wire.ORIGIN_CRIO,
    Origin.AUTOMAXPROCS: wire.ORIGIN_AUTOMAXPROCS,
    Origin.CALL: wire.ORIGIN_CALL,
    Origin.CONTAINER: wire.ORIGIN_CONTAINER_DEFAULT,
    Origin.CPU_COUNT: wire.ORIGIN_CPU_COUNT,
    Origin.FIXED: wire.ORIGIN_FIXED_DEFAULT,
    Origin.UNKNOWN: wire.ORIGIN_UNSPECIFIED,
}
_VERDICTS = {
    Verdict.OVERSIZED: wire.VERDICT_OVERSIZED,
    Verdict.MISMATCH: wire.VERDICT_MISMATCH,
    Verdict.FITS: wire.VERDICT_FITS,
    Verdict.UNLIMITED: wire.VERDICT_UNLIMITED,
    Verdict.TOO_FEW_SAMPLES: wire.VERDICT_TOO_FEW_SAMPLES,
    Verdict.UNREADABLE: wire.VERDICT_UNREADABLE,
}
_SEVERITIES = {Severity.INFO: wire.SEVERITY_INFO, Severity.WARNING: wire.SEVERITY_WARNING}
_CONFIDENCES = {
    ModelConfidence.LOW: wire.CONFIDENCE_LOW,
    ModelConfidence.MEDIUM: wire.CONFIDENCE_MEDIUM,
    ModelConfidence.HIGH: wire.CONFIDENCE_HIGH,
}
_CATEGORIES = tuple(Category)


def encode(window: Window, stack_counts_max: int = STACK_COUNTS_MAX) -> wire.Report:
    """The report without its epoch, its sequence number, and what was dropped."""
    return _Encoding(window, stack_counts_max).report


def add_dropped(to: wire.Report, dropped: Mapping[str, int]) -> None:
    """Adds to a complete report how many windows were dropped, by reason."""
    strings = to.dictionary.strings
    for reason, count in sorted(dropped.items())[:LOSSES_MAX]:
        strings.append(reason)
        to.window.dropped.add(reason=len(strings), count=count)


class _Encoding:
    """A report under construction, with tables of the entries in its dictionary."""

    def __init__(self, window: Window, stack_counts_max: int) -> None:
        self.report = wire.Report()
        self._dictionary = self.report.dictionary
        self._dictionary.reset = True
        self._strings: dict[str, int] = {"": 0}
        self._functions: dict[tuple[str, str, FrameKind], int] = {}
        self._frames: dict[tuple[int, int, int], int] = {}
        self._after: dict[tuple[int, int], int] = {}  # by frame and id() of the location below it
        self._stacks: dict[int, int] = {}
        self._categories: dict[int, int] = {}
        self._chains: dict[int, tuple[tuple[int, int], ...]] = {}  # by id() of the location
        self._has_files = self._has_kinds = self._has_lines = False
        self._add_head(window)
        reports = window.reports[:CONTAINERS_MAX]
        counts = _StackCounts(window, len(reports), stack_counts_max)
        leaves = self._leaves(window.profile.stacks, counts.stack)
        for number, report in enumerate(reports):
            observation = self._add_observation(window, report)
            self._add_stack_counts(observation, *counts.of(number, leaves))
        for other in [each for each in window.others if each.findings][:OTHERS_MAX]:
            self._add_other(window, other)
        self._drop_empty_columns()

    def _string(self, text: str) -> int:
        known = self._strings.get(text)
        if known is None:
            clean = bounded(printable(text), TEXT_MAX)
            known = self._strings.setdefault(clean, len(self._strings))
            if known > len(self._dictionary.strings):
                self._dictionary.strings.append(clean)
        return known

    def _add_head(self, window: Window) -> None:
        to = self.report.window
        to.start_unix_ns = _bounded(window.start_unix_ns, 1 << 62)
        to.duration_ns = _bounded(round(window.duration_s * 1e9), DURATION_MAX_NS)
        to.period_ns = window.period_ns
        to.cpu_count = window.cpu_count
        to.samples_drained = window.samples.drained
        to.samples_attributed = window.samples.attributed
        to.samples_other = window.other_samples
        for reason, count in sorted(window.samples.lost.items())[:LOSSES_MAX]:
            to.lost.add(reason=self._string(reason), count=count)

    def _add_observation(self, window: Window, report: ContainerReport) -> wire.Observation:
        main = report.main_process
        to = self.report.window.containers.add(
            container=self._container(report.container, main),
            cpu_ns=_bounded(window.cpu_ns_of(report), TIME_MAX_NS),
            process_count=len(report.processes),
            verdict=_VERDICTS[report.verdict],
        )
        for category, samples in enumerate(report.category_samples.tolist()):
            if samples:
                to.category.append(self._category(category))
                to.category_samples.append(samples)
        self._add_gomaxprocs(to, main)
        self._add_usage(to, report.container, report.limit, report.usage)
        for finding in report.findings[:FINDINGS_MAX]:
            self._add_finding(to, finding)
        return to

    def _add_other(self, window: Window, report: OtherReport) -> None:
        """A container without Go. Its CPU time is none of Go's: it is in ``samples_other``."""
        use = report.use
        throttling = use.throttling
        to = self.report.window.others.add(
            container=self._container(report.container, report.main_process),
            process_count=len(use.processes),
        )
        self._add_usage(
            to,
            report.container,
            use.limit or CpuLimit(),
            throttling.usage if throttling is not None else CpuUsage(),
        )
        if not to.cpu.HasField("usage_ns"):
            to.cpu.usage_ns = _bounded(use.samples * window.period_ns, TIME_MAX_NS)
        for finding in report.findings[:FINDINGS_MAX]:
            self._add_finding(to, finding)

    def _add_gomaxprocs(self, to: wire.Observation, process: Process) -> None:
        gomaxprocs = process.gomaxprocs
        if gomaxprocs is None:
            return
        to.gomaxprocs.origin = _ORIGINS[gomaxprocs.origin]
        for name in ("value", "expected", "recommended"):
            number = getattr(gomaxprocs, name)
            if number is not None:
                setattr(to.gomaxprocs, name, _bounded(number, NUMBER_MAX))
        to.gomaxprocs.reason = self._string(gomaxprocs.reason)

    def _add_usage(
        self, to: wire.Observation, container: Container, limit: CpuLimit, usage: CpuUsage
    ) -> None:
        if limit.limit_cores is not None:
            to.cpu.limit_ucores = _ucores(limit.limit_cores)
        pod = container.pod
        if pod is not None and not container.nested and pod.current.request_cores is not None:
            to.cpu.request_ucores = _ucores(pod.current.request_cores)
        for name, most in _USAGE.items():
            value = getattr(usage, name)
            if value is not None:
                setattr(to.cpu, name, _bounded(value, most))

    def _add_finding(self, to: wire.Observation, finding: Finding) -> None:
        if not finding.code:
            return
        added = to.findings.add(
            code=self._string(finding.code),
            severity=_SEVERITIES[finding.severity],
            confidence=_CONFIDENCES[finding.confidence],
            cause=self._string(finding.cause.value if finding.cause else ""),
            title=self._string(finding.title),
            remedy=self._string(finding.remedy.text),
            held_ns=round(finding.held_s * 1e9),
            evidence=[
                bounded(printable(e.text), TEXT_MAX) for e in finding.evidence[:EVIDENCE_MAX]
            ],
            patches=[_lines(patch) for patch in finding.remedy.patches[:PATCHES_MAX]],
        )
        if finding.remedy.gomaxprocs is not None:
            added.remedy_gomaxprocs = _bounded(finding.remedy.gomaxprocs, NUMBER_MAX)
        saving: Saving | None = finding.saving
        if saving is not None:
            added.saving.low_ucores = _ucores(saving.low)
            added.saving.mid_ucores = _ucores(saving.mid)
            added.saving.high_ucores = _ucores(saving.high)

    def _container(self, container: Container, process: Process) -> int:
        added = self._dictionary.containers.add(
            name=self._string(container.name or container.key or "?"),
            cgroup=self._string(container.cgroup),
            container_id=self._string(container.container_id or ""),
            pod_uid=self._kubernetes_name(container.pod_uid or ""),
            unit=self._string(container.unit or ""),
            command=self._string(process.command),
            key=self._string(container.key),
        )
        pod: PodContainer | None = container.pod
        if pod is not None:
            added.namespace = self._kubernetes_name(pod.namespace)
            added.pod = self._kubernetes_name(pod.pod)
            added.container = self._kubernetes_name(container.label)
            added.workload_kind = self._kubernetes_name(pod.workload.kind)
            added.workload_name = self._kubernetes_name(pod.workload.name)
            added.image = self._string(pod.image)
        build = process.build
        if build is not None:
            added.go_version = self._string(build.version)
            added.main_module = self._string(build.main.path)
            added.main_version = self._string(build.main.version)
            added.main_package = self._string(build.package)
        return len(self._dictionary.containers)

    def _kubernetes_name(self, text: str) -> int:
        return self._string(text) if _KUBERNETES.match(text) else 0

    def _category(self, category: int) -> int:
        known = self._categories.get(category)
        if known is None:
            known = self._categories[category] = len(self._categories) + 1
            member = _CATEGORIES[category]
            self._dictionary.categories.add(label=member.label, group=member.group.value)
        return known

    def _leaves(self, stacks: tuple[Stack, ...], used: Int32Array) -> Int64Array:
        """The leaf frame of every used stack; 0 for the others."""
        leaves = np.zeros(len(stacks), np.int64)
        for number in np.unique(used).tolist():
            leaves[number] = self._leaf(stacks[number])
        return leaves

    def _leaf(self, stack: Stack) -> int:
        """The deepest ``DEPTH_MAX`` frames of a stack: a deeper stack loses its root."""
        if sum([len(location.frames) for location in stack]) > DEPTH_MAX:
            path = [each for location in reversed(stack) for each in self._chain(location)]
            return self._below(0, path[-DEPTH_MAX:])
        frame, after = 0, self._after
        for location in reversed(stack):
            key = (frame, id(location))
            known = after.get(key)
            if known is None:
                known = after[key] = self._below(frame, self._chain(location))
            frame = known
        return frame

    def _below(self, frame: int, path: Sequence[tuple[int, int]]) -> int:
        """The frame at the end of a path of (function, line) that begins below ``frame``."""
        frames = self._frames
        for function, line in path:
            key = (frame, function, line)
            known = frames.get(key)
            if known is None:
                known = frames[key] = len(frames) + 1
                self._dictionary.frame_parent.append(known - frame)
                self._dictionary.frame_function.append(function)
                self._dictionary.frame_line.append(line)
            frame = known
        return frame

    def _chain(self, location: Location) -> tuple[tuple[int, int], ...]:
        """(function, line) of each frame of a location, outermost first."""
        known = self._chains.get(id(location))
        if known is None:
            frames = reversed(location.frames)
            known = tuple((self._function(frame), self._line(frame)) for frame in frames)
            self._chains[id(location)] = known
        return known

    def _line(self, frame: Frame) -> int:
        self._has_lines = self._has_lines or frame.line > 0
        return _bounded(frame.line, LINE_MAX)

    def _function(self, frame: Frame) -> int:
        key = (frame.function, frame.file, frame.kind)
        known = self._functions.get(key)
        if known is None:
            known = self._functions[key] = len(self._functions) + 1
            self._dictionary.function_name.append(self._string(frame.function))
            self._dictionary.function_file.append(self._string(frame.file))
            self._dictionary.function_kind.append(_KINDS[frame.kind])
            self._has_files = self._has_files or frame.file != ""
            self._has_kinds = self._has_kinds or frame.kind is not FrameKind.GO
        return known

    def _add_stack_counts(
        self, to: wire.Observation, leaves: Int64Array, categories: Int64Array, samples: Int64Array
    ) -> None:
        """The stack counts of one container; those that differ only by addresses become one."""
        keys, inverse = np.unique(leaves * CATEGORY_COUNT + categories, return_inverse=True)
        sums = np.bincount(inverse, samples, len(keys)).astype(np.int64)
        numbers = np.array([self._stack(key) for key in keys.tolist()], np.int64)
        order = np.argsort(numbers)
        to.stack.extend(np.diff(numbers[order], prepend=0).tolist())
        to.stack_samples.extend(sums[order].tolist())
        to.samples_without_stack = sum(to.category_samples) - int(sums.sum())

    def _stack(self, key: int) -> int:
        known = self._stacks.get(key)
        if known is None:
            known = self._stacks[key] = len(self._stacks) + 1
            frame, category = divmod(key, CATEGORY_COUNT)
            self._dictionary.stack_frame.append(frame)
            self._dictionary.stack_category.append(self._category(category))
        return known

    def _drop_empty_columns(self) -> None:
        if not self._has_files:
            self._dictionary.ClearField("function_file")
        if not self._has_kinds:
            self._dictionary.ClearField("function_kind")
        if not self._has_lines:
            self._dictionary.ClearField("frame_line")


class _StackCounts:
    """The rows of a profile that belong to the first ``count`` reports, at most ``most`` rows."""

    def __init__(self, window: Window, count: int, most: int) -> None:
        profile = window.profile
        owner = np.full(len(profile), -1)
        for number, rows in enumerate(window.report_rows()[:count]):
            owner[rows] = number
        rows = np.flatnonzero(owner >= 0)
        if len(rows) > most:
            kept = np.argpartition(-profile.samples[rows], most)[:most]
            rows = rows[np.sort(kept)]
        rows = rows[np.argsort(owner[rows], kind="stable")]
        self.stack = profile.stack[rows]
        self._category = profile.category[rows].astype(np.int64)
        self._samples = profile.samples[rows]
        self._bounds = np.searchsorted(owner[rows], np.arange(count + 1))

    def of(self, number: int, leaves: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Leaf frames, categories and samples of one report's stack counts."""
        rows = slice(self._bounds[number], self._bounds[number + 1])
        return leaves[self.stack[rows]], self._category[rows], self._samples[rows]


def _ucores(cores: float) -> int:
    return max(-UCORES_MAX, min(round(cores * 1e6), UCORES_MAX))


def _bounded(number: int, most: int) -> int:
    """Limits a number to the range of the wire format, which is wider than any measured value."""
    return max(0, min(number, most))


def _lines(text: str) -> str:
    """Line feeds stay, and nothing else that is not printable."""
    lines = [printable(line) for line in text.split("\n")]
    if len("\n".join(lines)) > TEXT_MAX:
        return bounded(printable(text), TEXT_MAX)
    return "\n".join(lines)
