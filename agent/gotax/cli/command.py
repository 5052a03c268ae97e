"""A command in the parser. It loads no other command, so that a quick command starts quickly."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from gotax.usage import Parser


class CommandParser(Parser):
    """``complete`` receives the options, with None for those not given, and fills them in."""

    complete: Callable[[argparse.Namespace], argparse.Namespace] | None = None

    def options(self) -> dict[str, argparse.Action]:
        """The options by the name of their value, without --help."""
        return {
            action.dest: action
            for action in reversed(self._actions)  # if several set one value, the first one
            if action.option_strings and action.dest != "help"
        }

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        if self.complete is None:
            return super().parse_known_args(args, namespace)
        unset = argparse.Namespace(**dict.fromkeys(self.options()))
        given, rest = super().parse_known_args(args, unset)
        return self.complete(given), rest


class _OldName(argparse.Action):
    """An option under its old name: it works, and warns."""

    def __init__(self, *names: Any, new: argparse.Action, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._new = new

    def __call__(self, parser: Any, namespace: Any, values: Any, name: str | None = None) -> None:
        new = self._new.option_strings[-1]
        print(
            f"gotax: warning: {name} is now called {new}; the next release does not have the old"
            " name",
            file=sys.stderr,
        )
        self._new(parser, namespace, values, name)


def add_old_name(group: Any, name: str, new: argparse.Action) -> None:
    """The option ``new`` is also accepted as ``name``, which --help does not show."""
    group.add_argument(
        name,
        action=_OldName,
        new=new,
        dest=new.dest,
        type=new.type,
        default=new.default,
        metavar=new.metavar,
        help=argparse.SUPPRESS,
    )


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], summary: str
) -> CommandParser:
    command: CommandParser = commands.add_parser(
        name, help=summary, description=summary[0].upper() + summary[1:] + "."
    )
    command.set_defaults(run=run, parser=command)
    return command
