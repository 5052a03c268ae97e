"""A full screen of a terminal and its keys, and the terminal as it was before at the end."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import time
from collections.abc import Sequence
from types import FrameType, TracebackType
from typing import Any, Self

from gotax.cli.stopping import StopSignal

_BEGIN = "\x1b[?1049h\x1b[?25l\x1b[?7l"  # the alternate screen, no cursor, no wrapping of lines
_END = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_LOCAL, _INPUT = 3, 0  # of the list of termios
_ESCAPE_S = 0.03
"""How long the rest of a key's sequence may take. After it, an ESC is the key Escape."""
_STOP_S = 0.05
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O.)", re.S)
_UNFINISHED = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)?")
_NAMES = {
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[C": "right",
    b"\x1bOC": "right",
    b"\x1b[D": "left",
    b"\x1bOD": "left",
    b"\x1b[5~": "pageup",
    b"\x1b[6~": "pagedown",
    **dict.fromkeys((b"\x1b[H", b"\x1bOH", b"\x1b[1~", b"\x1b[7~"), "home"),
    **dict.fromkeys((b"\x1b[F", b"\x1bOF", b"\x1b[4~", b"\x1b[8~"), "end"),
    **dict.fromkeys((b"\r", b"\n"), "enter"),
    **dict.fromkeys((b"\x7f", b"\x08"), "backspace"),
    b"\x15": "clear",
    b"\x1b": "escape",
}


def parse_keys(data: bytes) -> tuple[list[str], bytes]:
    """The keys in what was read, and an unfinished rest. Unknown sequences are no keys."""
    keys = []
    while data:
        if found := _SEQUENCE.match(data):
            one = found[0]
        elif (left := _UNFINISHED.match(data)) and left.end() == len(data):
            break
        else:
            length = _utf8_length(data[0])
            one = data[:length]
            if len(one) < length:
                break
        data = data[len(one) :]
        text = one.decode("utf-8", "ignore")
        name = _NAMES.get(one, text if len(text) == 1 and text.isprintable() else "")
        if name:
            keys.append(name)
    return keys, data


def _utf8_length(first: int) -> int:
    """Bytes of a character, by the first one."""
    return 4 if first >= 0xF0 else 3 if first >= 0xE0 else 2 if first >= 0xC0 else 1


class Terminal:
    """Standard output as a screen, standard input as keys, from ``__enter__`` to ``__exit__``.

    It belongs to the main thread, but for ``wake``. Ctrl-Z gives the terminal back until the
    process continues.
    """

    def __init__(self, stop: StopSignal) -> None:
        self._stop = stop
        self._in = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._out = sys.stdout.fileno()
        self._saved: list[Any] | None = None
        self._is_shown = False
        self._rest = b""
        self._woken, self._waking = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        handlers = {
            signal.SIGTSTP: self._suspend,
            signal.SIGCONT: self._resume,
            signal.SIGWINCH: lambda *_: self.wake(),
            signal.SIGHUP: lambda *_: self._stop.set(),
            signal.SIGQUIT: lambda *_: self._stop.set(),
        }
        for number, handler in handlers.items():
            self._handlers[number] = signal.signal(number, handler)
        self._show()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._hide()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._woken)
        os.close(self._waking)

    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        try:
            found = os.get_terminal_size(self._out)
        except OSError:
            return 80, 24
        return found.columns or 80, found.lines or 24

    def draw(self, lines: Sequence[str]) -> None:
        """Replaces the screen, without flicker."""
        self._show()  # the shell's fg after bg sends no signal
        if self._is_shown:
            self._write("\x1b[H" + "\x1b[K\r\n".join(lines) + "\x1b[K\x1b[J")

    def wake(self) -> None:
        """Ends ``wait``. May be called from any thread."""
        try:
            os.write(self._waking, b"\0")
        except BlockingIOError:
            pass  # many wakes already wait

    def wait(self, timeout_s: float) -> list[str]:
        """Until a key, ``wake``, a stop or the timeout. The keys."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        self._stop.register(poll)
        if self._in is not None and self._is_shown:
            poll.register(self._in, select.POLLIN)
        found = dict(poll.poll(1000 * (_ESCAPE_S if self._rest else timeout_s)))
        if self._woken in found:
            os.read(self._woken, 4096)
        if self._in in found:
            return self._read(self._in)
        rest, self._rest = self._rest, b""
        return ["escape"] if rest == b"\x1b" else []

    def _read(self, file: int) -> list[str]:
        try:
            data = os.read(file, 4096)
        except OSError:
            data = b""
        if not data:  # the terminal is gone
            self._stop.set()
        keys, self._rest = parse_keys(self._rest + data)
        return keys

    def _show(self) -> None:
        if self._is_shown or not self._is_in_foreground():
            return
        if self._in is not None:
            self._saved = termios.tcgetattr(self._in)
            changed = [*self._saved]
            changed[_LOCAL] &= ~(termios.ECHO | termios.ICANON)
            changed[_INPUT] &= ~termios.IXON  # Ctrl-S would stop the screen, and hold the end up
            termios.tcsetattr(self._in, termios.TCSADRAIN, changed)
        self._is_shown = True
        self._write(_BEGIN)

    def _hide(self) -> None:
        """As ``__enter__`` found it. In the background it is the shell's already."""
        if not self._is_shown:
            return
        self._is_shown = False
        try:
            self._write(_END)
            if self._saved is not None and self._in is not None and self._is_in_foreground():
                termios.tcsetattr(self._in, termios.TCSADRAIN, self._saved)
        except (OSError, termios.error):
            pass  # the terminal is gone

    def _is_in_foreground(self) -> bool:
        """Only then the terminal may be changed: the kernel stops a process that does it from the
        background."""
        try:
            return os.tcgetpgrp(self._out) == os.getpgrp()
        except OSError:
            return True  # not the terminal that controls this process

    def _suspend(self, *_: int | FrameType | None) -> None:
        self._hide()
        mine = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Another thread may take the signal. A process without a shell is not stopped at all.
        time.sleep(_STOP_S)
        signal.signal(signal.SIGTSTP, mine)
        self._resume()

    def _resume(self, *_: int | FrameType | None) -> None:
        self._show()
        self.wake()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()
