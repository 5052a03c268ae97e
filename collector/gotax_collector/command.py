"""The command lines of the collector's package: ``gotax collector``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

EXIT_FINE, EXIT_FAILED = 0, 2


def run(name: str, arguments: Sequence[str]) -> int:
    """Run ``gotax NAME ARGUMENTS``; the exit code. SystemExit for --help and for wrong options."""
    commands = {"collector": _collector}
    return commands[name](arguments)


def _collector(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="gotax collector", description="Receive the streams of many agents and keep them."
    )
    parser.parse_args(arguments)
    return EXIT_FAILED
