"""Findings that a flag or an annotation suppresses.

GT002                    this code everywhere
GT001/environment        only with this cause
GT001@payments-*         only for containers whose name matches (* and ?)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from gotax.config import Suppression
from gotax.diagnosis.rules import CODES
from gotax.errors import ParseError
from gotax.findings import Cause, Finding
from gotax.window import ContainerReport, OtherReport

_Report = TypeVar("_Report", ContainerReport, OtherReport)
_MAX_TEXT = 4096
_CAUSES = frozenset(cause.value for cause in Cause)


def covers(
    suppression: Suppression, finding: Finding, report: ContainerReport | OtherReport
) -> bool:
    if finding.code != suppression.code:
        return False
    if suppression.cause and (finding.cause is None or finding.cause.value != suppression.cause):
        return False
    return any(matches(suppression.pattern, name) for name in names(report))


def parse_suppression(text: str) -> Suppression:
    """Parses CODE[/CAUSE][@NAME-GLOB]. Raises ParseError ``suppression``."""
    subject, at, pattern = text.strip().partition("@")
    code, slash, cause = subject.partition("/")
    if code not in CODES:
        raise ParseError("suppression", f"{code!r} is not the code of a finding")
    if slash and cause not in _CAUSES:
        raise ParseError("suppression", f"{cause!r} is not a cause: {', '.join(sorted(_CAUSES))}")
    if at and not 0 < len(pattern) <= _MAX_TEXT:
        raise ParseError("suppression", f"{text[:100]!r} has no name after the @")
    return Suppression(code, cause, pattern or "*")


def parse_annotation(text: str) -> tuple[Suppression, ...]:
    """Parses the annotation gotax.dev/suppress of a pod. Raises ParseError ``suppression``.

    It contains codes, with optional causes, separated by commas.
    """
    if len(text) > _MAX_TEXT:
        raise ParseError("suppression", f"{len(text)} characters")
    words = [word for part in text.split(",") if (word := part.strip())]
    if any("@" in word for word in words):
        raise ParseError("suppression", "an annotation is only for its own pod: remove @NAME")
    return tuple(parse_suppression(word) for word in words)


def suppressed(report: _Report, suppressions: Iterable[Suppression]) -> _Report:
    """The report without the suppressed findings; their codes are added to ``suppressed``."""
    rules = tuple(suppressions)
    if not rules or not report.findings:
        return report
    covered: list[Finding] = [
        f for f in report.findings if any(covers(s, f, report) for s in rules)
    ]
    if not covered:
        return report
    left = tuple(f for f in report.findings if f not in covered)
    codes = tuple(sorted({*report.suppressed, *(f.code for f in covered)}))
    return replace(report, findings=left, suppressed=codes)


def names(report: ContainerReport | OtherReport) -> list[str]:
    """The names of a container that a pattern can match."""
    container, main = report.container, report.main_process
    build = main.build
    found = [container.name, container.unit, container.cgroup, container.container_id]
    found += [container.pod_uid, main.command, build.main.path if build else None]
    if container.pod is not None:
        found += [container.pod.path, str(container.pod.workload)]
    return [name for name in found if name]


def matches(pattern: str, name: str) -> bool:
    """Matches the whole name; * is any text, ? is one character."""
    # Not a regular expression: a hostile pattern could take forever.
    at = star = i = 0
    back: int | None = None  # where the pattern goes on after its last *
    while i < len(name):
        if at < len(pattern) and pattern[at] == "*":
            at += 1
            star, back = i, at
        elif at < len(pattern) and pattern[at] in ("?", name[i]):
            at += 1
            i += 1
        elif back is not None:
            star += 1
            at, i = back, star
        else:
            return False
    return not pattern[at:].strip("*")
