"""The live screen of ``gotax top``.

Two threads: one samples, as every session does, and the main one draws and answers keys. So a key
never waits for the work on a window.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

from gotax.cli.output import no_go, style_of
from gotax.cli.stopping import StopSignal
from gotax.cli.terminal import Terminal
from gotax.errors import GotaxError
from gotax.exporters.style import Style
from gotax.exporters.terminal.live import NARROWEST, Drawn, draw
from gotax.exporters.terminal.view import View, pressed
from gotax.rolling import Minute, Rolling
from gotax.session import Plan, Session

FIRST_S = 0.3
"""The first window is short, so that there is a table soon."""
_SOON_S = 1.0
_IDLE_S = 10.0
_MESSAGES_MAX = 20
_COMPILING = "compiling the BPF program …"
_COLLECTING = "collecting: the first table comes in a moment …"


def is_possible() -> bool:
    """Whether standard output is a terminal that can show a screen."""
    return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


def show(plan: Plan, interval_s: float, view: View, stop: StopSignal) -> None:
    """Until ``q`` or a signal."""
    with _quiet(), Terminal(stop) as terminal:
        screen = _Screen(terminal, view, stop)
        try:
            with Session(plan, screen.compiling) as session:
                _show(session, interval_s, screen, stop)
        except _StoppedError:
            return


def _show(session: Session, interval_s: float, screen: _Screen, stop: StopSignal) -> None:
    rolling = Rolling()

    def sample() -> None:
        for window in session.windows(interval_s, stop, min(FIRST_S, interval_s)):
            screen.receive(rolling.add(window))

    with ThreadPoolExecutor(1, "sampling") as pool:
        sampling = pool.submit(sample)
        sampling.add_done_callback(lambda _: screen.wake())
        try:
            while not stop.is_set() and not sampling.done():
                screen.step(_COLLECTING, _IDLE_S)
        finally:
            stop.set()
        sampling.result()


class _StoppedError(GotaxError):
    """The user has quit while the BPF program was compiled."""


class _Screen:
    """What is shown. ``receive`` and ``wake`` may be called from any thread."""

    def __init__(self, terminal: Terminal, view: View, stop: StopSignal) -> None:
        self._terminal = terminal
        self._view = view
        self._stop = stop
        self._minute: Minute | None = None
        self._drawn = Drawn([])

    def receive(self, minute: Minute) -> None:
        self._minute = minute
        self.wake()

    def wake(self) -> None:
        self._terminal.wake()

    def compiling(self, waited_s: float) -> None:
        """Called again and again while the BPF program is compiled. Raises to give up."""
        text = _COMPILING if waited_s < _SOON_S else f"{_COMPILING} {waited_s:.0f} s"
        self.step(text, 0.0)
        if self._stop.is_set():
            raise _StoppedError

    def step(self, waiting_for: str, wait_s: float) -> None:
        """Draw, and wait for a key or a new window."""
        minute = self._minute
        text = waiting_for if minute is None else no_go(minute.window)
        self._drawn = draw(self._view, minute, self._style(), text)
        self._terminal.draw(self._drawn.lines)
        for key in self._terminal.wait(wait_s):
            self._view = pressed(self._view, key, minute, self._drawn.bottom)
        if self._view.has_ended:
            self._stop.set()

    def _style(self) -> Style:
        style: Style = style_of(sys.stdout)
        width, height = self._terminal.size()
        return replace(style, width=width, height=height, narrowest=NARROWEST)


class _Kept(logging.Handler):
    """Keeps the last messages, which would be written across the screen."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages = [*self.messages[1 - _MESSAGES_MAX :], record.getMessage()]


@contextmanager
def _quiet() -> Iterator[None]:
    """Messages of the log come after the screen."""
    kept = _Kept()
    logging.getLogger().addHandler(kept)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(kept)
        for message in kept.messages:
            print(f"gotax: {message}", file=sys.stderr)
