#!/usr/bin/env python3
"""What `make run` does: a verdict for each Go service of this host, and then what the user chooses.

It asks only if standard input and standard output are a terminal.
"""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

GOTAX = os.environ.get("GOTAX", str(Path(sys.executable).parent / "gotax"))
NO_GO = b"No Go process runs on this host"
EXIT_FINDINGS = 1


def main() -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return verdict(subprocess.run([GOTAX, "check"], check=False).returncode)
    code, printed = watched([GOTAX, "check"])
    if verdict(code):
        return code
    if NO_GO in printed:
        print(
            "\n`make demo` shows what gotax finds: it builds a small Go service and runs it twice"
            "\nwith a limit of 1 CPU, oversized and right-sized. It takes about a minute."
        )
        return run("make", "demo") if asked("Run it now? [y/N] ") in ("y", "yes") else 0
    answer = asked("\nEnter: live in this terminal. w: live in a browser. q: quit. ")
    if answer == "":
        return run(GOTAX, "top")
    return run("make", "web") if answer == "w" else 0


def verdict(code: int) -> int:
    """Findings are no failure of `make run`."""
    return 0 if code == EXIT_FINDINGS else code


def watched(command: list[str]) -> tuple[int, bytes]:
    """Runs a command in a terminal as wide as this one. Its exit code and what it printed."""
    printed = b""

    def read(descriptor: int) -> bytes:
        nonlocal printed
        data = os.read(descriptor, 65536)
        printed += data
        return data

    size = shutil.get_terminal_size()
    os.environ["COLUMNS"], os.environ["LINES"] = str(size.columns), str(size.lines)
    status = pty.spawn(command, read)
    del os.environ["COLUMNS"], os.environ["LINES"]  # the window may change its size
    return os.waitstatus_to_exitcode(status), printed


def asked(question: str) -> str | None:
    """The answer; None at Ctrl-C and Ctrl-D.

    Not by ``input``: it loses a Ctrl-C that comes between its question and its read.
    """
    woken, waking = os.pipe()
    os.set_blocking(waking, False)
    before = signal.set_wakeup_fd(waking)
    try:
        print(question, end="", flush=True)
        select.select([sys.stdin, woken], [], [])
        line = sys.stdin.readline()
    except KeyboardInterrupt:
        line = ""
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(waking)
    if not line:
        print()
        return None
    return line.strip().lower()


def run(*command: str) -> int:
    sys.stdout.flush()
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main())
