"""Makes untrusted text safe for a terminal, a label or a file.

Names from binaries, cgroups and processes are untrusted: they may contain terminal escape
sequences, line breaks, characters that reorder a line, lone surrogates, or a megabyte of text.
"""

from __future__ import annotations

import unicodedata

LEFT_TO_RIGHT = frozenset({"L", "EN", "ES", "ET", "CS", "WS", "ON"})
"""Bidirectional classes that cannot reorder a line. The others (R, AL, AN, embeddings, overrides,
isolates) can (UAX #9)."""


def utf8(text: str) -> str:
    """``text`` with lone surrogates (undecodable bytes of a file name) escaped as \\udcXX."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text


def bounded(text: str, length: int) -> str:
    """At most ``length`` characters that can be seen, as valid UTF-8: others are escaped as in
    Python (a label may be printed by any program). The middle of a longer text becomes "..."."""
    if len(text) <= length and text.isprintable():
        return text
    if len(text) > length:
        head = (length - 3) // 2
        text = text[:head] + "..." + text[len(text) - (length - 3 - head) :]
    return "".join(c if c.isprintable() else _spelled(c) for c in text)[:length]


def printable(text: str, unicode: bool = True) -> str:
    """One line that is safe for a terminal: any other character is escaped as in Python.

    Without ``unicode`` the result is ASCII.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if _harmless(c, unicode) else _spelled(c) for c in text)


def _harmless(character: str, unicode: bool) -> bool:
    if character.isascii():
        return character.isprintable()
    return (
        unicode
        and character.isprintable()
        and unicodedata.bidirectional(character) in LEFT_TO_RIGHT
        and not unicodedata.category(character).startswith(
            "M"
        )  # a mark combines with its neighbour
    )


def _spelled(character: str) -> str:
    if character.isascii():
        return f"\\x{ord(character):02x}"
    return character.encode("ascii", "backslashreplace").decode()


def columns(text: str) -> int:
    """Terminal columns of a ``printable`` text: wide East Asian characters and emoji take two."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def elided(text: str, width: int, mark: str) -> str:
    """``text`` in at most ``width`` columns, with ``mark`` instead of its middle.

    Both ends of a name distinguish it from similar names (``payments-api-7f9c-x2x5b``).
    """
    if columns(text) <= width:
        return text
    room = width - columns(mark)
    if room <= 0:
        return beginning(text, width)
    head = beginning(text, room // 2)
    tail = beginning(text[::-1], room - columns(head))[::-1]
    return head + mark + tail


def beginning(text: str, width: int) -> str:
    """As much of the start of ``text`` as fits in ``width`` columns."""
    taken = 0
    for i, character in enumerate(text):
        taken += columns(character)
        if taken > width:
            return text[:i]
    return text
