"""Names of Services: the answers of CoreDNS, for a given list.

python -m tests.e2e.cluster.dns ADDRESS NAME=ADDRESS..., on port 53 of the node. The kubelet gives
pods the node as their server (resolv.conf in node.py).
"""

from __future__ import annotations

import socket
import struct
import sys
from ipaddress import IPv4Address

_A = 1
_ANSWER, _NO_SUCH_NAME = 0x8580, 0x8583  # RFC 1035, 4.1.1: response, authoritative, recursion
_TTL_S = 5


def answer(query: bytes, addresses: dict[str, IPv4Address]) -> bytes:
    """The answer to a query with one question. Raises IndexError or struct.error for an invalid
    query."""
    labels, at = [], 12
    while length := query[at]:
        labels.append(query[at + 1 : at + 1 + length].decode("ascii", "replace").lower())
        at += 1 + length
    (kind,) = struct.unpack_from("!H", query, at + 1)
    question = query[12 : at + 5]
    address = addresses.get(".".join(labels))
    found = b""
    if address is not None and kind == _A:
        # 0xc00c points to the name in the question.
        found = struct.pack("!HHHIH", 0xC00C, _A, 1, _TTL_S, 4) + address.packed
    flags = _NO_SUCH_NAME if address is None else _ANSWER
    return query[:2] + struct.pack("!HHHHH", flags, 1, bool(found), 0, 0) + question + found


def main() -> None:
    own, *pairs = sys.argv[1:]
    addresses = {name: IPv4Address(ip) for name, _, ip in (pair.partition("=") for pair in pairs)}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((own, 53))
        while True:
            query, asker = server.recvfrom(4096)
            try:
                server.sendto(answer(query, addresses), asker)
            except (IndexError, struct.error):
                continue


if __name__ == "__main__":
    main()
