"""The chart's objects without helm: tests/programs/charttemplate renders them as helm does."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.toolchains import VERSIONS, go_binary

CHART = Path(__file__).parents[3] / "helm" / "gotax"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
ABOUT: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
EVERYTHING: dict[str, Any] = {
    **{
        f"{part}.enabled": True
        for part in (
            *("collector", "dashboard", "serviceMonitor", "podMonitor", "networkPolicy"),
            *("prometheusRule", "kubelet", "events", "collector.ingress", "collector.httpRoute"),
        )
    },
    "collector.ingress.hosts": ["gotax.example.com"],
    "collector.httpRoute.parentRefs": [{"name": "public"}],
}
Objects = list[dict[str, Any]]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def values_with(changes: dict[str, Any]) -> dict[str, Any]:
    """The defaults, with other values by their paths."""
    values = copy.deepcopy(VALUES)
    for path, value in changes.items():
        *outer, name = path.split(".")
        within = values
        for part in outer:
            within = within[part]
        within[name] = value
    return values


def rendered(
    changes: dict[str, Any] | None = None,
    release: str = "gotax",
    namespace: str = "gotax",
    secrets: dict[str, dict[str, str]] | None = None,
) -> Objects:
    """``secrets``: the data of those that the cluster has, by name."""
    done = render(changes or {}, release, namespace, secrets or {})
    assert done.returncode == 0, done.stderr
    texts = json.loads(done.stdout)[:-1]
    return [found for text in texts for found in parse_all(text) if found]


def notes(changes: dict[str, Any] | None = None) -> str:
    """What `helm install` prints."""
    done = render(changes or {}, "gotax", "gotax", {})
    assert done.returncode == 0, done.stderr
    text: str = json.loads(done.stdout)[-1]
    return text


def parse_all(text: str) -> Iterator[dict[str, Any] | None]:
    found: Iterator[dict[str, Any] | None] = yaml.load_all(text, LOADER)
    return found


def refusal(changes: dict[str, Any]) -> str:
    """Why the templates do not accept these values."""
    done = render(changes, "gotax", "gotax", {})
    assert done.returncode != 0, "accepted"
    return done.stderr


def render(
    changes: dict[str, Any], release: str, namespace: str, secrets: dict[str, dict[str, str]]
) -> subprocess.CompletedProcess[str]:
    context = {
        "Values": values_with(changes),
        "Release": {"Name": release, "Namespace": namespace, "Service": "Helm"},
        "Chart": {name: ABOUT[name[0].lower() + name[1:]] for name in ("Name", "Version")}
        | {"AppVersion": ABOUT["appVersion"]},
        "Capabilities": {"KubeVersion": {"Version": "v1.34.0"}},
        "Secrets": {name: {"data": data} for name, data in secrets.items()},
    }
    program = go_binary("charttemplate", VERSIONS[-1])
    return subprocess.run(
        [str(program), str(CHART)],
        input=json.dumps(context),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def only(objects: Objects, kind: str, end: str = "") -> dict[str, Any]:
    (found,) = (o for o in objects if o["kind"] == kind and o["metadata"]["name"].endswith(end))
    return found
