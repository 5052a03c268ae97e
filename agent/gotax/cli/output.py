"""What goes to standard output, and the exit code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from gotax.errors import UserError

if TYPE_CHECKING:
    from gotax.window import ContainerReport, Window

EXIT_FINE, EXIT_FINDINGS, EXIT_FAILED = 0, 1, 2


_NO_GO = (
    "No Go process runs on this host."
    " Start one, or see gotax at work on the production story with `make demo`."
)


OUTSIDE = (
    "no Go process runs in gotax's PID namespace, but other programs do outside it: set"
    " hostPID: true (docker: --pid=host), or run gotax on the machine itself"
)


def no_go(window: Window) -> str:
    """Why there is no row; that there is no Go only if everything could be looked at."""
    from gotax.exporters.terminal.summary import unjudged

    if window.hits.outside:
        return OUTSIDE
    unread = unjudged(window)
    if not unread:
        return _NO_GO
    return "\n".join(("No Go process was found, but not every program could be read.", *unread))


def require_seen(window: Window) -> None:
    """Raise UserError where "no Go process" would be said of a host that is not seen."""
    if window.hits.outside and not window.reports:
        raise UserError(OUTSIDE)


def check_code(window: Window) -> int:
    """EXIT_FAILED if no program could be read at all."""
    if not window.reports and not window.judged and window.unjudged:
        return EXIT_FAILED
    return verdict_code(window.reports)


def print_json(document: dict[str, Any], indent: int | None = 2) -> None:
    print(json.dumps(document, indent=indent, ensure_ascii=True), flush=True)


def verdict_code(reports: Sequence[ContainerReport]) -> int:
    from gotax.findings import Severity

    found = any(f.severity is Severity.WARNING for report in reports for f in report.findings)
    return EXIT_FINDINGS if found else EXIT_FINE


def style_of(stream: TextIO) -> Any:
    """How this stream can show text (https://no-color.org)."""
    from gotax.exporters.style import Style

    is_terminal = stream.isatty()
    size = shutil.get_terminal_size((120, 40))
    colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return Style(width=size.columns, height=size.lines, colour=colour, unicode=unicode)
