"""Kubernetes Events: when a warning begins and ends, one for all nodes, at a bounded rate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from gotax.errors import GotaxError
from gotax.exporters.events import exporter as events
from gotax.exporters.events.exporter import BURST, EACH_S, Allowance, EventsExporter, RefusedError
from gotax.exporters.events.notices import HeldWarnings, Notice, event_of, regarding
from gotax.findings import Severity
from gotax.process import Workload
from gotax.window import Window

from .windows import Load, build_window, fitting_load, named, oversized_load

NOW = "2026-11-29T10:00:00.000000Z"


def bad(pod: str = "web-1", workload: str = "web", **facts: Any) -> Load:
    return named(oversized_load(), pod, workload, **facts)


def good(pod: str = "web-2", workload: str = "web") -> Load:
    return named(fitting_load(), pod, workload)


def said(held: HeldWarnings, *loads: Load) -> list[tuple[str, str, bool]]:
    return [(n.pod.pod, n.code, n.has_begun) for n in held.observe(build_window(*loads))]


def notice(**facts: Any) -> Notice:
    (found,) = HeldWarnings().observe(build_window(bad()))
    return replace(found, pod=replace(found.pod, **facts))


def test_a_warning_begins_once_and_ends_once() -> None:
    held = HeldWarnings()
    assert said(held, bad()) == [("web-1", "GT001", True)]
    assert said(held, bad()) == []
    assert said(held, bad(), good()) == []
    assert said(held) == []  # idle: not the end
    assert said(held, good()) == [("web-2", "GT001", False)]
    assert said(held, good()) == []
    assert said(held, bad()) == [("web-1", "GT001", True)]


def test_information_and_what_is_outside_kubernetes_is_no_event() -> None:
    load = bad()
    calm = tuple(replace(finding, severity=Severity.INFO) for finding in load.findings)
    assert said(HeldWarnings(), replace(load, findings=calm)) == []
    assert said(HeldWarnings(), oversized_load()) == []


def test_workloads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gotax.exporters.events.notices.WORKLOADS_MAX", 2)
    held = HeldWarnings()
    for name in ("a", "b", "c"):
        said(held, bad(f"{name}-1", name))
    assert len(held) == 2
    assert said(held, bad("c-1", "c")) == []


def test_the_object_of_an_event() -> None:
    found = event_of(notice(), "n1", "uid-1", NOW)
    assert found["regarding"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "namespace": notice().pod.namespace,
        "name": "web",
        "uid": "uid-1",
    }
    assert (found["reason"], found["type"], found["eventTime"]) == ("GT001", "Warning", NOW)
    assert "[GT001]. Predicted to save" in found["note"]
    ended = event_of(replace(notice(), has_begun=False), "n1", "", NOW)
    assert (ended["reason"], ended["type"]) == ("GT001Ended", "Normal")
    assert "uid" not in ended["regarding"]


def test_a_kind_that_is_not_known_gets_the_event_at_its_pod() -> None:
    rollout = notice(workload=Workload("Rollout", "web"), pod="web-1", pod_uid="u1")
    about = regarding(rollout, "")
    assert (about["kind"], about["name"], about["uid"]) == ("Pod", "web-1", "u1")
    static = notice(workload=Workload("StaticPod", "web"), pod="web-n1")
    assert "uid" not in regarding(static, "")  # the mirror has another one


def test_names_are_the_same_everywhere_and_allowed() -> None:
    assert notice(pod="web-1").name == notice(pod="web-2", node="n2").name
    assert notice().name != replace(notice(), has_begun=False).name
    assert notice().name != notice(container="other").name
    for workload in ("web", "a.b", "x" * 253, "x" * 199 + "-y"):
        name = notice(workload=Workload("Deployment", workload)).name
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name)
        assert len(name) <= 253


def test_hostile_texts_are_one_short_line() -> None:
    found = event_of(replace(notice(), text="\x1b[2J\n" + "\u00e9" * 2000), "n1", "", NOW)
    assert len(found["note"].encode()) <= 1024
    assert found["note"].isprintable()


class Server:
    """The API server, as far as Events need it. ``fail`` is raised by the next request."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str], dict[str, Any]] = {}
        self.fail: list[GotaxError] = []
        self.uids = 0

    def create(self, namespace: str, event: dict[str, Any]) -> bool:
        self._maybe_fail()
        key = namespace, event["metadata"]["name"]
        if key in self.events:
            return False
        self.events[key] = event
        return True

    def repeat(self, namespace: str, name: str, series: dict[str, Any]) -> bool:
        self._maybe_fail()
        if (namespace, name) not in self.events:
            return False
        self.events[namespace, name]["series"] = series
        return True

    def uid(self, api_version: str, kind: str, namespace: str, name: str) -> str:
        self.uids += 1
        return f"{api_version}/{kind}/{namespace}/{name}"

    def _maybe_fail(self) -> None:
        if self.fail:
            raise self.fail.pop()


class Idle(EventsExporter):
    """Without its thread: a test makes the steps."""

    def _run(self) -> None:
        pass

    def told(self, window: Window) -> None:
        self.publish(window)
        while self.step() == 0.0:
            pass


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def exporter(server: Server, clock: list[float]) -> Iterator[Idle]:
    with closing(Idle(server, "n1", lambda: clock[0])) as made:
        yield made


def test_one_event_for_all_nodes_and_after_a_restart(
    server: Server, exporter: Idle, clock: list[float]
) -> None:
    exporter.told(build_window(bad()))
    (event,) = server.events.values()
    assert "series" not in event
    assert event["regarding"]["uid"].endswith("/web")
    other = Idle(server, "n2", lambda: clock[0])
    other.told(build_window(bad("web-9")))
    assert event["series"]["count"] == 2
    assert other.counts == {"repeated": 1}
    other.told(build_window(good()))
    other.told(build_window(bad("web-9")))
    assert event["series"]["count"] == 3
    assert len(server.events) == 2  # the end is another Event
    assert (exporter.counts, server.uids) == ({"created": 1}, 2)


def test_an_event_that_has_expired_is_created_again(server: Server, exporter: Idle) -> None:
    exporter.told(build_window(bad()))
    exporter.told(build_window(good()))
    server.events.clear()
    exporter.told(build_window(bad()))
    assert [event["reason"] for event in server.events.values()] == ["GT001"]


def test_the_rate_is_bounded(
    server: Server, exporter: Idle, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WAITING_MAX", BURST + 5)
    loads = [bad(f"w{n}-1", f"w{n}") for n in range(BURST + 8)]
    for load in loads:
        exporter.publish(build_window(load))
    assert exporter.counts == {"queue-full": 3}
    waits = [exporter.step() for _ in range(BURST + 1)]
    assert waits[:BURST] == [0.0] * BURST
    assert waits[BURST] == pytest.approx(EACH_S)
    assert len(server.events) == BURST
    clock[0] += 2 * EACH_S
    assert [exporter.step() for _ in range(3)] == [0.0, 0.0, pytest.approx(EACH_S)]
    clock[0] += 1e6
    assert Allowance(0.0).take(1e6) == 0.0


def test_an_outage_loses_nothing_and_a_refusal_only_one(
    server: Server, exporter: Idle, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail = [GotaxError("status 503")] * 3
    exporter.publish(build_window(bad()))
    assert [exporter.step() for _ in range(4)] == [1.0, 2.0, 4.0, 0.0]
    assert exporter.counts == {"created": 1}
    assert [r.message for r in caplog.records] == [
        "Events cannot be sent: status 503; trying again"
    ]
    server.fail = [RefusedError("status 403")]
    exporter.told(build_window(bad("a-1", "a"), good("b-1", "b")))
    assert exporter.counts == {"created": 1, "refused": 1}
    assert exporter.step() is None


def test_the_thread_sends_and_ends(server: Server) -> None:
    made = EventsExporter(server, "n1")
    made.publish(build_window(bad()))
    made._is_woken.set()
    thread = made._thread
    while not server.events:
        thread.join(0.01)
        assert thread.is_alive()
    made.close()
    thread.join()
    made.close()
