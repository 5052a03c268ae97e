"""The files of a release agree, and its workflows are pinned and have few permissions."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release import chart, versions
from tests.release.packages import ReleaseError

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))
VALUES = (ROOT / "helm" / "gotax" / "values.yaml").read_text()
DIGESTS = tuple(f"sha256:{digit * 64}" for digit in "ab")


def jobs(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text())["jobs"]
    return found


def test_all_files_name_one_version_which_the_changelog_has() -> None:
    assert versions.disagreements() == []
    assert len(set(versions.found().values())) == 1
    assert len(versions.notes()) > 1000


@pytest.mark.parametrize("place", versions.found())
def test_another_version_in_one_file_is_noticed(place: str, tmp_path: Path) -> None:
    for name in {each.partition(":")[0] for each in versions.found()} | {"CHANGELOG.md"}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    assert versions.disagreements(root=tmp_path) == []
    path = tmp_path / place.partition(":")[0]
    before = versions.found()[place]
    field = place.partition(": ")[2]
    lines = path.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        if before in line and (not field or line.startswith(f"{field}:")):
            lines[number] = line.replace(before, "9.9.9")
    path.write_text("".join(lines))
    assert versions.disagreements(root=tmp_path)


def test_a_tag_of_another_version_is_refused() -> None:
    version = versions.found()["pyproject.toml"]
    assert versions.disagreements(f"v{version}") == []
    assert versions.disagreements("v9.9.9") == [f"the tag is v9.9.9, not v{version}"]


def test_a_release_without_notes_is_refused(tmp_path: Path) -> None:
    for name in {each.partition(":")[0] for each in versions.found()}:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    version = versions.found()["pyproject.toml"]
    (tmp_path / "CHANGELOG.md").write_text(
        f"## Unreleased\n\n- new\n\n## {version}\n\n## 0.0.1\nx\n"
    )
    assert "has no section" in versions.disagreements(root=tmp_path)[0]


def test_the_chart_of_a_release_names_its_images_by_digest() -> None:
    """Each in its own block, and nothing else changes."""
    images = (f"owner/gotax@{DIGESTS[0]}", f"owner/gotax-collector@{DIGESTS[1]}")
    before, after = (
        yaml.safe_load(text) for text in (VALUES, chart.filled(VALUES, "ghcr.io", images))
    )
    agent, collector = after["image"], after["collector"]["image"]
    names = ("registry", "repository", "digest")
    assert [agent.pop(name) for name in names] == ["ghcr.io", "owner/gotax", DIGESTS[0]]
    assert [collector.pop(name) for name in names] == [
        *("ghcr.io", "owner/gotax-collector"),
        DIGESTS[1],
    ]
    for name in names:
        del before["image"][name], before["collector"]["image"][name]
    assert after == before


@pytest.mark.parametrize("image", ["owner/gotax", "Owner/gotax@" + DIGESTS[0], "a/b@sha256:12"])
def test_an_image_without_a_digest_is_refused(image: str) -> None:
    with pytest.raises(ReleaseError, match="in small letters"):
        chart.filled(VALUES, "ghcr.io", (image, ""))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_to_commits(path: Path) -> None:
    """A tag can be moved to other code. The comment has the version of the commit."""
    uses = re.findall(r"^\s*(?:- )?uses: (.+)$", path.read_text(), re.MULTILINE)
    assert uses
    for action in uses:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


def test_an_action_has_one_commit_everywhere() -> None:
    text = "".join(path.read_text() for path in WORKFLOWS)
    pins = set(re.findall(r"uses: ([\w/-]+)@(\w+) # (\S+)", text))
    assert len(pins) == len({name for name, _, _ in pins})


def test_permissions_are_few() -> None:
    """None by default, and what writes is in the job that needs it."""
    writing = {
        "release": {
            "packages": {"id-token", "attestations"},
            "image": {"packages", "id-token", "attestations"},
            "chart": {"packages", "id-token"},
            "release": {"contents", "id-token"},
        },
        "tests": {"tests": set(), "cluster": set()},
    }
    assert {path.stem for path in WORKFLOWS} == set(writing)
    for path in WORKFLOWS:
        whole = yaml.safe_load(path.read_text())
        assert "write" not in str(whole["permissions"])
        found = {
            name: {right for right, how in job.get("permissions", {}).items() if how == "write"}
            for name, job in whole["jobs"].items()
        }
        assert found == writing[path.stem]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_scripts_have_no_expressions(path: Path) -> None:
    """What comes from outside, as the name of a tag, would become a part of the script."""
    for job in jobs(path).values():
        assert job["timeout-minutes"] > 0
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), step
            if step.get("uses", "").startswith("actions/checkout"):
                assert step["with"]["persist-credentials"] is False


def test_the_commands_of_the_workflows_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = (ROOT / "tests/release/__main__.py").read_text()
    used = set()
    for path in WORKFLOWS:
        text = path.read_text()
        for target in re.findall(r"run: make ([\w-]+)", text):
            assert target in targets
        used |= set(re.findall(r"python3 -m tests\.release (\w+)", text))
    assert {"versions", "packages", "chart", "notes"} == used
    for command in used:
        assert f'add_parser("{command}"' in commands


def test_the_tests_run_on_the_base_of_the_image() -> None:
    base = re.search(
        r"^ARG BASE=docker\.io/library/(\S+)$", (ROOT / "Dockerfile").read_text(), re.M
    )
    assert base
    for job in jobs(ROOT / ".github/workflows/tests.yaml").values():
        assert job["container"]["image"] == base[1]


def test_pictures_are_there_and_small() -> None:
    """Those that the README shows, and no others."""
    shown = set(re.findall(r"\]\((docs/pictures/[\w.]+)\)", (ROOT / "README.md").read_text()))
    files = {f"docs/pictures/{path.name}" for path in (ROOT / "docs/pictures").iterdir()}
    assert shown == files
    assert len(files) == 3
    for name in files:
        assert 1000 < (ROOT / name).stat().st_size < 300_000, name
