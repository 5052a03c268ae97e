"""What the dictionaries of all streams take in memory, together and each, and who is to begin anew.

The agents of a fleet see the same programs. So a text is kept once, whoever says it, and counted
once; what is counted follows the dictionaries' lives, those in reports that still wait included.
Not with sys.intern: some versions of Python never let go of what it was given.
"""

from __future__ import annotations

import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Sequence

_TEXT_BYTES = 80  # of a text's places in the two tables here, about
_ROOM_SHARE = 7 / 8


class DictionaryPool:
    """Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._texts: dict[str, str] = {}
        self._uses: dict[str, int] = {}
        self._bytes = 0
        # A dictionary may end anywhere, even within a method of this: it is counted out later.
        self._ended: deque[DictionaryMemory] = deque()

    @property
    def held_bytes(self) -> int:
        """Of all dictionaries that are in use, and of their texts."""
        with self._lock:
            self._settle()
            return self._bytes

    @property
    def texts(self) -> int:
        """How many there are, each once."""
        with self._lock:
            self._settle()
            return len(self._texts)

    def register(self, owner: object) -> DictionaryMemory:
        """An account that ends with its owner."""
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
    """What one dictionary holds. One thread at a time uses it."""

    __slots__ = ("_pool", "own_bytes", "text_bytes", "texts")

    def __init__(self, pool: DictionaryPool) -> None:
        self._pool = pool
        self.own_bytes = 0
        self.text_bytes = 0  # of those that nobody else had when it took them
        self.texts: list[str] = []

    @property
    def held_bytes(self) -> int:
        return self.own_bytes + self.text_bytes

    def share(self, new: Iterable[str]) -> list[str]:
        """The same texts, as all dictionaries have them."""
        shared = self._pool._share(self, new)
        self.texts += shared
        return shared

    def resize(self, size: int) -> None:
        """``size``: in bytes, without the texts."""
        self._pool._resize(self, size)


def to_restart(held: Sequence[int], taken: int, most: int) -> tuple[int, ...]:
    """Whose dictionaries should go: indices into ``held``, bytes by stream, used longest ago first.

    ``taken`` is what all take, and may be ``most``. Only those with at least an average dictionary
    go, so that one which grows without measure does not push out all others; and until there is
    some room, so that it is not one per report from then on.
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
