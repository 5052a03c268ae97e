"""Each value has an effect, and contradictions between values are refused with a sentence."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .rendering import (
    CHART,
    EVERYTHING,
    VALUES,
    Objects,
    notes,
    only,
    parse_all,
    refusal,
    render,
    rendered,
)
from .test_chart import SCHEMA, at, leaves

pytestmark = pytest.mark.toolchain

PROMTOOL = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
DIGEST = "sha256:" + "a" * 64
OTHER_DIGEST = "sha256:" + "b" * 64
SERVER = {"collector.store.url": "https://gotax@clickhouse:8443/gotax"}

OTHERS: dict[str, Any] = {
    "agent.config": {"findings": {"min_samples": 60}},
    "agent.dropLabels": ["pod"],
    "agent.logLevel": "debug",
    "appArmorProfile": "RuntimeDefault",
    "collector.external": "c:1",
    "collector.httpRoute.parentRefs": [{"name": "internal"}],
    "collector.image.pullPolicy": "Always",
    "collector.ingress.hosts": ["a.example"],
    "collector.ingress.path": "/gotax",
    "collector.ingress.pathType": "Exact",
    "collector.ingress.tls": [{"secretName": "t"}],
    "collector.listenAddress": "0.0.0.0",
    "collector.persistence.size": "1Gi",
    "collector.replicas": 2,
    "collector.service.type": "LoadBalancer",
    "collector.store.url": SERVER["collector.store.url"],
    "collector.topologySpreadConstraints": [{"maxSkew": 1}],
    "image.digest": DIGEST,
    "kubelet.url": "https://k",
    "podMonitor.relabelings": [{"action": "drop"}],
    "prometheusRule.disabled": ["GotaxStuck"],
    "prometheusRule.for": "1h",
    "updateStrategy": {"type": "OnDelete"},
}
"""Other values than the default ones, where none can be made of the default."""
BESIDE: dict[str, dict[str, Any]] = {
    "collector.httpHosts": {"collector.httpToken.enabled": False},
    "collector.store.passwordSecret": SERVER,
    "collector.store.passwordKey": SERVER | {"collector.store.passwordSecret": "s"},
    "collector.replicas": SERVER,
    "collector.external": {
        "collector.ingress.enabled": False,
        "collector.httpRoute.enabled": False,
    },
    "collector.enabled": {"collector.ingress.enabled": False, "collector.httpRoute.enabled": False},
}
"""Values that have to be set for a value to have an effect."""


def other(path: str, value: Any) -> Any:
    if path in OTHERS:
        return OTHERS[path]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value * 2 or 1
    if isinstance(value, list):
        return [*value, {"name": "more"}] if objects_of(path) else [*value, "more"]
    if isinstance(value, dict):
        return {**value, "more": "more"}
    return "more"


def objects_of(path: str) -> bool:
    """Whether a list has objects in it, not texts."""
    schema = SCHEMA
    for name in path.split("."):
        schema = schema["properties"][name]
    return bool(schema["items"].get("type") == "object")


def text_of(changes: dict[str, Any]) -> str:
    done = render({**EVERYTHING, **changes}, "gotax", "gotax", {})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def usual() -> str:
    return text_of({})


@pytest.mark.parametrize("path", list(leaves(VALUES, SCHEMA)))
def test_every_value_has_an_effect(path: str, usual: str) -> None:
    beside = BESIDE.get(path, {})
    before = text_of(beside) if beside else usual
    default = EVERYTHING.get(path, at(VALUES, path))
    changed = text_of({**beside, path: other(path, default)})
    texts = [text for text in json.loads(changed)[:-1] if text not in json.loads(before)]
    assert texts
    for text in texts:
        list(parse_all(text))


def images(objects: Objects) -> tuple[str, str]:
    """Of the agent and of the collector."""
    agent, collector = (
        only(objects, kind)["spec"]["template"]["spec"]["containers"][0]["image"]
        for kind in ("DaemonSet", "StatefulSet")
    )
    return agent, collector


@pytest.mark.parametrize(
    ("values", "agent", "collector"),
    [
        ({}, "gotax:0.1.0", "gotax:0.1.0"),
        ({"image.registry": "r:5000/"}, "r:5000/gotax:0.1.0", "r:5000/gotax:0.1.0"),
        ({"image.digest": DIGEST}, f"gotax@{DIGEST}", f"gotax@{DIGEST}"),
        ({"image.tag": "1", "image.digest": DIGEST}, f"gotax:1@{DIGEST}", f"gotax:1@{DIGEST}"),
        (
            {"image.digest": DIGEST, "collector.image.repository": "both"},
            *(f"gotax@{DIGEST}", "both:0.1.0"),  # the digest is of another image
        ),
        (
            {"image.digest": DIGEST, "collector.image.tag": "2"},
            *(f"gotax@{DIGEST}", "gotax:2"),
        ),
        (
            {"image.tag": "1", "collector.image.digest": OTHER_DIGEST},
            *("gotax:1", f"gotax@{OTHER_DIGEST}"),
        ),
        (
            {"image.digest": DIGEST, "collector.image.registry": "mirror"},
            *(f"gotax@{DIGEST}", f"mirror/gotax@{DIGEST}"),
        ),
        (
            {"image.registry": "a", "collector.image.registry": "b", "global.imageRegistry": "c"},
            *("c/gotax:0.1.0", "c/gotax:0.1.0"),
        ),
    ],
)
def test_images_are_named_by_registry_and_digest(
    values: dict[str, Any], agent: str, collector: str
) -> None:
    assert images(rendered({"collector.enabled": True, **values})) == (agent, collector)


def test_pull_secrets_of_both_places_are_used_once() -> None:
    values = {
        "collector.enabled": True,
        "imagePullSecrets": [{"name": "a"}, {"name": "b"}],
        "global.imagePullSecrets": [{"name": "b"}, {"name": "c"}],
    }
    objects = rendered(values)
    for kind in ("DaemonSet", "StatefulSet"):
        spec = only(objects, kind)["spec"]["template"]["spec"]
        assert [secret["name"] for secret in spec["imagePullSecrets"]] == ["a", "b", "c"]


def test_a_chart_that_contains_this_one_may_have_no_globals() -> None:
    assert images(rendered({"collector.enabled": True, "global": None})) == ("gotax:0.1.0",) * 2


def metadata(objects: Objects) -> Iterator[dict[str, Any]]:
    for found in objects:
        yield found["metadata"]
        if found["kind"] in ("DaemonSet", "StatefulSet"):
            yield found["spec"]["template"]["metadata"]


def test_common_labels_are_on_every_object_and_not_in_what_cannot_change() -> None:
    """Selectors and claims cannot be changed by an upgrade."""
    before = rendered(EVERYTHING)
    objects = rendered({**EVERYTHING, "commonLabels": {"team": "platform", "on": "true"}})
    assert all(each["labels"]["team"] == "platform" for each in metadata(objects))
    assert all(each["labels"]["on"] == "true" for each in metadata(objects))
    for kind in ("DaemonSet", "StatefulSet"):
        old, new = only(before, kind)["spec"], only(objects, kind)["spec"]
        assert new["selector"] == old["selector"]
        assert new.get("volumeClaimTemplates") == old.get("volumeClaimTemplates")


def test_an_own_label_overrides_a_common_one() -> None:
    """A name twice in one object is an error of YAML."""
    own = (
        *("podLabels", "collector.podLabels", "podMonitor.labels", "serviceMonitor.labels"),
        *("prometheusRule.labels", "dashboard.labels"),
    )
    values: dict[str, Any] = {path: {"team": "own"} for path in own}
    text = text_of({**values, "commonLabels": {"team": "common"}})
    found = [
        line.strip()
        for one in json.loads(text)[:-1]
        for line in one.splitlines()
        if '"team"' in line
    ]
    # Monitors come twice, of the agents and of the collector.
    assert found.count('"team": "own"') == 8
    for one in json.loads(text)[:-1]:
        for document in parse_all(one):
            names = re.findall(r'^    "?team"?:', yaml.safe_dump(document), re.MULTILINE)
            assert len(names) == 1 if document else True


@pytest.mark.parametrize(("path", "kind"), [("", "DaemonSet"), ("collector.", "StatefulSet")])
def test_annotations_of_the_user_override_the_charts(path: str, kind: str) -> None:
    given = {"prometheus.io/scrape": "false", "a": "b"}
    objects = rendered({"collector.enabled": True, f"{path}podAnnotations": given})
    found = only(objects, kind)["spec"]["template"]["metadata"]["annotations"]
    assert given.items() <= found.items()
    assert "kubectl.kubernetes.io/default-container" in found


@pytest.mark.parametrize(("path", "kind"), [("agent", "DaemonSet"), ("collector", "StatefulSet")])
def test_variables_and_volumes_of_the_user_come_last(path: str, kind: str) -> None:
    """So that the user's value of a variable holds."""
    variables = [{"name": "HTTPS_PROXY", "value": "http://p"}]
    volumes = [{"name": "spool", "hostPath": {"path": "/var/lib/gotax"}}]
    mounts = [{"name": "spool", "mountPath": "/spool"}]
    values = {
        "collector.enabled": True,
        f"{path}.extraEnv": variables,
        f"{path}.extraVolumes": volumes,
        f"{path}.extraVolumeMounts": mounts,
    }
    spec = only(rendered(values), kind)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["env"][-1:] == variables
    assert container["volumeMounts"][-1:] == mounts
    assert spec["volumes"][-1:] == volumes


@pytest.mark.parametrize("kind", ["PodMonitor", "ServiceMonitor"])
def test_monitors_scrape_agents_and_the_collector(kind: str) -> None:
    """By ports that their pods and Services have, as the values say."""
    monitor = kind[0].lower() + kind[1:]
    rules = [{"sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}]
    drop = [{"action": "drop", "regex": "gotax_gogc", "sourceLabels": ["__name__"]}]
    values = {
        "collector.enabled": True,
        f"{monitor}.enabled": True,
        f"{monitor}.scrapeTimeout": "7s",
        f"{monitor}.relabelings": rules,
        f"{monitor}.metricRelabelings": drop,
    }
    objects = rendered(values)
    monitors = [found for found in objects if found["kind"] == kind]
    assert len(monitors) == 2
    for found, pods in zip(monitors, ("DaemonSet", "StatefulSet"), strict=True):
        spec = found["spec"]
        (endpoint,) = spec["podMetricsEndpoints" if kind == "PodMonitor" else "endpoints"]
        assert endpoint["honorLabels"] is True
        assert endpoint["scrapeTimeout"] == "7s"
        assert (endpoint["relabelings"], endpoint["metricRelabelings"]) == (rules, drop)
        template = only(objects, pods)["spec"]["template"]
        wanted = spec["selector"]["matchLabels"].items()
        if kind == "PodMonitor":
            assert wanted <= template["metadata"]["labels"].items()
            ports = template["spec"]["containers"][0]["ports"]
            assert endpoint["port"] in [port["name"] for port in ports]
        else:
            (service,) = (
                o
                for o in objects
                if o["kind"] == "Service" and wanted <= o["metadata"]["labels"].items()
            )
            assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    without = rendered({**values, "collector.enabled": False})
    assert len([found for found in without if found["kind"] == kind]) == 1


def alerts(objects: Objects) -> dict[str, dict[str, Any]]:
    groups = only(objects, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


NAMES = SCHEMA["properties"]["prometheusRule"]["properties"]["disabled"]["items"]["enum"]


def test_the_schema_knows_every_alert() -> None:
    assert sorted(alerts(rendered(EVERYTHING))) == sorted(NAMES)


@pytest.mark.parametrize(
    "disabled",
    [NAMES[:1], NAMES[-1:], NAMES[1:3], NAMES[4:7], NAMES[:4], NAMES[7:], NAMES[::2], NAMES],
    ids=lambda names: f"{len(names)} from {names[0]}",
)
def test_disabled_alerts_are_gone_and_no_others(disabled: list[str], tmp_path: Path) -> None:
    """The first and the last of a group, neighbours, whole groups, all."""
    usual = alerts(rendered(EVERYTHING))
    objects = rendered({**EVERYTHING, "prometheusRule.disabled": disabled})
    assert alerts(objects) == {k: v for k, v in usual.items() if k not in disabled}
    if PROMTOOL:
        file = tmp_path / "rules.yaml"
        file.write_text(yaml.safe_dump(only(objects, "PrometheusRule")["spec"]))
        subprocess.run([PROMTOOL, "check", "rules", str(file)], check=True, capture_output=True)


def test_alerts_have_the_labels_and_thresholds_of_the_values() -> None:
    values = {
        "prometheusRule.alertLabels": {"team": "platform", "page": "no"},
        "prometheusRule.for": "2h",
        "prometheusRule.minimumCores": 0.7,
        "prometheusRule.minimumRuntimeShare": 0.3,
        "prometheusRule.minimumNodeCores": 5,
        "prometheusRule.maximumLostShare": 0.2,
        "prometheusRule.stuckSeconds": 300,
    }
    found = alerts(rendered({**EVERYTHING, **values}))
    usual = alerts(rendered(EVERYTHING))
    for name, rule in found.items():
        assert rule["labels"] == {"team": "platform", "page": "no"} | usual[name]["labels"]
    assert found["GotaxOversized"]["for"] == found["GotaxThrottledInBursts"]["for"] == "2h"
    for name, *thresholds in (
        ("GotaxOversized", "> 0.7", "> 0.3"),
        ("GotaxNodeCouldSave", "> 5"),
        ("GotaxLosesSamples", "> 0.2"),
        ("GotaxStuck", "> 300"),
    ):
        assert re.findall(r"> [\d.]+$", found[name]["expr"], re.MULTILINE) == thresholds


def collector_of(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = only(rendered({"collector.enabled": True, **values}), "StatefulSet")
    return found


@pytest.mark.parametrize(("keep", "when_deleted"), [(True, "Retain"), (False, "Delete")])
def test_data_stays_when_the_release_is_uninstalled(keep: bool, when_deleted: str) -> None:
    """`helm uninstall` deleted everything that the collector had stored."""
    values = {} if keep else {"collector.persistence.keep": False}
    policy = collector_of(values)["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert policy == {"whenDeleted": when_deleted, "whenScaled": "Retain"}


def test_a_claim_of_the_user_is_used() -> None:
    spec = collector_of({"collector.persistence.existingClaim": "mine"})["spec"]
    assert "volumeClaimTemplates" not in spec
    (store,) = (v for v in spec["template"]["spec"]["volumes"] if v["name"] == "store")
    assert store["persistentVolumeClaim"] == {"claimName": "mine"}


def test_the_password_of_a_server_is_a_file() -> None:
    """Never an argument or a variable, which everyone who may read pods can read."""
    values = {**SERVER, "collector.store.passwordSecret": "ch", "collector.store.passwordKey": "k"}
    spec = collector_of(values)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert "--store=https://gotax@clickhouse:8443/gotax" in container["args"]
    assert "env" not in container
    (path,) = (
        argument.partition("=")[2]
        for argument in container["args"]
        if argument.startswith("--store-password-file=")
    )
    (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == str(Path(path).parent))
    assert mount["readOnly"] is True
    (secret,) = (v["secret"] for v in spec["volumes"] if v["name"] == mount["name"])
    assert (secret["secretName"], secret["defaultMode"]) == ("ch", 0o440)
    assert secret["items"] == [{"key": "k", "path": Path(path).name}]


def test_a_page_without_a_token_answers_to_the_names_of_its_routes() -> None:
    """The collector refuses other names, so a route to it would lead to 421."""
    values = {
        "collector.httpToken.enabled": False,
        "collector.httpHosts": ["a.example"],
        "collector.ingress.enabled": True,
        "collector.ingress.hosts": ["a.example", "b.example"],
        "collector.httpRoute.enabled": True,
        "collector.httpRoute.parentRefs": [{"name": "public"}],
        "collector.httpRoute.hostnames": ["c.example"],
    }
    (container,) = collector_of(values)["spec"]["template"]["spec"]["containers"]
    names = [a.partition("=")[2] for a in container["args"] if a.startswith("--http-host=")]
    assert names[-3:] == ["a.example", "b.example", "c.example"]
    assert len(names) == len(set(names))


def test_routes_lead_to_the_page() -> None:
    """And not to the port of the agents or of the probes."""
    objects = rendered(EVERYTHING)
    service = only(objects, "Service", "-collector")
    (http,) = (port for port in service["spec"]["ports"] if port["name"] == "http")
    (rule,) = only(objects, "Ingress")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"] == {
        "name": service["metadata"]["name"],
        "port": {"name": "http"},
    }
    ((backend,),) = (r["backendRefs"] for r in only(objects, "HTTPRoute")["spec"]["rules"])
    assert backend == {"name": service["metadata"]["name"], "port": http["port"]}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"collector.ingress.enabled": True}, "set collector.enabled=true"),
        ({"collector.httpRoute.enabled": True}, "set collector.enabled=true"),
        (
            {"collector.enabled": True, "collector.ingress.enabled": True},
            "collector.ingress.hosts is empty",
        ),
        (
            {"collector.enabled": True, "collector.httpRoute.enabled": True},
            "collector.httpRoute.parentRefs is empty",
        ),
        (
            {
                "collector.enabled": True,
                "collector.ingress.enabled": True,
                "collector.ingress.hosts": ["a"],
                "collector.ingress.tls": [{"secretName": "t", "hosts": ["b"]}],
            },
            "a certificate for b",
        ),
        ({"collector.store.url": "https://u:secret@h/d"}, "has a password"),
        ({"collector.store.passwordSecret": "s"}, "set collector.store.url too"),
        ({"collector.replicas": 2}, "needs collector.store.url"),
        (
            {**SERVER, "collector.replicas": 2, "collector.persistence.existingClaim": "c"},
            "each collector gets its own",
        ),
    ],
)
def test_contradictions_are_refused_with_the_remedy(values: dict[str, Any], reason: str) -> None:
    text = refusal(values)
    assert reason in text
    assert "secret@" not in text


@pytest.mark.parametrize(
    "url", ["https://u@h:8443/d", "http://h:8123/d?cluster=c", "http://h/a:b@c"]
)
def test_urls_without_a_password_are_accepted(url: str) -> None:
    given = collector_of({"collector.store.url": url})["spec"]["template"]["spec"]["containers"][0]
    assert f"--store={url}" in given["args"]
    assert "--journal=/var/lib/gotax" in given["args"]


def test_the_notes_name_what_is_there() -> None:
    """Each object in a command is one of the release, and each value one of the chart."""
    for values in ({}, {"collector.enabled": True}, EVERYTHING, {"collector.external": "c:1"}):
        text = notes(values)
        there = {
            f"{found['kind'].lower()}/{found['metadata']['name']}" for found in rendered(values)
        }
        named = set(
            re.findall(r"\b(?:daemonset|statefulset|service|secret)[ /](gotax[\w-]*)", text)
        )
        assert named
        assert named <= {name.partition("/")[2] for name in there}
        for path in re.findall(r"\b((?:collector|podMonitor|prometheusRule)\.[\w.]*\w)=", text):
            at(VALUES, path)


def test_the_notes_say_what_is_missing() -> None:
    assert "Nothing scrapes" in notes({"scrapeAnnotations": False})
    assert "Nothing scrapes" not in notes()
    assert "There are no alerts yet" in notes()
    assert "There are no alerts yet" not in notes({"prometheusRule.enabled": True})
    both = {"podMonitor.enabled": True, "serviceMonitor.enabled": True}
    assert "every series twice" in notes(both)
    assert "every series twice" not in notes({"podMonitor.enabled": True})
    own = {"collector.enabled": True}
    assert "collector.enabled=true" in notes()
    assert "collector.enabled=true" not in notes(own)
    assert "delete pvc" in notes(own)
    assert "delete pvc" not in notes({**own, "collector.persistence.keep": False})
    assert "can read the data" in notes({**own, "collector.httpToken.enabled": False})
    assert "gotax.example.com" in notes(EVERYTHING)


def flat(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Paths and values, as deep as the schema has names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        assert name in schema["properties"], path + name
        inner = schema["properties"][name]
        if isinstance(value, dict) and "properties" in inner and name != "config":
            found |= flat(value, inner, f"{path}{name}.")
        else:
            found[path + name] = value
    return found


PAGE = (CHART / "README.md").read_text()
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_the_page_are_valid(text: str) -> None:
    """By the schema, and the templates accept them."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with ./setup e2e")
    given = yaml.safe_load(text.replace("sha256:…", DIGEST))
    assert rendered(flat(given, SCHEMA)) != rendered()
    jsonschema.Draft7Validator(SCHEMA).validate(given)


def test_the_collectors_pod_satisfies_the_level_restricted() -> None:
    """docs/kubernetes.md says so. The fields are those of the Pod Security Standards."""
    spec = only(rendered(EVERYTHING), "StatefulSet")["spec"]["template"]["spec"]
    assert not {"hostPID", "hostIPC", "hostNetwork"} & set(spec)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    kinds = {kind for volume in spec["volumes"] for kind in volume} - {"name"}
    assert kinds <= {"secret", "emptyDir", "configMap", "projected", "persistentVolumeClaim"}
    for container in spec["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert not any("hostPort" in port for port in container["ports"])
