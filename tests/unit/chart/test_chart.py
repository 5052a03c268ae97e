"""The chart, as far as it can be checked without helm; tests/e2e installs it."""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gotax import cli
from gotax.cli.settings import settings_of

from tests.unit.exporters.metrics import METRICS

ROOT = Path(__file__).parents[3]
CHART = ROOT / "helm" / "gotax"
PAGE = CHART / "README.md"
TEMPLATES = sorted((CHART / "templates").iterdir())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DASHBOARD = json.loads((CHART / "dashboards" / "gotax.json").read_text())
PROMTOOL = shutil.which("promtool", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
FREE = {"global"}  # shared with charts that contain this one
ANYTHING = {
    *("nodeAffinity", "podAffinity", "podAntiAffinity", "podSelector", "namespaceSelector"),
    *("labelSelector", "extraVolumes[]"),
}


def documented() -> Iterator[tuple[str, str]]:
    """Every value with a ``# --`` comment, and the comment."""
    path: list[tuple[int, str]] = []
    text = ""
    for line in (CHART / "values.yaml").read_text().splitlines():
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if stripped.startswith("# -- "):
            text = stripped.removeprefix("# -- ")
        elif stripped.startswith("# ") and text:
            text += " " + stripped.removeprefix("# ")
        elif match := re.match(r"(\w+):", stripped):
            while path and path[-1][0] >= indent:
                path.pop()
            path.append((indent, match[1]))
            if text:
                yield ".".join(name for _, name in path), text
            text = ""


def table() -> str:
    """The values of the README."""
    lines = ["| value | default | meaning |", "| --- | --- | --- |"]
    for name, text in documented():
        value = json.dumps(at(VALUES, name))
        lines.append(f"| `{name}` | `{value}` | {text} |")
    return "\n".join(lines)


def at(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def leaves(values: dict[str, Any], schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Values that a user may set: those below which the schema has no more names."""
    for name, value in values.items():
        inner = schema["properties"].get(name, {})
        if isinstance(value, dict) and "properties" in inner and name not in LUMPS:
            yield from leaves(value, inner, f"{path}{name}.")
        else:
            yield path + name


LUMPS = {  # as Kubernetes and the agent have them
    *("resources", "securityContext", "affinity", "updateStrategy", "config"),
}


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """All objects in the schema."""
    if schema.get("type") == "object":
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from objects(schema["items"], f"{path}[]")


def test_the_readme_lists_every_value(pytestconfig: pytest.Config) -> None:
    """Its table matches values.yaml; --update-golden writes it."""
    head, mark, _ = PAGE.read_text().partition("`values.schema.json`.\n")
    assert mark
    text = f"{head}{mark}\n{table()}\n"
    if pytestconfig.getoption("--update-golden"):
        PAGE.write_text(text)
    assert PAGE.read_text() == text
    assert {name for name, _ in documented()} == set(leaves(VALUES, SCHEMA))


def test_the_schema_explains_every_value(pytestconfig: pytest.Config) -> None:
    """Editors show it. --update-golden writes it."""
    schema = copy.deepcopy(SCHEMA)
    for name, text in documented():
        within = schema
        for part in name.split("."):
            within = within["properties"][part]
        within["description"] = text
    file = CHART / "values.schema.json"
    if pytestconfig.getoption("--update-golden"):
        file.write_text(json.dumps(schema, indent=2) + "\n")
    assert json.loads(file.read_text()) == schema


def test_the_schema_knows_the_values_and_no_others() -> None:
    """The values of values.yaml are exactly those that may be set."""

    def compare(values: Any, schema: dict[str, Any], path: str) -> None:
        if "properties" not in schema or path.rpartition(".")[2] in LUMPS:
            return
        assert set(values) == set(schema["properties"]), path
        for name, value in values.items():
            compare(value, schema["properties"][name], f"{path}.{name}")

    compare(VALUES, SCHEMA, "")


def test_a_typo_is_an_error_at_every_level() -> None:
    """No object of the schema accepts unknown names, except maps with any names."""
    for path, schema in objects(SCHEMA):
        name = path.rpartition(".")[2]
        if name in FREE | ANYTHING or name == "ipBlock":
            continue
        more = schema.get("additionalProperties", True)
        if "properties" in schema:
            assert more is False, path
        else:
            assert isinstance(more, dict), path
            assert more.get("type"), path


def test_the_schema_takes_the_defaults_and_refuses_mistakes() -> None:
    """By jsonschema, as in helm."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with ./setup e2e")
    check = jsonschema.Draft7Validator(SCHEMA)
    assert list(check.iter_errors(VALUES)) == []
    for path, wrong in (
        ("agent.frequencey", 19),
        ("agent.frequency", "19"),
        ("agent.dropLabels", ["pods"]),
        ("agent.config", {"finding": {}}),
        ("agent.config", {"findings": {"suppressed": ["GT001"]}}),
        ("agent.config", {"findings": {"suppress": "GT001"}}),
        ("agent.config", {"sampling": {"hz": 19}}),  # agent.frequency
        ("resources.limts", {}),
        ("resources.limits", {"cpus": 1}),
        ("securityContext.capabilities", {"add": ["sys_admin"]}),
        ("tolerations", [{"operator": "exists"}]),
        ("updateStrategy.rollingUpdate", {"maxUnavailabel": 1}),
        ("prometheusRule.for", "30"),
        ("collector.persistence.size", "20 GB"),
        ("image.digest", "sha256:1234"),
        ("image.registry", "https://registry.example"),
        ("global.imageRegistry", "https://registry.example"),
        ("commonLabels", {"app.kubernetes.io/name": "other"}),  # selectors need it
        ("podLabels", {"team": "a b"}),
        ("agent.extraEnv", [{"value": "x"}]),
        ("agent.extraEnv", [{"name": "A", "valueForm": {}}]),
        ("agent.extraVolumes", [{"name": "spool"}]),
        ("agent.extraVolumeMounts", [{"name": "spool", "mountPath": "var"}]),
        ("podMonitor.scrapeTimeout", 10),
        ("podMonitor.relabelings", [{"source_labels": ["a"]}]),
        ("prometheusRule.disabled", ["GotaxOversize"]),
        ("prometheusRule.alertLabels", {"severity": "page"}),
        ("collector.store.url", "clickhouse:8123"),
        ("collector.ingress.hosts", ["https://gotax.example.com"]),
        ("collector.httpRoute.parentRefs", [{"namespace": "gateways"}]),
        ("collector.topologySpreadConstraints", [{"topologyKey": "zone"}]),
        ("collector.retention.windows", 0),
    ):
        values = json.loads(json.dumps(VALUES))
        *outer, name = path.split(".")
        (at(values, ".".join(outer)) if outer else values)[name] = wrong
        assert list(check.iter_errors(values)), path


def test_templates_use_values_that_exist() -> None:
    """And every value is used."""
    text = "\n".join(path.read_text() for path in TEMPLATES)
    used = set(re.findall(r"\.Values\.([\w.]+)", text))
    for alias in ("rule", "collector"):
        top = {"rule": "prometheusRule", "collector": "collector"}[alias]
        used -= {top}
        used |= {f"{top}.{name}" for name in re.findall(rf"\${alias}\.([\w.]+)", text)}
    for path in used:
        at(VALUES, path)
    for leaf in leaves(VALUES, SCHEMA):
        assert any(leaf == path or leaf.startswith(path + ".") for path in used), leaf


def test_the_agents_arguments_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the DaemonSet are options of `gotax agent`."""
    template = (CHART / "templates" / "daemonset.yaml").read_text()
    options = set(re.findall(r"- (--[a-z-]+)=?", template))
    assert options == {"--config", "--node", "--kubelet"}  # the others are in the file
    with pytest.raises(SystemExit):
        cli.main(["agent", "--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert options <= known


def test_the_schema_has_every_key_of_the_agents_file_once() -> None:
    """A key that the chart writes from other values would be in the file twice."""
    template = (CHART / "templates" / "_configuration.tpl").read_text()
    written: dict[str, set[str]] = {}
    for section, text in re.findall(r"^\[(\w+)\]\n((?:[^\[\n].*\n)+)", template, re.MULTILINE):
        written[section] = set(re.findall(r"^(\w+) =", text, re.MULTILINE))
    assert written["stream"] == {"collector", "ca", "cert", "key", "plaintext", "token_file"}
    written["stream"] -= {"token_file"}  # not written if agent.config has it
    free = copy.deepcopy(SCHEMA["properties"]["agent"]["properties"]["config"]["properties"])
    (parsers,) = [
        action
        for action in cli.build_parser("agent")._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    not_there = {("kubernetes", "node"), ("kubernetes", "kubelet")}  # flags, from the environment
    not_there |= {("sampling", "proc"), ("sampling", "sys")}  # hostPID
    for setting in settings_of(parsers.choices["agent"]):
        place = setting.section, setting.key
        found = free.get(setting.section, {"properties": {}})["properties"].pop(setting.key, None)
        if setting.key in written.get(setting.section, set()) or place in not_there:
            assert found is None, place
            continue
        one = {"type": types[setting.kind]}
        assert found == ({"type": "array", "items": one} if setting.is_repeatable else one), place
    assert all(section["properties"] == {} for section in free.values())


def test_the_collectors_arguments_exist(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the StatefulSet are options of `gotax collector`."""
    pytest.importorskip("gotax_collector", reason="the extra collector")
    template = (CHART / "templates" / "collector.yaml").read_text()
    options = set(re.findall(r"- (--[a-z-]+)=?", template))
    assert {"--http-token-file", "--client-ca"} <= options
    with pytest.raises(SystemExit):
        cli.main(["collector", "--help"])
    assert options <= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))


def test_the_collectors_page_needs_a_token_by_default() -> None:
    """It listens on every address."""
    assert VALUES["collector"]["httpToken"] == {"enabled": True, "existingSecret": ""}


def test_the_collectors_agents_need_a_token_by_default() -> None:
    assert VALUES["collector"]["agentToken"] == {"enabled": True, "existingSecret": ""}


def test_the_rules_have_the_markers_that_the_values_replace() -> None:
    """Without its marker a value would have no effect."""
    rules = (CHART / "rules" / "gotax.rules.yaml").read_text()
    template = (CHART / "templates" / "prometheusrule.yaml").read_text()
    markers = re.findall(r'replace "([^"]+)"', template)
    markers = [marker for marker in markers if " # " in marker]
    assert len(markers) == 6
    for marker in markers:
        assert marker in rules
        value, _, name = marker.partition(" # ")
        assert str(VALUES["prometheusRule"][name]) == value
    assert set(re.findall(r" # (\w+)$", rules, re.MULTILINE)) == {
        marker.partition(" # ")[2] for marker in markers
    }


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def test_the_dashboard_shows_metrics_and_labels_that_exist() -> None:
    """A panel with a renamed metric would silently stay empty."""
    variables = [variable.get("definition", "") for variable in DASHBOARD["templating"]["list"]]
    text = "\n".join([*expressions(), *variables])
    used = set(re.findall(r"\bgotax_[a-z_]+", text))
    assert len(used) > 15
    assert used <= {metric.series for metric in METRICS}
    labels = {label for metric in METRICS for label in metric.labels} | {"instance"}
    for listing in re.findall(r"(?:by|on|group_left) \(([\w, ]+)\)", text):
        assert set(listing.split(", ")) <= labels
    assert set(re.findall(r"(\w+)=~?\"", text)) <= labels


def test_the_dashboards_panels_are_laid_out() -> None:
    """Each has a unique id, a description, and fits into the 24 columns."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        assert panel["title"]
        assert panel["description"]
        assert place["x"] + place["w"] <= 24
        mine = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & mine, panel["title"]
        cells |= mine


@pytest.mark.skipif(PROMTOOL is None, reason="promtool not found: ./setup test")
@pytest.mark.parametrize("queries", [expressions, lambda: queries_of_the_page()])
def test_every_query_is_valid(queries: Callable[[], list[str]], tmp_path: Path) -> None:
    """Of the dashboard and of docs/metrics.md, by Prometheus' own parser."""
    assert PROMTOOL is not None
    found = [
        query.replace("$__rate_interval", "5m").replace("$namespace", "x").replace("$workload", "x")
        for query in queries()
    ]
    assert len(found) > 5
    rules = [{"record": f"gotax:query{n}", "expr": query} for n, query in enumerate(found)]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        [PROMTOOL, "check", "rules", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def queries_of_the_page() -> list[str]:
    """Blocks of four spaces in docs/metrics.md; a line with more indentation continues the
    query."""
    blocks = re.findall(r"(?:^    .+\n)+", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE)
    return [block.strip() for block in blocks]


def test_the_service_account_may_only_watch_pods() -> None:
    """The kubelet's list is a separate permission, only if requested."""
    text = (CHART / "templates" / "rbac.yaml").read_text()
    usual, mark, events = text.partition(
        "{{- if and .Values.rbac.create .Values.podNames .Values.events"
    )
    assert mark
    assert re.findall(r"verbs: (\[.*?\])", usual) == ["[watch]", "[get]"]
    assert re.findall(r"resources: (\[.*?\])", usual) == ["[pods]", "[nodes/pods]"]
    assert usual.index("kubelet.enabled") < usual.index("nodes/pods")
    assert re.findall(r"verbs: (\[.*?\])", events) == ["[create, patch]", "[get]", "[get]"]
