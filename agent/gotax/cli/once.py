"""Samples one window, for the commands that sample once."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING

from gotax.cli import progress
from gotax.cli.stopping import stop_on_signals
from gotax.errors import UserError

if TYPE_CHECKING:
    from gotax.session import Plan, Stop
    from gotax.window import Window

_STOPPED = "stopped before anything was measured"
_QUIET_S = 30.0


def sample_once(plan: Plan, seconds: float) -> Window:
    stop = stop_on_signals()
    with progress.doing("starting"):
        return _sample(plan, seconds, stop)


def _sample(plan: Plan, seconds: float, stop: Stop) -> Window:
    from gotax.session import Session

    with Session(plan, Compiling(stop)) as session, _Progress(seconds, f"sampling at {plan.hz} Hz"):
        for window in session.windows(seconds, stop):
            return window
    raise UserError(_STOPPED)


class Compiling:
    """Reports a slow compiler on standard error, and gives up when ``stop`` is set."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._next_s = _QUIET_S

    def __call__(self, waited_s: float) -> None:
        if self._stop.is_set():
            raise UserError(_STOPPED)
        progress.show(f"compiling the BPF program: {waited_s:.0f} s")
        if waited_s >= self._next_s:
            self._next_s += _QUIET_S
            progress.clear()
            print(f"gotax: compiling the BPF program, for {waited_s:.0f} s now", file=sys.stderr)


class _Progress:
    """Shows the remaining time on standard error, if that is a terminal."""

    def __init__(self, seconds: float, what: str) -> None:
        self._what = what
        self._end = time.monotonic() + seconds
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> None:
        if sys.stderr.isatty():
            self._thread = threading.Thread(target=self._draw, daemon=True)
            self._thread.start()

    def _draw(self) -> None:
        while not self._done.is_set():
            left = max(0.0, self._end - time.monotonic())
            progress.show(f"{self._what}: {left:.0f} s left" if left else "evaluating the samples")
            self._done.wait(0.5)

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._done.set()
            self._thread.join()
            progress.clear()
