"""Who may see the site: whoever has a token, as ``Bearer`` or as the password of a login."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gotax_collector.refusal import RefusedError

OPEN = ("/healthz", "/readyz", "/metrics", "/static/")
"""What tells nothing of the fleet."""

Guard = Callable[[str], None]
"""Given a header ``Bearer TOKEN``. RefusedError: no."""


class Authentication:
    """Lets through what ``guard`` lets through."""

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
    """A browser's login as the token that is its password; all else as it is."""
    scheme, _, given = authorization.partition(" ")
    if scheme.lower() != "basic":
        return authorization
    try:
        login = base64.b64decode(given, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return f"Bearer {login.partition(':')[2]}"
