"""The lock files: they have what pyproject.toml asks for, each with hashes, of one version each."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
EXTRAS = {
    "run": ("completion",),
    "agent": ("kubernetes", "otlp"),
    "collector": ("kubernetes", "otlp", "collector", "completion"),
    "test": ("dev", "kubernetes", "otlp", "collector", "completion"),
    "e2e": ("e2e",),
    "fuzz": ("fuzz",),
}
"""What setup and the Dockerfile install from each."""


def locked(path: Path) -> list[tuple[Requirement, int]]:
    """Each requirement and how many hashes it has."""
    text = path.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [
        (Requirement(line.partition("--hash")[0].strip()), line.count("--hash=sha256:"))
        for line in lines
    ]


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_each_is_one_version_with_hashes(path: Path) -> None:
    for requirement, hashes in locked(path):
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert hashes > 0, requirement


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_no_registry_is_named(path: Path) -> None:
    """Where files come from is the host's setting; what they are is the hash."""
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", path.read_text())


@pytest.mark.parametrize("name", EXTRAS)
def test_what_is_asked_for_is_there(name: str) -> None:
    """After a change of pyproject.toml that a lock does not have: make lock."""
    asked = list(PROJECT["dependencies"])
    for extra in EXTRAS[name]:
        asked += PROJECT["optional-dependencies"][extra]
    locked_versions = versions(name)
    for requirement in map(Requirement, asked):
        found = locked_versions.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement} is not in locks/{name}.txt"
        assert all(requirement.specifier.contains(version) for version in found), requirement


def versions(name: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for requirement, _ in locked(ROOT / "locks" / f"{name}.txt"):
        (specifier,) = requirement.specifier
        found.setdefault(canonicalize_name(requirement.name), set()).add(specifier.version)
    return found


@pytest.mark.parametrize("name", EXTRAS)
def test_the_image_has_what_was_tested(name: str) -> None:
    """What is in two locks has one version in both."""
    tested = versions("test")
    for package, found in versions(name).items():
        assert found <= tested.get(package, found), package


def test_the_base_of_the_image_is_named_by_its_digest() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.M)
    assert re.fullmatch(r"docker\.io/library/debian:bookworm-slim@sha256:[0-9a-f]{64}", base)
    assert re.findall(r"^FROM (\S+)", dockerfile, re.M) == ["${BASE}", "${BASE}"]


def test_nothing_is_installed_but_from_a_lock() -> None:
    """pip install in setup and in the Dockerfile checks hashes, or installs gotax itself."""
    for name in ("setup", "Dockerfile"):
        text = (ROOT / name).read_text().replace("\\\n", " ")
        commands = re.findall(r"(?:pip\"? install|^\s+install) [^&|;\n]*", text, re.M)
        assert commands
        for command in commands:
            known = "--require-hashes", "--no-deps", "$1", '"$@"', "grpcio-tools=="
            assert any(word in command for word in known), command
