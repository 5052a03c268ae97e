"""What is known to be stored: exact, and within a bound."""

from __future__ import annotations

import pytest

pytest.importorskip(
    "gotax_collector.storage.stored_reports", reason="the extra [collector] is not installed"
)

from gotax_collector.storage import stored_reports as module
from gotax_collector.storage.stored_reports import Ranges, StoredReports
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(1, 40)))
def test_ranges_are_the_set_of_what_was_added(numbers: list[int]) -> None:
    ranges = Ranges()
    for number in numbers:
        ranges.add(number)
    held = [number for number in range(42) if number in ranges]
    assert held == sorted(set(numbers))
    assert len(ranges) == len(held)
    assert ranges.count == sum(number - 1 not in held for number in held)
    assert Ranges.of(numbers).pairs == ranges.pairs


def test_only_the_stream_that_vouched_is_believed() -> None:
    """Another stream of the agent may come from a replica that has stored more."""
    stored, one, two = StoredReports(), object(), object()
    stored.load("a", 7, one, Ranges([(1, 3)]))
    assert stored.is_loaded("a", 7, one)
    assert not stored.is_loaded("a", 7, two)
    assert not stored.is_loaded("a", 8, one)
    assert stored.has(("a", 7, 3))
    assert not stored.has(("a", 7, 4))
    stored.add(("a", 7, 4))
    assert stored.has(("a", 7, 4))


def test_the_agent_used_longest_ago_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EPOCHS_MAX", 2)
    stored, stream = StoredReports(), object()
    stored.load("a", 1, stream, Ranges())
    stored.load("b", 1, stream, Ranges())
    assert not stored.has(("a", 1, 1))  # which uses it
    stored.load("c", 1, stream, Ranges())
    assert [name for name in "abc" if stored.is_loaded(name, 1, stream)] == ["a", "c"]


def test_who_leaves_gaps_on_purpose_is_not_kept() -> None:
    """The store knows it as well."""
    stored, stream = StoredReports(), object()
    stored.load("honest", 1, stream, Ranges())
    stored.load("hostile", 1, stream, Ranges())
    for number in range(1, module.RANGES_MAX + 1):
        stored.add(("honest", 1, number))
        stored.add(("hostile", 1, 2 * number))
    assert stored.is_loaded("hostile", 1, stream)
    stored.add(("hostile", 1, 2 * module.RANGES_MAX + 2))
    assert not stored.is_loaded("hostile", 1, stream)
    assert stored.is_loaded("honest", 1, stream)
