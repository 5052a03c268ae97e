"""Windows on their way to a backend: a thread of its own, a bounded backlog, and patience.

Sampling never waits: ``publish`` puts the window on a short queue. The thread makes batches of it
and sends them, oldest first, each with a deadline. A backend that is away is asked again after a
growing, random delay; batches wait until they are too old or the backlog is full. Whatever does
not arrive is counted under a reason, in profiles (one container in one window).

Reasons: ``queue-full`` (windows came faster than they could be encoded), ``not-encoded`` (a fault
of gotax, in the log), ``backlog-full``, ``expired`` (waited too long), ``too-large`` (one profile
is more than the backend takes), ``refused`` (the backend's last word), ``partial`` (taken, but not
all of it), ``stopped`` (left at the end).
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
"""No backend takes less."""


class DeliveryError(Exception):
    """The backend did not take a batch. ``reason`` is short and stable, the text for people.

    ``is_final``: the same batch would be refused again. ``after_s``: the backend asked to be left
    alone for that long.
    """

    def __init__(
        self, reason: str, text: str, *, is_final: bool = False, after_s: float = 0.0
    ) -> None:
        super().__init__(text)
        self.reason = reason
        self.is_final = is_final
        self.after_s = after_s


class Backend(Protocol):
    """One kind of receiver. All but ``abort`` is called from one thread only."""

    name: str
    max_bytes: int

    def batches(self, window: Window) -> Iterable[Batch]:
        """What to send of a window."""

    def send(self, batch: Batch, timeout_s: float) -> int:
        """Returns how many of its profiles were turned away. Raises DeliveryError."""

    def abort(self) -> None:
        """End a call that is under way, from any thread; no other follows."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Bounds of what waits and of waiting; docs/backends.md says what they come to.

    ``farewell_s``: what ``close`` allows for what is left. The agent has 2 s to end in all.
    """

    call_s: float = 10.0
    first_delay_s: float = 1.0
    last_delay_s: float = 60.0
    windows: int = 4
    backlog_bytes: int = 8 * 1024 * 1024
    age_s: float = 600.0
    farewell_s: float = 0.4


class Delivery:
    """An exporter. ``account`` may be called from any thread."""

    def __init__(self, backend: Backend, patience: Patience | None = None) -> None:
        self.backend = backend
        self._patience = patience or Patience()
        self._changed = threading.Condition()  # guards these:
        self._windows = WindowQueue(self._patience.windows)
        self._backlog: deque[tuple[float, Batch]] = deque()  # with the time it came
        self._account = Account()
        self._is_stopping = self._is_closed = False
        self._thread: threading.Thread | None = None
        # The thread's own:
        self._back_off = BackOff(self._patience.first_delay_s, self._patience.last_delay_s)
        self._resume_at = 0.0

    @property
    def name(self) -> str:
        return self.backend.name

    def account(self) -> Account:
        """A copy, consistent in itself."""
        with self._changed:
            now = self._account
            return replace(now, dropped=Counter(now.dropped), failures=Counter(now.failures))

    def families(self) -> Iterator[Family]:
        return metrics.families(self.name, self.account())

    def publish(self, window: Window) -> None:
        """Queue the window; the oldest makes room if the thread does not keep up."""
        count = len(container_profiles(window))
        with self._changed:
            if self._is_stopping:
                return
            if self._thread is None:
                # Not before the first window: by then the BPF program has been loaded, by a child.
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
            self._account.taken += count
            if (displaced := self._windows.put(window)) is not None:
                self._drop("queue-full", len(container_profiles(displaced)))
            self._changed.notify()

    def close(self) -> None:
        """Try for a moment to send what is left; the rest counts as dropped. Idempotent."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(self._patience.farewell_s)
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
                continue  # windows first: they hold far more memory than what is made of them
            with self._changed:
                self._forget_expired()
                oldest = self._backlog[0][1] if self._backlog else None
            if oldest is not None and time.monotonic() >= self._resume_at:
                self._attempt(oldest)

    def _has_work(self) -> bool:
        is_due = bool(self._backlog) and time.monotonic() >= self._resume_at
        return bool(self._windows) or self._is_stopping or is_due

    def _idle_s(self) -> float | None:
        """Until a delay ends; None for as long as nothing comes."""
        return max(0.0, self._resume_at - time.monotonic()) if self._backlog else None

    def _encode(self, window: Window) -> None:
        expected = len(container_profiles(window))
        made = 0
        try:
            for batch in self.backend.batches(window):
                made += batch.profiles
                with self._changed:
                    # A profile cut in two, because it was too large, counts as two.
                    more = max(0, made - max(expected, made - batch.profiles))
                    self._keep(batch, more)
        except Exception:  # one window that cannot be encoded must not end the sending of others
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
        room = self._patience.backlog_bytes - len(batch.body)
        while self._backlog and self._account.backlog_bytes > room:
            self._drop("backlog-full", self._pop().profiles)
        self._backlog.append((time.monotonic(), batch))
        self._account.backlog_bytes += len(batch.body)

    def _forget_expired(self) -> None:
        oldest = time.monotonic() - self._patience.age_s
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
        """Send the oldest batch of the backlog."""
        limit_s = self._patience.farewell_s if self._is_stopping else self._patience.call_s
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
                    # Its limit is lower than usual: the next messages are smaller.
                    self.backend.max_bytes = max(LEAST_BYTES, len(batch.body) // 2)
            is_news = not self._back_off.failures and not self._is_stopping
        if is_news:
            log.warning("%s: %s", self.name, error)
        self._back_off.fail()
        if not error.is_final:
            delay_s = max(self._back_off.delay_s(), error.after_s)
            self._resume_at = time.monotonic() + min(delay_s, self._patience.age_s)
