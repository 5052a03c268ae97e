"""The selection language: what it takes, what it refuses, and that nothing of it becomes SQL."""

from __future__ import annotations

import pytest
from gotax_collector.query.selection import (
    TEXT_FIELDS,
    WORD,
    Condition,
    Selection,
    SelectionError,
    exactly,
    parse_selection,
    parse_time,
    where,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000


def test_terms_in_one_text() -> None:
    found = parse_selection(['namespace=shop  workload="a \\"b\\" c"', "since=1h"], NOW)
    assert [c.values for c in found.conditions] == [("shop",), ('a "b" c',)]


def test_terms() -> None:
    found = parse_selection(["namespace=shop", "go!=go1.24*", "gomaxprocs=8..,4", "since=7d"], NOW)
    assert found.conditions == (
        Condition("namespace", ("shop",)),
        Condition("go", ("go1.24*",), negated=True),
        Condition("gomaxprocs", ("8..", "4")),
    )
    assert (found.since, found.until) == (NOW - 7 * 86_400, NOW)
    assert str(found) == "namespace=shop go!=go1.24* gomaxprocs=8..,4"


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("now", NOW),
        ("90m", NOW - 5400),
        ("2w", NOW - 14 * 86_400),
        ("2026-11-25", 1_795_564_800),
        ("2026-11-25T09:00+01:00", 1_795_593_600),
    ],
)
def test_times(text: str, time: int) -> None:
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ("workload=", "'workload=' has no value: say workload=web"),
        ("=web", "has no field: say workload=web"),
        ("gomaxprocs>8", "a field takes = or !=, such as gomaxprocs=16.."),
        ("since:7d", "such as since=7d"),
        ('"web', "has no closing quote"),
        ("x" * 600, "a word has at most 512 characters"),
        ("colour=red", "there is no field 'colour': there are namespace"),
        ("gomaxprocs=many", "is no number: say gomaxprocs=16, 16.. or 2..16"),
        ("gomaxprocs=..", "is no number"),
        ("since=yesterday", "is no time: say 90m"),
        ("until!=1h", "makes no sense"),
        ("until=2d", "since must be before until"),
        ('workload="web', "has no closing quote"),
        ('workload="\\ud800"', "or a wrong escape"),
        ("workload=" + "x" * 600, "at most 512 characters"),
        ("workload=" + "x," * 100, "at most 64 alternatives"),
    ],
)
def test_what_is_not_understood(term: str, says: str) -> None:
    with pytest.raises(SelectionError, match=says):
        parse_selection([term], NOW)


@given(st.text(min_size=1, max_size=60))
def test_no_word_becomes_sql(value: str) -> None:
    """The text of a word is the same for all, whatever is typed; the word is bound."""
    selection = Selection((Condition(WORD, (value,)),), 0, NOW)
    plain = Selection((Condition(WORD, ("x",)),), 0, NOW)
    assert where(selection, "start").text == where(plain, "start").text


def test_a_word_is_of_the_workload_in_every_table() -> None:
    selection = parse_selection(["gateway", '"a b"', "node=n1"], NOW)
    assert selection.fields == {"namespace", "kind", "workload", "node"}
    assert str(selection) == 'gateway "a b" node=n1'
    again = parse_selection([str(selection)], NOW)
    assert again == selection
    assert [c.field for c in selection.only(frozenset({"node"})).conditions] == ["node"]


@given(st.sampled_from(sorted(TEXT_FIELDS)), st.text(min_size=1, max_size=60))
def test_no_value_becomes_sql(field: str, value: str) -> None:
    """The text is made of our own words, whatever the value; the value is bound."""
    try:
        selection = parse_selection([f"{field}={value}"], NOW)
    except SelectionError:
        return
    # A blank ends the value: what follows are words.
    selection = selection.only(frozenset({field}))
    plain = where(parse_selection([f"{field}=x"], NOW), "start")
    found = where(selection, "start")
    words = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:{}()<>=. ")
    assert set(found.text) <= words
    assert found.parameters.keys() >= plain.parameters.keys()


@given(st.text(max_size=80).filter(lambda text: text.isprintable()))
def test_a_value_of_the_store_finds_itself(value: str) -> None:
    """What a page links to is exactly what was meant: stars, commas and quotes included."""
    term = str(exactly("workload", value))
    (condition,) = parse_selection([term], NOW).conditions
    assert condition.values == (value,)
    assert "LIKE" not in where(parse_selection([term], NOW), "start").text
