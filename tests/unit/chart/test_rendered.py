"""Objects that the chart makes: names and labels within Kubernetes' limits, where it listens."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from gotax.cli import build_parser

from .rendering import EVERYTHING, Objects, only, rendered

pytestmark = pytest.mark.toolchain

RELEASE_MAX = 53  # helm's
LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
SERVICE = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1035, because it is a DNS name
SUBDOMAIN = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
HASH = 11  # "-" and what the controller of StatefulSets puts behind their name into a label

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
    """For every release name that helm takes. One of 48 characters made a StatefulSet without pods:
    their label controller-revision-hash was too long."""
    for namespace in ("n" * 63, "123"):
        objects = rendered(EVERYTHING, release, namespace)
        assert len(objects) > 12
        require_names(objects, namespace)
        stateful, daemon = only(objects, "StatefulSet"), only(objects, "DaemonSet")
        service = only(objects, "Service", "-collector")["metadata"]["name"]
        assert stateful["spec"]["serviceName"] == service
        (container,) = daemon["spec"]["template"]["spec"]["containers"]
        assert f"--collector={service}.{namespace}.svc:9746" in container["args"]
        for each in (stateful, daemon):
            spec = each["spec"]
            wanted = spec["selector"]["matchLabels"].items()
            assert wanted <= spec["template"]["metadata"]["labels"].items()


def test_names_of_every_length_are_good() -> None:
    """A cut may fall on a dash."""
    for release in LENGTHS:
        require_names(rendered({"collector.enabled": True}, release), "gotax")


@pytest.mark.parametrize("name", ["nameOverride", "fullnameOverride"])
@pytest.mark.parametrize("value", ["a", "x" * 63, "x" * 32 + "-" + "y" * 30, "on"])
def test_names_of_ones_own_are_cut_as_well(name: str, value: str) -> None:
    """To what still fits behind them."""
    require_names(rendered({**EVERYTHING, name: value}, "r" * RELEASE_MAX), "gotax")


def test_two_releases_do_not_share_a_name() -> None:
    """Also where they differ in what is cut away, or in where the namespace ends."""
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


@pytest.mark.parametrize(
    ("address", "written"),
    [("::", "[::]"), ("0.0.0.0", "0.0.0.0"), ("fd00::5", "[fd00::5]")],
)
def test_agent_and_collector_listen_where_the_value_says(address: str, written: str) -> None:
    """By default on every address of both families: on IPv6-only clusters no probe succeeded."""
    values: dict[str, Any] = {**EVERYTHING}
    if address != "::":
        values |= {"agent.listenAddress": address, "collector.listenAddress": address}
    objects = rendered(values)
    assert f"--listen={written}:9745" in arguments(objects, "DaemonSet")
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
def test_the_agent_takes_the_charts_arguments_on_every_node(address: str, kubelet: str) -> None:
    """As Kubernetes fills NODE_IP in, without brackets."""
    given = [
        argument.replace("$(NODE_IP)", address).replace("$(NODE_NAME)", "node-1")
        for argument in arguments(rendered(EVERYTHING), "DaemonSet")
    ]
    options = build_parser("agent").parse_args(given)
    assert options.kubelet == kubelet
    assert options.listen == ("::", 9745)


def test_probes_and_scrapes_go_to_the_pods_own_address() -> None:
    """None names a host, which would be of one family."""
    for found in rendered(EVERYTHING):
        if found["kind"] not in ("DaemonSet", "StatefulSet"):
            continue
        template = found["spec"]["template"]
        (container,) = template["spec"]["containers"]
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert set(container[name]["httpGet"]) == {"path", "port"}
        assert template["metadata"]["annotations"]["prometheus.io/port"].isdigit()
