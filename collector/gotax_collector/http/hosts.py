"""Refuses requests for names that are not this collector's.

A page of the internet can give its own name the address of a collector that a browser can reach
(DNS rebinding), and then read it as its own. The browser says in ``Host`` which name it asked. An
address cannot be rebound, and names of others are refused. With a token this is not needed: the
browser does not send it to another name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gotax_collector.http.authentication import OPEN

LOCAL = "localhost"


class Hosts:
    """Answers 421 to requests for names that are not in ``names``."""

    def __init__(self, app: ASGIApp, names: Sequence[str]) -> None:
        self._app = app
        self._names = {LOCAL, *(name.lower().rstrip(".") for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(OPEN):
            given = Headers(scope=scope).getlist("host")
            if len(given) != 1 or not self._is_own(host_of(given[0])):
                refusal = PlainTextResponse(
                    "this collector does not have that name: use its address, or start it with"
                    " --http-host NAME or with --http-token-file\n",
                    421,
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _is_own(self, host: str) -> bool:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in self._names or host.endswith(f".{LOCAL}")
        return True


def host_of(header: str) -> str:
    """In lower case, without port, brackets and the dot at the end."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, port = text.rpartition(":")
    return (host if colon and port.isdigit() else text).rstrip(".")
