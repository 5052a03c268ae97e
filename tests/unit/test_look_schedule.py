"""The schedule of reading new processes again: only times."""

from __future__ import annotations

import math

from gotax.processes.first_look import DRAIN_FROM_S, LOOK_AT_S, YOUNG_MAX, LookSchedule

ROUNDED = 1e-6  # the sum of a time and an age may be less than that age later


def test_each_age_gives_one_look() -> None:
    """One look at each age; from one second on with a drain, and then no more."""
    young = LookSchedule()
    young.add([7], 100.0)
    seen = []
    while (now := young.next_look_s) < math.inf:
        (looked,) = young.take_due(now).items()
        assert looked == (7, now - 100.0 >= DRAIN_FROM_S)
        seen.append(round(now - 100.0, 6))
    assert tuple(seen) == LOOK_AT_S
    assert len(young) == 0


def test_a_late_look_replaces_the_missed_ones() -> None:
    """After a pause (a suspended host) no process is read several times in a row."""
    young = LookSchedule()
    young.add([7], 0.0)
    assert young.take_due(2.5) == {7: True}
    assert young.next_look_s == 4.0
    assert young.take_due(3.9) == {}
    assert young.take_due(1000.0) == {7: True}
    assert young.next_look_s == math.inf


def test_a_forgotten_process_is_not_looked_at() -> None:
    young = LookSchedule()
    young.add([7, 8], 0.0)
    young.drop([7, 9])
    assert young.take_due(0.5) == {8: False}


def test_new_processes_are_bounded() -> None:
    young = LookSchedule()
    young.add(range(10 * YOUNG_MAX), 0.0)
    assert len(young) == YOUNG_MAX


def test_looks_at_many_young_processes_come_together() -> None:
    """On a host that starts them all the time: four times a second, as each may bring a drain. Of
    one that starts again and again each age has its look."""
    young = LookSchedule()
    for number in range(YOUNG_MAX):
        young.add([number], number / 50)
    looks: list[float] = []
    seen: set[int] = set()
    while (now := young.next_look_s) < math.inf:
        looks.append(now + ROUNDED)
        seen |= young.take_due(looks[-1]).keys()
    assert len(seen) == YOUNG_MAX
    assert len(looks) <= 16 + 4 * (looks[-1] - looks[0])
    alone = LookSchedule()
    for run in range(40):
        alone.add([run], 1000.0 + run)
        assert alone.next_look_s == 1000.0 + run + LOOK_AT_S[0]
        assert alone.take_due(alone.next_look_s + ROUNDED) == {run: False}
        alone.drop([run])


def test_many_new_processes_are_drained_once_a_second() -> None:
    """The first few are drained quickly; then there is a pause of a second, until the next regular
    drain."""
    young, now = LookSchedule(), 0.0
    for _ in range(100):
        now = max(now, young.listen_at_s)
        young.announced(now)
    assert 80 < now < 100
    young.rest()
    young.announced(now)
    assert young.listen_at_s - now < 0.5
