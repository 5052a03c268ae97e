"""``gotax addr2line``: Go functions and lines of addresses."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from gotax.cli.command import add_command
from gotax.cli.output import EXIT_FINE
from gotax.errors import UserError


def add(commands: Any) -> None:
    addr2line = add_command(
        commands, "addr2line", run, "print functions, files and lines of addresses in a Go binary"
    )
    addr2line.add_argument(
        "binary", help="Go binary; hexadecimal addresses are read from standard input"
    )


def run(options: argparse.Namespace) -> int:
    from gotax.addr2line import addr2line, available_lines, open_binary
    from gotax.linux import heap

    if sys.stdin is None:  # closed
        raise UserError("addresses are read from standard input, but it is closed")
    heap.keep()
    binary = open_binary(options.binary)
    # Buffered even if PYTHONUNBUFFERED is set (as in images): one write for many lines.
    with open(sys.stdout.fileno(), "w", encoding="utf-8", closefd=False) as output:
        for texts in available_lines(sys.stdin.fileno()):
            output.writelines(addr2line(binary, texts))
            output.flush()
    return EXIT_FINE
