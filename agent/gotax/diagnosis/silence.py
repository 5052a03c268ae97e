"""Findings that were asked not to be told, by flag or by annotation.

GT002                    this code everywhere
GT001/environment        only with this cause
GT001@payments-*         only for containers whose name matches (* and ?)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gotax.config import Silence
from gotax.diagnosis.rules import CODES
from gotax.errors import ParseError
from gotax.findings import Cause, Finding
from gotax.window import ContainerReport

_MAX_TEXT = 4096
_CAUSES = frozenset(cause.value for cause in Cause)


def covers(silence: Silence, finding: Finding, report: ContainerReport) -> bool:
    if finding.code != silence.code:
        return False
    if silence.cause and (finding.cause is None or finding.cause.value != silence.cause):
        return False
    return any(matches(silence.pattern, name) for name in names(report))


def parse_silence(text: str) -> Silence:
    """CODE[/CAUSE][@NAME-GLOB]. ParseError ``silence`` says what is wrong with it."""
    subject, at, pattern = text.strip().partition("@")
    code, slash, cause = subject.partition("/")
    if code not in CODES:
        raise ParseError("silence", f"{code!r} is no code of a finding")
    if slash and cause not in _CAUSES:
        raise ParseError("silence", f"{cause!r} is no cause: {', '.join(sorted(_CAUSES))}")
    if at and not 0 < len(pattern) <= _MAX_TEXT:
        raise ParseError("silence", f"{text[:100]!r} has no name after the @")
    return Silence(code, cause, pattern or "*")


def parse_annotation(text: str) -> tuple[Silence, ...]:
    """The value of a pod's annotation gotax.dev/silence; ParseError ``silence`` as above.

    Codes, with causes if wanted, separated by commas.
    """
    if len(text) > _MAX_TEXT:
        raise ParseError("silence", f"{len(text)} characters")
    words = [word for part in text.split(",") if (word := part.strip())]
    if any("@" in word for word in words):
        raise ParseError("silence", "an annotation is about its own pod: no @NAME")
    return tuple(parse_silence(word) for word in words)


def silenced(report: ContainerReport, silences: Iterable[Silence]) -> ContainerReport:
    """The report without the findings that are covered; their codes go to ``silenced``."""
    rules = tuple(silences)
    if not rules or not report.findings:
        return report
    covered = [f for f in report.findings if any(covers(s, f, report) for s in rules)]
    if not covered:
        return report
    left = tuple(f for f in report.findings if f not in covered)
    codes = tuple(sorted({*report.silenced, *(f.code for f in covered)}))
    return replace(report, findings=left, silenced=codes)


def names(report: ContainerReport) -> list[str]:
    """What a container may be called by in a pattern."""
    container, main = report.container, report.main_process
    build = main.build
    found = [container.name, container.unit, container.cgroup, container.container_id]
    found += [container.pod_uid, main.command, build.main.path if build else None]
    if container.pod is not None:
        found += [container.pod.path, str(container.pod.workload)]
    return [name for name in found if name]


def matches(pattern: str, name: str) -> bool:
    """Of the whole name; * is any text, ? one character, anything else itself."""
    # Without a regular expression: one of a hostile pattern could take for ever.
    at = star = 0
    back = -1
    i = 0
    while i < len(name):
        if at < len(pattern) and pattern[at] == "*":
            star, back = i, at
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", name[i]):
            at += 1
            i += 1
        elif back >= 0:
            star += 1
            at, i = back + 1, star
        else:
            return False
    return not pattern[at:].strip("*")
