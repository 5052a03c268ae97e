"""The documents name files, modules and make targets that exist. Links are test_house.py's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]

UNAMBIGUOUS = (".csv", ".md", ".proto", ".py", ".toml", ".tsv")
"""A name with one of these endings is a file of this repository. Other endings (.go, .json, .yaml)
are also those of Go's sources and of users' files: they count only with a folder of the
repository."""

EXCEPTIONS: dict[str, str] = {}
"""Names that look like paths of this repository and are none, each with the reason."""


def walk(root: Path) -> Iterator[str]:
    """All files and folders of the repository, relative, folders with a slash at the end."""
    hidden = {"node_modules", "build", "dist", "__pycache__"}
    for folder, folders, files in os.walk(root, followlinks=False):
        folders[:] = [
            name
            for name in folders
            if name not in hidden and not name.startswith(".") and not name.endswith(".egg-info")
        ]
        inside = Path(folder).relative_to(root)
        yield from ((inside / name).as_posix() + "/" for name in folders)
        yield from ((inside / name).as_posix() for name in files)


def documents(root: Path) -> list[Path]:
    return [root / name for name in sorted(walk(root)) if name.endswith(".md")]


def prose(document: Path) -> str:
    """Without blocks of code, which contain a user's commands and files."""
    text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.S | re.M)
    return re.sub(r"^    .*$", "", text, flags=re.M)


MANNERED = re.compile(
    r"\b(anew|foretold|newcomers?|nobody|whoever|whomever|thereof|wherein|told)\b", re.IGNORECASE
)
"""Write the usual words: "again", "predicted", "new processes", "reported"."""


def is_path(word: str, top: set[str]) -> bool:
    """What in backticks is a path: one word that begins with a folder at the top of the repository,
    that ends with a slash, or that is a file name with one of the endings above.

    Absolute paths, URLs, and words with other characters (``PID``-like placeholders are in capital
    letters) are none.
    """
    if not re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", word) or re.search(r"\b[A-Z]{3,}\b/", word):
        return False
    return (
        word.endswith("/")
        or ("/" in word and word.partition("/")[0] in top)
        or (PurePosixPath(word).suffix in UNAMBIGUOUS and not word.startswith("."))
    )


def exists(word: str, paths: set[str]) -> bool:
    """A path may be short: ``golang/stacks.py`` is whatever ends so. ``*`` is a glob."""
    if "*" in word:
        return any(fnmatch(path, word) or fnmatch(path, f"*/{word}") for path in paths)
    wanted = (word,) if word.endswith("/") else (word, word + "/")
    return any(path in wanted or path.endswith(tuple(f"/{w}" for w in wanted)) for path in paths)


def missing_paths(root: Path) -> list[str]:
    paths = set(walk(root))
    top = {path.partition("/")[0] for path in paths if path.count("/") == 1 and path[-1] == "/"}
    return [
        f"{document.relative_to(root)}: {word}"
        for document in documents(root)
        if document.name != "CHANGELOG.md"  # describes files of the past
        for word in re.findall(r"`([^`\n]+)`", prose(document))
        if is_path(word, top) and word not in EXCEPTIONS and not exists(word, paths)
    ]


def missing_modules(root: Path) -> list[str]:
    """``python -m NAME`` in documents, for modules of this repository."""
    paths = set(walk(root))
    ours = {"tests", "bench", "calibration", "gotax", "gotax_collector"}
    return [
        f"{document.relative_to(root)}: {name}"
        for document in documents(root)
        for name in re.findall(r"python3? -m ([\w.]+\w)", document.read_text())
        if name.partition(".")[0] in ours
        and not exists(name.replace(".", "/") + ".py", paths)
        and not exists(name.replace(".", "/") + "/__main__.py", paths)
    ]


def missing_targets(root: Path) -> list[str]:
    """``make NAME`` in backticks, and at the beginning of a line of a block of code."""
    known = set(re.findall(r"^([a-z0-9-]+):", (root / "Makefile").read_text(), re.M))
    return [
        f"{document.relative_to(root)}: make {name}"
        for document in documents(root)
        for text in [document.read_text()]
        for block in ["", *re.findall(r"^```.*?^```|^    .*$", text, re.S | re.M)]
        for name in re.findall(r"^ *make ([a-z0-9-]+)", block, re.M)
        + ([] if block else re.findall(r"`make ([a-z0-9-]+)", text))
        if name not in known
    ]


def test_paths_in_the_documents_exist() -> None:
    """A path in backticks (see is_path) is a file or folder of the tree."""
    assert len(documents(ROOT)) > 20
    assert missing_paths(ROOT) == []


def test_modules_and_targets_in_the_documents_exist() -> None:
    """`python -m NAME` and `make NAME` work as written."""
    assert missing_modules(ROOT) == []
    assert missing_targets(ROOT) == []


def test_decisions_are_numbered_without_holes_and_listed() -> None:
    """0001, 0002, ..., each in the index, its title with its number."""
    folder = ROOT / "docs" / "decisions"
    found = sorted(path.name for path in folder.glob("0*.md"))
    assert [int(name[:4]) for name in found] == list(range(1, len(found) + 1))
    assert re.findall(r"^\| \[\d{4}\]\((.+?)\)", (folder / "README.md").read_text(), re.M) == found
    for number, name in enumerate(found, 1):
        assert (folder / name).read_text().startswith(f"# {number}. "), name


def test_the_index_names_every_document() -> None:
    """docs/README.md leads to every page of docs/."""
    linked = set(re.findall(r"\]\(([\w.-]+\.md)", (ROOT / "docs" / "README.md").read_text()))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}


def test_documents_use_the_usual_words() -> None:
    """The tables of docs/categories.md are written by a test, from the code."""
    found = [
        f"{document.relative_to(ROOT)}: {word[0]}"
        for document in documents(ROOT)
        for word in MANNERED.finditer(document.read_text().partition("<!-- From here")[0])
    ]
    assert found == []


@pytest.mark.parametrize(
    ("word", "counts"),
    [
        ("agent/gotax/pipeline.py", True),
        ("agent/gotax", True),
        ("pipeline.py", True),
        ("golang/*.py", True),
        ("golang/", True),
        ("gc/sweep", False),
        ("before.json", False),
        ("/proc/PID/maps", False),
        ("src/runtime/proc.go", False),
        ("https://example.com/a.md", False),
        ("gotax record -o FILE.json", False),
    ],
)
def test_what_counts_as_a_path(word: str, counts: bool) -> None:
    assert is_path(word, {"agent", "docs"}) is counts


def test_a_missing_path_is_found(tmp_path: Path) -> None:
    """Whole paths, short ones, globs, modules and targets; a block of code is the user's."""
    (tmp_path / "agent/gotax").mkdir(parents=True)
    (tmp_path / "agent/gotax/a.py").write_text("")
    (tmp_path / "Makefile").write_text("run: x\n")
    (tmp_path / "README.md").write_text(
        "`agent/gotax/a.py` `gotax/a.py` `a.py` `gotax/*.py` `gotax/` `make run`\n"
        "`agent/b` `b.py` `other/*.py` `golang/` `make walk` `python -m gotax.b`\n"
        "```\n`c.py`\n```\n"
    )
    lost = [f"README.md: {word}" for word in ("agent/b", "b.py", "other/*.py", "golang/")]
    assert missing_paths(tmp_path) == lost
    assert missing_modules(tmp_path) == ["README.md: gotax.b"]
    assert missing_targets(tmp_path) == ["README.md: make walk"]


def test_every_promise_of_security_names_a_test_that_is_there() -> None:
    """docs/security.md: each `tests/FILE.py::NAME` is a function of that file."""
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", (ROOT / "docs/security.md").read_text())
    assert len(named) > 20
    for path, name in named:
        assert f"def {name}(" in (ROOT / path).read_text(), f"{path}::{name}"
