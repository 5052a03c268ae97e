"""One POST to a remote service, with TLS, headers, a proxy and one deadline for the whole call.

Each call makes a connection: calls are seconds apart, and so each may reach another server.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import urllib.request
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING

import gotax
from gotax.errors import UserError
from gotax.exporters.backends.delivery import DeliveryError
from gotax.exporters.credentials import Headers, Stamp, read_headers, stamp
from gotax.exporters.endpoint import Endpoint
from gotax.wire.addresses import AddressError, Form, Url, parse_url

if TYPE_CHECKING:
    import ssl

_TRANSIENT = {408, 429, 502, 503, 504}
"""The status codes for which OTLP's specification asks for another attempt."""

_ANSWER_MAX = 64 * 1024
_PROXY = Form("http://PROXY:3128", {"http": 3128}, may_have_user=True)


class HttpCall:
    """``content_type`` is that of the body and of a good response; ``headers`` are the
    protocol's."""

    def __init__(
        self, endpoint: Endpoint, path: str, content_type: str, headers: Headers = ()
    ) -> None:
        self._endpoint = endpoint
        self._path = endpoint.path + path
        self._content_type = content_type
        self._headers = (*headers, ("content-type", content_type))
        self._context: ssl.SSLContext | None = None
        self._stamp: Stamp = ()
        self._connection: HTTPConnection | None = None
        self._is_aborted = False
        self._proxy = _proxy_for(endpoint)

    def __call__(self, body: bytes, timeout_s: float) -> bytes:
        """Returns the body of a response with status 200. Raises DeliveryError."""
        deadline = time.monotonic() + timeout_s
        connection, target = self._open(timeout_s)
        self._connection = connection
        # The connection's own timeout is for each read, so a slow server could exceed it forever.
        watch = threading.Timer(timeout_s, _cut, (connection,))
        watch.daemon = True
        watch.start()
        try:
            connection.request("POST", target, body, self._all_headers())
            response = connection.getresponse()
            answer: bytes | None = response.read(_ANSWER_MAX)
        except (OSError, HTTPException) as error:
            if time.monotonic() < deadline and not isinstance(error, TimeoutError):
                raise DeliveryError("unavailable", f"{self._endpoint}: {_words(error)}") from error
            answer = None
        finally:
            watch.cancel()
            connection.close()
        # A response that ends within its headers looks like one with few headers.
        if answer is None or time.monotonic() >= deadline:
            text = f"{self._endpoint}: no answer within {timeout_s:g} s"
            raise DeliveryError("deadline-exceeded", text)
        if self._is_aborted:
            raise DeliveryError("cancelled", f"{self._endpoint}: stopped")
        if response.status == 200:
            if response.headers.get_content_type() != self._content_type:
                # Not the service: a login page, or a load balancer.
                text = f"{self._endpoint} answered with something else: {_message(answer)}"
                raise DeliveryError("not-the-service", text)
            return answer
        raise DeliveryError(
            "too-large" if response.status == 413 else f"http-{response.status}",
            f"{self._endpoint}: {response.status} {_message(answer)}",
            is_final=response.status not in _TRANSIENT,
            after_s=_seconds(response.headers.get("Retry-After")),
        )

    def abort(self) -> None:
        self._is_aborted = True
        if self._connection is not None:
            _cut(self._connection)

    def _all_headers(self) -> dict[str, str]:
        try:
            named = dict(read_headers(self._endpoint.credentials))
        except UserError as error:
            raise DeliveryError("credentials", str(error)) from error
        # The tunnel has authenticated at the proxy: its login must not reach the service.
        login = _login(self._proxy) if self._proxy and not self._endpoint.is_secure else ()
        agent = {"user-agent": f"gotax/{gotax.__version__}"}
        return {**agent, **named, **dict(self._headers), **dict(login)}

    def _open(self, timeout_s: float) -> tuple[HTTPConnection, str]:
        """A connection that is not open yet, and the request target."""
        if self._is_aborted:
            raise DeliveryError("cancelled", f"{self._endpoint}: stopped")
        endpoint, proxy = self._endpoint, self._proxy
        host, port = (proxy.host, proxy.port) if proxy else (endpoint.host, endpoint.port)
        if not endpoint.is_secure:
            target = f"http://{endpoint.authority}{self._path}" if proxy else self._path
            return HTTPConnection(host, port, timeout=timeout_s), target
        secure = HTTPSConnection(host, port, timeout=timeout_s, context=self._secure_context())
        if proxy:
            secure.set_tunnel(endpoint.host, endpoint.port, dict(_login(proxy)))
        return secure, self._path

    def _secure_context(self) -> ssl.SSLContext:
        import ssl

        now = stamp(self._endpoint.credentials.tls_files)
        if self._context is None or now != self._stamp:
            credentials = self._endpoint.credentials
            try:
                context = ssl.create_default_context(cafile=credentials.ca or None)
                if credentials.certificate:
                    context.load_cert_chain(credentials.certificate, credentials.key)
            except (OSError, ssl.SSLError) as error:
                text = f"{self._endpoint}: cannot use the TLS files: {_words(error)}"
                raise DeliveryError("credentials", text) from error
            self._context, self._stamp = context, now
        return self._context


def _proxy_for(endpoint: Endpoint) -> Url | None:
    """The proxy from the environment (HTTPS_PROXY, HTTP_PROXY, NO_PROXY).

    Raises UserError if it is not valid. ``NAME:PASSWORD@`` before its host is a login.
    """
    scheme = "https" if endpoint.is_secure else "http"
    named = urllib.request.getproxies().get(scheme, "").strip()
    if not named or urllib.request.proxy_bypass(endpoint.authority):
        return None
    try:
        return parse_url(named if "://" in named else f"http://{named}", _PROXY)
    except AddressError as error:
        raise UserError(f"the environment's {scheme.upper()}_PROXY: {error}") from error


def _login(proxy: Url) -> Headers:
    if not proxy.user:
        return ()
    login = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
    return (("proxy-authorization", f"Basic {login}"),)


def _cut(connection: HTTPConnection) -> None:
    """Ends the read or write that the connection's thread is blocked in."""
    held = connection.sock
    if held is not None:
        try:
            held.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has already ended


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)[:500]


def _message(answer: bytes) -> str:
    """The message of a Connect error, or the beginning of the body."""
    try:
        found = json.loads(answer)
        text = f"{found['code']}: {found['message']}"
    except (ValueError, KeyError, TypeError, RecursionError):
        text = answer.decode("utf-8", "replace")
    return " ".join(text.split())[:500]


def _seconds(retry_after: str | None) -> float:
    """The number in a Retry-After header; 0 for a date or an invalid value."""
    try:
        return min(max(0.0, float(retry_after or 0)), 3600.0)
    except ValueError:
        return 0.0
