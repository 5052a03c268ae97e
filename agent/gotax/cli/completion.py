"""``gotax completion``: a script that completes commands, flags, choices and files in a shell."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from gotax.cli.command import add_command
from gotax.cli.output import EXIT_FINE
from gotax.extras import needed_by

SHELLS = ("bash", "zsh", "fish")
_JSON, _HTML, _TOML = (".json",), (".html", ".htm"), (".toml",)
_PROFILES = (".pb.gz", ".folded", ".json", ".svg", ".html")
_ENDINGS = {
    **{("compare", name): _JSON for name in ("before", "after")},
    ("record", "output"): _PROFILES,
    ("check", "html"): _HTML,
    ("agent", "config"): _TOML,
}
"""By command and value: files with other endings are not offered."""
_FILES, _FOLDERS = ("FILE", "binary"), ("FOLDER", "FOLDER|URL")
"""By metavar."""


def add(commands: Any) -> None:
    completion = add_command(
        commands, "completion", run, "print a script that completes gotax in a shell"
    )
    completion.add_argument("shell", choices=SHELLS, help="the shell that shall run the script")
    completion.epilog = "See docs/terminal.md for where each shell expects it."


def run(options: argparse.Namespace) -> int:
    with needed_by("`gotax completion`"):
        import shtab
    from gotax.cli import build_parser, parsers_of_collector

    parser = build_parser()
    commands = _commands(parser)
    commands.update(parsers_of_collector())
    endings = sorted(set(_ENDINGS.values()))
    for name, command in _all_commands("", parser):
        for action in command._actions:
            if complete := _complete_of(name, action, shtab):
                action.complete = complete  # type: ignore[attr-defined]
    functions = (_BASH.format(name=_function(each), endings=" ".join(each)) for each in endings)
    preamble = "".join(functions) if options.shell == "bash" else ""
    print(shtab.complete(parser, shell=options.shell, preamble=preamble))
    return EXIT_FINE


_BASH = """\
{name}() {{
  local ending
  compgen -d -S / -- "$1"
  for ending in {endings}; do compgen -f -X "!*$ending" -- "$1"; done
}}
"""


def _complete_of(command: str, action: argparse.Action, shtab: Any) -> Mapping[str, str] | None:
    """What shtab completes a value with, by shell."""
    if endings := _ENDINGS.get((command, action.dest)):
        pattern = "|".join(f"*{ending}" for ending in endings)
        suffixes = " ".join(f"__fish_complete_suffix {ending};" for ending in endings)
        return {
            "bash": _function(endings),
            "zsh": f"_files -g '({pattern})'",
            "fish": f"({suffixes})",
        }
    if action.metavar in _FOLDERS:
        return dict(shtab.DIRECTORY)
    if action.metavar in _FILES or action.dest in _FILES:
        return dict(shtab.FILE)
    return None


def _function(endings: tuple[str, ...]) -> str:
    """The name of the function of bash for files with these endings."""
    return "_gotax_files" + "".join(endings).replace(".", "_")


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found: dict[str, argparse.ArgumentParser] = action.choices
            return found
    return {}


def _all_commands(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for each, inner in _commands(parser).items():
        yield from _all_commands(each, inner)
