from __future__ import annotations

from collections import Counter

import numpy as np
from gotax.category import CATEGORY_COUNT
from gotax.diagnosis.totals import category_samples, top_functions
from gotax.profile import Frame, FrameKind, Location, Profile, Stack
from hypothesis import given
from hypothesis import strategies as st

FRAMES = st.builds(
    Frame,
    st.sampled_from(["main.a", "main.b", "runtime.c", "runtime.d"]),
    kind=st.sampled_from([FrameKind.GO, FrameKind.GO, FrameKind.KERNEL, FrameKind.NATIVE]),
)
LOCATIONS = st.builds(
    lambda frames: Location("/app", "", 1, tuple(frames)), st.lists(FRAMES, min_size=1, max_size=3)
)
STACKS = st.lists(st.lists(LOCATIONS, max_size=4).map(tuple), min_size=1, max_size=6)


def profile(stacks: list[Stack], rows: list[tuple[int, int, int]]) -> Profile:
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Profile(
        process=np.zeros(len(rows), np.int32),
        stack=table[:, 0].astype(np.int32),
        category=table[:, 1].astype(np.uint8),
        samples=table[:, 2].astype(np.int64),
        stacks=tuple(stacks),
    )


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    stacks = draw(STACKS)
    row = st.tuples(
        st.integers(0, len(stacks) - 1),
        st.integers(0, CATEGORY_COUNT - 1),
        st.integers(1, 10**9),
    )
    return profile(stacks, draw(st.lists(row, max_size=20)))


@given(profiles())
def test_categories_add_up_to_the_samples(given_profile: Profile) -> None:
    """Each sample is in exactly one category; the sum is exact up to 10^10 samples and beyond."""
    counted = category_samples(given_profile.category, given_profile.samples)
    truth = Counter[int]()
    for category, samples in zip(
        given_profile.category.tolist(), given_profile.samples.tolist(), strict=True
    ):
        truth[category] += samples
    assert counted.shape == (CATEGORY_COUNT,)
    assert counted.tolist() == [truth[category] for category in range(CATEGORY_COUNT)]


@given(profiles(), st.integers(1, 10), st.data())
def test_functions_are_counted_flat_and_cumulative(
    given_profile: Profile, count: int, data: st.DataObject
) -> None:
    """Flat: the innermost frame outside the kernel. Cumulative: once for each sample whose stack
    has the function, however often. Kernel frames never count. Other rows are ignored."""
    chosen = data.draw(st.sets(st.integers(0, max(len(given_profile) - 1, 0))))
    rows = np.array(sorted(r for r in chosen if r < len(given_profile)), np.int64)
    flat, cumulative = Counter[str](), Counter[str]()
    for row in rows:
        samples = int(given_profile.samples[row])
        names = [
            frame.function
            for location in given_profile.stacks[int(given_profile.stack[row])]
            for frame in location.frames
            if frame.kind is not FrameKind.KERNEL
        ]
        if names:
            flat[names[0]] += samples
        cumulative.update(dict.fromkeys(names, samples))
    got = top_functions(given_profile, rows, count)
    assert len(got) == min(count, len(cumulative))
    assert [f.cumulative_samples for f in got] == sorted(cumulative.values(), reverse=True)[:count]
    for share in got:
        assert share.cumulative_samples == cumulative[share.function]
        assert share.flat_samples == flat[share.function]


@given(profiles())
def test_order_does_not_depend_on_the_order_of_rows(given_profile: Profile) -> None:
    """The same rows in another order give the same table: equal weights are sorted by name."""
    rows = np.arange(len(given_profile), dtype=np.int64)
    assert top_functions(given_profile, rows, 9) == top_functions(given_profile, rows[::-1], 9)


def test_functions_of_equal_weight_go_by_their_own_samples_and_then_by_name() -> None:
    """c calls a and b, which call nothing; z, m and x call nothing either, and have as many."""

    def stack(*names: str) -> Stack:
        return tuple(Location("/app", "", 1, (Frame(name),)) for name in names)

    stacks = [stack("z"), stack("m"), stack("x"), stack("a", "c"), stack("b", "c")]
    rows = [(0, 0, 6), (1, 0, 6), (2, 0, 6), (3, 0, 3), (4, 0, 3)]
    found = top_functions(profile(stacks, rows), np.arange(5), 9)
    assert [share.function for share in found] == ["m", "x", "z", "c", "a", "b"]
