"""Parses a pod from the API server or the kubelet (JSON) into its containers by id.

A pod is as untrusted as its author. The exporters limit names; values that do not have the API's
form are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from gotax.errors import ParseError
from gotax.kubernetes.quantities import parse_cores
from gotax.kubernetes.workloads import find_workload
from gotax.process import CpuResources, PodContainer

SUPPRESS = "gotax.dev/suppress"
"""Annotation of a pod: codes of findings to suppress, separated by commas."""
OLD_SUPPRESS = "gotax.dev/silence"
"""The name in gotax 0.1, read if the new one is absent. The release after 0.2 removes it."""

MAX_CONTAINERS = 256  # of one pod; the kubelet's own limit is far below
MAX_NAME = 256
_CONTAINER_ID = re.compile(r"[a-z0-9.+-]{1,32}://([0-9a-f]{64})\Z")
_KINDS = (
    ("containers", "containerStatuses", "container"),
    ("initContainers", "initContainerStatuses", "init"),
    ("ephemeralContainers", "ephemeralContainerStatuses", "ephemeral"),
)


def parse_pod(pod: Mapping[str, Any]) -> dict[str, PodContainer]:
    """Containers by their 64-digit id; without those to which the kubelet has not given one yet.

    Raises ParseError("pod-shape") for anything else than a pod.
    """
    try:
        return dict(_containers(pod))
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise ParseError("pod-shape", f"a pod of another shape: {error}") from error


def has_old_annotation(pod: Mapping[str, Any]) -> bool:
    """Whether a pod that ``parse_pod`` accepts uses OLD_SUPPRESS."""
    annotations = pod["metadata"].get("annotations") or {}
    return OLD_SUPPRESS in annotations and SUPPRESS not in annotations


def _containers(pod: Mapping[str, Any]) -> Iterator[tuple[str, PodContainer]]:
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    workload = find_workload(metadata)
    annotations = metadata.get("annotations") or {}
    # The UID in the cgroup path of a static pod is the hash of its manifest, not the mirror's.
    uid = annotations.get("kubernetes.io/config.hash") or metadata.get("uid") or ""
    for section, statuses, kind in _KINDS:
        specs = {c.get("name"): c for c in (spec.get(section) or ())[:MAX_CONTAINERS]}
        for state in (status.get(statuses) or ())[:MAX_CONTAINERS]:
            container = specs.get(state.get("name")) or {}
            named = PodContainer(
                namespace=_text(metadata.get("namespace")),
                pod=_text(metadata.get("name")),
                container=_text(state.get("name")),
                pod_uid=_text(uid),
                node=_text(spec.get("nodeName")),
                image=_text(container.get("image") or state.get("image")),
                kind=_kind(kind, container),
                workload=workload,
                desired=_resources(container.get("resources")),
                current=_resources(state.get("resources") or container.get("resources")),
                suppress=_text(annotations.get(SUPPRESS, annotations.get(OLD_SUPPRESS))),
            )
            for container_id, ended in _ids(state):
                yield container_id, replace(named, ended=ended)


def _ids(state: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The ids of the container and of its predecessor, whose last samples may still arrive.

    Each with whether it has ended.
    """
    before = ((state.get("lastState") or {}).get("terminated") or {}).get("containerID")
    now = state.get("state") or {}
    has_ended = bool(now) and "running" not in now  # waiting: the id is still that of the ended one
    for text, ended in ((before, True), (state.get("containerID"), has_ended)):
        match = _CONTAINER_ID.match(text or "")
        if match is not None:
            yield match[1], ended


def _kind(kind: str, container: Mapping[str, Any]) -> str:
    # A sidecar is an init container that restarts always (stable since Kubernetes 1.33).
    return "sidecar" if kind == "init" and container.get("restartPolicy") == "Always" else kind


def _resources(resources: Mapping[str, Any] | None) -> CpuResources:
    resources = resources or {}
    limit = (resources.get("limits") or {}).get("cpu")
    request = (resources.get("requests") or {}).get("cpu")
    if request is None:
        request = limit  # as the API server's defaults
    return CpuResources(_cores(request), _cores(limit))


def _cores(quantity: object) -> float | None:
    return None if quantity is None else parse_cores(str(quantity)[:64])


def _text(value: object) -> str:
    return "" if value is None else str(value)[:MAX_NAME]
