"""Calls against real servers on this machine: gRPC's own, and one of plain sockets."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from gotax.errors import UserError
from gotax.exporters.backends.delivery import DeliveryError
from gotax.exporters.backends.grpccall import GZIP, GrpcCall
from gotax.exporters.backends.httpcall import HttpCall
from gotax.exporters.credentials import Credentials
from gotax.exporters.endpoint import parse_endpoint

from tests.patience import PATIENCE_S

METHOD = "/test.Service/Call"
LOCAL = "127.0.0.1"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy settings of this machine do not apply to these tests."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def pem(folder: Path, name: str, blob: trustme.Blob) -> str:
    blob.write_to_path(folder / name)
    return str(folder / name)


# gRPC


class Answering(grpc.GenericRpcHandler):
    """Sends its request back, or what it is given; ``seen`` are the calls' headers."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str | bytes]] = []
        self.code = grpc.StatusCode.OK
        self.details = ""
        self.free = threading.Event()  # every response waits for it
        self.free.set()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        assert details.method == METHOD
        return grpc.unary_unary_rpc_method_handler(self._call)

    def _call(self, body: bytes, context: grpc.ServicerContext) -> bytes:
        self.seen.append(dict(context.invocation_metadata()))
        self.free.wait(PATIENCE_S)
        if self.code is not grpc.StatusCode.OK:
            context.abort(self.code, self.details)
        return body


class GrpcServer:
    def __init__(self, credentials: grpc.ServerCredentials | None = None, port: int = 0) -> None:
        self.answering = Answering()
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self.answering])
        address = f"{LOCAL}:{port}"
        self.port = (
            self._server.add_secure_port(address, credentials)
            if credentials
            else self._server.add_insecure_port(address)
        )
        self._server.start()

    def stop(self) -> None:
        self.answering.free.set()
        self._server.stop(None).wait()


@pytest.fixture
def grpc_server() -> Iterator[Callable[..., GrpcServer]]:
    servers: list[GrpcServer] = []

    def start(*arguments: Any) -> GrpcServer:
        servers.append(GrpcServer(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def grpc_call(port: int, credentials: Credentials | None = None, scheme: str = "http") -> GrpcCall:
    return GrpcCall(parse_endpoint(f"{scheme}://{LOCAL}:{port}", 1, credentials), METHOD)


def failure(call: GrpcCall | HttpCall, timeout_s: float = PATIENCE_S) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        call(b"x", timeout_s)
    return caught.value


def test_grpc_carries_bytes_and_headers(
    tmp_path: Path, grpc_server: Callable[..., GrpcServer]
) -> None:
    """The body is unchanged; token and headers are sent as metadata."""
    (tmp_path / "token").write_text("t0ken")
    server = grpc_server()
    call = grpc_call(
        server.port,
        Credentials(token_file=str(tmp_path / "token"), headers=(("x-scope-orgid", "a"),)),
    )
    assert call(b"\0body", PATIENCE_S) == b"\0body"
    [seen] = server.answering.seen
    assert seen["authorization"] == "Bearer t0ken"
    assert seen["x-scope-orgid"] == "a"
    assert str(seen["user-agent"]).startswith("gotax/")
    call.abort()


def test_grpc_without_a_server_fails_at_once() -> None:
    """It does not wait for the deadline, which would give another reason."""
    with socket.socket() as free:
        free.bind((LOCAL, 0))
        # It stays bound, so that nothing else listens there, and does not listen itself.
        call = grpc_call(free.getsockname()[1])
        error = failure(call)
    assert (error.reason, error.is_final) == ("unavailable", False)
    call.abort()


def test_grpc_reconnects_after_a_server_restart(grpc_server: Callable[..., GrpcServer]) -> None:
    """The same channel finds the new server at the old address."""
    server = grpc_server()
    call = grpc_call(server.port)
    call(b"1", PATIENCE_S)
    server.stop()
    assert failure(call).reason == "unavailable"
    grpc_server(None, server.port)
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert call(b"2", PATIENCE_S) == b"2"
            break
        except DeliveryError:
            assert time.monotonic() < end
            time.sleep(0.2)
    call.abort()


def test_grpc_has_a_deadline(grpc_server: Callable[..., GrpcServer]) -> None:
    """A call to a server that does not answer in time ends."""
    server = grpc_server()
    server.answering.free.clear()
    call = grpc_call(server.port)
    error = failure(call, 0.3)
    assert (error.reason, error.is_final) == ("deadline-exceeded", False)
    call.abort()


@pytest.mark.parametrize(
    ("code", "details", "reason", "is_final"),
    [
        (grpc.StatusCode.UNAVAILABLE, "full", "unavailable", False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "quota", "resource-exhausted", False),
        (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "grpc: received message larger than max (5 vs. 4)",
            "too-large",
            True,
        ),
        (grpc.StatusCode.INVALID_ARGUMENT, "no", "invalid-argument", True),
        (grpc.StatusCode.UNAUTHENTICATED, "no", "unauthenticated", True),
        (grpc.StatusCode.PERMISSION_DENIED, "no", "permission-denied", True),
        (grpc.StatusCode.UNIMPLEMENTED, "no", "unimplemented", True),
    ],
)
def test_grpc_codes_decide_about_a_retry(
    grpc_server: Callable[..., GrpcServer],
    code: grpc.StatusCode,
    details: str,
    reason: str,
    is_final: bool,
) -> None:
    """By OTLP's table of retryable codes."""
    server = grpc_server()
    server.answering.code, server.answering.details = code, details
    call = grpc_call(server.port)
    error = failure(call)
    assert (error.reason, error.is_final) == (reason, is_final)
    assert details in str(error)
    call.abort()


def test_grpc_with_tls_and_a_client_certificate(
    tmp_path: Path, authority: trustme.CA, grpc_server: Callable[..., GrpcServer]
) -> None:
    """Mutual TLS works; without the client certificate the call fails."""
    server = grpc_server(server_credentials(authority, mutual=True))
    ca = pem(tmp_path, "ca.pem", authority.cert_pem)
    own = authority.issue_cert("agent.example")
    certificate = pem(tmp_path, "cert.pem", own.cert_chain_pems[0])
    key = pem(tmp_path, "key.pem", own.private_key_pem)
    call = grpc_call(server.port, Credentials(ca=ca, certificate=certificate, key=key), "https")
    assert call(b"1", PATIENCE_S) == b"1"
    call.abort()
    without = grpc_call(server.port, Credentials(ca=ca), "https")
    assert failure(without).reason == "unavailable"
    without.abort()


def server_credentials(authority: trustme.CA, *, mutual: bool) -> grpc.ServerCredentials:
    own = authority.issue_cert(LOCAL)
    return grpc.ssl_server_credentials(
        [(own.private_key_pem.bytes(), own.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes() if mutual else None,
        mutual,
    )


def test_grpc_uses_rotated_certificates(
    tmp_path: Path, authority: trustme.CA, grpc_server: Callable[..., GrpcServer]
) -> None:
    """The first ones are wrong. After they are replaced the call works without a restart."""
    server = grpc_server(server_credentials(authority, mutual=False))
    other = trustme.CA()
    ca = pem(tmp_path, "ca.pem", other.cert_pem)
    call = grpc_call(server.port, Credentials(ca=ca), "https")
    assert failure(call).reason == "unavailable"
    pem(tmp_path, "ca.pem", authority.cert_pem)
    assert call(b"1", PATIENCE_S) == b"1"
    call.abort()


def test_grpc_without_its_token_file_is_retried(
    tmp_path: Path, grpc_server: Callable[..., GrpcServer]
) -> None:
    """The error is not final: the next call tries again."""
    server = grpc_server()
    call = grpc_call(server.port, Credentials(token_file=str(tmp_path / "token")))
    error = failure(call)
    assert (error.reason, error.is_final) == ("credentials", False)
    (tmp_path / "token").write_text("now")
    assert call(b"1", PATIENCE_S) == b"1"
    call.abort()


def test_grpc_abort_ends_a_call(grpc_server: Callable[..., GrpcServer]) -> None:
    """From another thread, and no call follows."""
    server = grpc_server()
    server.answering.free.clear()
    call = grpc_call(server.port)
    threading.Timer(0.3, call.abort).start()
    began = time.monotonic()
    failure(call)
    failure(call)
    assert time.monotonic() - began < PATIENCE_S / 2


@pytest.mark.parametrize(("compression", "fits"), [(GZIP, True), (None, False)])
def test_grpc_compresses_only_otlp(
    grpc_server: Callable[..., GrpcServer], compression: grpc.Compression | None, fits: bool
) -> None:
    """Measured on the wire: pprof is compressed already, OTLP is not."""
    server = grpc_server()
    sent: list[int] = []

    def relay(connection: socket.socket) -> None:
        with socket.create_connection((LOCAL, server.port)) as behind:
            back = threading.Thread(target=copy, args=(behind, connection, []), daemon=True)
            back.start()
            copy(connection, behind, sent)

    between = Socket(relay)
    endpoint = parse_endpoint(f"http://{LOCAL}:{between.port}", 1)
    call = GrpcCall(endpoint, METHOD, compression or grpc.Compression.NoCompression)
    assert call(bytes(50_000), PATIENCE_S) == bytes(50_000)
    call.abort()
    between.close()
    assert (sum(sent) < 5_000) is fits


def copy(source: socket.socket, target: socket.socket, counts: list[int]) -> None:
    try:
        while data := source.recv(65536):
            counts.append(len(data))
            target.sendall(data)
    except OSError:
        pass  # one side has closed the connection


def test_grpc_refuses_a_path() -> None:
    """It would have no effect."""
    with pytest.raises(UserError, match="no path"):
        GrpcCall(parse_endpoint("https://gateway/otlp", 4317), METHOD)


# HTTP


class HttpServer(ThreadingHTTPServer):
    """Answers with ``status``, ``answer`` and ``headers``; ``seen`` are (path, headers, body)."""

    daemon_threads = True
    status = 200
    content_type = "x/y"
    answer = b"{}"
    headers: tuple[tuple[str, str], ...] = ()

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__((LOCAL, 0), _Handler)
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        if context:
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # some tests close the connection early


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.path, headers, body))
        self.send_response(self.server.status)
        for name, value in self.server.headers:
            self.send_header(name, value)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def http_server() -> Iterator[Callable[..., HttpServer]]:
    servers: list[HttpServer] = []

    def start(*arguments: Any) -> HttpServer:
        servers.append(HttpServer(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def http_call(url: str, credentials: Credentials | None = None) -> HttpCall:
    return HttpCall(parse_endpoint(url, 1, credentials), "/a.B/C", "x/y", (("version", "1"),))


def test_http_carries_bytes_and_headers(
    tmp_path: Path, http_server: Callable[..., HttpServer]
) -> None:
    """The request goes below the path of the endpoint; the protocol's headers override the
    user's."""
    (tmp_path / "token").write_text("t0ken")
    server = http_server()
    headers = (("x-scope-orgid", "a"), ("content-type", "mine"))
    credentials = Credentials(token_file=str(tmp_path / "token"), headers=headers)
    call = http_call(f"http://{LOCAL}:{server.server_port}/below", credentials)
    assert call(b"\0body", PATIENCE_S) == b"{}"
    [(path, seen, body)] = server.seen
    assert (path, body) == ("/below/a.B/C", b"\0body")
    assert seen["authorization"] == "Bearer t0ken"
    assert (seen["x-scope-orgid"], seen["content-type"], seen["version"]) == ("a", "x/y", "1")


def test_http_a_login_page_is_no_success(http_server: Callable[..., HttpServer]) -> None:
    """Status 200 is not enough: the content type must be that of the protocol."""
    server = http_server()
    server.content_type, server.answer = "text/html", b"<html>Please log in"
    error = failure(http_call(f"http://{LOCAL}:{server.server_port}"))
    assert (error.reason, error.is_final) == ("not-the-service", False)
    assert "Please log in" in str(error)


STATUSES = dict.fromkeys((400, 401, 404, 302, 500), True)
STATUSES |= dict.fromkeys((408, 429, 502, 503, 504), False)


@pytest.mark.parametrize(("status", "is_final"), STATUSES.items())
def test_http_statuses_decide_about_a_retry(
    http_server: Callable[..., HttpServer], status: int, is_final: bool
) -> None:
    """A redirection is not followed: it could send the token to another server."""
    server = http_server()
    server.status = status
    server.answer = b'{"code":"some_code","message":"two\\nlines"}'
    server.headers = (("Location", "http://127.0.0.1:1/"),)
    error = failure(http_call(f"http://{LOCAL}:{server.server_port}"))
    assert (error.reason, error.is_final) == (f"http-{status}", is_final)
    assert "some_code: two lines" in str(error)
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("-1", 0.0), ("soon", 0.0), ("1e999", 3600.0), ("nan", 0.0)],
)
def test_http_retry_after(
    http_server: Callable[..., HttpServer], header: str, seconds: float
) -> None:
    """At most an hour; an invalid value counts as 0."""
    server = http_server()
    server.status, server.headers = 429, (("Retry-After", header),)
    assert failure(http_call(f"http://{LOCAL}:{server.server_port}")).after_s == seconds


@pytest.mark.parametrize("answer", [b"", b"<html>" * 1000, b"\xff\xfe", b"[]", b"[" * 60000])
def test_http_any_response_gives_a_short_message(
    http_server: Callable[..., HttpServer], answer: bytes
) -> None:
    """The response of a proxy is shortened, and never raises another exception."""
    server = http_server()
    server.status, server.answer = 400, answer
    assert len(str(failure(http_call(f"http://{LOCAL}:{server.server_port}")))) < 700


def test_http_with_tls_and_rotation(
    tmp_path: Path, authority: trustme.CA, http_server: Callable[..., HttpServer]
) -> None:
    """Mutual TLS; a server with another authority is refused until the CA file changes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(LOCAL).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server = http_server(context)
    own = authority.issue_cert("agent.example")
    credentials = Credentials(
        ca=pem(tmp_path, "ca.pem", trustme.CA().cert_pem),
        certificate=pem(tmp_path, "cert.pem", own.cert_chain_pems[0]),
        key=pem(tmp_path, "key.pem", own.private_key_pem),
    )
    call = http_call(f"https://{LOCAL}:{server.server_port}", credentials)
    error = failure(call)
    assert (error.reason, error.is_final) == ("unavailable", False)
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)
    pem(tmp_path, "ca.pem", authority.cert_pem)
    assert call(b"1", PATIENCE_S) == b"{}"
    (tmp_path / "ca.pem").write_text("no certificate")
    assert failure(call).reason == "credentials"


class Socket:
    """A server that handles each connection with the given function."""

    def __init__(self, act: Callable[[socket.socket], None]) -> None:
        self._act = act
        self._listening = socket.create_server((LOCAL, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                try:
                    self._act(connection)
                except OSError:
                    pass

    def close(self) -> None:
        self._listening.close()


def drip(connection: socket.socket) -> None:
    """Sends a byte at a time, forever: no single read times out."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def mute(_: socket.socket) -> None:
    time.sleep(PATIENCE_S)


def rude(connection: socket.socket) -> None:
    connection.recv(65536)


def garbage(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x00\x01\x02 what is this\r\n\r\n")


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (drip, "deadline-exceeded"),
        (mute, "deadline-exceeded"),
        (rude, "unavailable"),
        (garbage, "unavailable"),
    ],
)
def test_http_survives_any_server(act: Callable[[socket.socket], None], reason: str) -> None:
    """A call ends at its deadline whatever the server does."""
    server = Socket(act)
    began = time.monotonic()
    deadline_s = 0.5 if reason == "deadline-exceeded" else PATIENCE_S
    error = failure(http_call(f"http://{LOCAL}:{server.port}"), deadline_s)
    assert (error.reason, error.is_final) == (reason, False)
    assert time.monotonic() - began < PATIENCE_S / 2
    server.close()


def test_http_abort_ends_a_call() -> None:
    """From another thread, and no call follows."""
    server = Socket(drip)
    call = http_call(f"http://{LOCAL}:{server.port}")
    threading.Timer(0.2, call.abort).start()
    began = time.monotonic()
    failure(call)
    failure(call)
    assert time.monotonic() - began < PATIENCE_S / 2
    server.close()


def test_http_uses_a_proxy(
    monkeypatch: pytest.MonkeyPatch, http_server: Callable[..., HttpServer]
) -> None:
    """The request to HTTP_PROXY has the whole URL; NO_PROXY makes exceptions."""
    proxy = http_server()
    monkeypatch.setenv("http_proxy", f"http://{LOCAL}:{proxy.server_port}")
    http_call("http://pyroscope.invalid:4040")(b"1", PATIENCE_S)
    assert [path for path, _, _ in proxy.seen] == ["http://pyroscope.invalid:4040/a.B/C"]
    monkeypatch.setenv("no_proxy", LOCAL)
    server = http_server()
    http_call(f"http://{LOCAL}:{server.server_port}")(b"1", PATIENCE_S)
    assert (len(proxy.seen), len(server.seen)) == (1, 1)


def test_a_proxy_with_a_login(
    monkeypatch: pytest.MonkeyPatch, http_server: Callable[..., HttpServer]
) -> None:
    """``NAME:PASSWORD@`` before its host, percent-encoded; the scheme is optional."""
    proxy = http_server()
    monkeypatch.setenv("http_proxy", f"Aladdin:open%20sesame@{LOCAL}:{proxy.server_port}")
    http_call("http://pyroscope.invalid:4040")(b"1", PATIENCE_S)
    [(_, headers, _)] = proxy.seen
    assert headers["proxy-authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="  # RFC 7617's


@pytest.mark.parametrize(
    "proxy", ["http://p:x", "socks5://p:1", "https://p:1", "http://", "http://me:hunter2@p:x"]
)
def test_an_invalid_proxy_is_an_error(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    """At the start, with the variable's name and without the password."""
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(UserError, match=r"HTTPS_PROXY.* write http://PROXY:3128") as caught:
        http_call("https://pyroscope.invalid:4040")
    assert "hunter2" not in str(caught.value)
    http_call("http://pyroscope.invalid:4040")  # it does not apply to this endpoint


def test_https_tunnels_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: trustme.CA
) -> None:
    """HTTPS_PROXY sees the name of the host, and the rest only encrypted."""
    asked: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    proxy = Socket(refuse)
    monkeypatch.setenv("https_proxy", f"http://Aladdin:open%20sesame@{LOCAL}:{proxy.port}")
    credentials = Credentials(ca=pem(tmp_path, "ca.pem", authority.cert_pem))
    error = failure(http_call("https://pyroscope.invalid:4040", credentials))
    assert error.reason == "unavailable"
    assert asked[0].startswith(b"CONNECT pyroscope.invalid:4040 HTTP/1.")
    assert b"proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n" in asked[0]
    proxy.close()
