"""``gotax check``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gotax.exporters.style import (
    DIM,
    GREEN,
    VERDICTS,
    YELLOW,
    Style,
    cores,
    painted,
    paragraph,
    plural,
)
from gotax.exporters.terminal.finding import finding_lines
from gotax.exporters.terminal.summary import title_line, totals
from gotax.exporters.terminal.table import table_lines
from gotax.findings import Severity, Verdict
from gotax.window import ContainerReport, OtherReport, Window


def render_check(window: Window, style: Style) -> str:
    """A table with the worst container first, a paragraph for each finding, the totals, and the
    result in one line."""
    lines = [title_line("gotax check", window, style), ""]
    reports = worst_first(window.reports)
    if reports:
        lines += table_lines(window, reports, style)
    else:
        lines.append(f"No Go program used CPU in these {window.duration_s:.1f} s.")
    cut = False
    every: tuple[ContainerReport | OtherReport, ...] = (*reports, *window.others)
    for report in every:
        for finding in report.findings:
            lines += ["", *finding_lines(finding, report, style)]
            cut = cut or bool(finding.remedy.patch)
    if cut:
        lines += ["", painted("gotax explain NAME shows the patch.", DIM, style)]
    lines += ["", *totals(window, style)]
    if reports:
        lines += ["", result(reports, style)]
    if others := result_of_others(window, style):
        lines.append(others)
    return "\n".join(lines)


def result(reports: Sequence[ContainerReport], style: Style) -> str:
    """How many findings there are, in how many containers, and what they would save together."""
    affected = [report for report in reports if report.findings]
    codes = sorted({code for report in reports for code in report.suppressed})
    hidden = f" ({', '.join(codes)} suppressed)" if codes else ""
    rest = _unjudged(reports)
    if not affected:
        text = f"No finding in {plural(len(reports), 'container')}{hidden}{rest}."
        return _sentence(text, GREEN, style)
    found = sum(len(report.findings) for report in affected)
    text = f"{plural(found, 'finding')} in {len(affected)} of {plural(len(reports), 'container')}"
    saved = sum(saving_cores(report) for report in affected)
    if saved > 0:
        text += f", {cores(saved)} cores to save"
    is_warning = any(_severity(report) is Severity.WARNING for report in affected)
    paint = VERDICTS[Verdict.OVERSIZED].paint if is_warning else YELLOW
    return _sentence(f"{text}{hidden}{rest}.", paint, style)


def _sentence(text: str, paint: str, style: Style) -> str:
    return "\n".join(painted(line, paint, style) for line in paragraph(text, style.room, style))


def _unjudged(reports: Sequence[ContainerReport]) -> str:
    """Too few samples, or unreadable: more may be found there."""
    open_verdicts = (Verdict.TOO_FEW_SAMPLES, Verdict.UNREADABLE)
    count = sum(report.verdict in open_verdicts for report in reports)
    return f"; {count} not judged" if count else ""


def result_of_others(window: Window, style: Style) -> str:
    """How many containers without a Go program have findings; "" for none."""
    found = [finding for report in window.others for finding in report.findings]
    codes = sorted({code for report in window.others for code in report.suppressed})
    hidden = f" ({', '.join(codes)} suppressed)" if codes else ""
    if not found and not codes:
        return ""
    affected = sum(bool(report.findings) for report in window.others)
    among = f"{plural(len(window.others), 'container')} without Go"
    text = f"No finding in {among}{hidden}."
    if found:
        text = f"{plural(len(found), 'finding')} in {affected} of {among}{hidden}."
    is_warning = any(finding.severity is Severity.WARNING for finding in found)
    paint = VERDICTS[Verdict.OVERSIZED].paint if is_warning else YELLOW if found else GREEN
    return painted(text, paint, style)


def worst_first(reports: Iterable[ContainerReport]) -> list[ContainerReport]:
    return sorted(reports, key=_badness, reverse=True)


def _badness(report: ContainerReport) -> tuple[int, float, int]:
    """The greater the worse: a warning, then what it would save, then the CPU time."""
    severity = _severity(report)
    rank = 0 if severity is None else 1 + list(Severity).index(severity)
    return rank, saving_cores(report), report.samples


def _severity(report: ContainerReport) -> Severity | None:
    found = {finding.severity for finding in report.findings}
    return next((each for each in reversed(Severity) if each in found), None)


def saving_cores(report: ContainerReport) -> float:
    """Of the finding that saves most: remedies of one container overlap."""
    return max((f.saving.mid for f in report.findings if f.saving is not None), default=0.0)
