"""Pods in the API server's form, parsed to containers by id."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from gotax.errors import ParseError
from gotax.kubernetes.pods import parse_pod
from gotax.kubernetes.quantities import parse_cores
from gotax.kubernetes.workloads import find_workload
from gotax.process import CpuResources, Workload
from hypothesis import given
from hypothesis import strategies as st

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


def pod(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "web-5d89bdfbf9-x2x5v",
            "namespace": "shop",
            "uid": "1111",
            "labels": {"pod-template-hash": "5d89bdfbf9"},
            "annotations": {"gotax.dev/suppress": "GT001"},
            "ownerReferences": [
                {"kind": "ReplicaSet", "name": "web-5d89bdfbf9", "controller": True}
            ],
        },
        "spec": {
            "nodeName": "n1",
            "containers": [
                {"name": "web", "image": "shop/web:1", "resources": {"limits": {"cpu": "1500m"}}}
            ],
            "initContainers": [
                {"name": "proxy", "image": "mesh", "restartPolicy": "Always"},
                {"name": "migrate", "image": "shop/migrate"},
            ],
            "ephemeralContainers": [{"name": "debug", "image": "busybox"}],
        },
        "status": {
            "containerStatuses": [
                {
                    "name": "web",
                    "containerID": f"containerd://{A}",
                    "resources": {"limits": {"cpu": "2"}, "requests": {"cpu": "250m"}},
                }
            ],
            "initContainerStatuses": [
                {"name": "proxy", "containerID": f"containerd://{B}"},
                {"name": "migrate", "containerID": f"cri-o://{C}"},
            ],
            "ephemeralContainerStatuses": [{"name": "debug", "containerID": f"docker://{D}"}],
        },
        **changes,
    }


def test_every_kind_of_container_is_named() -> None:
    """Containers, init containers, sidecars and ephemeral ones are distinguished."""
    found = parse_pod(pod())
    assert {i[0]: (c.path, c.kind) for i, c in found.items()} == {
        "a": ("shop/web-5d89bdfbf9-x2x5v/web", "container"),
        "b": ("shop/web-5d89bdfbf9-x2x5v/proxy", "sidecar"),
        "c": ("shop/web-5d89bdfbf9-x2x5v/migrate", "init"),
        "d": ("shop/web-5d89bdfbf9-x2x5v/debug", "ephemeral"),
    }


def test_desired_and_current_resources() -> None:
    """While an in-place resize is pending, the spec and the status differ."""
    web = parse_pod(pod())[A]
    assert web.desired == CpuResources(request_cores=1.5, limit_cores=1.5)
    assert web.current == CpuResources(request_cores=0.25, limit_cores=2.0)
    assert (web.image, web.node, web.suppress) == ("shop/web:1", "n1", "GT001")


def test_the_container_before_a_restart_keeps_its_name() -> None:
    """Samples of the crashed container are drained after its successor has started."""
    crashed = pod()
    crashed["status"]["containerStatuses"][0]["lastState"] = {
        "terminated": {"containerID": f"containerd://{'e' * 64}", "exitCode": 1}
    }
    found = parse_pod(crashed)
    assert found["e" * 64].path == found[A].path


def test_a_container_without_an_id_is_omitted() -> None:
    """A pod that is being created has statuses without ids."""
    waiting = pod(status={"containerStatuses": [{"name": "web", "containerID": ""}]})
    assert parse_pod(waiting) == {}


@pytest.mark.parametrize(
    ("metadata", "workload"),
    [
        ({"name": "p"}, Workload("Pod", "p")),
        (
            {
                "name": "x",
                "labels": {"pod-template-hash": "abc"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": True}],
            },
            Workload("Deployment", "web"),
        ),
        (
            {
                "name": "x",
                "labels": {"rollouts-pod-template-hash": "abc"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-abc", "controller": True}],
            },
            Workload("Rollout", "web"),
        ),
        (
            {
                "name": "x",
                "ownerReferences": [{"kind": "ReplicaSet", "name": "bare", "controller": True}],
            },
            Workload("ReplicaSet", "bare"),
        ),
        (
            {
                "name": "x",
                "ownerReferences": [{"kind": "Job", "name": "report-29384710", "controller": True}],
            },
            Workload("CronJob", "report"),
        ),
        (
            {
                "name": "x",
                "ownerReferences": [{"kind": "Job", "name": "migrate-2", "controller": True}],
            },
            Workload("Job", "migrate-2"),
        ),
        (
            {
                "name": "db-0",
                "ownerReferences": [{"kind": "StatefulSet", "name": "db", "controller": True}],
            },
            Workload("StatefulSet", "db"),
        ),
        (
            {
                "name": "etcd-n1",
                "ownerReferences": [{"kind": "Node", "name": "n1", "controller": True}],
            },
            Workload("StaticPod", "etcd"),
        ),
        (
            {"name": "x", "ownerReferences": [{"kind": "DaemonSet", "name": "not-mine"}]},
            Workload("Pod", "x"),
        ),
    ],
)
def test_the_workload_of_a_pod(metadata: dict[str, Any], workload: Workload) -> None:
    """The owner that controls the pod, or the owner of that one."""
    assert find_workload(metadata) == workload


def test_a_static_pod_has_the_hash_of_its_cgroup() -> None:
    """The cgroup of a static pod has the manifest's hash, not the mirror pod's UID."""
    static = pod()
    static["metadata"]["annotations"] = {"kubernetes.io/config.hash": "f" * 32}
    assert parse_pod(static)[A].pod_uid == "f" * 32


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("1", 1.0),
        ("250m", 0.25),
        ("1.5", 1.5),
        (".5", 0.5),
        ("100u", 1e-4),
        ("5e-1", 0.5),
        ("2E0", 2.0),
        ("1k", 1000.0),
        ("0", None),
        ("-1", None),
        ("", None),
        ("1 core", None),
        ("1e", None),
        ("1E", None),
        ("1Ei", None),  # an exponent that is no number ended the watch of all pods
        ("1ex", None),
        ("1Ti", 1024.0**4),
        ("nan", None),
        ("9" * 30, None),
    ],
)
def test_quantities(text: str, cores: float | None) -> None:
    """A CPU quantity in cores; None if it is invalid or not above 0."""
    assert parse_cores(text) == cores


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "spec", "status", "containers", "containerStatuses", "name", "labels"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_a_pod_of_another_shape_is_refused(value: Any) -> None:
    """Only ParseError is raised, whatever the server sends."""
    with suppress(ParseError):
        parse_pod(value)
