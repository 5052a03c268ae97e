"""The containers of this node's pods by id, as the watch reported them. Bounded."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from gotax.errors import ParseError
from gotax.kubernetes.pods import OLD_SUPPRESS, SUPPRESS, has_old_annotation, parse_pod
from gotax.process import PodContainer

log = logging.getLogger("gotax.kubernetes")

MAX_PODS = 4096  # of one node; the kubelet's default is 110
# how long the containers of a deleted pod keep their names, because samples still arrive
KEEP_S = 300.0
_SPARE = 16  # ended containers kept of an existing pod: this many, or as many as it has now


class PodCache:
    """One thread writes, any thread may read: ``find`` is one dictionary look-up and never
    waits."""

    def __init__(self) -> None:
        self._containers: dict[str, PodContainer] = {}
        self._pods: dict[str, dict[str, PodContainer]] = {}  # by the pod's UID, oldest first
        self._gone: dict[str, tuple[float, dict[str, PodContainer]]] = {}
        self._unlisted: set[str] = set()
        self._warned = False
        self.refused = 0
        """Pods that could not be read, or that exceeded MAX_PODS."""

    def find(self, container_id: str) -> PodContainer | None:
        return self._containers.get(container_id)

    def __len__(self) -> int:
        return len(self._containers)

    @property
    def pods(self) -> int:
        return len(self._pods)

    def begin_list(self) -> None:
        """A full list follows: pods that are not put before ``end_list`` are deleted."""
        self._unlisted = set(self._pods)

    def end_list(self, now_s: float) -> None:
        for uid in self._unlisted:
            self._remove(uid, now_s)
        self._unlisted = set()
        self._expire(now_s)

    def replace(self, pods: Iterable[Mapping[str, Any]], now_s: float) -> None:
        """Takes a full list: pods that are not in it are deleted."""
        self.begin_list()
        for pod in pods:
            self.put(pod, now_s)
        self.end_list(now_s)

    def put(self, pod: Mapping[str, Any], now_s: float) -> None:
        self._expire(now_s)
        try:
            uid, containers = _uid(pod), parse_pod(pod)
        except ParseError as error:
            self.refused += 1
            log.warning("a pod was ignored: %s", error)
            return
        if not self._warned and has_old_annotation(pod):
            self._warned = True  # only for the first pod: there may be hundreds
            name = next(iter(containers.values())).pod if containers else uid
            log.warning(
                "pod %r: the annotation %s is now called %s; the next release does not read"
                " the old name",
                name,
                OLD_SUPPRESS,
                SUPPRESS,
            )
        if uid not in self._pods and len(self._pods) >= MAX_PODS:
            self.refused += 1
            return
        self._unlisted.discard(uid)
        # The status omits an ended container after its second successor, but its last samples may
        # still arrive.
        before = self._pods.get(uid, {})
        ended = {i: replace(c, ended=True) for i, c in before.items() if i not in containers}
        spare = max(_SPARE, len(containers))
        for container_id in list(ended)[: max(0, len(ended) - spare)]:
            del ended[container_id]
            self._containers.pop(container_id, None)
        self._pods[uid] = {**ended, **containers}
        self._containers.update(self._pods[uid])
        self._gone.pop(uid, None)

    def remove(self, pod: Mapping[str, Any], now_s: float) -> None:
        """The pod was deleted; its containers keep their names for KEEP_S."""
        self.put(pod, now_s)  # a deletion carries the last state
        try:
            self._remove(_uid(pod), now_s)
        except ParseError:
            pass  # ``put`` has counted it

    def _remove(self, uid: str, now_s: float) -> None:
        containers = self._pods.pop(uid, None)
        if containers is not None:
            ended = {i: replace(container, ended=True) for i, container in containers.items()}
            self._gone[uid] = now_s, ended
            self._containers.update(ended)

    def _expire(self, now_s: float) -> None:
        for uid, (since_s, containers) in list(self._gone.items()):  # the oldest first
            if now_s - since_s <= KEEP_S and len(self._gone) <= MAX_PODS:
                break
            del self._gone[uid]
            for container_id, container in containers.items():
                # A static pod's mirror may be recreated: another UID, the same container.
                if self._containers.get(container_id) is container:
                    del self._containers[container_id]


def _uid(pod: Mapping[str, Any]) -> str:
    metadata = pod.get("metadata") if isinstance(pod, Mapping) else None
    uid = metadata.get("uid") if isinstance(metadata, Mapping) else None
    if not isinstance(uid, str) or not 0 < len(uid) <= 64:
        raise ParseError("pod-shape", "a pod without a UID")
    return uid
