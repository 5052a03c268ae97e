"""Finds what the user deployed, from the pod alone.

A pod names only its direct owner: a ReplicaSet, not the Deployment. Asking the API server for the
ReplicaSet would need another permission and another watch, on every node. But both controllers
build the owner's name in a way that can be reversed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from gotax.process import Workload

_HASH_LABELS = (
    # kubernetes pkg/controller/deployment/sync.go: the ReplicaSet is <deployment>-<hash>.
    ("pod-template-hash", "Deployment"),
    ("rollouts-pod-template-hash", "Rollout"),  # Argo Rollouts, utils/replicaset
)
# kubernetes pkg/controller/cronjob/utils.go getJobName: <cronjob>-<minutes since 1970>.
_CRON_JOB = re.compile(r"(.+)-([0-9]{8,9})\Z")
_STATIC = "kubernetes.io/config.source"  # kubelet's pkg/kubelet/types: "file" or "http"


def find_workload(metadata: Mapping[str, Any]) -> Workload:
    """The workload of a pod with this ``metadata``. A pod without an owner is its own workload."""
    name = str(metadata.get("name") or "")
    owner = _controller(metadata)
    if owner is None:
        return Workload("Pod", name)
    kind, owner_name = owner
    if kind == "Node":  # a mirror of a static pod: its name is <manifest's name>-<node>
        return Workload("StaticPod", _without_suffix(name, owner_name))
    if kind == "ReplicaSet":
        labels = metadata.get("labels") or {}
        for label, outer in _HASH_LABELS:
            hashed = labels.get(label)
            if hashed and owner_name.endswith(f"-{hashed}"):
                return Workload(outer, owner_name[: -len(hashed) - 1])
    if kind == "Job":
        match = _CRON_JOB.match(owner_name)
        if match is not None:
            return Workload("CronJob", match[1])
    return Workload(kind, owner_name)


def _controller(metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and name of the owner that controls the pod."""
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") and owner.get("name"):
            return str(owner["kind"]), str(owner["name"])
    if (metadata.get("annotations") or {}).get(_STATIC) in ("file", "http"):
        return "Node", ""  # the kubelet's own list has static pods without their mirror's owner
    return None


def _without_suffix(name: str, node: str) -> str:
    return name.removesuffix(f"-{node}") if node else name
