"""Shares texts between the dictionaries of all streams, and counts the memory of each.

The agents of a fleet see the same programs. So each text is kept once and counted once, until the
last dictionary that uses it is gone. A dictionary also lives as long as a waiting report needs it.
sys.intern is no alternative: some versions of Python never free interned texts.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence

_TEXT_BYTES = 80  # estimated size of a text's entries in the two tables here
_ROOM_SHARE = 7 / 8


class DictionaryPool:
    """The texts of all dictionaries, and the memory of all together. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        self._uses: dict[str, int] = {}
        self._bytes = 0
        # A finalizer may run anywhere, even within a method of this class. So it only appends here.
        self._ended: deque[DictionaryMemory] = deque()

    @property
    def held_bytes(self) -> int:
        """Of all dictionaries in use, with their texts."""
        with self._lock:
            self._settle()
            return self._bytes

    @property
    def texts(self) -> int:
        """How many distinct texts there are."""
        with self._lock:
            self._settle()
            return len(self._texts)

    def register(self, owner: object) -> DictionaryMemory:
        """Count the memory of ``owner`` until it is garbage-collected."""
        memory = DictionaryMemory(self)
        weakref.finalize(owner, self._ended.append, memory).atexit = False
        return memory

    def _share(self, memory: DictionaryMemory, new: Iterable[str]) -> list[str]:
        shared = []
        with self._lock:
            self._settle()
            for text in new:
                kept = self._texts.setdefault(text, text)
                uses = self._uses.get(kept, 0)
                self._uses[kept] = uses + 1
                if not uses:
                    size = _size(kept)
                    self._bytes += size
                    memory.text_bytes += size
                shared.append(kept)
        return shared

    def _resize(self, memory: DictionaryMemory, size: int) -> None:
        with self._lock:
            self._bytes += size - memory.own_bytes
            memory.own_bytes = size

    def _settle(self) -> None:
        while self._ended:
            memory = self._ended.popleft()
            self._bytes -= memory.own_bytes
            for text in memory.texts:
                self._uses[text] -= 1
                if not self._uses[text]:
                    del self._uses[text], self._texts[text]
                    self._bytes -= _size(text)


class DictionaryMemory:
    """The texts and the memory of one dictionary. Only one thread at a time uses it."""

    __slots__ = ("_pool", "own_bytes", "text_bytes", "texts")

    def __init__(self, pool: DictionaryPool) -> None:
        self._pool = pool
        self.own_bytes = 0
        self.text_bytes = 0  # of the texts that this dictionary added to the pool first
        self.texts: list[str] = []

    @property
    def held_bytes(self) -> int:
        return self.own_bytes + self.text_bytes

    def share(self, new: Iterable[str]) -> list[str]:
        """The shared copies of these texts."""
        shared = self._pool._share(self, new)
        self.texts += shared
        return shared

    def resize(self, size: int) -> None:
        """``size`` is in bytes, without the texts."""
        self._pool._resize(self, size)


def to_restart(held: Sequence[int], taken: int, most: int) -> tuple[int, ...]:
    """Which streams must restart: indices into ``held``, which has the bytes of each stream.

    ``held`` is ordered by last use, the least recently used first. ``taken`` is the total, ``most``
    its maximum. Only streams with at least an average dictionary restart, so that one that grows
    without limit does not evict all others. Enough of them restart to free some room, so that not
    every further report causes another restart.
    """
    if taken <= most or not held:
        return ()
    over = taken - most * _ROOM_SHARE
    average = sum(held) / len(held)
    chosen = []
    for index, size in enumerate(held):
        if size and size >= average:
            chosen.append(index)
            over -= size
            if over <= 0:
                break
    return tuple(chosen)


def _size(text: str) -> int:
    return sys.getsizeof(text) + _TEXT_BYTES
