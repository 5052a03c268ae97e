"""The command line: parses, prints, and turns errors into one sentence and an exit code.

Each command has a module with its flags (``add``) and its work (``run``).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

# Set this before numpy is loaded: OpenBLAS, which gotax hardly uses, would start a thread for each
# CPU. That would take half the time of a quick command.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from gotax import __version__, extras
from gotax.cli.command import CommandParser
from gotax.cli.output import EXIT_FAILED
from gotax.errors import GotaxError, UserError
from gotax.usage import Parser

COMMANDS = (
    *("check", "top", "explain", "record", "compare", "inspect", "lint"),
    *("addr2line", "selftest", "agent"),
)
"""Each has a module in this package."""

COLLECTOR_COMMANDS = {
    "collector": "receive and store the streams of many agents",
    "fleet": "query a collector: what a fleet's containers spend on the Go runtime",
}


EPILOG = """\
exit codes: 0 no warning, 1 at least one warning, 2 could not measure or write the result

examples:
  gotax check                     a verdict for each Go container or service, after 15 s
  gotax top                       the same, live
  gotax explain 4f2a9c            all evidence for one container, PID, unit or program
  gotax record -d 30 -o cpu.pb.gz a profile for `go tool pprof`
  gotax compare before.json after.json  what a change saved, and the prediction
  gotax inspect ./web --limit 2   which GOMAXPROCS a binary or image will get, before it runs
  gotax lint deploy/              contradictions in manifests
  gotax agent                     the daemon: /metrics, /healthz, /readyz on port 9745
  gotax collector                 receives the streams of many agents, on port 9746
"""


def main(arguments: Sequence[str] | None = None) -> int:
    was_closed = _open_closed_streams()
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()
    except UserError as error:
        print(f"gotax: {error}", file=sys.stderr)
        return error.exit_code
    except GotaxError as error:
        print(f"gotax: {error}", file=sys.stderr)
        return EXIT_FAILED
    except ImportError as error:
        if extras.is_own(error):
            raise
        print(f"gotax: {extras.sentence('this', error)}", file=sys.stderr)
        return EXIT_FAILED
    except BrokenPipeError:
        _discard_output()
        if was_closed:
            print("gotax: standard output is closed", file=sys.stderr)
        # Otherwise the reader has gone. It may have missed a finding, so this is a failure.
        return EXIT_FAILED
    except OSError as error:
        print(f"gotax: {error.strerror}: {error.filename or 'standard output'}", file=sys.stderr)
        _discard_output()
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130


def _run(arguments: Sequence[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in COLLECTOR_COMMANDS:
        return _run_of_collector(arguments)
    parser = build_parser(arguments[0] if arguments else "")
    options = parser.parse_args(arguments)
    if options.run is None:
        parser.print_help()
        return EXIT_FAILED
    return int(options.run(options))


def _run_of_collector(arguments: Sequence[str]) -> int:
    """The collector is a separate package with its own options."""
    with extras.needed_by(f"`gotax {arguments[0]}`", "collector"):
        from gotax_collector.cli import command

        return command.run(arguments[0], arguments[1:])


def _open_closed_streams() -> bool:
    """Replaces a closed standard output (`>&-`) by a pipe without a reader, so that only writes
    fail, and a closed standard error by /dev/null. Returns whether the output was closed."""
    was_closed = sys.stdout is None
    if was_closed:
        read, write = os.pipe()
        os.close(read)
        os.dup2(write, 1)
        if write != 1:
            os.close(write)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    return was_closed


def _discard_output() -> None:
    """Discards buffered output, which the interpreter would try to write again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """With all commands, or only with ``command``: then no other module is loaded."""
    parser = Parser(
        prog="gotax",
        description="Shows how much CPU of a Go container the Go runtime itself uses,"
        " and whether GOMAXPROCS fits the CPU limit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gotax {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", parser_class=CommandParser
    )

    for name in (command,) if command in COMMANDS else COMMANDS:
        import_module(f"gotax.cli.{name}").add(commands)
    for name, summary in COLLECTOR_COMMANDS.items():
        commands.add_parser(
            name, help=summary
        )  # only for the list of commands: _run_of_collector parses
    return parser
