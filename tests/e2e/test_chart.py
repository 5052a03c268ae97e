"""Must show 5: the chart is valid for three releases of Kubernetes, and leaves nothing behind."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from typing import Any

import pytest
import yaml
from jsonschema import Draft4Validator

from tests.e2e.agent import Agent
from tests.e2e.cluster.node import Cluster
from tests.e2e.cluster.schemas import RELEASES, close_custom, close_definitions, schema_of
from tests.e2e.parts import CHART, Parts
from tests.unit.chart.rendering import EVERYTHING as EVERY_PART
from tests.unit.chart.rendering import rendered

# Defined by the operator of Prometheus and by the Gateway API, not by Kubernetes.
OTHERS = ("monitoring.coreos.com/", "gateway.networking.k8s.io/")
EVERYTHING = tuple(f"{path}={json.dumps(value)}" for path, value in EVERY_PART.items())
MORE = (
    'networkPolicy.from=[{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}]',
    'commonLabels={"team": "platform", "on": "yes"}',
    'image={"registry": "r:5000", "repository": "a/b", "digest": "sha256:%s"}' % ("a" * 64),
    'imagePullSecrets=[{"name": "pull"}]',
    'podLabels={"team": "own"}',
    'agent.extraEnv=[{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]',
    'agent.extraVolumes=[{"name": "spool", "hostPath": {"path": "/var/lib/gotax"}}]',
    'agent.extraVolumeMounts=[{"name": "spool", "mountPath": "/var/lib/gotax"}]',
    *(
        f"{monitor}.{name}={value}"
        for monitor in ("podMonitor", "serviceMonitor")
        for name, value in (
            ("scrapeTimeout", '"10s"'),
            ("labels", '{"release": "prometheus"}'),
            ("relabelings", '[{"sourceLabels": ["a"], "targetLabel": "node"}]'),
            ("metricRelabelings", '[{"action": "labeldrop", "regex": "id"}]'),
        )
    ),
    'prometheusRule.disabled=["GotaxStuck", "GotaxLosesSamples", "GotaxNamesMissing"]',
    'prometheusRule.alertLabels={"team": "platform"}',
    'collector.store={"url": "https://u@h:8443/d", "passwordSecret": "ch"}',
    "collector.replicas=2",
    'collector.ingress.className="nginx"',
    'collector.ingress.tls=[{"secretName": "t", "hosts": ["gotax.example.com"]}]',
    'collector.httpRoute.hostnames=["gotax.example.com"]',
    'collector.service={"type": "LoadBalancer", "annotations": {"a": "b"}}',
    'collector.affinity={"podAntiAffinity": {}}',
    "collector.topologySpreadConstraints=["
    + json.dumps({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"})
    + "]",
    'collector.priorityClassName="high"',
)
VALUES = {
    "default": (),
    "everything": EVERYTHING,
    "everything else": EVERYTHING + MORE,
    "own claim": ("collector.enabled=true", 'collector.persistence.existingClaim="mine"'),
    "own token": (
        *("collector.enabled=true", 'collector.httpToken.existingSecret="mine"'),
        'collector.agentToken.existingSecret="ours"',
    ),
    "no token": ("collector.enabled=true", "collector.agentToken.enabled=false"),
    "by id": ("podNames=false", "rbac.create=false", "serviceAccount.create=false"),
}


def _set(values: tuple[str, ...]) -> list[str]:
    return [argument for value in values for argument in ("--set-json", value)]


def _helm(
    parts: Parts, *arguments: str, release: str = RELEASES[-1]
) -> subprocess.CompletedProcess[str]:
    """Without a cluster helm needs a list of the available APIs."""
    command = [str(parts.helm), *arguments, f"--kube-version={release}", str(CHART)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_lint(parts: Parts, values: tuple[str, ...]) -> None:
    done = _helm(parts, "lint", "--strict", *_set(values))
    assert done.returncode == 0, done.stdout + done.stderr


def test_misspelt_value_is_an_error(parts: Parts) -> None:
    done = _helm(parts, "template", "--set", "agent.frequencey=99")
    assert done.returncode != 0
    assert "frequencey" in done.stderr


def test_a_contradiction_between_values_is_an_error_with_the_remedy(parts: Parts) -> None:
    done = _helm(parts, "template", *_set(("collector.replicas=2",)))
    assert done.returncode != 0
    assert "collector.replicas above 1 needs collector.store.url" in done.stderr


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_objects_have_the_shape_of(parts: Parts, release: str, values: tuple[str, ...]) -> None:
    done = _helm(parts, "template", *_set(values), release=release)
    assert done.returncode == 0, done.stderr
    definitions = close_definitions(json.loads(parts.definitions[release].read_text()))
    custom = _custom(parts)
    objects = [o for o in yaml.safe_load_all(done.stdout) if o]
    assert any(o["kind"] == "DaemonSet" for o in objects)
    for found in objects:
        if found["apiVersion"].startswith(OTHERS):
            _require_none(found, Draft4Validator(custom[found["apiVersion"], found["kind"]]))
        else:
            _require_valid(found, definitions)


def _custom(parts: Parts) -> dict[tuple[str, str], Any]:
    found = json.loads(parts.custom.read_text())
    return {(version, kind): close_custom(schema) for version, kind, schema in found}


def _rendered(parts: Parts, kind: str, *values: str) -> list[dict[str, Any]]:
    done = _helm(parts, "template", *_set(values))
    assert done.returncode == 0, done.stderr
    return [o for o in yaml.safe_load_all(done.stdout) if o and o["kind"] == kind]


def test_the_tokens_of_the_collector_are_random(parts: Parts) -> None:
    """The chart creates new ones at each installation: one for readers, one for agents."""
    made, names = set(), set()
    for _ in range(2):
        for secret in _rendered(parts, "Secret", "collector.enabled=true"):
            for key in secret["data"]:
                (token,) = base64.b64decode(secret["data"][key]).decode().split()
                assert len(token) >= 32
                made.add(token)
            names.add(secret["metadata"]["name"])
    assert len(made) == 4
    assert len(names) == 2
    (readers,) = (name for name in names if name.endswith("-http"))
    _require_mounted(parts, readers, "collector.enabled=true")


def test_the_token_of_the_collector_may_be_given(parts: Parts) -> None:
    own = (
        *("collector.enabled=true", 'collector.httpToken.existingSecret="mine"'),
        'collector.agentToken.existingSecret="ours"',
    )
    assert _rendered(parts, "Secret", *own) == []
    _require_mounted(parts, "mine", *own)


def test_a_collector_without_a_token_has_to_be_requested(parts: Parts) -> None:
    values = (
        *("collector.enabled=true", "collector.httpToken.enabled=false"),
        "collector.agentToken.enabled=false",
    )
    assert _rendered(parts, "Secret", *values) == []
    (stateful,) = _rendered(parts, "StatefulSet", *values)
    assert "token" not in json.dumps(stateful)


def _require_mounted(parts: Parts, secret: str, *values: str) -> None:
    (stateful,) = _rendered(parts, "StatefulSet", *values)
    spec = stateful["spec"]["template"]["spec"]
    (volume,) = [v for v in spec["volumes"] if v.get("secret", {}).get("secretName") == secret]
    (container,) = spec["containers"]
    (mount,) = [m for m in container["volumeMounts"] if m["name"] == volume["name"]]
    assert mount["readOnly"]
    assert f"--http-token-file={mount['mountPath']}/tokens" in container["args"]


@pytest.mark.parametrize("release", ["gotax", "x" * 53, "1.2"])
def test_unit_tests_render_as_helm_does(parts: Parts, release: str) -> None:
    """Unit tests use a small Go program (tests/programs/charttemplate) instead of helm."""
    done = subprocess.run(
        [
            *(str(parts.helm), "template", release, str(CHART), "--namespace=gotax"),
            *("--kube-version=v1.34.0", *_set(EVERYTHING)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    theirs = [o for o in yaml.safe_load_all(done.stdout) if o]
    ours = rendered(EVERY_PART, release)
    for found in (*theirs, *ours):
        if found["kind"] == "Secret":
            found["data"] = {}  # a token, different each time
    assert sorted(ours, key=str) == sorted(theirs, key=str)


def test_schemas_refuse_invalid_objects(parts: Parts) -> None:
    """So the check above has an effect."""
    definitions = close_definitions(json.loads(parts.definitions[RELEASES[-1]].read_text()))
    done = _helm(parts, "template")
    (found,) = [o for o in yaml.safe_load_all(done.stdout) if o and o["kind"] == "DaemonSet"]
    found["spec"]["template"]["spec"]["hostPid"] = True
    with pytest.raises(AssertionError, match="hostPid"):
        _require_valid(found, definitions)
    (monitor,) = _rendered(parts, "PodMonitor", "podMonitor.enabled=true")
    monitor["spec"]["podMetricsEndpoints"][0]["scrapeTimeOut"] = "1s"
    schema = _custom(parts)[monitor["apiVersion"], monitor["kind"]]
    with pytest.raises(AssertionError, match="scrapeTimeOut"):
        _require_none(monitor, Draft4Validator(schema))


def _require_valid(found: dict[str, Any], definitions: dict[str, Any]) -> None:
    schema = schema_of(definitions, found["apiVersion"], found["kind"])
    assert schema is not None, f"no {found['apiVersion']} {found['kind']} in this release"
    _require_none(found, Draft4Validator(schema))


def _require_none(found: dict[str, Any], validator: Draft4Validator) -> None:
    errors = [
        f"{found['kind']} {'.'.join(map(str, error.absolute_path))}: {error.message}"
        for error in validator.iter_errors(found)
    ]
    assert not errors, "\n".join(errors)


def test_upgrade_rollback_uninstall(cluster: Cluster) -> None:
    """Beside another release, as for a trial of a new version."""
    before = _everything(cluster)
    trial = Agent(cluster, "trial", release="gotax-trial")
    trial.install("--set", "agent.window=15")
    first = _configuration(trial)
    where = ("--namespace", trial.namespace)
    more = _set(("agent.window=10", "networkPolicy.enabled=true"))
    cluster.helm("upgrade", trial.release, str(CHART), *where, *more)
    trial.wait_until_ready()
    assert "\ninterval_s = 10\n" in _configuration(trial)[1]
    cluster.kubectl("get", "networkpolicy", trial.release, *where)
    cluster.helm("rollback", trial.release, "1", *where)
    trial.wait_until_ready()
    assert _configuration(trial) == first
    cluster.helm("uninstall", trial.release, *where, "--wait")
    cluster.kubectl("delete", "namespace", trial.namespace)
    left = _everything(cluster) - before
    assert not left


@pytest.mark.parametrize("keep", [True, False])
def test_uninstall_keeps_the_volume_of_the_collector(cluster: Cluster, keep: bool) -> None:
    """Until it is deleted as the notes say, or at once where a value asks for that.

    This cluster has no storage class: the claim waits for a volume, and the pods for the claim.
    """
    where = ("--namespace", "volume")
    values = ("collector.enabled=true", f"collector.persistence.keep={json.dumps(keep)}")
    nowhere = 'nodeSelector={"no": "node"}'
    said = cluster.helm(
        *("install", "volume", str(CHART), *where, "--create-namespace"),
        *_set((*values, nowhere)),
    )
    (advice,) = re.findall(r"kubectl -n volume (delete pvc -l \S+)", said) or [""]
    assert bool(advice) is keep
    claim = ("get", "pvc", "--output=name", *where)
    cluster.wait_for("there is a claim", lambda: bool(cluster.kubectl(*claim)))
    cluster.helm("uninstall", "volume", *where, "--wait")
    if keep:
        cluster.wait_for(
            "the StatefulSet is gone",
            lambda: not cluster.kubectl("get", "statefulset,pods", "--output=name", *where),
        )
        assert cluster.kubectl(*claim)
        cluster.kubectl(*advice.split(), *where)
    cluster.wait_for("the claim is gone", lambda: not cluster.kubectl(*claim))
    cluster.kubectl("delete", "namespace", "volume")


def _configuration(agent: Agent) -> tuple[str, str]:
    """The checksum annotation of the running pod, and its file."""
    made_for: str = agent.pod()["metadata"]["annotations"]["checksum/config"]
    path = "/etc/gotax/config/gotax.toml"
    file = agent.kubectl("exec", f"daemonset/{agent.release}", "--", "cat", path)
    assert made_for == hashlib.sha256(file.encode()).hexdigest()
    return made_for, file


def _everything(cluster: Cluster) -> set[str]:
    """Kind, namespace and name of all objects except those created by controllers."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "--output=name").split()
    passing = ("events", "events.events.k8s.io", "leases.coordination.k8s.io")
    asked = ",".join(kind for kind in kinds if kind not in passing)
    form = '{range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
    found = cluster.kubectl("get", asked, "--all-namespaces", f"--output=jsonpath={form}")
    return set(found.splitlines())
