"""Findings for other programs: SARIF 2.1.0, and annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gotax
from gotax.exporters.text import utf8
from gotax.findings import Severity
from gotax.preflight.lintcodes import SUMMARIES
from gotax.preflight.located import Located

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.WARNING: "warning", Severity.INFO: "note"}
_COMMANDS = {Severity.WARNING: "warning", Severity.INFO: "notice"}


def sarif(findings: Sequence[Located], source: str) -> dict[str, Any]:
    """``source``: the file of findings that no line of a manifest causes."""
    used = sorted({each.finding.code for each in findings})
    rules = [{"id": code, "shortDescription": {"text": SUMMARIES.get(code, code)}} for code in used]
    return {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "gotax", "version": gotax.__version__, "rules": rules}},
                "results": [_result(each, used, source) for each in findings],
            }
        ],
    }


def _result(each: Located, used: list[str], source: str) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(each.place.file or source)}}
    if each.place.line is not None:
        location["region"] = {"startLine": each.place.line}
    return {
        "ruleId": each.finding.code,
        "ruleIndex": used.index(each.finding.code),
        "level": _LEVELS[each.finding.severity],
        "message": {"text": utf8(_message(each))},
        "locations": [{"physicalLocation": location}],
    }


def _uri(path: str) -> str:
    """Relative to the folder of the run, with what a URI may not have in percent."""
    from urllib.parse import quote

    return quote(utf8(path.removeprefix("./")))


def _message(each: Located) -> str:
    finding = each.finding
    name = f"{each.container}: " if each.container else ""
    parts = [f"{name}{finding.title}.", *(_sentence(e.text) for e in finding.evidence)]
    return " ".join((*parts, finding.remedy.text))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def github(findings: Sequence[Located], source: str) -> Iterator[str]:
    """Commands that Actions reads from the output of a step."""
    for each in findings:
        values = {"file": each.place.file or source, "title": each.finding.code}
        if each.place.line is not None:
            values["line"] = str(each.place.line)
        properties = ",".join(f"{key}={_property(value)}" for key, value in values.items())
        yield f"::{_COMMANDS[each.finding.severity]} {properties}::{_data(_message(each))}"


def _data(text: str) -> str:
    return utf8(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
