"""``gotax agent --config FILE``: the keys of the file, and the options that result.

A key stands for a flag of the agent. Its type, its default and its check are those of the flag.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from gotax.cli.command import CommandParser
from gotax.cli.options import THRESHOLDS, node_name_of
from gotax.config import Silence
from gotax.errors import UserError
from gotax.exporters.backends import KINDS
from gotax.wire.addresses import joined

FILE_MAX_BYTES = 1 << 20

_OF_BACKENDS = ("endpoint", "header", "token_file", "user", "ca", "cert", "key")

KEYS: dict[str, dict[str, str]] = {
    "sampling": {"hz": "hz", "interval_s": "interval", "proc": "proc", "sys": "sys"},
    "kubernetes": {
        "node": "node",
        "kubelet": "kubelet",
        "kubelet_insecure": "kubelet_insecure",
    },
    "findings": {
        **{name: name for name, _, _ in THRESHOLDS},
        "settle_s": "settle",
        "silence": "silence",
    },
    "metrics": {"listen": "listen", "drop_label": "drop_label", "max_series": "max_series"},
    "log": {"level": "log_level"},
    "stream": {
        "collector": "collector",
        "name": "collector_name",
        "ca": "collector_ca",
        "cert": "collector_cert",
        "key": "collector_key",
        "token_file": "collector_token_file",
        "plaintext": "collector_plaintext",
        "spool_dir": "spool_dir",
        "spool_max_bytes": "spool_max_bytes",
        "spool_max_age_s": "spool_max_age",
    },
    **{kind.name: {key: f"{kind.name}_{key}" for key in _OF_BACKENDS} for kind in KINDS},
}
"""By section: each key, and the flag that it stands for (with _ for -)."""

_SECRET_KEYS = {"header"}
_OF_THE_FILE = {"config", "print_config"}
_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}
_TOML_TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    str: "text",
    list: "an array",
    dict: "a table",
}
_HEADER = re.compile(r"\s*\[+\s*[\"']?([^\"'\]]*?)[\"']?\s*\]")
_WORD = re.compile(r"\s*(?:\"([^\"]*)\"|'([^']*)'|([\w-]+))\s*[=.]")
_LINE_MAX = 200  # characters of a line in which a section or a key is looked for
_SHOWN = 80
_SENTENCE_MAX = 400


@dataclass(frozen=True, slots=True)
class Setting:
    """An option of the agent: its key in the file, and its flag as argparse has it."""

    section: str
    key: str
    action: argparse.Action

    @property
    def flag(self) -> str:
        return self.action.option_strings[-1]

    @property
    def kind(self) -> type:
        """bool, int, float or str: of the value in the file, or of each value of an array."""
        if self.action.nargs == 0:
            return bool
        if self.action.type is None:
            return str
        made: type = get_type_hints(self.action.type)["return"]
        return made if made in (int, float) else str

    @property
    def is_repeatable(self) -> bool:
        return isinstance(self.action.default, list)

    @property
    def is_secret(self) -> bool:
        return self.key in _SECRET_KEYS

    def default(self) -> Any:
        return list(self.action.default) if self.is_repeatable else self.action.default


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from: "default", "file" or "flag", and how a sentence names it there."""

    kind: str
    spelled: str


class _Document:
    """The file, with what a sentence about a part of it begins with."""

    def __init__(self, path: str) -> None:
        self._name = _shown(path)
        text = _read(path, self._name)
        self.content = self._parse(text)
        self._lines = _lines(text)

    def _parse(self, text: str) -> dict[str, Any]:
        import tomllib

        try:
            return tomllib.loads(text)
        except RecursionError as error:
            raise UserError(f"{self._name} is not TOML: it is nested too deeply") from error
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{self._name} is not TOML: {error}") from error
        except ValueError as error:
            raise UserError(f"{self._name} has a number of too many digits") from error

    def place(self, section: str, key: str = "") -> str:
        """``FILE, line N: [SECTION] KEY``; without the line where it is not certain."""
        lines = self._lines.get((section, key), [])
        line = f", line {lines[0]}" if len(lines) == 1 else ""
        inside = [f"[{_cut(section)}]"] if section else []
        return f"{self._name}{line}: {' '.join([*inside, *([_cut(key)] if key else [])])}"


def _lines(text: str) -> dict[tuple[str, str], list[int]]:
    """Where a section ("" as the key) or a key may stand: tomllib does not say."""
    found: dict[tuple[str, str], list[int]] = {}
    section = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := _HEADER.match(line[:_LINE_MAX]):
            section = header[1]
            found.setdefault((section, ""), []).append(number)
        elif word := _WORD.match(line[:_LINE_MAX]):
            key = word[1] or word[2] or word[3] or ""
            found.setdefault((section, key), []).append(number)
    return found


def settings_of(parser: CommandParser) -> tuple[Setting, ...]:
    options = parser.options()
    return tuple(
        Setting(section, key, options[dest])
        for section, keys in KEYS.items()
        for key, dest in keys.items()
    )


def unnamed(parser: CommandParser) -> set[str]:
    """Options that have no key, and should."""
    named = {dest for keys in KEYS.values() for dest in keys.values()}
    return parser.options().keys() - named - _OF_THE_FILE


def add_configuration(parser: CommandParser) -> None:
    """After all other flags of the command."""
    settings = settings_of(parser)
    group = parser.add_argument_group("configuration (docs/configuration.md)")
    group.add_argument("--config", metavar="FILE", help="settings in TOML; flags override them")
    group.add_argument(
        "--print-config",
        action="store_true",
        help="print the settings that hold and where each comes from, and do nothing else",
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
    """The options that were given, then the file's, then the defaults."""
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


def read_file(path: str, settings: tuple[Setting, ...]) -> dict[str, tuple[Any, str]]:
    """By the option: its value, and how a sentence names the place. Raises UserError."""
    document = _Document(path)
    known = {(setting.section, setting.key): setting for setting in settings}
    found = {}
    for section, content in document.content.items():
        if section not in KEYS:
            raise UserError(_unknown_section(document, section, content))
        if not isinstance(content, dict):
            raise UserError(f"{document.place(section)} has to be a section: write [{section}]")
        for key, value in content.items():
            setting = known.get((section, key))
            place = document.place(section, key)
            if setting is None:
                raise UserError(f"{place} is unknown{_nearest_key(section, key)}")
            found[setting.action.dest] = (_value_of(setting, value, place), place)
    return found


def _read(path: str, name: str) -> str:
    try:
        with Path(path).open("rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: no path at all
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read {name}: {reason}") from error
    if len(data) > FILE_MAX_BYTES:
        raise UserError(f"{name} is larger than {FILE_MAX_BYTES} bytes: it is no configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not TOML: it is not UTF-8 at byte {error.start}") from error


def _unknown_section(document: _Document, section: str, content: Any) -> str:
    if isinstance(content, dict):
        near = _nearest(section, KEYS) or f": sections are {', '.join(f'[{s}]' for s in KEYS)}"
        return f"{document.place(section)} is an unknown section{near}"
    place = document.place("", section)
    homes = [f"[{name}] {section}" for name, keys in KEYS.items() if section in keys]
    if homes:
        return f"{place} stands in no section: write it as {' or '.join(homes)}"
    return f"{place} is unknown{_nearest_key('', section)}"


def _nearest_key(section: str, key: str) -> str:
    """In its section; else in the others, where it has to be nearer."""
    word = key.replace("-", "_")
    if section and (near := _nearest(word, KEYS[section])):
        return near
    everywhere = {k: f"[{name}] {k}" for name, keys in reversed(KEYS.items()) for k in keys}
    if close := _close(word, everywhere, 0.8):
        return f"; did you mean {everywhere[close]}?"
    allowed = ", ".join(KEYS[section] if section else (f"[{name}]" for name in KEYS))
    return f": {f'[{section}] has' if section else 'sections are'} {allowed}"


def _nearest(word: str, known: Iterable[str]) -> str:
    close = _close(word, known, 0.6)
    return f"; did you mean {close}?" if close else ""


def _close(word: str, known: Iterable[str], cutoff: float) -> str:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word[:_SHOWN], list(known), 1, cutoff)), "")


def _value_of(setting: Setting, value: Any, place: str) -> Any:
    if not setting.is_repeatable:
        return _checked(setting, value, place)
    if not isinstance(value, list):
        raise UserError(f"{place} has to be an array of: {_allowed(setting)}")
    return [_checked(setting, item, f"{place}[{n}]") for n, item in enumerate(value)]


def _checked(setting: Setting, value: Any, place: str) -> Any:
    """As the flag takes it. No sentence repeats a text where another type is wanted, or a secret:
    it may have come to the wrong key."""
    kind, action = setting.kind, setting.action
    wanted = (int, float) if kind is float else kind
    is_right = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    if not is_right:
        written = _TOML_TYPES.get(type(value), "a date or a time")
        raise UserError(f"{place} has to be {_allowed(setting)}, not {written}")
    if kind is bool:
        return value
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise UserError(f"{place} has to be {_allowed(setting)}, not one of more than 64 bits")
    text = str(value)
    if "\0" in text:
        raise UserError(f"{place} has to be text without a zero byte")
    if callable(action.type):
        try:
            value = action.type(text)
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{place}: {str(error)[:_SENTENCE_MAX]}") from error
    if action.choices is not None and value not in action.choices:
        raise UserError(f"{place}: {_cut(text)!r} is none of {', '.join(action.choices)}")
    return value


def _allowed(setting: Setting) -> str:
    """In the words of the flag's own check, where that knows a range."""
    action = setting.action
    if setting.kind in (int, float) and callable(action.type):
        try:
            action.type("")
        except argparse.ArgumentTypeError as error:
            return str(error).removeprefix("'' is not ")
    if action.choices is not None:
        return f"one of {', '.join(action.choices)}, in quotes"
    meaning = "" if action.help is None else f" ({action.help})"
    return _KINDS[setting.kind] + meaning


def _cut(text: str) -> str:
    short = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
    return _shown(short)


def _shown(text: str) -> str:
    """On one line of a terminal or a log."""
    return text if text.isprintable() and text else repr(text)


def written(options: argparse.Namespace) -> str:
    """TOML of what holds; read again, it gives the same options, but for hidden values."""
    return "\n".join(_written_lines(options.settings, options, options.sources)) + "\n"


def _written_lines(
    settings: tuple[Setting, ...], options: argparse.Namespace, sources: Mapping[str, Source]
) -> Iterator[str]:
    yield "# The settings of `gotax agent`, and where each comes from. docs/configuration.md"
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
            # Not as a value: a name that only the environment has is a hint (options.names_of).
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
    if isinstance(value, Silence):
        cause = f"/{value.cause}" if value.cause else ""
        return _quoted(f"{value.code}{cause}@{value.pattern}")
    if isinstance(value, tuple):
        return _quoted(joined(*value))
    return _quoted(str(value))


def _is_unicode(text: str) -> bool:
    """False for a flag with other bytes: TOML has no way to write it."""
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
