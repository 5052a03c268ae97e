"""``gotax addr2line``: Go's names for addresses."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gotax.cli.options import add_command
from gotax.cli.output import EXIT_FINE


def add(commands: Any) -> None:
    addr2line = add_command(
        commands, "addr2line", run, "functions, files and lines of addresses in a Go binary"
    )
    addr2line.add_argument("binary", help="file; hexadecimal addresses come on standard input")


def run(options: argparse.Namespace) -> int:
    from gotax.addr2line import addr2line, open_binary

    binary = open_binary(options.binary)
    for line in addr2line(binary, sys.stdin):
        print(line)
    sys.stdout.flush()
    return EXIT_FINE
