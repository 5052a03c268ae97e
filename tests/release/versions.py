"""The version is in several files. They have to agree, with the tag, and with the changelog."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "gotax"


def found(root: Path = ROOT) -> dict[str, str]:
    """Where the version is, and which."""

    def at(path: str, pattern: str) -> str:
        match = re.search(pattern, (root / path).read_text(), re.MULTILINE)
        return match[1] if match else "none"

    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    places = {
        "pyproject.toml": project,
        "agent/gotax/__init__.py": at("agent/gotax/__init__.py", r'^__version__ = "(.+)"$'),
        "helm/gotax/Chart.yaml: version": at("helm/gotax/Chart.yaml", r"^version: (\S+)$"),
        "helm/gotax/Chart.yaml: appVersion": at("helm/gotax/Chart.yaml", r"^appVersion: (\S+)$"),
        "Dockerfile": at("Dockerfile", r"^ARG VERSION=(\S+)$"),
    }
    for page in ("README.md", "docs/kubernetes.md", "helm/gotax/README.md"):
        places[page] = at(page, r"^docker push REGISTRY/gotax:(\S+)$")
    return places


def disagreements(tag: str = "", root: Path = ROOT) -> list[str]:
    """One sentence for each; none for a release that may be made."""
    places = found(root)
    version = places["pyproject.toml"]
    wrong = [f"{place}: {other}, not {version}" for place, other in places.items()]
    wrong = [text for text, other in zip(wrong, places.values(), strict=True) if other != version]
    if tag and tag != f"v{version}":
        wrong.append(f"the tag is {tag}, not v{version}")
    if not notes(root):
        wrong.append(f"CHANGELOG.md has no section ## {version}, or nothing in it")
    return wrong


def notes(root: Path = ROOT) -> str:
    """The version's section of the changelog, without its heading."""
    version = found(root)["pyproject.toml"]
    text = (root / "CHANGELOG.md").read_text()
    parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    for heading, section in sections.items():
        if heading.split()[0].strip("[]") == version:
            return section.strip()
    return ""
