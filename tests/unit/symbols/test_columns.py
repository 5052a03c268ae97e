"""Columns of stacks, compared with a loop over each."""

from __future__ import annotations

import itertools

import numpy as np
from gotax.golang import categories
from gotax.lru import LruCache
from gotax.profile import Frame, Location
from gotax.symbols.classified import (
    NOWHERE,
    UNMAPPED,
    UNREADABLE,
    ClassifiedLocation,
    classified_location,
)
from gotax.symbols.known_stacks import KnownStacks
from gotax.symbols.sequences import Sequences, cut
from hypothesis import given
from hypothesis import strategies as st


def location(code: int) -> ClassifiedLocation:
    return classified_location(Location("", "", code, (Frame(str(code)),)), (code,))


USER = location(categories.TRANSPARENT)
HELPER = location(categories.HELPER)
ROOT = location(categories.CUT_GOEXIT)
SWITCH = location(categories.CUT_MCALL)
LOCATIONS = [USER, HELPER, ROOT, SWITCH, UNMAPPED, UNREADABLE]
STACKS = st.lists(
    st.tuples(st.lists(st.integers(0, len(LOCATIONS) - 1), min_size=1, max_size=9), st.booleans()),
    min_size=1,
    max_size=9,
)


def one_by_one(stack: list[int], in_go: bool, each_once: bool) -> tuple[list[int], bool]:
    """What is left of a stack, and whether its walk broke off."""
    end = next((at for at, number in enumerate(stack) if LOCATIONS[number].is_end), None)
    kept = list(stack)
    if end is not None:
        kept = stack[: end + 1]
        for number, following in itertools.pairwise(stack[end:]):
            if LOCATIONS[number].is_root or LOCATIONS[following] in NOWHERE:
                break
            kept.append(following)
    if each_once:
        kept = [number for number, _ in itertools.groupby(kept)]
    return kept, in_go and end is None


def in_columns(stacks: list[tuple[list[int], bool]], each_once: bool) -> Sequences:
    return cut(
        np.array([number for stack, _ in stacks for number in stack], np.int64),
        np.array([len(stack) for stack, _ in stacks], np.int64),
        np.array([in_go for _, in_go in stacks], bool),
        LOCATIONS,
        each_once=each_once,
    )


@given(STACKS, st.booleans())
def test_stacks_end_where_each_of_them_ends(
    stacks: list[tuple[list[int], bool]], each_once: bool
) -> None:
    """Behind a root is nothing; behind a switch the goroutine, without leftovers."""
    found = in_columns(stacks, each_once)
    kept = [
        found.numbers[start:end].tolist()
        for start, end in zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    ]
    each = zip(kept, found.broke_off.tolist(), strict=True)
    expected = [one_by_one(stack, in_go, each_once) for stack, in_go in stacks]
    assert list(each) == expected
    # Equal stacks have equal keys, and no others.
    distinct = {(tuple(stack), broke_off) for stack, broke_off in expected}
    assert len(set(found.keys.tolist())) == len(distinct)


KEYS = st.lists(st.integers(0, 30), max_size=12, unique=True)


@given(st.lists(st.tuples(KEYS, KEYS), max_size=12))
def test_known_stacks_are_a_cache_of_two_generations(
    rounds: list[tuple[list[int], list[int]]],
) -> None:
    """What it finds was put, and what was put last is found; it holds two generations at most."""
    known = KnownStacks(12)
    every: dict[int, str] = {}
    for number, (asked, added) in enumerate(rounds):
        keys = np.array(asked, np.uint64)
        values, is_known = known.find(keys)
        for key, value, found in zip(asked, values.tolist(), is_known.tolist(), strict=True):
            assert value == (every[key] if found else None)
        new = [key for key in added if not known.find(np.array([key], np.uint64))[1].any()]
        every |= {key: f"{key} of {number}" for key in new}
        known.put(np.array(new, np.uint64), np.array([every[key] for key in new], object))
        values, is_known = known.find(np.array(new, np.uint64))
        assert is_known.all()
        assert values.tolist() == [every[key] for key in new]
        assert len(known) <= 24


def test_what_is_used_stays_known() -> None:
    """As in LruCache: a key that each round asks for outlives all that are put once."""
    known, plain = KnownStacks(4), LruCache[int, int](4)
    for number in range(40):
        for each in (0, number):
            if not known.find(np.array([each], np.uint64))[1].any():
                known.put(np.array([each], np.uint64), np.array([each], object))
            if plain.get(each) is None:
                plain.put(each, each)
    assert known.find(np.array([0, 39, 1], np.uint64))[1].tolist() == [True, True, False]
    assert known.evictions > 0
    assert [plain.get(0), plain.get(39), plain.get(1)] == [0, 39, None]
