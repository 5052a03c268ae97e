from __future__ import annotations

from collections import OrderedDict

from gotax.lru import LruCache
from hypothesis import given
from hypothesis import strategies as st

CAPACITY = 4
STEPS = st.lists(
    st.tuples(st.sampled_from(["get", "put", "remove"]), st.integers(0, 12)), max_size=200
)


@given(STEPS)
def test_keeps_the_last_used_entries_like_a_dictionary(
    steps: list[tuple[str, int]],
) -> None:
    """It never returns an old value, holds at most twice its capacity, and still has each of the
    ``capacity`` keys that were used last, those that were removed since counted as well."""
    cache: LruCache[int, int] = LruCache(CAPACITY)
    # Least recently used first; None: removed.
    truth: OrderedDict[int, int | None] = OrderedDict()
    for serial, (verb, key) in enumerate(steps):
        if verb == "put":
            cache.put(key, serial)
            truth[key] = serial
            truth.move_to_end(key)
        elif verb == "remove":
            cache.remove(key)
            if key in truth:
                truth[key] = None
        else:
            value = cache.get(key)
            assert value is None or value == truth[key]
            if value is not None:
                truth.move_to_end(key)
        assert len(cache) <= 2 * CAPACITY
        assert len(list(cache.values())) == len(cache)
    for key in list(truth)[-CAPACITY:]:
        assert cache.get(key) == truth[key]


def test_keys_that_were_evicted_do_not_come_back_when_later_ones_are_removed() -> None:
    """Found by Hypothesis in the test above, which then was wrong."""
    cache: LruCache[int, int] = LruCache(CAPACITY)
    for key in range(2 * CAPACITY + 1):
        cache.put(key, key)
    for key in range(1, 2 * CAPACITY + 1):
        cache.remove(key)
    assert cache.get(0) is None
    assert len(cache) == 0


@given(STEPS)
def test_every_entry_is_kept_removed_or_counted_as_evicted(steps: list[tuple[str, int]]) -> None:
    """Entries put = entries kept + removed + evictions."""
    cache: LruCache[int, int] = LruCache(CAPACITY)
    put = removed = 0
    for serial, (verb, _) in enumerate(steps):
        if verb == "put":
            cache.put(serial, serial)  # a new key each time
            put += 1
        elif serial and verb == "remove":
            before = len(cache)
            cache.remove(serial - 1)
            removed += before - len(cache)
    assert put == len(cache) + removed + cache.evictions


def test_an_unknown_key_is_none() -> None:
    """A miss changes nothing."""
    cache: LruCache[str, int] = LruCache(1)
    assert cache.get("a") is None
    assert (len(cache), cache.evictions) == (0, 0)
