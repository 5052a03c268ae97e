from __future__ import annotations

from collections import Counter
from typing import Any

from gotax.page.calltree import KERNEL, OTHER, Call, CallTree
from hypothesis import given
from hypothesis import strategies as st

CATEGORIES = (("user", "user"), ("alloc", "service"))
stacks = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcd"), max_size=5).map(tuple),
        st.integers(0, 1),
        st.integers(1, 100),
        st.integers(0, 1),
    ),
    max_size=60,
)


def document_of(
    rows: list[tuple[tuple[str, ...], int, int, int]], nodes_max: int = 1000, **options: int
) -> dict[str, Any]:
    tree = CallTree(CATEGORIES, sides=2, **options)
    for names, category, time, side in rows:
        tree.add((Call(name) for name in names), category, time, side)
    return tree.document(title="t", seconds_per_unit=0.01, nodes_max=nodes_max)


def paths(document: dict[str, Any]) -> list[tuple[str, ...]]:
    """The names from the root to each node; fails if the nodes are not in preorder."""
    nodes, names = document["nodes"], document["names"]
    path: list[str] = []
    found = []
    for depth, name in zip(nodes["depth"], nodes["name"], strict=True):
        assert depth <= len(path)
        del path[depth:]
        path.append(names[name])
        found.append(tuple(path[1:]))
    return found


def times(document: dict[str, Any]) -> Counter[tuple[tuple[str, ...], int, int]]:
    own, of_node = document["own"], paths(document)
    found: Counter[tuple[tuple[str, ...], int, int]] = Counter()
    for node, category, side, time in zip(
        own["node"], own["category"], own["side"], own["time"], strict=True
    ):
        found[of_node[node], category, side] += time
    return found


@given(stacks)
def test_a_document_has_every_stack_with_its_time(
    rows: list[tuple[tuple[str, ...], int, int, int]],
) -> None:
    """Nodes are distinct, and siblings are in the order of their names."""
    document = document_of(rows)
    expected: Counter[tuple[tuple[str, ...], int, int]] = Counter()
    for names, category, time, side in rows:
        expected[names, category, side] += time
    assert times(document) == expected
    found = paths(document)
    assert len(set(found)) == len(found)
    assert found == sorted(found)
    assert document["merged"] == []


@given(stacks, st.integers(1, 30))
def test_calls_with_least_time_are_merged_and_no_time_is_lost(
    rows: list[tuple[tuple[str, ...], int, int, int]], nodes_max: int
) -> None:
    whole, document = document_of(rows), document_of(rows, nodes_max)
    flags = document["nodes"]["flags"]
    kept = [i for i, flag in enumerate(flags) if not flag & OTHER]
    assert len(kept) <= max(nodes_max, 1)
    assert len(flags) <= 2 * len(kept)  # at most one "other" below each
    for key in ("category", "side"):
        totals: list[Counter[int]] = []
        for each in (whole, document):
            sums: Counter[int] = Counter()
            for of, time in zip(each["own"][key], each["own"]["time"], strict=True):
                sums[of] += time
            totals.append(sums)
        assert totals[0] == totals[1]
    merged = dict(document["merged"])
    assert {i for i, flag in enumerate(flags) if flag & OTHER} == set(merged)
    assert len(kept) + sum(merged.values()) == len(whole["nodes"]["depth"])


def test_many_equal_stacks_are_other() -> None:
    """No frame is more worth than another, so one box stands for all of them."""
    document = document_of([((f"f{i}",), 0, 1, 1) for i in range(25_000)], 4000)
    assert paths(document) == [(), ("other",)]
    assert document["merged"] == [[1, 25_000]]


def test_a_tree_that_is_full_says_so_and_loses_no_time() -> None:
    """What would be a new call is "other", and not the time of its caller."""
    rows = [(("a", "b"), 0, 3, 1), (("a", "c", "d"), 1, 4, 1), (("a", "e"), 0, 5, 1)]
    document = document_of(rows, built_max=2)
    assert times(document) == {
        (("a", "b"), 0, 1): 3,
        (("a", "other"), 1, 1): 4,
        (("a", "other"), 0, 1): 5,
    }
    assert [size for _, size in document["merged"]] == [2]
    smaller = document_of(rows, nodes_max=3, built_max=2)
    assert paths(smaller) == [(), ("a",), ("a", "other")]
    assert sum(smaller["own"]["time"]) == 12
    assert [size for _, size in smaller["merged"]] == [3]


def test_a_call_keeps_its_first_place_and_flags() -> None:
    tree = CallTree(CATEGORIES)
    tree.add([Call("a", "a.go:3", KERNEL)], 0, 1)
    tree.add([Call("a", "a.go:9")], 0, 1)
    document = tree.document(title="t", seconds_per_unit=1.0)
    assert document["places"] == ["", "a.go:3"]
    assert (document["nodes"]["place"], document["nodes"]["flags"]) == ([0, 1], [0, KERNEL])
    assert document["own"]["time"] == [2]
