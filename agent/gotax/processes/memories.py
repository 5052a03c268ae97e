"""The memory of containers, read rarely: a limit hardly ever changes, and a node has many."""

from __future__ import annotations

from dataclasses import dataclass

from gotax.errors import ProcessGoneError, ReadError
from gotax.linux.cgroups.memory import CgroupMemory
from gotax.linux.cgroups.position import CgroupPosition
from gotax.process import Memory
from gotax.processes.counts import ErrorCounts

EVERY = 12
"""Windows until the memory of a container with samples is read again."""


@dataclass(slots=True)
class _Known:
    memory: Memory | None
    read: int  # in which window
    seen: int


class Memories:
    """Bounded by the containers that live: call ``end_window`` once a window."""

    def __init__(self, cgroups: CgroupMemory, errors: ErrorCounts) -> None:
        self._cgroups = cgroups
        self._errors = errors
        self._known: dict[str, _Known] = {}
        self._window = 0

    def __len__(self) -> int:
        return len(self._known)

    def of(self, key: str, position: CgroupPosition, has_samples: bool) -> Memory | None:
        """Of the container of this key; None: never read, or not readable.

        A container without samples is not read: what it used is not news, and costs a read.
        """
        known = self._known.get(key)
        is_due = known is None or self._window - known.read >= EVERY
        if is_due and has_samples:
            known = _Known(self._read(position), self._window, self._window)
            self._known[key] = known
        if known is None:
            return None
        known.seen = self._window
        return known.memory

    def _read(self, position: CgroupPosition) -> Memory | None:
        try:
            return self._cgroups.read(position)
        except ProcessGoneError:
            return None
        except ReadError as error:
            self._errors.note(error)
            return None

    def end_window(self) -> None:
        """Forget the containers without a report in this window."""
        for key in [k for k, known in self._known.items() if known.seen != self._window]:
            del self._known[key]
        self._window += 1
        self._cgroups.forget_ancestors()
