"""What connections may take, and why they are closed."""

from __future__ import annotations

import contextlib
import ipaddress
import resource
from collections import Counter
from dataclasses import dataclass, field

_FILES_KEPT, _FILES_PER_CONNECTION = 256, 3


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """``connections``: at a time. ``new``: those of them that the server has not accepted.
    ``per_peer``: connections of one address, 0: any number. A new connection has ``new_s`` seconds
    and ``new_bytes`` bytes.

    ``unread_bytes`` is how much of an unfinished message one connection may hold, and
    ``unread_total_bytes`` all together. ``unread_s`` is how long a large message may take.
    ``idle_write_s`` is how long a peer may take nothing of what is sent to it.
    """

    connections: int = 5512
    new: int = 256
    per_peer: int = 0
    new_s: float = 15.0
    new_bytes: int = 128 << 10
    unread_bytes: int = (4 << 20) + (256 << 10)
    unread_total_bytes: int = 64 << 20
    unread_s: float = 120.0
    idle_write_s: float = 60.0


@dataclass(slots=True)
class RelayCounters:
    """``closed`` by reason: new (its time is over), bytes (a new one sent too much), full (no
    place), slow (an unfinished message took too long), unread (unfinished messages took too much
    memory), stalled (it read nothing of what was sent to it)."""

    accepted: int = 0
    closed: Counter[str] = field(default_factory=Counter)


REASONS = ("new", "bytes", "full", "slow", "unread", "stalled")


def named(address: object) -> tuple[str, str]:
    """The peer for the log, and the group that it counts in: an IPv4 address, or a /64 of IPv6."""
    if not isinstance(address, tuple):
        return "unknown", "unknown"
    host, port = str(address[0]).partition("%")[0], address[1]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return host, host
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return f"{found.ipv4_mapped}:{port}", str(found.ipv4_mapped)
        network = ipaddress.ip_network((int(found) >> 64 << 64, 64))
        return f"[{found}]:{port}", str(network)
    return f"{found}:{port}", str(found)


def files_for() -> int:
    """How many connections the process has file descriptors for. Raises the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    if soft == resource.RLIM_INFINITY:
        return 1 << 30
    return max(16, (soft - _FILES_KEPT) // _FILES_PER_CONNECTION)
