"""The processes of a container below their parents."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gotax.exporters.style import Style
from gotax.exporters.terminal.tree import tree
from gotax.rolling import ProcessUse
from hypothesis import given
from hypothesis import strategies as st

from .windows import fitting_load

PROCESS = fitting_load().process


def uses(*pairs: tuple[int, int]) -> list[ProcessUse]:
    """(pid, parent) of each, the busiest first."""
    return [
        ProcessUse(replace(PROCESS, pid=pid, parent=parent), 100 - at)
        for at, (pid, parent) in enumerate(pairs)
    ]


def drawn(*pairs: tuple[int, int], style: Style | None = None) -> list[str]:
    return [f"{branch}{use.process.pid}" for branch, use in tree(uses(*pairs), style or Style())]


def test_children_are_below_their_parents() -> None:
    found = drawn((30, 20), (10, 1), (20, 10), (21, 10), (50, 1))
    assert found == ["10", "└ 20", "  └ 30", "└ 21", "50"]


def test_a_terminal_without_unicode() -> None:
    assert drawn((2, 1), (1, 0), style=Style(unicode=False)) == ["1", "`-2"]


@pytest.mark.parametrize("pairs", [((1, 2), (2, 1)), ((7, 7),), ((4, 9), (4, 9), (9, 4))])
def test_parents_of_pids_that_were_used_again(pairs: tuple[tuple[int, int], ...]) -> None:
    assert len(drawn(*pairs)) == len(pairs)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), max_size=20))
def test_each_process_comes_once(pairs: list[tuple[int, int]]) -> None:
    given_uses = uses(*pairs)
    found = [use for _, use in tree(given_uses, Style())]
    assert sorted(map(repr, found)) == sorted(map(repr, given_uses))


def test_a_long_line_of_children_stays_on_the_screen() -> None:
    found = drawn(*((pid, pid - 1) for pid in range(1, 40)))
    assert max(len(line) for line in found) < 20
