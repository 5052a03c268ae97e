"""Who gets in, what it may take until then, and when it must leave: over real connections."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream import sender as sender_module
from gotax.exporters.stream.exporter import StreamExporter
from gotax.exporters.stream.sender import AgentIdentity
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.window import Window
from gotax.wire.v1 import ingest_pb2
from gotax_collector.ingest import receiver, server
from gotax_collector.ingest.limits import Limits
from gotax_collector.relay.limits import RelayLimits
from gotax_collector.security.tokens import Tokens

from tests.patience import PATIENCE_S
from tests.unit.exporters.windows import story_window

from .collecting import Collecting, MemoryStore, Setup, collecting, eventually
from .http2 import Client, message
from .test_refusals import HELLO, TOKEN, _channel, _drain, _opened

MIB = 1 << 20


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits for tests."""
    monkeypatch.setattr(sender_module, "_RETRY_FIRST_S", 0.05)
    monkeypatch.setattr(sender_module, "_RETRY_MAX_S", 0.2)
    monkeypatch.setattr(sender_module, "_IDLE_S", 0.1)
    monkeypatch.setattr(receiver, "_CHECK_S", 0.05)


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Other bounds of connections than the usual ones."""
    usual = server._relay_limits

    def change(**changed: float) -> None:
        def limits(given: Limits) -> RelayLimits:
            return replace(usual(given), **changed)  # type: ignore[arg-type]

        monkeypatch.setattr(server, "_relay_limits", limits)

    return change


def guard(folder: Path, now: Callable[[], float] = time.time, text: str = TOKEN) -> Tokens:
    path = folder / "tokens"
    path.write_text(text + "\n")
    return Tokens(str(path), now)


def streaming(running: Collecting, name: str = "honest", token_file: str = "") -> StreamExporter:
    credentials = Credentials(token_file=token_file)
    endpoint = Endpoint("127.0.0.1", running.port, is_secure=False, credentials=credentials)
    return StreamExporter(endpoint, AgentIdentity(name, name), Spool("", Bounds(8 << 20, 3600)))


def delivers(agent: StreamExporter, window: Window | None = None) -> None:
    """One window, now."""
    before = agent.statistics().acknowledged
    agent.publish(window or story_window())
    eventually(lambda: agent.statistics().acknowledged == before + 1)


@contextmanager
def quiet_after(*messages: bytes) -> Iterator[Iterator[bytes]]:
    """These, and then nothing, without an end."""
    ended = threading.Event()

    def iterate() -> Iterator[bytes]:
        yield from messages
        ended.wait(PATIENCE_S)

    try:
        yield iterate()
    finally:
        ended.set()


def closed(running: Collecting, reason: str) -> float:
    return running.metric("connections_closed_total", port="grpc", reason=reason)


def test_without_a_token_not_a_byte_of_a_message_is_read(tmp_path: Path) -> None:
    """A hello of 4 MiB that never ends: 320 of them held 1.24 GB before the token was asked for."""
    with collecting(MemoryStore(), Setup(guard=guard(tmp_path))) as running:
        for _ in range(8):
            client = Client(running.port)
            client.open_stream()
            client.send(message(b"\n" * MIB, 4 * MIB))
            assert client.sent <= 65_535  # no window was opened for it
            assert b"gotax-refused-reason" in client.wait_for_trailers(200)
            client.close()
        assert running.metric("refused_total", reason="unauthenticated") == 8
        assert running.metric("agents") == 0


@pytest.mark.parametrize(
    "path",
    ["/gotax.wire.v1.IngestService/Stream", "/grpc.health.v1.Health/Check"],
    ids=["stream", "health"],
)
def test_a_message_that_never_ends_is_cut_off(path: str) -> None:
    """Where no token is asked for, and in a method that never asks."""
    with collecting(MemoryStore()) as running:
        client = Client(running.port)
        client.open_stream(path=path)
        client.send(message(b"\n" * (4 * MIB - 1), 4 * MIB))
        assert client.wait_for_end(200)
        assert client.sent < 2 * MIB  # and most of this is in buffers of the kernel
        eventually(lambda: closed(running, "bytes") == 1)
        eventually(lambda: running.metric("unread_bytes", port="grpc") == 0)


def test_silent_connections_have_little_time(limited: Callable[..., None]) -> None:
    """Not a byte, half a preface, a stream without a hello, and a call that is done."""
    limited(new_s=0.3)
    with collecting(MemoryStore()) as running, ExitStack() as stack:
        silent = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S)
        half = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S)
        half.sendall(b"PRI * HTTP")
        stack.enter_context(silent)
        stack.enter_context(half)
        opened = Client(running.port)
        opened.open_stream()
        _drain(silent)
        _drain(half)
        assert opened.wait_for_end(200)
        eventually(lambda: closed(running, "new") == 3)
        eventually(lambda: running.metric("connections", port="grpc") == 0)


def test_silent_connections_keep_no_agent_away() -> None:
    """The oldest of the peer that has most goes for a newer one, and an agent is quick."""
    with collecting(MemoryStore()) as running, ExitStack() as stack:
        for _ in range(server.NEW_CONNECTIONS + 40):
            held = socket.create_connection(("127.0.0.1", running.port), timeout=PATIENCE_S)
            stack.enter_context(held)
        eventually(lambda: closed(running, "full") >= 40)
        agent = streaming(running)
        delivers(agent)
        assert running.metric("connections", port="grpc") <= server.NEW_CONNECTIONS + 1
        agent.close()


def test_reports_that_never_end_take_a_bounded_memory() -> None:
    """Of agents that have said hello: the largest unfinished message goes, and no honest agent."""
    limits = Limits(unread_bytes=2 * MIB)
    with collecting(MemoryStore(), Setup(limits=limits)) as running, ExitStack() as stack:
        agent = streaming(running)
        delivers(agent)
        for number in range(4):
            client = Client(running.port)
            stack.callback(client.close)
            client.open_stream()
            client.send(message(HELLO))
            eventually(lambda: running.metric("streams_opened_total") == 2 + number)  # noqa: B023
            eventually(lambda: running.metric("agents") == running.metric("streams"))
            client.send(message(b"\n" * (MIB * 3 // 2), 4 * MIB))
            eventually(
                lambda: (
                    running.metric("unread_bytes", port="grpc") > MIB
                    or closed(running, "unread") > 0
                )
            )
            assert running.metric("unread_bytes", port="grpc") <= 2 * MIB + 65_536
        eventually(lambda: closed(running, "unread") >= 2)
        delivers(agent)
        assert agent.statistics().connections == 1
        agent.close()


def test_a_report_that_takes_too_long_ends_its_connection(limited: Callable[..., None]) -> None:
    limited(unread_s=0.3)
    with collecting(MemoryStore()) as running:
        client = Client(running.port)
        client.open_stream()
        client.send(message(HELLO))
        eventually(lambda: running.metric("agents") == 1)
        client.send(message(b"\n" * (256 << 10), 4 * MIB))
        assert client.wait_for_end(200)
        assert closed(running, "slow") == 1


def test_a_slow_store_is_not_the_agents_fault(limited: Callable[..., None]) -> None:
    """What is complete and waits has no deadline, however large it is."""
    limited(unread_s=3.0)
    store = MemoryStore()
    store.open.clear()
    with collecting(store, Setup(limits=Limits(waiting_bytes=1))) as running:
        agent = streaming(running)
        for _ in range(3):
            agent.publish(story_window())
            eventually(lambda: not agent._windows)
        eventually(lambda: agent.statistics().in_flight > 0)
        time.sleep(3.5)  # longer than an incomplete report may take
        store.open.set()
        eventually(lambda: agent.statistics().acknowledged == 3)
        assert agent.statistics().connections == 1
        assert closed(running, "slow") == 0
        agent.close()


def test_no_more_is_decoded_than_the_store_has_room_for() -> None:
    """What a report becomes is larger than what was sent: it stays as it was sent until then."""
    store = MemoryStore(failing=True)
    with collecting(store, Setup(limits=Limits(waiting_bytes=1))) as running:
        agents = [streaming(running, f"a{number}") for number in range(5)]
        for agent in agents:
            agent.publish(story_window())
        eventually(lambda: sum(agent.statistics().in_flight for agent in agents) == 5)
        eventually(lambda: running.metric("store_failures_total") >= 2)
        assert running.metric("reports_total") == 1
        store.failing = False
        eventually(lambda: len(store.kept) == 5)
        for agent in agents:
            agent.close()


def test_a_refused_stream_gives_its_connection_no_more_time(
    tmp_path: Path, limited: Callable[..., None]
) -> None:
    """Otherwise one could ask with wrong tokens for ever."""
    limited(new_s=0.5)
    with (
        collecting(MemoryStore(), Setup(guard=guard(tmp_path))) as running,
        _channel(running) as channel,
    ):
        while closed(running, "new") == 0:
            call = _opened(channel)(iter([HELLO]), timeout=PATIENCE_S)
            with pytest.raises(grpc.RpcError):
                list(call)
            time.sleep(0.05)


def test_streams_without_a_hello_are_no_agents() -> None:
    """They use up no place of --max-agents."""
    with (
        collecting(MemoryStore(), Setup(limits=Limits(streams=1))) as running,
        _channel(running) as first,
        _channel(running) as second,
        quiet_after() as nothing,
        quiet_after() as silence,
    ):
        calls = [
            _opened(first)(nothing, timeout=PATIENCE_S),
            _opened(second)(silence, timeout=PATIENCE_S),
        ]
        eventually(lambda: running.metric("streams") == 2)
        agent = streaming(running)
        delivers(agent)
        assert running.metric("agents") == 1
        agent.close()
        for call in calls:
            call.cancel()


def test_a_silent_agent_gives_its_place_to_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a goodbye: an honest one comes again when it has something to send."""
    with (
        collecting(MemoryStore(), Setup(limits=Limits(streams=1))) as running,
        _channel(running) as channel,
        quiet_after(HELLO) as messages,
    ):
        held = _opened(channel)(messages, timeout=PATIENCE_S)
        next(held)
        agent = streaming(running)
        eventually(lambda: running.metric("refused_total", reason="streams") >= 1)
        monkeypatch.setattr(receiver, "_SILENT_S", 0.0)
        delivers(agent)
        answers = [ingest_pb2.StreamResponse.FromString(data) for data in held]
        assert "silent" in answers[-1].goodbye.reason
        agent.close()


def test_an_expired_token_ends_its_stream(tmp_path: Path) -> None:
    """Not only those that begin later; and a renewed one comes in again."""
    now = [1.0e9]
    tokens = guard(tmp_path, lambda: now[0], f"{TOKEN} expires=2002-01-01T00:00:00Z")
    (tmp_path / "token").write_text(TOKEN)
    store = MemoryStore()
    with collecting(store, Setup(guard=tokens)) as running:
        agent = streaming(running, token_file=str(tmp_path / "token"))
        delivers(agent)
        now[0] = 1.1e9
        eventually(lambda: running.metric("refused_total", reason="expired") >= 2)
        assert running.metric("agents") == 0
        assert agent.statistics().failures["unauthenticated"] >= 1
        now[0] = 1.0e9
        delivers(agent)
        agent.close()
    assert store.sequences("honest") == [1, 2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [("other-token-0123456789", "unauthenticated"), (f"{TOKEN} agent=x-*", "forbidden")],
    ids=["removed", "of others"],
)
def test_a_removed_token_ends_its_stream(tmp_path: Path, text: str, reason: str) -> None:
    tokens = guard(tmp_path)
    with (
        collecting(MemoryStore(), Setup(guard=tokens)) as running,
        _channel(running) as channel,
        quiet_after(HELLO) as messages,
    ):
        metadata = (("authorization", f"Bearer {TOKEN}"),)
        held = _opened(channel)(messages, metadata=metadata, timeout=PATIENCE_S)
        next(held)
        (tmp_path / "tokens").write_text(text)
        with pytest.raises(grpc.RpcError):
            list(held)
        trailing = {str(key): value for key, value in held.trailing_metadata() or ()}
        assert trailing["gotax-refused-reason"] == reason


def test_two_agents_of_one_name_are_noticed(caplog: pytest.LogCaptureFixture) -> None:
    """Both send: their reports are kept apart, and the operator is told once."""
    store = MemoryStore()
    with collecting(store) as running:
        one, other = streaming(running, "twin"), streaming(running, "twin")
        delivers(one)
        delivers(other)
        assert running.metric("namesakes") == 0  # so it may be a restart
        for _ in range(2):
            delivers(one)
            delivers(other)
        assert running.metric("namesakes") == 1
        other.close()
        eventually(lambda: running.metric("namesakes") == 0)
        assert running.metric("namesakes_found_total") == 1
        one.close()
    assert len({key[1] for key in store.kept}) == 2
    assert sum("two agents have one name" in record.message for record in caplog.records) == 1


def test_a_restarted_agent_is_no_namesake() -> None:
    """Though its old connection looks open: a network that is gone says nothing."""
    with collecting(MemoryStore()) as running, ExitStack() as stack:
        gone = streaming(running, "twin")
        delivers(gone)
        stack.callback(gone.close)
        agent = streaming(running, "twin")
        for _ in range(4):
            delivers(agent)
        assert running.metric("namesakes_found_total") == 0
        agent.close()


def test_a_clock_that_is_wrong_by_years_is_named_and_harms_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ahead, behind, and right: each is stored, where questions about now find it."""
    store = MemoryStore()
    now = time.time_ns()
    year = 366 * 86_400 * 10**9
    began = {"ahead": now + 3 * year, "behind": 0, "right": now - 30 * 10**9}
    with collecting(store) as running:
        for name, start in began.items():
            agent = streaming(running, name)
            for _ in range(2):
                delivers(agent, replace(story_window(), start_unix_ns=start))
            agent.close()
        for clock in ("ahead", "behind"):
            assert running.metric("wrong_clocks_total", clock=clock) == 2
    for report in store.kept.values():
        assert now - year < report.began_unix_ns <= report.received_unix_ns
        is_right = report.sender.agent == "right"
        assert (report.began_unix_ns == report.start_unix_ns) is is_right
    named = [getattr(r, "agent", "") for r in caplog.records if "clock is wrong" in r.message]
    assert sorted(named) == ["ahead", "behind"]  # once each
