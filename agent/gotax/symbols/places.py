"""What an address is: a location, and the class codes of its frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from gotax.golang import categories
from gotax.linux.procfs import UNLISTED
from gotax.processes.layout import Backing
from gotax.profile import Frame, FrameKind, Location

_ROOTS = (categories.CUT_GOEXIT, categories.CUT_MSTART, categories.CUT_ENTRY)
_ENDS = (*_ROOTS, categories.CUT_MCALL, categories.CUT_MORESTACK)


@dataclass(frozen=True, slots=True, eq=False)  # by identity: there is one per range
class Place:
    """A location with the class codes of its frames, innermost first.

    Beyond a root there is nothing. A stack may also end where the thread's own stack begins
    (stacks.py), and is complete if it gets there.
    """

    location: Location
    codes: tuple[int, ...]
    is_root: bool = False
    is_end: bool = False


def _native_place(name: str, code: int) -> Place:
    return Place(Location(name, "", 0, (Frame(name, kind=FrameKind.NATIVE),)), (code,))


def place_of(location: Location, codes: tuple[int, ...]) -> Place:
    is_end = any(code in _ENDS for code in codes)
    return Place(location, codes, is_end and any(code in _ROOTS for code in codes), is_end)


TRUNCATED = _native_place("[truncated]", categories.TRANSPARENT)
# Only a file that was read makes C code of an address. These are known for less.
UNMAPPED = _native_place("[unmapped]", categories.UNPLACED)
UNREADABLE = _native_place("[unreadable module]", categories.UNPLACED)
WITHOUT_FILE = {
    Backing.UNREADABLE: UNREADABLE,
    Backing.UNLISTED: _native_place(UNLISTED, categories.UNPLACED),
    Backing.GENERATED: _native_place("[generated code]", categories.GENERATED),
    Backing.VDSO: _native_place("[vdso]", categories.TRANSPARENT),
    Backing.UPROBES: _native_place("[uprobes]", categories.TRANSPARENT),
}
_NOWHERE = (UNMAPPED, UNREADABLE, WITHOUT_FILE[Backing.UNLISTED])


def beyond(places: list[Place]) -> Iterator[Place]:
    """What a stack still has behind its end, which is the first of these: the parked goroutine.

    Nothing behind a root, and nothing behind the first address that is nowhere: leftovers.
    """
    for place, following in itertools.pairwise(places):
        if place.is_root or following in _NOWHERE:
            return
        yield following
