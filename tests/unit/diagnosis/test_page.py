"""docs/findings.md compared with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from gotax import cli
from gotax.config import Thresholds
from gotax.diagnosis.causes import SENTENCES
from gotax.diagnosis.rules import CODES
from gotax.findings import Cause, Verdict

from tests import codes

PAGE = (Path(__file__).parents[3] / "docs" / "findings.md").read_text()


def section(code: str) -> str:
    return PAGE.partition(f"### {code}:")[2].partition("\n##")[0]


def test_the_collectors_page_of_the_codes_has_the_same_text() -> None:
    """`make codes` writes it."""
    assert codes.PAGE.read_text() == codes.rendered(codes.SOURCE.read_text())


def test_every_code_has_its_section_and_its_row() -> None:
    """In order, and without codes that do not exist."""
    assert tuple(re.findall(r"^### (GT\d{3}): ", PAGE, re.M)) == CODES
    assert tuple(re.findall(r"^\| \[(GT\d{3})\]", PAGE, re.M)) == CODES
    assert set(re.findall(r"GT\d{3}", PAGE)) == set(CODES)


def test_every_verdict_and_every_cause_has_its_row() -> None:
    """With the words of the findings."""
    rows = re.findall(r"^\| `([\w.-]+)` \| (.*) \|$", PAGE, re.M)
    words = dict(rows)
    assert words.keys() == {v.value for v in Verdict} | {c.value for c in Cause}
    assert {c.value: SENTENCES[c] for c in Cause}.items() <= words.items()


def test_every_flag_is_explained_and_every_explained_flag_exists(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No threshold is undocumented, and no documented flag is missing."""
    with pytest.raises(SystemExit):
        cli.main(["agent", "--help"])
    offered = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    explained = set(re.findall(r"`(--[a-z-]+)`", PAGE))
    assert explained <= offered
    # Some have no flags, or belong to other pages.
    settings = {f.name for f in fields(Thresholds)} - {
        *("release", "settle_s", "suppressions", "unlimited_least", "coordination_told")
    }
    assert {"--" + name.replace("_", "-") for name in settings} <= explained


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("GT001", Thresholds().saving_share),
        ("GT001", Thresholds().runtime_share),
        ("GT004", Thresholds().saturation),
        ("GT007", Thresholds().throttled_share),
        ("GT009", Thresholds().gc_share),
        ("GT010", Thresholds().allocation_share),
        ("GT011", Thresholds().coordination_share),
        ("GT013", Thresholds().cgo_share),
    ],
)
def test_the_defaults_are_those_on_the_page(code: str, value: float) -> None:
    """A changed default must be changed on the page too."""
    assert f"{value:.0%}".replace("%", " %") in section(code)
