"""``gotax check``."""

from __future__ import annotations

from gotax.exporters.style import DIM, Style, painted
from gotax.exporters.terminal.finding import finding_lines
from gotax.exporters.terminal.summary import title_line, totals
from gotax.exporters.terminal.table import table_lines
from gotax.window import Window


def render_check(window: Window, style: Style) -> str:
    """A table, a paragraph for each finding, the totals."""
    lines = [title_line("gotax check", window, style), ""]
    if window.reports:
        lines += table_lines(window, window.reports, style)
    else:
        lines.append(f"No Go program used CPU in these {window.duration_s:.1f} s.")
    cut = False
    for report in window.reports:
        for finding in report.findings:
            lines += ["", *finding_lines(finding, report, style)]
            cut = cut or bool(finding.remedy.patch)
    if cut:
        lines += ["", painted("gotax explain NAME shows the patch.", DIM, style)]
    lines += ["", *totals(window, style)]
    return "\n".join(lines)
