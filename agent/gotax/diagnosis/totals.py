"""Adds samples up per container, by category and by function."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from gotax.category import CATEGORY_COUNT
from gotax.profile import FrameKind, FunctionShare, Int64Array, Profile, Stack, UInt8Array


def category_samples(category: UInt8Array, samples: Int64Array) -> Int64Array:
    """Samples per Category. Shapes: (n,), (n,) -> (CATEGORY_COUNT,)."""
    return np.bincount(category, weights=samples, minlength=CATEGORY_COUNT).astype(np.int64)


def top_functions(profile: Profile, rows: Int64Array, count: int) -> tuple[FunctionShare, ...]:
    """The ``count`` functions with the most cumulative samples among these rows of the profile.

    Kernel time counts for the user function that caused it. A recursive function counts once per
    stack.
    """
    flat: Counter[str] = Counter()
    cumulative: Counter[str] = Counter()
    samples_of_stack: Counter[int] = Counter()
    for stack, samples in zip(
        profile.stack[rows].tolist(), profile.samples[rows].tolist(), strict=True
    ):
        samples_of_stack[stack] += samples
    for stack, samples in samples_of_stack.items():
        names = list(_user_functions(profile.stacks[stack]))
        if names:
            flat[names[0]] += samples
        for name in set(names):
            cumulative[name] += samples
    by_weight = sorted(cumulative, key=lambda name: (-cumulative[name], -flat[name], name))
    return tuple(FunctionShare(name, flat[name], cumulative[name]) for name in by_weight[:count])


def _user_functions(stack: Stack) -> Iterable[str]:
    for location in stack:
        for frame in location.frames:
            if frame.kind is not FrameKind.KERNEL:
                yield frame.function
