"""How long reports wait for others: in a time that the test makes pass."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import pytest

pytest.importorskip(
    "gotax_collector.ingest.intake", reason="the extra [collector] is not installed"
)

from gotax_collector.ingest import intake as module
from gotax_collector.ingest.decoding import Decoder
from gotax_collector.ingest.intake import Intake, _Waiting
from gotax_collector.ingest.limits import Limits
from gotax_collector.report import Sender

from tests.stream.collecting import MemoryStore

from .hostile import honest

T = TypeVar("T")
USUAL = Limits()
REPORT = Decoder(Sender("agent", "node", "1", "6.1", "amd64")).decode(honest(1), 0, 0)


class Passing(threading.Condition):
    """Time passes when somebody waits; meanwhile so many reports come as ``coming`` says."""

    def __init__(self, coming: Iterable[int]) -> None:
        super().__init__()
        self._coming = iter(coming)
        self.intake: Intake | None = None
        self.passed_s = 0.0

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        assert self.intake
        if not predicate():
            assert timeout is not None, "waits for ever"
            self.passed_s += timeout
            come(self.intake, next(self._coming, 0))
        return predicate()


def come(intake: Intake, count: int) -> None:
    for _ in range(count):
        intake._queue.append(_Waiting(REPORT, lambda: None, 10))
        intake._bytes += 10


def gathered(coming: Iterable[int], limits: Limits = USUAL) -> tuple[int, float]:
    """(reports in a batch that began with one, seconds it waited)."""
    intake = Intake(MemoryStore(), limits)
    passing = Passing(coming)
    passing.intake, intake._changed = intake, passing
    come(intake, 1)
    return len(intake._next_batch()), passing.passed_s


def test_of_few_agents_nobody_waits_for_long() -> None:
    assert gathered([]) == (1, 0.25)


def test_what_a_spool_held_is_stored_when_no_more_comes() -> None:
    """Its agent waits for the acknowledgement before it sends more."""
    assert gathered([15]) == (16, 0.5)


def test_of_many_agents_a_batch_takes_two_seconds() -> None:
    assert gathered([4] * 100) == (33, 2.0)


def test_the_time_is_an_option() -> None:
    assert gathered([4] * 100, replace(Limits(), batch_s=1.0)) == (17, 1.0)
    assert gathered([4] * 100, replace(Limits(), batch_s=0.1)) == (5, 0.1)
    assert gathered([4] * 100, replace(Limits(), batch_s=0.0)) == (1, 0.0)


@pytest.mark.parametrize(("insert_s", "waits_s"), [(0.5, 1.5), (1.75, 0.25), (9.0, 0.0)])
def test_who_came_during_an_insert_has_waited_already(insert_s: float, waits_s: float) -> None:
    intake = Intake(MemoryStore(), USUAL)
    intake._insert_s = insert_s
    passing = Passing([4] * 100)
    passing.intake, intake._changed = intake, passing
    come(intake, 1)
    intake._next_batch()
    assert passing.passed_s == waits_s


def test_a_full_batch_waits_no_longer() -> None:
    assert gathered([4, 600, 600]) == (module.BATCH_REPORTS_MAX, 0.5)


def test_a_batch_that_fills_the_memory_waits_no_longer() -> None:
    """No further report is read until it is stored."""
    assert gathered([4] * 100, replace(Limits(), waiting_bytes=90)) == (9, 0.5)


def test_the_end_does_not_wait() -> None:
    intake = Intake(MemoryStore(), Limits())
    come(intake, 3)
    intake._is_closing = True
    passing = Passing([])
    passing.intake, intake._changed = intake, passing
    assert (len(intake._next_batch()), passing.passed_s) == (3, 0.0)
    assert (intake._next_batch(), passing.passed_s) == ([], 0.0)
