"""Output to standard output, and the exit code."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from gotax.errors import UserError

if TYPE_CHECKING:
    from gotax.window import ContainerReport, OtherReport, Window

EXIT_FINE, EXIT_FINDINGS, EXIT_FAILED = 0, 1, 2


_NO_GO = "No Go process runs on this host. Start one, or try `make demo`."


OUTSIDE = (
    "no Go process runs in the PID namespace of gotax, but programs run outside it: set"
    " hostPID: true (docker: --pid=host), or run gotax directly on the host"
)


def no_go(window: Window) -> str:
    """Why the table is empty. It says "no Go process" only if every program could be read."""
    from gotax.exporters.terminal.summary import unjudged

    if window.samples.outside:
        return OUTSIDE
    unread = unjudged(window)
    if not unread:
        return _NO_GO
    return "\n".join(("No Go process was found, but not every program could be read.", *unread))


def require_seen(window: Window) -> None:
    """Raises UserError if gotax cannot see the processes of the host."""
    if window.samples.outside and not window.reports:
        raise UserError(OUTSIDE)


def check_code(window: Window) -> int:
    """EXIT_FAILED if no program could be read at all."""
    if not window.reports and not window.judged and window.unjudged:
        return EXIT_FAILED
    return verdict_code((*window.reports, *window.others))


def print_json(document: dict[str, Any], indent: int | None = 2) -> None:
    print(json.dumps(document, indent=indent, ensure_ascii=True), flush=True)


def require_writable(output: str) -> None:
    """Checks an output file before sampling, not after; - is standard output."""
    if output == "-":
        return
    folder = Path(output).absolute().parent
    if Path(output).is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise UserError(f"cannot write {output}: its folder has to exist and be writable")


def write_file(output: str, data: bytes) -> None:
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror}") from error


def verdict_code(reports: Sequence[ContainerReport | OtherReport]) -> int:
    from gotax.findings import Severity

    found = any(f.severity is Severity.WARNING for report in reports for f in report.findings)
    return EXIT_FINDINGS if found else EXIT_FINE


def style_of(stream: TextIO) -> Any:
    """The style that this stream supports (https://no-color.org)."""
    from gotax.exporters.style import Style

    is_terminal = stream.isatty()
    size = shutil.get_terminal_size((120, 40))
    colour = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return Style(width=size.columns, height=size.lines, colour=colour, unicode=unicode)
