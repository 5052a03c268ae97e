"""What a browser needs for a flame graph: the call tree as JSON, and the script that draws it.

The agent's files (`gotax record -o cpu.html`) and the collector's pages use the same.
"""

from __future__ import annotations

from importlib.resources import files

STYLES, SCRIPTS = ("theme.css", "flamegraph.css"), ("flamegraph.js",)


def asset(name: str) -> str:
    """The text of one of ``STYLES`` or ``SCRIPTS``."""
    return files("gotax.page").joinpath(name).read_text("utf-8")
