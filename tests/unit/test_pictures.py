"""The picture of a terminal has each word in its column, with its colour."""

from __future__ import annotations

import re

import pyte

from tests.pictures import CELL, COLOURS, GROUND, LINE, drawn


def test_words_are_in_their_columns() -> None:
    screen = pyte.Screen(30, 3)
    pyte.Stream(screen).feed("\x1b[31;1mred\x1b[0m    <b>  two words\r\n\x1b[7mchosen\x1b[0m  next")
    text = drawn(screen)
    found = {
        words: (float(x), float(y), fill)
        for x, y, fill, words in re.findall(
            r'<text x="([\d.]+)" y="([\d.]+)".*? fill="(#\w+)".*?>(.*?)</text>', text
        )
    }
    usual = COLOURS["default"]
    assert found == {
        "red": (12.0, 26.0, COLOURS["red"]),
        "&lt;b&gt;": (round(12 + 7 * CELL, 6), 26.0, usual),
        "two\u00a0words": (round(12 + 12 * CELL, 6), 26.0, usual),
        "chosen": (12.0, 26.0 + LINE, GROUND),
        "next": (round(12 + 8 * CELL, 6), 26.0 + LINE, usual),
    }
    assert f'width="{6 * CELL:g}" height="{LINE}" fill="{usual}"' in text  # what is chosen
