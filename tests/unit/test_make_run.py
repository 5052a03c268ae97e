"""``make run``: what it offers after the verdicts, and that it asks only at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ptyscreen import ROOT, PtyScreen

FIRST = str(ROOT / "demo" / "first.py")
NO_GO = "No Go process runs on this host. Start one, or try make demo."


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A gotax and a make that only say how they were called."""
    (tmp_path / "make").write_text('#!/bin/sh\necho "called: make $*"\n')
    for path in (tmp_path / "gotax", tmp_path / "make"):
        path.touch()
        path.chmod(0o755)
    return tmp_path


def gotax(programs: Path, output: str, code: int = 0) -> dict[str, str]:
    """The environment with a gotax whose check prints this."""
    (programs / "gotax").write_text(
        '#!/bin/sh\necho "called: gotax $*"\n[ "$1" = top ] && exit\n'
        f'echo "{output}"\nexit {code}\n'
    )
    return {"GOTAX": str(programs / "gotax"), "PATH": f"{programs}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("answer", "called"),
    [("\n", "gotax top"), ("w\n", "make web"), ("q\n", ""), ("\x04", ""), ("\x03", "")],
)
def test_it_offers_the_terminal_and_the_browser(programs: Path, answer: str, called: str) -> None:
    """Also after findings, which are no failure."""
    environment = gotax(programs, "1 finding", code=1)
    with PtyScreen([sys.executable, FIRST], **environment) as terminal:
        terminal.wait_for("w: live in a browser")
        terminal.press(answer)
        assert terminal.wait_for_end() == 0
        calls = [line for line in terminal.text.split("\n") if "called: " in line]
    assert [call.partition("called: ")[2] for call in calls] == [
        *("gotax check", *([called] if called else []))
    ]


@pytest.mark.parametrize(("answer", "runs"), [("y\n", True), ("\n", False), ("n\n", False)])
def test_without_a_go_process_it_offers_the_demo(programs: Path, answer: str, runs: bool) -> None:
    environment = gotax(programs, NO_GO)
    with PtyScreen([sys.executable, FIRST], **environment) as terminal:
        text = terminal.wait_for("Run it now?")
        assert "oversized and right-sized" in text
        terminal.press(answer)
        assert terminal.wait_for_end() == 0
        assert ("called: make demo" in terminal.text) is runs


def test_a_failure_is_its_exit_code_without_a_question(programs: Path) -> None:
    with PtyScreen([sys.executable, FIRST], **gotax(programs, "gotax: no", code=2)) as terminal:
        assert terminal.wait_for_end() == 2
        assert "quit" not in terminal.text


@pytest.mark.parametrize(("code", "exit_code"), [(0, 0), (1, 0), (2, 2)])
def test_without_a_terminal_it_never_asks(programs: Path, code: int, exit_code: int) -> None:
    environment = {**os.environ, **gotax(programs, NO_GO, code)}
    done = subprocess.run(
        [sys.executable, FIRST],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == exit_code
    assert done.stdout == f"called: gotax check\n{NO_GO}\n"
