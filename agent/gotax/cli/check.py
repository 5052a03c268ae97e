"""``gotax check``: one table, or one JSON document."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gotax.cli import arguments, once, progress, targets
from gotax.cli.command import add_command
from gotax.cli.options import WITH_FRAMES, add_sampling, add_thresholds, plan_of
from gotax.cli.output import (
    check_code,
    no_go,
    print_json,
    require_seen,
    require_writable,
    style_of,
    write_file,
)
from gotax.config import Detail, Suppression
from gotax.errors import UserError
from gotax.usage import did_you_mean

if TYPE_CHECKING:
    from gotax.window import ContainerReport, OtherReport, Window


def add(commands: Any) -> None:
    check = add_command(
        commands, "check", run, "sample once and print a verdict for each Go container"
    )
    check.add_argument(
        "targets",
        nargs="*",
        metavar="NAME",
        help=f"only these containers, with the wildcards * and ?: {targets.HELP}",
    )
    add_sampling(check, seconds=15.0)
    add_thresholds(check)
    check.add_argument(
        "--select",
        type=arguments.codes,
        action="extend",
        metavar="CODE,...",
        help="report only these findings, by code or its beginning: GT001,GT01 (repeatable)",
    )
    check.add_argument(
        "--ignore",
        type=arguments.codes,
        action="extend",
        metavar="CODE,...",
        help="do not report these findings (repeatable)",
    )
    check.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")
    check.add_argument(
        "--html",
        metavar="FILE",
        help="also write one HTML file: verdicts, evidence, patches and the flame graph",
    )


def run(options: argparse.Namespace) -> int:
    from gotax.exporters import report
    from gotax.exporters.terminal.check import render_check

    options.suppress += [Suppression(code) for code in _unwanted(options.select, options.ignore)]
    detail = Detail(functions=100)
    if options.html is not None:
        require_writable(options.html)
        detail = WITH_FRAMES
    window = once.sample_once(plan_of(options, detail), options.duration)
    if options.targets:
        window = _narrowed(window, options.targets)
    if options.html is not None:
        from gotax.exporters.html import html_page

        with progress.doing("writing HTML"):
            write_file(options.html, html_page(window).encode())
    if options.json:
        print_json(report.check_document(window))
    elif window.reports or any(r.findings or r.suppressed for r in window.others):
        print(render_check(window, style_of(sys.stdout)))
    elif not window.samples.outside:
        print(no_go(window))
    require_seen(window)
    return check_code(window)


def _unwanted(select: Sequence[str] | None, ignore: Sequence[str] | None) -> list[str]:
    from gotax.diagnosis.rules import CODES

    wanted = set(CODES if select is None else select) - set(ignore or ())
    return [code for code in CODES if code not in wanted]


def _narrowed(window: Window, names: Sequence[str]) -> Window:
    """The window with the named containers only. Raises UserError for a name of none of them."""
    found, others = window.reports, window.others
    every: tuple[ContainerReport | OtherReport, ...] = (*found, *others)
    for name in names:
        if not any(targets.is_meant(report, name) for report in every):
            near = did_you_mean(name, [report.container.name for report in found])
            raise UserError(f"no Go container matches {name!r}{near}")
    kept = tuple(r for r in found if any(targets.is_meant(r, name) for name in names))
    also = tuple(r for r in others if any(targets.is_meant(r, name) for name in names))
    return replace(window, reports=kept, others=also)
