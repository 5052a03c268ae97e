"""``gotax selftest``: checks what this node allows."""

from __future__ import annotations

import argparse
import json
from typing import Any

from gotax.cli import progress
from gotax.cli.command import add_command
from gotax.cli.options import add_roots
from gotax.cli.output import EXIT_FAILED, EXIT_FINE
from gotax.config import Roots


def add(commands: Any) -> None:
    selftest = add_command(
        commands, "selftest", run, "check what this node allows, and show remedies"
    )
    add_roots(selftest)
    selftest.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """EXIT_FAILED if something that gotax needs is missing."""
    from gotax.selftest import document, render_check, run_checks

    is_good = True
    checks = []
    progress.show("checking")
    for check in run_checks(Roots(options.proc, options.sys)):
        is_good = is_good and check.is_good is not False
        checks.append(check)
        progress.clear()
        if not options.json:
            print(render_check(check), flush=True)
        progress.show("checking")
    progress.clear()
    if options.json:
        print(json.dumps(document(checks), indent=2))
    return EXIT_FINE if is_good else EXIT_FAILED
