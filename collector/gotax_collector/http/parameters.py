"""The parameters of a request: each has one form, and is checked before anything is asked.

``q``, ``a`` and ``b`` are terms of a selection and may come several times. Every other parameter
comes once. The API refuses a name that it does not know. A page ignores it, because links get
parameters of other programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from gotax_collector.query.selection import SelectionError

Parameters = Mapping[str, Sequence[str]]
"""As a query string has them: a name may come several times."""

LIMIT_MAX = 1000
PAGES_MAX = 1000
QUERY_MAX = 16 << 10
WORD_MAX = 64
SORTS = ("runtime", "cpu", "saving", "share", "throttled")
_TERMS = ("q", "a", "b")
_ONCE = (
    "since",
    "limit",
    "page",
    "sort",
    "by",
    "price",
    "work_before",
    "work_after",
    "word",
    "live",
)
NAMES = (*_TERMS, *_ONCE)

_WHOLE = re.compile(r"[1-9][0-9]{0,8}")
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?")


def parsed(pairs: Iterable[tuple[str, str]], is_strict: bool) -> dict[str, list[str]]:
    """Those with a value. SelectionError: too long, unknown, or given twice."""
    given = list(pairs)
    if sum(len(name) + len(value) for name, value in given) > QUERY_MAX:
        raise SelectionError(f"a query has at most {QUERY_MAX} characters")
    found: dict[str, list[str]] = {}
    for name, value in given:
        if name not in NAMES:
            if is_strict:
                raise SelectionError(
                    f"there is no parameter {name[:40]!r}: there are {', '.join(NAMES)}"
                )
            continue
        if not value:
            continue
        if name in _ONCE and name in found:
            raise SelectionError(f"{name} comes twice")
        found.setdefault(name, []).append(value)
    return found


def readable(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """What of a refused query can be shown in the form again."""
    found: dict[str, list[str]] = {}
    size = 0
    for name, value in pairs:
        size += len(value)
        if name in NAMES and value and size <= QUERY_MAX:
            found.setdefault(name, []).append(value)
    return found


def one(parameters: Parameters, name: str) -> str:
    """The value of a parameter that comes once, "" without it. SelectionError."""
    values = parameters.get(name, ())
    if len(values) > 1:
        raise SelectionError(f"{name} comes twice")
    return values[0] if values else ""


def choice(parameters: Parameters, name: str, choices: Sequence[str]) -> str:
    """The first of them is usual. SelectionError."""
    value = one(parameters, name) or choices[0]
    if value not in choices:
        raise SelectionError(f"{name} is one of {', '.join(choices)}, not {value[:40]!r}")
    return value


def limit(parameters: Parameters, usual: int) -> int:
    """SelectionError."""
    value = one(parameters, "limit") or str(usual)
    if not _WHOLE.fullmatch(value) or int(value) > LIMIT_MAX:
        raise SelectionError(f"limit is from 1 to {LIMIT_MAX}, not {value[:40]!r}")
    return int(value)


def page(parameters: Parameters) -> int:
    """From 1. SelectionError."""
    value = one(parameters, "page") or "1"
    if not _WHOLE.fullmatch(value) or int(value) > PAGES_MAX:
        raise SelectionError(f"page is from 1 to {PAGES_MAX}, not {value[:40]!r}")
    return int(value)


def number(parameters: Parameters, name: str) -> float | None:
    """Above 0, or None where it is not there. SelectionError."""
    text = one(parameters, name)
    if not text:
        return None
    value = float(text) if _DECIMAL.fullmatch(text) else 0.0
    if not 0 < value < 1e15:
        raise SelectionError(f"{name} is a number above 0, not {text[:40]!r}")
    return value


def word(parameters: Parameters) -> str:
    """Of a name. SelectionError."""
    text = one(parameters, "word")
    if not 0 < len(text) <= WORD_MAX:
        raise SelectionError(f"word has 1 to {WORD_MAX} characters")
    return text
