"""Requests to the API server and the kubelet: yields pods as JSON, one at a time.

In a pod they are made with its service account: a token that changes, and the cluster's CA.
Elsewhere a kubeconfig says how to reach the server (``kubeconfig.py``).
"""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from gotax.errors import ParseError, UserError
from gotax.kubernetes.connection import Answer, Client, PlainClient, Request, Trust

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PROXIES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
WATCH_S = 300  # how long the server holds one watch
# a server sends a bookmark every minute: without data for this long the connection is dead
SILENCE_S = 90.0
_KUBELET_S = 10.0  # without a byte
_LIST_S = 60.0  # for a whole list from a kubelet
_OK, _FORBIDDEN = 200, 403
MAX_EVENT = 8 << 20  # etcd takes objects of 1.5 MiB
MAX_LIST = 16 << 20  # of a list from a kubelet: some 20 KB a pod
MAX_VALUES = 800_000
"""Of one event or list. Each takes some 70 bytes of memory, however short it is in JSON."""
_GONE = 410  # the resource version is too old
# the resource version is too new: another server of the cluster lags behind
_TOO_LARGE_VERSION = 504


class RefusedError(Exception):
    """The server answered, and not with what was asked for."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.reason}")
        self.is_forbidden = answer.status == _FORBIDDEN


FAILURES = (RefusedError, http.client.HTTPException, OSError, ParseError, ValueError)


class ExpiredError(Exception):
    """The server no longer has the changes since this version: list again."""


class Event(NamedTuple):
    """``kind``: ADDED, MODIFIED or DELETED with a pod, BOOKMARK with a version only."""

    kind: str
    pod: Mapping[str, Any]
    version: str


@dataclass(frozen=True, slots=True)
class KubeletAddress:
    """``url``: https://NODE:10250, or http://NODE:10255 if that port is open. The command line has
    checked it.

    ``is_trusted``: its certificate is not checked; most kubelets sign their own.
    """

    url: str
    is_trusted: bool = False


def connect() -> Client:
    """A client for the API server, with the pod's service account or the user's kubeconfig.

    Raises UserError if there is neither, and ImportError if a kubeconfig cannot be read for want of
    a library.
    """
    host, token = os.environ.get("KUBERNETES_SERVICE_HOST"), SERVICE_ACCOUNT / "token"
    try:
        if host and token.exists() and not any(map(os.environ.get, _PROXIES)):
            name = f"[{host}]" if ":" in host else host
            url = f"https://{name}:{os.environ.get('KUBERNETES_SERVICE_PORT', '443')}"
            return PlainClient(url, token, Trust(str(SERVICE_ACCOUNT / "ca.crt")))
        from gotax.kubernetes.kubeconfig import ConfiguredClient

        return ConfiguredClient()
    except (OSError, ValueError) as error:
        raise UserError(
            f"no way to the Kubernetes API server: {_message(error)};"
            " run in a pod with a service account, set KUBECONFIG, or omit --node"
        ) from error


def connect_kubelet(address: KubeletAddress, account: Path | None = None) -> Client:
    """A client for the kubelet of this node, with the pod's service account if there is one.

    Raises UserError for an invalid address.
    """
    account = account or SERVICE_ACCOUNT
    token, ca = account / "token", account / "ca.crt"
    if not address.url.startswith(("https://", "http://")):
        raise UserError(f"{address.url!r} is no URL of a kubelet: say https://NODE:10250")
    # Plain HTTP checks no credentials, and would expose them.
    is_secret = address.url.startswith("https:") and token.exists()
    trust = Trust(str(ca) if ca.exists() else "", address.is_trusted)
    try:
        return PlainClient(address.url, token if is_secret else None, trust)
    except (OSError, ValueError) as error:
        raise UserError(f"no way to the kubelet at {address.url}: {_message(error)}") from error


def watch_pods(server: Client, node: str, version: str) -> Iterator[Event]:
    """The pods of one node since ``version``; "0" first lists all, each as ADDED.

    Ends when the server ends the watch. The server answers version "0" from its memory, one pod at
    a time. An ordinary list would be read from etcd, by the agents of all nodes at once after an
    outage, and the agent would hold all of it in memory. Raises ExpiredError and FAILURES.
    """
    query = {
        "watch": "true",
        "fieldSelector": f"spec.nodeName={node}",
        "resourceVersion": version,
        "allowWatchBookmarks": "true",
        "timeoutSeconds": str(WATCH_S),
    }
    with server.ask(Request("/api/v1/pods", query), SILENCE_S) as answer:
        if answer.status in (_GONE, _TOO_LARGE_VERSION):
            raise ExpiredError
        for line in lines(_body(answer)):
            yield parse_event(line)


def list_pods(kubelet: Client) -> list[Mapping[str, Any]]:
    """All pods of this node, from the kubelet. Raises FAILURES."""
    end_s = time.monotonic() + _LIST_S
    with kubelet.ask(Request("/pods"), _KUBELET_S) as answer:
        text = bytearray()
        for part in _body(answer):
            text += part
            if len(text) > MAX_LIST:
                raise ParseError("pods-too-large", f"more than {MAX_LIST >> 20} MiB of pods")
            if time.monotonic() > end_s:
                raise ParseError("pods-too-slow", f"no list of pods within {_LIST_S:g} s")
    return parse_list(text)


def _body(answer: Answer) -> Iterator[bytes]:
    """As it was sent: what is compressed could become a thousand times as much."""
    if answer.status != _OK:
        raise RefusedError(answer)
    if answer.encoding != "identity":
        raise ParseError(
            "pod-encoding", f"a compressed answer that was not asked for: {answer.encoding}"
        )
    return answer.body


def lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Whole lines. Raises ParseError("pod-too-large") for a line that is too long."""
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while (end := rest.find(b"\n")) >= 0:
            line = bytes(rest[:end])
            del rest[: end + 1]
            if line.strip():
                yield line
        if len(rest) > MAX_EVENT:
            raise ParseError("pod-too-large", f"an event of more than {MAX_EVENT >> 20} MiB")


def parse_event(line: bytes) -> Event:
    """Raises ExpiredError if the event says so, and ParseError("watch-event") for an invalid
    event."""
    try:
        event = _parse(line)
        kind, value = event["type"], event["object"]
        if kind == "ERROR":
            if value.get("code") in (_GONE, _TOO_LARGE_VERSION):
                raise ExpiredError
            raise ParseError("watch-event", str(value.get("message"))[:200])
        return Event(str(kind), value, str(value["metadata"]["resourceVersion"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ParseError("watch-event", f"no event of a watch: {error}") from error


def parse_list(text: bytes | bytearray) -> list[Mapping[str, Any]]:
    """Raises ParseError("pod-list") for an invalid list."""
    try:
        items = _parse(text)["items"] or []
        return [pod for pod in items if isinstance(pod, dict)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ParseError("pod-list", f"no list of pods: {error}") from error


def _parse(text: bytes | bytearray) -> Any:
    """Each value but the first is behind one of these; what is in a text counts, too."""
    if sum(text.count(mark) for mark in (b",", b"{", b"[", b":")) > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")
    return json.loads(text)


def _message(error: BaseException) -> str:
    return str(error) or type(error).__name__
