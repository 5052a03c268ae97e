"""Sums of days, and of when any agent reported, give the answers of the finer tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from gotax_collector.query import coverage, profiles
from gotax_collector.query.answers import Profile
from gotax_collector.query.questions import Questions
from gotax_collector.query.selection import Selection, parse_selection
from gotax_collector.storage.schema import REPORTED_STEP_S

from tests.collector import story

HOUR, DAY = 3600, 86_400


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Questions]:
    with closing(story.filled(tmp_path_factory.mktemp("story"))) as store:
        yield Questions(store.connections)


def selections() -> Iterator[tuple[str, Selection]]:
    midnight = story.UNTIL // DAY * DAY
    ends = {
        "until now": story.UNTIL,
        "until midnight": midnight,
        "until an hour before midnight": midnight - HOUR,
        "until some time of a day that went on": midnight - DAY + 7 * HOUR + 60,
    }
    for name, until in ends.items():
        for hours in (5, 24, 7 * 24):
            for terms in ((), ("workload=catalog",), ("shop",)):
                found = parse_selection([*terms, f"since={hours}h"], until)
                yield f"{hours} h {name} {' '.join(terms)}", found


def plain(found: Profile) -> tuple[object, ...]:
    return sorted(found.stacks, key=repr), found.stack_count, found.rest_ns, found.span.since


@pytest.mark.parametrize("selection", [pytest.param(s, id=name) for name, s in selections()])
def test_days_and_hours_together_are_the_hours(
    questions: Questions, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_days = questions.profile(selection)
    monkeypatch.setattr(profiles, "complete_since", lambda _: None)
    assert plain(questions.profile(selection)) == plain(with_days)


def test_days_are_asked(questions: Questions) -> None:
    """Two whole days and the day that is not over; and not for what they do not know."""
    asked: list[str] = []

    def ask(query: str, parameters: object) -> list[dict[str, object]]:
        asked.append(query)
        return questions.database.rows(query, parameters)  # type: ignore[arg-type]

    def of_days(*terms: str) -> bool:
        parts = profiles._parts(ask, parse_selection([*terms, "since=60h"], story.UNTIL))
        return "stack_days" in {table for table, _, _ in parts}

    assert of_days()
    assert of_days("workload=catalog")
    assert not of_days("gomaxprocs=192")


def test_reported_time_is_that_of_the_windows(
    questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = Selection((), 0, story.UNTIL)
    for since, step in ((story.BEGUN, HOUR), (story.LATE - 600, 300), (story.RETURNED + 77, HOUR)):
        ends = since, story.UNTIL
        found = coverage.coverage(questions.database.rows, every, ends, step)
        monkeypatch.setattr(coverage, "complete_since", lambda _: None)
        exact = coverage.coverage(questions.database.rows, every, ends, step)
        monkeypatch.undo()
        assert list(found.gaps(*ends)) == list(exact.gaps(*ends))
        assert found.total == pytest.approx(exact.total, abs=REPORTED_STEP_S)
