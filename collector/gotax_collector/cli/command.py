"""Runs the commands of this package and prints their errors."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from gotax_collector.cli import collector, fleet
from gotax_collector.errors import CollectorError

EXIT_FAILED = 2


def run(name: str, arguments: Sequence[str]) -> int:
    """Run ``gotax NAME ARGUMENTS``; the exit code. SystemExit for --help and for wrong options."""
    commands = {"collector": collector.run, "fleet": fleet.run}
    try:
        return commands[name](arguments)
    except CollectorError as error:
        print(f"gotax: {error}", file=sys.stderr)
        return EXIT_FAILED
