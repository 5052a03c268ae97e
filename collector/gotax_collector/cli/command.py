"""Runs the commands of this package and prints their errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gotax_collector.cli import collector, fleet, options, web
from gotax_collector.errors import CollectorError

EXIT_FAILED = 2


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The parsers of all commands, for the completion of a shell."""
    return {"collector": options.parser(), "fleet": fleet.parser(), "web": web.parser()}


def run(name: str, arguments: Sequence[str]) -> int:
    """Run ``gotax NAME ARGUMENTS``; the exit code. SystemExit for --help and for wrong options."""
    commands = {"collector": collector.run, "fleet": fleet.run, "web": web.run}
    try:
        return commands[name](arguments)
    except CollectorError as error:
        print(f"gotax: {error}", file=sys.stderr)
        return EXIT_FAILED
