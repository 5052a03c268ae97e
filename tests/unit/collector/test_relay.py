"""The relay between real sockets, without gRPC and without a web server."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("gotax_collector.relay.relay", reason="the extra [collector] is not installed")

from gotax.wire.listening import listening_socket
from gotax_collector.relay import relay as module
from gotax_collector.relay.limits import RelayLimits, named
from gotax_collector.relay.relay import Relay, Relayed

USUAL = RelayLimits()
Test = Callable[[Relay, "Echo"], Awaitable[None]]


class Echo:
    """The server behind: answers what it gets, and says which connections it has."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.connections: list[Relayed] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        name = writer.get_extra_info("peername").removeprefix(b"\0").decode()
        found = self._relay.find(name)
        assert found
        self.connections.append(found)
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write(b" and the end")
        writer.close()


def run(limits: RelayLimits, test: Test) -> None:
    async def main() -> None:
        relay = Relay(listening_socket(("127.0.0.1", 0), 64), limits)
        echo = Echo(relay)
        server = await asyncio.start_unix_server(echo.serve, relay.path)
        await relay.start()
        try:
            await asyncio.wait_for(test(relay, echo), 600)
        finally:
            await relay.close()
            server.close()

    asyncio.run(main())


async def connected(relay: Relay) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", relay.port)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_bytes_go_both_ways_and_so_does_the_end() -> None:
    """More than any buffer holds, from the first byte on; and then a peer that only listens."""

    async def test(relay: Relay, echo: Echo) -> None:
        reader, writer = await connected(relay)
        data = bytes(range(256)) * (1 << 14)
        writer.write(data[:100])
        await until(lambda: bool(echo.connections))
        echo.connections[0].accept()
        sending = asyncio.create_task(_send(writer, data[100:]))
        assert await reader.readexactly(len(data)) == data
        await sending
        writer.write_eof()
        assert await reader.read() == b" and the end"
        await until(lambda: relay.connections == 0)
        assert relay.unread_bytes == 0

    run(replace(USUAL, unread_bytes=1 << 30, unread_total_bytes=1 << 30), test)


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


def test_one_address_has_so_many_connections() -> None:
    """The oldest new one goes; of those that are in use none."""

    async def test(relay: Relay, echo: Echo) -> None:
        ends = [await connected(relay) for _ in range(2)]
        await until(lambda: len(echo.connections) == 2)
        echo.connections[0].accept()
        third = await connected(relay)
        await until(lambda: relay.counters.closed["full"] == 1)
        assert await ends[1][0].read() == b""
        await until(lambda: len(echo.connections) == 3)
        echo.connections[2].accept()
        fourth, _ = await connected(relay)
        with contextlib.suppress(ConnectionError):
            assert await fourth.read() == b""
        assert relay.counters.closed["full"] == 2
        third[1].write(b"y")
        assert await third[0].readexactly(1) == b"y"

    run(replace(USUAL, per_peer=2), test)


def test_time_in_which_the_collector_had_no_cpu_is_not_the_peers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand agents after a restart on a busy host were all too late at once."""
    monkeypatch.setattr(module, "_STEP_MAX_S", 0.01)

    async def test(relay: Relay, echo: Echo) -> None:
        reader, writer = await connected(relay)
        await until(lambda: bool(echo.connections))
        time.sleep(1.0)
        await asyncio.sleep(0.3)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"

    run(replace(USUAL, new_s=0.9), test)


def test_what_was_on_its_way_when_a_stream_ended_closes_nothing() -> None:
    """Otherwise an agent does not hear which report was refused, and sends it again."""

    async def test(relay: Relay, echo: Echo) -> None:
        reader, writer = await connected(relay)
        await until(lambda: bool(echo.connections))
        echo.connections[0].accept()
        echo.connections[0].renew()
        writer.write(bytes(50_000))
        assert await reader.readexactly(50_000) == bytes(50_000)
        fresh, sender = await connected(relay)
        sender.write(bytes(50_000))
        with contextlib.suppress(ConnectionError):
            await fresh.read()
        assert relay.counters.closed["bytes"] == 1
        assert relay.connections == 1

    run(replace(USUAL, new_bytes=10_000), test)


def test_unread_bytes_of_new_connections_count_together() -> None:
    async def test(relay: Relay, _: Echo) -> None:
        ends = [await connected(relay) for _number in range(4)]
        for _reader, writer in ends:
            writer.write(bytes(50_000))
        await until(lambda: relay.counters.closed["unread"] == 2)
        assert relay.unread_bytes == 100_000

    run(replace(USUAL, unread_total_bytes=120_000), test)


@pytest.mark.parametrize(
    ("address", "group"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        ("", "unknown"),
    ],
)
def test_addresses_that_one_peer_has_are_one(address: object, group: str) -> None:
    assert named(address)[1] == group


def test_no_other_user_reaches_the_server_behind() -> None:
    """Which has no bounds of its own."""
    relay = Relay(listening_socket(("127.0.0.1", 0), 1), USUAL)
    assert Path(relay.path).parent.stat().st_mode & 0o777 == 0o700
    relay._socket.close()
    relay._folder.cleanup()
