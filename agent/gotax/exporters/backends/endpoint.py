"""Where a backend is, and who we are to it: address, TLS files, headers, a token.

Files are read again when they change, because what rotates certificates and tokens does not
restart the agent.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path

from gotax.errors import UserError
from gotax.wire.addresses import AddressError, Form, joined, parse_url

_MAX_FILE = 1024 * 1024
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")  # RFC 9110, token
_VISIBLE = re.compile(r"[\x20-\x7e]{0,8192}")

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Files of PEM and of a token, "" for none. ``headers`` go with every call.

    The token is sent as a bearer token, or as the password of ``user`` if there is one.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    token: str = ""
    user: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``path`` is "" or starts with a slash and does not end with one."""

    host: str
    port: int
    is_secure: bool
    path: str = ""
    identity: Identity = Identity()

    @property
    def authority(self) -> str:
        return joined(self.host, self.port)

    def __str__(self) -> str:
        return f"{'https' if self.is_secure else 'http'}://{self.authority}{self.path}"


def parse_endpoint(text: str, default_port: int, identity: Identity | None = None) -> Endpoint:
    """``http://host[:port]`` without TLS, ``https://host[:port]`` with it.

    Raises UserError for anything else, and for TLS files where there is no TLS.
    """
    ports = {"http": default_port, "https": default_port}
    try:
        url = parse_url(text, Form("http://HOST:PORT, or https:// for TLS", ports))
    except AddressError as error:
        raise UserError(str(error)) from error
    identity = identity or Identity()
    is_secure = url.scheme == "https"
    if not is_secure and (identity.ca or identity.certificate or identity.key):
        raise UserError(f"{url} is without TLS: write https:// to use certificates")
    if identity.user and not identity.token:
        raise UserError(f"{url}: a user needs a token file with the password")
    if bool(identity.certificate) != bool(identity.key):
        raise UserError(f"{url}: a client's certificate and its key go together")
    return Endpoint(url.host, url.port, is_secure, url.path.rstrip("/"), identity)


def parse_header(text: str) -> tuple[str, str]:
    """``NAME=VALUE``. Raises UserError for what HTTP does not take."""
    name, separator, value = text.partition("=")
    if not separator or not _HEADER.fullmatch(name) or not _VISIBLE.fullmatch(value):
        raise UserError(f"{name!r}: a header is NAME=VALUE in printable ASCII")
    return name.lower(), value.strip()


def read_headers(identity: Identity) -> tuple[tuple[str, str], ...]:
    """All headers of a call, the token among them. Raises UserError if it cannot be read."""
    if not identity.token:
        return identity.headers
    token = read_file(identity.token).decode("latin-1").strip()
    if not token or not _VISIBLE.fullmatch(token):
        raise UserError(f"{identity.token} holds no token: one line of printable ASCII is expected")
    how = f"Bearer {token}"
    if identity.user:
        how = "Basic " + base64.b64encode(f"{identity.user}:{token}".encode()).decode()
    return (*identity.headers, ("authorization", how))


def read_file(path: str) -> bytes:
    """A small file. Raises UserError if it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_FILE)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def stamp(identity: Identity) -> Stamp:
    """Differs once one of the TLS files does; None for a file that is not there."""
    found: list[tuple[int, int, int] | None] = []
    for path in (identity.ca, identity.certificate, identity.key):
        try:
            status = os.stat(path) if path else None
        except OSError:
            status = None
        found.append(status and (status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def require_readable(identity: Identity) -> None:
    """Find out at the start, not at the first call. Raises UserError."""
    read_headers(identity)
    for path in (identity.ca, identity.certificate, identity.key):
        if path:
            read_file(path)
