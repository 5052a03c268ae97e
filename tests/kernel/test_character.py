"""Categories compared with Go: its own profile, and its own measurement of GC time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import pytest
from gotax.category import Category

from tests.kernel.character import (
    KINDS,
    MARKING,
    VERSIONS,
    Account,
    Plan,
    cases,
    measure,
    table,
)

pytestmark = [pytest.mark.kernel, pytest.mark.toolchain]

BOUND = 0.03
DEVIATIONS = 4
UNCLEAR = 0.01


def check(account: Account) -> Iterator[str]:
    """The differences from Go's own measurements that are too large, allowing for chance and a busy
    machine."""
    for category in Category:
        difference = account.share(category) - account.own_share(category)
        # If a thread waits for a CPU, the profile's signal arrives together with the signal that
        # asks for preemption. The profile then shows the first instruction of its handler
        # (preemption) instead of the interrupted function.
        moved = account.waited_s / account.cpu_s
        less, more = (moved, 0.0) if category is Category.SCHED_PREEMPT else (0.0, moved)
        bound = BOUND + DEVIATIONS * account.deviation(category)
        if not -bound - less <= difference <= bound + more:
            shares = f"{account.share(category):.1%}, not {account.own_share(category):.1%}"
            yield f"{account.kind}: {category.label} {shares}"
    # Go measures marking by wall clock time, gotax by CPU time: only the former includes waiting
    # for a CPU.
    waited = account.waited_s / account.cpu_s
    for name, ours, go in account.marking():
        chance = DEVIATIONS * math.sqrt((ours + 1 / account.samples) / account.samples)
        if not go - waited - BOUND - chance <= ours <= go + BOUND + chance:
            yield f"{account.kind}: {name} {ours:.1%}, not {go:.1%}; {waited:.1%} waiting"
    # A profile has few samples here: a single one is not too much.
    if account.unclear.total() > 1 + UNCLEAR * account.samples:
        yield f"{account.kind}: {account.unclear_share:.2%} unclear: {list(cases(account))}"


def test_shares_match_the_programs_own_measurements() -> None:
    """Five programs at once with the newest release, for a few seconds: no category is
    misattributed."""
    accounts = measure(Plan(VERSIONS[-1], busy=0.3, hz=499, seconds=8.0), KINDS)
    assert [wrong for account in accounts for wrong in check(account)] == []
    by_kind = {account.kind: account for account in accounts}
    # Each program does its kind of work, so that an error would show.
    assert by_kind["allocate"].share(Category.ALLOC) > 0.15
    assert sum(ours for _, ours, _ in by_kind["allocate"].marking()) > 0.05
    assert by_kind["channels"].share(Category.CHAN) > 0.2
    assert by_kind["timers"].share(Category.TIMERS) > 0.03
    assert by_kind["compute"].share(Category.USER) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_shares_over_a_minute(version: str, kind: str) -> None:
    """At 99 Hz over 60 s, alone: within three points, and less than one sample in a hundred
    unknown."""
    (account,) = measure(Plan(version, busy=0.9, hz=99, seconds=60.0), [kind])
    print("\n".join(table([account])))
    print("\n".join(cases(account)))
    assert list(check(account)) == []
    assert account.unclear_share < UNCLEAR


def account_of(**changed: object) -> Account:
    """A program that spends a fifth of its time marking, as in its own measurements."""
    ours = Counter({Category.USER: 800, Category.GC_MARK_IDLE: 200})
    fields: dict[str, object] = {
        "version": "1.27.3",
        "kind": "x",
        "ours": ours,
        "own": ours,
        "classes": {f"gc/{name}": 2.0 * (name == "mark/idle") for name in MARKING},
        "cpu_s": 10.0,
        "waited_s": 0.0,
        "unclear": Counter(),
        "own_unclear": Counter(),
    }
    return Account(**{**fields, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, 0),
        ({"own": Counter({Category.USER: 600, Category.GC_MARK_IDLE: 400})}, 2),
        ({"classes": {f"gc/{name}": 0.5 for name in MARKING}}, 3),
        ({"classes": {f"gc/{name}": 4.0 * (name == "mark/idle") for name in MARKING}}, 2),
        (
            {
                "classes": {f"gc/{name}": 4.0 * (name == "mark/idle") for name in MARKING},
                "waited_s": 3.0,
            },
            0,
        ),
        ({"unclear": Counter({"runtime.memmove": 12})}, 1),
    ],
)
def test_a_wrong_share_is_detected(changed: dict[str, object], wrong: int) -> None:
    """Each bound can be exceeded: by the profile, by a class, by unknown stacks."""
    assert len(list(check(account_of(**changed)))) == wrong
