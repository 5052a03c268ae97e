"""Sockets that wait for connections, of agent and collector."""

from __future__ import annotations

import errno
import socket

EVERY = ("", "::")
"""Hosts that stand for every address of this machine, of IPv6 and of IPv4."""

_NO_SIX = {errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EADDRNOTAVAIL}


def listening_socket(address: tuple[str, int], backlog: int) -> socket.socket:
    """For ``EVERY`` host one socket of both families; IPv4 alone where the kernel has no IPv6
    (ipv6.disable=1), or does not let us have it.

    Raises OSError, whose ``strerror`` says why.
    """
    host, port = address
    if host in EVERY:
        try:
            return _listening(socket.AF_INET6, ("::", port, 0, 0), backlog)
        except OSError as error:
            if error.errno not in _NO_SIX:
                raise
        return _listening(socket.AF_INET, ("0.0.0.0", port), backlog)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:
        raise OSError(errno.EINVAL, "no name of a host") from error
    family, _, _, _, place = found[0]
    return _listening(family, place, backlog)


def _listening(family: int, place: tuple[object, ...], backlog: int) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Whatever net.ipv6.bindv6only says. Only a socket of every address has two families.
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(place[0] != "::"))
        made.bind(place)
        made.listen(backlog)
    except OSError:
        made.close()
        raise
    return made
