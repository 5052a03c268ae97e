"""``python -m tests.pictures``: the pictures of the README, of programs that run now.

The service of the demo runs twice, with GOMAXPROCS=192 and with 1, each below a limit of one CPU.
``gotax top`` and ``gotax web`` watch them, and what a terminal and a browser then show goes to
docs/pictures/. It needs root, Go, Chromium, and two minutes on a host with little else to do.
"""

from __future__ import annotations

import argparse
import html
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from tests.collector.browser import CHROMIUM, DRIVER, Browser, browsing, wait
from tests.kernel.test_web import web
from tests.patience import PATIENCE_S
from tests.unit.ptyscreen import ROOT, PtyScreen
from tests.unit.test_demo import load

FOLDER = ROOT / "docs" / "pictures"
RUNS = (("oversized", 192), ("right-sized", 1))
MODULE = "gotax.dev/demo/service"
WATCHED_S = 75.0
"""What the table of gotax top covers is then a whole minute."""
SIZE = (110, 14)
WIDTH = 1280
CELL, LINE = 8.4, 19
COLOURS = {
    "default": "#d4d7dd",
    "red": "#ff7b72",
    "green": "#56d364",
    "brown": "#e3b341",  # pyte's name of yellow
    "yellow": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#76e3ea",
}
GROUND = "#16191f"
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"


class PicturesError(Exception):
    """No pictures can be made; the text is one sentence."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.pictures", description="Make docs/pictures/.")
    parser.add_argument("--seconds", type=float, default=WATCHED_S, help=f"({WATCHED_S:g})")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    try:
        make(options.folder, options.seconds)
    except PicturesError as error:
        print(f"pictures: {error}", file=sys.stderr)
        return 2
    return 0


def make(folder: Path, seconds: float) -> None:
    if os.geteuid() != 0:
        raise PicturesError("profiling needs root")
    if CHROMIUM is None or DRIVER is None:
        raise PicturesError("no Chromium: apt-get install chromium chromium-driver")
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        parent = stack.enter_context(services())
        temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        _, url = stack.enter_context(web(temporary))
        command = (sys.executable, "-m", "gotax", "top", "--cgroup", parent, "--sort", "verdict")
        terminal = stack.enter_context(PtyScreen(command, COLORTERM="", LANG="C.UTF-8"))
        terminal.resize(*SIZE)
        begun = time.monotonic()

        def is_full(text: str) -> bool:
            """Also reads what the terminal gets meanwhile."""
            if terminal.process.poll() is not None:
                raise PicturesError(f"gotax top has ended: {text.strip()}")
            return time.monotonic() - begun > seconds and "right-sized" in text

        terminal.wait_for(is_full)
        save(folder / "top.svg", drawn(terminal.screen))
        terminal.press("q")
        with browsing(f"--window-size={WIDTH},800") as browser:
            browser.set_size(WIDTH, 800)
            photograph(browser, folder, url, f"{parent[1:]}/oversized")


@contextmanager
def services() -> Iterator[str]:
    """The parent of the cgroups in which they run."""
    sys.path.insert(0, str(ROOT / "demo"))  # its scripts import each other
    run: Any = load("run")
    try:
        tools = run.find_tools()
        binary = run.build_service(tools.go)
        with ExitStack() as stack:
            groups = stack.enter_context(
                run.limited_groups(tuple(name for name, _ in RUNS), run.LIMIT_CORES)
            )
            for group, (_, value) in zip(groups, RUNS, strict=True):
                stack.enter_context(run.running_service(binary, group, value))
            yield f"/{Path(groups[0].path).parent}"
    except (run.DemoError, run.LimitError) as error:
        raise PicturesError(str(error)) from error


def photograph(browser: Browser, folder: Path, url: str, container: str) -> None:
    """The oversized container of the workload that the first page lists, and its flame graph."""
    end = time.monotonic() + PATIENCE_S
    while True:
        browser.open(url)
        links = browser.run(
            "return [...document.querySelectorAll('td.name a')].map(a => [a.href, a.textContent])"
        )
        found = [href for href, text in links if text.endswith(MODULE)]
        if found:
            break
        if time.monotonic() > end:
            raise PicturesError(f"the page does not list {MODULE}: {browser.text()[:300]}")
        time.sleep(1)
    parts = urlsplit(found[0])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    query["q"] += f' container="{container}"'
    query["since"] = "60s"  # as gotax top: without the window in which the binary was not read yet
    browser.open(urlunsplit(parts._replace(query=urlencode(query))))
    save_page(browser, folder / "workload.png", 860)
    browser.open(urlunsplit(parts._replace(path="/flamegraph", query=urlencode(query))))
    wait(browser, "return document.querySelector('canvas')?.width > 300")
    time.sleep(1)  # it is drawn in the next frames
    save_page(browser, folder / "flamegraph.png", 700)


def save_page(browser: Browser, file: Path, height: int) -> None:
    browser.set_size(WIDTH, height)
    complaints = browser.complaints()
    if complaints:
        raise PicturesError(f"the browser complains of {file.stem}: {complaints[0]}")
    browser.screenshot(file)
    print(f"{file}: {file.stat().st_size:,} bytes")


def save(file: Path, text: str) -> None:
    file.write_text(text)
    print(f"{file}: {file.stat().st_size:,} bytes")


def drawn(screen: Any) -> str:
    """The screen of a terminal as SVG, with real text."""
    width, height = screen.columns * CELL + 24, screen.lines * LINE + 24
    size = f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        f'<rect width="100%" height="100%" rx="8" fill="{GROUND}"/>',
        f'<g font-family="{FONTS}" font-size="14">',
    ]
    for number in range(screen.lines):
        cells = [screen.buffer[number][column] for column in range(screen.columns)]
        at = 0
        for look, run in groupby(cells, key=look_of):
            text = "".join(cell.data for cell in run)
            parts += drawn_run(text, at, number, look)
            at += len(text)
    return "\n".join([*parts, "</g></svg>", ""])


def look_of(cell: Any) -> tuple[str, str, bool]:
    """(colour, ground, bold)"""
    colour = COLOURS.get(cell.fg.removeprefix("bright"), COLOURS["default"])
    ground = "" if cell.bg == "default" else COLOURS.get(cell.bg.removeprefix("bright"), "")
    if cell.reverse:
        colour, ground = ground or GROUND, colour
    return colour, ground, cell.bold


def drawn_run(text: str, at: int, line: int, look: tuple[str, str, bool]) -> Iterator[str]:
    colour, ground, is_bold = look
    left, top = 12 + at * CELL, 12 + line * LINE
    if ground:
        yield (
            f'<rect x="{left:g}" y="{top:g}" width="{len(text) * CELL:g}" height="{LINE}"'
            f' fill="{ground}"/>'
        )
    weight = ' font-weight="bold"' if is_bold else ""
    # Each column has its place, whatever font the reader has, and viewers merge several blanks.
    for words in re.finditer(r"\S+(?: \S+)*", text):
        x = left + words.start() * CELL
        shown = html.escape(words[0], quote=False).replace(" ", "\u00a0")
        yield (
            f'<text x="{x:g}" y="{top + 14:g}" textLength="{len(words[0]) * CELL:g}"'
            f' fill="{colour}"{weight}>{shown}</text>'
        )


if __name__ == "__main__":
    sys.exit(main())
