"""Addresses and URLs as people write them: agent and collector read every one of them here.

A sentence about a wrong one repeats nothing that may be a secret: neither what stands before an @,
nor what stands where a port should, nor a path, nor a query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import unquote

PORT_MAX = 65535

_URL = re.compile(r"([^:/?#]+)://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)  # RFC 3986, B
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_ZONE = re.compile(r"[A-Za-z0-9_.~-]{1,32}")
_ODD = re.compile(r"[^\x21-\x7e]")
_HARMLESS = re.compile(
    r"((?:\w[\w+.-]*://)?(?:[0-9A-Fa-f:.]+|\[[0-9A-Fa-f:.]*\]?|\w[\w.-]*)?(?::[0-9]*)?)(?:/.*)?",
    re.ASCII,
)
_SHOWN = 80


class AddressError(ValueError):
    """The text is one sentence, with the form that is right, and without secrets."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a flag takes. ``ports`` are the schemes that it takes, with the port of each where the
    URL has none. ``may_have_user``: NAME:PASSWORD@ before the host."""

    example: str
    ports: Mapping[str, int]
    may_have_user: bool = False
    may_have_query: bool = False


@dataclass(frozen=True, slots=True)
class Url:
    """``host``: ASCII in lower case, IPv6 without brackets, perhaps with a zone (``fe80::1%eth0``).
    ``path`` is "" or begins with a slash; ``query`` is without its question mark."""

    scheme: str
    host: str
    port: int
    path: str = ""
    query: str = ""
    user: str = ""
    password: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        return joined(self.host, self.port)

    def __str__(self) -> str:
        """Without user, password and query: this goes into logs."""
        return f"{self.scheme}://{self.authority}{self.path}"


def joined(host: str, port: int) -> str:
    """``host:port``, with the brackets that IPv6 needs there."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_listen(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPV6]:PORT`` or ``:PORT``, whose host is "": every address.

    Port 0 is any free one. Raises AddressError.
    """
    example = "HOST:PORT, [IPV6]:PORT, or :PORT for every address"
    if text.startswith(":") and text.count(":") == 1:
        return "", _port(text[1:], 0, text, example)
    host, port = _halves(text, example, is_port_needed=True)
    return _host(host, text, example), _port(port, 0, text, example)


def parse_destination(text: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPV6]:PORT``. Raises AddressError."""
    example = "HOST:PORT, or [IPV6]:PORT"
    if "://" in text:
        raise AddressError(f"{_shown(text)} is a URL: write {example}")
    host, port = _halves(text, example, is_port_needed=True)
    return _host(host, text, example), _port(port, 1, text, example)


def parse_url(text: str, form: Form) -> Url:
    """Raises AddressError for what is not of the form, or is no URL at all."""
    example = form.example
    if not text:
        raise AddressError(f"it is empty: write {example}")
    match = _URL.fullmatch(text)
    scheme = match[1].lower() if match else ""
    if match is None or scheme not in form.ports:
        schemes = " or ".join(f"{known}://" for known in form.ports)
        raise AddressError(f"{_shown(text)} does not begin with {schemes}: write {example}")
    user, _, authority = match[2].rpartition("@")
    if "@" in match[2] and not form.may_have_user:
        raise AddressError(
            f"a user or a password has no place in a URL: it goes into a file; write {example}"
        )
    if match[5] is not None or (match[4] is not None and not form.may_have_query):
        raise AddressError(f"the URL goes on after its path, with a ? or a #: write {example}")
    if _ODD.search(match[3]) or _ODD.search(match[4] or ""):
        raise AddressError(
            f"the URL has a space, a control character or a letter beyond ASCII after its host:"
            f" write {example}"
        )
    if not authority:
        raise AddressError(f"{_shown(text)} has no host: write {example}")
    host, port = _halves(authority, example, is_port_needed=False)
    name, _, password = user.partition(":")
    return Url(
        scheme,
        _host(host, authority, example),
        form.ports[scheme] if port is None else _port(port, 1, authority, example),
        match[3],
        (match[4] or "")[1:],
        unquote(name),
        unquote(password),
    )


def _halves(text: str, example: str, is_port_needed: bool) -> tuple[str, str | None]:
    """Host without brackets, and port, None where there is none and none is needed.

    IPv6 without brackets is understood where it can be read in one way only: what Kubernetes makes
    of ``https://$(NODE_IP):10250``.
    """
    if text.startswith("["):
        match = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", text, re.DOTALL)
        if match is None or not _is_number(match[1]):
            raise AddressError(f"{_shown(text)} has no address in its brackets: write {example}")
        host, port = match[1], match[2]
    else:
        host, colon, port = text.rpartition(":")
        if not colon:
            host, port = text, None
        elif ":" in host:
            is_address = _is_six(text)
            has_port = _is_six(host) and port.isascii() and port.isdigit()
            if is_address and has_port and not is_port_needed:
                raise AddressError(
                    f"{_shown(text)} may end with a port or not: write [{host}]:{port} or [{text}]"
                )
            if is_address and not has_port:
                host, port = text, None
            elif not has_port:
                raise AddressError(
                    f"{_shown(text)} has too many colons for a name and is no IPv6 address:"
                    f" write {example}"
                )
    if port is None and is_port_needed:
        raise AddressError(f"{_shown(text)} has no port: write {example}")
    return host, port


def _port(text: str | None, low: int, where: str, example: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text or "") or not low <= int(text or "") <= PORT_MAX:
        raise AddressError(
            f"{_shown(where)} has no port from {low} to {PORT_MAX} after its last colon:"
            f" write {example}"
        )
    return int(text or "")


def _host(text: str, where: str, example: str) -> str:
    if _is_number(text):
        address, percent, zone = text.partition("%")
        return address.lower() + percent + re.sub("^25(?=.)", "", zone)
    name = text.lower()
    if not name.isascii():
        try:
            name = name.encode("idna").decode()
        except UnicodeError:
            name = ""
    labels = name.removesuffix(".").split(".")
    is_name = len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)
    # As browsers have it: what ends in a number is an IPv4 address, or none.
    if not text or not is_name or labels[-1].isdigit():
        raise AddressError(f"{_shown(where)} has no usable host: write {example}")
    return name


def _is_number(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return _is_six(text)
    return True


def _is_six(text: str) -> bool:
    """An IPv6 address, perhaps with a zone, whose % a URL writes as %25 (RFC 6874)."""
    address, percent, zone = text.partition("%")
    try:
        IPv6Address(address)
    except AddressValueError:
        return False
    return not percent or _ZONE.fullmatch(zone) is not None


def _shown(text: str) -> str:
    """In quotes, without its path; not at all where a secret may be in it."""
    match = _HARMLESS.fullmatch(text)
    return repr(match[1][:_SHOWN]) if match else "what is given"
