"""A MutatingAdmissionPolicy and its binding: the API server itself sets the variable, by CEL.

It is a JSON patch, because an apply configuration may not set a resourceFieldRef (an atomic map).
The expressions use nothing newer than Kubernetes 1.32, in which the kind came.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from gotax_collector.remedies.policies import (
    LABELS,
    Match,
    Target,
    all_images,
    namespaces,
    object_name,
)
from gotax_collector.remedies.yamltext import dumped

API_VERSIONS = ("v1", "v1beta1", "v1alpha1")
_CONTAINERS_MAX = 32
_CRON_JOB = "^.+-[0-9]{8,9}$"
"""Kubernetes' pkg/controller/cronjob/utils.go: the name and the minutes since 1970."""

_OWNERS = (
    "has(object.metadata.ownerReferences) ?"
    " object.metadata.ownerReferences.filter(o, has(o.controller) && o.controller) : []"
)
_HASH = (
    "has(object.metadata.labels) && 'pod-template-hash' in object.metadata.labels ?"
    " '-' + object.metadata.labels['pod-template-hash'] : ''"
)
_HAS_IMAGE = (
    "[ITEM.image.split('@')[0]].exists(n, n in variables.images"
    " || n.matches(':[^/]*$') && n.substring(0, n.lastIndexOf(':')) in variables.images)"
    " && (!has(ITEM.envFrom) || size(ITEM.envFrom) == 0)"
)
"""Without tag and digest. What a ConfigMap may set (envFrom) is left as it is."""

_WORKLOAD = f"""\
size(variables.owners) == 0
  ? 'Pod/' + (has(object.metadata.name) ? object.metadata.name : '')
  : variables.owners[0].kind == 'ReplicaSet' && variables.hash != ''
    && variables.owners[0].name.endsWith(variables.hash)
  ? 'Deployment/' + variables.owners[0].name.substring(
      0, size(variables.owners[0].name) - size(variables.hash))
  : variables.owners[0].kind == 'Job' && variables.owners[0].name.matches('{_CRON_JOB}')
  ? 'CronJob/' + variables.owners[0].name.substring(0, variables.owners[0].name.lastIndexOf('-'))
  : variables.owners[0].kind + '/' + variables.owners[0].name
"""


def admission_policy(
    owner: str, found: Sequence[Target], match: Match, api_version: str = API_VERSIONS[0]
) -> str:
    """Two documents; "" if there is nothing for a policy."""
    if not found:
        return ""
    name = object_name(owner)
    head = {
        "apiVersion": f"admissionregistration.k8s.io/{api_version}",
        "metadata": {"name": name, "labels": dict(LABELS)},
    }
    policy = {
        "apiVersion": head["apiVersion"],
        "kind": "MutatingAdmissionPolicy",
        "metadata": head["metadata"],
        "spec": _spec(found, match),
    }
    binding = {
        "apiVersion": head["apiVersion"],
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": head["metadata"],
        "spec": {"policyName": name},
    }
    return dumped(policy, binding, comments=(_about(match),))


def _about(match: Match) -> str:
    whose = "the named workloads" if match is Match.WORKLOAD else "the named images"
    return (
        f"Sets GOMAXPROCS from the CPU limit in new pods of {whose}, where there is a limit and the"
        " variable is not set."
    )


def _spec(found: Sequence[Target], match: Match) -> dict[str, Any]:
    sections = ["containers", "initContainers"]
    if match is Match.WORKLOAD and not any(target.init_containers for target in found):
        sections = ["containers"]
    return {
        "failurePolicy": "Ignore",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": {
                "matchExpressions": [
                    {
                        "key": "kubernetes.io/metadata.name",
                        "operator": "In",
                        "values": namespaces(found),
                    }
                ]
            },
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE"],
                    "resources": ["pods"],
                }
            ],
        },
        "variables": [
            {"name": name, "expression": text}
            for name, text in _variables(found, match, sections).items()
        ],
        "mutations": [
            {"patchType": "JSONPatch", "jsonPatch": {"expression": _expression(section)}}
            for section in sections
        ],
    }


def _variables(found: Sequence[Target], match: Match, sections: Sequence[str]) -> dict[str, str]:
    """Beside others the numbers of the containers that get the variable, by section."""
    if match is Match.IMAGE:
        variables = {"images": _cel(all_images(found))}
        return variables | {_indices(name): _wanted(name, _HAS_IMAGE) for name in sections}
    variables = {"owners": _OWNERS, "hash": _HASH, "workload": _WORKLOAD}
    for section in sections:
        part = "containers" if section == "containers" else "init_containers"
        by_key = {f"{t.namespace}/{t.kind}/{t.name}": list(getattr(t, part)) for t in found}
        variables[section] = _of_workload({key: names for key, names in by_key.items() if names})
        variables[_indices(section)] = _wanted(section, f"ITEM.name in variables.{section}")
    return variables


def _indices(section: str) -> str:
    return f"{section}Without"


def _wanted(section: str, condition: str) -> str:
    indices = ", ".join(str(i) for i in range(_CONTAINERS_MAX))
    return f"""\
[{indices}].filter(i, has(object.spec.{section}) && i < size(object.spec.{section})
  && {condition}
  && has(ITEM.resources) && has(ITEM.resources.limits) && 'cpu' in ITEM.resources.limits
  && !(has(ITEM.env) && ITEM.env.exists(e, e.name == 'GOMAXPROCS')))
""".replace("ITEM", f"object.spec.{section}[i]")


def _of_workload(named: dict[str, list[str]]) -> str:
    text = ",\n  ".join(f"{_cel(key)}: {_cel(names)}" for key, names in named.items())
    key = "request.namespace + '/' + variables.workload"
    return f"{{\n  {text}\n}}[?{key}].orValue([])\n"


def _expression(section: str) -> str:
    """First an empty list where there is none, then the variable at the end of each list.

    A list with the variable in it would be one patch, but makes the API server of Kubernetes 1.34
    panic: it cannot convert objects within a list.
    """
    wanted, kind = f"variables.{_indices(section)}", f"Object.spec.{section}.env"
    return f"""\
{wanted}.filter(i, !has(object.spec.{section}[i].env) || size(object.spec.{section}[i].env) == 0)
  .map(i, JSONPatch{{op: 'add', path: '/spec/{section}/' + string(i) + '/env', value: []}})
+ {wanted}.map(i, JSONPatch{{
    op: 'add',
    path: '/spec/{section}/' + string(i) + '/env/-',
    value: {kind}{{
      name: 'GOMAXPROCS',
      valueFrom: {kind}.valueFrom{{
        resourceFieldRef: {kind}.valueFrom.resourceFieldRef{{
          resource: 'limits.cpu', divisor: '1'}}}}}}}})
"""


def _cel(value: str | list[str]) -> str:
    """A literal. JSON's escapes are CEL's, and the texts are names of Kubernetes and of images."""
    return json.dumps(value)
