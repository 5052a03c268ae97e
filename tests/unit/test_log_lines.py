"""The agent's log: what others answer is text in it."""

from __future__ import annotations

import logging
import sys

from gotax.cli.logs import Lines

HOSTILE = "busy\n2026-01-01 INFO all is well\r\x1b[2J\u202e"


def record(message: str, *arguments: object, error: bool = False) -> logging.LogRecord:
    information = sys.exc_info() if error else None
    return logging.LogRecord("gotax", logging.WARNING, "x", 1, message, arguments, information)


def test_an_answer_is_part_of_one_line() -> None:
    """A hostile server wrote lines of its own, and escape sequences to the terminal."""
    line = Lines("%(levelname)s %(message)s").format(record("the server says: %s", HOSTILE))
    assert line == (
        "WARNING the server says: busy\\x0a2026-01-01 INFO all is well\\x0d\\x1b[2J\\u202e"
    )


def test_a_traceback_keeps_its_lines_and_nothing_else() -> None:
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        text = Lines("%(message)s").format(record("failed", error=True))
    first, second, *_ = text.split("\n")
    assert (first, second) == ("failed", "Traceback (most recent call last):")
    assert "\x1b" not in text
    assert "\r" not in text


def test_usual_lines_are_as_they_were() -> None:
    line = Lines("%(message)s").format(record("streaming to %s, 5\N{MICRO SIGN}s", "shop"))
    assert line == "streaming to shop, 5\N{MICRO SIGN}s"
