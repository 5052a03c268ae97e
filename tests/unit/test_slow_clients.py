"""The agent's HTTP server among clients that send slowly, never, too much, or read nothing.

Each test asks for /healthz and /metrics while the clients are there. The clients are real sockets.
The server's own deadlines are of a test's choice: an honest client on a busy host may be late.
"""

from __future__ import annotations

import http.client
import logging
import resource
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from gotax.exporters.metrics.http import CODES, REASONS, HttpCounts
from gotax.exporters.prometheus import PrometheusExporter
from gotax.httpserver import Limits, Pulse, Server, open_server

from tests.patience import PATIENCE_S, is_readable

HOME, SIX = "127.0.0.1", "::1"
HAS_SIX = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()
HEADER = b"GET /metrics HTTP/1.1\r\nX: "
LARGE_BYTES = 8 << 20
DEFAULT, SHORT = Limits(), Limits(request_s=0.2, response_s=0.2)
PATIENT = Limits(request_s=PATIENCE_S, response_s=PATIENCE_S)


class LargeExporter(PrometheusExporter):
    """As many series as --max-series allows have a text of megabytes."""

    TEXT = b"#" * (LARGE_BYTES - 1) + b"\n"

    def expose(self) -> bytes:
        return self.TEXT


class Agent:
    """A server, and what it has counted."""

    def __init__(self, server: Server, counts: HttpCounts) -> None:
        self.server = server
        self.counts = counts

    def connect(self, source: str = HOME, host: str = HOME) -> socket.socket:
        return socket.create_connection((host, self.server.port), PATIENCE_S, (source, 0))

    def ask(self, path: str, source: str = HOME, host: str = HOME) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(
            host, self.server.port, PATIENCE_S, source_address=(source, 0)
        )
        with closing(connection):
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def require_answers(self, source: str = HOME, host: str = HOME) -> None:
        assert self.ask("/healthz", source, host) == (200, b"ok\n")
        assert self.ask("/readyz", source, host)[0] == 503
        status, text = self.ask("/metrics", source, host)
        assert status == 200
        assert text.endswith(b"\n")

    def wait_for(self, is_so: Callable[[HttpCounts], bool]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not is_so(self.counts):
            assert time.monotonic() < until, (self.counts.requests, self.counts.dropped)
            time.sleep(0.005)


@contextmanager
def answering(
    limits: Limits = PATIENT, kind: type[PrometheusExporter] = PrometheusExporter, host: str = ""
) -> Iterator[Agent]:
    counts = HttpCounts()
    server = open_server((host, 0), kind(), Pulse(1.0), counts, limits)
    server.start()
    try:
        yield Agent(server, counts)
    finally:
        server.close()


def read_all(client: socket.socket) -> bytes:
    """Until the server closes the connection."""
    parts = [client.recv(65536)]
    while parts[-1]:
        parts.append(client.recv(65536))
    return b"".join(parts)


def require_end(client: socket.socket) -> None:
    """The server has closed the connection, or reset it."""
    with suppress(ConnectionResetError):
        read_all(client)


SOURCES = {
    "one address": [HOME] * 200,
    "another address": ["127.0.0.9"] * 200,
    "25 addresses": [f"127.0.1.{n % 25}" for n in range(1, 201)],
    "200 addresses": [f"127.0.2.{n}" for n in range(1, 201)],
}
SENT = {"nothing": b"", "half a header": HEADER, "whole": b"GET /metrics HTTP/1.1\r\n\r\n"}


@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("sources", SOURCES)
def test_200_clients_that_do_not_go_on_stop_nothing(sources: str, sent: str) -> None:
    """16 connections that sent 8 bytes a second took /metrics and /healthz down."""
    with answering() as agent, ExitStack() as stack:
        for source in SOURCES[sources]:
            client = stack.enter_context(agent.connect(source))
            client.sendall(SENT[sent])
        for _ in range(10):
            agent.require_answers()
        if sent != "whole":
            assert agent.counts.dropped["limit"] + agent.counts.dropped["peer-limit"] >= 100


def test_clients_that_come_back_stop_nothing() -> None:
    """Each that is dropped connects again at once, and sends a byte in every round."""
    with answering() as agent, ExitStack() as stack:
        clients: dict[str, list[socket.socket]] = {
            source: [] for source in (HOME, "127.0.0.2", "127.0.0.3")
        }
        for _ in range(20):
            for source, own in clients.items():
                own += (stack.enter_context(agent.connect(source)) for _ in range(20 - len(own)))
                for client in list(own):
                    try:
                        client.sendall(b"a")
                    except OSError:
                        own.remove(client)
                        client.close()
            agent.require_answers()


def test_one_address_cannot_take_the_place_of_another() -> None:
    """Its own oldest connection goes, and not the older one of another address."""
    with answering() as agent, ExitStack() as stack:
        honest = stack.enter_context(agent.connect("127.0.0.2"))
        honest.sendall(b"GET /healthz HTTP/1.1\r\n")
        for _ in range(200):
            stack.enter_context(agent.connect("127.0.0.9")).sendall(HEADER)
        agent.wait_for(lambda counts: counts.dropped["peer-limit"] == 200 - DEFAULT.of_peer)
        assert agent.counts.dropped["limit"] == 0
        honest.sendall(b"\r\n")
        assert honest.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_the_address_with_most_connections_gives_way() -> None:
    """Where all places are taken, an address with one connection keeps it, also if it is idle."""
    limits = replace(PATIENT, connections=20, of_peer=8)
    with answering(limits) as agent, ExitStack() as stack:
        honest = stack.enter_context(agent.connect("127.0.0.2"))
        honest.sendall(b"GET /healthz HTTP/1.1\r\n")
        for n in range(100):
            stack.enter_context(agent.connect(f"127.0.1.{n % 10}")).sendall(HEADER)
        agent.wait_for(lambda counts: counts.dropped["limit"] == 81)
        honest.sendall(b"\r\n")
        assert honest.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_request_has_one_deadline_for_all_its_bytes() -> None:
    """A byte now and then does not prolong it."""
    with answering(SHORT) as agent, agent.connect() as client:
        client.sendall(HEADER)
        until = time.monotonic() + PATIENCE_S
        while not is_readable(client, 0.02):
            assert time.monotonic() < until
            with suppress(ConnectionError):
                client.send(b"a")
        require_end(client)
        assert agent.counts.dropped["request-timeout"] == 1
        agent.server._limits = PATIENT
        agent.require_answers()


def test_a_response_has_one_deadline_for_all_its_bytes() -> None:
    """A client that takes a little now and then does not prolong it."""
    with answering(SHORT, LargeExporter) as agent, agent.connect() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        until = time.monotonic() + PATIENCE_S
        while not agent.counts.dropped["response-timeout"]:
            assert time.monotonic() < until
            with suppress(ConnectionError):
                client.recv(1)
            time.sleep(0.01)
        require_end(client)
        agent.server._limits = PATIENT
        assert agent.ask("/healthz")[0] == 200


@pytest.mark.parametrize("source", [HOME, "127.0.0.9"])
def test_clients_that_never_read_stop_nothing(source: str) -> None:
    """Of 8 MB of metrics; probes and a client that reads get their answers."""
    with answering(kind=LargeExporter) as agent, ExitStack() as stack:
        for _ in range(200):
            client = stack.enter_context(agent.connect(source))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        for _ in range(3):
            agent.require_answers()
        assert len(agent.ask("/metrics")[1]) == LARGE_BYTES


def test_what_waits_in_the_kernel_is_bounded() -> None:
    """Its buffers belong to the agent's container: 64 clients that never read could have 256 MB."""
    with answering(kind=LargeExporter) as agent, ExitStack() as stack:
        client = stack.enter_context(agent.connect())
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        client.recv(1)
        for connection in list(agent.server._connections):
            for option, most in ((socket.SO_SNDBUF, 512 << 10), (socket.SO_RCVBUF, 64 << 10)):
                assert connection.socket.getsockopt(socket.SOL_SOCKET, option) <= most


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_clients_share_one_text_of_the_metrics() -> None:
    """A copy for each of 64 clients would be 512 MB."""
    with answering(kind=LargeExporter) as agent, ExitStack() as stack:
        before = resident_bytes()
        for n in range(64):
            client = stack.enter_context(agent.connect(f"127.0.1.{n + 1}"))
            client.sendall(SENT["whole"])
            assert client.recv(1) == b"H"
        assert resident_bytes() - before < 8 * LARGE_BYTES


def test_a_client_that_is_dropped_leaves_nothing_in_the_kernel() -> None:
    """It is reset: an orphan would keep its unsent bytes for minutes."""
    with answering(SHORT, LargeExporter) as agent, agent.connect() as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        agent.wait_for(lambda counts: counts.dropped["response-timeout"] == 1)
        with pytest.raises(ConnectionResetError):
            read_all(client)


@pytest.mark.parametrize("line", [b"X: " + b"a" * 10_000_000, b"X: a\r\n" * 1_666_667])
def test_a_header_of_10_mb_is_refused(line: bytes) -> None:
    """As one line and as many. 16 kB of it are read, and a little more before it is reset."""
    with answering() as agent, agent.connect("127.0.0.9") as client:
        with suppress(ConnectionError):
            client.sendall(b"GET /metrics HTTP/1.1\r\n" + line)
        require_end(client)
        agent.wait_for(lambda counts: counts.requests[431] == 1)
        agent.require_answers()


@pytest.mark.parametrize("size", [15_000, 17_000])
def test_a_long_header_is_read_to_the_bound(size: int) -> None:
    """Tokens and cookies of a proxy fit; one above the bound has an answer that says so."""
    with answering() as agent, agent.connect() as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nX: " + b"a" * size + b"\r\n\r\n")
        status = client.recv(65536).split(b"\r\n")[0]
        ok = size < DEFAULT.header_bytes
        assert status == (
            b"HTTP/1.1 200 OK" if ok else b"HTTP/1.1 431 Request Header Fields Too Large"
        )


@pytest.mark.parametrize("size", [0, 1000, 60_000, 10_000_000])
def test_what_follows_a_request_is_ignored(size: int) -> None:
    """Pipelined requests, a body, garbage: one answer, and the client gets it if it stops."""
    with answering() as agent, agent.connect("127.0.0.9") as client:
        agent.ask("/healthz")
        try:
            client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n" + b"\0GET /" * (size // 6))
        except ConnectionError:
            assert size > 60_000
        if size <= 60_000:
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.count(b"HTTP/1.1") == 1
            assert answer.endswith(b"\r\n\r\nok\n")
        agent.require_answers()


def test_endless_garbage_stops_nothing() -> None:
    """A client that never stops sending is reset."""
    with answering() as agent, agent.connect("127.0.0.9") as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
        until = time.monotonic() + PATIENCE_S
        with suppress(ConnectionError):
            while time.monotonic() < until:
                client.sendall(b"x" * 65536)
        assert time.monotonic() < until
        agent.require_answers()


@pytest.mark.parametrize(
    "garbage",
    [
        *(b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        *(b"GET /healthz\r\n\r\n", b"GET  /healthz HTTP/1.1\r\n\r\n", b"\0\0\r\n\r\n"),
        *(b"GET /healthz HTTP/1.1 \r\n\r\n", b"x\n\n"),
    ],
)
def test_what_is_no_request_is_refused(garbage: bytes) -> None:
    """TLS, HTTP/2, HTTP/0.9 and noise have 400."""
    with answering() as agent, agent.connect() as client:
        client.sendall(garbage)
        assert client.recv(100).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        agent.wait_for(lambda counts: counts.requests[400] == 1)


@pytest.mark.parametrize(
    "request_", [b"GET /healthz HTTP/1.0\n\n", b"\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"]
)
def test_other_forms_of_a_request_are_understood(request_: bytes) -> None:
    """Lines that end with a line feed alone, and empty lines before the request (RFC 9112)."""
    with answering() as agent, agent.connect() as client:
        for n in range(len(request_)):  # in parts as small as there are
            client.sendall(request_[n : n + 1])
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_half_closed_client_has_its_answer() -> None:
    """It has sent everything; one that closes before the end of its request has none."""
    with answering() as agent:
        with agent.connect() as client:
            client.sendall(b"GET /healthz HTTP/1.1\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
        with agent.connect() as client:
            client.sendall(HEADER)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
        agent.require_answers()
        assert sum(agent.counts.dropped.values()) == 0


def test_200_half_closed_clients_stop_nothing() -> None:
    """They hold their side of the connection open."""
    with answering(kind=LargeExporter) as agent, ExitStack() as stack:
        for n in range(200):
            client = stack.enter_context(agent.connect(f"127.0.1.{n % 25 + 1}"))
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            client.shutdown(socket.SHUT_WR)
        agent.require_answers()


@pytest.mark.skipif(not HAS_SIX, reason="this kernel has no IPv6")
@pytest.mark.parametrize("host", ["", SIX])
def test_the_same_over_ipv6(host: str) -> None:
    """On a socket of both families and on one of IPv6."""
    with answering(host=host) as agent, ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(agent.connect(SIX, SIX)).sendall(HEADER)
        agent.require_answers(SIX, SIX)
        assert agent.counts.dropped["peer-limit"] > 100
        if not host:
            agent.require_answers()


class BlockedExporter(PrometheusExporter):
    """Rendering that does not end before the client has gone on."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = socket.socketpair()

    def expose(self) -> bytes:
        self.gate[0].recv(1)
        return b"late\n"


def test_probes_do_not_wait_for_metrics() -> None:
    """Nor for a lock that the sampling thread holds: another thread renders."""
    counts, exporter = HttpCounts(), BlockedExporter()
    server = open_server(("", 0), exporter, Pulse(1.0), counts, PATIENT)
    server.start()
    agent = Agent(server, counts)
    try:
        with agent.connect() as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            for _ in range(20):
                assert agent.ask("/healthz")[0] == 200
            exporter.gate[1].send(b"x")
            assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        exporter.gate[1].close()
        server.close()
        exporter.gate[0].close()


def test_the_server_ends_among_clients() -> None:
    """Also while requests and responses are under way."""
    with answering(kind=LargeExporter) as agent, ExitStack() as stack:
        clients = [stack.enter_context(agent.connect(f"127.0.1.{n}")) for n in range(1, 21)]
        for client, sent in zip(clients, 20 * [b"", HEADER, SENT["whole"]], strict=False):
            client.sendall(sent)
        agent.ask("/healthz")
        agent.server.close()
        for client in clients:
            require_end(client)
        with pytest.raises(ConnectionRefusedError):
            agent.connect()


def test_a_server_that_was_never_started_ends() -> None:
    """The agent ends before its first window if the kernel refuses."""
    server = open_server((HOME, 0), PrometheusExporter(), Pulse(1.0), HttpCounts())
    server.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOME, server.port), PATIENCE_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_server_that_cannot_accept_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of its own ends its thread and its connections, so that the kubelet restarts it."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    with answering() as agent, agent.connect() as first:
        agent.ask("/healthz")
        monkeypatch.setattr(agent.server, "_make_room", broken)
        with agent.connect():
            require_end(first)
        agent.server._thread.join(PATIENCE_S)
        assert not agent.server._thread.is_alive()
        with pytest.raises(ConnectionRefusedError):
            agent.connect()


def test_drops_are_counted_and_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """The metrics have the reason, the log the address; a flood of drops is no flood of lines."""
    counts = HttpCounts()
    metrics = PrometheusExporter(others=[counts])
    server = open_server(("", 0), metrics, Pulse(1.0), counts, PATIENT)
    server.start()
    agent = Agent(server, counts)
    with caplog.at_level(logging.WARNING, "gotax"), ExitStack() as stack:
        stack.callback(server.close)
        for _ in range(50):
            stack.enter_context(agent.connect("127.0.0.9")).sendall(HEADER)
        agent.wait_for(lambda counts: counts.dropped["peer-limit"] == 42)
        agent.ask("/nothing")
        agent.wait_for(lambda counts: counts.requests[404] == 1)
        text = metrics.expose().decode()
    assert 'gotax_http_dropped_connections_total{reason="peer-limit"} 42' in text
    assert 'gotax_http_requests_total{code="404"} 1' in text
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1
    assert "from 127.0.0.9: peer-limit" in lines[0]


def test_every_reason_is_there_before_its_first_case() -> None:
    """So that a rate of the first one is seen, and so that no key appears while another reads."""
    first, second = HttpCounts().families()
    assert [labels for labels, _ in first.samples] == [(str(code),) for code in CODES]
    assert [labels for labels, _ in second.samples] == [(reason,) for reason in REASONS]


def test_an_error_while_rendering_is_logged_and_ends_one_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server goes on."""

    class Broken(PrometheusExporter):
        def expose(self) -> bytes:
            raise RuntimeError("broken")

    with answering(kind=Broken) as agent, agent.connect() as client:
        client.sendall(SENT["whole"])
        assert client.recv(100) == b""
        assert agent.ask("/healthz")[0] == 200
    assert "broken" in caplog.text
