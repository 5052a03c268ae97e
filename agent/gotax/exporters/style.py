"""Style of terminal text: colours, marks, and the format of numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from gotax.category import Group
from gotax.exporters.text import beginning, columns, elided, printable
from gotax.findings import Finding, Severity, Verdict
from gotax.process import Origin

MIN_WIDTH = 60
MAX_TEXT = 100  # longer lines are hard to read


@dataclass(frozen=True, slots=True)
class Style:
    """What the terminal supports; the command line detects it (tty, NO_COLOR, TERM).

    ``height`` is the number of lines of a live screen, 0 for no bound. A width below ``narrowest``
    counts as ``narrowest``.
    """

    width: int = 80
    colour: bool = False
    unicode: bool = True
    height: int = 0
    narrowest: int = MIN_WIDTH

    @property
    def room(self) -> int:
        return max(self.width, self.narrowest)


EN_DASH = "\N{EN DASH}"
RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = "31", "32", "33", "34", "35", "36"
BOLD, DIM, BOLD_RED = "1", "2", "1;31"


@dataclass(frozen=True, slots=True)
class Cell:
    """Printable text with the parameters of its SGR escape sequence, "" for none.

    ``spans``: (text, parameters) of parts with different colours, which join to ``text``.
    """

    text: str
    paint: str = ""
    spans: tuple[tuple[str, str], ...] = ()

    def shown(self, style: Style) -> str:
        return "".join(painted(text, paint, style) for text, paint in self.spans) or painted(
            self.text, self.paint, style
        )


def painted(text: str, parameters: str, style: Style) -> str:
    return f"\x1b[{parameters}m{text}\x1b[0m" if style.colour and parameters and text else text


def word(text: str, style: Style) -> str:
    """Untrusted text as one printable line."""
    return printable(text, style.unicode)


def shortened(text: str, width: int, style: Style) -> str:
    return elided(word(text, style), width, ellipsis(style))


def ellipsis(style: Style) -> str:
    return "…" if style.unicode else ".."


def dash(style: Style) -> str:
    """The sign for no value."""
    return EN_DASH if style.unicode else "-"


def dot(style: Style) -> str:
    """Between the facts of one line."""
    return " · " if style.unicode else ", "


def arrow(style: Style) -> str:
    return "→" if style.unicode else "->"


@dataclass(frozen=True, slots=True)
class Word:
    """A verdict as a word for the table and as a sentence."""

    mark: str
    ascii_mark: str
    text: str
    paint: str
    sentence: str

    def label(self, style: Style) -> str:
        return f"{self.mark if style.unicode else self.ascii_mark} {self.text}"


VERDICTS = {
    Verdict.OVERSIZED: Word(
        "✗",
        "X",
        "oversized",
        BOLD_RED,
        "GOMAXPROCS is too high, and the profile shows the cost.",
    ),
    Verdict.MISMATCH: Word(
        "!",
        "!",
        "mismatch",
        YELLOW,
        "GOMAXPROCS is too high, but the cost is small or uncertain.",
    ),
    Verdict.FITS: Word("✓", "=", "fits", GREEN, "GOMAXPROCS fits the CPU limit."),
    Verdict.UNLIMITED: Word("∞", "-", "unlimited", DIM, "There is no CPU limit to compare with."),
    Verdict.TOO_FEW_SAMPLES: Word(
        "~",
        "~",
        "few samples",
        DIM,
        "GOMAXPROCS is too high, but there are too few samples to determine the cost: measure"
        " longer, or under load.",
    ),
    Verdict.UNREADABLE: Word(
        "?", "?", "unreadable", DIM, "GOMAXPROCS or the CPU limit could not be read."
    ),
}


def verdict_word(verdict: Verdict, findings: Iterable[Finding]) -> Word:
    """The verdict, which is about GOMAXPROCS; "warning" if there is one about something else."""
    others = [found for found in findings if found.severity is Severity.WARNING]
    about_gomaxprocs = VERDICTS[verdict]
    if verdict is Verdict.OVERSIZED or not others:
        return about_gomaxprocs
    bad = VERDICTS[Verdict.OVERSIZED]
    sentence = f"{others[0].title}. {about_gomaxprocs.sentence}"
    return Word(bad.mark, bad.ascii_mark, "warning", bad.paint, sentence)


ORIGINS = {
    Origin.ENVIRONMENT: "the environment variable GOMAXPROCS",
    Origin.CRIO: "CRI-O, which sets it to twice the CPU request",
    Origin.AUTOMAXPROCS: "automaxprocs",
    Origin.CALL: "a call of runtime.GOMAXPROCS in the program",
    Origin.CONTAINER: "computed by Go from the CPU limit of the cgroup",
    Origin.CPU_COUNT: "the number of CPUs, Go's default",
    Origin.FIXED: "the fixed default of Go before 1.5",
    Origin.UNKNOWN: "unknown origin",
}

SHORT_ORIGINS = {
    Origin.ENVIRONMENT: "env",
    Origin.CRIO: "CRI-O",
    Origin.AUTOMAXPROCS: "automaxprocs",
    Origin.CALL: "call",
    Origin.CONTAINER: "limit",
    Origin.CPU_COUNT: "CPU count",
    Origin.FIXED: "fixed",
    Origin.UNKNOWN: "?",
}

GROUP_PAINTS = {
    Group.SCHEDULER: RED,
    Group.GC: MAGENTA,
    Group.SERVICE: BLUE,
    Group.USER: GREEN,
    Group.NATIVE: CYAN,
    Group.UNKNOWN: DIM,
}


def percent(share: float) -> str:
    """A whole number of percent: more digits would be noise."""
    whole = round(100 * share)
    return "<1%" if share > 0 and not whole else f"{whole}%"


def cores(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:.0f}"


def seconds(value: float) -> str:
    """Two to three digits with their unit."""
    if value < 0.0005:
        return "0 s" if value <= 0 else "<1 ms"
    if value < 0.9995:
        return f"{1000 * value:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def paragraph(text: str, width: int, style: Style) -> list[str]:
    """Wraps a sentence to ``width``. A word that is too long is shortened in the middle."""
    width = min(width, MAX_TEXT)
    return _filled(((" ", shortened(part, width, style)) for part in text.split()), width)


def unabridged(text: str, width: int, style: Style) -> list[str]:
    """As ``paragraph``, but a long path continues on the next line, so that it can be copied."""
    width = min(width, MAX_TEXT)
    return _filled(
        (
            ("" if i else " ", piece)
            for part in word(text, style).split()
            for i, piece in enumerate(_pieces(part, width))
        ),
        width,
    )


def _pieces(path: str, width: int) -> Iterator[str]:
    """Splits after slashes; a step that is still too long is split anywhere."""
    for step in re.findall(r"[^/]*/|[^/]+", path) if columns(path) > width else [path]:
        while step:
            piece = beginning(step, width)
            yield piece
            step = step[len(piece) :]


def _filled(pieces: Iterable[tuple[str, str]], width: int) -> list[str]:
    """Joins (glue, piece) pairs to lines; without pieces, one empty line."""
    lines = [""]
    for glue, piece in pieces:
        longer = lines[-1] + glue + piece if lines[-1] else piece
        if columns(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(piece)
    return lines


def block(text: str, width: int, style: Style) -> list[str]:
    """Lines that fit stay unchanged (for YAML); longer ones are wrapped."""
    width = min(width, MAX_TEXT)
    lines: list[str] = []
    for line in text.split("\n"):
        shown = word(line, style).rstrip()
        lines += [shown] if columns(shown) <= width else paragraph(line, width, style)
    return lines


def labelled(label: str, lines: Iterable[str], indent: int, style: Style) -> list[str]:
    """``lines`` with a label in a column in front of them."""
    first, *rest = lines
    head = painted(f"{label:<{indent}}", DIM, style) + first
    return [head, *((" " * indent + line).rstrip() for line in rest)]


def span(length_s: float) -> str:
    """A time in its largest unit: ``40 s``, ``5 min``, ``2.5 h``."""
    if length_s < 120:
        return f"{length_s:.0f} s"
    if length_s < 7200:
        return f"{length_s / 60:.0f} min"
    return f"{length_s / 3600:.1f} h"


def padded(text: str, width: int, right: bool) -> str:
    gap = " " * (width - columns(text))
    return gap + text if right else text + gap
