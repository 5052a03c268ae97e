"""Events on the real API server, with the permissions of the chart and no others."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.sandbox import ADDRESS
from tests.e2e.objects import container, deployment, namespace
from tests.e2e.parts import CHART, Parts

SHOP, ACCOUNT = "eventful", "gotax-events"
SEND = """
import sys
from dataclasses import replace
from gotax.exporters.events.exporter import EventsExporter, RefusedError
from gotax.exporters.events.notices import Notice
from gotax.kubernetes import api
from gotax.kubernetes.events import Events
from gotax.process import PodContainer, Workload

pod = PodContainer(
    namespace=sys.argv[1], pod="web-1", container="app", pod_uid="1", node="n1", image="",
    kind="container", workload=Workload("Deployment", "web"),
)
begun = Notice(pod, "GT001", True, "app: GOMAXPROCS is above the CPU limit [GT001]")
for node in ("n1", "n2"):
    exporter = EventsExporter(Events(api.connect, RefusedError), node)
    for notice in (begun, replace(begun, has_begun=False)):
        exporter._waiting.append(notice)
    exporter._is_woken.set()
    while exporter._waiting:
        exporter._thread.join(0.01)
    print(dict(exporter.counts))
    exporter.close()
"""


def test_the_chart_allows_what_events_need(cluster: Cluster, parts: Parts, tmp_path: Path) -> None:
    command = [str(parts.helm), "template", ACCOUNT, str(CHART), f"--namespace={SHOP}"]
    command += ["--set=events.enabled=true", "--kube-version=v1.34.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    wanted = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding")
    granted = [o for o in yaml.safe_load_all(done.stdout) if o and o["kind"] in wanted]
    web = deployment("web", [container("app")], nodeSelector={"no": "node"})
    web["metadata"]["namespace"] = SHOP
    cluster.apply(namespace(SHOP), *granted, web)
    try:
        (account,) = (o["metadata"]["name"] for o in granted if o["kind"] == "ServiceAccount")
        token = cluster.kubectl("create", "token", account, "-n", SHOP).strip()
        config = tmp_path / "config"
        config.write_text(json.dumps(_kubeconfig(token)))
        send = ("env", f"KUBECONFIG={config}", sys.executable, "-c", SEND, SHOP)
        assert cluster.run(*send).splitlines() == ["{'created': 2}", "{'repeated': 2}"]
        described = cluster.kubectl("describe", "deployment", "web", "-n", SHOP)
        assert "GT001Ended" in described
        assert "GOMAXPROCS is above the CPU limit" in described
        events = {e["reason"]: e for e in cluster.get("events.events.k8s.io", "-n", SHOP)["items"]}
        assert events["GT001"]["series"]["count"] == 2
        assert events["GT001"]["type"] == "Warning"
        may = cluster.kubectl("auth", "can-i", "--list", "-n", SHOP, f"--token={token}")
        assert "secrets" not in may
    finally:
        cluster.kubectl("delete", "namespace", SHOP, "--wait=false")
        for each in granted:
            if each["kind"] != "ServiceAccount":
                cluster.kubectl("delete", each["kind"], each["metadata"]["name"])


def _kubeconfig(token: str) -> dict[str, Any]:
    server = {"server": f"https://{ADDRESS}:6443", "insecure-skip-tls-verify": True}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
