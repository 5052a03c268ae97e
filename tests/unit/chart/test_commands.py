"""The commands of the documents that install the chart work as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from .test_chart import SCHEMA, VALUES

ROOT = Path(__file__).parents[3]
ABOUT = yaml.safe_load((ROOT / "helm/gotax/Chart.yaml").read_text())
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "helm/gotax/README.md", *ROOT.glob("docs/*.md")])
PRIVILEGED = "pod-security.kubernetes.io/enforce=privileged"
VALUED = {
    "--namespace": "--namespace",
    "-n": "--namespace",
    "--set": "--set",
    "--version": "--version",
}
PUBLISHED = "oci://ghcr.io/OWNER/charts/gotax"  # by .github/workflows/release.yaml


def blocks(document: Path) -> list[list[list[str]]]:
    """Blocks of code with their commands, each split as a shell does it."""
    text = document.read_text()
    found = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found += re.findall(r"((?:^    .+\n)+)", text, re.MULTILINE)
    joined = (re.sub(r"\\\n\s*", " ", block) for block in found)
    return [
        [
            shlex.split(line)
            for line in block.splitlines()
            if re.match(r"\s*(helm|kubectl|docker) ", line)
        ]
        for block in joined
    ]


def chart_commands(document: Path) -> list[tuple[list[list[str]], list[str]]]:
    """Those with the chart, and the commands before each in its block."""
    return [
        (block[:number], command)
        for block in blocks(document)
        for number, command in enumerate(block)
        if command[0] == "helm" and command[1] in ("install", "upgrade", "template")
    ]


def parsed(command: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The positional arguments, and the flags. Fails for an unknown flag."""
    plain, flags = [], dict[str, list[str]]()
    rest = iter(command[2:])
    for word in rest:
        if not word.startswith("-"):
            plain.append(word)
        else:
            flags.setdefault(VALUED[word], []).append(next(rest))
    return plain, flags


def require_value(text: str) -> None:
    """``path=value`` as --set has it: a path of the schema, and a value of its type."""
    path, _, value = text.partition("=")
    schema: dict[str, Any] = SCHEMA
    for name in path.split("."):
        assert name in schema["properties"], path
        schema = schema["properties"][name]
    kind = schema.get("type")
    if kind == "boolean":
        assert value in ("true", "false"), text
    elif kind == "integer":
        assert value.isdigit(), text
    elif kind == "array":
        assert re.fullmatch(r"\{.+\}", value), text
    elif "enum" in schema:
        assert value in schema["enum"], text
    else:
        assert kind == "string", text
        assert re.search(schema.get("pattern", ""), value), text
        assert len(value) >= schema.get("minLength", 0)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_values_of_the_documents_commands_exist(document: Path) -> None:
    """By the chart's own schema, which helm uses too."""
    for _, command in chart_commands(document):
        plain, flags = parsed(command)
        chart = plain[1]
        if chart == PUBLISHED:
            assert flags["--version"] == [ABOUT["version"]]
        else:
            assert chart == "\u2026" or (ROOT / chart / "Chart.yaml").exists(), chart
        for text in flags.get("--set", []):
            require_value(text)


@pytest.mark.parametrize("name", ["README.md", "docs/kubernetes.md", "helm/gotax/README.md"])
def test_installing_as_written_starts_agents(name: str) -> None:
    """The image is pushed under the name that the chart pulls, and the namespace gets its label
    before there are pods: without it none is created."""
    [(before, command)] = [c for c in chart_commands(ROOT / name) if c[1][1] == "install"]
    _, flags = parsed(command)
    [namespace] = flags["--namespace"]
    values = dict(text.split("=", 1) for text in flags["--set"])
    tag = values.get("image.tag", ABOUT["appVersion"])
    image = f"{values['image.repository']}:{tag}"
    assert before == [
        ["docker", "build", "-t", image, "."],
        ["docker", "push", image],
        ["kubectl", "create", "namespace", namespace],
        ["kubectl", "label", "namespace", namespace, PRIVILEGED],
    ]
    assert image.startswith("REGISTRY/")


@pytest.mark.parametrize("name", ["README.md", "Dockerfile"])
def test_docker_gets_the_capabilities_of_the_chart(name: str) -> None:
    """Another set would work on the author's machine, or be more than needed."""
    text = re.sub(r"\\\n#?\s*", " ", (ROOT / name).read_text())
    (command,) = re.findall(r"^(?:#\s+)?(docker run .*)$", text, re.MULTILINE)
    added = re.findall(r"--cap-add=(\w+)", command)
    assert sorted(added) == sorted(VALUES["securityContext"]["capabilities"]["add"])
    assert "--cap-drop=ALL" in command
    assert "--read-only" in command
    assert "--privileged" not in command
