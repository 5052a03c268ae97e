"""A program in a terminal of its own, and what its user would see there."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyte

from tests.patience import PATIENCE_S, is_readable

ROOT = Path(__file__).parents[2]
BEGIN, END = b"\x1b[?1049h", b"\x1b[?1049l"
"""To the alternate screen, and back."""


class PtyScreen:
    """Runs ``arguments`` as the leader of a session with a terminal."""

    def __init__(self, arguments: Sequence[str], **environment: str) -> None:
        self._master, self._slave = pty.openpty()
        self._screen = pyte.Screen(100, 24)
        self._set_size(100, 24)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self.modes_before = self.modes()
        usual = {**os.environ, "TERM": "xterm-256color", "PS1": "prompt> "}
        usual.pop("NO_COLOR", None)
        self.process = subprocess.Popen(
            arguments,
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            cwd=ROOT,
            env={**usual, **environment},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._slave)
        os.close(self._master)

    def modes(self) -> list[Any]:
        """Of the terminal: whether it echoes, and so on."""
        return termios.tcgetattr(self._slave)

    def resize(self, columns: int, lines: int) -> None:
        """The kernel sends SIGWINCH to the program in the foreground."""
        self._screen.resize(lines, columns)
        self._set_size(columns, lines)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    @property
    def screen(self) -> pyte.Screen:
        """With the colours of each cell."""
        return self._screen

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, text: str | Callable[[str], Any]) -> str:
        """The screen, once it has this text."""
        deadline = time.monotonic() + PATIENCE_S
        while not (text(self.text) if callable(text) else text in self.text):
            assert time.monotonic() < deadline, f"no {text!r} in:\n{self.text}"
            self._read()
        return self.text

    def wait_for_end(self) -> int:
        """The exit code, when everything is read."""
        deadline = time.monotonic() + PATIENCE_S
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it still runs:\n{self.text}"
            self._read()
        while self._read(0.0):
            pass
        assert self.process.returncode is not None
        return self.process.returncode

    def _read(self, within_s: float = 0.05) -> bool:
        if not is_readable(self._master, within_s):
            return False
        data = os.read(self._master, 65536)
        self.written += data
        self._stream.feed(data)
        return True
