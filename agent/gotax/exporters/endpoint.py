"""The address of a remote service, and the credentials for it."""

from __future__ import annotations

from dataclasses import dataclass

from gotax.errors import UserError
from gotax.exporters.credentials import Credentials
from gotax.wire.addresses import AddressError, Form, joined, parse_url


@dataclass(frozen=True, slots=True)
class Endpoint:
    """``path`` is "" or starts with a slash and does not end with one."""

    host: str
    port: int
    is_secure: bool
    path: str = ""
    credentials: Credentials = Credentials()

    @property
    def authority(self) -> str:
        return joined(self.host, self.port)

    def __str__(self) -> str:
        return f"{'https' if self.is_secure else 'http'}://{self.authority}{self.path}"


def parse_endpoint(
    text: str, default_port: int, credentials: Credentials | None = None
) -> Endpoint:
    """Parses ``http://host[:port]`` (without TLS) or ``https://host[:port]`` (with TLS).

    Raises UserError for anything else, and for TLS files without TLS.
    """
    ports = {"http": default_port, "https": default_port}
    try:
        url = parse_url(text, Form("http://HOST:PORT, or https:// for TLS", ports))
    except AddressError as error:
        raise UserError(str(error)) from error
    credentials = credentials or Credentials()
    is_secure = url.scheme == "https"
    if not is_secure and credentials.tls_files:
        raise UserError(f"{url} is without TLS: write https:// to use certificates")
    if credentials.user and not credentials.token_file:
        raise UserError(f"{url}: a user needs a token file with the password")
    if credentials.is_half:
        raise UserError(f"{url}: a client's certificate and its key go together")
    return Endpoint(url.host, url.port, is_secure, url.path.rstrip("/"), credentials)
