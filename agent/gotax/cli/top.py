"""``gotax top``: the table of ``check``, live."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from gotax.cli import arguments
from gotax.cli.command import add_command
from gotax.cli.once import Compiling
from gotax.cli.options import add_sampling, add_settling, add_thresholds, plan_of
from gotax.cli.output import EXIT_FINE, no_go, print_json, require_seen, style_of
from gotax.cli.stopping import StopSignal, stop_on_signals
from gotax.config import Detail

if TYPE_CHECKING:
    from gotax.session import Plan


def add(commands: Any) -> None:
    top = add_command(commands, "top", run, "show the table of check, live")
    add_sampling(top)
    add_thresholds(top)
    top.add_argument(
        "-i", "--interval", type=arguments.seconds, default=2.0, help="seconds between redraws (2)"
    )
    top.add_argument(
        "-s",
        "--sort",
        choices=("verdict", "cpu", "runtime", "saving", "throttled", "name"),
        default="cpu",
        help="sort order (cpu); keys change it, and the key ? lists them",
    )
    add_settling(top)
    top.add_argument("--once", action="store_true", help="print one table and exit")
    top.add_argument(
        "--json", action="store_true", help="print one JSON document per line, until stopped"
    )


def run(options: argparse.Namespace) -> int:
    stop = stop_on_signals()
    is_printed = options.once or options.json
    if not is_printed:
        from gotax.cli import live

        if live.is_possible():
            from gotax.exporters.terminal.table import Sort
            from gotax.exporters.terminal.view import View

            plan = plan_of(options, Detail(functions=100, kernel_frames=True))
            live.show(plan, options.interval, View(Sort(options.sort)), stop)
            return EXIT_FINE
    _print(plan_of(options, Detail(functions=3)), options, stop)
    return EXIT_FINE


def _print(plan: Plan, options: argparse.Namespace, stop: StopSignal) -> None:
    """One table, or a line of JSON per window."""
    from gotax.exporters import report
    from gotax.exporters.terminal.check import render_check
    from gotax.session import Session

    with Session(plan, Compiling(stop)) as session:
        for window in session.windows(options.interval, stop):
            if options.json:
                print_json(report.check_document(window), indent=None)
            elif window.reports or any(report.findings for report in window.others):
                print(render_check(window, style_of(sys.stdout)))
            else:
                require_seen(window)
                print(no_go(window))
            if options.once or not options.json:
                return
