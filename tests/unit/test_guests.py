"""The guests of `make guests`: which there are, and what is said of them. The guests do not run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.guests import debian, table
from tests.guests.__main__ import row_of, table_of
from tests.guests.machine import Outcome
from tests.guests.table import GUESTS, Guest

ROOT = Path(__file__).parents[2]
GUEST = Guest("trixie", 4, (), possible=12)


def test_every_kernel_and_every_number_of_cpus_has_a_guest() -> None:
    suites = {"bookworm", "bookworm-backports", "trixie", "trixie-backports"}
    assert {guest.suite for guest in GUESTS if guest.machine == "amd64"} == suites
    assert {4, 16, 64} <= {guest.cpus for guest in GUESTS}
    assert "arm64" in {guest.machine for guest in GUESTS}
    assert any(guest.possible > guest.cpus for guest in GUESTS)
    assert len({guest.name for guest in GUESTS}) == len(GUESTS)


@pytest.mark.parametrize("guest", [*GUESTS, table.SMOKE_GUEST], ids=lambda guest: guest.name)
def test_the_tests_of_a_guest_exist(guest: Guest) -> None:
    for test in guest.tests:
        file, _, function = test.partition("::")
        assert (
            f"def {function}(" in (ROOT / file).read_text() if function else (ROOT / file).exists()
        )


def module(folder: Path, name: str, depends: str) -> Path:
    path = folder / f"{name}.ko"
    path.write_bytes(b"\x7fELF\0license=GPL\0depends=%b\0name=x\0" % depends.encode())
    return path


def test_modules_load_after_those_that_they_need(tmp_path: Path) -> None:
    """Names have - or _, and what is no file is built into the kernel."""
    needs = {"9p": "9pnet,netfs", "9pnet": "", "netfs": "fs-cache", "fs_cache": "", "other": "9p"}
    modules = {name: module(tmp_path, name, depends) for name, depends in needs.items()}
    ordered = debian.in_order(("9p", "builtin"), modules, [])
    assert ordered == ["9pnet", "fs_cache", "netfs", "9p"]


def test_a_skipped_guest_has_its_reason_and_no_result() -> None:
    row = row_of(GUEST, "", Outcome(skipped="the mirror has no trixie"), "")
    assert (row["kernel"], row["CPUs"], row["what ran"]) == ("trixie", "4 of 12", "nothing")
    assert (row["passed"], row["failed"]) == (0, "-")
    assert row["skipped"] == "the mirror has no trixie"


def test_a_row_counts_what_the_guest_said() -> None:
    results = [
        {"test": "tests/kernel/test_a.py::test_x", "outcome": "passed", "said": ""},
        {"test": "tests/kernel/test_a.py::test_y", "outcome": "skipped", "said": "one CPU"},
        {"test": "tests/kernel/test_b.py::test_z", "outcome": "failed", "said": "AssertionError"},
    ]
    row = row_of(GUEST, "6.12", Outcome(1, results=results, seconds=90.0), "")
    assert row["what ran"] == "a, b"
    assert (row["passed"], row["skipped"]) == (1, "1: one CPU")
    assert row["failed"] == "tests/kernel/test_b.py::test_z"
    assert row["minutes"] == 1.5
    assert json.loads(json.dumps(row)) == row
    assert table_of([row]).count("\n") == 3


@pytest.mark.parametrize(
    ("outcome", "failed"),
    [
        (Outcome(failure="did not reach its end"), "did not reach its end"),
        (Outcome(code=5), "exit code 5"),
        (Outcome(code=0), "-"),
    ],
)
def test_a_guest_without_failed_tests_may_still_have_failed(outcome: Outcome, failed: str) -> None:
    assert row_of(GUEST, "6.12", outcome, "true")["failed"] == failed
