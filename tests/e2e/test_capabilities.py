"""The smallest set of capabilities, by experiment: without each one something fails.

docs/security.md has the result as a table. Each experiment is the chart's own container with one
change, which runs `gotax selftest` and then `gotax check`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.objects import OVERSIZED, RIGHT_SIZED, namespace
from tests.e2e.truth import Names

NAMESPACE = "experiments"
# As a shell script, because the second command has to run even if the first fails. Errors go where
# output goes: the container runtime reads the two from pipes of their own, in any order.
SCRIPT = "exec 2>&1; gotax selftest --json; echo ---; gotax check -d 6 --json; true"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The failures of the selftest, the error of `gotax check`, and the GOMAXPROCS that it read, by
    container id (None: unreadable)."""

    missing: frozenset[str]
    error: str
    gomaxprocs: dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Experiments:
    """Outcomes by name, and the ids of the demo's containers: one of root, one of another user."""

    outcomes: dict[str, Outcome]
    of_root: str
    of_user: str


def _variants(context: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Security contexts by name; "all" is the chart's."""
    found = {"all": context}
    for name in context["capabilities"]["add"]:
        changed = copy.deepcopy(context)
        changed["capabilities"]["add"].remove(name)
        found[f"without-{name.lower().replace('_', '-')}"] = changed
    return found


@pytest.fixture(scope="module")
def experiments(agent: Agent, cluster: Cluster, busy_shop: str) -> Iterator[Experiments]:
    names = Names(cluster)
    for app in (OVERSIZED, RIGHT_SIZED):
        cluster.kubectl("rollout", "status", f"deployment/{app}", "--namespace", busy_shop)
    template = cluster.get("daemonset", agent.release, "--namespace", agent.namespace)["spec"][
        "template"
    ]
    (container,) = template["spec"]["containers"]
    variants = _variants(container["securityContext"])
    cluster.apply(
        namespace(NAMESPACE),
        *(_pod(name, template["spec"], context) for name, context in variants.items()),
    )
    where = ("--namespace", NAMESPACE)
    try:
        outcomes = {}
        for name in variants:
            cluster.kubectl(
                *("wait", f"pod/{name}", *where, "--timeout=120s"),
                "--for=jsonpath={.status.phase}=Succeeded",
            )
            outcomes[name] = _parse(cluster.kubectl("logs", f"pod/{name}", *where))
        (of_root,) = [names.running(pod)["service"] for pod in names.pods(OVERSIZED)]
        (of_user,) = [names.running(pod)["service"] for pod in names.pods(RIGHT_SIZED)]
        yield Experiments(outcomes, of_root, of_user)
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def _pod(name: str, spec: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    spec = copy.deepcopy(spec)
    (container,) = spec["containers"]
    for key in ("args", "ports", "startupProbe", "livenessProbe", "readinessProbe"):
        container.pop(key, None)
    container["command"] = ["/bin/sh", "-c", SCRIPT]
    container["securityContext"] = context
    for key in ("serviceAccount", "serviceAccountName", "priorityClassName", "priority"):
        spec.pop(key, None)
    container["env"] = []
    # The agent's file is a ConfigMap of another namespace.
    for volumes in (container["volumeMounts"], spec["volumes"]):
        volumes[:] = [volume for volume in volumes if volume["name"] != "config"]
    spec |= {"automountServiceAccountToken": False, "restartPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def _parse(log: str) -> Outcome:
    selftest, _, check = log.partition("---\n")
    found = _document(selftest)
    assert found is not None, selftest
    missing = frozenset(c["name"] for c in found["checks"] if c["needed"] and not c["ok"])
    sampled = _document(check)
    if sampled is None:
        return Outcome(missing, check.strip(), {})
    values = {
        c["container_id"]: (c["gomaxprocs"] or {}).get("value")
        for c in sampled["containers"]
        if c["container_id"]
    }
    return Outcome(missing, "", values)


def _document(text: str) -> dict[str, Any] | None:
    """The JSON document in a log that also contains standard error."""
    start = text.find("{\n")
    if start < 0:
        return None
    found: dict[str, Any] = json.JSONDecoder().raw_decode(text[start:])[0]
    return found


def test_all_of_them_are_enough(experiments: Experiments) -> None:
    outcome = experiments.outcomes["all"]
    assert (outcome.missing, outcome.error) == (frozenset(), "")
    assert outcome.gomaxprocs[experiments.of_root] == 192
    assert outcome.gomaxprocs[experiments.of_user] == 1


@pytest.mark.parametrize("name", ["bpf", "perfmon"])
def test_nothing_is_sampled_without(experiments: Experiments, name: str) -> None:
    outcome = experiments.outcomes[f"without-{name}"]
    assert outcome.missing == {"capabilities", "sampling"}
    assert name.upper() in outcome.error
    assert not outcome.gomaxprocs


def test_no_gomaxprocs_without_ptrace(experiments: Experiments) -> None:
    outcome = experiments.outcomes["without-sys-ptrace"]
    assert outcome.missing == {"capabilities", "other processes"}
    assert set(outcome.gomaxprocs.values()) <= {None}


def test_only_root_s_programs_without_dac_read_search(experiments: Experiments) -> None:
    outcome = experiments.outcomes["without-dac-read-search"]
    assert "capabilities" in outcome.missing
    assert outcome.gomaxprocs.get(experiments.of_user) is None
    assert outcome.gomaxprocs[experiments.of_root] == 192
