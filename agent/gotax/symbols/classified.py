"""What an address is: a location, and the class codes of its frames."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from gotax.golang import categories
from gotax.linux.mappings import UNLISTED
from gotax.processes.layout import Backing
from gotax.profile import Frame, FrameKind, Location

_ROOTS = (categories.CUT_GOEXIT, categories.CUT_MSTART, categories.CUT_ENTRY)
_ENDS = (*_ROOTS, categories.CUT_MCALL, categories.CUT_MORESTACK)


_random = random.SystemRandom()


@dataclass(frozen=True, slots=True, eq=False)  # by identity: there is one per range
class ClassifiedLocation:
    """A location with the class codes of its frames, innermost first.

    Beyond a root there is nothing. A stack may also end where the thread's own stack begins
    (stacks.py), and is complete if it gets there. ``weight`` is random: sums of weights tell stacks
    of locations apart.
    """

    location: Location
    codes: tuple[int, ...]
    is_root: bool = False
    is_end: bool = False
    weight: int = field(default_factory=lambda: _random.getrandbits(64))


def _native_location(name: str, code: int) -> ClassifiedLocation:
    return ClassifiedLocation(Location(name, "", 0, (Frame(name, kind=FrameKind.NATIVE),)), (code,))


def classified_location(location: Location, codes: tuple[int, ...]) -> ClassifiedLocation:
    is_end = any(code in _ENDS for code in codes)
    return ClassifiedLocation(
        location, codes, is_end and any(code in _ROOTS for code in codes), is_end
    )


TRUNCATED = _native_location("[truncated]", categories.TRANSPARENT)
# Only a file that was read makes C code of an address. These are known for less.
UNMAPPED = _native_location("[unmapped]", categories.UNPLACED)
UNREADABLE = _native_location("[unreadable module]", categories.UNPLACED)
NOT_READ_YET = _native_location("[not read yet]", categories.UNPLACED)  # no time; asked again
WITHOUT_FILE = {
    Backing.UNREADABLE: UNREADABLE,
    Backing.UNLISTED: _native_location(UNLISTED, categories.UNPLACED),
    Backing.GENERATED: _native_location("[generated code]", categories.GENERATED),
    Backing.VDSO: _native_location("[vdso]", categories.TRANSPARENT),
    Backing.UPROBES: _native_location("[uprobes]", categories.TRANSPARENT),
}
NOWHERE = frozenset({UNMAPPED, UNREADABLE, NOT_READ_YET, WITHOUT_FILE[Backing.UNLISTED]})
"""Leftovers, if they stand behind the end of a stack."""
