"""``gotax top``: one screen."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gotax.exporters.comparison import headline
from gotax.exporters.style import (
    BOLD,
    DIM,
    Cell,
    Style,
    cores,
    dash,
    dot,
    labelled,
    painted,
    paragraph,
    shortened,
    verdict_word,
    word,
)
from gotax.exporters.terminal.check import saving_cores
from gotax.exporters.terminal.explain import render_explain
from gotax.exporters.terminal.summary import title_line, totals
from gotax.exporters.terminal.table import (
    BAR,
    COLUMNS,
    GOMAXPROCS,
    NAME,
    Column,
    Row,
    Sort,
    table_lines,
)
from gotax.exporters.terminal.tree import tree
from gotax.exporters.terminal.view import SORT_KEYS, Page, View, position, rows_of
from gotax.exporters.text import columns
from gotax.rolling import MINUTE_S, Minute
from gotax.window import ContainerReport, Window

NARROWEST = 40
"""Columns of the smallest screen. A smaller terminal cuts lines off."""
TREND_WIDTH = 12
_NARROW = 60
_REVERSE = "7"
_SGR = re.compile(r"\x1b\[[\d;]*m")
_LEVELS, _ASCII_LEVELS = "▁▂▃▄▅▆▇█", "_.-:=+*#"


@dataclass(frozen=True, slots=True)
class Drawn:
    """``bottom``: the scroll that shows the last line of the page."""

    lines: list[str]
    bottom: int = 0


def draw(view: View, minute: Minute | None, style: Style, empty: str) -> Drawn:
    """At most ``style.height`` lines. ``empty``: instead of a table without containers."""
    if view.page is Page.HELP:
        return _scrolled(view, "gotax top: keys", _help(style), style)
    if minute is None:
        text = [painted("gotax top", BOLD, style), "", *paragraph(empty, style.room, style)]
        return Drawn(text[: style.height])
    if view.page is Page.TABLE:
        return Drawn(_table(view, minute, style, empty))
    report = next((r for r in minute.window.reports if r.container.key == view.selected), None)
    if report is None:
        return _scrolled(view, "gotax top", ["This container has ended."], style)
    name = report.container.name
    if view.page is Page.PROCESSES:
        return _scrolled(view, f"processes of {name}", _processes(report, minute, style), style)
    text = render_explain(minute.explained(report), minute.window, style).split("\n")
    return _scrolled(view, f"explain {name}", text, style)


def _table(view: View, minute: Minute, style: Style, empty: str) -> list[str]:
    window = minute.window
    rows = rows_of(view, minute)
    sums = totals(window, style)
    if style.height < 20:
        sums = [sums[0].rstrip(dot(style))]
    head = [_title(window, style), *sums, ""] if style.height >= 8 else []
    foot = _foot(view, style)
    room = style.height - len(head) - 1
    if not rows:
        text = f"No container has {view.pattern!r} in its name." if view.pattern else empty
        lines = [*head, *paragraph(text, style.room, style)]
        notes = _of_others(window, style)
        return _filled([*lines, *([""] if notes else []), *notes], foot, style)
    at = position(view, rows)
    notes = _notes(rows[at], window, style) if room > 8 else []
    notes = notes[: max(0, room - 1 - min(len(rows), room // 2))]
    above = max(1, room - 1 - len(notes))  # rows that fit below the titles of the columns
    is_cut = len(rows) > above
    if is_cut:
        above = max(1, above - 1)  # the line below them says so
    first = max(0, min(at - above // 2, len(rows) - above))
    shown = rows[first : first + above]
    inner = replace(style, width=style.room - 1, narrowest=1)
    lines = table_lines(window, shown, inner, view.sort, _columns(minute, inner))
    body = [" " + lines[0]]
    for i, line in enumerate(lines[1:], first):
        body.append(_marked(line, style) if i == at else " " + line)
    if is_cut:
        last = first + len(shown)
        body.append(painted(f" {first + 1}{dash(style)}{last} of {len(rows):,}", DIM, style))
    return _filled([*head, *body, *notes], foot, style)


def _filled(lines: list[str], foot: str, style: Style) -> list[str]:
    """With the foot in the last line of the screen."""
    lines = lines[: style.height - 1]
    return [*lines, *[""] * (style.height - 1 - len(lines)), foot]


def _title(window: Window, style: Style) -> str:
    title = title_line("gotax top", window, style)
    if window.duration_s > MINUTE_S - 5:
        return title
    text = f"collecting {window.duration_s:.0f} of {MINUTE_S:.0f} s"
    return painted("gotax top", BOLD, style) + shortened(
        dot(style) + text + dot(style) + window.host, style.room - len("gotax top"), style
    )


def _marked(line: str, style: Style) -> str:
    """The selected row, over the whole width."""
    mark = "▸" if style.unicode else ">"
    if not style.colour:
        return mark + line
    # Each colour of a cell ends with a reset, which would end the reversal as well.
    inverted = line.replace("\x1b[0m", f"\x1b[0;{_REVERSE}m")
    gap = " " * max(0, style.room - 1 - columns(_SGR.sub("", line)))
    return f"\x1b[{_REVERSE}m{mark}{inverted}{gap}\x1b[0m"


def _notes(report: ContainerReport, window: Window, style: Style) -> list[str]:
    """The findings of the selected container, and changes of any."""
    verdict = verdict_word(report.verdict, report.findings)
    mark = painted(verdict.label(style)[0], verdict.paint, style)
    lines = [""]
    for finding in report.findings:
        text = f"[{finding.code}] {finding.title}"
        first, *rest = paragraph(text, style.room - 2, style)
        lines += [f"{mark} {first}", *(f"  {line}" for line in rest)]
    if not report.findings:
        lines += paragraph(verdict.sentence, style.room, style)
    lines += [headline(change, style) for change in window.changes]
    return [*lines, *_of_others(window, style)]


def _of_others(window: Window, style: Style) -> list[str]:
    """The findings of containers without a Go program, which have no row."""
    texts = [
        f"[{finding.code}] {word(report.container.name, style)} (not Go): {finding.title}"
        for report in window.others
        for finding in report.findings
    ]
    return [line for text in texts for line in paragraph(text, style.room, style)]


def _foot(view: View, style: Style) -> str:
    if view.is_typing:
        return f"/{shortened(view.pattern, style.room - 2, style)}_"
    hints = [
        f"sorted by {view.sort.value}",
        "Enter explain",
        "/ filter",
        "s sort",
        "p processes",
        "? help",
        "q quit",
    ]
    if view.pattern:
        hints[2] = f"/{word(view.pattern, style)} (Esc ends it)"
    order = (6, 5, 2, 1, 0, 3, 4)
    kept: list[int] = []
    for i in order:
        if columns("  ".join(hints[k] for k in (*kept, i))) <= style.room:
            kept.append(i)
    return painted("  ".join(hints[i] for i in sorted(kept)), DIM, style)


def _scrolled(view: View, title: str, lines: Sequence[str], style: Style) -> Drawn:
    room = max(1, style.height - 2)
    bottom = max(0, len(lines) - room)
    first = min(view.scroll, bottom)
    head = painted(shortened(title, style.room, style), BOLD, style)
    end = min(len(lines), first + room)
    foot = "Esc back"
    if bottom:
        foot += f"  up, down: lines {first + 1}{dash(style)}{end} of {len(lines):,}"
    return Drawn(_filled([head, *lines[first:end]], painted(foot, DIM, style), style), bottom)


_HELP = (
    ("up, down, PgUp, PgDn", "select a container, or scroll"),
    ("Enter", "explain the selected container: evidence and patch"),
    ("p", "its processes"),
    ("/", "show only containers with this text in their name"),
    ("Esc", "back; in the table: end the filter"),
    ("s", "next sort order"),
    *((key, f"sort by {sort.value}") for key, sort in SORT_KEYS.items()),
    ("Ctrl-Z", "suspend; the shell's fg continues"),
    ("q, Ctrl-C", "quit"),
)
_COLUMNS_HELP = (
    "CPU, shares and throttling are sums of the last minute. The verdict also uses earlier"
    " windows, back to the last change of the container. SAVES is what the remedy is predicted to"
    " save, in cores. TREND is the CPU of the last minute, relative to its highest value."
)


def _help(style: Style) -> list[str]:
    width = max(len(keys) for keys, _ in _HELP) + 2
    lines = [""]
    for keys, what in _HELP:
        lines += labelled(keys, paragraph(what, style.room - width, style), width, style)
    return [*lines, "", *paragraph(_COLUMNS_HELP, style.room, style)]


def _processes(report: ContainerReport, minute: Minute, style: Style) -> list[str]:
    """Its processes, Go or not, as a tree: below their parents, the busiest first."""
    lines = [painted(f"{'PID':>8}{'CPU':>7}{'GOMAXPROCS':>12}  COMMAND", DIM, style)]
    for branch, use in tree(minute.processes_of(report), style):
        found = use.process.gomaxprocs
        value = dash(style) if found is None else "?" if found.value is None else str(found.value)
        used = cores(minute.window.cpu_cores(use.samples))
        command = shortened(use.process.command, style.room - 29 - len(branch), style)
        lines.append(f"{use.process.pid:>8}{used:>7}{value:>12}  {branch}{command}")
    return lines


_RANKS = {
    "VERDICT": 0,
    NAME: 0,
    "CPU": 0,
    "RUNTIME": 0,
    GOMAXPROCS: 1,
    "LIMIT": 2,
    "SCHED": 5,
    "GC": 6,
    "THROTTLED": 7,
    "USER": 8,
    "GO": 9,
    "ALLOC": 10,
    "FROM": 11,
    BAR: 12,
}
_TREND_RANK, _SAVING_RANK = 3, 4


def _columns(minute: Minute, style: Style) -> list[Column]:
    """Those of ``check`` with the trend and the saving. A narrow screen shows fewer of them."""

    def trend(report: Row, _: Window, style: Style) -> Cell:
        return Cell(sparkline(minute.trend(report.container.key), style))

    found = [replace(column, rank=_RANKS[column.title]) for column in COLUMNS]
    if style.room < _NARROW:
        found[0] = replace(found[0], title=" ", cell=_mark_cell)
    at = next(i for i, column in enumerate(found) if column.title == "CPU")
    found.insert(at + 1, Column("TREND", _TREND_RANK, False, trend))
    at = next(i for i, column in enumerate(found) if column.title == "RUNTIME")
    found.insert(at + 1, Column("SAVES", _SAVING_RANK, True, _saving_cell, Sort.SAVING))
    return found


def _mark_cell(report: Row, _: Window, style: Style) -> Cell:
    verdict = verdict_word(report.verdict, report.findings)
    return Cell(verdict.label(style)[0], verdict.paint)


def _saving_cell(report: Row, _: Window, style: Style) -> Cell:
    saved = saving_cores(report)
    return Cell(cores(saved)) if saved > 0 else Cell(dash(style), DIM)


def sparkline(values: Sequence[float | None], style: Style) -> str:
    """``TREND_WIDTH`` columns, the newest value at the right; nothing where there is no value."""
    size = -(-len(values) // TREND_WIDTH) or 1
    groups = [values[max(0, end - size) : end] for end in range(len(values), 0, -size)][::-1]
    means = [_mean([value for value in group if value is not None]) for group in groups]
    highest = max((mean for mean in means if mean is not None), default=0.0)
    levels = _LEVELS if style.unicode else _ASCII_LEVELS
    text = ""
    for mean in means:
        share = (mean or 0.0) / highest if highest > 0 else 0.0
        text += " " if mean is None else levels[min(int(share * len(levels)), len(levels) - 1)]
    return text.rjust(TREND_WIDTH)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
