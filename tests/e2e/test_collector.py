"""The collector's image and StatefulSet: agents of the cluster send, and the API knows their
workloads.

This cluster has no other DNS, so the Services that agents look up are given to a small name server
(cluster/dns.py).
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.sandbox import ADDRESS, SandboxError
from tests.e2e.objects import BY_LIMIT, OVERSIZED
from tests.e2e.parts import CHART, Parts

RELEASE = NAMESPACE = "fleet"
NAME = f"{RELEASE}-gotax-collector"
WHERE = ("--namespace", NAMESPACE)
VALUES = (
    *("--set", "collector.enabled=true", "--set", "collector.image.repository=gotax-collector"),
    *("--set", "collector.persistence.enabled=false"),  # no storage class here
)
READY_WITHIN_S = 120
STORED_WITHIN_S = 120  # two windows, and an agent that waits between two attempts to connect


class Collector:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        pod = cluster.get("pod", f"{NAME}-0", *WHERE)
        self.url = f"http://{pod['status']['podIP']}:9747"

    def token(self, whose: str = "http", key: str = "tokens") -> str:
        secret = self._cluster.get("secret", f"{NAME}-{whose}", *WHERE)
        return base64.b64decode(secret["data"][key]).decode().strip()

    def fetch(self, path: str, *options: str) -> str:
        return self._cluster.run("curl", "-sSf", "-m", "10", *options, self.url + path)

    def top(self) -> list[dict[str, Any]]:
        login = ("--header", f"Authorization: Bearer {self.token()}")
        document = json.loads(self.fetch("/api/v1/top", *login))
        found: list[dict[str, Any]] = document["rows"]
        return found


@pytest.fixture(scope="module")
def collector(cluster: Cluster, parts: Parts, busy_shop: str) -> Iterator[Collector]:
    """A separate release with its own agents: the other agents must not change."""
    del busy_shop  # the namespaces of their workloads
    cluster.import_image(parts.collector)
    cluster.helm("install", RELEASE, str(CHART), *WHERE, "--create-namespace", *VALUES)
    try:
        service = cluster.get("service", NAME, *WHERE)["spec"]["clusterIP"]
        names = f"{NAME}.{NAMESPACE}.svc={service}"
        cluster.sandbox.start(
            "dns", sys.executable, "-P", "-m", "tests.e2e.cluster.dns", ADDRESS, names
        )
        cluster.kubectl(
            *("rollout", "status", f"statefulset/{NAME}", *WHERE, f"--timeout={READY_WITHIN_S}s")
        )
        yield Collector(cluster)
    finally:
        cluster.helm("uninstall", RELEASE, *WHERE, "--wait")
        cluster.kubectl("delete", "namespace", NAMESPACE)
        cluster.sandbox.kill("dns")


def test_agents_of_the_chart_reach_the_collector_of_the_chart(
    collector: Collector, cluster: Cluster
) -> None:
    """The oversized workload, by its name, with CPU time: through the Service, the stream, the
    store and the API."""

    def is_stored() -> bool:
        found = [row for row in collector.top() if row["workload"] == OVERSIZED]
        return any(row["consumption"]["cores"] > 0 for row in found)

    cluster.wait_for("the API knows the workload", is_stored, STORED_WITHIN_S)


def test_an_agent_without_the_token_is_refused(collector: Collector, cluster: Cluster) -> None:
    """One of another release, in plain text as the chart's own."""
    refused = 'gotax_collector_refused_total{reason="unauthenticated"}'

    def count() -> float:
        found = re.search(rf"^{re.escape(refused)} (\S+)$", collector.fetch("/metrics"), re.M)
        return float(found[1]) if found else 0.0

    assert count() == 0
    other = Agent(cluster, "other")
    other.install("--set", f"collector.external={NAME}.{NAMESPACE}.svc:9746")
    try:
        cluster.wait_for("the collector refuses it", lambda: count() > 0, STORED_WITHIN_S)
    finally:
        cluster.helm("uninstall", other.release, "--namespace", other.namespace, "--wait")
        cluster.kubectl("delete", "namespace", other.namespace)


def test_the_remedies_of_the_fleet_are_applied_as_they_are(
    collector: Collector, cluster: Cluster, tmp_path: Path
) -> None:
    """From an agent's finding to a patch that the API server accepts."""
    (tmp_path / "token").write_text(collector.token())
    patch = tmp_path / "patch.yaml"
    ask = (
        *(sys.executable, "-P", "-m", "gotax", "fleet", "remedies", "--format=patches"),
        *("--collector", collector.url, "--token-file", str(tmp_path / "token")),
        f"workload={OVERSIZED}",
    )
    cluster.wait_for("there is a finding", lambda: patch.write_text(cluster.run(*ask)), 90)
    (found,) = yaml.safe_load_all(patch.read_text())
    (changed,) = found["spec"]["template"]["spec"]["containers"]
    assert (changed["name"], changed["env"][0]["valueFrom"]) == ("service", BY_LIMIT["valueFrom"])
    command = ("patch", "-f", str(patch), "--patch-file", str(patch), "--dry-run=server")
    assert "patched" in cluster.kubectl(*command)


def test_page_and_api_ask_for_the_token(collector: Collector) -> None:
    """Probes and metrics need no token."""
    for path in ("/", "/api/v1/top"):
        with pytest.raises(SandboxError, match="401"):
            collector.fetch(path)
    streams = re.search(r"^gotax_collector_streams (\S+)$", collector.fetch("/metrics"), re.M)
    assert streams
    assert float(streams[1]) == 1
    assert collector.fetch("/", "--user", f"anybody:{collector.token()}")


def test_an_upgrade_keeps_the_tokens(collector: Collector, cluster: Cluster) -> None:
    before = collector.token(), collector.token("agents"), collector.token("agents", "token")
    assert before[1] == before[2] != before[0]
    cluster.helm("upgrade", RELEASE, str(CHART), *WHERE, *VALUES, "--set", "podLabels.again=yes")
    after = collector.token(), collector.token("agents"), collector.token("agents", "token")
    assert after == before
    Agent(cluster, NAMESPACE, f"{RELEASE}-gotax").kubectl(
        "rollout", "status", f"daemonset/{RELEASE}-gotax", "--timeout=90s"
    )


def test_the_collector_has_no_privileges(collector: Collector, cluster: Cluster) -> None:
    """Not root, no capability, and it can write only to its store and /tmp."""
    del collector
    inside = ("exec", f"{NAME}-0", *WHERE, "--")
    status = cluster.kubectl(*inside, "cat", "/proc/self/status")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split() == ["65532"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    with pytest.raises(SandboxError, match="Read-only file system"):
        cluster.kubectl(*inside, "touch", "/opt/gotax/here")
