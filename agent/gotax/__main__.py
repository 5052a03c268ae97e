"""The command ``gotax``, also as ``python -m gotax``.

Loads next to nothing itself: what comes while the rest is loaded must not find Python unprepared.
"""

import os
import signal
import sys


def main() -> int:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # An exception in the middle of an import is a traceback, and at times half a module.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from gotax.cli import main as run

    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = run()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the interpreter's own end is no place for it
    return code


if __name__ == "__main__":
    sys.exit(main())
