"""``gotax explain`` for a container without a Go program."""

from __future__ import annotations

from gotax.exporters.style import (
    BOLD,
    MAX_TEXT,
    Style,
    cores,
    labelled,
    painted,
    paragraph,
    plural,
    seconds,
    shortened,
)
from gotax.exporters.terminal.finding import LABEL_WIDTH, finding_lines
from gotax.exporters.text import columns
from gotax.other import OtherUse, Recognised
from gotax.window import OtherReport, Window

_NOT_GO = "not Go"
_PROCESSES_MAX = 4


def render_other(report: OtherReport, window: Window, style: Style) -> str:
    """All evidence for one container. It has no profile: gotax does not know other runtimes."""
    name = shortened(report.container.name, style.room - len(_NOT_GO) - 2, style)
    gap = " " * max(2, min(style.room, MAX_TEXT) - columns(name) - len(_NOT_GO))
    lines = [painted(name, BOLD, style) + gap + _NOT_GO]
    lines += paragraph(_sentence(report), style.room, style)
    lines.append("")
    for label, text in _facts(report.use, window):
        if text:
            room = style.room - LABEL_WIDTH
            lines += labelled(label, paragraph(text, room, style), LABEL_WIDTH, style)
    for finding in report.findings:
        lines += ["", *finding_lines(finding, report, style, whole=True)]
    return "\n".join(lines)


def _sentence(report: OtherReport) -> str:
    if report.findings:
        return "It is throttled, because too many of its threads run at once."
    if report.suppressed:
        return f"Its finding is suppressed ({', '.join(report.suppressed)})."
    return "gotax found nothing about it."


def _facts(use: OtherUse, window: Window) -> list[tuple[str, str]]:
    return [
        ("Processes", _processes(use)),
        ("Cgroup", use.container.cgroup),
        ("CPU", f"{cores(window.cpu_cores(use.samples))} cores"),
        ("Limit", _limit(use)),
        ("Throttled", _throttled(use)),
        ("Threads", _threads(use)),
        ("Settings", "; ".join(map(_setting, use.recognised or ()))),
        ("Unreadable", use.unread),
    ]


def _processes(use: OtherUse) -> str:
    shown = [f"{process.pid} ({process.command})" for process in use.processes[:_PROCESSES_MAX]]
    rest = len(use.processes) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def _limit(use: OtherUse) -> str:
    if use.limit is None:
        return ""
    if use.limit.limit_cores is None:
        return "none"
    return f"{cores(use.limit.limit_cores)} cores, of cgroup {use.limit.limit_cgroup}"


def _throttled(use: OtherUse) -> str:
    if use.throttling is None:
        return ""
    throttled, periods = use.throttling.periods
    if not throttled:
        return f"never in {plural(periods, 'period')}"
    text = f"in {throttled:,} of {plural(periods, 'period')}"
    stopped_ns = use.throttling.usage.throttled_ns
    return text if stopped_ns is None else f"{text}, {seconds(stopped_ns / 1e9)} in all on all CPUs"


def _threads(use: OtherUse) -> str:
    text = str(use.threads)
    if use.threads_ran is not None:
        text += f"; {use.threads_ran} of {use.counted} ran"
    if use.runnable is not None:
        text += f", {use.runnable:.1f} at once on average"
    return text


def _setting(each: Recognised) -> str:
    knob = each.knob or each.recipe.knobs[0]
    if each.knob is None:
        return f"{each.recipe.name}: {knob.name} is not set"
    value = "not a number" if each.value is None else str(each.value)
    return f"{each.recipe.name}: {knob.name} is {value}"
