"""A finding and where its reason is written, and what the rules of ``gotax lint`` share."""

from __future__ import annotations

from dataclasses import dataclass

from gotax.diagnosis.patches import Setting, kubernetes_patch
from gotax.findings import Confidence, Evidence, Finding, Remedy, Severity
from gotax.preflight import lintcodes as codes
from gotax.preflight.spec import ContainerSpec, Place, Variable
from gotax.process import CpuResources, PodContainer, Workload

LEAST_CPUS = 1
"""A node has at least so many: what depends on the node is judged for the smallest."""


@dataclass(frozen=True, slots=True)
class Located:
    """A finding, and where its reason is written."""

    finding: Finding
    place: Place
    container: str = ""


@dataclass(frozen=True, slots=True)
class Texts:
    title: str
    evidence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Subject:
    """``minor``: of the container's Go, None if unknown."""

    spec: ContainerSpec
    minor: int | None


def located(spec: ContainerSpec, place: Place, code: str, texts: Texts, patch: str = "") -> Located:
    """A code is a warning unless it is in INFO_CODES."""
    finding = Finding(
        code=code,
        title=texts.title,
        severity=Severity.INFO if code in codes.INFO_CODES else Severity.WARNING,
        confidence=Confidence.HIGH,
        evidence=(Evidence(texts.evidence),) if texts.evidence else (),
        remedy=Remedy(texts.remedy, patch),
    )
    return Located(finding, place, name_of(spec))


def name_of(spec: ContainerSpec) -> str:
    workload = f"{spec.workload}/" if spec.workload is not None else ""
    return f"{workload}{spec.name}"


def patch(spec: ContainerSpec, value: int | None) -> str:
    """Sets GOMAXPROCS, to None: from the container's own limit."""
    resources = CpuResources(spec.cpu_request, spec.own_cpu_limit)
    pod = PodContainer(
        namespace=spec.namespace or "default",
        pod=spec.name,
        container=spec.name or "CONTAINER",
        pod_uid="",
        node="",
        image=spec.image,
        kind=spec.kind,
        workload=spec.workload or Workload("Deployment", "NAME"),
        desired=resources,
        current=resources,
    )
    return kubernetes_patch(Setting("GOMAXPROCS", None if value is None else str(value)), True, pod)


def is_wrong_source(variable: Variable) -> bool:
    return bool(variable.missing) or (
        variable.resource != "" and wants(variable.name) not in variable.resource
    )


def wants(name: str) -> str:
    return "memory" if name == "GOMEMLIMIT" else "cpu"


def short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
