"""What commands show while they work: only on a terminal, and nothing of it stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ptyscreen import ROOT, PtyScreen

PROGRAM = """
import sys
import gotax.session
from gotax import cli
from tests.unit.exporters.windows import story_window

class Session:
    def __init__(self, plan, watch):
        watch(7.0)
    def __enter__(self):
        return self
    def __exit__(self, *_):
        pass
    def windows(self, seconds, stop):
        yield story_window()

gotax.session.Session = Session
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("check -d 9", ["starting", "compiling the BPF program: 7 s", "sampling at 99 Hz: 9 s"]),
        ("check --html {0}/a.html", ["writing HTML"]),
        ("record -o {0}/a.svg", ["sampling at 99 Hz: 30 s", "writing svg"]),
        ("compare {0}/1.json {0}/2.json", ["reading the recordings"]),
    ],
)
def test_progress_is_shown_on_a_terminal_and_removed(
    command: str, shown: list[str], tmp_path: Path
) -> None:
    for name in ("1.json", "2.json"):
        done = run("check", "--json")
        (tmp_path / name).write_text(done.stdout)
        assert done.stderr == ""  # no terminal
    arguments = command.format(tmp_path).split()
    with PtyScreen([sys.executable, "-c", PROGRAM, *arguments]) as terminal:
        assert terminal.wait_for_end() in (0, 1)
        for text in shown:
            assert f"\r\x1b[K{text}".encode() in terminal.written
            assert text not in terminal.text


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
