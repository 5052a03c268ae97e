from __future__ import annotations

import numpy as np
import pytest
from gotax.golang.stacks import (
    lost_callers,
    plausible,
    return_addresses_to_calls,
)
from gotax.profile import UInt64Array
from hypothesis import given
from hypothesis import strategies as st

CODE = st.integers(0x401000, 0x7FFF_FFFF_FFFF)
STACKS = st.lists(CODE, max_size=127)
MEMMOVE, LOAD_MEMMOVE, SPAWN, GOEXIT, SIGRETURN = 0x46A0, 0x4981, 0x4A02, 0x4690, 0x46C0


def stack(*pcs: int) -> UInt64Array:
    return np.array(pcs, np.uint64)


def lost(pcs: UInt64Array, word: int) -> bool:
    (found,) = lost_callers(pcs, np.array([len(pcs)], np.int64), stack(word)).tolist()
    return bool(found)


def test_the_caller_of_a_frameless_leaf_is_missing() -> None:
    """memmove < main.spawn.func1 was really memmove < main.loadMemmove < main.spawn.func1; arm64
    chains that end at once still give the link register."""
    assert lost(stack(MEMMOVE, SPAWN, GOEXIT), LOAD_MEMMOVE)
    assert lost(stack(MEMMOVE), SPAWN)


@pytest.mark.parametrize("word", [SPAWN, 0, 1, (1 << 64) - 1, 1 << 48])
def test_only_a_possible_caller_is_missing(word: int) -> None:
    """Not one that is included already, and not a word that is no address of code."""
    assert not lost(stack(MEMMOVE, SPAWN, GOEXIT), word)
    assert not lost(stack(), LOAD_MEMMOVE)


def test_callers_are_judged_stack_by_stack() -> None:
    """The second frame of a stack that has none is not the leaf of the next one."""
    row = stack(MEMMOVE, SPAWN, MEMMOVE, SPAWN, GOEXIT)
    lengths = np.array([1, 1, 0, 3], np.int64)
    words = stack(SPAWN, MEMMOVE, SPAWN, SPAWN)
    assert lost_callers(row, lengths, words).tolist() == [True, True, False, False]


def test_return_addresses_become_calls_but_the_leaf_does_not() -> None:
    """All but the interrupted instruction point one past the call."""
    assert return_addresses_to_calls(stack(100, 200, 300)).tolist() == [100, 199, 299]


def test_return_address_into_sigreturn_stays() -> None:
    """The kernel's signal frame returns to sigreturn's first byte; the byte before it belongs to
    another function."""
    walked = stack(100, 200, SIGRETURN, 300)
    calls = return_addresses_to_calls(walked, sigreturns=np.array([SIGRETURN], np.uint64))
    assert calls.tolist() == [100, 199, SIGRETURN, 299]
    assert return_addresses_to_calls(walked).tolist() == [100, 199, SIGRETURN - 1, 299]


@given(st.lists(STACKS, max_size=6), st.sampled_from([[], [SIGRETURN], [SIGRETURN, 300]]))
def test_stacks_are_corrected_together_as_one_by_one(
    stacks: list[list[int]], returns: list[int]
) -> None:
    """Columnar use gives the same addresses as a loop, and does not change its input."""
    sigreturns = np.array(returns, np.uint64)
    full = [s for s in stacks if s]
    row = stack(*(pc for s in full for pc in s))
    before = row.tolist()
    leaves = np.cumsum([0, *(len(s) for s in full)])[:-1].astype(np.int64)
    alone = [return_addresses_to_calls(stack(*s), sigreturns).tolist() for s in full]
    together = return_addresses_to_calls(row, sigreturns, leaves)
    assert together.tolist() == [pc for s in alone for pc in s]
    assert row.tolist() == before


def test_zero_does_not_wrap_around() -> None:
    """A zero word is not turned into the highest address."""
    assert return_addresses_to_calls(stack(100, 0, 300)).tolist() == [100, 0, 299]


def test_addresses_outside_of_code() -> None:
    """Zero, the first page, non-canonical and kernel addresses."""
    walked = stack(0x401000, 0, 0x10, 0x402000, 1 << 48, 0xFFFF_FFFF_8100_0000, (1 << 64) - 1)
    assert walked[plausible(walked)].tolist() == [0x401000, 0x402000]
    assert plausible(stack(0xFFF, 0x1000, (1 << 48) - 1)).tolist() == [False, True, True]


@pytest.mark.parametrize("address", [0xAAAA_AAAB_1234, 0xFFFF_9A00_1234, (1 << 47) + 1])
def test_programs_and_libraries_of_arm64_are_above_two_to_the_47(address: int) -> None:
    """A PIE program, a library and the lowest of these were no code, and such frames were lost."""
    assert plausible(stack(address)).all()
    assert lost(stack(address + 64, 0x401000), address)
