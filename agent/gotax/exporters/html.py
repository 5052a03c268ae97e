"""A window as one HTML file that needs nothing else: verdicts with evidence and patch, and the
flame graph with its table of functions. It works without a network, for instance from a mail.

Names are untrusted. They are escaped here, and flamegraph.js only writes them as text; the policy
of the page allows no script but that file.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

import gotax
from gotax.category import Group
from gotax.exporters.calls import call_document
from gotax.exporters.style import (
    SHORT_ORIGINS,
    VERDICTS,
    Style,
    cores,
    percent,
    plural,
    seconds,
    verdict_word,
)
from gotax.exporters.terminal.check import result, result_of_others, worst_first
from gotax.exporters.terminal.summary import totals
from gotax.exporters.terminal.table import gomaxprocs_text
from gotax.exporters.text import printable
from gotax.findings import Finding, Severity, Verdict
from gotax.page import SCRIPTS, STYLES, asset
from gotax.window import ContainerReport, OtherReport, Window

_WIDE = Style(width=10_000)
_BAR = (Group.SCHEDULER, Group.GC, Group.SERVICE, Group.NATIVE, Group.UNKNOWN, Group.USER)
_HEADS = (
    "verdict",
    "container",
    "Go",
    "CPU",
    "limit",
    "GOMAXPROCS",
    "from",
    "runtime",
    "",
    "throttled",
)
_LEFT = (0, 1, 8)


def html_page(window: Window) -> str:
    title = f"gotax · {printable(window.host)}"
    data = json.dumps(call_document(window), separators=(",", ":")).replace("<", "\\u003c")
    style, script = _joined(STYLES) + _joined(("report.css",)), _joined(SCRIPTS)
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    return "\n".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style>\n</head>\n<body>\n<main>",
            *_report(window),
            "<h2>Flame graph</h2>",
            '<div data-flamegraph="profile"></div>',
            "</main>",
            f'<script type="application/json" id="profile">{data}</script>',
            f"<script>{script}</script>\n</body>\n</html>\n",
        )
    )


def _joined(names: Sequence[str]) -> str:
    return "\n" + "\n".join(asset(name) for name in names)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _report(window: Window) -> Iterator[str]:
    reports = worst_first(window.reports)
    at = datetime.fromtimestamp(window.start_unix_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    facts = (
        at,
        f"{window.duration_s:.1f} s at {window.hz:.0f} Hz",
        plural(window.cpu_count, "CPU"),
        f"gotax {gotax.__version__}",
    )
    yield f"<h1>{_shown(window.host)} <small>{_shown(' · '.join(facts))}</small></h1>"
    if not reports:
        yield f"<p>No Go program used CPU in these {window.duration_s:.1f} s.</p>"
        yield from _of_others(window)
        return
    yield f'<p class="result">{_shown(result(reports, _WIDE))}</p>'
    yield '<div class="card" tabindex="0" role="region" aria-label="Containers">'
    yield "<table><thead><tr>"
    yield "".join(
        f'<th scope="col"{" class=l" if i in _LEFT else ""}>{head or _hidden("CPU by kind")}</th>'
        for i, head in enumerate(_HEADS)
    )
    yield "</tr></thead><tbody>"
    yield from (_row(window, report) for report in reports)
    yield "</tbody></table></div>"
    for report in reports:
        for finding in report.findings:
            yield from _finding(report, finding)
    yield from _of_others(window)
    yield f'<p class="note">{"<br>".join(_shown(line) for line in totals(window, _WIDE))}</p>'


def _of_others(window: Window) -> Iterator[str]:
    for report in window.others:
        for finding in report.findings:
            yield from _finding(report, finding)
    if text := result_of_others(window, _WIDE):
        yield f'<p class="result">{_shown(text)}</p>'


def _row(window: Window, report: ContainerReport) -> str:
    verdict = verdict_word(report.verdict, report.findings)
    main = report.main_process
    limit, throttled = report.limit.limit_cores, report.usage.throttled_ns
    kind = "bad" if verdict.mark == VERDICTS[Verdict.OVERSIZED].mark else ""
    cells = (
        f'<span class="{kind}">{verdict.mark} {verdict.text}</span>',
        f"<b>{_shown(report.container.name) or '?'}</b>",
        _shown(main.build.version.removeprefix("go")) if main.build else "?",
        cores(window.cores_of(report)),
        "?" if report.limit.problem else "" if limit is None else cores(limit),
        gomaxprocs_text(report, "→"),
        SHORT_ORIGINS[main.gomaxprocs.origin] if main.gomaxprocs else "",
        percent(report.runtime_share),
        _bar(report),
        "" if throttled is None else seconds(throttled / 1e9),
    )
    return (
        "<tr>"
        + "".join(
            f"<td{' class=l' if i in _LEFT else ''}>{cell}</td>" for i, cell in enumerate(cells)
        )
        + "</tr>"
    )


def _bar(report: ContainerReport) -> str:
    parts, left, words = [], 0.0, []
    for group in _BAR:
        share = report.group_share(group)
        if share > 0:
            words.append(f"{group.value} {percent(share)}")
            parts.append(
                f'<rect class="{group.value}" x="{left * 100:.2f}%" width="{share * 100:.2f}%"'
                ' height="100%"/>'
            )
        left += share
    label = escape(", ".join(words) or "no samples")
    return f'<svg class="bar" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _finding(report: ContainerReport | OtherReport, finding: Finding) -> Iterator[str]:
    kind = "finding warning" if finding.severity is Severity.WARNING else "finding"
    yield f'<section class="{kind}"><h2>{_shown(report.container.name)}: {_shown(finding.title)}'
    yield f"<code>{_shown(finding.code)}</code></h2><dl>"
    yield f"<dt>Evidence</dt><dd>{'<br>'.join(_shown(e.text) for e in finding.evidence)}</dd>"
    if saving := finding.saving:
        yield (
            f"<dt>Saving</dt><dd>{saving.mid:.2f} cores, between {saving.low:.2f} and"
            f" {saving.high:.2f}, at the same work</dd>"
        )
    yield f"<dt>Remedy</dt><dd>{_shown(finding.remedy.text)}</dd>"
    if patch := finding.remedy.patch:
        lines = "\n".join(_shown(line) for line in patch.rstrip("\n").split("\n"))
        yield f"<dt>Patch</dt><dd><pre tabindex=0>{lines}</pre></dd>"
    yield f"<dt>How sure</dt><dd>{finding.confidence.value} confidence</dd></dl></section>"


def _hidden(text: str) -> str:
    return f'<span class="hidden">{text}</span>'


def _shown(text: str) -> str:
    return escape(printable(text))
