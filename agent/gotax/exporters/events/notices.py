"""Which warnings have begun or ended for the workloads of this node, and the Events that say so.

The containers of a workload are taken together, as long as they have the same name: after a rollout
the new pod is another container, and its lack of a finding is the end of the old one's.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gotax.findings import Finding, Severity
from gotax.process import PodContainer
from gotax.window import Window

CONTROLLER = "gotax.dev/agent"
API_VERSIONS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "CronJob": "batch/v1",
    "Job": "batch/v1",
}
"""Workloads that an Event can name. Of others it names the pod."""

WORKLOADS_MAX = 4096
_CODES_MAX = 64
_NOTE_BYTES_MAX = 1024  # of events.k8s.io/v1
_NAME_MAX = 200

_Key = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class Notice:
    """A warning of a container of a workload: it has begun, or ended. ``text`` is for people."""

    pod: PodContainer
    code: str
    has_begun: bool
    text: str

    @property
    def is_about_pod(self) -> bool:
        return self.pod.workload.kind not in API_VERSIONS

    @property
    def name(self) -> str:
        """The same on all nodes and after a restart of the agent, so that the API server knows a
        repetition."""
        workload, container = self.pod.workload, self.pod.container
        about = (self.pod.pod if self.is_about_pod else str(workload), container, self.code)
        digest = hashlib.sha256("\0".join((*about, str(self.has_begun))).encode()).hexdigest()
        return f"{workload.name[:_NAME_MAX].rstrip('.-')}.{digest[:16]}"


class HeldWarnings:
    """The warnings of the workloads of this node, at most WORKLOADS_MAX."""

    def __init__(self) -> None:
        self._held: OrderedDict[_Key, dict[str, str]] = OrderedDict()

    def observe(self, window: Window) -> list[Notice]:
        """What has begun or ended with this window."""
        pods: dict[_Key, PodContainer] = {}
        now: dict[_Key, dict[str, Finding]] = {}
        for report in window.reports:
            pod = report.container.pod
            if pod is None or report.container.nested or not pod.namespace:
                continue
            key = (pod.namespace, pod.workload.kind, pod.workload.name, pod.container)
            found = now.setdefault(key, {})
            for finding in report.findings:
                if finding.severity is Severity.WARNING and len(found) < _CODES_MAX:
                    if finding.code not in found:
                        pods[key] = pod
                    found.setdefault(finding.code, finding)
            pods.setdefault(key, pod)
        return [notice for key in now for notice in self._changes(key, pods[key], now[key])]

    def _changes(self, key: _Key, pod: PodContainer, found: dict[str, Finding]) -> Iterator[Notice]:
        held = self._held.pop(key, {})
        for code, finding in found.items():
            if code not in held:
                yield Notice(pod, code, True, f"{pod.container}: {_about(finding)}")
        for code, title in held.items():
            if code not in found:
                yield Notice(pod, code, False, f"{pod.container}: no longer: {title} [{code}]")
        if found:
            self._held[key] = {code: finding.title for code, finding in found.items()}
            if len(self._held) > WORKLOADS_MAX:
                self._held.popitem(last=False)

    def __len__(self) -> int:
        return len(self._held)


def _about(finding: Finding) -> str:
    saving = finding.saving
    text = f"{finding.title} [{finding.code}]."
    if saving is not None:
        text += (
            f" Predicted to save {saving.mid:.2f} cores ({saving.low:.2f} to {saving.high:.2f})."
        )
    return f"{text} {finding.remedy.text}"


def regarding(notice: Notice, uid: str) -> dict[str, str]:
    """The object that the Event is about. ``uid``: of the workload, "" for not known."""
    pod, workload = notice.pod, notice.pod.workload
    if notice.is_about_pod:
        found = {"apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace, "name": pod.pod}
        return {**found, "uid": pod.pod_uid} if workload.kind != "StaticPod" else found
    found = {
        "apiVersion": API_VERSIONS[workload.kind],
        "kind": workload.kind,
        "namespace": pod.namespace,
        "name": workload.name,
    }
    return {**found, "uid": uid} if uid else found


def event_of(notice: Notice, node: str, uid: str, time: str) -> dict[str, Any]:
    """An object of events.k8s.io/v1. ``time`` is RFC 3339 with microseconds."""
    pod = notice.pod
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": notice.name, "namespace": pod.namespace},
        "eventTime": time,
        "reportingController": CONTROLLER,
        "reportingInstance": node[:128] or "unknown",
        "action": "FindingBegan" if notice.has_begun else "FindingEnded",
        "reason": notice.code if notice.has_begun else f"{notice.code}Ended",
        "type": "Warning" if notice.has_begun else "Normal",
        "note": _cut(notice.text),
        "regarding": regarding(notice, uid),
        "related": {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.pod,
        },
    }


def _cut(text: str) -> str:
    plain = "".join(c if c.isprintable() else "?" for c in text).encode()
    if len(plain) <= _NOTE_BYTES_MAX:
        return plain.decode()
    return plain[: _NOTE_BYTES_MAX - 3].decode("utf-8", "ignore") + "…"
