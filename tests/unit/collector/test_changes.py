"""Which changes there are, and that like is compared with like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

pytest.importorskip("gotax_collector.query.changes", reason="[collector] is not installed")

from gotax_collector.query.changes import Found, changes_of, turns

KEY = ("shop", "Deployment", "web", "app")
FULL = 3600e9


def hours(first: int, last: int, containers: float = 1) -> dict[int, float]:
    return {hour * 3600: containers * FULL for hour in range(first, last)}


def found(durations: Mapping[str, Mapping[int, float]]) -> list[tuple[str, str, int, int, int]]:
    return [
        (turn.before, turn.after, turn.at // 3600, len(turn.first), len(turn.second))
        for turn in turns(durations)
    ]


def test_one_gives_way_to_another() -> None:
    assert found({"a": hours(0, 6), "b": hours(6, 12)}) == [("a", "b", 6, 6, 5)]


def test_a_roll_out_takes_a_few_hours() -> None:
    """It began at 6, and from 8 on most were new."""
    old = hours(0, 6, 4) | hours(6, 8, 3) | hours(8, 9, 1)
    new = hours(6, 8, 1) | hours(8, 9, 3) | hours(9, 20, 4)
    assert found({"a": old, "b": new}) == [("a", "b", 6, 6, 12)]


def test_a_roll_back_is_a_change_too() -> None:
    assert found({"a": hours(0, 6) | hours(12, 18), "b": hours(6, 12)}) == [
        ("a", "b", 6, 6, 5),
        ("b", "a", 12, 6, 5),
    ]


def test_over_a_gap() -> None:
    assert found({"a": hours(0, 6), "b": hours(78, 84)}) == [("a", "b", 78, 6, 5)]


@pytest.mark.parametrize(
    "durations",
    [
        # A part of the containers is new, and stays a part.
        {"a": hours(0, 20, 4), "b": hours(6, 20, 1)},
        # Two beside each other, now one more, now the other.
        {"a": hours(0, 6, 5) | hours(6, 20, 4), "b": hours(0, 6, 4) | hours(6, 20, 5)},
        # Two beside each other, of which one ends.
        {"a": hours(0, 6, 5), "b": hours(0, 20, 4)},
        # More containers are of the new one, none of the old one went.
        {"a": hours(0, 20, 2), "b": hours(6, 20, 8)},
        # For one hour.
        {"a": hours(0, 6) | hours(7, 12), "b": hours(6, 7)},
        # Just now.
        {"a": hours(0, 6), "b": hours(6, 7)},
        {"a": hours(0, 6)},
        {},
    ],
)
def test_nothing_gave_way(durations: dict[str, dict[int, float]]) -> None:
    assert found(durations) == []


def row(first: int, last: int, cpus: int, share: float = 0.1, **more: Any) -> dict[str, object]:
    """One variant's hours; its runtime takes ``share``, a little more every second hour."""
    count = last - first
    cpu = 10**12
    return {
        "program": "web",
        "cpus": cpus,
        "gomaxprocs": 4,
        "go": "go1.25",
        "image": "web:1",
        "at": [hour * 3600 for hour in range(first, last)],
        "cpu": [cpu] * count,
        "duration": [int(FULL)] * count,
        "runtime": [int(cpu * (share + hour % 2 / 1000)) for hour in range(first, last)],
        "samples": [more.pop("samples", 1000)] * count,
        "limit": [more.pop("limit", 1.0)] * count,
    } | more


def changes(*rows: dict[str, object]) -> Found:
    return changes_of(KEY, rows, {}, None, 50)


def test_gomaxprocs_that_follows_the_node_did_not_change() -> None:
    """The image rolls out, and by chance it reaches other nodes."""
    answer = changes(
        row(0, 10, 4, 0.05),
        row(0, 2, 192, 0.33, gomaxprocs=192),
        row(10, 12, 4, 0.05, image="web:2"),
        row(2, 12, 192, 0.33, gomaxprocs=192, image="web:2"),
    )
    assert sorted((one.cpu_count, one.what) for one in answer.rows) == [
        (4, ("image",)),
        (192, ("image",)),
    ]
    assert all(abs(one.runtime_change.change) < 0.002 for one in answer.rows)
    assert answer.uncompared == ()


def test_pods_on_other_nodes_only() -> None:
    answer = changes(row(0, 6, 4), row(6, 12, 192, 0.33, gomaxprocs=192, image="web:2"))
    assert answer.rows == ()
    (one,) = answer.uncompared
    assert (one.what, one.cpu_counts, one.reason) == (("image",), ((4,), (192,)), "other-nodes")


def test_pods_on_other_nodes_with_nothing_else_changed_say_nothing() -> None:
    assert changes(row(0, 6, 4), row(6, 12, 192, 0.33, gomaxprocs=192)) == Found((), ())


def test_a_limit_that_changed_with_it_is_told() -> None:
    (one,) = changes(row(0, 6, 8), row(6, 12, 8, gomaxprocs=2, limit=2.0)).rows
    assert one.what == ("gomaxprocs", "limit_cores")
    assert (one.before.limit_cores, one.after.limit_cores) == (1, 2)


def test_another_program_is_not_the_same_workload() -> None:
    assert changes(row(0, 6, 8), row(6, 12, 8, program="other", gomaxprocs=1)) == Found((), ())


@pytest.mark.parametrize("unknown", [{"gomaxprocs": 0}, {"go": ""}, {"image": ""}])
@pytest.mark.parametrize("place", [(0, 2), (4, 8), (10, 12)])
def test_what_is_unknown_for_a_while_did_not_change(
    unknown: dict[str, Any], place: tuple[int, int]
) -> None:
    first, last = place
    answer = changes(row(0, first, 8), row(first, last, 8, **unknown), row(last, 12, 8))
    assert answer == Found((), ())


def test_unknown_in_between_hides_no_change() -> None:
    answer = changes(row(0, 4, 8), row(4, 8, 8, gomaxprocs=0), row(8, 12, 8, gomaxprocs=1))
    assert [(one.what, one.at // 3600) for one in answer.rows] == [(("gomaxprocs",), 8)]


def test_too_few_samples_are_not_compared() -> None:
    answer = changes(row(0, 6, 8, samples=10), row(6, 12, 8, gomaxprocs=1, samples=10))
    assert answer.rows == ()
    assert [one.reason for one in answer.uncompared] == ["too-few-samples"]


def test_several_sizes_of_nodes_are_several_comparisons() -> None:
    """p is corrected for them (Holm): the smaller of two equal ones doubles."""
    alone = changes(row(0, 6, 4), row(6, 12, 4, 0.1005, image="web:2")).rows[0]
    both = changes(
        *(row(0, 6, cpus) for cpus in (4, 8)),
        *(row(6, 12, cpus, 0.1005, image="web:2") for cpus in (4, 8)),
    ).rows
    assert alone.runtime_change.p is not None
    assert [one.runtime_change.p for one in both] == [
        pytest.approx(min(1.0, 2 * alone.runtime_change.p))
    ] * 2
