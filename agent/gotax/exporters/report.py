"""The documents of ``gotax check --json`` and ``explain --json``, described in docs/json.md.

A key never changes its meaning within a schema; new keys may be added. Shares are of the
container's samples, from 0 to 1. Nothing is rounded, so that the parts add up to the sums.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gotax
from gotax.category import Category, Group
from gotax.confidence import interval
from gotax.exporters.text import utf8
from gotax.findings import Evidence, Finding, Saving
from gotax.other import Recognised
from gotax.process import (
    CpuResources,
    Gomaxprocs,
    Memory,
    PodContainer,
    Process,
    RuntimeState,
)
from gotax.profile import FunctionShare
from gotax.waiting import Pressure
from gotax.window import Collections, ContainerReport, OtherReport, SampleCount, Window

SCHEMA = "gotax.check/v3"
EXPLAIN_SCHEMA = "gotax.explain/v3"
EXPLAIN_OTHER_SCHEMA = "gotax.explain-other/v1"
MAX_FUNCTIONS = 100


def check_document(window: Window) -> dict[str, Any]:
    """Only built-in types, ready for ``json.dump`` in any encoding."""
    return {
        "schema": SCHEMA,
        **_head(window),
        "containers": [container_document(window, report) for report in window.reports],
        "other_containers": [other_document(report, window) for report in window.others],
    }


def explain_document(report: ContainerReport, window: Window) -> dict[str, Any]:
    """The document of ``check_document`` for one container, with the intervals of its shares."""
    intervals = {
        category.label: list(interval(int(report.category_samples[category]), report.samples))
        for category in Category
    }
    return {
        "schema": EXPLAIN_SCHEMA,
        **_head(window),
        "gomaxprocs": gomaxprocs_document(report.main_process.gomaxprocs),
        "container": container_document(window, report) | {"share_intervals": intervals},
    }


def explain_other_document(report: OtherReport, window: Window) -> dict[str, Any]:
    """The same of a container without a Go program."""
    return {
        "schema": EXPLAIN_OTHER_SCHEMA,
        **_head(window),
        "container": other_document(report, window),
    }


def _head(window: Window) -> dict[str, Any]:
    return {
        "gotax_version": gotax.__version__,
        "host": utf8(window.host),
        "start_unix_s": window.start_unix_ns / 1e9,
        "duration_s": window.duration_s,
        "hz": window.hz,
        "cpu_count": window.cpu_count,
        "samples": samples_document(window.samples),
        "other_cpu_cores": window.cpu_cores(window.native_samples),
        "unjudged": [
            {
                "reason": utf8(found.reason),
                "programs": found.processes,
                "cpu_cores": window.cpu_cores(found.samples),
            }
            for found in window.unjudged
        ],
    }


def _kubernetes(pod: PodContainer | None) -> dict[str, Any] | None:
    if pod is None:
        return None
    return {
        "namespace": utf8(pod.namespace),
        "pod": utf8(pod.pod),
        "container_name": utf8(pod.container),
        "container_kind": utf8(pod.kind),
        "workload_kind": utf8(pod.workload.kind),
        "workload": utf8(pod.workload.name),
        "node": utf8(pod.node),
        "image": utf8(pod.image),
        "desired": _resources(pod.desired),
        "current": _resources(pod.current),
    }


def _resources(resources: CpuResources) -> dict[str, float | None]:
    return {
        "cpu_request_cores": resources.request_cores,
        "cpu_limit_cores": resources.limit_cores,
    }


def samples_document(samples: SampleCount) -> dict[str, Any]:
    return {
        "drained": samples.drained,
        "attributed": samples.attributed,
        "lost": dict(sorted(samples.lost.items())),
    }


def container_document(window: Window, report: ContainerReport) -> dict[str, Any]:
    container = report.container
    main = report.main_process
    usage = report.usage
    return {
        "name": utf8(container.name),
        "pids": [process.pid for process in report.processes],
        "cgroup": utf8(container.cgroup),
        "nested_cgroup": _known(container.nested),
        "container_id": _optional(container.container_id),
        "pod_uid": _optional(container.pod_uid),
        "container_runtime": _optional(container.runtime),
        "unit": _optional(container.unit),
        "kubernetes": _kubernetes(container.pod),
        "go_version": _known(main.build.version if main.build else ""),
        "main_module": _known(main.build.main.path if main.build else ""),
        "main_version": _known(main.build.main.version if main.build else ""),
        "samples": report.samples,
        "drain_samples": list(report.drain_samples),
        "cpu_cores": window.cores_of(report),
        "cpu_seconds": window.cpu_ns_of(report) / 1e9,
        "sampled_cpu_seconds": window.cpu_s(report.samples),
        "cpu_usage_s": _seconds(usage.usage_ns),
        "shares": {category.label: report.share(category) for category in Category},
        "groups": {group.value: report.group_share(group) for group in Group},
        "runtime_share": report.runtime_share,
        "gomaxprocs": gomaxprocs_document(main.gomaxprocs),
        "runtime": _runtime(main.runtime),
        "collections": _collections(report.collections),
        "memory": _memory(report.memory),
        "waiting": _waiting(report),
        "cpu_limit_cores": report.limit.limit_cores,
        "cpu_limit_problem": report.limit.problem or None,
        "cpu_limit_cgroup": _optional(report.limit.limit_cgroup),
        "leaf_cpu_limit_cores": report.limit.leaf_limit_cores,
        "cpuset_cpus": report.limit.cpuset_cpus,
        "cpuset_cgroup": _optional(report.limit.cpuset_cgroup),
        "cpu_shares": report.limit.shares,
        "cpu_weight": report.limit.weight,
        "throttled_s": _seconds(usage.throttled_ns),
        "throttled_periods": usage.throttled_periods,
        "periods": usage.periods,
        "functions": _functions(report.functions[:MAX_FUNCTIONS], report.samples),
        "verdict": report.verdict.value,
        "held_s": report.held_s,
        "recommended_saving_cores": _saving(report.saving),
        "suppressed": [utf8(code) for code in report.suppressed],
        "findings": [finding_document(finding) for finding in report.findings],
        "processes": [_process(process) for process in report.processes],
    }


def other_document(report: OtherReport, window: Window) -> dict[str, Any]:
    use, container = report.use, report.container
    limit, throttling = use.limit, use.throttling
    usage = throttling.usage if throttling is not None else None
    throttled = usage.throttled_ns if usage is not None else None
    return {
        "name": utf8(container.name),
        "pids": [process.pid for process in use.processes],
        "commands": sorted({utf8(process.command) for process in use.processes}),
        "cgroup": utf8(container.cgroup),
        "nested_cgroup": _optional(container.nested or None),
        "container_id": _optional(container.container_id),
        "pod_uid": _optional(container.pod_uid),
        "container_runtime": _optional(container.runtime),
        "unit": _optional(container.unit),
        "kubernetes": _kubernetes(container.pod),
        "samples": use.samples,
        "cpu_cores": window.cpu_cores(use.samples),
        "cpu_limit_cores": None if limit is None else limit.limit_cores,
        "cpu_limit_cgroup": None if limit is None else _optional(limit.limit_cgroup),
        "throttled_s": None if throttled is None else throttled / 1e9,
        "throttled_periods": None if usage is None else usage.throttled_periods,
        "periods": None if usage is None else usage.periods,
        "cpus_at_once": use.cpus_at_once,
        "threads": use.threads,
        "threads_ran": use.threads_ran,
        "threads_at_once": use.runnable,
        "thread_groups": [
            {"name": utf8(group.name) or None, "threads": group.count} for group in use.ran or ()
        ],
        "settings": [_setting(each) for each in use.recognised or ()],
        "unread": utf8(use.unread) or None,
        "suppressed": [utf8(code) for code in report.suppressed],
        "findings": [finding_document(finding) for finding in report.findings],
    }


def _setting(each: Recognised) -> dict[str, Any]:
    return {
        "program": utf8(each.recipe.name),
        "setting": None if each.knob is None else utf8(each.knob.name),
        "value": each.value,
    }


def gomaxprocs_document(gomaxprocs: Gomaxprocs | None) -> dict[str, Any] | None:
    """None if gotax did not try to read it, as for a program that is not Go."""
    if gomaxprocs is None:
        return None
    return {
        "value": gomaxprocs.value,
        "origin": gomaxprocs.origin.value,
        "expected": gomaxprocs.expected,
        "rule": _known(gomaxprocs.rule),
        "recommended": gomaxprocs.recommended,
        "bound_by": [binding.value for binding in gomaxprocs.bound_by],
        "reason": _known(gomaxprocs.reason),
    }


def _runtime(state: RuntimeState | None) -> dict[str, Any] | None:
    if state is None:
        return None
    return {
        "idle_ps": state.idle_ps,
        "gogc": state.gogc,
        "memory_limit_bytes": state.memory_limit_bytes,
        "gc_cycles": state.gc_cycles,
        "heap_goal_bytes": state.heap_goal_bytes,
        "live_heap_bytes": state.live_heap_bytes,
        "allocated_bytes": state.allocated_bytes,
        "non_heap_bytes": state.non_heap_bytes,
        "root_bytes": state.root_bytes,
    }


def _waiting(report: ContainerReport) -> dict[str, Any] | None:
    waiting = report.waiting
    if waiting is None:
        return None
    return {
        "share": waiting.share,
        "run_s": waiting.run_ns / 1e9,
        "wait_s": waiting.wait_ns / 1e9,
        "threads": waiting.threads,
        "is_since_start": waiting.is_since_start,
        "because": report.waits_for.value if report.waits_for is not None else None,
        "cpu_pressure": _pressure(waiting.cpu),
        "memory_pressure": _pressure(waiting.memory),
    }


def _pressure(found: Pressure | None) -> dict[str, Any] | None:
    return None if found is None else {"some": found.some, "full": found.full}


def _memory(memory: Memory | None) -> dict[str, Any] | None:
    if memory is None:
        return None
    return {
        "limit_bytes": memory.limit_bytes,
        "limit_cgroup": _optional(memory.limit_cgroup),
        "own_limit_bytes": memory.own_limit_bytes,
        "high_bytes": memory.high_bytes,
        "usage_bytes": memory.usage_bytes,
        "working_set_bytes": memory.working_set_bytes,
        "high_events": memory.high_events,
        "max_events": memory.max_events,
        "oom_kills": memory.oom_kills,
    }


def _collections(found: Collections | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"cycles": found.cycles, "allocated_bytes": found.allocated_bytes}


def _functions(functions: Iterable[FunctionShare], samples: int) -> list[dict[str, Any]]:
    return [
        {
            "function": utf8(share.function),
            "flat": share.flat_samples / samples if samples else 0.0,
            "cumulative": share.cumulative_samples / samples if samples else 0.0,
        }
        for share in functions
    ]


def finding_document(finding: Finding) -> dict[str, Any]:
    return {
        "code": utf8(finding.code),
        "title": utf8(finding.title),
        "severity": finding.severity.value,
        "confidence": finding.confidence.value,
        "cause": finding.cause.value if finding.cause else None,
        "held_s": finding.held_s,
        "evidence": [_evidence(each) for each in finding.evidence],
        "remedy": {
            "text": utf8(finding.remedy.text),
            "patch": _known(finding.remedy.patch),
            "gomaxprocs": finding.remedy.gomaxprocs,
            "experiment": _known(finding.remedy.experiment),
            "setting": _known(finding.remedy.setting),
        },
        "saving_cores": _saving(finding.saving),
        "saving_sources": [
            {"name": utf8(source.name), "cores": source.cores}
            for source in (finding.saving.sources if finding.saving else ())
        ],
        "cautions": [utf8(text) for text in (finding.saving.cautions if finding.saving else ())],
    }


def _evidence(evidence: Evidence) -> dict[str, Any]:
    return {
        "text": utf8(evidence.text),
        "value": evidence.value,
        "unit": _known(evidence.unit),
        "interval": None if evidence.interval is None else list(evidence.interval),
        "window_s": evidence.window_s,
    }


def _saving(saving: Saving | None) -> dict[str, float] | None:
    if saving is None:
        return None
    return {"low": saving.low, "mid": saving.mid, "high": saving.high}


def _process(process: Process) -> dict[str, Any]:
    build = process.build
    return {
        "pid": process.pid,
        "start_ticks": process.start_ticks,
        "command": utf8(process.command),
        "go_version": _known(build.version if build else ""),
        "main_module": _known(build.main.path if build else ""),
        "main_version": _known(build.main.version if build else ""),
        "gomaxprocs": gomaxprocs_document(process.gomaxprocs),
        "runtime": _runtime(process.runtime),
    }


def _known(text: str) -> str | None:
    """Turns the model's "" for unknown into null."""
    return utf8(text) or None


def _optional(text: str | None) -> str | None:
    return None if text is None else utf8(text)


def _seconds(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e9
