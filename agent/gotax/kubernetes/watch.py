"""This node's pods, kept up to date by a watch in its own thread.

The agent works without it: containers are then named by their ids, and get their names when the API
server is available again. Known names stay known until then, and the kubelet may replace the
server. ``PodWatch.find`` never waits.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from gotax.errors import UserError
from gotax.kubernetes import api
from gotax.kubernetes.connection import Client
from gotax.kubernetes.podcache import PodCache
from gotax.process import PodContainer

log = logging.getLogger("gotax.kubernetes")

START = "0"  # any version that the server has in memory, starting with all pods
_BACKOFF_S = (0.5, 30.0)

Connect = Callable[[], Client]


class PodWatch:
    """Fills a PodCache from ``start`` to ``close``.

    ``server`` and ``kubelet`` connect; either may be None. The kubelet is asked only while the
    server does not answer.
    """

    def __init__(self, node: str, server: Connect | None, kubelet: Connect | None = None) -> None:
        self.pod_cache = PodCache()
        self._node = node
        self._server = server
        self._kubelet = kubelet
        self._closing = threading.Event()
        self._version = START
        self._is_connected = False  # an event came on the open connection
        self._last_message = ""
        self._failures = 0
        self._starts = 0
        self._expired = 0
        for connect in (server, kubelet):
            if connect is not None:
                connect().close()  # a wrong configuration is reported at once
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Does not wait, so that a blocked read does not delay the end of the agent."""
        self._closing.set()

    def find(self, container_id: str) -> PodContainer | None:
        return self.pod_cache.find(container_id)

    @property
    def counts(self) -> dict[str, int]:
        """Errors since the start, by kind."""
        counts = {
            "kubernetes-api": self._failures,
            "kubernetes-expired": self._expired,
            "kubernetes-pod": self.pod_cache.refused,
        }
        return {kind: n for kind, n in counts.items() if n}

    def __len__(self) -> int:
        return len(self.pod_cache)

    @property
    def starts(self) -> int:
        """How often all pods were listed, including the first time."""
        return self._starts

    def _run(self) -> None:
        delay_s = _BACKOFF_S[0]
        while not self._closing.is_set():
            self._is_connected = False
            self._attempt()
            if self._is_connected:
                delay_s = _BACKOFF_S[0]
            # Half of it is random, so that agents do not all reconnect at the same time.
            self._closing.wait(delay_s * random.uniform(0.5, 1.0))
            if not self._is_connected:
                delay_s = min(2 * delay_s, _BACKOFF_S[1])

    def _attempt(self) -> None:
        """Follows the server until it ends the watch or fails; asks the kubelet if it fails."""
        if self._server is not None:
            try:
                self._follow(self._server)
                return
            except api.ExpiredError:
                self._expired += 1
                self._version = START
                return
            except TimeoutError:
                log.debug("the watch of pods was silent; going on from %s", self._version)
                return
            except (*api.FAILURES, UserError) as error:
                self._failures += 1
                self._log_change(f"Kubernetes API: {_sentence(error)}; trying again")
        if self._kubelet is not None and not self._closing.is_set():
            try:
                with self._kubelet() as kubelet:
                    self.pod_cache.replace(api.list_pods(kubelet), time.monotonic())
            except (*api.FAILURES, UserError) as error:
                self._failures += 1
                self._log_change(f"kubelet: {_sentence(error)}; trying again")

    def _follow(self, connect: Connect) -> None:
        is_start = self._version == START
        if is_start:
            self.pod_cache.begin_list()
        # A new client for each attempt: the cluster's certificate may have changed.
        with connect() as server:
            for event in api.watch_pods(server, self._node, self._version):
                if self._closing.is_set():
                    return
                now_s = time.monotonic()
                if event.kind in ("ADDED", "MODIFIED"):
                    self.pod_cache.put(event.pod, now_s)
                elif event.kind == "DELETED":
                    self.pod_cache.remove(event.pod, now_s)
                if not self._is_connected:
                    self._is_connected = True
                    self._starts += is_start
                    self._log_change(f"watching the pods of node {self._node}", logging.INFO)
                # Before the first bookmark the versions are those of the pods, in no order.
                if event.kind == "BOOKMARK" or not is_start:
                    self._version = event.version
                if event.kind == "BOOKMARK" and is_start:
                    self.pod_cache.end_list(now_s)
                    is_start = False

    def _log_change(self, text: str, level: int = logging.WARNING) -> None:
        """Logs a message once, until it changes: an outage of an hour is one line."""
        if text != self._last_message and not self._closing.is_set():
            self._last_message = text
            log.log(level, "%s", text)


def _sentence(error: BaseException) -> str:
    text = str(error).split("\n", 1)[0] or type(error).__name__
    if isinstance(error, api.RefusedError) and error.is_forbidden:
        text += " (the service account needs the verb watch on pods)"
    return text
