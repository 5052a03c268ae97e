"""The table of containers: its columns, their cells, and which columns fit.

If the width is too small, whole columns are omitted, the least important first; then names lose
their middle.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from gotax.category import Category, Group
from gotax.exporters.style import (
    BOLD,
    DIM,
    GROUP_PAINTS,
    SHORT_ORIGINS,
    VERDICTS,
    Cell,
    Style,
    arrow,
    cores,
    dash,
    ellipsis,
    percent,
    seconds,
    shortened,
    verdict_word,
    word,
)
from gotax.exporters.text import columns, elided
from gotax.findings import Verdict
from gotax.window import ContainerReport, Window

GAP = "  "
NAME_WIDTH = 16
LONG_NAME_WIDTH = 28
"""A column of any rank is omitted before a name gets shorter than the first; a column above
``DETAIL_RANK``, before a name gets shorter than the second."""
DETAIL_RANK = 2
BAR_WIDTH = 23
NAME, GOMAXPROCS, BAR = "CONTAINER", "GOMAXPROCS", ""
"""Titles of the columns that need more than the others. The title of the bars is their legend."""

Row = ContainerReport


class Sort(Enum):
    """The orders of ``gotax top``; the value is the word on the command line."""

    CPU = "cpu"
    RUNTIME = "runtime"
    THROTTLED = "throttled"
    VERDICT = "verdict"
    SAVING = "saving"
    NAME = "name"


@dataclass(frozen=True, slots=True)
class Column:
    """``rank`` 0 always stays; of the others the highest is omitted first."""

    title: str
    rank: int
    right: bool
    cell: Callable[[Row, Window, Style], Cell]
    sort: Sort | None = None


def table_lines(
    window: Window,
    reports: Sequence[Row],
    style: Style,
    sort: Sort | None = None,
    shown: Sequence[Column] | None = None,
) -> list[str]:
    """``shown``: the columns that there may be, COLUMNS by default."""
    table = COLUMNS if shown is None else shown
    name = _index(table, NAME)
    cells = [[column.cell(row, window, style) for column in table] for row in reports]
    cells = _align_gomaxprocs(cells, _index(table, GOMAXPROCS), style)
    titles = [_title(column, sort, style) for column in table]
    widths = [
        max(columns(cell.text) for cell in (titles[i], *(row[i] for row in cells)))
        for i in range(len(table))
    ]
    kept = _kept(table, widths, style.room)
    spare = style.room - sum(widths[i] + len(GAP) for i in kept if i != name) + len(GAP)
    widths[name] = min(widths[name], max(spare - len(GAP), 8))
    lines = []
    for row in (titles, *cells):
        row[name] = Cell(elided(row[name].text, widths[name], ellipsis(style)), row[name].paint)
        padded = (_padded(row[i], widths[i], table[i], style) for i in kept)
        lines.append(GAP.join(padded).rstrip())
    return lines


def _index(table: Sequence[Column], title: str) -> int:
    return next(i for i, column in enumerate(table) if column.title == title)


def _kept(table: Sequence[Column], widths: Sequence[int], room: int) -> list[int]:
    """The columns to show, in their order."""
    name = _index(table, NAME)
    kept = [i for i, column in enumerate(table) if column.rank == 0]
    used = sum(widths[i] + len(GAP) for i in kept) - widths[name] - len(GAP)
    others = (i for i in range(len(table)) if i not in kept)
    for i in sorted(others, key=lambda i: table[i].rank):
        least = LONG_NAME_WIDTH if table[i].rank > DETAIL_RANK else NAME_WIDTH
        if used + len(GAP) + widths[i] + min(widths[name], least) > room:
            break
        used += len(GAP) + widths[i]
        kept.append(i)
    return sorted(kept)


def _title(column: Column, sort: Sort | None, style: Style) -> Cell:
    if column.title == BAR:
        return _legend(style)
    if sort is None or column.sort is not sort:
        return Cell(column.title, DIM)
    mark = "▾" if style.unicode else "*"
    return Cell(mark + column.title if column.right else column.title + mark, BOLD)


def _padded(cell: Cell, width: int, column: Column, style: Style) -> str:
    gap = " " * (width - columns(cell.text))
    shown = cell.shown(style)
    return gap + shown if column.right else shown + gap


def _verdict_cell(report: Row, _: Window, style: Style) -> Cell:
    verdict = verdict_word(report.verdict, report.findings)
    return Cell(verdict.label(style), verdict.paint)


def _name_cell(report: Row, _: Window, style: Style) -> Cell:
    return Cell(word(report.container.name, style) or dash(style), BOLD)


def _go_cell(report: Row, _: Window, style: Style) -> Cell:
    build = report.main_process.build
    version = build.version.removeprefix("go") if build else ""
    return Cell(shortened(version, 12, style) or "?")


def _cpu_cell(report: Row, window: Window, _: Style) -> Cell:
    return Cell(cores(window.cores_of(report)))


def _limit_cell(report: Row, _: Window, style: Style) -> Cell:
    limit = report.limit.limit_cores
    if report.limit.problem:
        return Cell("?", DIM)
    return Cell(dash(style), DIM) if limit is None else Cell(cores(limit))


def _gomaxprocs_cell(report: Row, _: Window, style: Style) -> Cell:
    text = gomaxprocs_text(report, arrow(style))
    if report.main_process.gomaxprocs is None:
        return Cell(text, DIM)
    return Cell(text, VERDICTS[report.verdict].paint if arrow(style) in text else "")


def gomaxprocs_text(report: Row, arrow: str) -> str:
    """The value, and what fits if that is another one."""
    found = report.main_process.gomaxprocs
    if found is None:
        return "?"
    value = "?" if found.value is None else str(found.value)
    settled = report.verdict in (Verdict.FITS, Verdict.UNLIMITED)
    if settled or found.recommended in (None, found.value):
        return value
    return f"{value} {arrow} {found.recommended}"


def _align_gomaxprocs(cells: list[list[Cell]], at: int, style: Style) -> list[list[Cell]]:
    """Aligns values to the right, and the arrows after them."""
    separator = f" {arrow(style)} "
    parts = [row[at].text.partition(separator) for row in cells]
    left = max((len(value) for value, _, _ in parts), default=0)
    right = max((len(mark + fitting) for _, mark, fitting in parts), default=0)
    return [
        [
            *row[:at],
            Cell(f"{value:>{left}}{mark + fitting:<{right}}", row[at].paint),
            *row[at + 1 :],
        ]
        for row, (value, mark, fitting) in zip(cells, parts, strict=True)
    ]


def _origin_cell(report: Row, _: Window, style: Style) -> Cell:
    found = report.main_process.gomaxprocs
    return Cell(SHORT_ORIGINS[found.origin] if found else dash(style))


def _runtime_cell(report: Row, _: Window, __: Style) -> Cell:
    paint = VERDICTS[report.verdict].paint if report.verdict is Verdict.OVERSIZED else ""
    return Cell(percent(report.runtime_share), paint)


def _share_cell(*categories: Category) -> Callable[[Row, Window, Style], Cell]:
    return lambda report, _, __: Cell(percent(report.share(*categories)))


def _group_cell(group: Group) -> Callable[[Row, Window, Style], Cell]:
    return lambda report, _, __: Cell(percent(report.group_share(group)))


def _throttled_cell(report: Row, _: Window, style: Style) -> Cell:
    throttled = report.usage.throttled_ns
    if throttled is None:
        return Cell(dash(style), DIM)
    return Cell(seconds(throttled / 1e9), "" if throttled else DIM)


_BAR_PARTS = (
    ("SCHED", (Group.SCHEDULER,), "█", "#"),
    ("GC", (Group.GC,), "▓", "%"),
    ("OTHER", (Group.SERVICE,), "▒", "+"),
    ("USER", (Group.USER, Group.NATIVE, Group.UNKNOWN), "░", "."),
)


def _bar_cell(report: Row, _: Window, style: Style) -> Cell:
    shares = [report.group_share(*groups) for _, groups, _, _ in _BAR_PARTS]
    lengths = apportioned(shares, BAR_WIDTH)
    return _spans(
        ((mark if style.unicode else plain) * length, GROUP_PAINTS[groups[0]])
        for (_, groups, mark, plain), length in zip(_BAR_PARTS, lengths, strict=True)
    )


def _legend(style: Style) -> Cell:
    """The title of the bars explains their parts."""
    return _spans(
        (text, paint)
        for i, (name, groups, mark, plain) in enumerate(_BAR_PARTS)
        for text, paint in (
            ((" " if i else "") + (mark if style.unicode else plain), GROUP_PAINTS[groups[0]]),
            (name, DIM),
        )
    )


def _spans(spans: Iterable[tuple[str, str]]) -> Cell:
    parts = tuple(spans)
    return Cell("".join(text for text, _ in parts), spans=parts)


def apportioned(shares: Sequence[float], length: int) -> list[int]:
    """Divides ``length`` in proportion, by the largest remainders; all 0 if the shares are."""
    total = sum(shares)
    if total <= 0:
        return [0] * len(shares)
    exact = [share / total * length for share in shares]
    parts = [math.floor(x) for x in exact]
    for i in sorted(range(len(exact)), key=lambda i: parts[i] - exact[i])[: length - sum(parts)]:
        parts[i] += 1
    return parts


COLUMNS = (
    Column("VERDICT", 0, False, _verdict_cell, Sort.VERDICT),
    Column(NAME, 0, False, _name_cell, Sort.NAME),
    Column("GO", 5, False, _go_cell),
    Column("CPU", 0, True, _cpu_cell, Sort.CPU),
    Column("LIMIT", 0, True, _limit_cell),
    Column(GOMAXPROCS, 0, True, _gomaxprocs_cell),
    Column("FROM", 7, False, _origin_cell),
    Column("RUNTIME", 0, True, _runtime_cell, Sort.RUNTIME),
    Column("SCHED", 1, True, _group_cell(Group.SCHEDULER)),
    Column("GC", 2, True, _group_cell(Group.GC)),
    Column("ALLOC", 6, True, _share_cell(Category.ALLOC)),
    Column("USER", 4, True, _group_cell(Group.USER)),
    Column("THROTTLED", 3, True, _throttled_cell, Sort.THROTTLED),
    Column(BAR, 8, False, _bar_cell),
)
