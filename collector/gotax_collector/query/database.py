"""Runs the queries of questions: within one budget of memory, and only while somebody waits.

Each query takes half of the budget, so that two run at a time. A query that finds its half too
small runs again, with the whole budget and alone. The other half of the engine's memory is for
inserts and merges. Queries that do not get their part in time fail with ``BusyError``.

A request makes a ``Question`` current for its thread. If its client leaves, ``cancel`` stops the
query that runs, and those that would follow.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from gotax_collector.errors import CollectorError
from gotax_collector.storage.clickhouse import Connections, QueryError

ANSWER_MAX_S = 30
"""How long one query may run."""

WAIT_MAX_S = 20
"""How long one query waits for memory."""

RESULT_BYTES_MAX = 128 << 20
PARTS = 2

_T = TypeVar("_T")


class BusyError(CollectorError):
    """The memory for questions is in use. The same question can be asked again."""


class CancelledError(CollectorError):
    """The client has left."""


class Question:
    """The queries of one request."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(12)
        self._cancelled = threading.Event()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        self._cancelled.set()

    def check(self) -> None:
        """CancelledError."""
        if self.is_cancelled:
            raise CancelledError("the client has left")


CURRENT: ContextVar[Question | None] = ContextVar("question", default=None)


class Budget:
    """Memory for queries, in ``PARTS``."""

    def __init__(self, wait_s: float = WAIT_MAX_S) -> None:
        self._free = PARTS
        self._changed = threading.Condition()
        self._wait_s = wait_s

    @contextmanager
    def take(self, parts: int, question: Question | None) -> Iterator[None]:
        """Wait for so many parts. BusyError, CancelledError."""
        end = time.monotonic() + self._wait_s
        with self._changed:
            while self._free < parts:
                if question is not None:
                    question.check()
                left = end - time.monotonic()
                if left <= 0:
                    raise BusyError("other questions use all the memory: ask again in a moment")
                self._changed.wait(min(left, 0.5))
            self._free -= parts
        try:
            yield
        finally:
            with self._changed:
                self._free += parts
                self._changed.notify_all()


class Database:
    """Thread-safe. QueryError: the database failed. BusyError, CancelledError."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._budget = Budget()
        self._memory = connections.address.memory_bytes
        self._settings: dict[str, Any] = {
            "max_execution_time": ANSWER_MAX_S,
            "max_result_bytes": RESULT_BYTES_MAX,
            "max_bytes_before_external_group_by": self._memory // 8,
            "max_bytes_before_external_sort": self._memory // 8,
        }
        if connections.address.cluster:
            self._settings["distributed_product_mode"] = "global"

    def rows(self, query: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return self._run(
            query, lambda text, settings: self._connections.rows(text, parameters, settings)
        )

    def columns(self, query: str, parameters: Mapping[str, Any]) -> list[Sequence[Any]]:
        return self._run(
            query, lambda text, settings: self._connections.columns(text, parameters, settings)
        )

    def stop(self, question: Question) -> None:
        """Stop the query that runs for a cancelled question. Call it until the question ends: its
        next query may just have begun."""
        self._connections.stop(question.token)

    def _run(self, query: str, ask: Callable[[str, Mapping[str, Any]], _T]) -> _T:
        question = CURRENT.get()
        text = query if question is None else f"{query} /* {question.token} */"
        for parts in (1, PARTS):
            memory = {"max_memory_usage": self._memory * parts // (2 * PARTS)}
            with self._budget.take(parts, question):
                if question is not None:
                    question.check()
                try:
                    return ask(text, {**self._settings, **memory})
                except QueryError as error:
                    is_cancelled = question is not None and question.is_cancelled
                    is_final = parts == PARTS or not error.is_of_memory
                    if is_final and not is_cancelled:
                        raise
            # Outside of the handler: an error that refers to the one above would keep its frames,
            # and the engine's query with them.
            if question is not None:
                question.check()
        raise AssertionError("the last attempt returns or raises")
