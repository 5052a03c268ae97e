"""The corpus with a tenth of the addresses; `make corpus` uses all of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.corpus.__main__ import build, entries, opinion, table
from tests.corpus.applications import is_built
from tests.corpus.inventory import APPLICATIONS, RELEASES, Application, Build
from tests.corpus.oracle import SILENT, Opinion, Verdict, judge

ROOT = Path(__file__).parents[2]
PCS = 20_000


def test_the_corpus_has_every_release_and_known_programs() -> None:
    """One of each minor release from 1.2 to 1.27, and unique names of binaries."""
    assert [version.split(".")[1] for version in RELEASES] == [str(n) for n in range(2, 28)]
    assert len(APPLICATIONS) >= 8
    names = [entry.name for entry in entries()]
    assert len(set(names)) == len(names)


def test_git_has_no_binary() -> None:
    """The repository has only the instructions to build them, and no ELF file."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True)
    if listed.returncode:
        pytest.skip("not a clone")
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    assert len(files) > 100
    present = [path for path in files if path.is_file()]
    assert [path for path in present if path.read_bytes()[:4] == b"\x7fELF"] == []


def test_a_single_disagreement_is_reported() -> None:
    """In the table and in the verdict, for each judge; no answer is no agreement."""
    most, every = Opinion(10, 9, ("0x1: a, not b",)), Opinion(10, 10)
    assert not Verdict("x", 3, 10, most, every, every).unanimous
    assert not Verdict("x", 3, 10, every, most, every).unanimous
    assert not Verdict("x", 3, 10, every, every, most).unanimous
    assert list(Verdict("x", 3, 10, every, most, SILENT).cases) == ["x: runtime: 0x1: a, not b"]
    assert [opinion(one) for one in (most, every, SILENT)] == ["**9 of 10**", "all 10", "-"]
    assert list(table([Verdict("x", 3, 10, every, most, SILENT)]))[2:] == [
        "| x | 3 | 10 | all 10 | **9 of 10** | - |"
    ]


@pytest.mark.slow
@pytest.mark.toolchain
@pytest.mark.parametrize("wanted", entries(), ids=lambda entry: entry.name)
def test_symbols_match_go(wanted: Build | Application) -> None:
    """Names, files, lines and inlined calls of this binary, by every available judge."""
    if isinstance(wanted, Application) and not is_built(wanted, stripped=True):
        pytest.skip("not built: make corpus")
    entry = build(wanted)
    verdict = judge(entry.name, entry.version, entry.path, entry.twins, PCS)
    assert verdict.unanimous, list(verdict.cases)
    assert verdict.addr2line.asked or verdict.runtime.asked or verdict.twins.asked
