"""``gotax agent --config`` and ``--print-config``: the settings and their sources."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gotax.cli.command import CommandParser
from gotax.cli.options import node_name_of
from gotax.cli.settings import Setting, settings_of
from gotax.cli.settingsfile import read_file
from gotax.config import Suppression
from gotax.wire.addresses import joined


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: "default", "file" or "flag", and its name there for messages."""

    kind: str
    spelled: str


def add_configuration(parser: CommandParser) -> None:
    """Call it after all other flags of the command are added."""
    settings = settings_of(parser)
    group = parser.add_argument_group("configuration (docs/configuration.md)")
    group.add_argument(
        "--config", metavar="FILE", help="configuration file (TOML); flags override it"
    )
    group.add_argument(
        "--print-config",
        action="store_true",
        help="print the resulting settings and the source of each, then exit",
    )
    for setting in settings:
        if setting.kind is bool:  # without this, a flag could not override a file's true
            parser.add_argument(
                f"--no-{setting.flag.removeprefix('--')}",
                dest=setting.action.dest,
                action="store_const",
                const=False,
                help=argparse.SUPPRESS,
            )
    parser.complete = partial(_complete, settings)


def _complete(settings: tuple[Setting, ...], options: argparse.Namespace) -> argparse.Namespace:
    """Fills the options: first the flags given, then the file, then the defaults."""
    stated = {} if options.config is None else read_file(options.config, settings)
    sources: dict[str, Source] = {}
    for setting in settings:
        name = setting.action.dest
        if getattr(options, name) is not None:
            sources[name] = Source("flag", setting.flag)
        elif name in stated:
            value, spelled = stated[name]
            setattr(options, name, value)
            sources[name] = Source("file", spelled)
        else:
            setattr(options, name, setting.default())
            sources[name] = Source("default", setting.flag)
    options.print_config = bool(options.print_config)
    options.settings = settings
    options.sources = sources
    return options


def written(options: argparse.Namespace) -> str:
    """The resulting settings as TOML. Reading it gives the same options, except hidden values."""
    return "\n".join(_written_lines(options.settings, options, options.sources)) + "\n"


def _written_lines(
    settings: tuple[Setting, ...], options: argparse.Namespace, sources: Mapping[str, Source]
) -> Iterator[str]:
    yield "# The settings of `gotax agent` and the source of each. See docs/configuration.md"
    section = ""
    for setting in settings:
        if setting.section != section:
            section = setting.section
            yield f"\n[{section}]"
        name = setting.action.dest
        value, source = getattr(options, name), sources[name]
        origin = source.kind
        if source.kind == "file":
            origin = f"file {_ascii(options.config)}"
        if name == "node" and not value and (node := node_name_of(options)):
            # A comment, not a value: see options.names_of.
            yield f"# {setting.key} = {_quoted(node)}  # environment NODE_NAME"
        elif setting.is_secret and value:
            names = ", ".join(name for name, _ in value)
            yield f"# {setting.key}: {names}  # {origin}; the values are hidden"
        elif isinstance(value, str) and not _is_unicode(value):
            yield f"# {setting.key} is not UTF-8  # {origin}"
        elif value is None:
            yield f"# {setting.key} is not set  # {origin}"
        else:
            yield f"{setting.key} = {as_toml(value)}  # {origin}"


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(as_toml, value))}]"
    if isinstance(value, Suppression):
        cause = f"/{value.cause}" if value.cause else ""
        return _quoted(f"{value.code}{cause}@{value.pattern}")
    if isinstance(value, tuple):
        return _quoted(joined(*value))
    return _quoted(str(value))


def _is_unicode(text: str) -> bool:
    """False for a flag that is not UTF-8, which TOML cannot express."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _quoted(text: str) -> str:
    """A basic string in ASCII: a terminal gets no control characters."""
    return f'"{_ascii(text)}"'


def _ascii(text: str) -> str:
    return "".join(
        character
        if " " <= character <= "~" and character not in '"\\'
        else f"\\U{ord(character):08x}"
        if ord(character) > 0xFFFF
        else f"\\u{ord(character):04x}"
        for character in text
    )
