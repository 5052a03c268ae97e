"""The demo's service as objects of Kubernetes."""

from __future__ import annotations

from typing import Any

from tests.e2e.parts import SERVICE

SHOP = "shop"
OVERSIZED = "oversized"
RIGHT_SIZED = "right-sized"
BY_LIMIT = {
    "name": "GOMAXPROCS",
    "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}},
}


def namespace(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def shop() -> list[dict[str, Any]]:
    """The production example: the same service, sized for a node of 192 CPUs and for its limit."""
    return [
        deployment(OVERSIZED, [container("service", env=[{"name": "GOMAXPROCS", "value": "192"}])]),
        deployment(
            RIGHT_SIZED,
            [container("service", limit="500m", env=[BY_LIMIT])],
            securityContext={"runAsUser": 1000, "runAsGroup": 1000},
        ),
    ]


def container(
    name: str,
    *arguments: str,
    limit: str = "1",
    env: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "image": SERVICE,
        "imagePullPolicy": "Never",
        "args": list(arguments),
        "env": env or [],
        "resources": {"requests": {"cpu": "20m"}, "limits": {"cpu": limit, "memory": "128Mi"}},
    }


def pod_spec(containers: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    return {
        "terminationGracePeriodSeconds": 2,
        "automountServiceAccountToken": False,
        "containers": containers,
        **more,
    }


def pod(name: str, containers: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": pod_spec(containers, **more),
    }


def deployment(name: str, containers: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod_spec(containers, **more)},
        },
    }
