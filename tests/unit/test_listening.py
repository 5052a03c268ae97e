"""The listeners of agent and collector, with both families and with IPv4 alone, and their
answers."""

from __future__ import annotations

import errno
import http.client
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from gotax.errors import UserError
from gotax.exporters.metrics.http import HttpCounts
from gotax.exporters.prometheus import PrometheusExporter
from gotax.httpserver import Pulse, open_server
from gotax.wire.listening import listening_socket

from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
SIX = "::1"
HAS_SIX = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()
needs_six = pytest.mark.skipif(not HAS_SIX, reason="this kernel has no IPv6")
NUMBERS = {"x86_64": 41, "aarch64": 198}  # number of the system call socket

# A kernel without IPv6 (ipv6.disable=1), which seccomp can simulate for one process. The filter
# (seccomp(2)): load nr, compare; load the first argument, compare; EAFNOSUPPORT, or allow.
WITHOUT_SIX = f"""
import ctypes, errno, socket, struct
NR = {NUMBERS.get(platform.machine(), -1)}
program = b"".join(
    struct.pack("HBBI", *line)
    for line in (
        (0x20, 0, 0, 0),
        (0x15, 0, 3, NR),
        (0x20, 0, 0, 16),
        (0x15, 0, 1, socket.AF_INET6),
        (0x06, 0, 0, 0x00050000 | errno.EAFNOSUPPORT),
        (0x06, 0, 0, 0x7FFF0000),
    )
)
held = ctypes.create_string_buffer(program)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(len(program) // 8, ctypes.addressof(held)))) == 0
try:
    socket.socket(socket.AF_INET6)
    raise SystemExit("IPv6 is still there")
except OSError as error:
    assert error.errno == errno.EAFNOSUPPORT
"""


def reaches(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), PATIENCE_S).close()
    except ConnectionRefusedError:
        return False
    return True


@needs_six
@pytest.mark.parametrize(
    ("host", "six", "four"),
    [
        *(("", True, True), ("::", True, True), ("0.0.0.0", False, True)),
        *(("::1", True, False), ("127.0.0.1", False, True)),
    ],
)
def test_all_addresses_includes_both_families(host: str, six: bool, four: bool) -> None:
    """Probes of a pod in an IPv6-only cluster failed: the agent listened on 0.0.0.0."""
    with listening_socket((host, 0), 5) as made:
        port = made.getsockname()[1]
        assert (reaches(SIX, port), reaches("127.0.0.1", port)) == (six, four)


@needs_six
def test_both_families_with_any_system_setting() -> None:
    """The socket sets the option itself, and does not depend on net.ipv6.bindv6only."""
    with listening_socket(("", 0), 5) as made:
        assert made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


def test_a_taken_port_is_an_error_for_both_families() -> None:
    """If IPv4 has it already, gotax does not listen on IPv6 alone."""
    reason = os.strerror(errno.EADDRINUSE)
    with (
        socket.create_server(("0.0.0.0", 0)) as taken,
        pytest.raises(OSError, match=reason),
    ):
        listening_socket(("", taken.getsockname()[1]), 5)


@pytest.mark.skipif(platform.machine() not in NUMBERS, reason="no number of the system call")
@pytest.mark.parametrize("host", ["", "::"])
def test_without_ipv6_ipv4_is_used(host: str) -> None:
    """Also for the collector's gRPC port, whose library does that by itself."""
    code = f"""
from gotax.wire.listening import listening_socket
made = listening_socket(({host!r}, 0), 5)
assert made.family == socket.AF_INET and made.getsockname()[0] == "0.0.0.0"
socket.create_connection(("127.0.0.1", made.getsockname()[1]), 5).close()
import grpc
from concurrent import futures
server = grpc.server(futures.ThreadPoolExecutor(1))
port = server.add_insecure_port("[::]:0")
server.start()
socket.create_connection(("127.0.0.1", port), 5).close()
server.stop(0)
print("both")
"""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_SIX + code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.stdout == "both\n", done.stderr


Answer = tuple[int, http.client.HTTPMessage, bytes]


def asked(port: int, method: str, path: str, host: str = "127.0.0.1") -> Answer:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body=b"x" if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


@contextmanager
def agent_answering(host: str = "") -> Iterator[tuple[int, Pulse]]:
    pulse = Pulse(1.0)
    server = open_server((host, 0), PrometheusExporter(), pulse, HttpCounts())
    server.start()
    try:
        yield server.port, pulse
    finally:
        server.close()


@needs_six
def test_the_agent_answers_on_both_families() -> None:
    """A probe over IPv6 succeeds, as one over IPv4."""
    with agent_answering() as (port, _):
        for host in ("127.0.0.1", SIX):
            assert asked(port, "GET", "/healthz", host)[0] == 200


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/healthz?x=1", "/nothing"])
def test_head_has_the_headers_of_get_without_its_body(path: str) -> None:
    """It gave 501. Status and headers are the same, also for a probe that fails."""
    with agent_answering() as (port, pulse):
        for windows in (0, 1):
            pulse.windows = windows
            status, headers, body = asked(port, "GET", path)
            head = asked(port, "HEAD", path)
            assert (head[0], head[2]) == (status, b"")
            for name in ("Content-Type", "Content-Length"):
                assert head[1][name] == headers[name]
            assert int(headers["Content-Length"]) == len(body) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"])
def test_other_methods_are_refused(method: str) -> None:
    """405 and Allow for an existing path, 404 for another."""
    with agent_answering() as (port, _):
        status, headers, body = asked(port, method, "/metrics")
        assert (status, headers["Allow"], body) == (405, "GET, HEAD", b"GET or HEAD\n")
        status, headers, _ = asked(port, method, "/nothing")
        assert (status, headers["Allow"]) == (404, None)


def test_an_agent_starts_without_name_resolution(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own server looks up its host's name, which may take long."""

    def fail(*_: object) -> str:
        raise AssertionError("looked up")

    monkeypatch.setattr(socket, "getfqdn", fail)
    with agent_answering() as (port, _):
        assert asked(port, "GET", "/healthz")[0] == 200


@pytest.mark.parametrize(
    "host", ["256.1.1.1", "no-such-host.invalid", "x" * 70 + ".y", "::g", "a b"]
)
def test_an_unavailable_host_is_one_sentence(host: str) -> None:
    """Names and addresses that this host does not have, and a taken port."""
    with pytest.raises(UserError, match="cannot listen on"):
        open_server((host, 0), PrometheusExporter(), Pulse(1.0), HttpCounts())


def test_a_taken_port_is_one_sentence() -> None:
    """With the system's reason."""
    reason = re.escape(os.strerror(errno.EADDRINUSE))
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(UserError, match=reason),
    ):
        open_server(taken.getsockname(), PrometheusExporter(), Pulse(1.0), HttpCounts())


@pytest.mark.parametrize("option", ["listen", "http", "probes"])
def test_a_taken_port_of_the_collector_is_one_sentence(option: str, tmp_path: Path) -> None:
    """A gRPC server that had started printed a traceback after the sentence."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        places = {"listen": "127.0.0.1:0", "http": "127.0.0.1:0", option: f"127.0.0.1:{port}"}
        command = [sys.executable, "-m", "gotax", "collector", "--store", str(tmp_path)]
        for name, place in places.items():
            command += [f"--{name}", place]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"cannot listen on 127.0.0.1:{port}" in line
    assert f"--{option}" in line


def test_the_collectors_page_answers_in_the_same_way() -> None:
    """Both families, HEAD, and 405 with Allow. Without a store: no question is asked."""
    application = pytest.importorskip("gotax_collector.http.application")
    from gotax_collector.http.site import Site

    served = application.Served(SimpleNamespace(database=None), lambda: b"up 1\n", lambda: 0.0)
    site = Site(("", 0), served)
    try:
        for host in ("127.0.0.1", *([SIX] if HAS_SIX else [])):
            for path in ("/metrics", "/healthz", "/readyz", "/static/site.css", "/nothing"):
                status, headers, body = asked(site.port, "GET", path, host)
                head = asked(site.port, "HEAD", path, host)
                assert status == (404 if path == "/nothing" else 200)
                assert (head[0], head[2]) == (status, b"")
                assert head[1]["Content-Length"] == headers["Content-Length"] == str(len(body))
        for path in ("/", "/metrics", "/api/v1/top"):
            status, headers, _ = asked(site.port, "POST", path)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        assert asked(site.port, "POST", "/nothing")[0] == 404
    finally:
        site.close()
