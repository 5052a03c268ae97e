"""A finding as text: title, evidence, remedy."""

from __future__ import annotations

import re

from gotax.exporters.style import (
    VERDICTS,
    YELLOW,
    Style,
    block,
    labelled,
    painted,
    paragraph,
    shortened,
    span,
    word,
)
from gotax.findings import Finding, Saving, Severity, Verdict
from gotax.window import ContainerReport, OtherReport

LABEL_WIDTH = 12
NOTABLE_SOURCE = 0.05
"""Sources with a smaller share of a saving are not shown."""


def finding_lines(
    finding: Finding, report: ContainerReport | OtherReport, style: Style, whole: bool = False
) -> list[str]:
    """Title, evidence and remedy; with ``whole`` also saving, patch and confidence."""
    paint = VERDICTS[Verdict.OVERSIZED].paint if finding.severity is Severity.WARNING else YELLOW
    mark = _mark(report, finding, style)
    code = word(finding.code, style)
    name = "" if whole else shortened(report.container.name, style.room // 2, style) + ": "
    head = paragraph(f"{name}{finding.title} [{code}]", style.room - 2, style)
    lines = [painted(f"{mark} {head[0]}", paint, style)]
    lines += [painted(f"  {line}", paint, style) for line in head[1:]]
    room = style.room - LABEL_WIDTH - 2
    for number, evidence in enumerate(finding.evidence):
        label = "" if number else "  Evidence"
        lines += labelled(label, paragraph(evidence.text, room, style), LABEL_WIDTH, style)
    if whole and finding.saving is not None:
        lines += _saving(finding.saving, room, style)
    lines += labelled("  Remedy", paragraph(finding.remedy.text, room, style), LABEL_WIDTH, style)
    if whole and finding.remedy.patch:
        patch = block(finding.remedy.patch.rstrip("\n"), room, style)
        lines += labelled("  Patch", patch, LABEL_WIDTH, style)
    if whole and finding.remedy.experiment:
        lines += labelled(
            "  Try it", _commands(finding.remedy.experiment, room), LABEL_WIDTH, style
        )
    if whole:
        sure = f"{finding.confidence.value} confidence"
        if finding.held_s:
            sure += f", held for {span(finding.held_s)}"
        lines += labelled("  How sure", [sure], LABEL_WIDTH, style)
    return lines


def _mark(report: ContainerReport | OtherReport, finding: Finding, style: Style) -> str:
    """That of the verdict, if it is about what is wrong. A container without Go has none."""
    verdict = Verdict.MISMATCH
    if finding.severity is Severity.WARNING:
        verdict = Verdict.OVERSIZED
    elif isinstance(report, ContainerReport):
        verdict = report.verdict
    if verdict in (Verdict.FITS, Verdict.UNLIMITED):
        return "·" if style.unicode else "-"
    return VERDICTS[verdict].label(style)[0]


_SHELL_WORD = re.compile(r"""(?:'[^']*'|"[^"]*"|[^\s'"])+""")


def _commands(text: str, room: int) -> list[str]:
    """Long commands continue on the next line in the shell's way, so that they can be copied.

    They are printable: diagnosis/rules/experiment.py sees to that.
    """
    lines = []
    for command in text.splitlines():
        is_comment = command.startswith("#")
        between = "# " if is_comment else "  "
        line = ""
        for each in _SHELL_WORD.findall(command):
            if line and len(line) + 1 + len(each) + 2 * (not is_comment) > room:
                lines.append(line if is_comment else f"{line} \\")
                line = between + each
            else:
                line += f" {each}" if line else each
        lines.append(line)
    return lines


def _saving(saving: Saving, room: int, style: Style) -> list[str]:
    """The predicted range and its sources."""
    text = (
        f"{saving.mid:.2f} cores, between {saving.low:.2f} and {saving.high:.2f}, at the same work"
    )
    parts = [s for s in saving.sources if abs(s.cores) >= NOTABLE_SOURCE * abs(saving.mid)]
    if parts:
        text += ": " + ", ".join(f"{source.name} {source.cores:.2f}" for source in parts)
    return labelled("  Saving", paragraph(text, room, style), LABEL_WIDTH, style)
