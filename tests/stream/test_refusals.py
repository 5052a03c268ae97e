"""Agents that must not come in, and messages that must not: real gRPC, real TLS.

While each tries, an honest agent streams; it must notice nothing.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import pytest
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import Endpoint
from gotax.exporters.stream.exporter import StreamExporter
from gotax.exporters.stream.sender import AgentIdentity
from gotax.exporters.stream.spool import Bounds, Spool
from gotax.wire.v1 import ingest_pb2
from gotax_collector.ingest.limits import Limits
from gotax_collector.ingest.server import Listening
from gotax_collector.security.certificates import CertificateFiles, Certificates
from gotax_collector.security.tokens import Tokens

from tests.patience import PATIENCE_S
from tests.unit.collector.hostile import honest, hostile_messages, packed
from tests.unit.exporters.windows import story_window

from .collecting import Collecting, MemoryStore, Setup, collecting, eventually
from .conftest import Files, certified

TOKEN, EXPIRED, FOREIGN = "good-token-0123456789", "old-token-0123456789", "far-token-0123456789"
TOKENS = f"""
# for tests
{TOKEN}  expires=2999-01-01T00:00:00Z
{EXPIRED}  expires=2020-01-01T00:00:00Z
{FOREIGN}  agent=elsewhere-*
"""
METHOD = "/gotax.wire.v1.IngestService/Stream"
HELLO = ingest_pb2.StreamRequest(hello=ingest_pb2.Hello(agent="stranger")).SerializeToString()


def _channel(running: Collecting) -> grpc.Channel:
    """A connection of its own."""
    options = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))
    return grpc.insecure_channel(f"127.0.0.1:{running.port}", options=options)


def _opened(channel: grpc.Channel) -> grpc.StreamStreamMultiCallable[bytes, bytes]:
    """Messages as bytes: not all of them are messages."""
    return channel.stream_stream(METHOD)


@dataclass(frozen=True)
class Guarded:
    """A collector with TLS, client certificates and tokens, and what is in its store."""

    collecting: Collecting
    store: MemoryStore
    files: Files

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.collecting.port}"

    @property
    def refused_by_tls(self) -> float:
        metric = self.collecting.metric
        return metric("tls_handshakes_total") - metric("streams_opened_total")

    def channel(self, authority: str, certificate: str = "", key: str = "") -> grpc.Channel:
        read = [Path(name).read_bytes() if name else None for name in (authority, key, certificate)]
        options = (("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1))
        return grpc.secure_channel(
            self.address, grpc.ssl_channel_credentials(*read), options=options
        )

    def attempt(
        self, messages: list[bytes], token: str = TOKEN, channel: grpc.Channel | None = None
    ) -> tuple[grpc.StatusCode, dict[str, str]]:
        """The status of a stream that sends these, and its trailing metadata."""
        files = self.files
        channel = channel or self.channel(files.authority, files.agent_cert, files.agent_key)
        with channel:
            metadata = (("authorization", f"Bearer {token}"),) if token else ()
            call = _opened(channel)(iter(messages), metadata=metadata, timeout=PATIENCE_S)
            try:
                for _ in call:
                    pass
            except grpc.RpcError:
                pass
            trailing = {str(key): str(value) for key, value in call.trailing_metadata() or ()}
            return call.code(), trailing


@pytest.fixture
def guarded(files: Files, tmp_path: Path) -> Iterator[Guarded]:
    """Fails if the honest agent beside the test noticed anything."""
    (tmp_path / "tokens").write_text(TOKENS)
    (tmp_path / "token").write_text(TOKEN + "\n")
    certificates = Certificates(
        CertificateFiles(files.server_cert, files.server_key, files.authority)
    )
    setup = Setup(
        guard=Tokens(str(tmp_path / "tokens"), time.time),
        listening=partial(Listening, certificates=certificates),
    )
    store = MemoryStore()
    with collecting(store, setup) as running:
        endpoint = Endpoint(
            "127.0.0.1",
            running.port,
            is_secure=True,
            credentials=Credentials(
                ca=files.authority,
                certificate=files.agent_cert,
                key=files.agent_key,
                token_file=str(tmp_path / "token"),
            ),
        )
        agent = StreamExporter(
            endpoint, AgentIdentity("honest", "n"), Spool("", Bounds(1 << 20, 60))
        )
        agent.publish(story_window())
        eventually(lambda: agent.statistics().acknowledged == 1)
        yield Guarded(running, store, files)
        agent.publish(story_window())
        eventually(lambda: agent.statistics().acknowledged == 2)
        statistics = agent.statistics()
        agent.close()
    assert statistics.connections == 1
    assert not statistics.failures
    assert store.sequences("honest") == [1, 2]


def test_a_good_agent_comes_in(guarded: Guarded) -> None:
    """The same way that the others try."""
    code, _ = guarded.attempt([HELLO, packed(honest())])
    assert code is grpc.StatusCode.OK
    assert guarded.store.sequences("stranger") == [1]


def test_without_a_certificate(guarded: Guarded) -> None:
    """TLS ends before there is a stream."""
    channel = guarded.channel(guarded.files.authority)
    code, _ = guarded.attempt([HELLO], channel=channel)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert guarded.refused_by_tls >= 1


def test_with_a_certificate_of_strangers(guarded: Guarded, strangers: Files) -> None:
    """Not of the authority that the collector trusts."""
    channel = guarded.channel(guarded.files.authority, strangers.agent_cert, strangers.agent_key)
    code, _ = guarded.attempt([HELLO], channel=channel)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert guarded.refused_by_tls >= 1


def test_a_collector_of_strangers(guarded: Guarded, strangers: Files) -> None:
    """An agent does not send its token to an unknown server."""
    files = guarded.files
    channel = guarded.channel(strangers.authority, files.agent_cert, files.agent_key)
    code, _ = guarded.attempt([HELLO], channel=channel)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert guarded.refused_by_tls >= 1


@pytest.mark.parametrize(
    ("token", "status", "reason"),
    [
        ("", grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        ("guessed-token-000000000", grpc.StatusCode.UNAUTHENTICATED, "unauthenticated"),
        (EXPIRED, grpc.StatusCode.UNAUTHENTICATED, "expired"),
        (FOREIGN, grpc.StatusCode.PERMISSION_DENIED, "forbidden"),
    ],
    ids=["none", "unknown", "expired", "of another agent"],
)
def test_tokens(guarded: Guarded, token: str, status: grpc.StatusCode, reason: str) -> None:
    """Each with a status, a reason and a counter."""
    code, trailing = guarded.attempt([HELLO, packed(honest())], token)
    assert code is status
    assert trailing["gotax-refused-reason"] == reason
    assert "gotax-refused-report" not in trailing  # another token may help: not the report's fault
    assert guarded.collecting.metric("refused_total", reason=reason) == 1
    assert not guarded.store.sequences("stranger")


def test_a_message_of_100_mb(guarded: Guarded) -> None:
    """gRPC refuses it by its length, before it is read."""
    code, _ = guarded.attempt([HELLO, bytes(100 << 20)])
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    # gRPC may refuse it before the collector's code has begun with the stream, or show it the end
    # of the stream in place of the message.
    metric = guarded.collecting.metric
    others = 1  # the honest agent

    def has_ended() -> bool:
        ended = metric("streams_ended_total")
        return metric("streams") == others and ended == metric("streams_opened_total") - others

    eventually(has_ended)
    assert not guarded.store.sequences("stranger")


@pytest.mark.parametrize("name", list(hostile_messages()))
def test_hostile_messages(guarded_for_all: Guarded, name: str) -> None:
    """After an honest report, which stays; the counter of their reason goes up by one."""
    guarded = guarded_for_all
    data, reason = hostile_messages()[name]
    counted = partial(guarded.collecting.metric, "refused_total", reason=reason.value)
    before = counted()
    code, trailing = guarded.attempt([HELLO, data])
    assert code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert trailing["gotax-refused-reason"] == reason.value
    assert trailing["gotax-refused-report"] == "1"
    assert counted() == before + 1
    assert not guarded.store.sequences("stranger")


@pytest.fixture(scope="module")
def guarded_for_all(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """One collector, and one honest agent beside all of a module's tests."""
    yield from guarded.__wrapped__(files, tmp_path_factory.mktemp("guarded"))  # type: ignore[attr-defined]


def test_a_stream_of_garbage(guarded: Guarded) -> None:
    """Instead of the hello; and a report before it; and a second hello."""
    for messages, reason in (
        ([b"\xff" * 1000] * 50, "syntax"),
        ([packed(honest())], "protocol"),
        ([HELLO, HELLO], "protocol"),
        ([], "protocol"),
    ):
        before = guarded.collecting.metric("refused_total", reason=reason)
        code, _ = guarded.attempt(messages)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert guarded.collecting.metric("refused_total", reason=reason) == before + 1


def test_garbage_on_the_socket(guarded: Guarded) -> None:
    """No TLS, and no HTTP/2 within TLS: the connection ends."""
    port = guarded.collecting.port
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain:
        plain.sendall(b"\x00garbage\r\n" * 100)
        _drain(plain)
    context = ssl.create_default_context(cafile=guarded.files.authority)
    context.load_cert_chain(guarded.files.agent_cert, guarded.files.agent_key)
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(b"\xee" * 10_000)
        _drain(secured)
    assert guarded.refused_by_tls == 2


def _drain(connection: socket.socket) -> None:
    """Until the other side ends it; a reset is as good. TimeoutError if it does not."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass


def test_more_than_one_agent_may_send() -> None:
    """Of reports, on average; what came before is kept."""
    limits = Limits(reports_per_s=0.01, burst_s=200)  # two, and then one every 100 s
    store = MemoryStore()
    with collecting(store, Setup(limits=limits)) as running:
        with grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel:
            reports = [packed(honest(number)) for number in (1, 2, 3)]
            call = _opened(channel)(iter([HELLO, *reports]), timeout=PATIENCE_S)
            with pytest.raises(grpc.RpcError):
                list(call)
            assert call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        eventually(lambda: store.sequences("stranger") == [1, 2])
        assert running.metric("refused_total", reason="rate") == 1


def test_more_agents_than_a_collector_takes() -> None:
    """One stream too many is refused as UNAVAILABLE."""
    with (
        collecting(MemoryStore(), Setup(limits=Limits(streams=1))) as running,
        _channel(running) as channel,
        _channel(running) as other,
    ):
        held = _opened(channel)(_endless([HELLO]), timeout=PATIENCE_S)
        next(held)
        second = _opened(other)(iter([HELLO]), timeout=PATIENCE_S)
        with pytest.raises(grpc.RpcError):
            list(second)
        assert second.code() is grpc.StatusCode.UNAVAILABLE
        assert running.metric("refused_total", reason="streams") == 1
        held.cancel()


def _endless(messages: list[bytes]) -> Iterator[bytes]:
    yield from messages
    time.sleep(10)


def test_a_silent_stream_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without a hello is closed."""
    monkeypatch.setattr("gotax_collector.ingest.receiver.HELLO_TIMEOUT_S", 0.2)
    with (
        collecting(MemoryStore()) as running,
        grpc.insecure_channel(f"127.0.0.1:{running.port}") as channel,
    ):
        call = _opened(channel)(_endless([]), timeout=PATIENCE_S)
        with pytest.raises(grpc.RpcError):
            list(call)
        assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert running.metric("refused_total", reason="hello-timeout") == 1


def test_gzip_of_grpc_is_refused() -> None:
    """It would be inflated without a bound: 4 MB of it can be 4 GB."""
    with (
        collecting(MemoryStore()) as running,
        grpc.insecure_channel(
            f"127.0.0.1:{running.port}", compression=grpc.Compression.Gzip
        ) as channel,
    ):
        call = _opened(channel)(iter([HELLO, bytes(1 << 20)]), timeout=PATIENCE_S)
        with pytest.raises(grpc.RpcError):
            list(call)
        assert call.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("change", [lambda p: p.write_text(""), lambda p: p.unlink()])
def test_a_broken_token_file_leaves_the_tokens_as_they_were(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    """A slip of the editor does not lock a fleet out."""
    path = tmp_path / "tokens"
    path.write_text(TOKENS)
    tokens = Tokens(str(path), time.time)
    change(path)
    tokens.check(f"Bearer {TOKEN}", "anybody")


def test_certificates_are_read_anew(files: Files, tmp_path: Path) -> None:
    """A renewed certificate is used from the next handshake on, without a restart."""
    mine = certified(tmp_path / "mine")
    certificates = Certificates(CertificateFiles(mine.server_cert, mine.server_key))
    setup = Setup(listening=partial(Listening, certificates=certificates))

    def comes_in(authority: str) -> bool:
        credentials = grpc.ssl_channel_credentials(Path(authority).read_bytes())
        options = (("grpc.use_local_subchannel_pool", 1),)
        with grpc.secure_channel(f"127.0.0.1:{running.port}", credentials, options) as channel:
            call = _opened(channel)(iter([HELLO]), timeout=PATIENCE_S)
            try:
                list(call)
            except grpc.RpcError:
                return False
            return True

    with collecting(MemoryStore(), setup) as running:
        assert comes_in(mine.authority)
        assert not comes_in(files.authority)
        for own, new in (
            (mine.server_key, files.server_key),
            (mine.server_cert, files.server_cert),
        ):
            Path(own).write_bytes(Path(new).read_bytes())
        assert comes_in(files.authority)
        assert not comes_in(mine.authority)
        Path(mine.server_cert).write_text("not a certificate")
        assert comes_in(files.authority)
