"""Makes rows of the tables ``windows`` and ``stacks`` (columns.py) from a report.

The format is ClickHouse's JSONCompactEachRow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gotax_collector.report import Category, Report, UInt64Array
from gotax_collector.storage.columns import (
    COUNT_MAX,
    STACKS,
    WINDOWS,
    Batch,
    ContainerRow,
    Row,
    StackRow,
    Workload,
)

_encode = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode
_OF_CONTAINER = [column.value for column in WINDOWS]


def window_lines(report: Report, batch: Batch) -> Iterator[str]:
    """One line for the node and one for each container."""
    received_s = _seconds(report.received_unix_ns)
    times = _seconds(report.began_unix_ns), received_s
    node = Row(report, batch, 0, *times)
    yield _encode([column.of_node(node) for column in WINDOWS])
    stacks = stack_ids(report)
    # Those without Go have no stack counts.
    every = (*report.containers, *report.others)
    bounds = np.searchsorted(report.stack_counts.container, np.arange(len(every) + 1))
    for index, seen in enumerate(every):
        rows = slice(bounds[index], bounds[index + 1])
        row = ContainerRow(
            *(report, batch, index + 1, *times, seen),
            *(stacks[rows].tolist(), report.stack_counts.samples[rows].tolist()),
        )
        yield _encode([value(row) for value in _OF_CONTAINER])


def stack_ids(report: Report) -> UInt64Array:
    """A number for each stack count, made from the hash of its stack and its category."""
    if not len(report.stack_counts):
        return np.zeros(0, np.uint64)
    salts = np.array([_salt(category.label) for category in report.categories], np.uint64)
    ids: UInt64Array = report.stack_counts.stack_hash ^ salts[report.stack_counts.category]
    return ids


def stack_line(
    report: Report, workload: Workload, stack: tuple[int, int, Category], day: str
) -> str:
    """``stack`` is (id, hash, category)."""
    number, stack_hash, category = stack
    row = StackRow(workload, number, category, report.stacks.frames(stack_hash), day)
    return _encode([column.value(row) for column in STACKS])


class KnownStacks:
    """A cache of fixed size: which (workload, stack) the store already has.

    A hash table with one entry per slot: a new key replaces the old one. A replaced key does no
    harm: its stack is inserted once more.
    """

    _SIZE = 1 << 21  # 16 MiB

    def __init__(self) -> None:
        self._table = np.zeros(self._SIZE, np.uint64)

    def unknown(self, keys: UInt64Array) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self._table[keys & np.uint64(self._SIZE - 1)] != keys
        return found

    def add(self, keys: UInt64Array) -> None:
        self._table[keys & np.uint64(self._SIZE - 1)] = keys


def workload_salt(workload: Workload, period: int) -> int:
    """Makes the key of a stack depend on its workload and on ``period``."""
    return _salt(f"{workload.namespace}\0{workload.kind}\0{workload.name}\0{period}")


@lru_cache(maxsize=8192)
def _salt(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _seconds(unix_ns: int) -> int:
    """In the range of a DateTime: from 1970 to 2106."""
    return max(0, min(unix_ns // 1_000_000_000, COUNT_MAX))
