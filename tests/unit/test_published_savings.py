"""The published cases that check the predicted saving, and their table in docs/saving.md."""

from __future__ import annotations

import inspect
import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from gotax.category import CATEGORY_COUNT
from gotax.diagnosis.saving import TERMS, Retained, Situation

from calibration import fit, grid, published
from calibration.published import published_saving, quantile

DOCUMENT = Path(__file__).parents[2] / "docs" / "saving.md"
CASES = tomllib.loads(published.CASES.read_text())


def test_the_document_has_the_table_that_the_command_prints() -> None:
    """Line by line, with the counts below it."""
    printed = "\n".join(published.lines())
    assert f"\n\n{printed}\n\n" in DOCUMENT.read_text()


def test_the_counts_are_those_of_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """At least the three cases that have to be there."""
    assert published.main() == 0
    text = capsys.readouterr().out
    answers = [line.split("|")[-2].strip() for line in text.splitlines() if line.startswith("|")]
    assert f"\n{answers.count('yes')} of {len(answers) - 2} results are in the range" in text
    for name in ("Metoro", "Uber", "apm-server"):
        assert name in text


def test_every_case_has_its_source_and_known_inputs() -> None:
    """A workload with a typing error would be left out without a word."""
    for case in CASES["case"]:
        assert case["published"]
        assert case["assumed"]
        assert set(case["like"]) <= {*grid.FITTED, *grid.HELD_OUT}
        for result in case["result"]:
            inputs = {**case, **result}
            assert {"target", "host_cpus", "utilisation"} <= inputs.keys()
            assert {"cpu", "work"} & inputs.keys()
    for entry in [*CASES["case"], *CASES["left_out"]]:
        assert entry["address"].startswith("https://")
    assert all(entry["reason"] for entry in CASES["left_out"])


def test_no_case_is_fitted() -> None:
    """They are held out: the fit reads the runs alone."""
    source = inspect.getsource(fit)
    assert "published" not in source
    assert source.count("table.read(") == 1
    assert '"fitted.csv"' in source


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"cpu": [30.0, 17.0]}, (0.4333, 0.4333)),
        ({"work": [22191.40, 44715.07]}, (0.5037, 0.5037)),
        ({"cpu": [13.8, 7.9], "work": [418.0, 394.0]}, (0.3927, 0.3927)),
        ({"cpu": [2.0, [1.0, 1.5]]}, (0.25, 0.5)),
        ({"cpu": [[1.0, 2.0], 1.0], "work": [1.0, [1.0, 2.0]]}, (0.0, 0.75)),
        ({"work": [[1.0, 2.0], 1.0]}, (-1.0, 0.0)),
    ],
)
def test_the_published_saving_is_that_of_a_unit_of_work(
    inputs: dict[str, Any], expected: tuple[float, float]
) -> None:
    """Of CPU, of throughput or of both, with the ends of what is an interval."""
    assert published_saving(inputs) == pytest.approx(expected, abs=1e-4)


def test_one_prediction_keeps_its_range() -> None:
    """The 5th and the 95th percentile are the ends of a range of 90 %, which need not be even."""
    part = Retained(math.log(0.6), 0.2, 0.5)
    ends = [quantile([part], share) for share in (0.05, 0.5, 0.95)]
    assert ends == pytest.approx([part.low, part.mid, part.high], rel=1e-3)


def test_unlike_profiles_widen_the_range() -> None:
    """Half of them retain 0.3, half 0.9: the 5th percentile is the 10th of the lower half."""
    parts = [Retained(math.log(kept), 0.1645, 0.1645) for kept in (0.3, 0.9)]
    assert quantile(parts, 0.05) == pytest.approx(0.3 * math.exp(-0.12816), rel=1e-3)
    assert quantile(parts, 0.95) == pytest.approx(0.9 * math.exp(0.12816), rel=1e-3)


@pytest.mark.parametrize("schedule", [published.SCHEDULE, (*published.SCHEDULE, "wake")])
def test_published_shares_replace_those_of_the_run(schedule: tuple[str, ...]) -> None:
    """The others keep their proportions."""
    samples = tuple(1000 + 10 * n for n in range(CATEGORY_COUNT))
    before = Situation(samples, 192, 0.5).shares
    scaled = published._with_shares(samples, {"schedule": 0.3, "mark": 0.2}, schedule)
    after = Situation(scaled, 192, 0.5).shares
    names = list(TERMS)
    chosen = [names.index(name) for name in schedule]
    rest = [i for i, name in enumerate(names) if name not in (*schedule, "mark")]
    assert after[chosen].sum() == pytest.approx(0.3, abs=1e-3)
    assert after[names.index("mark")] == pytest.approx(0.2, abs=1e-3)
    for part in (chosen, rest):
        assert after[part] / after[part].sum() == pytest.approx(
            before[part] / before[part].sum(), abs=2e-3
        )
