"""The findings of ``gotax check`` that need no profile, for a program that does not run yet.

They have the codes, causes, remedies and patches of the rules in diagnosis. What a value costs only
a profile shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from gotax.category import CATEGORY_COUNT
from gotax.config import Thresholds
from gotax.diagnosis.advice import advise, set_variable, target_of
from gotax.diagnosis.bounds import long_bound, short_bound
from gotax.diagnosis.causes import cause_sentence, find_cause
from gotax.diagnosis.context import Context
from gotax.diagnosis.rules import codes
from gotax.diagnosis.rules.gomaxprocs import two_for_one
from gotax.diagnosis.rules.throttling import fraction_remedy
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity, Verdict
from gotax.preflight.forecast import Forecast, NodeForecast
from gotax.preflight.spec import ContainerSpec
from gotax.process import (
    Container,
    CpuLimit,
    CpuResources,
    CpuUsage,
    Origin,
    PodContainer,
    Process,
    Workload,
)
from gotax.window import ContainerReport

_CHECK = "What it costs, only a profile shows: `gotax check` on the running program."


@dataclass(frozen=True, slots=True)
class _Case:
    context: Context
    spec: ContainerSpec
    node: NodeForecast


def find_static(found: Forecast) -> tuple[Finding, ...]:
    """One finding for each code: of the node with the most CPUs, with the others as evidence."""
    by_code: dict[str, list[tuple[int, Finding]]] = {}
    for node in found.nodes:
        for finding in _on_node(found, node):
            by_code.setdefault(finding.code, []).append((node.cpus, finding))
    return tuple(_joined(each) for _, each in sorted(by_code.items()))


def _joined(found: list[tuple[int, Finding]]) -> Finding:
    found.sort(key=lambda each: each[0])
    largest = found[-1][1]
    others = [str(count) for count, _ in found[:-1]]
    if not others:
        return largest
    text = f"the same on nodes of {', '.join(others)} CPUs"
    return replace(largest, evidence=(*largest.evidence, Evidence(text)))


def _on_node(found: Forecast, node: NodeForecast) -> list[Finding]:
    case = _Case(context_of(found, node), found.spec, node)
    rules = (_too_high, _unlimited, _too_low, _two_for_one, _fractional, _unknown)
    findings = (rule(case) for rule in rules)
    return [finding for finding in findings if finding is not None]


def context_of(found: Forecast, node: NodeForecast) -> Context:
    """As if the process had just started, without a sample."""
    spec = found.spec
    container = _container(spec)
    process = Process(0, 0, found.program.path, container, found.program.build, node.gomaxprocs)
    limit = CpuLimit(limit_cores=spec.cpu_limit, leaf_limit_cores=spec.own_cpu_limit)
    report = ContainerReport(
        container=container,
        processes=(process,),
        category_samples=np.zeros(CATEGORY_COUNT, np.int64),
        functions=(),
        limit=limit,
        usage=CpuUsage(),
        verdict=Verdict.FITS,
    )
    return Context(report, 0.0, node.cpus, Thresholds())


def _container(spec: ContainerSpec) -> Container:
    pod = None
    if spec.name:
        resources = CpuResources(spec.cpu_request, spec.own_cpu_limit)
        workload = spec.workload or Workload("Deployment", "NAME")
        pod = PodContainer(
            namespace=spec.namespace or "default",
            pod=workload.name,
            container=spec.name,
            pod_uid="",
            node="",
            image=spec.image,
            kind=spec.kind,
            workload=workload,
            desired=resources,
            current=resources,
        )
    return Container(key=spec.name, name=spec.name, cgroup="", pod_uid="", pod=pod)


def _would_be(node: NodeForecast) -> Evidence:
    found = node.gomaxprocs
    text = f"on a node of {node.cpus} CPUs GOMAXPROCS is {found.value}: {found.rule}"
    return Evidence(text, found.value, "count")


def _too_high(case: _Case) -> Finding | None:
    """GT001 without its cost."""
    context = case.context
    if not context.is_mismatch or context.recommended is None:
        return None
    cause = find_cause(context)
    remedy = advise(context, cause)
    target = target_of(context, cause)
    return Finding(
        code=codes.COSTLY,
        title=f"GOMAXPROCS will be {context.value} on a node of {case.node.cpus} CPUs, above the"
        f" {short_bound(context)}: {target} fits",
        severity=Severity.WARNING,
        confidence=Confidence.MEDIUM,
        evidence=(
            _would_be(case.node),
            Evidence(f"{long_bound(context)}"),
            Evidence(f"cause: {cause_sentence(context, cause)}"),
        ),
        remedy=replace(remedy, text=f"{remedy.text} {_CHECK}"),
        cause=cause,
    )


def _unlimited(case: _Case) -> Finding | None:
    """GT003 without its cost: never a warning, because a lower value may not save CPU."""
    context = case.context
    value, spec, node = context.value, case.spec, case.node
    if value is None or spec.cpu_limit is not None or "cpu limit" in spec.resources.unknown:
        return None
    if node.cpus < context.thresholds.large_node_cpus or context.is_mismatch:
        return None
    request = spec.cpu_request
    target = max(context.thresholds.unlimited_least, math.ceil(2 * (request or 0)))
    if value < 2 * target or node.gomaxprocs.origin in (Origin.ENVIRONMENT, Origin.CRIO):
        return None
    evidence = [_would_be(case.node)]
    if request is None:
        text = (
            "Set a CPU request, and a limit or GOMAXPROCS as a number: without any of them nothing"
            " says how many CPUs the program needs."
        )
        remedy = Remedy(f"{text} {_CHECK}")
    else:
        evidence.append(Evidence(f"its CPU request is {request:g} cores", request, "cores"))
        patch = set_variable(context, target)
        text = (
            f"Set GOMAXPROCS={target}: twice its CPU request, rounded up, and at least"
            f" {context.thresholds.unlimited_least}, if its peak load needs no more CPUs than that."
        )
        remedy = Remedy(" ".join(t for t in (text, patch.note, _CHECK) if t), patch.text, target)
    return Finding(
        code=codes.UNLIMITED,
        title=f"There is no CPU limit: GOMAXPROCS will be {value} on a node of {node.cpus} CPUs",
        severity=Severity.INFO,
        confidence=Confidence.LOW,
        evidence=tuple(evidence),
        remedy=remedy,
    )


def _too_low(case: _Case) -> Finding | None:
    """GT004 without the use of CPU."""
    context = case.context
    limit, value, recommended = case.spec.cpu_limit, context.value, context.recommended
    if limit is None or value is None or recommended is None:
        return None
    if min(limit, recommended) - value < 1:
        return None
    patch = set_variable(context, recommended)
    text = (
        f"If the program cannot keep up with its work, set GOMAXPROCS={recommended}. If it keeps"
        " up, change nothing: a lower GOMAXPROCS uses less CPU."
    )
    return Finding(
        code=codes.BELOW_LIMIT,
        title=f"GOMAXPROCS will be {value}: Go code cannot use the whole limit of {limit:g} CPU",
        severity=Severity.INFO,
        confidence=Confidence.MEDIUM,
        evidence=(_would_be(case.node),),
        remedy=Remedy(f"{text} {patch.note}".rstrip(), patch.text, recommended),
    )


def _two_for_one(case: _Case) -> Finding | None:
    return two_for_one(case.context)


def _fractional(case: _Case) -> Finding | None:
    """GT006 without its effect."""
    context = case.context
    limit = case.spec.cpu_limit
    if limit is None or context.value is None or limit <= 1 or not limit % 1:
        return None
    ways = (math.floor(limit), math.ceil(limit))
    if ways[1] != context.recommended or context.value not in ways:
        return None
    return Finding(
        code=codes.FRACTIONAL,
        title=f"The CPU limit of {limit:g} is not a whole number, and GOMAXPROCS will be"
        f" {context.value}",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=(_would_be(case.node),),
        remedy=fraction_remedy(limit),
    )


def _unknown(case: _Case) -> Finding | None:
    """GT015: it cannot be predicted."""
    gomaxprocs = case.node.gomaxprocs
    if gomaxprocs.value is not None:
        return None
    reasons = [gomaxprocs.reason]
    for name in ("GOMAXPROCS", "GODEBUG"):
        variable = case.spec.variable(name)
        if variable is not None and variable.value is None and variable.unknown:
            reasons.append(f"the variable {name}: {variable.unknown}")
    return Finding(
        code=codes.UNREADABLE,
        title="GOMAXPROCS cannot be predicted",
        severity=Severity.INFO,
        confidence=Confidence.HIGH,
        evidence=tuple(Evidence(f"reason: {reason}") for reason in reasons),
        remedy=Remedy("Run the program and look: `gotax check` reads the value from the process."),
    )
