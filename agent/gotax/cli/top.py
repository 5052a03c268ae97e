"""``gotax top``: the table of ``check``, live."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from typing import Any

from gotax.cli import arguments
from gotax.cli.command import add_command
from gotax.cli.once import Compiling
from gotax.cli.options import add_sampling, add_settling, add_thresholds, plan_of
from gotax.cli.output import EXIT_FINE, no_go, print_json, require_seen, style_of
from gotax.cli.stopping import StopSignal, stop_on_signals
from gotax.config import Detail

_CLEAR = "\x1b[H\x1b[J"
_ALTERNATE_SCREEN, _NORMAL_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def add(commands: Any) -> None:
    top = add_command(commands, "top", run, "show the table of check, live")
    add_sampling(top)
    add_thresholds(top)
    top.add_argument(
        "-i", "--interval", type=arguments.seconds, default=3.0, help="seconds between redraws (3)"
    )
    top.add_argument(
        "-s",
        "--sort",
        choices=("cpu", "runtime", "throttled", "name"),
        default="cpu",
        help="sort order (cpu); the keys c, r, t and n change it, q quits",
    )
    add_settling(top)
    top.add_argument("--once", action="store_true", help="print one table and exit")
    top.add_argument(
        "--json", action="store_true", help="print one JSON document per line, until stopped"
    )


def run(options: argparse.Namespace) -> int:
    from gotax.exporters import report
    from gotax.exporters.terminal.check import render_check
    from gotax.exporters.terminal.top import render_top
    from gotax.session import Session

    stop = stop_on_signals()
    live = sys.stdout.isatty() and not options.once and not options.json
    with Session(plan_of(options, Detail(functions=3)), Compiling(stop)) as session:
        if not live:
            for window in session.windows(options.interval, stop):
                if options.json:
                    print_json(report.check_document(window), indent=None)
                elif window.reports:
                    print(render_check(window, style_of(sys.stdout)))
                else:
                    require_seen(window)
                    print(no_go(window))
                if options.once or not options.json:
                    break
            return EXIT_FINE
        with _Keys(stop, options.sort) as keys:
            print("sampling …", flush=True)
            for window in session.windows(options.interval, stop):
                if stop.is_set():
                    break
                style = style_of(sys.stdout)
                screen = no_go(window)
                if window.reports:
                    screen = render_top(window, style, keys.sort)
                print(_CLEAR + screen, end="", flush=True)
    return EXIT_FINE


class _Keys:
    """Shows the alternate screen, and reads keys that change the order or quit."""

    _SORTS = {b"c": "cpu", b"r": "runtime", b"t": "throttled", b"n": "name"}  # noqa: RUF012

    def __init__(self, stop: StopSignal, sort: str) -> None:
        self.sort = sort
        self._stop = stop
        self._saved: list[Any] | None = None

    def __enter__(self) -> _Keys:
        import termios
        import tty

        sys.stdout.write(_ALTERNATE_SCREEN)
        if sys.stdin.isatty():
            self._saved = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            threading.Thread(target=self._read, daemon=True).start()
        return self

    def _read(self) -> None:
        while not self._stop.is_set():
            key = os.read(sys.stdin.fileno(), 1)
            if key in (b"q", b""):
                self._stop.set()
            self.sort = self._SORTS.get(key, self.sort)

    def __exit__(self, *_: object) -> None:
        import termios

        if self._saved is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._saved)
        sys.stdout.write(_NORMAL_SCREEN)
        sys.stdout.flush()
