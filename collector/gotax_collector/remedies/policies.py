"""Policies that set GOMAXPROCS from the CPU limit when a pod is created.

Both kinds change only containers that they name, that have a CPU limit, and that do not set the
variable. A pod names only its direct owner, a ReplicaSet or a Job; both controllers make that name
of the workload's, in a way that can be reversed (as the agent does in gotax.kubernetes.workloads).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from gotax_collector.remedies.plan import WorkloadPlan

KINDS = (
    *("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job", "ReplicaSet"),
    *("ReplicationController", "Pod"),
)
"""Workloads that a policy finds by the pod alone."""

_NAME_MAX = 63


class Match(StrEnum):
    """What a policy looks for: the workloads with the findings, or all pods with their images."""

    WORKLOAD = "workload"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Target:
    """A workload and its containers that get the variable, by name."""

    namespace: str
    kind: str
    name: str
    containers: tuple[str, ...]
    init_containers: tuple[str, ...]
    images: tuple[str, ...]


def targets(workloads: Iterable[WorkloadPlan], match: Match) -> tuple[Target, ...]:
    """Those of which a policy can set the variable."""
    found = []
    for workload in workloads:
        changes = workload.from_limit
        images = {i for c in changes for f in c.findings for i in map(repository, f.images) if i}
        target = Target(
            workload.namespace,
            workload.kind,
            workload.name,
            tuple(c.container for c in changes if not c.setting.is_init),
            tuple(c.container for c in changes if c.setting.is_init),
            tuple(sorted(images)),
        )
        if changes and (images if match is Match.IMAGE else workload.kind in KINDS):
            found.append(target)
    return tuple(found)


def namespaces(found: Iterable[Target]) -> list[str]:
    return sorted({target.namespace for target in found})


def repository(image: str) -> str:
    """An image without tag and digest; "" for one that has no name."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    name = head + slash + last.partition(":")[0]
    return name if re.fullmatch(r"[a-z0-9][a-zA-Z0-9._:/-]*", name) and last else ""


def spellings(images: Iterable[str]) -> list[str]:
    """With those of Docker's own registry, which a manifest may leave out."""
    found = set()
    for image in images:
        first, slash, _ = image.partition("/")
        is_elsewhere = slash and ("." in first or ":" in first or first == "localhost")
        if is_elsewhere and first != "docker.io":
            found.add(image)
            continue
        short = image.removeprefix("docker.io/").removeprefix("library/")
        inner = short if "/" in short else f"library/{short}"
        found |= {short, inner, f"docker.io/{inner}"}
    return sorted(found)


def all_images(found: Sequence[Target]) -> list[str]:
    return spellings({image for target in found for image in target.images})


def object_name(owner: str, most: int = _NAME_MAX) -> str:
    """A name of Kubernetes, different for each owner."""
    name = f"gotax-gomaxprocs-{owner}"
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    if plain == name and len(name) <= most:
        return name
    digest = hashlib.sha256(owner.encode()).hexdigest()[:8]
    return f"{plain[: most - 9].rstrip('-')}-{digest}"


LABELS: Mapping[str, str] = {"app.kubernetes.io/managed-by": "gotax"}
