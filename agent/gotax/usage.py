"""Usage errors of the command line, for the agent's commands and the collector's."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import Any, NoReturn

EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """Errors have two lines: what is wrong, with the nearest right word, and where help is."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            vars(options).get("parser", self).refuse(rest[0])
        return options

    def refuse(self, word: str) -> NoReturn:
        """``word`` is what no part of the command accepts."""
        if word.startswith("-"):
            given = word.partition("=")[0]
            names = [name for action in self._visible() for name in action.option_strings]
            self.error(f"unknown option {given}{did_you_mean(given, names)}")
        self.error(f"unexpected argument {word!r}")

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\nTry `{self.prog} --help`.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        words = [str(choice) for choice in action.choices]
        hint = did_you_mean(str(value), words) or f": choose from {', '.join(words)}"
        if isinstance(action, argparse._SubParsersAction):
            self.error(f"unknown command {value!r}{hint}")
        raise argparse.ArgumentError(action, f"{value!r} is not known{hint}")

    def _visible(self) -> list[argparse.Action]:
        return [action for action in self._actions if action.help is not argparse.SUPPRESS]


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """A question for the nearest of the words, "" if none is near."""
    from difflib import get_close_matches  # only for an error

    near = get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]}?" if near else ""
