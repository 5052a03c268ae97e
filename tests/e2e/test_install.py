"""Must show 1: the image of our Dockerfile runs with `helm install` and default values, with few
privileges."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

import pytest

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.sandbox import SandboxError

CAPABILITIES = {"BPF": 39, "PERFMON": 38, "SYS_PTRACE": 19, "DAC_READ_SEARCH": 2}
STOPS_WITHIN_S = 2.0


@pytest.fixture(scope="module")
def container(agent: Agent) -> dict[str, Any]:
    (only,) = agent.pod()["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def test_agent_is_ready(agent: Agent) -> None:
    status = agent.pod()["status"]
    (state,) = status["containerStatuses"]
    assert (state["ready"], state["restartCount"]) == (True, 0), agent.kubectl(
        "logs", f"daemonset/{agent.release}"
    )
    assert state["image"].endswith("/gotax:0.1.0")


def test_agent_is_not_privileged(agent: Agent, container: dict[str, Any]) -> None:
    context = container["securityContext"]
    assert context["privileged"] is False
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"]["drop"] == ["ALL"]
    spec = agent.pod()["spec"]
    assert not spec.get("hostNetwork")
    assert not spec.get("hostIPC")


def test_process_holds_four_capabilities(agent: Agent) -> None:
    """By the kernel's status of the process."""
    status = agent.kubectl("exec", f"daemonset/{agent.release}", "--", "cat", "/proc/self/status")
    wanted = sum(1 << bit for bit in CAPABILITIES.values())
    for name in ("CapEff", "CapPrm", "CapBnd"):
        assert re.search(rf"^{name}:\s+{wanted:016x}$", status, re.M), status
    assert re.search(r"^NoNewPrivs:\s+1$", status, re.M)
    assert re.search(r"^Seccomp:\s+2$", status, re.M), "no filter: the runtime's own was asked for"


def test_root_file_system_is_read_only(agent: Agent) -> None:
    for path in ("/here", "/opt/gotax/here", "/sys/fs/cgroup/here"):
        with pytest.raises(SandboxError, match="Read-only file system"):
            agent.kubectl("exec", f"daemonset/{agent.release}", "--", "touch", path)


def test_selftest_finds_nothing_missing(agent: Agent) -> None:
    """In the image, with the chart's capabilities, as a table and as a document."""
    found = agent.document("selftest")
    assert found["ok"], json.dumps(found["checks"], indent=1)
    table = agent.gotax("selftest").splitlines()
    assert [line for line in table if line.startswith("yes  sampling")], table
    assert len([line for line in table if not line.startswith("     ")]) == len(found["checks"])


def test_the_service_account_may_only_watch_pods(agent: Agent, cluster: Cluster) -> None:
    name = f"system:serviceaccount:{agent.namespace}:{agent.release}"

    def may(*question: str) -> bool:
        return cluster.kubectl("auth", "can-i", *question, f"--as={name}", check=False) == "yes\n"

    assert may("watch", "pods", "--all-namespaces")
    assert not may("list", "pods", "--all-namespaces")
    assert not may("get", "pods", "--all-namespaces")
    for verb in ("get", "create", "delete", "patch"):
        assert not may(verb, "secrets", "--all-namespaces")
    for verb in ("create", "delete", "patch"):
        assert not may(verb, "pods", "--all-namespaces")
    assert not may("create", "pods/exec", "--all-namespaces")
    assert not may("list", "nodes")


def test_the_pod_stops_on_request(agent: Agent, cluster: Cluster) -> None:
    """PID 1 passes the signal to the agent. The container is stopped as a kubelet does it."""
    (state,) = agent.pod()["status"]["containerStatuses"]
    container_id = state["containerID"].partition("://")[2]
    (task,) = [
        line.split()
        for line in cluster.run("ctr", "-n", "k8s.io", "tasks", "list").splitlines()
        if line.startswith(container_id)
    ]
    started_s = time.monotonic()
    subprocess.run(["kill", "-TERM", task[1]], check=True)
    while time.monotonic() - started_s < STOPS_WITHIN_S:
        if task[1] not in _pids():
            break
        time.sleep(0.05)
    assert task[1] not in _pids(), f"still there after {STOPS_WITHIN_S} s"

    def is_back() -> bool:
        (now,) = agent.pod()["status"]["containerStatuses"]
        return bool(now["ready"]) and now["restartCount"] == state["restartCount"] + 1

    cluster.wait_for("the agent is back", is_back)


def _pids() -> set[str]:
    found = subprocess.run(["ps", "-e", "-o", "pid="], capture_output=True, text=True, check=True)
    return set(found.stdout.split())
