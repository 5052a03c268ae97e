"""A ClusterPolicy of Kyverno that sets the variable in new pods."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from gotax_collector.remedies.patches import FROM_LIMIT
from gotax_collector.remedies.policies import (
    LABELS,
    Match,
    Target,
    all_images,
    namespaces,
    object_name,
)
from gotax_collector.remedies.setting import GOMAXPROCS
from gotax_collector.remedies.yamltext import dumped

_OWNER = "request.object.metadata.ownerReferences[?controller] | [0]"
_KIND, _NAME = f"{{{{ ({_OWNER}).kind || '' }}}}", f"{{{{ ({_OWNER}).name || '' }}}}"
_HASH = "{{ request.object.metadata.labels.\"pod-template-hash\" || '' }}"


def cluster_policy(owner: str, found: Sequence[Target], match: Match) -> str:
    """One document; "" if there is nothing for a policy."""
    if not found:
        return ""
    rules = [_rule_of_images(found)] if match is Match.IMAGE else [_rule(t) for t in found]
    return dumped(
        {
            "apiVersion": "kyverno.io/v1",
            "kind": "ClusterPolicy",
            "metadata": {
                "name": object_name(owner),
                "labels": dict(LABELS),
                "annotations": {
                    "policies.kyverno.io/title": "GOMAXPROCS from the CPU limit",
                    "policies.kyverno.io/subject": "Pod",
                    # The rules look at a pod's owner, which a pod template does not have.
                    "pod-policies.kyverno.io/autogen-controllers": "none",
                },
            },
            "spec": {"background": False, "failurePolicy": "Ignore", "rules": rules},
        }
    )


def _rule(target: Target) -> dict[str, Any]:
    sections = {"containers": target.containers, "initContainers": target.init_containers}
    return {
        "name": _rule_name(target),
        "match": _pods([target.namespace]),
        "preconditions": {"all": _owned_by(target)},
        "mutate": {
            "foreach": [
                _loop(section, [_is_named(names)]) for section, names in sections.items() if names
            ]
        },
    }


def _is_named(names: Sequence[str]) -> dict[str, Any]:
    return {"key": "{{ element.name }}", "operator": "AnyIn", "value": list(names)}


def _rule_of_images(found: Sequence[Target]) -> dict[str, Any]:
    name = "{{ regex_replace_all('(:[^/:@]*)?(@.*)?$', element.image, '') }}"
    conditions: list[dict[str, Any]] = [
        {"key": name, "operator": "AnyIn", "value": all_images(found)},
        # What a ConfigMap may set is left as it is.
        {"key": "{{ length(element.envFrom || `[]`) }}", "operator": "Equals", "value": 0},
    ]
    return {
        "name": "images",
        "match": _pods(namespaces(found)),
        "mutate": {"foreach": [_loop(s, conditions) for s in ("containers", "initContainers")]},
    }


def _pods(names: Sequence[str]) -> dict[str, Any]:
    resources = {"kinds": ["Pod"], "namespaces": list(names), "operations": ["CREATE"]}
    return {"any": [{"resources": resources}]}


def _owned_by(target: Target) -> list[dict[str, Any]]:
    """Conditions on the pod: it is of this workload."""

    def equals(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "operator": "Equals", "value": value}

    name = target.name
    if target.kind == "Pod":
        return [equals(_KIND, ""), equals("{{ request.object.metadata.name || '' }}", name)]
    if target.kind == "Deployment":
        return [equals(_KIND, "ReplicaSet"), equals(_NAME, f"{name}-{_HASH}")]
    if target.kind == "CronJob":
        pattern = f"^{name.replace('.', '[.]')}-[0-9]{{8,9}}$"
        matches = f"{{{{ regex_match('{pattern}', ({_OWNER}).name || '') }}}}"
        return [equals(_KIND, "Job"), {"key": matches, "operator": "Equals", "value": True}]
    return [equals(_KIND, target.kind), equals(_NAME, name)]


def _loop(section: str, conditions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {
        "list": f"request.object.spec.{section} || `[]`",  # a missing key would be an error
        "preconditions": {
            "all": [
                *conditions,
                {
                    "key": "{{ element.resources.limits.cpu || '' }}",
                    "operator": "NotEquals",
                    "value": "",
                },
                {
                    "key": GOMAXPROCS,
                    "operator": "AnyNotIn",
                    "value": "{{ element.env[].name || `[]` }}",
                },
            ]
        },
        "patchStrategicMerge": {
            "spec": {
                section: [
                    {
                        "name": "{{ element.name }}",
                        "env": [{"name": GOMAXPROCS, "valueFrom": FROM_LIMIT}],
                    }
                ]
            }
        },
    }


def _rule_name(target: Target) -> str:
    """At most 63 characters."""
    name = f"{target.namespace}-{target.kind.lower()}-{target.name}".replace(".", "-")
    if len(name) <= 63 and "." not in target.name:
        return name
    digest = hashlib.sha256(f"{target.namespace}/{target.name}".encode()).hexdigest()[:8]
    return f"{name[:54].rstrip('-')}-{digest}"
