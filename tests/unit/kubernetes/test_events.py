"""The requests for Events, and every answer of an API server to them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from gotax.errors import UserError
from gotax.exporters.events.exporter import RefusedError
from gotax.kubernetes import events
from gotax.kubernetes.connection import Answer, Client, PlainClient, Request
from gotax.kubernetes.events import Events, EventsError

EVENT = {"metadata": {"name": "web.1", "namespace": "shop"}}


class Server(PlainClient):
    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        super().__init__("http://k")
        self._answer = answer

    @contextmanager
    def ask(self, request: Request, silence_s: float) -> Iterator[Answer]:
        assert silence_s > 0
        yield self._answer(request)


def events_of(answer: Callable[[Request], Answer]) -> Events:
    return Events(lambda: Server(answer), RefusedError)


def answering(status: int, body: Any = None) -> Events:
    return events_of(lambda _: response(status, {} if body is None else body))


def response(status: int, body: Any) -> Answer:
    return Answer(status, "", "identity", iter([json.dumps(body).encode()]))


def test_the_requests() -> None:
    asked: list[tuple[str, str, str, Any]] = []

    def answer(request: Request) -> Answer:
        kind = request.headers["Content-Type"]
        body = json.loads(request.body) if request.body else None
        asked.append((request.method, request.path, kind, body))
        if request.method == "GET":
            assert "as=PartialObjectMetadata" in request.headers["Accept"]
        return response(200, {"metadata": {"uid": "u-1"}})

    api = events_of(answer)
    assert api.create("shop", EVENT)
    assert api.repeat("shop", "web.1", {"count": 2})
    assert api.uid("apps/v1", "Deployment", "shop", "web") == "u-1"
    path = "/apis/events.k8s.io/v1/namespaces/shop/events"
    assert asked[:2] == [
        ("POST", path, "application/json", EVENT),
        ("PATCH", f"{path}/web.1", "application/merge-patch+json", {"series": {"count": 2}}),
    ]
    assert asked[2][:2] == ("GET", "/apis/apps/v1/namespaces/shop/deployments/web")


def test_an_event_that_exists_or_is_gone_is_no_error() -> None:
    assert not answering(409).create("shop", EVENT)
    assert not answering(404).repeat("shop", "web.1", {})


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_final_and_names_the_permission(status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        answering(status).create("shop", EVENT)
    assert ("needs the verb create on events.events.k8s.io" in str(caught.value)) == (status == 403)


@pytest.mark.parametrize("status", [429, 500, 503, 301])
def test_an_outage_is_not(status: int) -> None:
    with pytest.raises(EventsError, match=f"status {status}"):
        answering(status).repeat("shop", "web.1", {})


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, {"metadata": {"uid": "u"}}),
        (404, {}),
        (200, {}),
        (200, []),
        (200, {"metadata": {"uid": 7}}),
        (200, {"metadata": {"uid": "x" * 65}}),
        (200, {"metadata": {"uid": "a\nb"}}),
    ],
)
def test_without_a_uid_there_is_none(status: int, body: Any) -> None:
    assert answering(status, body).uid("apps/v1", "Deployment", "shop", "web") == ""


def test_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_ANSWER_MAX", 10)
    with pytest.raises(EventsError, match="too large"):
        answering(200, {"metadata": {"uid": "u-1"}}).create("shop", EVENT)


def test_no_connection_is_an_error_of_events() -> None:
    def answer(_: Request) -> Answer:
        raise ConnectionError("refused\nmore")

    with pytest.raises(EventsError, match=r"^refused$"):
        events_of(answer).create("shop", EVENT)


def test_a_wrong_configuration_is_reported_at_once() -> None:
    def connect() -> Client:
        raise UserError("no way to the Kubernetes API server")

    with pytest.raises(UserError):
        Events(connect, RefusedError)
