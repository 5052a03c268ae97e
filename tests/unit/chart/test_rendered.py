"""The chart's objects: names and labels within Kubernetes' limits, listen addresses, files."""

from __future__ import annotations

import argparse
import hashlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gotax.cli import build_parser
from gotax.config import Suppression

from .rendering import EVERYTHING, Objects, only, rendered

pytestmark = pytest.mark.toolchain

ROOT = Path(__file__).parents[3]
RELEASE_MAX = 53  # helm's
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1035, because it is a DNS name
SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
HASH = 11  # "-" and the suffix that the StatefulSet controller adds to the name in a label

LENGTHS = [("ab-" * 18)[:length].strip("-") + "z" for length in range(33, RELEASE_MAX)]
RELEASES = [
    *("gotax", "gotax-trial", "x" * RELEASE_MAX, "x" * 41 + "-y", "a--b", "a.b.c", "a." * 26 + "a"),
    *("2024", "1e3", "true", "null", "on", "0x1f", "x" * 47 + "-gotax", "9" * RELEASE_MAX),
]


def labels(value: Any) -> Iterator[dict[str, Any]]:
    """Every map of labels below."""
    if isinstance(value, list):
        for item in value:
            yield from labels(item)
    elif isinstance(value, dict):
        for name, inner in value.items():
            if name in ("labels", "matchLabels"):
                yield inner
            yield from labels(inner)


def require_names(objects: Objects, namespace: str) -> None:
    for found in objects:
        kind, name = found["kind"], found["metadata"]["name"]
        if kind == "Service":
            assert SERVICE.fullmatch(name), name
        elif kind in ("StatefulSet", "DaemonSet"):
            assert LABEL.fullmatch(name), name
        else:
            assert SUBDOMAIN.fullmatch(name), name
        if kind == "StatefulSet":
            assert len(name) + HASH <= 63, name
        assert found["metadata"].get("namespace", namespace) == namespace
        for held in labels(found):
            for label, value in held.items():
                assert isinstance(value, str), (label, value)
                assert VALUE.fullmatch(value), (label, value)


@pytest.mark.parametrize("release", RELEASES)
def test_names_and_labels_keep_kubernetes_limits(release: str) -> None:
    """For every release name that helm accepts. One of 48 characters gave a StatefulSet without
    pods: their label controller-revision-hash was too long."""
    for namespace in ("n" * 63, "123"):
        objects = rendered(EVERYTHING, release, namespace)
        assert len(objects) > 12
        require_names(objects, namespace)
        stateful, daemon = only(objects, "StatefulSet"), only(objects, "DaemonSet")
        service = only(objects, "Service", "-collector")["metadata"]["name"]
        assert stateful["spec"]["serviceName"] == service
        assert document(objects)["stream"]["collector"] == f"{service}.{namespace}.svc:9746"
        for each in (stateful, daemon):
            spec = each["spec"]
            wanted = spec["selector"]["matchLabels"].items()
            assert wanted <= spec["template"]["metadata"]["labels"].items()


def test_shortened_names_are_valid() -> None:
    """The cut may be at a dash."""
    for release in LENGTHS:
        require_names(rendered({"collector.enabled": True}, release), "gotax")


@pytest.mark.parametrize("name", ["nameOverride", "fullnameOverride"])
@pytest.mark.parametrize("value", ["a", "x" * 63, "x" * 32 + "-" + "y" * 30, "on"])
def test_names_given_by_the_user_are_shortened_too(name: str, value: str) -> None:
    """So that the suffixes still fit."""
    require_names(rendered({**EVERYTHING, name: value}, "r" * RELEASE_MAX), "gotax")


def test_two_releases_do_not_share_a_name() -> None:
    """Also if they differ only in the part that is cut, or in the end of the namespace."""
    alike = ["platform-observability-production-eu-west-1-" + end for end in ("a", "b")]
    places = [(alike[0], "n" * 63), (alike[1], "n" * 63), ("b-c", "a"), ("c", "a-b")]
    seen = set()
    for release, namespace in places:
        for found in rendered(EVERYTHING, release, namespace):
            about = found["metadata"]
            key = (found["kind"], about.get("namespace"), about["name"])
            assert key not in seen
            seen.add(key)


def arguments(objects: Objects, kind: str) -> list[str]:
    (container,) = only(objects, kind)["spec"]["template"]["spec"]["containers"]
    found: list[str] = container["args"]
    return found


def file_of(objects: Objects) -> str:
    """The agent's configuration."""
    text: str = only(objects, "ConfigMap", "-agent")["data"]["gotax.toml"]
    return text


def document(objects: Objects) -> dict[str, Any]:
    return tomllib.loads(file_of(objects))


def options_of(objects: Objects, folder: Path, node_ip: str = "10.0.0.5") -> argparse.Namespace:
    """The agent's options from its file and its arguments, as filled in by Kubernetes."""
    (mount,) = (
        mount
        for mount in only(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0][
            "volumeMounts"
        ]
        if mount["name"] == "config"
    )
    (folder / "gotax.toml").write_text(file_of(objects))
    replaced = {mount["mountPath"]: str(folder), "$(NODE_IP)": node_ip, "$(NODE_NAME)": "node-1"}
    given = arguments(objects, "DaemonSet")
    for old, new in replaced.items():
        given = [argument.replace(old, new) for argument in given]
    return build_parser("agent").parse_args(given)


@pytest.mark.parametrize(
    ("address", "written"),
    [("::", "[::]"), ("0.0.0.0", "0.0.0.0"), ("fd00::5", "[fd00::5]")],
)
def test_agent_and_collector_listen_at_the_given_address(address: str, written: str) -> None:
    """By default on every address of both families: on IPv6-only clusters probes failed."""
    values: dict[str, Any] = {**EVERYTHING}
    if address != "::":
        values |= {"agent.listenAddress": address, "collector.listenAddress": address}
    objects = rendered(values)
    assert document(objects)["metrics"]["listen"] == f"{written}:9745"
    collector = arguments(objects, "StatefulSet")
    assert {f"--listen={written}:9746", f"--http={written}:9747"} <= set(collector)
    assert "0.0.0.0" not in str(objects) or address == "0.0.0.0"


@pytest.mark.parametrize(
    ("address", "kubelet"),
    [
        ("10.0.0.5", "https://10.0.0.5:10250"),
        ("fd00::5", "https://[fd00::5]:10250"),
        ("2001:db8:1:2:3:4:5:6", "https://[2001:db8:1:2:3:4:5:6]:10250"),
    ],
)
def test_the_arguments_of_the_chart_are_valid_on_every_node(
    address: str, kubelet: str, tmp_path: Path
) -> None:
    """Kubernetes fills in NODE_IP without brackets."""
    options = options_of(rendered(EVERYTHING), tmp_path, address)
    assert options.kubelet == kubelet
    assert options.node == "node-1"
    assert options.listen == ("::", 9745)


def test_the_agents_file_contains_the_values(tmp_path: Path) -> None:
    """A file cannot contain $(NODE_IP): settings that differ between nodes are flags."""
    values: dict[str, Any] = {
        "agent.frequency": 97,
        "agent.window": 30,
        "agent.port": 9000,
        "agent.maxSeries": 1000000,
        "agent.logLevel": "debug",
        "agent.dropLabels": ["pod", "id"],
        "collector.enabled": True,
        "kubelet.enabled": True,
        "kubelet.insecure": True,
        "agent.extraArgs": ["--min-samples=9"],
        "agent.config": {
            "stream": {"name": "a", "spool_dir": "/spool", "spool_max_bytes": 1 << 28},
            "findings": {"suppress": ['GT001@<"\u00e9\\&*'], "gc_share": 1e-7, "min_samples": 7},
            "pyroscope": {"endpoint": "https://p", "user": "123", "token_file": "/t"},
        },
    }
    objects = rendered(values)
    options = options_of(objects, tmp_path)
    assert (options.hz, options.interval, options.listen) == (97, 30.0, ("::", 9000))
    assert (options.max_series, options.log_level) == (1_000_000, "debug")
    assert (options.drop_label, options.gc_share) == (["pod", "id"], 1e-7)
    assert (options.collector, options.collector_plaintext) == (
        ("gotax-collector.gotax.svc", 9746),
        True,
    )
    assert (options.collector_name, options.spool_dir, options.spool_max_bytes) == (
        *("a", "/spool"),
        1 << 28,
    )
    assert options.kubelet_insecure is True
    assert options.suppress == [Suppression("GT001", "", '<"\u00e9\\&*')]
    assert (options.pyroscope_endpoint, options.pyroscope_user) == ("https://p", "123")
    assert options.min_samples == 9  # from extraArgs
    assert "$(" not in file_of(objects)


@pytest.mark.parametrize("page", ["configuration.md", "backends.md"])
def test_the_values_of_the_documents_are_valid(page: str, tmp_path: Path) -> None:
    """Those of the agent, as written."""
    text = (ROOT / "docs" / page).read_text()
    (example,) = re.findall(r"^```yaml\n(agent:\n.*?)^```", text, re.MULTILINE | re.DOTALL)
    given = yaml.safe_load(example)["agent"]
    objects = rendered({f"agent.{name}": value for name, value in given.items()})
    options = options_of(objects, tmp_path)
    assert options.pyroscope_endpoint.startswith("https://profiles")
    mounts = only(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert str(Path(options.pyroscope_token_file).parent) in [m["mountPath"] for m in mounts]


def test_a_removed_value_is_not_in_the_file(tmp_path: Path) -> None:
    """`--set agent.config=null` deletes a default."""
    options = options_of(rendered({"agent.config": None, "agent.dropLabels": None}), tmp_path)
    assert options.drop_label == []


def test_the_agents_certificates_are_where_they_are_mounted(tmp_path: Path) -> None:
    objects = rendered({"collector.external": "c:1", "collector.tlsSecret": "tls"})
    options = options_of(objects, tmp_path)
    (container,) = only(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == "tls")
    files = (options.collector_ca, options.collector_cert, options.collector_key)
    assert files == tuple(f"{mount['mountPath']}/{n}" for n in ("ca.crt", "tls.crt", "tls.key"))
    assert (options.collector, options.collector_plaintext) == (("c", 1), False)


TOKEN_CASES = {
    # values, the agents' Secret, whether the chart makes it, whether every agent is accepted
    "own collector": ({"collector.enabled": True}, "gotax-collector-agents", True, False),
    "own Secret": (
        {"collector.enabled": True, "collector.agentToken.existingSecret": "mine"},
        *("mine", False, False),
    ),
    "certificates": (
        {"collector.enabled": True, "collector.tlsSecret": "tls"},
        *("", False, False),
    ),
    "certificates and tokens": (
        {
            "collector.enabled": True,
            "collector.tlsSecret": "tls",
            "collector.agentToken.existingSecret": "mine",
        },
        *("mine", False, False),
    ),
    "open on request": (
        {"collector.enabled": True, "collector.agentToken.enabled": False},
        *("", False, True),
    ),
    "collector of another release": ({"collector.external": "c:1"}, "", False, False),
    "with its token": (
        {"collector.external": "c:1", "collector.agentToken.existingSecret": "mine"},
        *("mine", False, False),
    ),
    "no collector": ({"collector.agentToken.existingSecret": "mine"}, "", False, False),
}


@pytest.mark.parametrize(
    ("values", "secret", "is_made", "is_open"), TOKEN_CASES.values(), ids=TOKEN_CASES
)
def test_agents_need_a_token_unless_a_value_says_otherwise(
    values: dict[str, Any], secret: str, is_made: bool, is_open: bool, tmp_path: Path
) -> None:
    """The chart passed --insecure-agents: any pod could report as any node."""
    objects = rendered(values)
    token_file = options_of(objects, tmp_path).collector_token_file or ""
    assert secret_of(objects, "DaemonSet", token_file) == (secret, "token" if secret else "")
    made = {found["metadata"]["name"]: found for found in objects if found["kind"] == "Secret"}
    assert (secret in made) is is_made
    if is_made:
        assert made[secret]["data"]["token"] == made[secret]["data"]["tokens"]
    if not any(found["kind"] == "StatefulSet" for found in objects):
        return
    given = arguments(objects, "StatefulSet")
    assert ("--insecure-agents" in given) is is_open
    (accepted, *more) = [g for g in given if g.startswith("--token-file=")] or [""]
    assert more == []
    path = accepted.removeprefix("--token-file=")
    assert secret_of(objects, "StatefulSet", path) == (secret, "tokens" if secret else "")


def secret_of(objects: Objects, kind: str, path: str) -> tuple[str, str]:
    """The Secret and its key that are mounted as this file."""
    if not path:
        return "", ""
    spec = only(objects, kind)["spec"]["template"]["spec"]
    (mount,) = (
        m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == str(Path(path).parent)
    )
    assert mount["readOnly"] is True
    (volume,) = (v["secret"] for v in spec["volumes"] if v["name"] == mount["name"])
    assert volume["defaultMode"] == (0o400 if kind == "DaemonSet" else 0o440)
    (item,) = volume["items"]  # agents do not see what the collector accepts
    assert item["path"] == Path(path).name
    return volume["secretName"], item["key"]


def test_a_token_file_of_the_users_own_is_the_one_that_is_used(tmp_path: Path) -> None:
    """Two of them in the file would be an error of TOML."""
    values = {"collector.enabled": True, "agent.config": {"stream": {"token_file": "/own"}}}
    assert options_of(rendered(values), tmp_path).collector_token_file == "/own"


def test_an_upgrade_keeps_the_tokens() -> None:
    """Those that are in the cluster, also where a user has added one to them."""
    kept = {"token": "bmV3", "tokens": "bmV3Cm9sZA=="}
    found = only(
        rendered({"collector.enabled": True}, secrets={"gotax-collector-agents": kept}),
        *("Secret", "-agents"),
    )
    assert found["data"] == kept


def test_pods_are_replaced_when_their_file_changes() -> None:
    """The agent reads the file once. Other objects do not replace the pods."""

    def checksum(values: dict[str, Any]) -> str:
        template = only(rendered(values), "DaemonSet")["spec"]["template"]
        found: str = template["metadata"]["annotations"]["checksum/config"]
        return found

    usual = checksum({})
    assert usual == hashlib.sha256(file_of(rendered()).encode()).hexdigest()
    assert checksum({"agent.window": 16}) != usual
    assert checksum({"agent.config": {"findings": {"min_samples": 60}}}) != usual
    assert checksum({"serviceMonitor.enabled": True}) == usual


def test_the_agents_file_is_mounted_read_only() -> None:
    objects = rendered(release="other")
    spec = only(objects, "DaemonSet")["spec"]["template"]["spec"]
    (volume,) = (volume for volume in spec["volumes"] if volume["name"] == "config")
    (mount,) = (m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "config")
    name = only(objects, "ConfigMap", "-agent")["metadata"]["name"]
    assert volume["configMap"] == {"name": name}
    assert mount["readOnly"] is True
    assert f"--config={mount['mountPath']}/gotax.toml" in arguments(objects, "DaemonSet")


def test_openshifts_constraints_allow_every_volume() -> None:
    """Those of docs/kubernetes.md."""
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    allowed = set(re.findall(r"^volumes: \[(.*)\]$", page, re.MULTILINE)[0].split(", "))
    values = {**EVERYTHING, "collector.tlsSecret": "tls", "agent.secrets": ["s"]}
    spec = only(rendered(values), "DaemonSet")["spec"]["template"]["spec"]
    assert {kind for volume in spec["volumes"] for kind in volume} - {"name"} <= allowed


def test_probes_and_scrapes_use_the_pods_own_address() -> None:
    """None names a host, which would have only one family."""
    for found in rendered(EVERYTHING):
        if found["kind"] not in ("DaemonSet", "StatefulSet"):
            continue
        template = found["spec"]["template"]
        (container,) = template["spec"]["containers"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert set(container[name]["httpGet"]) == {"path", "port"}
        assert template["metadata"]["annotations"]["prometheus.io/port"].isdigit()
