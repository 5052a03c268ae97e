"""Reads the file of ``gotax agent --config``. A mistake in it becomes a UserError."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gotax.cli.settings import KEYS, Setting
from gotax.errors import UserError

FILE_MAX_BYTES = 1 << 20

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
_LINE_MAX = 200  # only so many characters of a line are searched for a section or key
_SHOWN = 80
_SENTENCE_MAX = 400


class _Document:
    """The file, with the places of its keys for error messages."""

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
            raise UserError(f"{self._name} contains a number with too many digits") from error

    def place(self, section: str, key: str = "") -> str:
        """``FILE, line N: [SECTION] KEY``; without the line if it is not certain."""
        lines = self._lines.get((section, key), [])
        line = f", line {lines[0]}" if len(lines) == 1 else ""
        inside = [f"[{_cut(section)}]"] if section else []
        return f"{self._name}{line}: {' '.join([*inside, *([_cut(key)] if key else [])])}"


def _lines(text: str) -> dict[tuple[str, str], list[int]]:
    """The possible lines of each section (with the key "") and key, which tomllib does not give."""
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


def read_file(path: str, settings: tuple[Setting, ...]) -> dict[str, tuple[Any, str]]:
    """By option: the value, and the place for error messages. Raises UserError."""
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
    except (OSError, ValueError) as error:  # ValueError: not a path
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"cannot read {name}: {reason}") from error
    if len(data) > FILE_MAX_BYTES:
        raise UserError(f"{name} is larger than {FILE_MAX_BYTES} bytes: it is not a configuration")
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
        return f"{place} is not in a section: write it as {' or '.join(homes)}"
    return f"{place} is unknown{_nearest_key('', section)}"


def _nearest_key(section: str, key: str) -> str:
    """A similar key of the same section, or a very similar one of another section."""
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
    """The value, checked as for the flag. No message repeats a secret, or a text where another type
    is wanted: it may be a secret under the wrong key."""
    kind, action = setting.kind, setting.action
    wanted = (int, float) if kind is float else kind
    is_right = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
    if not is_right:
        written = _TOML_TYPES.get(type(value), "a date or a time")
        raise UserError(f"{place} has to be {_allowed(setting)}, not {written}")
    if kind is bool:
        return value
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise UserError(f"{place} has to be {_allowed(setting)}, not a number of more than 64 bits")
    text = str(value)
    if "\0" in text:
        raise UserError(f"{place} has to be text without a zero byte")
    if callable(action.type):
        try:
            value = action.type(text)
        except argparse.ArgumentTypeError as error:
            raise UserError(f"{place}: {str(error)[:_SENTENCE_MAX]}") from error
    if action.choices is not None and value not in action.choices:
        raise UserError(f"{place}: {_cut(text)!r} is not one of {', '.join(action.choices)}")
    return value


def _allowed(setting: Setting) -> str:
    """The allowed values, from the flag's own check if it has a range."""
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
    """Printable on one line."""
    return text if text.isprintable() and text else repr(text)
