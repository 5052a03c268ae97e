"""A bounded cache that evicts what was not used for the longest time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class LruCache(Generic[Key, Value]):
    """An approximate LRU (least recently used) cache, made of two dictionaries.

    An entry that is read or written moves to the young dictionary. When that is full, the old one
    is evicted as a whole and the young one becomes old. The cache holds at most ``2 * capacity``
    entries and always the ``capacity`` used last. A read of a young entry costs one look-up.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, key: Key) -> Value | None:
        value = self._young.get(key)
        if value is None:
            value = self._old.pop(key, None)
            if value is not None:
                self.put(key, value)
        return value

    def put(self, key: Key, value: Value) -> None:
        if len(self._young) >= self._capacity:
            self.evictions += len(self._old)
            self._old = self._young
            self._young = {}
        self._young[key] = value

    def values(self) -> Iterator[Value]:
        yield from self._young.values()
        yield from self._old.values()

    def remove(self, key: Key) -> None:
        self._young.pop(key, None)
        self._old.pop(key, None)
