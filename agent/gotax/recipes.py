"""Reads files of recipes: gotax's own, and one of the user."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from gotax.errors import UserError
from gotax.recipe import Knob, Recipe

FILE_MAX_BYTES = 1 << 18
RECIPES_MAX = 256
_ENTRIES_MAX, _TEXT_MAX = 64, 500
_OWN = Path(__file__).with_name("recipes.toml")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_TEXTS = ("name", "unset", "advice", "patched")
_LISTS = ("programs", "libraries", "threads", "arguments", "variables")
_SCOPES = ("process", "container")
_KEYS = (*_TEXTS, "per", "follows_limit", "knobs", *_LISTS)
_NUMBER = "{n}"


def load_recipes(path: str = "") -> tuple[Recipe, ...]:
    """Those of the user's file first, so that they count before gotax's own of the same program.

    Raises UserError with one sentence for a file that cannot be read or has a mistake.
    """
    own = parse_recipes(_OWN.read_text(), _OWN.name)
    if not path:
        return own
    users = parse_recipes(_read(path), path)
    names = {recipe.name for recipe in users}
    return (*users, *(recipe for recipe in own if recipe.name not in names))


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read the recipes of {path}: {error.strerror}") from error
    if len(data) > FILE_MAX_BYTES:
        raise UserError(f"{path} has more than {FILE_MAX_BYTES} bytes, too many for recipes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error


def parse_recipes(text: str, name: str) -> tuple[Recipe, ...]:
    """Raises UserError; ``name`` is that of the file."""
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name} is not TOML: {str(error)[:200]}") from error
    tables = content.pop("recipe", None)
    if content:
        raise UserError(f"{name}: there is no {next(iter(content))!r}; recipes are [[recipe]]")
    if not isinstance(tables, list) or not tables:
        raise UserError(f"{name} has no [[recipe]]")
    if len(tables) > RECIPES_MAX:
        raise UserError(f"{name} has more than {RECIPES_MAX} recipes")
    found: list[Recipe] = []
    for number, table in enumerate(tables, 1):
        recipe = _recipe(table, f"{name}, recipe {number}")
        if any(recipe.name == other.name for other in found):
            raise UserError(f"{name} has two recipes with the name {recipe.name!r}")
        found.append(recipe)
    return tuple(found)


def _recipe(table: Any, place: str) -> Recipe:
    if not isinstance(table, dict):
        raise UserError(f"{place} is not a table")
    if isinstance(table.get("name"), str):
        place = f"{place} ({table['name'][:60]})"
    for key in table:
        if key not in _KEYS:
            known = ", ".join(_KEYS)
            raise UserError(f"{place}: there is no key {key[:60]!r}; there are {known}")
    texts = {key: _text(table.get(key, ""), key, place) for key in _TEXTS}
    lists = {key: _list(table.get(key, []), key, place) for key in _LISTS}
    per = table.get("per", _SCOPES[0])
    if per not in _SCOPES:
        raise UserError(f'{place}: per is "process" or "container"')
    for key in ("name", "advice"):
        if not texts[key]:
            raise UserError(f"{place} needs {key}")
    if _NUMBER not in texts["advice"]:
        raise UserError(f"{place}: advice needs {_NUMBER} in the place of the number")
    if not any(lists.values()):
        raise UserError(f"{place} needs one of {', '.join(_LISTS)}, to recognise the program")
    for variable in (*lists["variables"], *([texts["patched"]] if texts["patched"] else [])):
        _require_variable(variable, place)
    follows = table.get("follows_limit", False)
    if not isinstance(follows, bool):
        raise UserError(f"{place}: follows_limit is true or false")
    return Recipe(
        name=texts["name"],
        knobs=_knobs(table.get("knobs"), place),
        advice=texts["advice"],
        unset=texts["unset"],
        patched=texts["patched"],
        is_for_all=per == "container",
        follows_limit=follows,
        **lists,
    )


def _knobs(value: Any, place: str) -> tuple[Knob, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= _ENTRIES_MAX:
        raise UserError(f'{place} needs knobs, such as [{{ variable = "OMP_NUM_THREADS" }}]')
    found = []
    for each in value:
        if not isinstance(each, dict) or not each or each.keys() - {"variable", "option"}:
            raise UserError(f"{place}: a knob has a variable, an option, or both")
        texts = {key: _text(text, key, place) for key, text in each.items()}
        if not all(texts.values()):
            raise UserError(f"{place}: a variable or an option of a knob must not be empty")
        if "variable" in texts:
            _require_variable(texts["variable"], place)
        found.append(Knob(**texts))
    return tuple(found)


def _require_variable(text: str, place: str) -> None:
    if not _VARIABLE.fullmatch(text):
        raise UserError(f"{place}: {text[:60]!r} is not the name of a variable")


def _text(value: Any, key: str, place: str) -> str:
    if not isinstance(value, str) or len(value) > _TEXT_MAX or not value.isprintable():
        raise UserError(f"{place}: {key} is not a text of one line, of at most {_TEXT_MAX} letters")
    return value


def _list(value: Any, key: str, place: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > _ENTRIES_MAX:
        raise UserError(f"{place}: {key} is not a list of at most {_ENTRIES_MAX} texts")
    found = tuple(_text(each, key, place) for each in value)
    if not all(found):
        raise UserError(f"{place}: {key} has an empty text")
    return found
