"""The metrics of containers, and their values for the listed containers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from gotax.category import CATEGORY_COUNT, Category
from gotax.comparison import Change, Comparison
from gotax.exporters.metrics import memory
from gotax.exporters.metrics.family import (
    Family,
    Labels,
    Metric,
    per_container,
)
from gotax.exporters.metrics.totals import ContainerTotals, running_of
from gotax.exporters.text import bounded
from gotax.findings import Finding, Verdict
from gotax.process import NO_MEMORY_LIMIT, Container
from gotax.window import ContainerReport, OtherReport, Window

MAX_LABEL = 256
MAX_FINDINGS = 20  # of one container; the rules have fewer codes

_CATEGORIES = [(category.label, category.group.value) for category in Category]
_VERDICTS = [(verdict.value, verdict) for verdict in Verdict]

_NO_OTHERS: Mapping[Labels, OtherReport] = {}
Listed = Mapping[Labels, ContainerTotals]
"""By the values of the CONTAINER_LABELS that are not dropped."""


def _several(most: int, metric: Metric) -> Metric:
    return replace(metric, most=most)


CPU = _several(
    CATEGORY_COUNT,
    per_container("gotax_cpu_seconds", "counter", "CPU time by category.", "category", "group"),
)
RUNTIME_SHARE = per_container(
    "gotax_runtime_share",
    "gauge",
    "Share of scheduler and GC in the CPU time of the last window, 0 to 1.",
)
GOMAXPROCS = per_container(
    "gotax_gomaxprocs", "gauge", "GOMAXPROCS of the process with the most samples."
)
GOMAXPROCS_RECOMMENDED = per_container(
    "gotax_gomaxprocs_recommended", "gauge", "GOMAXPROCS that fits the container."
)
LIMIT = per_container(
    "gotax_cpu_limit_cores",
    "gauge",
    "Tightest CPU limit of the cgroup and its ancestors; absent without a limit.",
)
THROTTLED = per_container(
    "gotax_cpu_throttled_seconds", "counter", "Time throttled by the CPU limit."
)
THROTTLED_PERIODS = per_container(
    "gotax_cpu_throttled_periods", "counter", "Enforcement periods with throttling."
)
PERIODS = per_container("gotax_cpu_periods", "counter", "Enforcement periods of the CPU limit.")
VERDICT = _several(
    len(Verdict),
    per_container(
        "gotax_verdict", "gauge", "1 for the current verdict, 0 for the others.", "verdict"
    ),
)
FINDING = _several(
    MAX_FINDINGS,
    per_container(
        "gotax_finding", "gauge", "1 for each current finding.", "code", "severity", "cause"
    ),
)
FINDING_HELD = _several(
    MAX_FINDINGS,
    per_container(
        "gotax_finding_held_seconds",
        "gauge",
        "How long each finding has held without interruption.",
        "code",
    ),
)
SAVING = _several(
    3,
    per_container(
        "gotax_saving_cores",
        "gauge",
        "CPU that the recommended GOMAXPROCS is predicted to save for the same work.",
        "bound",
    ),
)
CONTAINER_INFO = per_container(
    "gotax_container_info",
    "gauge",
    "Always 1; identity of the container and build of its main Go program.",
    "node",
    "image",
    "kind",
    "workload_kind",
    "cgroup",
    "container_id",
    "pod_uid",
    "unit",
    "go_version",
    "main_module",
    "main_version",
    "gomaxprocs_origin",
)
CHANGE_CORES = _several(
    2,
    per_container(
        "gotax_change_cpu_cores",
        "gauge",
        "Mean CPU usage before and after a change of settings.",
        "when",
    ),
)
CHANGE_RUNTIME = _several(
    2,
    per_container(
        "gotax_change_runtime_share",
        "gauge",
        "Share of scheduler and GC before and after a change of settings, 0 to 1.",
        "when",
    ),
)
CHANGE_THROTTLED = _several(
    2,
    per_container(
        "gotax_change_throttled_ratio",
        "gauge",
        "Share of throttled periods before and after a change of settings, 0 to 1.",
        "when",
    ),
)
CHANGE_GOMAXPROCS = _several(
    2,
    per_container(
        "gotax_change_gomaxprocs", "gauge", "GOMAXPROCS before and after a change.", "when"
    ),
)
CHANGE_GOGC = _several(
    2,
    per_container(
        "gotax_change_gogc", "gauge", "GOGC before and after a change, -1 for off.", "when"
    ),
)
CHANGE_MEMORY_LIMIT = _several(
    2,
    per_container(
        "gotax_change_gomemlimit_bytes",
        "gauge",
        "GOMEMLIMIT before and after a change, absent for none.",
        "when",
    ),
)
CHANGE_SAVING = _several(
    6,
    per_container(
        "gotax_change_saving_cores",
        "gauge",
        "CPU that a change of settings saved, and the predicted saving.",
        "estimate",
    ),
)
CHANGE_TIME = per_container(
    "gotax_change_timestamp_seconds",
    "gauge",
    "Time of the comparison before and after a change of settings, Unix time.",
)

METRICS = (
    CPU,
    THROTTLED,
    THROTTLED_PERIODS,
    PERIODS,
    RUNTIME_SHARE,
    GOMAXPROCS,
    GOMAXPROCS_RECOMMENDED,
    *memory.METRICS,
    LIMIT,
    VERDICT,
    FINDING,
    FINDING_HELD,
    SAVING,
    CONTAINER_INFO,
    CHANGE_CORES,
    CHANGE_RUNTIME,
    CHANGE_THROTTLED,
    CHANGE_GOMAXPROCS,
    CHANGE_GOGC,
    CHANGE_MEMORY_LIMIT,
    CHANGE_SAVING,
    CHANGE_TIME,
)
"""In the order in which they are exposed."""

SERIES_OF_CONTAINER = sum(metric.most for metric in METRICS)
"""The most series that one container can have. Most containers have half of that."""


def labels_of(container: Container) -> Labels:
    """The values of ``CONTAINER_LABELS``."""
    place = container.short_id
    pod = container.pod
    if pod is None:
        every: Labels = ("", "", container.label, "", place)
    else:
        every = (pod.namespace, pod.pod, container.label, pod.workload.name, place)
    return tuple(bounded(value, MAX_LABEL) for value in every)


def families(
    listed: Listed, window: Window, others: Mapping[Labels, OtherReport] = _NO_OTHERS
) -> Iterator[Family]:
    """``others``: containers without a Go program, for their findings."""
    yield from _counters(listed)
    yield from _gauges(listed, others)
    yield from _changes(listed, window)


def _counters(listed: Listed) -> Iterator[Family]:
    yield Family(
        CPU,
        (
            ((*key, *labels), spent_ns / 1e9)
            for key, entry in listed.items()
            for labels, spent_ns in zip(_CATEGORIES, entry.cpu_ns.tolist(), strict=True)
            if spent_ns
        ),
    )
    yield Family(THROTTLED, ((k, _seconds(e.usage.throttled_ns)) for k, e in listed.items()))
    yield Family(THROTTLED_PERIODS, ((k, e.usage.throttled_periods) for k, e in listed.items()))
    yield Family(memory.GC_CYCLES, ((k, e.gc_cycles) for k, e in listed.items()))
    yield Family(PERIODS, ((k, e.usage.periods) for k, e in listed.items()))


def _gauges(listed: Listed, others: Mapping[Labels, OtherReport]) -> Iterator[Family]:
    now = [(key, found) for key, entry in listed.items() if (found := running_of(entry))]
    yield Family(RUNTIME_SHARE, ((k, running.runtime_share) for k, running in now))
    yield Family(GOMAXPROCS, ((k, _gomaxprocs(running.representative)) for k, running in now))
    yield Family(
        GOMAXPROCS_RECOMMENDED, ((k, _recommended(running.representative)) for k, running in now)
    )
    yield from memory.families([(key, running.representative) for key, running in now])
    yield Family(LIMIT, ((k, running.representative.limit.limit_cores) for k, running in now))
    yield Family(
        VERDICT,
        (
            ((*k, label), float(running.representative.verdict is verdict))
            for k, running in now
            for label, verdict in _VERDICTS
        ),
    )
    findings = [(k, f) for k, running in now for f in _findings(running.reports)]
    findings += [(k, f) for k, report in others.items() for f in report.findings]
    yield Family(
        FINDING,
        (((*k, bounded(f.code, MAX_LABEL), f.severity.value, _cause(f)), 1) for k, f in findings),
    )
    yield Family(FINDING_HELD, (((*k, bounded(f.code, MAX_LABEL)), f.held_s) for k, f in findings))
    yield Family(
        SAVING,
        (((*k, bound), cores) for k, running in now for bound, cores in _savings(running.reports)),
    )
    yield Family(CONTAINER_INFO, (((*k, *_info(running.representative)), 1) for k, running in now))


def _changes(listed: Listed, window: Window) -> Iterator[Family]:
    """The last change of each running container; a window holds a bounded number of changes."""
    shown = {report.container.key: key for key, entry in listed.items() for report, _ in entry.now}
    last: dict[Labels, Change] = {}
    for change in window.changes:  # newest first
        labels = shown.get(change.container.key)
        if labels is not None:
            last.setdefault(labels, change)
    both = [
        (key, when, seen)
        for key, change in last.items()
        for when, seen in (
            ("before", change.comparison.before),
            ("after", change.comparison.after),
        )
    ]
    yield Family(CHANGE_CORES, (((*key, when), seen.cores) for key, when, seen in both))
    yield Family(CHANGE_RUNTIME, (((*key, when), seen.runtime_share) for key, when, seen in both))
    yield Family(
        CHANGE_THROTTLED, (((*key, when), seen.throttled_share) for key, when, seen in both)
    )
    yield Family(CHANGE_GOMAXPROCS, (((*key, when), seen.gomaxprocs) for key, when, seen in both))
    yield Family(CHANGE_GOGC, (((*key, when), seen.gogc) for key, when, seen in both))
    yield Family(
        CHANGE_MEMORY_LIMIT,
        (
            ((*key, when), None if limit == NO_MEMORY_LIMIT else limit)
            for key, when, seen in both
            if (limit := seen.memory_limit_bytes) is not None
        ),
    )
    yield Family(
        CHANGE_SAVING,
        (
            ((*key, estimate), value)
            for key, change in last.items()
            for estimate, value in _estimates(change.comparison)
        ),
    )
    yield Family(CHANGE_TIME, ((key, change.unix_ns / 1e9) for key, change in last.items()))


def _estimates(comparison: Comparison) -> Iterator[tuple[str, float | None]]:
    saving, predicted = comparison.saving, comparison.predicted
    yield "realised", saving.value
    yield "realised_low", saving.low
    yield "realised_high", saving.high
    if predicted is not None:
        yield "predicted_low", predicted.low
        yield "predicted_mid", predicted.mid
        yield "predicted_high", predicted.high


def _gomaxprocs(report: ContainerReport) -> int | None:
    found = report.main_process.gomaxprocs
    return found.value if found else None


def _recommended(report: ContainerReport) -> int | None:
    """The GOMAXPROCS of the best remedy; without a finding, the recommended value."""
    best = _most_saving(report)
    if best is not None and best.remedy.gomaxprocs is not None:
        return best.remedy.gomaxprocs
    found = report.main_process.gomaxprocs
    return found.recommended if found else None


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9


def _findings(reports: Iterable[ContainerReport]) -> list[Finding]:
    """Each code once, so that no series appears twice: the finding that has held longest."""
    found: dict[str, Finding] = {}
    for finding in sorted((f for r in reports for f in r.findings), key=lambda f: f.held_s):
        found[finding.code] = finding
    return [found[code] for code in sorted(found)][:MAX_FINDINGS]


def _cause(finding: Finding) -> str:
    return finding.cause.value if finding.cause else ""


def _most_saving(report: ContainerReport) -> Finding | None:
    """The finding with the largest predicted saving by another GOMAXPROCS. Savings of one container
    do not add up."""
    return max(
        (f for f in report.findings if f.saving is not None and f.remedy.gomaxprocs is not None),
        key=lambda finding: finding.saving.mid if finding.saving else 0.0,
        default=None,
    )


def _savings(reports: Iterable[ContainerReport]) -> list[tuple[str, float]]:
    """The sum over the containers of one series; empty without a prediction."""
    best = [_most_saving(report) for report in reports]
    found = [finding.saving for finding in best if finding is not None and finding.saving]
    if not found:
        return []
    return [
        ("low", sum(saving.low for saving in found)),
        ("mid", sum(saving.mid for saving in found)),
        ("high", sum(saving.high for saving in found)),
    ]


def _info(report: ContainerReport) -> tuple[str, ...]:
    container, main = report.container, report.main_process
    build, pod = main.build, container.pod
    values = (
        pod.node if pod else "",
        pod.image if pod else "",
        pod.kind if pod else "",
        pod.workload.kind if pod else "",
        container.cgroup,
        container.container_id or "",
        container.pod_uid or "",
        container.unit or "",
        build.version if build else "",
        build.main.path if build else "",
        build.main.version if build else "",
        main.gomaxprocs.origin.value if main.gomaxprocs else "",
    )
    return tuple(bounded(value, MAX_LABEL) for value in values)
