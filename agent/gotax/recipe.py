"""Recipes: how to recognise a program that is not Go, and the setting that sizes its threads."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

VALUE_MAX = 1_000_000
"""A larger number is no number of threads."""
NAME_MAX = 256
"""Longer names of files, and longer arguments, are not compared."""
_BEFORE, _AFTER = "\0 \t\n;=\"'", "= "
_NUMBER = re.compile(r"[=:\s\0\"']{0,4}([0-9]{1,7})(?![0-9])")


@dataclass(frozen=True, slots=True)
class Knob:
    """Where a program takes a number of threads or processes from.

    ``variable``: an environment variable. ``option``: the text before the number, in that
    variable, or on the command line if there is no variable.
    """

    variable: str = ""
    option: str = ""

    @property
    def name(self) -> str:
        """As a person writes it."""
        option = self.option.rstrip("= ")
        if self.variable and option:
            return f"{option} in {self.variable}"
        return self.variable or option

    def is_in(self, text: str) -> bool:
        """``text``: the value of the variable, or the command line, whose arguments have a NUL
        between them."""
        return not self.option or self._place(text) >= 0

    def value_in(self, text: str) -> int | None:
        """The number in such a text; None: there is none. Of a repeated option the last counts."""
        found = _NUMBER.match(text, max(self._place(text), 0) if self.option else 0)
        value = int(found[1]) if found else 0
        return value if 0 < value <= VALUE_MAX else None

    def _place(self, text: str) -> int:
        """Behind the option, -1 where there is none."""
        at = len(text)
        while (at := text.rfind(self.option, 0, at)) >= 0:
            end = at + len(self.option)
            if (at == 0 or text[at - 1] in _BEFORE) and (
                self.option[-1] in _AFTER
                or end == len(text)
                or not (text[end].isalpha() or text[end] in "-_")
            ):
                return end
            at = end - 1
        return -1


@dataclass(frozen=True, slots=True)
class Recipe:
    """A program is recognised if each of the lists that are not empty has an entry that matches.

    ``programs``: the base name of its executable. ``libraries``: that of a file that it has mapped.
    ``threads``: the name of one of its threads. ``arguments``: one of its arguments. All of these
    may have ``*`` and ``?``. ``variables``: variables of its environment, one of which is set.

    ``knobs``: the first one that is set counts. ``unset``: what the program does without any.
    ``advice``: a sentence with ``{n}`` in the place of the number. ``patched``: the variable that a
    patch may set, "" if a patch cannot make the change. ``is_for_all``: the number is that of all
    processes together, as of workers; else that of each process. ``follows_limit``: without the
    setting, recent versions of the program follow the CPU limit.
    """

    name: str
    knobs: tuple[Knob, ...]
    advice: str
    unset: str = ""
    patched: str = ""
    is_for_all: bool = False
    follows_limit: bool = False
    programs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    threads: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()

    @property
    def asked(self) -> frozenset[str]:
        """The variables of the environment that it needs."""
        return frozenset((*self.variables, *(knob.variable for knob in self.knobs))) - {""}

    @property
    def reads_arguments(self) -> bool:
        return bool(self.arguments) or any(not knob.variable for knob in self.knobs)


@dataclass(frozen=True, slots=True)
class KnobState:
    """What a program has of one recipe. ``recipe`` is its place in the list that was asked about.

    ``knob``: the place of the knob that is set, -1 for none. ``value``: its number, -1 for one that
    is set to something else.
    """

    recipe: int
    knob: int = -1
    value: int = -1


@dataclass(frozen=True, slots=True)
class Recognition:
    """The recipes that fit one program. ``unread``: why its environment, its arguments or its
    libraries could not be read, "" if they could."""

    found: tuple[KnobState, ...] = ()
    unread: str = ""


@dataclass(frozen=True, slots=True)
class Traits:
    """What recipes look at in one process; None for what could not be read.

    ``environment``: only the variables that recipes ask for.
    """

    libraries: frozenset[str] | None = frozenset()
    arguments: tuple[str, ...] | None = ()
    environment: dict[str, str] | None = None


def any_matches(patterns: Iterable[str], names: Iterable[str]) -> bool:
    """Whether one of the names has the form of one of the patterns. No patterns ask for nothing."""
    wanted = tuple(patterns)
    return not wanted or any(
        fnmatchcase(name, pattern) for name in names if len(name) <= NAME_MAX for pattern in wanted
    )


def recognise(recipes: Iterable[Recipe], traits: Traits) -> tuple[KnobState, ...]:
    """The recipes that fit, in their order."""
    found = []
    for number, recipe in enumerate(recipes):
        environment = traits.environment or {}
        fits = (
            any_matches(recipe.libraries, traits.libraries or ())
            and any_matches(recipe.arguments, traits.arguments or ())
            and (not recipe.variables or any(name in environment for name in recipe.variables))
        )
        if fits:
            found.append(_state(number, recipe, traits.arguments or (), environment))
    return tuple(found)


def _state(
    number: int, recipe: Recipe, arguments: tuple[str, ...], environment: dict[str, str]
) -> KnobState:
    for place, knob in enumerate(recipe.knobs):
        text = environment.get(knob.variable) if knob.variable else "\0".join(arguments)
        if text is None or not knob.is_in(text):
            continue
        value = knob.value_in(text)
        return KnobState(number, place, -1 if value is None else value)
    return KnobState(number)
