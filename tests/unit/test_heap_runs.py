"""The recorded runs of calibration/heaps, judged by the rules of today, and their tables."""

from __future__ import annotations

from pathlib import Path

from gotax.diagnosis import rules

from calibration import heaps

DOCUMENT = Path(__file__).parents[2] / "docs" / "saving.md"
RUNS = heaps.read()


def test_the_document_has_the_tables_that_the_command_prints() -> None:
    """Line by line."""
    text = DOCUMENT.read_text()
    assert "\n".join(heaps.lines(RUNS)) in text


def test_collectors_that_run_for_a_limit_are_found_and_told_what_they_save() -> None:
    """On at least six programs that were not looked at; nothing that saves much is missed."""
    held_out = [each for each in heaps.judge(RUNS) if each.is_held_out and each.before.limit]
    told = [each for each in held_out if each.found]
    assert len({each.before.program for each in told}) >= 6
    assert all(each.is_within for each in told)
    assert all(each.is_gone for each in told)
    assert not [each for each in held_out if not each.found and each.saved >= heaps.WORTHWHILE]


def test_most_predictions_of_a_higher_gogc_are_in_the_range() -> None:
    trials = [each for each in heaps.judge(RUNS) if not each.before.limit]
    assert len(trials) == 5
    assert all(each.found for each in trials)
    assert sum(each.is_within for each in trials) == 4


def test_healthy_programs_have_no_finding() -> None:
    healthy = [each for each in RUNS if each.part == "healthy"]
    assert len(healthy) == len(heaps.HEALTHY) >= 10
    assert [list(each.findings()) for each in healthy] == [[]] * len(healthy)


def test_every_trial_was_run_twice() -> None:
    wanted = {heaps.name_of(trial) for trial in heaps.TRIALS}
    for part in ("before", "after"):
        names = [each.name for each in RUNS if each.part == part]
        assert sorted(names) == sorted([*wanted, *wanted])
    found = {
        code
        for each in RUNS
        if each.part == "before"
        for code in each.findings()
        if code in (rules.HELD, rules.GC_HEAVY)
    }
    assert found == {rules.HELD, rules.GC_HEAVY}
