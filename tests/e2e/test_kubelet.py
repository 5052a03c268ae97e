"""Without permission from the API server: the pods come from the node's kubelet, over HTTPS.

The chart's agent uses the token of its own service account, which may ask the kubelet for its pods
and may not ask the API server for anything. The kubelet checks both with the API server (webhooks).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.objects import OVERSIZED, RIGHT_SIZED

NAMESPACE = "by-kubelet"
NAMED_WITHIN_S = 75
ROLE = "gotax-by-kubelet"


@pytest.fixture(scope="module")
def refused(cluster: Cluster, busy_shop: str) -> Iterator[Agent]:
    """An agent that the API server refuses."""
    del busy_shop
    found = Agent(cluster, NAMESPACE, release="gotax-by-kubelet")
    account = {"kind": "ServiceAccount", "name": found.release, "namespace": NAMESPACE}
    group = "rbac.authorization.k8s.io"
    role = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE},
        "rules": [{"apiGroups": [""], "resources": ["nodes/pods"], "verbs": ["get"]}],
    }
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": ROLE},
        "subjects": [account],
    }
    cluster.apply(role, binding)
    try:
        found.install("--set", "kubelet.enabled=true", "--set", "rbac.create=false")
        yield found
    finally:
        cluster.helm("uninstall", found.release, "--namespace", NAMESPACE, "--wait")
        cluster.kubectl("delete", "namespace", NAMESPACE)
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", ROLE)


def test_kubelet_names_the_pods(refused: Agent, cluster: Cluster) -> None:
    """Its certificate is checked; workloads are derived from the pods' owners."""

    def are_named() -> bool:
        infos = refused.scrape().select("gotax_container_info", namespace="shop")
        return {OVERSIZED, RIGHT_SIZED} <= {labels["workload"] for labels, _ in infos}

    cluster.wait_for("the kubelet has named them", are_named, NAMED_WITHIN_S)


def test_api_server_has_refused(refused: Agent) -> None:
    """Otherwise the names above could come from there."""
    failures = refused.scrape().value("gotax_errors_total", kind="kubernetes-api")
    assert failures
    assert "verb watch on pods" in refused.kubectl("logs", f"daemonset/{refused.release}")
