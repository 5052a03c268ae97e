"""``gotax check``: one table, or one JSON document."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gotax.cli import once
from gotax.cli.command import add_command
from gotax.cli.options import add_sampling, add_thresholds, plan_of
from gotax.cli.output import check_code, no_go, print_json, require_seen, style_of
from gotax.config import Detail


def add(commands: Any) -> None:
    check = add_command(
        commands, "check", run, "sample once and print a verdict for each Go container"
    )
    add_sampling(check, seconds=15.0)
    add_thresholds(check)
    check.add_argument("--json", action="store_true", help="print JSON (docs/json.md)")


def run(options: argparse.Namespace) -> int:
    from gotax.exporters import report
    from gotax.exporters.terminal.check import render_check

    window = once.sample_once(plan_of(options, Detail(functions=100)), options.duration)
    if options.json:
        print_json(report.check_document(window))
    elif window.reports:
        print(render_check(window, style_of(sys.stdout)))
    elif not window.samples.outside:
        print(no_go(window))
    require_seen(window)
    return check_code(window)
