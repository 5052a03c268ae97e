"""Credentials for a remote service: TLS files, headers, a token.

Files are read again when they change, because the agent is not restarted when certificates and
tokens are rotated.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from gotax.errors import UserError

_MAX_FILE = 1024 * 1024
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")  # RFC 9110, token
_VISIBLE = re.compile(r"[\x20-\x7e]{0,8192}")

Headers = tuple[tuple[str, str], ...]
Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """PEM files and a file with a token; "" for none. ``headers`` are sent with every call.

    Without ``ca`` the system's authorities are trusted. The token is sent as a bearer token, or as
    the password of ``user`` if there is one.
    """

    ca: str = ""
    certificate: str = ""
    key: str = ""
    token_file: str = ""
    user: str = ""
    headers: Headers = ()

    @property
    def tls_files(self) -> tuple[str, ...]:
        return tuple(name for name in (self.ca, self.certificate, self.key) if name)

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.tls_files, *([self.token_file] if self.token_file else []))

    @property
    def is_half(self) -> bool:
        """Whether there is a certificate without its key, or a key without its certificate."""
        return bool(self.certificate) != bool(self.key)


def parse_header(text: str) -> tuple[str, str]:
    """Parses ``NAME=VALUE``. Raises UserError for a header that HTTP does not allow."""
    name, separator, value = text.partition("=")
    if not separator or not _HEADER.fullmatch(name) or not _VISIBLE.fullmatch(value):
        raise UserError(f"{name!r}: a header is NAME=VALUE in printable ASCII")
    return name.lower(), value.strip()


def read_headers(credentials: Credentials) -> Headers:
    """All headers of a call, including the token. Raises UserError if it cannot be read."""
    if not credentials.token_file:
        return credentials.headers
    token = read_token(credentials.token_file)
    how = f"Bearer {token}"
    if credentials.user:
        how = "Basic " + base64.b64encode(f"{credentials.user}:{token}".encode()).decode()
    return (*credentials.headers, ("authorization", how))


def read_token(path: str) -> str:
    """Raises UserError if the file cannot be read or does not contain exactly one token."""
    token = read_file(path).decode("latin-1").strip()
    if not token or not _VISIBLE.fullmatch(token):
        raise UserError(f"{path} holds no token: one line of printable ASCII is expected")
    return token


def read_file(path: str) -> bytes:
    """Reads a small file. Raises UserError if it cannot be read, or is larger than a megabyte."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > _MAX_FILE:
        raise UserError(f"{path} is larger than {_MAX_FILE} bytes")
    return content


def stamp(paths: Iterable[str]) -> Stamp:
    """Changes when one of the files changes; contains None for a missing file."""
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)


def require_readable(credentials: Credentials) -> None:
    """Checks the files at the start, not at the first call. Raises UserError."""
    read_headers(credentials)
    for path in credentials.tls_files:
        read_file(path)
