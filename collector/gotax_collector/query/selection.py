"""Which windows a question is about: ``namespace=shop workload=web gomaxprocs=8..192 since=7d``.

A term is a plain word, FIELD=VALUE or FIELD!=VALUE. A word is looked for in the workload's name
with its namespace or kind before it, and small and capital letters are the same: ``gateway`` finds
``gateway.service``, ``shop/web`` finds ``shop/webhook``. A value may have alternatives
(``go=go1.24.1,go1.25.0``) and ``*`` for any text; in double quotes it is taken as it is, with
JSON's escapes. ``gomaxprocs`` and ``cpus`` take numbers and ranges (``16..``). Terms go together
with "and".

Values are untrusted. They become bound parameters, never SQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gotax_collector.errors import CollectorError

TEXT_FIELDS = {
    "namespace": "namespace",
    "kind": "kind",
    "workload": "workload",
    "container": "container",
    "program": "program",
    "node": "node",
    "image": "image",
    "go": "go",
    "pod": "pod",
    "verdict": "verdict",
}
NUMBER_FIELDS = {"gomaxprocs": "gomaxprocs", "cpus": "cpu_count"}
FINDING, CAUSE = "finding", "cause"
FIELDS = (*TEXT_FIELDS, *NUMBER_FIELDS, FINDING, CAUSE)
WORD = "word"
_WORD_FIELDS = frozenset({"namespace", "kind", "workload"})
DEFAULT_SINCE_S = 86_400
TERMS_MAX, VALUES_MAX, VALUE_CHARACTERS_MAX = 32, 64, 512
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_TIME_MAX = (1 << 32) - 1  # of a DateTime


class SelectionError(CollectorError):
    """A term is not understood. The text is one sentence that says what would be."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One of ``values`` holds, or none of them where ``negated``; ``exact``: ``*`` is a star.

    ``field`` is WORD for a plain word. ``keys``: the workloads that it comes to (``key_of``).
    """

    field: str
    values: tuple[str, ...]
    negated: bool = False
    exact: bool = False
    keys: tuple[str, ...] | None = None

    @property
    def fields(self) -> frozenset[str]:
        """What a table must know to answer it."""
        if self.field == WORD or self.keys is not None:
            return _WORD_FIELDS
        return frozenset({self.field})

    def __str__(self) -> str:
        text = json.dumps(self.values[0]) if self.exact else ",".join(self.values)
        if self.field == WORD:
            return text
        return f"{self.field}{'!=' if self.negated else '='}{text}"


def key_of(namespace: str, kind: str, workload: str) -> str:
    """No name has a line end."""
    return "\n".join((namespace, kind, workload))


def exactly(field: str, value: str) -> Condition:
    """For a value that came from the store."""
    plain = re.fullmatch(r"[A-Za-z0-9_.:@-]+", value) is not None
    return Condition(field, (value,), exact=not plain)


@dataclass(frozen=True, slots=True)
class Selection:
    """``since`` (inclusive) and ``until`` (exclusive) are Unix seconds."""

    conditions: tuple[Condition, ...]
    since: int
    until: int

    @property
    def fields(self) -> frozenset[str]:
        return frozenset().union(*(condition.fields for condition in self.conditions))

    def __str__(self) -> str:
        return " ".join(str(condition) for condition in self.conditions)

    def only(self, fields: frozenset[str]) -> Selection:
        """What it says of these fields."""
        kept = tuple(c for c in self.conditions if c.fields <= fields)
        return Selection(kept, self.since, self.until)

    def with_(self, *conditions: Condition) -> Selection:
        return Selection((*self.conditions, *conditions), self.since, self.until)


def parse_selection(terms: Sequence[str], now: int) -> Selection:
    """``now`` in Unix seconds; several terms may come as one text, with blanks between.

    Without a time it is the last day. SelectionError.
    """
    terms = [term for text in terms for term in split_terms(text)]
    if len(terms) > TERMS_MAX:
        raise SelectionError(f"a selection has at most {TERMS_MAX} terms")
    conditions: list[Condition] = []
    since, until = now - DEFAULT_SINCE_S, now
    for term in terms:
        name, negated, value = _split(term)
        if name == WORD:
            conditions.append(_word(value))
        elif name in ("since", "until"):
            if negated:
                raise SelectionError(f"{name}!= makes no sense: say {name}=24h")
            time = parse_time(value, now)
            since, until = (time, until) if name == "since" else (since, time)
        else:
            conditions.append(_condition(name, negated, value))
    if since >= until:
        raise SelectionError("since must be before until")
    return Selection(tuple(conditions), since, until)


def split_terms(text: str) -> list[str]:
    """At blanks, but not within double quotes."""
    return re.findall(r'(?:[^\s"]|"(?:[^"\\]|\\.)*"?)+', text, re.S)


def parse_time(text: str, now: int) -> int:
    """``24h`` ago, ``now``, or a date and time of ISO 8601 (UTC unless it says). SelectionError."""
    if text == "now":
        return now
    if found := re.fullmatch(r"([0-9]{1,9})([smhdw])", text):
        return max(0, now - int(found[1]) * _UNITS[found[2]])
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        return max(0, min(int(time.timestamp()), _TIME_MAX))
    except (ValueError, OverflowError):
        raise SelectionError(
            f"{text[:40]!r} is no time: say 90m, 24h, 7d, now, or 2026-11-25T09:00"
        ) from None


def _split(term: str) -> tuple[str, bool, str]:
    """(field, is it negated, value); the field of a plain word is WORD."""
    found = re.fullmatch(r"([A-Za-z_]*)(!?=)(.*)", term, re.S)
    if not found:
        if other := re.match(rf"({'|'.join((*FIELDS, 'since', 'until'))})([<>:~]=?|!)", term):
            example = (
                "16.." if other[1] in NUMBER_FIELDS else "7d" if other[1] == "since" else "web"
            )
            raise SelectionError(
                f"{term[:60]!r} is not understood: a field takes = or !=, such as"
                f" {other[1]}={example}"
            )
        return WORD, False, term
    if not found[1]:
        raise SelectionError(f"{term[:60]!r} has no field: say workload=web")
    if not found[3]:
        raise SelectionError(f"{term[:60]!r} has no value: say workload=web or since=7d")
    return found[1].lower(), found[2] == "!=", found[3]


def _word(text: str) -> Condition:
    if len(text) > VALUE_CHARACTERS_MAX:
        raise SelectionError(f"a word has at most {VALUE_CHARACTERS_MAX} characters")
    if text.startswith('"'):
        return Condition(WORD, (_quoted("", text),), exact=True)
    return Condition(WORD, (text,))


def _condition(name: str, negated: bool, value: str) -> Condition:
    if name not in FIELDS:
        known = ", ".join((*FIELDS, "since", "until"))
        raise SelectionError(f"there is no field {name[:40]!r}: there are {known}")
    if len(value) > VALUE_CHARACTERS_MAX:
        raise SelectionError(f"a value has at most {VALUE_CHARACTERS_MAX} characters")
    if value.startswith('"') and name in TEXT_FIELDS:
        return Condition(name, (_quoted(name, value),), negated, exact=True)
    values = tuple(value.split(","))
    if len(values) > VALUES_MAX:
        raise SelectionError(f"{name} has at most {VALUES_MAX} alternatives")
    if name in NUMBER_FIELDS:
        for one in values:
            _range(name, one)
    return Condition(name, values, negated)


def _quoted(name: str, value: str) -> str:
    try:
        text = json.loads(value)
        text.encode()
    except (ValueError, AttributeError):
        term = f"{name}={value[:40]}" if name else value[:40]
        raise SelectionError(f"{term!r} has no closing quote, or a wrong escape") from None
    return str(text)


def _range(name: str, text: str) -> tuple[int, int]:
    """(least, most)."""
    found = re.fullmatch(r"([0-9]{0,9})(\.\.)?([0-9]{0,9})", text)
    if not found or not (found[1] or found[3]) or bool(found[3]) > bool(found[2]):
        term = f"{name}={text[:40]}"
        raise SelectionError(f"{term!r} is no number: say {name}=16, 16.. or 2..16")
    least = int(found[1] or 0)
    most = int(found[3] or _TIME_MAX) if found[2] else least
    return least, most


@dataclass(frozen=True, slots=True)
class Where:
    """``text`` is SQL without user input. All user input is in ``parameters``."""

    text: str
    parameters: Mapping[str, Any]


def where(selection: Selection, time: str, prefix: str = "") -> Where:
    """``time`` is the table's column of time. ``prefix`` keeps parameters of two selections apart.

    A column ``hour`` is taken with its whole hour, and a column ``day`` with its whole day (UTC).
    """
    if time == "day":
        bounds = selection.since // 86_400, selection.until // 86_400
        days: dict[str, Any] = dict(zip((f"{prefix}since", f"{prefix}until"), bounds, strict=True))
        text = f"day >= toDate({{{prefix}since:UInt16}}) AND day < toDate({{{prefix}until:UInt16}})"
        of_days = list(_conditions(selection.conditions, prefix, days))
        return Where(" AND ".join((text, *of_days)), days)
    since = selection.since // 3600 * 3600 if time == "hour" else selection.since
    parameters: dict[str, Any] = {f"{prefix}since": since, f"{prefix}until": selection.until}
    parts = [
        f"{time} >= toDateTime({{{prefix}since:UInt32}})",
        f"{time} < toDateTime({{{prefix}until:UInt32}})",
    ]
    codes = "findings" if time == "hour" else "finding"
    conditions = _conditions(selection.conditions, prefix, parameters, codes)
    return Where(" AND ".join((*parts, *conditions)), parameters)


def conditions_only(selection: Selection, prefix: str = "") -> Where:
    """Of a table without time."""
    parameters: dict[str, Any] = {}
    parts = list(_conditions(selection.conditions, prefix, parameters))
    return Where(" AND ".join(parts) or "1", parameters)


def _conditions(
    conditions: Sequence[Condition],
    prefix: str,
    parameters: dict[str, Any],
    codes: str = "finding",
) -> Iterator[str]:
    """``codes`` is the column of the findings."""
    for index, condition in enumerate(conditions):
        names = _Names(f"{prefix}c{index}_", parameters)
        if condition.keys is not None:
            bound_keys = names.bind(list(condition.keys), "Array(String)")
            key = "concat(namespace, '\\n', kind, '\\n', workload)"
            alternatives = [f"{key} IN {bound_keys}"]
        elif condition.field == WORD:
            alternatives = list(_of_word(condition, names))
        elif condition.field == FINDING:
            bound = [names.bind(value, "String") for value in condition.values]
            alternatives = [f"has({codes}, {name})" for name in bound]
        elif condition.exact:
            column = TEXT_FIELDS[condition.field]
            alternatives = [f"{column} = {names.bind(condition.values[0], 'String')}"]
        else:
            alternatives = [_alternative(condition.field, v, names) for v in condition.values]
        text = f"({' OR '.join(alternatives)})"
        yield f"NOT {text}" if condition.negated else text


class _Names:
    """Gives each value a parameter of its own."""

    def __init__(self, prefix: str, parameters: dict[str, Any]) -> None:
        self._prefix, self._parameters, self._count = prefix, parameters, 0

    def bind(self, value: Any, type_: str) -> str:
        name = f"{self._prefix}{self._count}"
        self._count += 1
        self._parameters[name] = value
        return f"{{{name}:{type_}}}"


def _alternative(field: str, value: str, names: _Names) -> str:
    if field in NUMBER_FIELDS:
        least, most = _range(field, value)
        bounds = names.bind(least, "UInt32"), names.bind(most, "UInt32")
        return f"{NUMBER_FIELDS[field]} BETWEEN {bounds[0]} AND {bounds[1]}"
    column = TEXT_FIELDS[field]
    if field == "workload" and "/" in value and value.split("/", 1)[0].isalpha():
        # Deployment/web; or the program github.com/x/y, whose first part has a dot.
        kind, name = value.split("/", 1)
        return f"({_text('kind', kind, names)} AND {_text(column, name, names)})"
    return _text(column, value, names)


def _of_word(condition: Condition, names: _Names) -> Iterator[str]:
    pattern = _escaped(condition.values[0])
    if not condition.exact:
        pattern = pattern.replace("*", "%")
    bound = names.bind(f"%{pattern}%", "String")
    for before in ("namespace", "kind"):
        yield f"concat({before}, '/', workload) ILIKE {bound}"


def _text(column: str, value: str, names: _Names) -> str:
    if "*" not in value:
        return f"{column} = {names.bind(value, 'String')}"
    pattern = _escaped(value).replace("*", "%")
    return f"{column} LIKE {names.bind(pattern, 'String')}"


def _escaped(text: str) -> str:
    """For LIKE, whose ``%`` and ``_`` are any text and any character."""
    return re.sub(r"([\\%_])", r"\\\1", text)
