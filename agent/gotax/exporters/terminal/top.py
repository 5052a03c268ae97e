"""``gotax top``: one screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gotax.exporters.comparison import headline
from gotax.exporters.style import DIM, VERDICTS, Style, dash, painted, plural, shortened
from gotax.exporters.terminal.summary import title_line, totals
from gotax.exporters.terminal.table import Sort, table_lines
from gotax.findings import Verdict
from gotax.window import ContainerReport, Window


def render_top(window: Window, style: Style, sort: Sort | str = Sort.CPU) -> str:
    """One screen of at most ``style.height`` lines. ValueError if ``sort`` is no Sort."""
    sort = Sort(sort)
    reports = sorted_reports(window.reports, sort)
    head = [title_line("gotax top", window, style), ""]
    foot = ["", *totals(window, style)]
    room = style.height - len(head) - len(foot) - 1 if style.height else len(reports)
    if room < 3:  # a screen of so few lines shows only the table
        head, foot, room = [], [], style.height - 1
    shown = reports if len(reports) <= room else reports[: max(room - 1, 0)]
    lines = list(head)
    if reports:
        lines += table_lines(window, shown, style, sort)
        if len(shown) < len(reports):
            rest = plural(len(reports) - len(shown), "more container")
            lines.append(painted(f"{dash(style)} {rest}", DIM, style))
        lines += _titles_of_findings(shown, room - len(shown) - 1, style)
        left = room - (len(lines) - len(head)) if style.height else len(window.changes)
        lines += [headline(change, style) for change in window.changes[: max(left, 0)]]
    else:
        lines.append(f"No Go program was on a CPU in these {window.duration_s:.1f} s.")
    lines += foot
    return "\n".join(lines[: style.height] if style.height else lines)


def sorted_reports(reports: Iterable[ContainerReport], sort: Sort) -> list[ContainerReport]:
    order = list(Verdict)
    keys: dict[Sort, Callable[[ContainerReport], tuple[float | str, ...]]] = {
        Sort.CPU: lambda r: (-r.samples,),
        Sort.RUNTIME: lambda r: (-r.runtime_share, -r.samples),
        Sort.THROTTLED: lambda r: (-(r.usage.throttled_ns or 0), -r.samples),
        Sort.VERDICT: lambda r: (order.index(r.verdict), -r.samples),
        Sort.NAME: lambda r: (r.container.name, r.container.key),
    }
    return sorted(reports, key=keys[sort])


def _titles_of_findings(reports: Sequence[ContainerReport], room: int, style: Style) -> list[str]:
    """One line per finding while there is room, after an empty line."""
    lines = []
    for report in reports:
        for finding in report.findings:
            verdict = VERDICTS[report.verdict]
            text = f"{report.container.name}: {finding.title}"
            lines.append(
                painted(verdict.label(style)[0], verdict.paint, style)
                + " "
                + shortened(text, style.room - 2, style)
            )
    return ["", *lines[: room - 1]] if lines and room > 1 else []
