"""Which chains of a class map have the same codes."""

from __future__ import annotations

import numpy as np
import pytest
from gotax.golang import classmap
from hypothesis import given
from hypothesis import strategies as st

CHAINS = st.lists(st.lists(st.integers(0, 254), min_size=1, max_size=64), min_size=1, max_size=40)


def stand_ins(chains: list[list[int]]) -> list[list[int]]:
    """The codes of the chain that stands for each."""
    lengths = np.array([len(chain) for chain in chains])
    codes = np.array([code for chain in chains for code in chain], np.uint8)
    first, which = classmap._alike(codes, np.cumsum(lengths) - lengths, lengths)
    return [chains[number] for number in first[which].tolist()]


@given(CHAINS)
def test_equal_chains_stand_for_each_other(chains: list[list[int]]) -> None:
    assert stand_ins(chains) == chains


def test_each_is_there_once() -> None:
    codes = np.array([7, 7, 1, 7, 7, 1], np.uint8)
    first, which = classmap._alike(codes, np.array([0, 1, 3, 4]), np.array([1, 2, 1, 2]))
    assert len(first) == 2
    assert which[0] == which[2] != which[1] == which[3]


@pytest.mark.parametrize(
    "chains", [[[1], [2]], [[1, 2], [2, 1]], [[0], [0, 0]], [[5], [5, 5], [5]]]
)
def test_equal_sums_are_no_proof(monkeypatch: pytest.MonkeyPatch, chains: list[list[int]]) -> None:
    """A hostile file can have them: each chain then stands for itself."""
    monkeypatch.setattr(classmap, "_WEIGHTS", np.zeros(64, np.uint64))
    assert stand_ins(chains) == chains
