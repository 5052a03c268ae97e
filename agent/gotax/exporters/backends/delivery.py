"""Delivers windows to a backend: its own thread, a bounded backlog, and retries.

Sampling never waits: ``publish`` only puts the window on a short queue. The thread encodes it into
batches and sends them, oldest first, each with a deadline. If the backend does not answer, the
thread tries again after a growing, random delay. Batches wait until they are too old or the backlog
is full. All that does not arrive is counted by reason, in profiles (one container in one window).

Reasons: ``queue-full`` (windows came faster than they could be encoded), ``not-encoded`` (a bug of
gotax, in the log), ``backlog-full``, ``expired`` (waited too long), ``too-large`` (one profile is
larger than the backend accepts), ``refused`` (permanently), ``partial`` (the backend accepted only
a part), ``stopped`` (not sent when the agent ended).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from gotax.exporters.backends import metrics
from gotax.exporters.backends.account import Account
from gotax.exporters.backends.containerprofile import Batch, container_profiles
from gotax.exporters.backoff import BackOff
from gotax.exporters.metrics.family import Family
from gotax.exporters.windowqueue import WindowQueue
from gotax.window import Window

log = logging.getLogger("gotax")


LEAST_BYTES = 64 * 1024
"""The lowest limit of any backend."""


class DeliveryError(Exception):
    """The backend did not accept a batch. ``reason`` is short and stable, the text is for people.

    ``is_final``: the same batch would be refused again. ``after_s``: the backend asked for this
    delay before the next attempt.
    """

    def __init__(
        self, reason: str, text: str, *, is_final: bool = False, after_s: float = 0.0
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.is_final = is_final
        self.after_s = after_s


class Backend(Protocol):
    """One kind of backend. All methods except ``abort`` are called from one thread only."""

    name: str
    max_bytes: int

    def batches(self, window: Window) -> Iterable[Batch]:
        """The messages for a window."""

    def send(self, batch: Batch, timeout_s: float) -> int:
        """Returns how many of its profiles were refused. Raises DeliveryError."""

    def abort(self) -> None:
        """Ends a running call, from any thread. No call follows."""


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """Limits of the backlog and of the waiting times; docs/backends.md explains their effect.

    ``close_s``: the time that ``close`` has for the rest. The agent has 2 s to end.
    """

    call_s: float = 10.0
    first_delay_s: float = 1.0
    last_delay_s: float = 60.0
    windows: int = 4
    backlog_bytes: int = 8 * 1024 * 1024
    age_s: float = 600.0
    close_s: float = 0.4


class Delivery:
    """An exporter. ``account`` may be called from any thread."""

    def __init__(self, backend: Backend, limits: DeliveryLimits | None = None) -> None:
        self.backend = backend
        self._limits = limits or DeliveryLimits()
        self._changed = threading.Condition()  # guards these:
        self._windows = WindowQueue(self._limits.windows)
        self._backlog: deque[tuple[float, Batch]] = deque()  # with its time of arrival
        self._account = Account()
        self._is_stopping = self._is_closed = False
        self._thread: threading.Thread | None = None
        # Used only by the thread:
        self._back_off = BackOff(self._limits.first_delay_s, self._limits.last_delay_s)
        self._resume_at = 0.0

    @property
    def name(self) -> str:
        return self.backend.name

    def account(self) -> Account:
        """A consistent copy."""
        with self._changed:
            now = self._account
            return replace(now, dropped=Counter(now.dropped), failures=Counter(now.failures))

    def families(self) -> Iterator[Family]:
        return metrics.families(self.name, self.account())

    def publish(self, window: Window) -> None:
        """Queues the window; if the queue is full, the oldest window is dropped."""
        count = len(container_profiles(window))
        with self._changed:
            if self._is_stopping:
                return
            if self._thread is None:
                # The thread starts with the first window. By then a child process has loaded the
                # BPF program.
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
            self._account.taken += count
            if (displaced := self._windows.put(window)) is not None:
                self._drop("queue-full", len(container_profiles(displaced)))
            self._changed.notify()

    def close(self) -> None:
        """Tries for a moment to send the rest; what remains counts as dropped. Idempotent."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(self._limits.close_s)
        self.backend.abort()
        with self._changed:
            self._drop("stopped", self._account.waiting)
            self._account.backlog_bytes = 0
            self._windows.clear()
            self._backlog.clear()
            self._is_closed = True

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_work, self._idle_s())
                window = self._windows.take()
                if (
                    window is None
                    and self._is_stopping
                    and (self._back_off.failures or not self._backlog)
                ):
                    return
            if window is not None:
                self._encode(window)
                continue  # windows first: they hold much more memory than batches
            with self._changed:
                self._forget_expired()
                oldest = self._backlog[0][1] if self._backlog else None
            if oldest is not None and time.monotonic() >= self._resume_at:
                self._attempt(oldest)

    def _has_work(self) -> bool:
        is_due = bool(self._backlog) and time.monotonic() >= self._resume_at
        return bool(self._windows) or self._is_stopping or is_due

    def _idle_s(self) -> float | None:
        """The time until the next attempt; None to wait for a window."""
        return max(0.0, self._resume_at - time.monotonic()) if self._backlog else None

    def _encode(self, window: Window) -> None:
        expected = len(container_profiles(window))
        made = 0
        try:
            for batch in self.backend.batches(window):
                made += batch.profiles
                with self._changed:
                    # A profile that was too large and was split counts as two.
                    more = max(0, made - max(expected, made - batch.profiles))
                    self._keep(batch, more)
        except Exception:  # one window that cannot be encoded must not stop the sending of others
            log.exception("%s: a window could not be encoded", self.name)
        with self._changed:
            self._drop("not-encoded", max(0, expected - made))

    def _keep(self, batch: Batch, more: int) -> None:
        if self._is_closed:
            return
        self._account.taken += more
        if len(batch.body) > self.backend.max_bytes:
            self._drop("too-large", batch.profiles)
            return
        room = self._limits.backlog_bytes - len(batch.body)
        while self._backlog and self._account.backlog_bytes > room:
            self._drop("backlog-full", self._pop().profiles)
        self._backlog.append((time.monotonic(), batch))
        self._account.backlog_bytes += len(batch.body)

    def _forget_expired(self) -> None:
        oldest = time.monotonic() - self._limits.age_s
        while self._backlog and self._backlog[0][0] < oldest:
            self._drop("expired", self._pop().profiles)

    def _pop(self) -> Batch:
        _, batch = self._backlog.popleft()
        self._account.backlog_bytes -= len(batch.body)
        return batch

    def _drop(self, reason: str, count: int) -> None:
        if count and not self._is_closed:
            self._account.dropped[reason] += count

    def _attempt(self, batch: Batch) -> None:
        """Sends the oldest batch of the backlog."""
        limit_s = self._limits.close_s if self._is_stopping else self._limits.call_s
        try:
            turned_away = self.backend.send(batch, limit_s)
        except DeliveryError as error:
            self._fail(batch, error)
            return
        with self._changed:
            if not self._is_closed:
                self._pop()
                self._account.sent += batch.profiles - turned_away
                self._account.sent_bytes += len(batch.body)
                self._drop("partial", turned_away)
        if self._back_off.failures:
            log.info("%s takes profiles again", self.name)
        self._back_off.succeed()

    def _fail(self, batch: Batch, error: DeliveryError) -> None:
        with self._changed:
            self._account.failures[error.reason] += 1
            if error.is_final and not self._is_closed:
                self._pop()
                is_too_large = error.reason == "too-large"
                self._drop("too-large" if is_too_large else "refused", batch.profiles)
                if is_too_large:
                    # Its limit is lower than usual: make the next messages smaller.
                    self.backend.max_bytes = max(LEAST_BYTES, len(batch.body) // 2)
            is_news = not self._back_off.failures and not self._is_stopping
        if is_news:
            log.warning("%s: %s", self.name, error)
        self._back_off.fail()
        if not error.is_final:
            delay_s = max(self._back_off.delay_s(), error.after_s)
            self._resume_at = time.monotonic() + min(delay_s, self._limits.age_s)
