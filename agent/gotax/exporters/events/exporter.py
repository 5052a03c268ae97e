"""Sends the Events from a thread of its own, at a bounded rate.

An Event that exists already is not created again: its series counts, as client-go's recorder does.
So all nodes of a workload, and the agent after a restart, share one Event while the API server
keeps it (an hour by default).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Protocol

from gotax.errors import GotaxError
from gotax.exporters.events import metrics
from gotax.exporters.events.notices import API_VERSIONS, HeldWarnings, Notice, event_of
from gotax.exporters.metrics.family import Family
from gotax.window import Window

log = logging.getLogger("gotax.events")

BURST, EACH_S = 20, 10.0
"""So many Events at once, and then one in so many seconds."""

WAITING_MAX = 256
NAMES_MAX = 4096
_RETRY_S = (1.0, 60.0)
_CLOSE_S = 0.5

CREATED, REPEATED, QUEUE_FULL, REFUSED = "created", "repeated", "queue-full", "refused"


class RefusedError(GotaxError):
    """The API server will not take this Event, also not later."""


class EventsApi(Protocol):
    """Each raises RefusedError or another GotaxError, after which a later attempt may succeed."""

    def create(self, namespace: str, event: dict[str, Any]) -> bool:
        """False if there is an Event of this name."""

    def repeat(self, namespace: str, name: str, series: dict[str, Any]) -> bool:
        """False if there is none any more."""

    def uid(self, api_version: str, kind: str, namespace: str, name: str) -> str:
        """Of an object; "" if it may not be read, or does not exist."""


class EventsExporter:
    """An ``Exporter``."""

    def __init__(
        self, api: EventsApi, node: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._api, self._node, self._clock = api, node, clock
        self._held = HeldWarnings()
        self._waiting: deque[Notice] = deque()
        self._names: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._uids: OrderedDict[tuple[str, str, str], str] = OrderedDict()
        self._allowance = Allowance(clock())
        self._retry_s = 0.0
        self._last_message = ""
        self.counts: Counter[str] = Counter()
        self._is_closing = threading.Event()
        self._is_woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def publish(self, window: Window) -> None:
        for notice in self._held.observe(window):
            if len(self._waiting) >= WAITING_MAX:
                self.counts[QUEUE_FULL] += 1
            else:
                self._waiting.append(notice)
        if self._waiting:
            self._is_woken.set()

    def close(self) -> None:
        self._is_closing.set()
        self._is_woken.set()
        self._thread.join(_CLOSE_S)

    def families(self) -> Iterator[Family]:
        return metrics.families(dict(self.counts))

    def _run(self) -> None:
        while not self._is_closing.is_set():
            wait_s = self.step()
            if wait_s is None:
                self._is_woken.wait()
                self._is_woken.clear()
            else:
                self._is_closing.wait(wait_s)

    def step(self) -> float | None:
        """Sends one. Seconds until the next may be sent; None if none waits."""
        if not self._waiting:
            return None
        wait_s = self._allowance.take(self._clock())
        if wait_s:
            return wait_s
        notice = self._waiting[0]
        try:
            outcome = self._send(notice)
        except RefusedError as error:
            self._complain(f"an Event was refused: {error}")
            outcome = REFUSED
        except GotaxError as error:
            self._complain(f"Events cannot be sent: {error}; trying again")
            self._retry_s = min(max(2 * self._retry_s, _RETRY_S[0]), _RETRY_S[1])
            return self._retry_s
        self._waiting.popleft()
        self.counts[outcome] += 1
        self._retry_s = 0.0
        return 0.0

    def _send(self, notice: Notice) -> str:
        namespace, name = notice.pod.namespace, notice.name
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        known = self._names.get((namespace, name), 0)
        event = event_of(notice, self._node, self._uid(notice), now)
        if not known and self._api.create(namespace, event):
            self._remember(namespace, name, 1)
            return CREATED
        series = {"count": max(1, known) + 1, "lastObservedTime": now}
        if self._api.repeat(namespace, name, series):
            self._remember(namespace, name, max(1, known) + 1)
            return REPEATED
        self._api.create(namespace, event)  # the old one has expired
        self._remember(namespace, name, 1)
        return CREATED

    def _remember(self, namespace: str, name: str, count: int) -> None:
        self._names[namespace, name] = count
        self._names.move_to_end((namespace, name))
        if len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)

    def _uid(self, notice: Notice) -> str:
        workload, namespace = notice.pod.workload, notice.pod.namespace
        if notice.is_about_pod:
            return ""
        key = (namespace, workload.kind, workload.name)
        if key not in self._uids:
            version = API_VERSIONS[workload.kind]
            self._uids[key] = self._api.uid(version, workload.kind, namespace, workload.name)
            if len(self._uids) > NAMES_MAX:
                self._uids.popitem(last=False)
        return self._uids[key]

    def _complain(self, text: str) -> None:
        """Once, until it changes: an outage of an hour is one line."""
        if text != self._last_message and not self._is_closing.is_set():
            self._last_message = text
            log.warning("%s", text)


class Allowance:
    """BURST at once, and one more every EACH_S seconds."""

    def __init__(self, now_s: float) -> None:
        self._left, self._at_s = float(BURST), now_s

    def take(self, now_s: float) -> float:
        """0.0, or the seconds to wait."""
        self._left = min(float(BURST), self._left + (now_s - self._at_s) / EACH_S)
        self._at_s = now_s
        if self._left < 1:
            return (1 - self._left) * EACH_S
        self._left -= 1
        return 0.0
