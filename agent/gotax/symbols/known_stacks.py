"""Which stacks have been symbolized, in columns: a drain asks for tens of thousands at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gotax.profile import Int64Array, UInt64Array

_MIX = np.uint64(0x9E3779B97F4A7C15)


def key_of(serials: Int64Array, hashes: UInt64Array) -> UInt64Array:
    """One number for (serial of the process, hash of the stack). The kernel's hashes have a random
    seed, so two keys are equal as seldom as two hashes are."""
    return hashes ^ (serials.astype(np.uint64) * _MIX)


class _Generation:
    """Keys in order, with a value each."""

    def __init__(self, keys: UInt64Array, values: npt.NDArray[np.object_]) -> None:
        self.keys = keys
        self.values = values

    def find(self, keys: UInt64Array) -> Int64Array:
        """The place of each key, -1 where it is not there."""
        if not len(self.keys):
            return np.full(len(keys), -1, np.int64)
        at = np.minimum(self.keys.searchsorted(keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, at, -1).astype(np.int64)


def _nothing() -> _Generation:
    return _Generation(np.empty(0, np.uint64), np.empty(0, object))


class KnownStacks:
    """A cache as ``LruCache``, of two generations: what is used moves to the young one."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._young = _nothing()
        self._old = _nothing()
        self.evictions = 0

    def __len__(self) -> int:
        return len(self._young.keys) + len(self._old.keys)

    def find(self, keys: UInt64Array) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.bool_]]:
        """The value of each key, and where there is one."""
        found = np.full(len(keys), None, object)
        at = self._young.find(keys)
        is_known = at >= 0
        found[is_known] = self._young.values[at[is_known]]
        rest = np.flatnonzero(at < 0)
        at = self._old.find(keys[rest])
        again = np.unique(at[at >= 0])
        if len(again):
            found[rest[at >= 0]] = self._old.values[at[at >= 0]]
            is_known[rest[at >= 0]] = True
            used = self._old.keys[again], self._old.values[again]
            kept = np.ones(len(self._old.keys), bool)
            kept[again] = False
            self._old = _Generation(self._old.keys[kept], self._old.values[kept])
            self.put(*used)
        return found, is_known

    def put(self, keys: UInt64Array, values: npt.NDArray[Any]) -> None:
        """Keys that are not known yet, each once; as many as there is room for."""
        keys, values = keys[: self._capacity], values[: self._capacity]
        if len(self._young.keys) + len(keys) > self._capacity:
            self.evictions += len(self._old.keys)
            self._old, self._young = self._young, _nothing()
        keys = np.concatenate((self._young.keys, keys))
        order = np.argsort(keys, kind="stable")
        self._young = _Generation(keys[order], np.concatenate((self._young.values, values))[order])
