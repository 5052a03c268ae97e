"""What is being done, on standard error, if that is a terminal. It is removed at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CLEAR = "\r\x1b[K"


def show(text: str) -> None:
    """Replaces what is shown."""
    if sys.stderr.isatty():
        print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)


def clear() -> None:
    show("")


@contextmanager
def doing(text: str) -> Iterator[None]:
    show(text)
    try:
        yield
    finally:
        clear()
