"""What a group may cost the readers: time of a round, questions that are never answered."""

from __future__ import annotations

import pytest
from gotax.reader import groups as module
from gotax.reader.groups import DIED, DISPLACED, HOSTILE, Groups


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(module, "time", found)
    return found


def test_a_group_has_half_of_a_round() -> None:
    groups = Groups()
    assert groups.left_s("a", 1.5, 1.5) == 0.75
    groups.add_wait("a", 0.5)
    assert groups.left_s("a", 1.0, 1.5) == 0.25
    assert groups.left_s("b", 1.0, 1.5) == 0.75
    assert groups.left_s("b", 0.1, 1.5) == 0.1


def test_who_waited_long_leaves_the_second_half_to_the_others(clock: Clock) -> None:
    """Three containers that answered late in every round left nothing for a new program."""
    groups = Groups()
    for _ in range(3):
        groups.begin_round()
        for name in "abc":
            groups.add_wait(name, 0.25)
    groups.begin_round()
    assert groups.left_s("a", 1.5, 1.5) == 0.75
    assert groups.left_s("a", 0.75, 1.5) == 0.0
    assert groups.left_s("new", 0.75, 1.5) == 0.75
    clock.now_s += 12  # of its 0.75 s, 0.24 are forgiven
    assert groups.left_s("a", 0.75, 1.5) == 0.0
    clock.now_s += 1
    assert groups.left_s("a", 0.75, 1.5) == 0.75


def test_quick_answers_are_no_debt() -> None:
    """A node with hundreds of honest processes in a container."""
    groups = Groups()
    for _ in range(1000):
        groups.add_wait("a", 0.004)
        groups.begin_round()
    assert groups.left_s("a", 0.75, 1.5) == 0.75


@pytest.mark.parametrize(
    ("offences", "is_suspect"),
    [
        ([DISPLACED], False),
        ([DIED], False),
        ([DISPLACED, DISPLACED], True),
        ([DISPLACED, DIED], True),
        ([HOSTILE], True),
    ],
)
def test_suspects(offences: list[int], is_suspect: bool) -> None:
    groups = Groups()
    for offence in offences:
        groups.blame("a", offence)
    assert groups.is_suspect("a") is is_suspect
    assert not groups.is_suspect("b")
    assert not groups.is_barred("a", stuck=16)


def test_two_questions_without_an_answer_bar_a_group_and_one_where_readers_are_few() -> None:
    groups = Groups()
    groups.add_silent("a")
    assert not groups.is_barred("a", stuck=5)
    assert groups.is_barred("a", stuck=6)
    assert groups.is_suspect("a")
    groups.add_silent("a")
    assert groups.is_barred("a", stuck=0)
    assert not groups.is_barred("b", stuck=6)


def test_processes_of_no_known_container_are_not_blamed_together() -> None:
    groups = Groups()
    for _ in range(3):
        groups.add_silent("")
        groups.blame("", HOSTILE)
    assert not groups.is_barred("", stuck=6)
    assert not groups.is_suspect("")
