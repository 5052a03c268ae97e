"""Requires a token for the site, as ``Bearer`` or as the password of a login."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gotax_collector.refusal import RefusedError

OPEN = ("/healthz", "/readyz", "/metrics", "/static/")
"""Paths without data of the fleet: they need no token."""

Guard = Callable[[str], None]
"""Checks a header ``Bearer TOKEN``. RefusedError: the token is not accepted."""


class Authentication:
    """Answers 401 to requests that ``guard`` refuses."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app, self._guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith(OPEN):
            given = Headers(scope=scope).get("authorization", "")
            try:
                self._guard(bearer(given))
            except RefusedError as error:
                refusal = PlainTextResponse(
                    f"{error}\n", 401, {"WWW-Authenticate": 'Basic realm="gotax", charset="UTF-8"'}
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def bearer(authorization: str) -> str:
    """Turn a browser's login into ``Bearer PASSWORD``. Other headers are unchanged."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        login = base64.b64decode(given, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return f"Bearer {login.partition(':')[2]}"
