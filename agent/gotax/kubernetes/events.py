"""The requests for Events: create one, count a repetition, and the uid of what it is about."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from gotax.errors import GotaxError, UserError
from gotax.kubernetes import api
from gotax.kubernetes.connection import Client, Request

_TIMEOUT_S = 10.0
_ANSWER_MAX = 256 << 10
_METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_NOT_FOUND, _CONFLICT, _TOO_MANY = 404, 409, 429
_UID = re.compile(r"[0-9A-Za-z-]{1,64}")


class EventsError(GotaxError):
    """The API server did not take an Event; a later attempt may succeed."""


class Events:
    """``connect`` makes a client for each request: they are rare, and certificates change.

    ``refused`` makes the error for what the server will not take, also not later.
    """

    def __init__(self, connect: Callable[[], Client], refused: Callable[[str], GotaxError]) -> None:
        connect().close()  # a wrong configuration is reported at once
        self._connect, self._refused = connect, refused

    def create(self, namespace: str, event: dict[str, Any]) -> bool:
        status, _ = self._ask("POST", _path(namespace), event)
        return self._is_done(status, _CONFLICT, "create")

    def repeat(self, namespace: str, name: str, series: dict[str, Any]) -> bool:
        status, _ = self._ask("PATCH", f"{_path(namespace)}/{name}", {"series": series})
        return self._is_done(status, _NOT_FOUND, "patch")

    def uid(self, api_version: str, kind: str, namespace: str, name: str) -> str:
        path = f"/apis/{api_version}/namespaces/{namespace}/{kind.lower()}s/{name}"
        status, text = self._ask("GET", path, None)
        if status != 200:
            return ""
        try:
            uid = json.loads(text)["metadata"]["uid"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return ""
        return uid if isinstance(uid, str) and _UID.fullmatch(uid) else ""

    def _is_done(self, status: int, otherwise: int, verb: str) -> bool:
        """False for the status ``otherwise``."""
        if 200 <= status < 300:
            return True
        if status == otherwise:
            return False
        if 400 <= status < 500 and status != _TOO_MANY:
            hint = f" (the service account needs the verb {verb} on events.events.k8s.io)"
            raise self._refused(f"status {status}{hint if status == 403 else ''}")
        raise EventsError(f"status {status}")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": _METADATA_ONLY if body is None else "application/json"}
        headers["Content-Type"] = kind
        content = None if body is None else json.dumps(body).encode()
        request = Request(path, method=method, headers=headers, body=content)
        text = bytearray()
        try:
            with self._connect() as client, client.ask(request, _TIMEOUT_S) as answer:
                for chunk in answer.body:
                    text += chunk
                    if len(text) > _ANSWER_MAX:
                        raise EventsError("an answer that is too large")
        except (*api.FAILURES, UserError) as error:
            message = str(error).split("\n", 1)[0] or type(error).__name__
            raise EventsError(message) from error
        return answer.status, bytes(text)


def _path(namespace: str) -> str:
    return f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
