"""The chart's DaemonSet in a cluster, as a user of it sees it."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.sandbox import SandboxError
from tests.e2e.parts import CHART
from tests.e2e.scrape import Scrape, parse_scrape

PORT = 9745
_LAST_WINDOW = "gotax_last_window_timestamp_seconds"


class Agent:
    """One release of the chart. ``install`` waits until its pod is ready."""

    def __init__(self, cluster: Cluster, namespace: str, release: str = "gotax") -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.release = release
        self._address = ""

    def install(self, *arguments: str) -> None:
        self.cluster.helm(
            *("install", self.release, str(CHART)),
            *("--namespace", self.namespace, "--create-namespace", *arguments),
        )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        # `helm --wait` accepts a DaemonSet with one unavailable pod.
        self.kubectl("rollout", "status", f"daemonset/{self.release}", "--timeout=90s")
        self._address = self.pod()["status"]["podIP"]

    def kubectl(self, *arguments: str) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)

    def pod(self) -> dict[str, Any]:
        found = self.cluster.get(
            *("pods", "--namespace", self.namespace, "--field-selector=status.phase=Running"),
            *("--selector", f"app.kubernetes.io/instance={self.release}"),
        )
        running = [p for p in found["items"] if "deletionTimestamp" not in p["metadata"]]
        (pod,) = running
        only: dict[str, Any] = pod
        return only

    def gotax(self, *arguments: str, check: bool = True) -> str:
        """A command inside the agent's container."""
        inside = ("exec", f"daemonset/{self.release}", "--", "gotax", *arguments)
        return self.cluster.kubectl("--namespace", self.namespace, *inside, check=check)

    def document(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.gotax(*arguments, "--json", check=False))
        return found

    def scrape(self) -> Scrape:
        """By the pod's own address: needs no API server."""
        return parse_scrape(self.cluster.fetch(f"http://{self._address}:{PORT}/metrics"))

    def scrape_new(self, timeout_s: float = 40) -> Scrape:
        """The next window, right after it was published."""
        before = self.scrape().value(_LAST_WINDOW)
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = self.scrape()
            if found.value(_LAST_WINDOW) != before:
                return found
            time.sleep(0.2)
        raise SandboxError(f"no new window in {timeout_s:g} s")
