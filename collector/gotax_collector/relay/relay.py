"""Accepts connections within bounds, and relays their bytes to a server of this process.

Neither gRPC's server nor uvicorn can bound how many connections there are, for how long they are
silent, and how much of an unfinished message they hold. All of this happens before either of them
calls any of our code: in a TLS handshake, in a header, in a message of 4 MiB that never ends. So a
relay owns the port. It knows every connection by its peer and counts its bytes. The server behind
it listens on a Unix socket in a folder of this process. It finds the connection of a request by the
name of the socket's other end.

A connection is new until the server has accepted it: an agent by its hello, a browser by a
request. New connections have little time, few bytes and few places. If all places are taken, the
oldest one of the peer that has most of them is closed, so that silent connections do not keep
others away.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
import tempfile
from collections import Counter, OrderedDict
from pathlib import Path

from gotax_collector.relay.limits import RelayCounters, RelayLimits, files_for, named
from gotax_collector.relay.pipe import Pipe

log = logging.getLogger(__name__)

_SWEEP_S = 0.25
_STEP_MAX_S = 1.0
_SMALL_BYTES = 64 << 10
"""Unread bytes of one connection that do no harm: pings, window updates, a small message."""


class Relayed:
    """One connection. The server behind the relay says what it is used for."""

    def __init__(self, relay: Relay, peer: str, group: str) -> None:
        self.peer = peer
        self.group = group
        self.is_new = True
        self.was_accepted = False
        self.since_s = 0.0  # when it became new
        self.unread = 0
        self.unread_since_s: float | None = None
        self.stalled_since_s: float | None = None
        self.is_busy = False  # the server works on a message: the peer need not hurry
        self._relay = relay

    def accept(self) -> None:
        """The server knows who it is: it may stay."""
        self.read()
        self._relay.accepted(self)

    def renew(self) -> None:
        """It waits for another request, as a new one does."""
        self.read()
        self._relay.renewed(self)

    def hold(self) -> None:
        """A message is complete. It counts as unread until ``read``, but the peer is not slow."""
        self.is_busy = True
        self.unread_since_s = None

    def read(self) -> None:
        """The message is not in memory any more."""
        self.is_busy = False
        self.unread_since_s = None
        self._relay.count(self, -self.unread)

    def close(self, reason: str) -> None:
        self._relay.close_one(self, reason)


class Relay:
    """Its methods run on the event loop that started it."""

    def __init__(self, listening: socket.socket, limits: RelayLimits) -> None:
        self.port = int(listening.getsockname()[1])
        self.counters = RelayCounters()
        self._socket = listening
        self._limits = limits
        self._connections_max = min(limits.connections, files_for())
        self._folder = tempfile.TemporaryDirectory(prefix="gotax-collector-")
        self.path = str(Path(self._folder.name) / "server")
        """Where the server behind listens. Only this user can reach it."""
        self._name = f"gotax-{secrets.token_hex(8)}"
        self._numbers = 0
        self._by_name: dict[str, tuple[Relayed, Pipe]] = {}
        self._names: dict[Relayed, str] = {}
        self._new: dict[str, OrderedDict[Relayed, None]] = {}
        self._of_group: Counter[str] = Counter()
        self._watched: set[Relayed] = set()  # with a deadline, beside the new ones
        self._unread_total = 0
        self._clock_s = 0.0
        """Time in which this loop has run. On a host that gives it no CPU, peers are not late."""
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        return len(self._by_name)

    @property
    def unread_bytes(self) -> int:
        return self._unread_total

    def find(self, name: str) -> Relayed | None:
        """By the name of the Unix socket, as a server sees it. None: not of this relay."""
        found = self._by_name.get(name)
        return found[0] if found else None

    async def start(self) -> None:
        """Connections wait in the kernel until this is called."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Pipe(self), sock=self._socket)
        self._sweeping = asyncio.create_task(self._sweep())

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self) -> None:
        self.stop_accepting()
        if self._sweeping is not None:
            self._sweeping.cancel()
        for _, peer in list(self._by_name.values()):
            peer.abort()
        self._socket.close()
        self._folder.cleanup()

    # --- what connections say ---------------------------------------------------------------

    def opened(self, peer: Pipe, address: object) -> tuple[Relayed, str] | None:
        """None: there is no place for it."""
        text, group = named(address)
        made = Relayed(self, text, group)
        limits = self._limits
        self.counters.accepted += 1
        if limits.per_peer and self._of_group[group] >= limits.per_peer:
            self._make_room(group)
        if (
            len(self._by_name) >= self._connections_max
            or sum(map(len, self._new.values())) >= limits.new
        ):
            self._make_room(max(self._new, key=lambda key: len(self._new[key]), default=""))
        if len(self._by_name) >= self._connections_max or (
            limits.per_peer and self._of_group[group] >= limits.per_peer
        ):
            self.counters.closed["full"] += 1
            return None
        self._numbers += 1
        name = f"{self._name}-{self._numbers}"
        self._by_name[name] = made, peer
        self._names[made] = name
        self._of_group[group] += 1
        self._become_new(made)
        return made, name

    def _make_room(self, group: str) -> None:
        waiting = self._new.get(group)
        if waiting:
            self.close_one(next(iter(waiting)), "full")

    def lost(self, connection: Relayed) -> None:
        name = self._names.pop(connection, None)
        if name is None:
            return
        del self._by_name[name]
        self._of_group[connection.group] -= 1
        if not self._of_group[connection.group]:
            del self._of_group[connection.group]
        self._forget_new(connection)
        self._watched.discard(connection)
        self._unread_total -= connection.unread
        connection.unread = 0

    def received(self, connection: Relayed, size: int) -> None:
        limits = self._limits
        self.count(connection, size)
        if connection.is_new:
            # What an accepted peer had sent before it heard of the end may still come. Closing
            # would cost it the reason of the end.
            most = limits.unread_bytes if connection.was_accepted else limits.new_bytes
            if connection.unread > most:
                self.close_one(connection, "bytes")
            elif self._unread_total > limits.unread_total_bytes:
                self._close_largest()
            return
        if connection.unread <= _SMALL_BYTES:
            return
        if connection.unread_since_s is None and not connection.is_busy:
            connection.unread_since_s = self._clock_s
            self._watched.add(connection)
        if connection.unread > limits.unread_bytes:
            self.close_one(connection, "unread")
        elif self._unread_total > limits.unread_total_bytes:
            self._close_largest()

    def _close_largest(self) -> None:
        self.close_one(max(self._names, key=lambda each: each.unread), "unread")

    def count(self, connection: Relayed, size: int) -> None:
        if connection in self._names:
            connection.unread += size
            self._unread_total += size

    def accepted(self, connection: Relayed) -> None:
        connection.is_new = False
        connection.was_accepted = True
        self._forget_new(connection)

    def renewed(self, connection: Relayed) -> None:
        if connection in self._names:
            self._forget_new(connection)
            self._become_new(connection)

    def _become_new(self, connection: Relayed) -> None:
        connection.is_new = True
        connection.since_s = self._clock_s
        self._new.setdefault(connection.group, OrderedDict())[connection] = None

    def _forget_new(self, connection: Relayed) -> None:
        waiting = self._new.get(connection.group)
        if waiting is not None:
            waiting.pop(connection, None)
            if not waiting:
                del self._new[connection.group]

    def close_one(self, connection: Relayed, reason: str) -> None:
        name = self._names.get(connection)
        if name is None:
            return
        self.counters.closed[reason] += 1
        log.debug("closed a connection", extra={"peer": connection.peer, "reason": reason})
        _, peer = self._by_name[name]
        self.lost(connection)
        peer.abort()

    def stalled(self, connection: Relayed, is_stalled: bool) -> None:
        connection.stalled_since_s = self._clock_s if is_stalled else None
        if is_stalled:
            self._watched.add(connection)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        while True:
            await asyncio.sleep(_SWEEP_S)
            now = loop.time()
            self._clock_s += min(now - before, _STEP_MAX_S)
            before = now
            self._close_overdue(self._clock_s)

    def _close_overdue(self, now: float) -> None:
        limits = self._limits
        for connection in list(self._watched):
            if _is_over(connection.stalled_since_s, limits.idle_write_s, now):
                self.close_one(connection, "stalled")
            elif _is_over(connection.unread_since_s, limits.unread_s, now):
                self.close_one(connection, "slow")
            elif connection.stalled_since_s is connection.unread_since_s is None:
                self._watched.discard(connection)
        for waiting in list(self._new.values()):
            for connection in list(waiting):
                if now - connection.since_s <= limits.new_s:
                    break
                if connection.stalled_since_s is None:
                    self.close_one(connection, "new")


def _is_over(since_s: float | None, most_s: float, now_s: float) -> bool:
    return since_s is not None and now_s - since_s > most_s
