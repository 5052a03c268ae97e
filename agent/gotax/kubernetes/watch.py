"""This node's pods, kept up to date by a list and a watch in a thread of its own.

The agent works without: containers then go by their ids, and get their names when the API server
is back. What is known stays known while it is away. ``PodWatch.find`` never waits.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx2
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError, ConfigError, LoadResourceError
from lightkube.generic_resource import create_namespaced_resource

from gotax.errors import ParseError, UserError
from gotax.kubernetes.pods import parse_pod
from gotax.model import PodContainer

log = logging.getLogger("gotax.kubernetes")

MAX_PODS = 4096  # of one node; the kubelet's default is 110
KEEP_S = 300.0  # how long the containers of a deleted pod keep their names: hits still arrive
SERVER_TIMEOUT_S = 240  # how long the server holds one watch
STALE_S = 30.0  # an unknown container of a pod for so long: the watch may have died unnoticed
_CONNECT_TIMEOUT_S = 10.0
_BACKOFF_S = (0.5, 30.0)
_GONE = 410  # the resource version is too old: start anew with a list

# As plain dictionaries: the typed models would cost 8 MB, and we read a dozen fields.
_Pod = create_namespaced_resource("", "v1", "Pod", "pods")
_FAILURES = (httpx2.HTTPError, ApiError, LoadResourceError, ConfigError, OSError, ValueError)


class PodTable:
    """Containers of this node's pods by id. Bounded; knows nothing of how it is fed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pods: dict[str, dict[str, PodContainer]] = {}  # by the pod's UID
        self._containers: dict[str, PodContainer] = {}
        self._gone: dict[str, tuple[float, dict[str, PodContainer]]] = {}

    def find(self, container_id: str) -> PodContainer | None:
        with self._lock:
            return self._containers.get(container_id)

    def __len__(self) -> int:
        with self._lock:
            return len(self._containers)

    def replace(self, pods: Iterable[Mapping[str, Any]], now_s: float) -> None:
        """What a list says: pods that are not in it are gone."""
        listed: dict[str, Mapping[str, Any]] = {}
        for pod in pods:
            if len(listed) < MAX_PODS:
                uid = _uid(pod)
                if uid:
                    listed[uid] = pod
        with self._lock:
            for uid in [uid for uid in self._pods if uid not in listed]:
                self._remove(uid, now_s)
            for uid, pod in listed.items():
                self._put(uid, pod)
            self._forget(now_s)

    def put(self, pod: Mapping[str, Any], now_s: float) -> None:
        uid = _uid(pod)
        with self._lock:
            if uid and (uid in self._pods or len(self._pods) < MAX_PODS):
                self._put(uid, pod)
            self._forget(now_s)

    def remove(self, pod: Mapping[str, Any], now_s: float) -> None:
        """The pod is gone; its containers keep their names for KEEP_S."""
        with self._lock:
            self._put(_uid(pod), pod)  # a deletion carries the last state
            self._remove(_uid(pod), now_s)
            self._forget(now_s)

    def _put(self, uid: str, pod: Mapping[str, Any]) -> None:
        try:
            containers = parse_pod(pod)
        except ParseError as error:
            log.warning("a pod was passed over: %s", error)
            return
        # A container that ended is no longer in the status, but its last hits may be to come.
        known = {**self._pods.get(uid, {}), **containers}
        while len(known) > 2 * max(len(containers), 8):
            known.pop(next(iter(known)))
        for container_id in self._pods.get(uid, {}):
            if container_id not in known:
                self._containers.pop(container_id, None)
        self._pods[uid] = known
        self._containers.update(known)

    def _remove(self, uid: str, now_s: float) -> None:
        containers = self._pods.pop(uid, None)
        if containers:
            self._gone[uid] = (now_s, containers)

    def _forget(self, now_s: float) -> None:
        for uid, (since_s, containers) in list(self._gone.items()):
            if now_s - since_s > KEEP_S or len(self._gone) > MAX_PODS:
                del self._gone[uid]
                for container_id in containers:
                    self._containers.pop(container_id, None)


def _uid(pod: Mapping[str, Any]) -> str:
    metadata = pod.get("metadata")
    return str(metadata.get("uid") or "") if isinstance(metadata, Mapping) else ""


def make_client(config: KubeConfig | None = None) -> Client:
    """A client from the pod's service account, or from the user's kubeconfig.

    Raises UserError where there is neither.
    """
    try:
        return Client(
            config=(config or KubeConfig.from_env()).get(),
            timeout=httpx2.Timeout(_CONNECT_TIMEOUT_S),
        )
    except (ConfigError, OSError, KeyError, ValueError) as error:
        raise UserError(
            f"no way to the Kubernetes API server: {error}; run in a pod with a service account,"
            " set KUBECONFIG, or leave --node away"
        ) from error


class PodWatch:
    """Feeds a PodTable from the API server until ``close``."""

    def __init__(self, node: str, config: KubeConfig | None = None) -> None:
        self.table = PodTable()
        self._node = node
        self._config = config
        self._closing = threading.Event()
        self._client: Client | None = None
        self._heard_s = 0.0  # when the server last told us something
        self._failures = 0
        self._relists = 0
        make_client(config).close()  # a mistake of the user's shows at once
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Does not wait: a read that hangs must not hold up the agent's end."""
        self._closing.set()
        self._interrupt()

    def find(self, container_id: str) -> PodContainer | None:
        """What is known of a container; None also asks for a new list if the watch is silent."""
        found = self.table.find(container_id)
        if found is None and self._heard_s and time.monotonic() - self._heard_s > STALE_S:
            self._heard_s = time.monotonic()  # once per STALE_S
            self._interrupt()
        return found

    @property
    def counts(self) -> dict[str, int]:
        """Since the start: ``kubernetes-api`` failures and ``kubernetes-relist``."""
        return {"kubernetes-api": self._failures, "kubernetes-relist": max(self._relists - 1, 0)}

    def _interrupt(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _run(self) -> None:
        delay_s = _BACKOFF_S[0]
        while not self._closing.is_set():
            started_s = time.monotonic()
            try:
                self._follow()
            except _FAILURES as error:
                if self._closing.is_set():
                    return
                if not (isinstance(error, ApiError) and error.status.code == _GONE):
                    self._failures += 1
                    log.warning("Kubernetes API: %s; trying again", error)
            except RuntimeError as error:  # httpx: the client was closed while it was in use
                log.debug("Kubernetes API: %s", error)
            finally:
                self._interrupt()
            # Half of it at random, so that a fleet does not come back all at once.
            if time.monotonic() - started_s > _BACKOFF_S[1]:
                delay_s = _BACKOFF_S[0]
            self._closing.wait(delay_s * random.uniform(0.5, 1.0))
            delay_s = min(2 * delay_s, _BACKOFF_S[1])

    def _follow(self) -> None:
        """One list, then its changes until the server or the network ends them."""
        self._client = client = make_client(self._config)  # reads a rotated token, too
        mine: Any = {"spec.nodeName": self._node}
        pods = client.list(_Pod, namespace="*", fields=mine, chunk_size=200)
        listed = list(pods)
        self.table.replace(listed, time.monotonic())
        self._heard_s = time.monotonic()
        self._relists += 1
        log.info("%d pods on node %s", len(listed), self._node)
        for change, pod in client.watch(
            _Pod,
            namespace="*",
            fields=mine,
            server_timeout=SERVER_TIMEOUT_S,
            resource_version=pods.resourceVersion,
        ):
            self._heard_s = time.monotonic()
            if change in ("ADDED", "MODIFIED"):
                self.table.put(pod, self._heard_s)
            elif change == "DELETED":
                self.table.remove(pod, self._heard_s)
