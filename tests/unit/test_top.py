"""``gotax top`` in a real terminal. Only what it shows is made up: windows without a kernel."""

from __future__ import annotations

import re
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from gotax.cli.terminal import parse_keys

from tests.unit.ptyscreen import BEGIN, END, PtyScreen

PROGRAM = """
import os, signal, sys, time
import gotax.session
from gotax import cli
from tests.unit.exporters.windows import story_window

class Session:
    def __init__(self, plan, watch):
        self.watch = watch
    def __enter__(self):
        while {how!r} == "compiling":
            self.watch(0.5)
            time.sleep(0.001)
        return self
    def __exit__(self, *_):
        print("the session is closed", file=sys.stderr)
    def windows(self, interval, stop, first=1.0):
        assert 0 < first <= 1
        yield story_window()
        while {how!r} == "busy" and not stop.is_set():
            pass
        if {how!r} == "failing":
            raise RuntimeError("a bug")
        stop.wait(1e6)

gotax.session.Session = Session
gotax.cli.live.Session = Session
sys.exit(cli.main(["top", *sys.argv[1:]]))
"""


def top(how: str = "", term: str = "xterm-256color") -> PtyScreen:
    program = "import gotax.cli.live\n" + PROGRAM.format(how=how)
    return PtyScreen([sys.executable, "-c", program], TERM=term)


@pytest.fixture
def terminal() -> Iterator[PtyScreen]:
    with top() as found:
        found.wait_for("payments-api")
        yield found


def require_restored(terminal: PtyScreen) -> None:
    """The modes as before, the normal screen, the cursor, and lines that wrap."""
    assert terminal.modes() == terminal.modes_before
    tail = terminal.written.rpartition(END)[0]
    assert terminal.written.count(BEGIN) == terminal.written.count(END) > 0
    assert tail.endswith(b"\x1b[?7h\x1b[?25h")


def test_keys_of_a_user(terminal: PtyScreen) -> None:
    """Help, sorting, arrows, filter, Enter and Escape, q: what each of them shows."""
    terminal.press("?")
    terminal.wait_for("sort by saving")
    terminal.press("\x1b")
    terminal.wait_for("sorted by cpu")
    terminal.press("n")
    terminal.wait_for("sorted by name")
    terminal.press("\x1b[B\x1bOB")
    terminal.wait_for(lambda text: re.search(r"^▸.*ledger", text, re.M))
    terminal.press("\r")
    terminal.wait_for("explain ledger")
    terminal.press("\x1b")
    terminal.wait_for("sorted by name")
    terminal.press("p")
    terminal.wait_for("processes of ledger")
    terminal.press("q/pay")
    terminal.wait_for("/pay_")
    terminal.press("\r")
    assert "containerd" not in terminal.wait_for("(Esc ends it)")
    terminal.press("q")
    assert terminal.wait_for_end() == 0
    require_restored(terminal)


def test_keys_do_not_wait_for_the_work_on_a_window() -> None:
    """The thread that samples never rests here."""
    with top("busy") as terminal:
        terminal.wait_for("payments-api")
        terminal.press("?")
        terminal.wait_for("sort by saving")
        terminal.press("qq")
        assert terminal.wait_for_end() == 0
        require_restored(terminal)


def test_q_works_while_the_program_is_compiled() -> None:
    with top("compiling") as terminal:
        terminal.wait_for("compiling the BPF program")
        terminal.press("q")
        assert terminal.wait_for_end() == 0
        require_restored(terminal)


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT],
    ids=lambda number: number.name,
)
@pytest.mark.parametrize("how", ["", "compiling"])
def test_signals_restore_the_terminal(how: str, number: signal.Signals) -> None:
    with top(how) as terminal:
        terminal.wait_for("compiling" if how else "payments-api")
        terminal.process.send_signal(number)
        assert terminal.wait_for_end() == 0
        require_restored(terminal)


def test_ctrl_c_of_the_keyboard_restores_the_terminal(terminal: PtyScreen) -> None:
    terminal.press("\x03")
    assert terminal.wait_for_end() == 0
    require_restored(terminal)
    assert "the session is closed" in terminal.text


def test_a_bug_restores_the_terminal_and_is_seen() -> None:
    """The traceback comes after the screen, where it can be read."""
    with top("failing") as terminal:
        assert terminal.wait_for_end() == 1
        require_restored(terminal)
        assert b"RuntimeError: a bug" in terminal.written.rpartition(END)[2]


@pytest.mark.parametrize(("columns", "lines"), [(40, 12), (160, 50), (20, 5)])
def test_a_new_size_is_used_at_once(terminal: PtyScreen, columns: int, lines: int) -> None:
    """Also one that is smaller than any screen of top: nothing scrolls or wraps."""
    terminal.resize(columns, lines)
    text = terminal.wait_for(lambda text: "▸" in text and "▸" not in text.split("\n")[0])
    terminal.press("?")
    terminal.wait_for("gotax top: keys")
    terminal.press("q")
    terminal.wait_for("▸")
    assert len(text.split("\n")) == lines


def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_back(tmp_path: Path) -> None:
    """In a real shell with jobs. Between, the shell has its own screen."""
    program = tmp_path / "top.py"
    program.write_text("import gotax.cli.live\n" + PROGRAM.format(how=""))
    with PtyScreen(["bash", "--norc", "--noprofile", "-i"]) as shell:
        shell.wait_for("prompt>")
        shell.press(f"PYTHONPATH=. {sys.executable} {program}; echo code $?\n")
        for _ in range(2):
            shell.wait_for("sorted by cpu")
            shell.press("\x1a")
            shell.wait_for(lambda text: "Stopped" in text.partition("sorted by cpu")[2])
            assert shell.written.rpartition(END)[0].endswith(b"\x1b[?7h\x1b[?25h")
            shell.press("clear\n")
            shell.wait_for(lambda text: "sorted by cpu" not in text)
            shell.press("fg\n")
        shell.wait_for("sorted by cpu")
        shell.press("?")
        shell.wait_for("sort by saving")
        shell.press("qq")
        # Where on the screen the prompt is then depends on how much was drawn between.
        shell.wait_for(
            lambda _: (
                shell.written.count(END) == 3 and b"prompt> " in shell.written.rpartition(END)[2]
            )
        )
        assert shell.written.count(BEGIN) == shell.written.count(END) == 3


def test_ctrl_z_without_a_shell_goes_on(terminal: PtyScreen) -> None:
    """The kernel does not stop a process that no shell could continue."""
    written = len(terminal.written)
    terminal.press("\x1a")
    terminal.wait_for(lambda _: BEGIN in terminal.written[written:])
    terminal.press("?")
    terminal.wait_for("sort by saving")
    assert not terminal.modes()[3] & termios.ICANON


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_without_a_screen_gets_one_table(term: str) -> None:
    with top("plain", term=term) as terminal:
        assert terminal.wait_for_end() == 0
        assert "1 finding" in terminal.text or "findings in" in terminal.text
        assert b"\x1b[?" not in terminal.written


@pytest.mark.parametrize(
    ("data", "keys", "rest"),
    [
        (b"q", ["q"], b""),
        (b"\x1b[A\x1bOB\x1b[5~\x1b[6~", ["up", "down", "pageup", "pagedown"], b""),
        (b"\x1b[H\x1b[4~\r\x7f", ["home", "end", "enter", "backspace"], b""),
        (b"a\x1b", ["a"], b"\x1b"),
        (b"\x1b[", [], b"\x1b["),
        (b"\x1b[1;5", [], b"\x1b[1;5"),
        (b"\x1b[1;5Aq", ["q"], b""),
        (b"\x1b[200~pasted\x1b[201~", list("pasted"), b""),
        (b"\x1bq", ["escape", "q"], b""),
        ("é文😀".encode(), ["é", "文", "😀"], b""),
        ("é".encode()[:1], [], "é".encode()[:1]),
        (b"\xff\xfe\x80q", ["q"], b""),
        (b"\x00\x01\x02", [], b""),
        (b"", [], b""),
    ],
)
def test_keys_are_parsed(data: bytes, keys: list[str], rest: bytes) -> None:
    """Unknown sequences and bytes that are no text are no keys. What is unfinished waits."""
    assert parse_keys(data) == (keys, rest)
