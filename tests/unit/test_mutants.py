"""The changes that `make mutants` tries."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.__main__ import Reach
from tests.mutants.operators import mutants


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("def f(a, b):\n    return a - b", {"a + b", "a", "None"}),
        ("def f(a, b):\n    return a < b", {"a <= b", "a >= b", "True", "False"}),
        ("def f(a, b):\n    return max(2, a)", {"2", "a", "max(3, a)", "max(1, a)", "None"}),
        ("def f(a, b):\n    return a and b", {"a", "b", "True", "False"}),
        ("def f(a, b):\n    return not a", {"a", "True", "False"}),
    ],
)
def test_returned_values_are_changed(source: str, changed: set[str]) -> None:
    """Omits a term, moves an edge, or returns a constant."""
    found = {ast.unparse(mutant.tree).split("return ")[1] for mutant in mutants(source)}
    assert found == changed


def test_numbers_and_tables_of_a_module_are_changed() -> None:
    """By a fourth, by one, by an element; the module is loaded again for these."""
    source = "RATIO = 1.5\nNAMES = {'a': 1, 'b': True}\n"
    found = list(mutants(source))
    assert not any(mutant.is_in_function for mutant in found)
    assert {mutant.name for mutant in found} == {
        "RATIO: 1.5 -> 1.875",
        "RATIO: 1.5 -> 1.2000000000000002",
        "NAMES: {'a': 1, 'b': True} -> {'b': True}",
        "NAMES: {'a': 1, 'b': True} -> {'a': 1}",
        "NAMES: 1 -> 2",
        "NAMES: 1 -> 0",
        "NAMES: True -> False",
    }


def test_types_texts_and_assertions_are_not_changed() -> None:
    """Text for people or the type checker has no effect at run time."""
    source = "def f(a: int | None = None) -> int:\n    assert a or 1\n    raise E(a)\n"
    source += "__all__ = ['f', 'E']"
    assert list(mutants(source)) == []


def test_a_mutant_has_one_change() -> None:
    """The rest of a statement with a body stays."""
    source = "class C:\n    def f(self, a):\n        if a:\n            a += 1\n        a.g()\n"
    names = {mutant.name for mutant in mutants(source)}
    assert names == {
        "C.f: if a: -> if True:",
        "C.f: if a: -> if False:",
        "C.f: a += 1 -> pass",
        "C.f: 1 -> 2",
        "C.f: 1 -> 0",
        "C.f: a.g() -> pass",
    }
    for mutant in mutants(source):
        lines = ast.unparse(mutant.tree).splitlines()
        before = ast.unparse(ast.parse(source)).splitlines()
        assert sum(old != new for old, new in zip(before, lines, strict=True)) == 1


def test_what_runs_as_a_module_is_loaded_is_tried_with_all_tests() -> None:
    """A function that the module calls survived every change: no test reaches its lines."""
    source = "N = 2\ndef f(a):\n    return a + 1\ndef g(a):\n    return a - 1\nONE = f(0)\n"
    reach = Reach(took_s={"fast": 0.1, "slow": 2.0})
    reach.lines[5].add("slow")
    found = {(m.line, reach.is_loading(m), *reach.of(m)) for m in mutants(source)}
    everything = (True, "fast", "slow")
    loaded = {(line, *everything) for line in (1, 3, 6)}
    assert found == {*loaded, (5, False, "slow")}
