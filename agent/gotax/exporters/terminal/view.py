"""``gotax top``: what the user has chosen, and what a key changes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from gotax.exporters.terminal.check import saving_cores, worst_first
from gotax.exporters.terminal.table import Sort
from gotax.rolling import Minute
from gotax.window import ContainerReport

_FILTER_MAX = 64
_PAGE = 10

SORT_KEYS = {
    "v": Sort.VERDICT,
    "c": Sort.CPU,
    "r": Sort.RUNTIME,
    "w": Sort.SAVING,
    "t": Sort.THROTTLED,
    "n": Sort.NAME,
}


class Page(Enum):
    """What the screen shows."""

    TABLE = "table"
    EXPLAIN = "explain"
    PROCESSES = "processes"
    HELP = "help"


@dataclass(frozen=True, slots=True)
class View:
    """``selected``: the key of a container, "" for the first one. ``pattern``: only containers with
    it in their name. ``is_typing``: keys go into the pattern. ``scroll``: lines above the screen of
    a page that is no table."""

    sort: Sort = Sort.CPU
    page: Page = Page.TABLE
    selected: str = ""
    pattern: str = ""
    is_typing: bool = False
    scroll: int = 0
    has_ended: bool = False


def pressed(view: View, key: str, minute: Minute | None, bottom: int) -> View:
    """The view after a key: a character, or a name such as ``up``. Unknown keys change nothing.

    ``bottom`` is that of what is drawn.
    """
    if view.is_typing:
        return _typed(view, key)
    if key == "q" and view.page is Page.TABLE:
        return replace(view, has_ended=True)
    if key == "?" and view.page is not Page.HELP:
        return replace(view, page=Page.HELP, scroll=0)
    if view.page is not Page.TABLE:
        if key in ("escape", "q", "?", "left", "backspace"):
            return replace(view, page=Page.TABLE, scroll=0)
        moved = _moved(min(view.scroll, bottom), key, bottom)
        return replace(view, scroll=min(max(moved, 0), bottom))
    if key in SORT_KEYS:
        return replace(view, sort=SORT_KEYS[key])
    if key == "s":
        order = list(SORT_KEYS.values())
        return replace(view, sort=order[(order.index(view.sort) + 1) % len(order)])
    if key == "/":
        return replace(view, is_typing=True)
    if key == "escape":
        return replace(view, pattern="")
    rows = rows_of(view, minute)
    if not rows:
        return view
    at = position(view, rows)
    if key in ("enter", "right"):
        return replace(view, page=Page.EXPLAIN, selected=rows[at].container.key, scroll=0)
    if key == "p":
        return replace(view, page=Page.PROCESSES, selected=rows[at].container.key, scroll=0)
    moved = min(max(_moved(at, key, len(rows) - 1), 0), len(rows) - 1)
    return view if moved == at else replace(view, selected=rows[moved].container.key)


def _typed(view: View, key: str) -> View:
    if key == "enter":
        return replace(view, is_typing=False)
    if key == "escape":
        return replace(view, is_typing=False, pattern="")
    if key == "backspace":
        return replace(view, pattern=view.pattern[:-1], is_typing=bool(view.pattern))
    if key == "clear":
        return replace(view, pattern="")
    if len(key) == 1 and len(view.pattern) < _FILTER_MAX:
        return replace(view, pattern=view.pattern + key)
    return view


def _moved(at: int, key: str, last: int) -> int:
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -_PAGE, "pagedown": _PAGE, " ": _PAGE}
    if key in ("home", "g"):
        return 0
    return last if key in ("end", "G") else at + steps.get(key, 0)


def sorted_reports(reports: Iterable[ContainerReport], sort: Sort) -> list[ContainerReport]:
    if sort is Sort.VERDICT:
        return worst_first(reports)
    keys: dict[Sort, Callable[[ContainerReport], tuple[float | str, ...]]] = {
        Sort.CPU: lambda r: (-r.samples,),
        Sort.RUNTIME: lambda r: (-r.runtime_share, -r.samples),
        Sort.THROTTLED: lambda r: (-(r.usage.throttled_ns or 0), -r.samples),
        Sort.SAVING: lambda r: (-saving_cores(r), -r.samples),
        Sort.NAME: lambda r: (r.container.name, r.container.key),
    }
    return sorted(reports, key=keys[sort])


def rows_of(view: View, minute: Minute | None) -> list[ContainerReport]:
    """The containers of the table, in its order."""
    if minute is None:
        return []
    wanted = view.pattern.casefold()
    found = (r for r in minute.window.reports if wanted in r.container.name.casefold())
    return sorted_reports(found, view.sort)


def position(view: View, rows: Sequence[ContainerReport]) -> int:
    """That of the selected container; the first one if it is not there."""
    keys = [row.container.key for row in rows]
    return keys.index(view.selected) if view.selected in keys else 0
