"""An agent's exporter and a collector, over real gRPC, while things go wrong between the two."""

from __future__ import annotations

import socket
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream import encoding
from gotax.exporters.stream import exporter as exporter_module
from gotax.exporters.stream import sender as module
from gotax.exporters.stream.exporter import StreamExporter
from gotax.exporters.stream.sender import AgentIdentity
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.window import Window
from gotax.wire.v1 import report_pb2
from gotax_collector.ingest.limits import Limits
from gotax_collector.ingest.server import Listening
from gotax_collector.security.certificates import CertificateFiles, Certificates
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.patience import PATIENCE_S, promised
from tests.unit.exporters.windows import story_window

from .collecting import Collecting, MemoryStore, Setup, collecting, eventually
from .conftest import Files, certified

BOUNDS = Bounds(8 << 20, 3600)


def exporter(port: int, folder: str = "", name: str = "a") -> StreamExporter:
    endpoint = Endpoint("127.0.0.1", port, is_secure=False)
    return StreamExporter(endpoint, AgentIdentity(name, name), Spool(folder, BOUNDS))


def publish(agent: StreamExporter, *windows: Window) -> None:
    """One after the other, each when the one before has become a report."""
    for window in windows:
        agent.publish(window)
        eventually(lambda: not agent._windows)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits for tests."""
    monkeypatch.setattr(module, "_RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(module, "_RETRY_MAX_S", 0.2)
    monkeypatch.setattr(module, "_IDLE_S", 0.1)


def test_windows_wait_for_a_collector_and_come_in_order(tmp_path: Path) -> None:
    """None is there at first; then all that waited is delivered, on one stream."""
    with collecting(MemoryStore()) as first:
        port = first.port
    agent = exporter(port, str(tmp_path))
    publish(agent, *[story_window()] * 20)
    eventually(lambda: agent.statistics().failures != {})
    eventually(lambda: agent.statistics().spool_records == 20)
    store = MemoryStore()
    with collecting(store, Setup(port=port)):
        eventually(lambda: agent.statistics().acknowledged == 20)
        assert store.sequences("a") == list(range(1, 21))
        assert agent.statistics().spool_records == 0
        agent.close()
    (epoch,) = {key[1] for key in store.kept}
    assert epoch > 0


def test_a_collector_that_ends_gracefully_loses_and_doubles_nothing() -> None:
    """What it read it stores and acknowledges before it goes; the rest goes to the next one."""
    store = MemoryStore(slow_s=0.05)
    store.open.clear()
    with collecting(store) as first:
        port = first.port
        agent = exporter(port)
        publish(agent, *[story_window()] * 3)
        eventually(lambda: agent.statistics().in_flight > 0)
        store.open.set()
    with collecting(store, Setup(port=port)):
        agent.publish(story_window())
        eventually(lambda: agent.statistics().acknowledged == 4)
        agent.close()
    assert store.sequences("a") == [1, 2, 3, 4]
    assert max(store.calls.values()) == 1
    assert not agent.statistics().failures.get("answer-timeout")


def test_a_store_that_fails_acknowledges_nothing() -> None:
    """Its batch comes again until it works; the agent waits, and sends nothing twice."""
    store = MemoryStore(failing=True)
    with collecting(store) as running:
        agent = exporter(running.port)
        agent.publish(story_window())
        eventually(lambda: running.metric("store_failures_total") >= 2)
        assert agent.statistics().acknowledged == 0
        assert running.metric("store_failing_seconds") > 0
        store.failing = False
        eventually(lambda: agent.statistics().acknowledged == 1)
        assert running.metric("store_failing_seconds") == 0
        assert agent.statistics().sent == 1
        agent.close()


def test_a_slow_store_makes_agents_wait_and_not_the_collector_grow() -> None:
    """What waits is bounded; the agents' spools take the rest."""
    store = MemoryStore()
    store.open.clear()
    limits = Limits(waiting_bytes=40_000, reports_in_flight=2)
    with collecting(store, Setup(limits=limits)) as running:
        agents = [exporter(running.port, name=f"agent-{n}") for n in range(5)]
        for _ in range(10):
            for each in agents:
                publish(each, story_window())
        eventually(lambda: running.metric("waiting_bytes") > 0)
        eventually(lambda: all(each.statistics().in_flight > 0 for each in agents))
        assert all(each.statistics().in_flight <= 2 for each in agents)
        assert running.metric("waiting_bytes") < 4 * 40_000
        store.open.set()
        eventually(lambda: sum(a.statistics().acknowledged for a in agents) == 50)
        for each in agents:
            each.close()
    assert len(store.kept) == 50


def test_agents_begin_anew_and_lose_nothing_when_dictionaries_take_too_much() -> None:
    """With room for none, after each report: the next one comes on another stream, complete."""
    store = MemoryStore()
    with collecting(store, Setup(limits=Limits(dictionary_bytes=1))) as running:
        agent = exporter(running.port)
        publish(agent, *[story_window()] * 4)
        eventually(lambda: agent.statistics().acknowledged == 4)
        assert running.metric("streams_renewed_total") >= 2
        found = agent.statistics()
        assert (found.failures, sum(found.dropped.values())) == ({}, 0)
        agent.close()
    assert store.sequences("a") == [1, 2, 3, 4]


def test_with_room_for_all_dictionaries_nobody_begins_anew() -> None:
    with collecting(MemoryStore()) as running:
        agents = [exporter(running.port, name=f"agent-{n}") for n in range(3)]
        for each in agents:
            publish(each, story_window(), story_window())
        eventually(lambda: sum(a.statistics().acknowledged for a in agents) == 6)
        assert 0 < running.metric("dictionary_bytes") < Limits().dictionary_bytes
        assert running.metric("streams_renewed_total") == 0
        for each in agents:
            each.close()


def test_a_refused_report_is_dropped_and_those_after_it_arrive(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sending it again and again would block all that follow."""
    real = encoding.encode

    def spoil(window: Window, samples_max: int) -> report_pb2.Report:
        report = real(window, samples_max)
        if report.window.cpu_count == 3:
            report.window.samples_drained += 1
        return report

    monkeypatch.setattr(encoding, "encode", spoil)
    store = MemoryStore()
    with collecting(store) as running:
        agent = exporter(running.port)

        publish(agent, *(replace(story_window(), cpu_count=cpus) for cpus in (1, 2, 3, 4)))
        eventually(lambda: store.sequences("a") == [1, 2, 4])
        eventually(lambda: agent.statistics().dropped.get("refused") == 1)
        assert running.metric("refused_total", reason="conservation") == 1
        agent.publish(story_window())
        eventually(lambda: len(store.kept) == 4)
        agent.close()
    last = max(store.kept.values(), key=lambda report: report.sequence)
    assert last.dropped == (("refused", 1),)


def test_publishing_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that hangs costs a queue of four; what has no place in it is counted."""
    monkeypatch.setattr(module.Sender, "keep", lambda *_: time.sleep(0.6))
    agent = exporter(1)
    window = story_window()
    began, spent = time.monotonic(), time.thread_time()
    for _ in range(1000):
        agent.publish(window)
    assert time.thread_time() - spent < 0.5
    assert time.monotonic() - began < 60  # waiting would take ten minutes
    assert agent.statistics().dropped["queue-full"] > 900
    assert len(agent._windows) <= exporter_module.WINDOWS_MAX
    agent.close()


def test_an_agent_reconnects_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a new replica gets its share; nothing is lost or sent twice for it."""
    monkeypatch.setattr(module, "_CONNECTION_AGE_S", 0.4)
    store = MemoryStore()
    with collecting(store) as running:
        agent = exporter(running.port)
        published = 0
        while published < 12 or agent.statistics().connections < 2:
            publish(agent, story_window())
            published += 1
            time.sleep(0.05)
        eventually(lambda: agent.statistics().acknowledged == published)
        statistics = agent.statistics()
        assert not statistics.failures
        assert statistics.sent == published
        agent.close()


def test_an_agent_takes_renewed_certificates(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The authority changes on both sides, while the stream is open: a new one follows."""
    monkeypatch.setattr(module, "_FILES_EVERY_S", 0.1)
    own = certified(tmp_path / "own")
    certificates = Certificates(CertificateFiles(own.server_cert, own.server_key, own.authority))
    store = MemoryStore()
    with collecting(
        store, Setup(listening=partial(Listening, certificates=certificates))
    ) as running:
        endpoint = Endpoint(
            "127.0.0.1",
            running.port,
            is_secure=True,
            credentials=Credentials(
                ca=own.authority, certificate=own.agent_cert, key=own.agent_key
            ),
        )
        agent = StreamExporter(endpoint, AgentIdentity("a", "a"), Spool("", BOUNDS))
        agent.publish(story_window())
        eventually(lambda: agent.statistics().acknowledged == 1)
        time.sleep(0.05)  # another time of modification
        for name in Files.__dataclass_fields__:
            Path(getattr(own, name)).write_bytes(Path(getattr(files, name)).read_bytes())
        eventually(lambda: agent.statistics().connections >= 2)
        agent.publish(story_window())
        eventually(lambda: agent.statistics().acknowledged == 2)
        agent.close()
    assert store.sequences("a") == [1, 2]


@promised(2)
def test_a_collector_that_says_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch, within_s: float
) -> None:
    """A port that takes connections and never answers."""

    monkeypatch.setattr(module, "_WELCOME_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        agent = exporter(silent.getsockname()[1])
        agent.publish(story_window())
        eventually(lambda: agent.statistics().failures.get("welcome-timeout", 0) >= 1)
        began = time.monotonic()
        agent.close()
        assert time.monotonic() - began < within_s


def test_closing_delivers_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last window, published a moment before, if the host is quick enough."""
    monkeypatch.setattr(exporter_module, "_CLOSE_S", PATIENCE_S)
    store = MemoryStore()
    with collecting(store) as running:
        agent = exporter(running.port)
        agent.publish(story_window())
        eventually(lambda: agent.statistics().acknowledged == 1)
        agent.publish(story_window())
        agent.close()
        agent.close()
    assert store.sequences("a") == [1, 2]


def _health(running: Collecting) -> str:
    with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="gotax.wire.v1.IngestService")
        answer = stub.Check(request, timeout=PATIENCE_S)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def test_health_and_reflection_are_there_for_probes_and_people() -> None:
    """grpc.health.v1 for the service; its name and its messages by reflection."""
    with collecting(MemoryStore()) as running:
        assert _health(running) == "SERVING"
        with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
            requests = iter(
                [
                    reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(
                        file_containing_symbol="gotax.wire.v1.IngestService"
                    ),
                ]
            )
            listing, file = stub.ServerReflectionInfo(requests, timeout=PATIENCE_S)
        names = {service.name for service in listing.list_services_response.service}
        assert "gotax.wire.v1.IngestService" in names
        assert b"StreamRequest" in file.file_descriptor_response.file_descriptor_proto[0]
