"""The long lists of mappings that gotax keeps, of all processes together.

A mapping takes some 230 bytes. A process may have 4,096 executable ones, and a container hundreds
of such processes.
"""

from __future__ import annotations

from typing import Protocol

_LONG = 256  # mappings. Of Go programs, nearly all have less than 20
_MAX = 64 * 1024


class Owner(Protocol):
    def drop_mappings(self) -> None:
        """They are read again when they are needed."""


class LongLists:
    """Those read last; the owners of the others drop them."""

    def __init__(self) -> None:
        self._lengths: dict[Owner, int] = {}
        self._total = 0

    def __len__(self) -> int:
        return self._total

    def keep(self, owner: Owner, length: int) -> None:
        self.forget(owner)
        if length <= _LONG:
            return
        self._lengths[owner] = length
        self._total += length
        while self._total > _MAX:
            oldest = next(iter(self._lengths))
            self.forget(oldest)
            oldest.drop_mappings()

    def forget(self, owner: Owner) -> None:
        self._total -= self._lengths.pop(owner, 0)
