"""``gotax completion``: what a real shell offers for a line that is half typed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASK = r"""
source "$1"; shift
[[ $(complete -p gotax) =~ -F\ ([^ ]+) ]] && function=${BASH_REMATCH[1]}
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
"$function" gotax "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("completion")
    found = {}
    for shell in ("bash", "zsh", "fish"):
        command = [sys.executable, "-m", "gotax", "completion", shell]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[shell] = folder / shell
        found[shell].write_text(done.stdout)
    return found


def offered(script: Path, line: str, folder: Path = ROOT) -> set[str]:
    """By bash, for the last word of the line."""
    words = line.split(" ")
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK, "bash", str(script), *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    assert done.stderr == ""
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("gotax ch", {"check"}),
        ("gotax co", {"compare", "collector", "completion"}),
        ("gotax top --so", {"--sort"}),
        ("gotax top --sort ", {"verdict", "cpu", "runtime", "saving", "throttled", "name"}),
        ("gotax record -f p", {"pprof"}),
        ("gotax agent --log-level d", {"debug"}),
        ("gotax completion z", {"zsh"}),
        ("gotax collector --store-p", {"--store-password-file"}),
        ("gotax fleet fl", {"flamegraph"}),
    ],
)
def test_bash_offers(scripts: dict[str, Path], line: str, words: set[str]) -> None:
    """Commands, flags and choices, the collector's too."""
    assert offered(scripts["bash"], line) == words


def test_bash_offers_files_with_the_right_ending(scripts: dict[str, Path], tmp_path: Path) -> None:
    for name in ("a.json", "with space.json", "a.html", "a.toml", "a.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder").mkdir()
    assert offered(scripts["bash"], "gotax compare ", tmp_path) == {
        *("a.json", "with space.json", "folder/")
    }
    assert offered(scripts["bash"], "gotax check --html ", tmp_path) == {"a.html", "folder/"}
    assert offered(scripts["bash"], "gotax agent --config a", tmp_path) == {"a.toml"}
    assert "a.txt" in offered(scripts["bash"], "gotax agent --collector-ca a", tmp_path)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_script_is_one_of_its_shell(scripts: dict[str, Path], shell: str) -> None:
    """The shell itself parses it, where there is one. No hidden flag is in it."""
    text = scripts[shell].read_text()
    assert "gotax" in text
    assert "min-hits" not in text
    if found := shutil.which(shell):
        subprocess.run([found, "-n", str(scripts[shell])], check=True)


def test_a_missing_library_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "shtab.py").write_text("raise ModuleNotFoundError('no', name='shtab')")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from gotax import cli;"
    program += "sys.exit(cli.main(['completion', 'bash']))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 2
    assert "'gotax[completion]'" in done.stderr
    assert done.stderr.count("\n") == 1
