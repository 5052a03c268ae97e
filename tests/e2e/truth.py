"""Data about containers from Kubernetes and the kernel, independent of gotax."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.sandbox import NAME, cgroup_trees
from tests.e2e.objects import SHOP

Name = tuple[str, str, str]
"""Namespace, pod, container."""

# containerd pkg/cri: its labels for a container that the kubelet requested.
_NAMESPACE, _POD = "io.kubernetes.pod.namespace", "io.kubernetes.pod.name"
_CONTAINER = "io.kubernetes.container.name"


class Names:
    """Every container that containerd has had, by its id. Needs no API server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.by_id: dict[str, Name] = {}

    def look(self) -> None:
        ask = ("ctr", "--namespace", "k8s.io", "containers")
        for container_id in self._cluster.run(*ask, "list", "--quiet").split():
            if container_id not in self.by_id:
                found = self._cluster.run(*ask, "info", container_id, check=False)
                labels = json.loads(found)["Labels"] if found else {}
                if _CONTAINER in labels:  # otherwise a pause container
                    name = (labels[_NAMESPACE], labels[_POD], labels[_CONTAINER])
                    self.by_id[container_id] = name

    def running(self, pod: str) -> dict[str, str]:
        """Ids of the pod's running containers by their names, from the API server."""
        found = self._cluster.get("pod", pod, "--namespace", SHOP)
        return {
            status["name"]: status["containerID"].partition("://")[2]
            for status in found["status"].get("containerStatuses", ())
            if "running" in status["state"]
        }

    def pods(self, app: str) -> list[str]:
        """Names of a Deployment's pods that are not terminating."""
        found = self._cluster.get("pods", "--namespace", SHOP, "--selector", f"app={app}")
        names = (p["metadata"] for p in found["items"])
        return [name["name"] for name in names if "deletionTimestamp" not in name]


def read_cpu_s(container_id: str) -> float | None:
    """CPU seconds since the container's start, from its cgroup; None if that is removed."""
    for folder in _cgroups(container_id):
        usage, stat = folder / "cpuacct.usage", folder / "cpu.stat"
        if usage.exists():  # v1
            return int(usage.read_text()) / 1e9
        pairs = (
            dict(line.split() for line in stat.read_text().splitlines()) if stat.exists() else {}
        )
        if "usage_usec" in pairs:
            return int(pairs["usage_usec"]) / 1e6
    return None


@dataclass(frozen=True, slots=True)
class Memory:
    """``peak_bytes``: the highest charge, including files in the page cache. ``anonymous_bytes``:
    the present memory that cannot be dropped."""

    peak_bytes: int
    anonymous_bytes: int


def read_memory(container_id: str) -> Memory | None:
    """From the container's cgroup; None if that is removed, or if the kernel has no peak (v2 before
    5.19)."""
    for folder in _cgroups(container_id):
        for peak, anonymous in (("memory.max_usage_in_bytes", "rss"), ("memory.peak", "anon")):
            if (folder / peak).exists():
                stat = (folder / "memory.stat").read_text().splitlines()
                now = dict(line.split() for line in stat)
                return Memory(int((folder / peak).read_text()), int(now[anonymous]))
    return None


def pids_of(container_id: str) -> list[int]:
    """Its processes, by the PIDs of the host."""
    for folder in _cgroups(container_id):
        found = (folder / "cgroup.procs").read_text().split()
        if found:
            return [int(pid) for pid in found]
    return []


def _cgroups(container_id: str) -> Iterator[Path]:
    for tree in cgroup_trees():
        yield from (tree / NAME).rglob(container_id)


class Runs:
    """CPU seconds of every run of a container of the demo, from its own last line.

    The kubelet keeps the logs of two runs, so ``look`` must be called more often than it restarts.
    """

    def __init__(self, cluster: Cluster, pod: str) -> None:
        self._logs = cluster.sandbox.root / "var/log/pods"
        self._pod = pod
        self._last: dict[str, float] = {}  # by file

    def look(self) -> None:
        for log in self._logs.glob(f"{SHOP}_{self._pod}_*/*/*.log"):
            lines = log.read_text().splitlines()
            if lines:
                # containerd's form: time, stream, tag, line.
                self._last[log.name] = json.loads(lines[-1].split(" ", 3)[3])["cpu_s"]

    def __len__(self) -> int:
        return len(self._last)

    @property
    def cpu_s(self) -> float:
        return sum(self._last.values())
