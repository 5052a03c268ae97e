"""The schemas of Kubernetes objects, by release: its OpenAPI as JSON schemas.

Objects that others have defined have their schemas in CustomResourceDefinitions.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.cluster.programs import cache, download_module, say

RELEASES = ("v1.27.16", "v1.31.14", "v1.34.4")
"""The oldest release that the chart supports, the newest that is tested, and one between them."""

KYVERNO = "v1.13.6"
"""Has both definitions. PolicyReport has no module of its own that the proxy serves."""

_CRDS = (
    "kyverno/kyverno.io_clusterpolicies.yaml",
    "policyreport/wgpolicyk8s.io_policyreports.yaml",
)

CUSTOM = {
    "github.com/prometheus-operator/prometheus-operator@v0.85.0": tuple(
        f"example/prometheus-operator-crd/monitoring.coreos.com_{name}.yaml"
        for name in ("podmonitors", "servicemonitors", "prometheusrules")
    ),
    "sigs.k8s.io/gateway-api@v1.4.0": (
        "config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",
    ),
}
"""Modules, and in them the definitions of the objects that the chart has."""

_FILE = "api/openapi-spec/swagger.json"
_KINDS = "x-kubernetes-group-version-kind"


def fetch_definitions(go: str, release: str) -> Path:
    """``definitions`` of the release's OpenAPI document, as a file."""
    target = cache() / f"definitions-{release}.json"
    if not target.exists():
        say(f"fetching the API of Kubernetes {release} (once)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            module = download_module(go, f"k8s.io/kubernetes@{release}", Path(folder))
            text = (module / _FILE).read_text()
            made = target.with_suffix(".new")
            made.write_text(json.dumps(json.loads(text)["definitions"]))
        made.rename(target)
    return target


def fetch_crds(go: str) -> Path:
    """A folder with the definitions of ClusterPolicy and PolicyReport, as Kyverno has them."""
    target = cache() / f"crds-{KYVERNO}"
    if not target.exists():
        say(f"fetching the definitions of Kyverno {KYVERNO} (once)")
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            module = download_module(go, f"github.com/kyverno/kyverno@{KYVERNO}", Path(folder))
            made = Path(folder) / "crds"
            made.mkdir()
            for file in _CRDS:
                shutil.copy(module / "config" / "crds" / file, made)
            made.rename(target)
    return target


def fetch_custom(go: str) -> Path:
    """A list of [apiVersion, kind, schema] of the objects of ``CUSTOM``, as a file."""
    target = cache() / "definitions-custom.json"
    if not target.exists():
        say("fetching the objects of the Prometheus operator and of the Gateway API (once)")
        target.parent.mkdir(parents=True, exist_ok=True)
        found = []
        for module, files in CUSTOM.items():
            with tempfile.TemporaryDirectory(dir=target.parent) as modules:
                source = download_module(go, module, Path(modules))
                for file in files:
                    found += _custom_in((source / file).read_text())
        made = target.with_suffix(".new")
        made.write_text(json.dumps(found))
        made.rename(target)
    return target


def _custom_in(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    about = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
    return [
        (
            f"{about['group']}/{version['name']}",
            about["names"]["kind"],
            version["schema"]["openAPIV3Schema"],
        )
        for version in about["versions"]
    ]


def close_custom(schema: Any) -> Any:
    """Without unknown fields, which the API server drops."""
    if isinstance(schema, list):
        return [close_custom(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: close_custom(value) for name, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "type" in closed:
        closed.setdefault("additionalProperties", False)
    if closed.get("x-kubernetes-int-or-string"):
        closed["type"] = ["number", "string"]
    if closed.get("type") == "object" and "metadata" in closed.get("properties", {}):
        closed["properties"]["metadata"] = {"type": "object"}
    return closed


def schema_of(definitions: dict[str, Any], api_version: str, kind: str) -> dict[str, Any] | None:
    """The JSON schema of one kind, in which an unknown field is an error; None for an unknown
    kind."""
    group, _, version = api_version.rpartition("/")
    wanted = {"group": group, "version": version, "kind": kind}
    for name, definition in definitions.items():
        if wanted in definition.get(_KINDS, ()):
            return {"$ref": f"#/definitions/{name}", "definitions": definitions}
    return None


def close_definitions(definitions: dict[str, Any]) -> dict[str, Any]:
    """With ``additionalProperties: false`` wherever properties are listed.

    OpenAPI leaves objects open, and a misspelt field would pass.
    """
    for name, definition in definitions.items():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
        # OpenAPI 2 cannot express "a number or a string", so these are declared as strings.
        if definition.get("format") == "int-or-string" or name.endswith(".resource.Quantity"):
            definition["type"] = ["number", "string"]
    return definitions
