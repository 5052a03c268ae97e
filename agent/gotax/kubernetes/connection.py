"""HTTP to an API server or a kubelet, with the standard library alone.

An agent in a pod needs no more than this. httpx2 and lightkube, which a kubeconfig takes
(``kubeconfig.py``), are 5 MB of memory and a tenth of a second at the start.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import urlencode, urlsplit

_CONNECT_S = 10.0
_READ_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """``body`` are its parts as they come."""

    status: int
    reason: str
    encoding: str
    body: Iterator[bytes]


class Client(Protocol):
    def ask(self, request: Request, silence_s: float) -> AbstractContextManager[Answer]:
        """Raises OSError, of which TimeoutError says that nothing came for so long, and
        HTTPException."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Trust:
    """``ca``: a file of certificates; "": those of the system. ``is_blind``: any certificate."""

    ca: str = ""
    is_blind: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises OSError."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if self.is_blind:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class PlainClient:
    """``token``: a file whose content is the bearer token, read again for each request because it
    changes; None: no token."""

    def __init__(self, url: str, token: Path | None = None, trust: Trust = Trust()) -> None:
        """Raises ValueError, OSError."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is no URL of a server")
        self._host, self._port = parts.hostname, parts.port
        self._folder = parts.path.rstrip("/")
        self._token = token
        self._context = trust.context() if parts.scheme == "https" else None

    @contextmanager
    def ask(self, request: Request, silence_s: float) -> Iterator[Answer]:
        target = f"{self._folder}{request.path}"
        if request.query:
            target += f"?{urlencode(request.query)}"
        headers = {**request.headers, **self._headers()}
        with closing(self._connected()) as connection:
            connection.sock.settimeout(silence_s)
            connection.request(request.method, target, request.body, headers)
            answer = connection.getresponse()
            encoding = answer.getheader("Content-Encoding", "identity")
            yield Answer(answer.status, answer.reason, encoding, _parts(answer))

    def _connected(self) -> http.client.HTTPConnection:
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=_CONNECT_S)
            if self._context is None
            else http.client.HTTPSConnection(
                self._host, self._port, timeout=_CONNECT_S, context=self._context
            )
        )
        try:
            connection.connect()
        except TimeoutError as error:
            raise ConnectionError(f"no connection within {_CONNECT_S:g} s") from error
        return connection

    def _headers(self) -> dict[str, str]:
        # What is compressed could become a thousand times as much.
        headers = {"Accept-Encoding": "identity", "Connection": "close"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.read_text().strip()}"
        return headers

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _parts(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while part := answer.read1(_READ_BYTES):
        yield part
